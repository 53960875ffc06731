//! How far one call with policies has come, for those who look from outside and those who wait for its end.
//! Plain data; knows nothing of who changes it.

use crate::stats::TaskState;
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use tokio::sync::oneshot;

/// Where a call comes from.
#[derive(Debug)]
pub enum Origin {
    /// From the program.
    Call,
    /// From its schedule, which wants to know how it ends.
    Schedule(oneshot::Sender<Ending>),
}

/// How a scheduled run ended. One that goes without saying was aborted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed,
}

/// What a call with policies is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Doing {
    /// Nothing but a worker is wanted.
    Queued,
    /// Its turn, a permit or the rate.
    Waiting,
    Running,
    /// Between two attempts.
    Asleep,
}

#[derive(Debug)]
pub(crate) struct Progress {
    attempt: AtomicU32,
    doing: AtomicU8,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            attempt: AtomicU32::new(1),
            doing: AtomicU8::new(Doing::Queued as u8),
        }
    }

    // Relaxed, in all of these: one number each, for people to look at; nothing else is read on their account.

    pub(crate) fn set(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    pub(crate) fn set_attempt(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    pub(crate) fn doing(&self) -> Doing {
        match self.doing.load(Ordering::Relaxed) {
            0 => Doing::Queued,
            1 => Doing::Waiting,
            2 => Doing::Running,
            _ => Doing::Asleep,
        }
    }

    /// As `tasks()` shows it.
    pub(crate) fn state(&self) -> TaskState {
        match self.doing() {
            Doing::Queued => TaskState::Queued,
            Doing::Waiting => TaskState::Waiting,
            Doing::Running => TaskState::Running,
            Doing::Asleep => TaskState::BackingOff,
        }
    }
}
