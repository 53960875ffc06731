//! The end of a job, as it is delivered. Plain data.
//! Must never know a channel.

use bgtask::durable::{JobId, JobState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The end of a job, as it is delivered.
///
/// It may be delivered more than once: [`id`](Self::id) is the same each time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobEnd {
    /// The job.
    pub job: JobId,
    /// The name of its function.
    pub function: String,
    /// [`Done`](JobState::Done), [`Dead`](JobState::Dead) or [`Cancelled`](JobState::Cancelled).
    pub state: JobState,
    /// The number of attempts that have begun, without those that a shutdown or a crash gave back.
    pub attempt: u32,
    /// The version of the job's row at the end. A job that is tried again ends with a greater one.
    pub version: u64,
    /// When it ended, in UTC as RFC 3339 writes it.
    pub at: String,
    /// The message of the last attempt, if the job is dead.
    pub error: Option<String>,
    /// The value of the job, if it is done and the target asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
    /// The id of the database: jobs of two databases may have one number.
    pub store: String,
}

impl JobEnd {
    /// Returns the id of this end for one target of the job. It is the same with each delivery, and no other end has it.
    #[must_use]
    pub fn id(&self, index: u32) -> String {
        let store: String = self
            .store
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        format!("{store}_{}_{}_{index}", self.job, self.version)
    }
}
