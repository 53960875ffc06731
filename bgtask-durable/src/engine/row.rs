//! The row of a job as it is read, and what it says about the job. Must never know a database.

use super::types::{Ended, Error, Shown, time};
use crate::operate::{AttemptError, JobDetails, Stats};
use bgtask::durable::{JobError, JobEvent, JobId, JobState, JobStatus};
use riverqueue::sqlx;
use serde_json::value::RawValue;
use std::time::Duration;

/// What is read of a job, whichever database it is in.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) function: String,
    pub(super) queue: String,
    pub(super) state: String,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) crashes: u32,
    /// Why it is parked, if it ever was.
    pub(super) parked: Option<String>,
    pub(super) failure: Option<String>,
    /// The message of the last failed attempt.
    pub(super) error: Option<String>,
    pub(super) output: Option<String>,
    pub(super) progress: Option<String>,
    /// How many of our writes have changed its state or progress.
    pub(super) version: u64,
    pub(super) is_cancelling: bool,
}

impl Row {
    pub(super) fn status(self, id: JobId) -> JobStatus {
        let state = state_of(&self.state);
        let reason = self.parked.filter(|_| state == JobState::Parked);
        let is_running = state == JobState::Running;
        let mut status = JobStatus::new(id, self.function, self.queue, state);
        status.attempts = self.attempt;
        status.max_attempts = self.max_attempts;
        status.crashes = self.crashes;
        status.last_error = reason.or(self.error);
        status.progress = self
            .progress
            .and_then(|progress| serde_json::from_str(&progress).ok());
        // A claim changes the state and no metadata: so a running job counts as one more. So does one that has ended: a tool that cancels
        // a job raises no version either, and an end has to be newer than what was before it.
        status.version = 2 * self.version + u64::from(is_running || state.has_ended());
        status.is_cancelling = is_running && self.is_cancelling;
        status
    }

    /// Returns what those who watch the job see, and with its value or error if it has ended.
    pub(super) fn shown(self, id: JobId, with_value: bool) -> Result<Shown, JobError> {
        let ended = if with_value {
            self.clone().ended()?
        } else {
            None
        };
        let event = JobEvent::new(&self.status(id));
        Ok(Shown { event, ended })
    }

    /// Returns the end of the job, or `None` if it has not ended.
    pub(super) fn ended(self) -> Result<Option<Ended>, JobError> {
        let attempts = self.attempt;
        Ok(Some(match state_of(&self.state) {
            JobState::Done => {
                // A job that another client completed may have no output.
                let output = self.output.unwrap_or_else(|| "null".to_owned());
                let output = RawValue::from_string(output)
                    .map_err(|error| read_error(&Error::Decode(error.into())))?;
                Ok(output)
            }
            JobState::Cancelled => Err(JobError::cancelled(attempts)),
            JobState::Dead => {
                let message = self.error.unwrap_or_default();
                Err(match self.failure.as_deref() {
                    Some("panicked") => JobError::panicked(message, attempts),
                    Some("timed_out") => JobError::timed_out(attempts),
                    _ => JobError::failed(message, attempts),
                })
            }
            _ => return Ok(None),
        }))
    }
}

/// What is read of a job beside its [`Row`]. Times are microseconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) priority: i64,
    pub(super) is_unique: bool,
    pub(super) stored_at: i64,
    pub(super) due_at: i64,
    pub(super) claimed_at: Option<i64>,
    pub(super) ended_at: Option<i64>,
    pub(super) tick: Option<i64>,
    /// In seconds.
    pub(super) keep: Option<i64>,
    /// Who has claimed it last.
    pub(super) worker: Option<String>,
    /// A JSON array of the failed attempts.
    pub(super) errors: String,
}

/// Reads a [`History`] from a row of whichever database, by the names of its columns.
macro_rules! history {
    ($row:expr) => {
        $crate::engine::row::History {
            priority: $row.try_get("priority")?,
            is_unique: $row.try_get("is_unique")?,
            stored_at: $row.try_get("stored_at")?,
            due_at: $row.try_get("due_at")?,
            claimed_at: $row.try_get("claimed_at")?,
            ended_at: $row.try_get("ended_at")?,
            tick: $row.try_get("tick")?,
            keep: $row.try_get("keep")?,
            worker: $row.try_get("worker")?,
            errors: $row.try_get("errors")?,
        }
    };
}
pub(super) use history;

impl History {
    pub(super) fn details(self, status: JobStatus) -> JobDetails {
        // A tool may have written errors of another form, which the last error of the status shows.
        let errors: Vec<AttemptError> = serde_json::from_str(&self.errors).unwrap_or_default();
        JobDetails {
            status,
            priority: self.priority.try_into().unwrap_or(1),
            is_unique: self.is_unique,
            stored_at: time(self.stored_at),
            due_at: time(self.due_at),
            claimed_at: self.claimed_at.map(time),
            ended_at: self.ended_at.map(time),
            tick: self.tick.map(time),
            keep: self
                .keep
                .map(|seconds| Duration::from_secs(seconds.max(0).unsigned_abs())),
            // Without the number of the claim.
            worker: self.worker.map(|worker| {
                let id = worker.rsplit_once('.').map(|(id, _)| id.to_owned());
                id.unwrap_or(worker)
            }),
            errors,
        }
    }
}

pub(super) fn state_of(state: &str) -> JobState {
    match state {
        "scheduled" => JobState::Scheduled,
        "running" => JobState::Running,
        "retryable" => JobState::Retrying,
        "pending" => JobState::Parked,
        "completed" => JobState::Done,
        "discarded" => JobState::Dead,
        "cancelled" => JobState::Cancelled,
        _ => JobState::Waiting,
    }
}

pub(super) fn name_of(state: JobState) -> &'static str {
    match state {
        JobState::Scheduled => "scheduled",
        JobState::Running => "running",
        JobState::Retrying => "retryable",
        JobState::Parked => "pending",
        JobState::Done => "completed",
        JobState::Dead => "discarded",
        JobState::Cancelled => "cancelled",
        _ => "available",
    }
}

/// The queue, the state, the number of its jobs in this state, and for how many seconds the oldest of them has waited.
pub(super) type Counted = (String, String, u64, Option<f64>);

/// Returns the figures of all queues.
pub(super) fn stats_of(counted: Vec<Counted>, paused: Vec<String>) -> Stats {
    let mut stats = Stats::default();
    for (queue, state, count, oldest) in counted {
        let queue = stats.queues.entry(queue).or_default();
        *queue.jobs.entry(state_of(&state)).or_insert(0) += count;
        if let Some(seconds) = oldest {
            queue.oldest_waiting = Duration::try_from_secs_f64(seconds).ok();
        }
    }
    for queue in paused {
        stats.queues.entry(queue).or_default().is_paused = true;
    }
    stats
}

/// Returns why a job is not there, if this is the greatest id of those that may be gone.
pub(super) fn not_there(id: JobId, greatest_given: i64) -> JobError {
    if id.get() > 0 && id.get() <= greatest_given {
        JobError::Gone
    } else {
        JobError::NotFound
    }
}

pub(super) fn read_error(error: &sqlx::Error) -> JobError {
    JobError::store(error.to_string())
}
