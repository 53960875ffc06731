//! The ends of attempts on their way to the database: recorded many in one transaction, however long the database is away.
//! Must never know how an attempt ended.

use super::Shared;
use crate::PAUSE;
use crate::engine::{Claim, Error, Record, Recorded};
use crate::health::PENDING_LIMIT;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// How many ends one transaction records at most.
pub(super) const BATCH: usize = 200;

/// An end on its way to the database.
pub(super) struct End {
    pub(super) claim: Claim,
    pub(super) record: Record,
    pub(super) recorded: oneshot::Sender<Recorded>,
}

/// Records ends, many in one transaction, as long as the database takes.
pub(super) async fn record(shared: Arc<Shared>, mut ends: mpsc::Receiver<End>) {
    // Those of jobs whose rows other transactions hold: the rest does not wait for them.
    let mut locked = Vec::new();
    loop {
        let mut batch = std::mem::take(&mut locked);
        if batch.is_empty() {
            if ends.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        } else {
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = ends.recv_many(&mut batch, BATCH) => {}
            }
        }
        let records: Vec<_> = batch
            .iter()
            .map(|end| (end.claim.clone(), end.record.clone()))
            .collect();
        for (recorded, end) in store(&shared, &records).await.into_iter().zip(batch) {
            if recorded == Recorded::Locked {
                locked.push(end);
            } else {
                // The waiter may be gone.
                let _ = end.recorded.send(recorded);
            }
        }
    }
}

async fn store(shared: &Shared, records: &[(Claim, Record)]) -> Vec<Recorded> {
    let since = Instant::now();
    let _pending = shared.health.pending();
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
