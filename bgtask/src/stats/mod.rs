//! The figures that a program can read: ids, states, outcomes, totals, and one record per live task.
//! Plain data; must never know how it is gathered.

#[cfg(feature = "durable")]
mod job;

#[cfg(feature = "durable")]
pub use job::{InvalidJobId, JobId, JobInfo};

use crate::fields::Fields;
#[cfg(feature = "serde")]
use crate::util::serialize::{display, seconds};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// The id of one call, unique within the process.
///
/// A gap between ids does not mean a lost call: each thread that makes calls reserves 64 ids at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TaskId(pub(crate) u64);

impl TaskId {
    /// Returns the id as a number, for logs and metrics.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a live task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum TaskState {
    /// The task is accepted and has not begun: it waits for a worker, or for a thread of the blocking pool.
    Queued,
    /// The task has run its first instruction.
    Running,
    /// The body has not begun: the task waits for a policy, that is, for an earlier run, its rate limit or a permit. The event
    /// `task started` may precede this state, because for a call with policies it marks the start of its policies.
    Waiting,
    /// The task sleeps between two attempts.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// The body returned, and not an `Err`.
    Succeeded,
    /// The body returned an `Err`.
    Failed,
    /// The body panicked.
    Panicked,
    /// The time limit passed: `timeout = "…"`.
    TimedOut,
    /// The task was dropped because its token fired (`on_shutdown = "cancel"`), or by a policy: replaced, displaced from the wait
    /// queue, cancelled while it waited.
    Cancelled,
    /// The task was dropped for another reason: [`TaskHandle::abort`](crate::TaskHandle::abort), the shutdown's deadline, the end
    /// of the runtime, or a plain function for which no thread could be spawned.
    Aborted,
    /// The task could not be stopped. It may still run, and the shutdown no longer waits for it.
    Abandoned,
}

impl Outcome {
    /// All outcomes, in the order of their discriminants.
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

/// The totals of one manager since it was installed. They add up in every snapshot:
///
/// `accepted = running + succeeded + failed + panicked + timed_out + cancelled + aborted + abandoned`
///
/// `refused` and `coalesced` are not included, because those calls were never accepted. `waiting` is part of `running`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stats {
    /// Accepted calls.
    pub accepted: u64,
    /// Calls that were refused, because of a shutdown or by a policy.
    pub refused: u64,
    /// Accepted calls that have not ended: queued, waiting, running or between two attempts.
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
    /// Calls without a run of their own, because they joined another run or were skipped. They were never accepted.
    pub coalesced: u64,
    /// Attempts beyond the first of each call.
    pub retries: u64,
    /// Running calls that wait for a policy: the total length of all wait queues.
    pub waiting: u64,
}

impl Stats {
    /// Returns the number of calls that have ended, whatever their outcome.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.succeeded
            + self.failed
            + self.panicked
            + self.timed_out
            + self.cancelled
            + self.aborted
            + self.abandoned
    }

    /// Returns the count of one outcome.
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

/// One live task, as [`tasks()`](crate::tasks) returns it.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// Its state.
    pub state: TaskState,
    /// Time since the call.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub age: Duration,
    /// The call site.
    #[cfg_attr(feature = "serde", serde(serialize_with = "display"))]
    pub called_at: &'static Location<'static>,
    /// The number of the current attempt, starting at 1.
    pub attempt: u32,
    /// The source file of its function.
    pub file: &'static str,
    /// The line of its function's name.
    pub line: u32,
    /// The values that the option `fields` names.
    pub fields: Fields,
    /// The job that it runs an attempt of, if its function is `durable`. `attempt` is then that of the job.
    #[cfg(feature = "durable")]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub job: Option<JobInfo>,
}
