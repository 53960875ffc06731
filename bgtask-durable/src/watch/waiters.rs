//! The waiters for the ends of jobs, each of which reads its row when it is woken. Must never know who wakes it.

use super::LIMIT;
use crate::engine::{Database, Ended, Error};
use crate::{PAUSE, lock};
use bgtask::durable::{JobError, JobId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// How many waiters read their rows themselves when any job may have changed. Of more, one statement finds those that have ended.
const FEW: usize = 8;

/// How many waiters read their rows at once. The pool lends its connections in order: thousands of waiters would make every other
/// statement wait behind them, until it times out.
const READERS: usize = 2;

/// The waiters of this process.
#[derive(Debug)]
pub(super) struct Waiters {
    /// The jobs that are waited for, each with the number of its waiters. Locked for a look or a change, never across an await.
    jobs: Mutex<HashMap<i64, (usize, Arc<Notify>)>>,
    readers: Semaphore,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            jobs: Mutex::default(),
            readers: Semaphore::new(READERS),
        }
    }
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.jobs).is_empty()
    }

    /// Wakes the waiters of a job that has changed.
    pub(super) fn wake_for(&self, id: i64) {
        if let Some((_, changed)) = lock(&self.jobs).get(&id) {
            changed.notify_waiters();
        }
    }

    pub(super) fn wake_all(&self) {
        for (_, changed) in lock(&self.jobs).values() {
            changed.notify_waiters();
        }
    }

    /// Wakes the waiters of jobs that have ended.
    pub(super) async fn wake_ended(&self, database: &Database) -> Result<(), Error> {
        let ids: Vec<_> = lock(&self.jobs).keys().copied().collect();
        if ids.len() <= FEW {
            self.wake_all();
            return Ok(());
        }
        let began = Instant::now();
        let ended = database.ended_of(&ids).await?;
        ended.iter().for_each(|id| self.wake_for(*id));
        // A small part of the time, however many wait. What ends here meanwhile is woken for by itself.
        tokio::time::sleep(4 * began.elapsed()).await;
        Ok(())
    }

    async fn read(&self, database: &Database, id: JobId) -> Result<Option<Ended>, JobError> {
        let _reader = self.readers.acquire().await;
        database.ended(id).await
    }

    /// Waits for the end of a job, and notifies `awaited` that it does.
    pub(super) async fn ended(
        &self,
        database: &Database,
        id: JobId,
        awaited: &Notify,
    ) -> Result<Ended, JobError> {
        let waits = Waits::new(self, id.get());
        awaited.notify_one();
        let mut failed_since = None;
        loop {
            let mut changed = std::pin::pin!(waits.changed.notified());
            // Before the row is read: a change after that wakes.
            changed.as_mut().enable();
            match self.read(database, id).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => {
                    failed_since = None;
                    changed.await;
                }
                // A waiter outlives a short absence of the database.
                Err(JobError::Store { .. })
                    if failed_since.get_or_insert_with(Instant::now).elapsed() < LIMIT =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Counts a waiter, as long as it waits.
struct Waits<'a> {
    waiters: &'a Waiters,
    id: i64,
    changed: Arc<Notify>,
}

impl<'a> Waits<'a> {
    fn new(waiters: &'a Waiters, id: i64) -> Self {
        let changed = {
            let mut jobs = lock(&waiters.jobs);
            let (count, changed) = jobs.entry(id).or_default();
            *count += 1;
            changed.clone()
        };
        Self {
            waiters,
            id,
            changed,
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut jobs = lock(&self.waiters.jobs);
        if let Some((count, _)) = jobs.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                jobs.remove(&self.id);
            }
        }
    }
}
