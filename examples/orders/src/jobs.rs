//! The durable work of the shop. Knows nothing of the web.

use crate::gateway::Gateway;
use crate::store::Store;
use anyhow::Context;
use bgtask::{Job, State, background};
use std::time::Duration;
use tokio::time::sleep;

/// Charges an order and renders its receipt.
///
/// The process may die at any line, and then the body runs again. So the gateway gets the order's id, by which it recognises a
/// repeated charge. The receipt is stored in the transaction that completes the job: both happen once, or neither does.
#[background(durable, timeout = "1m", retry(max = 10, base = "1s", cap = "4s"))]
pub(crate) async fn send_receipt(
    State(store): State<Store>,
    State(gateway): State<Gateway>,
    job: Job,
    order: String,
) -> anyhow::Result<()> {
    let order = store
        .order(&order)
        .await?
        .context("there is no such order")?
        .order;
    job.progress(0.0, "charging the order");
    gateway.charge(&order.id, &order).await?;

    let lines = order.receipt();
    let mut receipt = String::new();
    for (index, line) in lines.iter().enumerate() {
        let note = format!("rendering line {} of {}", index + 1, lines.len());
        job.progress(index as f64 / lines.len() as f64, note);
        sleep(Duration::from_millis(500)).await; // a slow printer
        receipt += line;
        receipt.push('\n');
    }

    let mut transaction = store.begin().await?;
    transaction
        .insert_receipt(&order, &receipt, job.attempt())
        .await?;
    job.complete_in(&mut transaction, &()).await?;
    transaction.commit().await?;
    Ok(())
}
