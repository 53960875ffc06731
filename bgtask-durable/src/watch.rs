//! The waiters for the ends of jobs, each of which reads its row when it is woken. An end that this process writes wakes them
//! immediately, an end of another process when the version of the database changes. Must never know how a job ends.

use crate::engine::{Database, Ended};
use bgtask::durable::{JobError, JobId};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often this process polls the version of the database while it has waiters.
const LOOK: Duration = Duration::from_millis(20);

/// The waiters of this process.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    changed: Notify,
    waiters: AtomicUsize,
    /// Notified when there is a waiter.
    awaited: Notify,
}

impl Watch {
    /// Wakes all waiters, because a job has changed.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Waits for the end of a job.
    pub(crate) async fn ended(&self, database: &Database, id: JobId) -> Result<Ended, JobError> {
        let _waits = Waits::new(self);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the row is read: a change after that wakes.
            changed.as_mut().enable();
            if let Some(ended) = database.ended(id).await? {
                return Ok(ended);
            }
            changed.await;
        }
    }

    /// Wakes all waiters when another process has written.
    pub(crate) async fn look(&self, database: &Database) {
        let mut connection = None;
        let mut last = 0;
        loop {
            // Relaxed: a waiter that is not seen yet has left its permit in `awaited`.
            if self.waiters.load(Ordering::Relaxed) == 0 {
                self.awaited.notified().await;
            }
            let version = match database.connected(&mut connection).await {
                Ok(connection) => connection.version().await,
                Err(error) => Err(error),
            };
            match version {
                Ok(version) if version == last => {}
                Ok(version) => {
                    last = version;
                    self.wake();
                }
                // Each waiter reads its row and returns the error.
                Err(_) => {
                    connection = None;
                    self.wake();
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Counts a waiter, as long as it waits.
struct Waits<'a>(&'a Watch);

impl<'a> Waits<'a> {
    fn new(watch: &'a Watch) -> Self {
        watch.waiters.fetch_add(1, Ordering::Relaxed);
        watch.awaited.notify_one();
        Self(watch)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}
