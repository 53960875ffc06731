//! Who waits for the end of a job: woken, then reads the row. Ends written by this process wake at once, and those of other
//! processes when the database shows that somebody has written.
//! Knows nothing of how an end comes about.

use crate::engine::sqlite::{self, Database, Ended};
use bgtask::durable::{JobError, JobId};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the database is asked whether another process has written, while somebody waits.
const LOOK: Duration = Duration::from_millis(20);

/// The waiters of this process.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    changed: Notify,
    waiters: AtomicUsize,
    /// Somebody waits.
    awaited: Notify,
}

impl Watch {
    /// Wakes everybody: a job has changed.
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

    /// Wakes everybody when another process has written.
    pub(crate) async fn look(&self, database: &Database) {
        let mut connection = None;
        let mut last = 0;
        loop {
            // Relaxed: a waiter that is not seen yet has left its permit in `awaited`.
            if self.waiters.load(Ordering::Relaxed) == 0 {
                self.awaited.notified().await;
            }
            match version(database, &mut connection).await {
                Ok(version) if version == last => {}
                Ok(version) => {
                    last = version;
                    self.wake();
                }
                // They read the row themselves, and return the error.
                Err(_) => {
                    connection = None;
                    self.wake();
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn version(
    database: &Database,
    connection: &mut Option<sqlite::Connection>,
) -> Result<i64, sqlite::Error> {
    if connection.is_none() {
        *connection = Some(database.connect().await?);
    }
    match connection {
        Some(connection) => sqlite::version(connection).await,
        None => unreachable!("it has just been set"),
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
