//! The progress of one call with policies, for snapshots and for the code that awaits the call's end.
//! Owns plain data; must never know who changes it.

use crate::report::StopReason;
use crate::stats::TaskState;
use crate::util::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The origin of a call.
#[derive(Debug)]
pub enum Origin {
    /// The program.
    Call,
    /// A schedule, which receives the end of the run.
    Schedule(oneshot::Sender<Ending>),
    /// From the store: one attempt of this durable job.
    Job(#[cfg(feature = "durable")] super::durable::Claimed),
}

/// How a scheduled run ended. A run that sends none was aborted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed,
}

/// The activity of a call with policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    /// The call may begin, and waits for a worker.
    Queued,
    /// The call waits for an earlier run, for the rate or for a permit.
    Waiting,
    Running,
    /// The call sleeps between two attempts.
    BackingOff,
}

impl Activity {
    const COUNT: usize = 4;
}

/// The number of live calls of one function in each activity.
// Relaxed, all of them: each is a number for people to read, and orders no other memory.
#[derive(Debug, Default)]
pub(crate) struct ActivityCounts([AtomicU64; Activity::COUNT]);

impl ActivityCounts {
    pub(crate) fn get(&self, activity: Activity) -> u64 {
        self.0[activity as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, activity: Activity) {
        self.0[activity as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, activity: Activity) {
        self.0[activity as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Progress {
    attempt: AtomicU32,
    activity: AtomicU8,
    /// When the call's wait ended, if it had to wait.
    admitted_at: OnceLock<Instant>,
    /// Fires when this call alone is cancelled, whether or not the drain has fired the task's token. Created on the first use.
    /// Also the token of the last attempt.
    alone: OnceLock<CancellationToken>,
    /// Fires when this call alone is cancelled, and ends its wait for a policy. Not `alone`, which a last attempt has to create.
    cancellation: OnceLock<CancellationToken>,
    /// Why this call alone was cancelled.
    reason: OnceLock<StopReason>,
    is_last: AtomicBool,
    gave_up: AtomicBool,
    /// The counts that contain this call until it is retired.
    counts: Arc<ActivityCounts>,
}

// Relaxed, in all methods: each atomic is one value for people to read, and orders no other memory.
impl Progress {
    pub(crate) fn new(activity: Activity, counts: Arc<ActivityCounts>) -> Self {
        Self {
            attempt: AtomicU32::new(1),
            activity: AtomicU8::new(activity as u8),
            admitted_at: OnceLock::new(),
            alone: OnceLock::new(),
            cancellation: OnceLock::new(),
            reason: OnceLock::new(),
            is_last: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
            counts,
        }
    }

    /// Sets what the call is doing. Only the call itself uses this.
    pub(crate) fn set(&self, activity: Activity) {
        let before = self.activity();
        if before == activity {
            return;
        }
        if before == Activity::Waiting {
            self.admitted_at.get_or_init(Instant::now);
        }
        // In this order, so that no count is ever below zero.
        self.counts.add(activity);
        self.activity.store(activity as u8, Ordering::Relaxed);
        self.counts.remove(before);
    }

    /// Removes the call from the counts, because it is retired.
    pub(crate) fn retire(&self) {
        self.counts.remove(self.activity());
    }

    pub(crate) fn set_attempt(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    pub(crate) fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Relaxed) {
            0 => Activity::Queued,
            1 => Activity::Waiting,
            2 => Activity::Running,
            _ => Activity::BackingOff,
        }
    }

    /// Returns when the call's wait ended, if it had to wait.
    pub(crate) fn admitted_at(&self) -> Option<Instant> {
        self.admitted_at.get().copied()
    }

    /// Cancels this call alone. The first reason stands.
    pub(crate) fn cancel(&self, reason: StopReason) {
        // Before the tokens: code that they wake asks for it.
        let _ = self.reason.set(reason);
        self.alone.get_or_init(CancellationToken::new).cancel();
        self.cancellation().cancel();
    }

    /// Returns the token that fires when this call alone is cancelled. Created on the first use, so that the call and the code
    /// that cancels it share one token whichever comes first.
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        self.cancellation.get_or_init(CancellationToken::new)
    }

    /// Returns why this call alone was cancelled, if it was.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    pub(crate) fn is_cancelled_alone(&self) -> bool {
        self.alone
            .get()
            .is_some_and(CancellationToken::is_cancelled)
    }

    /// Begins the last attempt and returns its token: the one from `make`, unless the call was cancelled before.
    pub(crate) fn begin_last_attempt(
        &self,
        make: impl FnOnce() -> CancellationToken,
    ) -> CancellationToken {
        let token = self.alone.get_or_init(make).clone();
        self.is_last.store(true, Ordering::Relaxed);
        token
    }

    /// Returns the token of the last attempt, if that attempt is running.
    pub(crate) fn last_attempt(&self) -> Option<&CancellationToken> {
        // Only the last attempt itself asks, after it has begun.
        let token = self.alone.get();
        token.filter(|_| self.is_last.load(Ordering::Relaxed))
    }

    /// Notes that the shutdown has ended the attempts of the call.
    pub(crate) fn give_up(&self) {
        self.gave_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// Returns the state that [`tasks()`](crate::tasks) shows.
    pub(crate) fn state(&self) -> TaskState {
        match self.activity() {
            Activity::Queued => TaskState::Queued,
            Activity::Waiting => TaskState::Waiting,
            Activity::Running => TaskState::Running,
            Activity::BackingOff => TaskState::BackingOff,
        }
    }
}
