//! The shape of single calls: live ones, failures, ends, those that wait for their time, and the runs of schedules.
//! Owns plain data and its conversion from the crate's types; must never know how the data is gathered.

use super::{fine_ms, ms, unix_ms};
use crate::dashboard::records::{End, Failure};
use crate::handler::Handler;
use crate::policy::{ScheduleInfo, Waiting};
use crate::report::ScheduledCall;
use crate::stats::{TaskInfo, TaskState};
use serde::Serialize;
use std::time::Duration;

/// How many characters of a message a list of calls has.
const BEGINNING: usize = 200;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Tasks {
    pub(crate) total: u64,
    pub(crate) oldest: Vec<Task>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Task {
    id: u64,
    name: &'static str,
    state: String,
    age_ms: u64,
    attempt: u32,
    max_attempts: Option<u32>,
    next_attempt_ms: Option<u64>,
    called_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    fields: String,
    #[cfg(feature = "durable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<crate::stats::JobInfo>,
}

impl Task {
    /// `until_next` is the time until the next attempt of a task that sleeps between two.
    pub(crate) fn new(
        handler: &Handler,
        task: &TaskInfo,
        until_next: impl FnOnce() -> Option<Duration>,
    ) -> Self {
        let retry = handler.policies().and_then(|policies| policies.retry);
        let max_attempts = retry.map(|retry| retry.max);
        // Each attempt of a job is a task, so `retry` does not bound its attempts.
        #[cfg(feature = "durable")]
        let max_attempts = match &task.job {
            Some(job) => Some(job.max_attempts),
            None => max_attempts,
        };
        let backs_off = task.state == TaskState::BackingOff;
        Self {
            id: task.id.as_u64(),
            name: task.name,
            state: task.state.to_string(),
            age_ms: ms(task.age),
            attempt: task.attempt,
            max_attempts,
            next_attempt_ms: if backs_off {
                until_next().map(ms)
            } else {
                None
            },
            called_at: task.called_at.to_string(),
            fields: task.fields.to_string(),
            #[cfg(feature = "durable")]
            job: task.job.clone(),
        }
    }
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Failures {
    pub(crate) total: u64,
    /// The newest first.
    pub(crate) latest: Vec<OneFailure>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OneFailure {
    id: u64,
    name: &'static str,
    outcome: String,
    message: String,
    panicked_at: Option<String>,
    called_at: String,
    at: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    fields: String,
}

impl OneFailure {
    pub(crate) fn new(failure: &Failure) -> Self {
        Self {
            id: failure.id.as_u64(),
            name: failure.name,
            outcome: failure.outcome.to_string(),
            message: failure.message.to_string(),
            panicked_at: failure.panicked_at.as_deref().map(str::to_owned),
            called_at: failure.called_at.to_string(),
            at: unix_ms(failure.at),
            fields: failure.fields.to_string(),
        }
    }
}

/// The end of one call.
#[derive(Debug, Serialize)]
pub(crate) struct OneEnd {
    id: u64,
    name: &'static str,
    outcome: String,
    took_ms: f64,
    at: u64,
    called_at: String,
    message: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    fields: String,
}

impl OneEnd {
    pub(crate) fn new(name: &'static str, end: &End) -> Self {
        Self {
            id: end.id.as_u64(),
            name,
            outcome: end.outcome.to_string(),
            took_ms: fine_ms(end.took),
            at: unix_ms(end.at),
            called_at: end.called_at.to_string(),
            message: end.message.as_deref().map(beginning),
            fields: end.fields.to_string(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Schedule {
    name: &'static str,
    options: String,
    next_at: Option<u64>,
    last: Option<LastRun>,
    runs: u64,
    missed: u64,
    waits_for_state: bool,
    is_paused: bool,
    has_ended: bool,
}

impl Schedule {
    /// `last` is the run that ended last.
    pub(crate) fn new(info: &ScheduleInfo, options: String, last: Option<End>) -> Self {
        Self {
            name: info.name,
            options,
            next_at: info.next.map(unix_ms),
            last: last.map(|end| LastRun {
                id: end.id.as_u64(),
                outcome: end.outcome.to_string(),
                took_ms: fine_ms(end.took),
                at: unix_ms(end.at),
            }),
            runs: info.runs,
            missed: info.missed,
            waits_for_state: info.waits_for_state,
            is_paused: info.is_paused,
            has_ended: info.has_ended,
        }
    }
}

#[derive(Debug, Serialize)]
struct LastRun {
    id: u64,
    outcome: String,
    took_ms: f64,
    at: u64,
}

/// Returns as much of a message as a list shows: the failures have all of it.
fn beginning(message: &str) -> String {
    match message.char_indices().nth(BEGINNING) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// The calls of `after` and `at` that wait for their time.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Scheduled {
    total: u64,
    first: Vec<OneScheduled>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OneScheduled {
    name: &'static str,
    due_at: u64,
    called_at: String,
}

impl Scheduled {
    pub(crate) fn new(waiting: &Waiting) -> Self {
        let one = |call: &ScheduledCall| OneScheduled {
            name: call.name,
            due_at: unix_ms(call.due),
            called_at: call.called_at.to_string(),
        };
        Self {
            total: waiting.count,
            first: waiting.first.iter().map(one).collect(),
        }
    }
}
