//! A record as the statement of a database binds it: the new state, and what it adds to the row. Must never know a statement.

use super::types::{Claim, Record};
use bgtask::durable::Progress;
use serde::Serialize;

/// A record, by the columns of the statement that writes it.
#[derive(Default, Serialize)]
pub(super) struct Entry<'a> {
    pub(super) id: i64,
    pub(super) worker: &'a str,
    pub(super) attempted_at: &'a str,
    pub(super) state: &'static str,
    /// In seconds.
    pub(super) pause: f64,
    pub(super) error: Option<&'a str>,
    /// As text: its numbers stay as they are.
    pub(super) output: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<&'a Progress>,
    pub(super) members: Members<'a>,
}

/// The members that a record adds to the metadata of its row, beside output and progress.
#[derive(Default, Serialize)]
pub(super) struct Members<'a> {
    #[serde(rename = "bgtask:claim", skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    #[serde(rename = "bgtask:mark", skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    #[serde(rename = "bgtask:failure", skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[serde(rename = "bgtask:parked", skip_serializing_if = "Option::is_none")]
    parked: Option<&'a str>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(claim: &'a Claim, record: &'a Record) -> Self {
        let mut entry = Self {
            id: claim.id,
            worker: &claim.worker,
            attempted_at: &claim.attempted_at,
            ..Self::default()
        };
        entry.members.claim = Some(claim.value());
        entry.state = match record {
            Record::Done { output } => {
                entry.output = Some(output);
                "completed"
            }
            Record::Retry {
                failure,
                message,
                pause,
            } => {
                entry.members.failure = Some(failure.as_str());
                (entry.pause, entry.error) = (pause.as_secs_f64(), Some(message.as_str()));
                "retryable"
            }
            Record::Dead { failure, message } => {
                entry.members.failure = Some(failure.as_str());
                entry.error = Some(message);
                "discarded"
            }
            Record::Returned => "available",
            Record::Postponed { pause } => {
                entry.pause = pause.as_secs_f64();
                "scheduled"
            }
            Record::Cancelled => "cancelled",
            Record::Progress(progress) => {
                entry.progress = Some(progress);
                (entry.members.claim, entry.members.mark) = (None, Some(Claim::progress_mark()));
                "running"
            }
            Record::Parked { reason } => {
                entry.members.parked = Some(reason);
                "pending"
            }
        };
        entry
    }
}
