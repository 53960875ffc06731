//! The ends of attempts on their way to the database: recorded many in one transaction, however long the database is away.
//! Must never know how an attempt ended.

use super::{PAUSE, Shared};
use crate::engine::{Claim, Error, Record};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// From when on ends that could not be recorded are an error.
const PENDING_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// How many ends one transaction records at most.
pub(super) const BATCH: usize = 200;

/// An end on its way to the database.
pub(super) struct End {
    pub(super) claim: Claim,
    pub(super) record: Record,
    pub(super) recorded: oneshot::Sender<bool>,
}

/// Records ends, many in one transaction, as long as the database takes.
pub(super) async fn record(shared: Arc<Shared>, mut ends: mpsc::Receiver<End>) {
    let mut batch = Vec::with_capacity(BATCH);
    while ends.recv_many(&mut batch, BATCH).await > 0 {
        let (records, waiting): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|end| ((end.claim, end.record), end.recorded))
            .unzip();
        for (recorded, waiting) in store(&shared, &records).await.into_iter().zip(waiting) {
            // The waiter may be gone.
            let _ = waiting.send(recorded);
        }
    }
}

async fn store(shared: &Shared, records: &[(Claim, Record)]) -> Vec<bool> {
    let since = Instant::now();
    let mut is_reported = false;
    loop {
        let error: Error = match shared.database.record(records).await {
            Ok(recorded) => return recorded,
            Err(error) => error,
        };
        if !is_reported && since.elapsed() >= PENDING_LIMIT {
            is_reported = true;
            tracing::error!(target: "bgtask", %error, jobs = records.len(), pending = ?since.elapsed(),
                "the ends of jobs cannot be recorded");
        } else {
            tracing::warn!(target: "bgtask", %error, jobs = records.len(), "the ends of jobs could not be recorded yet");
        }
        sleep(PAUSE).await;
    }
}
