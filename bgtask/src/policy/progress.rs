//! How far one call with policies has come, for those who look from outside and those who wait for its end.
//! Plain data; knows nothing of who changes it.

use crate::stats::TaskState;
use crate::util::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Where a call comes from.
#[derive(Debug)]
pub enum Origin {
    /// From the program.
    Call,
    /// From its schedule, which wants to know how it ends.
    Schedule(oneshot::Sender<Ending>),
    /// From the store: one attempt of a durable job.
    Job,
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

impl Doing {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;
}

/// How many live calls of one function are doing what.
// Relaxed, all of them: each is a number for people to look at, and nothing else is read on its account.
#[derive(Debug, Default)]
pub(crate) struct Tallied([AtomicU64; Doing::COUNT]);

impl Tallied {
    pub(crate) fn of(&self, doing: Doing) -> u64 {
        self.0[doing as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, doing: Doing) {
        self.0[doing as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take_off(&self, doing: Doing) {
        self.0[doing as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Progress {
    attempt: AtomicU32,
    doing: AtomicU8,
    /// When it was let through by what it had to wait for; nothing if it never had to.
    let_through: OnceLock<Instant>,
    /// Fires when this call alone is cancelled, whether or not the drain has fired the task's token. Created on the first use.
    /// Also the token of the last attempt.
    alone: OnceLock<CancellationToken>,
    /// Fires when this call alone is cancelled. Ends its wait for a policy. Not `alone`, which a last attempt has to create.
    cancellation: OnceLock<CancellationToken>,
    is_last: AtomicBool,
    gave_up: AtomicBool,
    /// Where it is counted, from being enlisted to being struck out.
    tallied: Arc<Tallied>,
}

impl Progress {
    pub(crate) fn new(doing: Doing, tallied: Arc<Tallied>) -> Self {
        Self {
            attempt: AtomicU32::new(1),
            doing: AtomicU8::new(doing as u8),
            let_through: OnceLock::new(),
            alone: OnceLock::new(),
            cancellation: OnceLock::new(),
            is_last: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
            tallied,
        }
    }

    // Relaxed, in all of these: one number each, for people to look at; nothing else is read on their account.

    /// For the call itself alone.
    pub(crate) fn set(&self, doing: Doing) {
        let before = self.doing();
        if before == doing {
            return;
        }
        if before == Doing::Waiting {
            self.let_through.get_or_init(Instant::now);
        }
        // In this order, so that no count is ever below zero.
        self.tallied.add(doing);
        self.doing.store(doing as u8, Ordering::Relaxed);
        self.tallied.take_off(before);
    }

    /// Takes the call out of all counts, because it is retired.
    pub(crate) fn leaves(&self) {
        self.tallied.take_off(self.doing());
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

    /// When its wait ended, if it had to wait.
    pub(crate) fn let_through(&self) -> Option<Instant> {
        self.let_through.get().copied()
    }

    /// Cancels this call alone.
    pub(crate) fn cancel(&self) {
        self.alone.get_or_init(CancellationToken::new).cancel();
        self.cancellation().cancel();
    }

    /// Returns the token that fires when this call alone is cancelled, created on the first use: whichever of the call and
    /// its canceller comes first, both have the same one.
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        self.cancellation.get_or_init(CancellationToken::new)
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
        // Relaxed: only the attempt itself asks, after it has begun.
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
