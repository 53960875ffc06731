//! The shape of one function: its row in the table, and the details of its page.
//! Owns plain data and its conversion from the crate's types; must never know how the data is gathered.

use super::calls::{OneEnd, Schedule, Tasks};
use super::{Shutdown, VERSION, fine_ms, unix_ms};
use crate::dashboard::records::{Group, Spread, Sums};
use crate::handler::{Handler, Kind};
use crate::policy::HandlerStats;
use crate::stats::Outcome;
use serde::Serialize;
use std::time::SystemTime;

/// `function.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Details {
    version: u32,
    taken_at: u64,
    since: u64,
    shutdown: Shutdown,
    pub(crate) function: Option<Function>,
    pub(crate) options: Vec<String>,
    pub(crate) tasks: Tasks,
    pub(crate) ended: Vec<OneEnd>,
    pub(crate) groups: Vec<OneGroup>,
    pub(crate) other_failures: u64,
    pub(crate) schedules: Vec<Schedule>,
}

impl Details {
    pub(crate) fn new(since: SystemTime, shutdown: Shutdown) -> Self {
        Self {
            version: VERSION,
            taken_at: unix_ms(SystemTime::now()),
            since: unix_ms(since),
            shutdown,
            function: None,
            options: Vec::new(),
            tasks: Tasks::default(),
            ended: Vec::new(),
            groups: Vec::new(),
            other_failures: 0,
            schedules: Vec::new(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Function {
    name: &'static str,
    kind: &'static str,
    location: String,
    options: String,
    takes_token: bool,
    accepted: u64,
    running: u64,
    succeeded: u64,
    failed: u64,
    panicked: u64,
    timed_out: u64,
    cancelled: u64,
    aborted: u64,
    abandoned: u64,
    refused: u64,
    coalesced: u64,
    retries: u64,
    mean_ms: Option<f64>,
    longest_ms: Option<f64>,
    mean_wait_ms: Option<f64>,
    took: Option<Times>,
    waited: Option<Times>,
    live: Option<Live>,
}

impl Function {
    pub(crate) fn new(
        handler: &Handler,
        running: u64,
        sums: &Sums,
        policies: &[HandlerStats],
    ) -> Self {
        let count = |outcome: Outcome| sums.outcomes[outcome as usize];
        Self {
            name: handler.name(),
            kind: match handler.kind() {
                Kind::Async => "async",
                Kind::Blocking => "blocking",
            },
            location: format!("{}:{}", handler.file(), handler.line()),
            options: handler.options().to_string(),
            takes_token: handler.takes_token(),
            accepted: running + sums.outcomes.iter().sum::<u64>(),
            running,
            succeeded: count(Outcome::Succeeded),
            failed: count(Outcome::Failed),
            panicked: count(Outcome::Panicked),
            timed_out: count(Outcome::TimedOut),
            cancelled: count(Outcome::Cancelled),
            aborted: count(Outcome::Aborted),
            abandoned: count(Outcome::Abandoned),
            refused: sums.refused,
            coalesced: sums.coalesced,
            retries: sums.retries,
            mean_ms: sums.took.map(|took| fine_ms(took.mean)),
            longest_ms: sums.took.map(|took| fine_ms(took.longest)),
            mean_wait_ms: sums.waited.map(|waited| fine_ms(waited.mean)),
            took: sums.took.map(Times::new),
            waited: sums.waited.map(Times::new),
            live: (!policies.is_empty()).then(|| Live::new(policies)),
        }
    }
}

/// Percentiles of durations.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Times {
    fn new(spread: Spread) -> Self {
        let percentiles = spread.percentiles;
        Self {
            p50_ms: fine_ms(percentiles.p50),
            p90_ms: fine_ms(percentiles.p90),
            p99_ms: fine_ms(percentiles.p99),
            max_ms: fine_ms(spread.longest),
        }
    }
}

/// The number of live calls in each state, for a function with policies.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    queued: u64,
    waiting: u64,
    running: u64,
    backing_off: u64,
}

impl Live {
    /// Adds up the functions and blocks that share a name.
    fn new(stats: &[HandlerStats]) -> Self {
        let sum = |field: fn(&HandlerStats) -> u64| stats.iter().map(field).sum();
        Self {
            queued: sum(|stats| stats.queued),
            waiting: sum(|stats| stats.waiting),
            running: sum(|stats| stats.running),
            backing_off: sum(|stats| stats.backing_off),
        }
    }
}

/// Failures of one function with the same message, but for numbers.
#[derive(Debug, Serialize)]
pub(crate) struct OneGroup {
    outcome: String,
    message: String,
    count: u64,
    first_at: u64,
    last_at: u64,
    last_id: u64,
    last_message: String,
    panicked_at: Option<String>,
}

impl OneGroup {
    pub(crate) fn new(group: &Group) -> Self {
        let (id, message) = &group.last;
        Self {
            outcome: group.outcome.to_string(),
            message: group.message.clone(),
            count: group.count,
            first_at: unix_ms(group.first_at),
            last_at: unix_ms(group.last_at),
            last_id: id.as_u64(),
            last_message: message.to_string(),
            panicked_at: group.panicked_at.as_deref().map(str::to_owned),
        }
    }
}
