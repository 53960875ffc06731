//! What the outside may see of the books: ids, states, outcomes, totals, one line a live task.
//! Plain data; knows nothing of how it is gathered.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// The identity of one call, unique for the life of the process.
///
/// Gaps between ids do not mean lost calls: each thread that makes calls reserves 64 ids at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) u64);

impl TaskId {
    /// The id as a number, for logs and metrics.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a live task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Accepted, not begun: it waits for a worker or for a thread of the blocking pool.
    Queued,
    /// Its first instruction has run.
    Running,
    /// The body has not begun: the task waits for one of its policies, that is, for an earlier run, the rate or a permit. The
    /// event `task started` may precede this state, because for a call with policies it marks the start of its policies.
    Waiting,
    /// Asleep between two attempts.
    BackingOff,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TaskState::Queued => "queued",
            TaskState::Running => "running",
            TaskState::Waiting => "waiting",
            TaskState::BackingOff => "backing off",
        })
    }
}

/// How a task ended. Each accepted call ends in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The body returned, and not an `Err`.
    Succeeded,
    /// The body returned an `Err`.
    Failed,
    /// The body panicked.
    Panicked,
    /// A time limit ran out: `timeout = "…"`.
    TimedOut,
    /// Dropped because its token fired (`on_shutdown = "cancel"`), or by one of its policies: replaced, dropped from the line,
    /// cancelled while it waited.
    Cancelled,
    /// Dropped for another cause: [`TaskHandle::abort`](crate::TaskHandle::abort), the shutdown's deadline, the end of
    /// the runtime, a plain function for which no thread could be started.
    Aborted,
    /// Could not be stopped: it may still run, and nobody waits for it any more.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Panicked,
        Self::TimedOut,
        Self::Cancelled,
        Self::Aborted,
        Self::Abandoned,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Panicked => "panicked",
            Outcome::TimedOut => "timed out",
            Outcome::Cancelled => "cancelled",
            Outcome::Aborted => "aborted",
            Outcome::Abandoned => "abandoned",
        })
    }
}

/// Totals of one manager since it was installed. They add up in every snapshot:
///
/// `accepted = running + succeeded + failed + panicked + timed_out + cancelled + aborted + abandoned`
///
/// `refused` and `coalesced` stand apart: those calls were never accepted. `waiting` is part of `running`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were counted.
    pub accepted: u64,
    /// Calls that were turned away, because the gate had closed or by one of their policies.
    pub refused: u64,
    /// Accepted and not ended: queued, waiting, running or between two attempts.
    pub running: u64,
    /// See [`Outcome::Succeeded`].
    pub succeeded: u64,
    /// See [`Outcome::Failed`].
    pub failed: u64,
    /// See [`Outcome::Panicked`].
    pub panicked: u64,
    /// See [`Outcome::TimedOut`].
    pub timed_out: u64,
    /// See [`Outcome::Cancelled`].
    pub cancelled: u64,
    /// See [`Outcome::Aborted`].
    pub aborted: u64,
    /// See [`Outcome::Abandoned`].
    pub abandoned: u64,
    /// Calls that made no run of their own: they joined one in flight, or were skipped for it. Never accepted.
    pub coalesced: u64,
    /// Attempts beyond the first of each call.
    pub retries: u64,
    /// Of the running ones, those that wait for one of their policies: the length of all lines.
    pub waiting: u64,
}

impl Stats {
    /// Everything that ended, however it ended.
    pub fn ended(&self) -> u64 {
        self.succeeded
            + self.failed
            + self.panicked
            + self.timed_out
            + self.cancelled
            + self.aborted
            + self.abandoned
    }

    /// The count of one outcome.
    pub(crate) fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Succeeded => &mut self.succeeded,
            Outcome::Failed => &mut self.failed,
            Outcome::Panicked => &mut self.panicked,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Aborted => &mut self.aborted,
            Outcome::Abandoned => &mut self.abandoned,
        }
    }
}

/// One live task, as [`tasks()`](crate::tasks) found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its identity.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// Queued, waiting, running or between two attempts.
    pub state: TaskState,
    /// Time since the call.
    pub age: Duration,
    /// The line that called it.
    pub called_at: &'static Location<'static>,
    /// Which attempt this is; the first is 1.
    pub attempt: u32,
    /// The source file its function stands in.
    pub file: &'static str,
    /// The line of its function's name.
    pub line: u32,
}
