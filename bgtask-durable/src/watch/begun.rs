//! The jobs that this process has begun to run, of which other processes are notified: a claim notifies nobody.
//! Must never know a row.

use crate::engine::Database;
use crate::lock;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// For how long a job runs before others are notified, many jobs at a time. The end of one that is faster is soon there itself, and
/// so a job that nobody watches costs nothing, or a twentieth of a statement in its first second.
const SOON: Duration = Duration::from_millis(50);

/// The jobs that run here and that no other process is notified of yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Begun(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    jobs: Mutex<HashSet<i64>>,
    is_any: Notify,
}

impl Begun {
    /// Adds a job, until the guard is dropped.
    pub(super) fn add(&self, id: i64) -> Running {
        let is_first = {
            let mut jobs = lock(&self.0.jobs);
            jobs.insert(id) && jobs.len() == 1
        };
        if is_first {
            self.0.is_any.notify_one();
        }
        Running(self.clone(), id)
    }

    /// Notifies the other processes of jobs that have run for a while. Completes only where nobody is notified.
    pub(super) async fn announce(&self, database: &Database) {
        if !database.notifies() {
            return;
        }
        loop {
            self.0.is_any.notified().await;
            sleep(SOON).await;
            let jobs: Vec<_> = lock(&self.0.jobs).drain().collect();
            if !jobs.is_empty() {
                // A failure is no loss: the watchers are notified of the next change, and read the row after a silence.
                let _ = database.notify_changed(&jobs).await;
            }
        }
    }
}

/// Removes a job when it is dropped.
pub(super) struct Running(Begun, i64);

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.0.0.jobs).remove(&self.1);
    }
}
