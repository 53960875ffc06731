//! A claimed job of this process, as its attempt has it: the claim, its progress, and whether it was completed in a transaction.
//! Knows nothing of how the attempt runs, or of how anything is recorded.

use crate::engine::{self, Claim, Claimed, Database};
use crate::lock;
use bgtask::durable::{Canceller, ClaimedJob, JobId, Progress, StopReason, Store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// The shortest time between two records of the progress of one attempt.
pub(crate) const PROGRESS: Duration = Duration::from_millis(250);

/// A claimed job, until its end is recorded.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) claim: Claim,
    queue: String,
    attempt: u32,
    max_attempts: u32,
    tick: Option<SystemTime>,
    store: Arc<dyn Store>,
    /// That of the store, for the transactions of the program.
    pub(crate) database: Database,
    progress: Mutex<Latest>,
    has_progressed: Notify,
    is_completed: AtomicBool,
}

/// The latest progress of an attempt.
#[derive(Debug, Default)]
struct Latest {
    progress: Option<Progress>,
    /// It is on its way to the database.
    is_sent: bool,
}

impl Holding {
    pub(crate) fn new(claimed: &Claimed, store: Arc<dyn Store>, database: &Database) -> Arc<Self> {
        Arc::new(Self {
            claim: claimed.claim.clone(),
            queue: claimed.queue.clone(),
            attempt: claimed.attempt,
            max_attempts: claimed.max_attempts,
            tick: claimed.tick.map(engine::time),
            store,
            database: database.clone(),
            progress: Mutex::default(),
            has_progressed: Notify::new(),
            is_completed: AtomicBool::new(false),
        })
    }

    /// Waits until there is a progress to record.
    pub(crate) async fn progressed(&self) {
        loop {
            let mut notified = std::pin::pin!(self.has_progressed.notified());
            // Before the look: a progress after it wakes.
            notified.as_mut().enable();
            if self.is_unsent() {
                return;
            }
            notified.await;
        }
    }

    fn is_unsent(&self) -> bool {
        let latest = lock(&self.progress);
        latest.progress.is_some() && !latest.is_sent
    }

    /// Returns the progress that is to be recorded, if it is not on its way.
    pub(crate) fn send_progress(&self) -> Option<Progress> {
        let mut latest = lock(&self.progress);
        if latest.is_sent {
            return None;
        }
        latest.is_sent = latest.progress.is_some();
        latest.progress.clone()
    }

    /// Returns the latest progress, which may not be recorded: what is on its way may come after the end.
    pub(crate) fn latest_progress(&self) -> Option<Progress> {
        lock(&self.progress).progress.clone()
    }

    /// Notes whether the job was completed in a transaction of the program's, which may commit or not.
    pub(crate) fn note_completed(&self, is_completed: bool) {
        // Relaxed: the worker asks after the body, which did this, has ended.
        self.is_completed.store(is_completed, Ordering::Relaxed);
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.is_completed.load(Ordering::Relaxed)
    }
}

impl ClaimedJob for Holding {
    fn id(&self) -> JobId {
        JobId::new(self.claim.id)
    }

    fn queue(&self) -> &str {
        &self.queue
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    fn tick(&self) -> Option<SystemTime> {
        self.tick
    }

    fn progress(&self, progress: Progress) {
        *lock(&self.progress) = Latest {
            progress: Some(progress),
            is_sent: false,
        };
        self.has_progressed.notify_waiters();
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

/// The attempts that run in this process, by their jobs, for cancellations.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<i64, (Claim, Canceller)>>);

impl Attempts {
    /// Adds an attempt, until the guard is dropped.
    pub(crate) fn add(&self, claim: &Claim, canceller: Canceller) -> Running<'_> {
        // The latest attempt of a job stands: an earlier one in this process has lost its claim.
        lock(&self.0).insert(claim.id, (claim.clone(), canceller));
        Running(self, claim.clone())
    }

    /// Returns whether any attempt runs.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Fires the token of the attempt that runs this job, because the job is cancelled.
    pub(crate) fn cancel(&self, id: i64) {
        let found = lock(&self.0)
            .get(&id)
            .map(|(_, canceller)| canceller.clone());
        // After the lock: the token may wake anything.
        if let Some(canceller) = found {
            canceller.cancel(StopReason::Cancelled);
        }
    }
}

/// Removes an attempt when it is dropped.
pub(crate) struct Running<'a>(&'a Attempts, Claim);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut attempts = lock(&self.0.0);
        if attempts
            .get(&self.1.id)
            .is_some_and(|(claim, _)| *claim == self.1)
        {
            attempts.remove(&self.1.id);
        }
    }
}
