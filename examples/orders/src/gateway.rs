//! A payment gateway, as another company would run it: slow, and often out of order. Knows nothing of jobs.

use crate::order::Order;
use crate::store::Store;
use anyhow::bail;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::sleep;

#[derive(Clone)]
pub(crate) struct Gateway {
    /// The other company's, so it is not part of any transaction of the shop's.
    ledger: Store,
    calls: Arc<AtomicU32>,
}

impl Gateway {
    pub(crate) fn new(ledger: Store) -> Self {
        Self {
            ledger,
            calls: Arc::default(),
        }
    }

    /// Charges an order. A call with a key that the gateway knows charges nothing: so a call that failed can be repeated.
    pub(crate) async fn charge(&self, key: &str, order: &Order) -> anyhow::Result<()> {
        sleep(Duration::from_millis(300)).await;
        if self.ledger.is_charged(key).await? {
            return Ok(());
        }
        // Like chance, but the same in each run. The first call charges the order, and then the answer is lost.
        let call = self.calls.fetch_add(1, Ordering::Relaxed) % 3;
        if call == 1 {
            bail!("the payment gateway is overloaded");
        }
        self.ledger.charge(key, order).await?;
        if call == 0 {
            bail!("the payment gateway did not answer");
        }
        Ok(())
    }
}
