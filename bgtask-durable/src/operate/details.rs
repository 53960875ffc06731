//! One job with everything that its store keeps of it. Plain data.
//! Must never know a database.

use super::text;
use bgtask::durable::JobStatus;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::time::{Duration, SystemTime};

/// A job with its history; see [`Jobs::details`](crate::Jobs::details).
///
/// It has neither the arguments nor the value of the job, which may be secret: [`Jobs::content`](crate::Jobs::content) reads them.
/// Serialized, the fields of `status` stand beside the others, times are RFC 3339 in UTC, and lengths of time are seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobDetails {
    /// What the job is doing.
    #[serde(flatten)]
    pub status: JobStatus,
    /// Its priority: 1 to 4. Within a queue, jobs of priority 1 run first.
    pub priority: u8,
    /// Whether the job has a key: `unique`, or `.key(…)` of its call.
    pub is_unique: bool,
    /// When it was stored.
    #[serde(serialize_with = "text::time")]
    pub stored_at: SystemTime,
    /// When it may run, or could at the earliest.
    #[serde(serialize_with = "text::time")]
    pub due_at: SystemTime,
    /// When its last attempt began.
    #[serde(serialize_with = "text::time_if_any")]
    pub claimed_at: Option<SystemTime>,
    /// When it ended.
    #[serde(serialize_with = "text::time_if_any")]
    pub ended_at: Option<SystemTime>,
    /// The tick of the schedule that has stored it.
    #[serde(serialize_with = "text::time_if_any")]
    pub tick: Option<SystemTime>,
    /// How long it is kept once it is done or cancelled, in seconds. `None` stands for a day.
    #[serde(rename = "keep_seconds", serialize_with = "text::seconds_if_any")]
    pub keep: Option<Duration>,
    /// The worker of its last attempt; see [`WorkerInfo::id`](crate::WorkerInfo::id).
    pub worker: Option<String>,
    /// The failed attempts, the oldest first.
    pub errors: Vec<AttemptError>,
}

/// A failed attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttemptError {
    /// When it was recorded: RFC 3339 in UTC.
    #[serde(default)]
    pub at: String,
    /// The number of the attempt: 1 for the first. It begins anew when a dead job is tried again.
    #[serde(default)]
    pub attempt: u32,
    /// Its message, not escaped.
    #[serde(default, rename(deserialize = "error"))]
    pub message: String,
}

/// The arguments and the value of a job; see [`Jobs::content`](crate::Jobs::content).
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct JobContent {
    /// The encoded arguments: an object with a member for each parameter.
    pub arguments: Box<RawValue>,
    /// The encoded value of a job that is done.
    pub value: Option<Box<RawValue>>,
}

impl JobContent {
    pub(crate) fn new(arguments: Box<RawValue>, value: Option<Box<RawValue>>) -> Self {
        Self { arguments, value }
    }
}

/// Shows sizes: a log must not get what is in a job.
impl fmt::Debug for JobContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |value: &RawValue| format!("{} bytes", value.get().len());
        f.debug_struct("JobContent")
            .field("arguments", &size(&self.arguments))
            .field("value", &self.value.as_deref().map(size))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::JobContent;
    use serde_json::value::to_raw_value;

    #[test]
    fn debug_shows_no_argument_and_no_value() {
        let secret = to_raw_value("secret").expect("JSON");
        let shown = format!("{:?}", JobContent::new(secret.clone(), Some(secret)));
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("8 bytes"), "{shown}");
    }
}
