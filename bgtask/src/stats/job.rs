//! The job of a task, as a snapshot shows it, and the id of a job.
//! Plain data; must never know how a job is stored or run.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// The job that a task runs an attempt of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// The queue that it was claimed from.
    pub queue: String,
    /// The number of the attempt, starting at 1.
    pub attempt: u32,
    /// How many attempts it may have.
    pub max_attempts: u32,
}

/// The id of a stored job. It is unique in its database and never given to another job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(i64);

impl JobId {
    /// Returns the id with this number, for a store.
    pub fn new(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number that the database has for the job.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        text.parse().map(Self).map_err(|_| InvalidJobId(()))
    }
}

/// A text is not the id of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidJobId(());

impl fmt::Display for InvalidJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("the id of a job is a whole number")
    }
}

impl Error for InvalidJobId {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_serializes_as_documented() {
        let job = JobInfo {
            id: JobId::new(41),
            queue: "mail".to_owned(),
            attempt: 2,
            max_attempts: 10,
        };
        let expected = json!({ "id": 41, "queue": "mail", "attempt": 2, "max_attempts": 10 });
        assert_eq!(serde_json::to_value(&job).unwrap(), expected);
    }
}
