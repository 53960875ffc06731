//! What a store reports about a job: its id, its state, and why it has no value. Plain data.
//! Knows nothing of stores, or of how a job is run.

use super::progress::Progress;
use crate::stats::JobId;
use crate::util::text::Excerpt;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;

/// The state of a job. Code, texts and JSON use the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobState {
    /// Its time has not come.
    Scheduled,
    /// A worker may claim it.
    Waiting,
    /// A worker has claimed it.
    Running,
    /// An attempt failed, and the pause before the next one has not passed.
    Retrying,
    /// Its arguments do not decode. A worker that starts tries it again.
    Parked,
    /// It succeeded.
    Done,
    /// Its attempts are used up, or its failure is final. It is kept with all errors.
    Dead,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// All states, in the order in which a job goes through them.
    pub const ALL: [Self; 8] = [
        JobState::Scheduled,
        JobState::Waiting,
        JobState::Running,
        JobState::Retrying,
        JobState::Parked,
        JobState::Done,
        JobState::Dead,
        JobState::Cancelled,
    ];

    /// Returns the word for the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Scheduled => "scheduled",
            JobState::Waiting => "waiting",
            JobState::Running => "running",
            JobState::Retrying => "retrying",
            JobState::Parked => "parked",
            JobState::Done => "done",
            JobState::Dead => "dead",
            JobState::Cancelled => "cancelled",
        }
    }

    /// Returns whether the job has ended.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, JobState::Done | JobState::Dead | JobState::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A job at one moment; see [`JobHandle::status`](super::JobHandle::status).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// The job.
    pub id: JobId,
    /// The name of its function.
    pub function: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: JobState,
    /// The number of attempts that have begun, without those that a shutdown or a crash gave back.
    pub attempts: u32,
    /// The number of attempts that it may have.
    pub max_attempts: u32,
    /// How many times the process died that ran it.
    pub crashes: u32,
    /// The message of the last failed attempt, or why the job is parked.
    pub last_error: Option<String>,
    /// What its last attempt stored of its progress.
    pub progress: Option<Progress>,
    /// A number that grows with each change of its state or progress.
    pub version: u64,
    /// Whether the job runs and its cancellation was requested.
    pub is_cancelling: bool,
}

impl JobStatus {
    /// Returns the status of a job without attempts, for a store, which sets the other fields.
    #[must_use]
    pub fn new(id: JobId, function: String, queue: String, state: JobState) -> Self {
        Self {
            id,
            function,
            queue,
            state,
            attempts: 0,
            max_attempts: 0,
            crashes: 0,
            last_error: None,
            progress: None,
            version: 0,
            is_cancelling: false,
        }
    }
}

/// Why a job has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// Its last attempt failed: with an `Err`, or because the process died that ran it.
    #[non_exhaustive]
    Failed {
        /// The error's text, not escaped. Of more than 64 KiB only these are stored.
        message: String,
        /// The number of attempts made.
        attempts: u32,
    },
    /// Its last attempt panicked.
    #[non_exhaustive]
    Panicked {
        /// The panic's message, not escaped. Of more than 64 KiB only these are stored.
        message: String,
        /// The number of attempts made.
        attempts: u32,
    },
    /// Its last attempt timed out: `timeout = "…"`.
    #[non_exhaustive]
    TimedOut {
        /// The number of attempts made.
        attempts: u32,
    },
    /// It was cancelled.
    #[non_exhaustive]
    Cancelled {
        /// The number of attempts made.
        attempts: u32,
    },
    /// The database has never had a job with this id.
    NotFound,
    /// The job was deleted, or it has ended and its time in the database is over.
    Gone,
    /// The stored output does not decode as the type that is asked for.
    #[non_exhaustive]
    Undecodable {
        /// The decoder's text.
        message: String,
    },
    /// The store cannot be read.
    #[non_exhaustive]
    Store {
        /// The database's text.
        message: String,
    },
}

impl JobError {
    /// Returns the error of a job whose last attempt failed, for a store.
    #[must_use]
    pub fn failed(message: String, attempts: u32) -> Self {
        JobError::Failed { message, attempts }
    }

    /// Returns the error of a job whose last attempt panicked, for a store.
    #[must_use]
    pub fn panicked(message: String, attempts: u32) -> Self {
        JobError::Panicked { message, attempts }
    }

    /// Returns the error of a job whose last attempt timed out, for a store.
    #[must_use]
    pub fn timed_out(attempts: u32) -> Self {
        JobError::TimedOut { attempts }
    }

    /// Returns the error of a cancelled job, for a store.
    #[must_use]
    pub fn cancelled(attempts: u32) -> Self {
        JobError::Cancelled { attempts }
    }

    /// Returns the error of a store that cannot be read.
    #[must_use]
    pub fn store(message: String) -> Self {
        JobError::Store { message }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An attempt whose process died is no attempt, so there may have been none.
        let after = |attempts: &u32| match attempts {
            0 => String::new(),
            1 => " after 1 attempt".to_owned(),
            attempts => format!(" after {attempts} attempts"),
        };
        match self {
            JobError::Failed { message, attempts } => {
                write!(f, "the job failed{}: {}", after(attempts), Excerpt(message))
            }
            JobError::Panicked { message, attempts } => {
                write!(
                    f,
                    "the job panicked{}: {}",
                    after(attempts),
                    Excerpt(message)
                )
            }
            JobError::TimedOut { attempts } => {
                write!(f, "the job timed out{}", after(attempts))
            }
            JobError::Cancelled { attempts } => {
                write!(f, "the job was cancelled{}", after(attempts))
            }
            JobError::NotFound => f.pad("there is no job with this id"),
            JobError::Gone => f.pad("the job has ended, and its time in the database is over"),
            JobError::Undecodable { message } => {
                write!(f, "the output of the job does not decode: {message}")
            }
            JobError::Store { message } => {
                write!(f, "the store of the job returned an error: {message}")
            }
        }
    }
}

impl Error for JobError {}
