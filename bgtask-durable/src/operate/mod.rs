//! The data for those who operate jobs: which jobs are meant, and the state of queues, workers, schedules and tables. Plain data.
//! Must never know a database.

mod details;
mod diagnosis;
mod edit;
mod text;
mod throughput;
mod worker;

pub use details::{AttemptError, JobContent, JobDetails};
pub(crate) use diagnosis::missing_or_other;
pub use diagnosis::{Diagnosis, Migrated};
pub use edit::Edit;
#[cfg(feature = "dashboard")]
pub(crate) use throughput::HOUR;
pub(crate) use throughput::Minutes;
pub use throughput::{EndCounts, Throughput};
pub(crate) use worker::Announcement;
pub use worker::{QueueInfo, ScheduleInfo, WorkerInfo};

use bgtask::durable::{JobId, JobState};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a dead or cancelled job is not started again.
pub(crate) const ANOTHER_HAS_THE_KEY: &str = "another job with the key of this one is there";

/// How many jobs [`Jobs::list`](crate::Jobs::list) returns unless the filter says otherwise, and at most.
const LISTED: u32 = 100;
const LISTED_AT_MOST: u32 = 1000;

/// The jobs that are meant: all of them, or those of a function, a queue or a state.
///
/// # Examples
/// ```
/// use bgtask::durable::JobState;
/// use bgtask_durable::Filter;
///
/// let dead_receipts = Filter::all().function("shop::send_receipt").state(JobState::Dead);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a filter does nothing until it is passed to `list`, `matching` or `retry_dead`"]
pub struct Filter {
    pub(crate) function: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) state: Option<JobState>,
    pub(crate) before: Option<JobId>,
    pub(crate) limit: u32,
}

impl Filter {
    /// Means all jobs.
    pub fn all() -> Self {
        Self {
            function: None,
            queue: None,
            state: None,
            before: None,
            limit: LISTED,
        }
    }

    /// Means the jobs of this function only: the name under which they are stored.
    pub fn function(mut self, name: impl Into<String>) -> Self {
        self.function = Some(name.into());
        self
    }

    /// Means the jobs of this queue only.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Means the jobs in this state only.
    pub fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// Means the jobs that were stored before this one: the next page of a list ends with the last job of the page before.
    pub fn before(mut self, id: JobId) -> Self {
        self.before = Some(id);
        self
    }

    pub(crate) fn means_all(&self) -> bool {
        self.function.is_none() && self.queue.is_none() && self.state.is_none()
    }

    /// Whether only the queue is given, which no index begins with.
    pub(crate) fn needs_any_state(&self) -> bool {
        self.queue.is_some() && self.function.is_none() && self.state.is_none()
    }

    /// Sets how many jobs a list has at most: 1 to 1000. Default: 100.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit.clamp(1, LISTED_AT_MOST);
        self
    }
}

/// The jobs by queue and state; see [`Jobs::stats`](crate::Jobs::stats).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The queues that have jobs, are paused, or are worked by a process.
    pub queues: BTreeMap<String, QueueStats>,
}

impl Stats {
    /// Returns the number of jobs in this state, in all queues.
    #[must_use]
    pub fn count(&self, state: JobState) -> u64 {
        self.queues.values().map(|queue| queue.count(state)).sum()
    }
}

/// One queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// The number of jobs in each state. A state without jobs is left out.
    pub jobs: BTreeMap<JobState, u64>,
    /// For how long the oldest waiting job could have run, in seconds.
    #[serde(
        rename = "oldest_waiting_seconds",
        serialize_with = "text::seconds_if_any"
    )]
    pub oldest_waiting: Option<Duration>,
    /// No process claims its jobs, until it is resumed.
    pub is_paused: bool,
}

impl QueueStats {
    /// Returns the number of jobs in this state.
    #[must_use]
    pub fn count(&self, state: JobState) -> u64 {
        self.jobs.get(&state).copied().unwrap_or(0)
    }
}
