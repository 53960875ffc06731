//! The waiters for the ends of jobs, each of which reads its row when it is woken: at once by an end that this process writes, and
//! otherwise when the database says that jobs have changed. Must never know how a job ends.

use crate::engine::{Change, Changes, Database, Ended, Error};
use crate::{PAUSE, lock};
use bgtask::durable::{JobError, JobId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// For how long the changes or a row may not be readable before the waiters are told.
const LIMIT: Duration = Duration::from_secs(5);

/// How many waiters read their rows themselves when any job may have changed. Of more, one statement finds those that have ended.
const FEW: usize = 8;

/// The waiters of this process.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The jobs that are waited for, each with the number of its waiters. Locked for a look or a change, never across an await.
    jobs: Mutex<HashMap<i64, (usize, Arc<Notify>)>>,
    /// Notified when there is a waiter.
    awaited: Notify,
}

impl Watch {
    /// Wakes the waiters of a job that has changed.
    pub(crate) fn wake_for(&self, id: i64) {
        if let Some((_, changed)) = lock(&self.jobs).get(&id) {
            changed.notify_waiters();
        }
    }

    fn wake(&self, change: &Change) {
        match change {
            Change::Any => {
                for (_, changed) in lock(&self.jobs).values() {
                    changed.notify_waiters();
                }
            }
            Change::Claimable(_) => {}
            Change::Jobs(ids) => ids.iter().for_each(|id| self.wake_for(*id)),
        }
    }

    /// Wakes the waiters of jobs that have ended.
    async fn wake_ended(&self, database: &Database) -> Result<(), Error> {
        let ids: Vec<_> = lock(&self.jobs).keys().copied().collect();
        if ids.len() <= FEW {
            self.wake(&Change::Any);
            return Ok(());
        }
        let began = Instant::now();
        let ended = database.ended_of(&ids).await?;
        self.wake(&Change::Jobs(ended));
        // A small part of the time, however many wait. What ends here meanwhile is woken for by itself.
        tokio::time::sleep(4 * began.elapsed()).await;
        Ok(())
    }

    /// Waits for the end of a job.
    pub(crate) async fn ended(&self, database: &Database, id: JobId) -> Result<Ended, JobError> {
        let waits = Waits::new(self, id.get());
        let mut failed_since = None;
        loop {
            let mut changed = std::pin::pin!(waits.changed.notified());
            // Before the row is read: a change after that wakes.
            changed.as_mut().enable();
            match database.ended(id).await {
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

    /// Wakes waiters when another process has written, and calls `claimable` with the queue whose jobs there may be to claim, or `None`
    /// for all. Looks only while there are waiters, unless `works`, or the database wants it. Never completes.
    pub(crate) async fn look(
        &self,
        database: &Database,
        works: bool,
        claimable: impl Fn(Option<&str>),
    ) {
        let mut changes = None;
        let mut failed_since = None;
        loop {
            let must_look = works || changes.as_ref().is_some_and(Changes::must_be_read);
            if !must_look && lock(&self.jobs).is_empty() {
                // A waiter that came after the look has left its permit.
                self.awaited.notified().await;
            }
            let woken = match next(database, works, &mut changes).await {
                Ok(Change::Any) => {
                    claimable(None);
                    self.wake_ended(database).await
                }
                Ok(Change::Claimable(queue)) => {
                    claimable(queue.as_deref());
                    Ok(())
                }
                Ok(change) => {
                    self.wake(&change);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match woken {
                Ok(()) => failed_since = None,
                Err(_) => {
                    changes = None;
                    if failed_since.get_or_insert_with(Instant::now).elapsed() >= LIMIT {
                        // Each waiter reads its row and returns the error.
                        self.wake(&Change::Any);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn next(
    database: &Database,
    works: bool,
    changes: &mut Option<Changes>,
) -> Result<Change, Error> {
    let changes = match changes {
        Some(changes) => changes,
        none => none.insert(database.changes(works).await?),
    };
    changes.next().await
}

/// Counts a waiter, as long as it waits.
struct Waits<'a> {
    watch: &'a Watch,
    id: i64,
    changed: Arc<Notify>,
}

impl<'a> Waits<'a> {
    fn new(watch: &'a Watch, id: i64) -> Self {
        let changed = {
            let mut jobs = lock(&watch.jobs);
            let (count, changed) = jobs.entry(id).or_default();
            *count += 1;
            changed.clone()
        };
        watch.awaited.notify_one();
        Self { watch, id, changed }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut jobs = lock(&self.watch.jobs);
        if let Some((count, _)) = jobs.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                jobs.remove(&self.id);
            }
        }
    }
}
