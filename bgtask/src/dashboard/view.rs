//! The shape of `snapshot.json` and of the events of the stream. `docs/dashboard.md` lists every field.
//! Owns plain data and its conversion from the crate's types; must never know how the data is gathered.

use super::records::{Failure, Sums};
use super::timeline::{STEP, Step};
use crate::handler::{Handler, Kind};
use crate::policy::{HandlerStats, ScheduleInfo, Waiting};
use crate::report::ScheduledCall;
use crate::stats::{Outcome, Stats, TaskInfo};
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Changes if a field is removed or changes its meaning, but not if a field is added.
const VERSION: u32 = 1;

#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    version: u32,
    pub(crate) sample: u64,
    taken_at: u64,
    since: u64,
    pub(crate) shutdown: Shutdown,
    pub(crate) totals: Stats,
    pub(crate) tasks: Tasks,
    pub(crate) functions: Vec<Function>,
    pub(crate) failures: Failures,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) scheduled: Scheduled,
    pub(crate) timeline: Timeline,
}

impl Snapshot {
    pub(crate) fn new(sample: u64, since: SystemTime, shutdown: Shutdown, totals: Stats) -> Self {
        Self {
            version: VERSION,
            sample,
            taken_at: unix_ms(SystemTime::now()),
            since: unix_ms(since),
            shutdown,
            totals,
            tasks: Tasks::default(),
            functions: Vec::new(),
            failures: Failures::default(),
            schedules: Vec::new(),
            scheduled: Scheduled::default(),
            timeline: Timeline::default(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Shutdown {
    phase: &'static str,
    reason: Option<String>,
    elapsed_ms: Option<u64>,
    grace_ms: Option<u64>,
    left_ms: Option<u64>,
}

impl Shutdown {
    pub(crate) fn new(shared: &Shared) -> Self {
        let phase = match shared.shutdown.phase() {
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Draining => "draining",
            Phase::Expired => "expired",
            Phase::Over => "over",
        };
        // Read after the phase, which is never ahead of the request.
        let request = shared.shutdown.request();
        Self {
            phase,
            reason: request.map(|request| request.reason.to_string()),
            elapsed_ms: request.map(|request| ms(request.asked.elapsed())),
            grace_ms: request.map(|request| ms(request.grace)),
            left_ms: request.map(|request| {
                ms(request
                    .deadline
                    .saturating_duration_since(std::time::Instant::now()))
            }),
        }
    }
}

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
    called_at: String,
    #[cfg(feature = "durable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<crate::stats::JobInfo>,
}

impl Task {
    pub(crate) fn new(task: &TaskInfo) -> Self {
        Self {
            id: task.id.as_u64(),
            name: task.name,
            state: task.state.to_string(),
            age_ms: ms(task.age),
            attempt: task.attempt,
            called_at: task.called_at.to_string(),
            #[cfg(feature = "durable")]
            job: task.job.clone(),
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
            mean_ms: sums.mean.map(fine_ms),
            longest_ms: sums.longest.map(fine_ms),
            mean_wait_ms: sums.mean_wait.map(fine_ms),
            live: (!policies.is_empty()).then(|| Live::new(policies)),
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
}

impl OneFailure {
    pub(crate) fn new(failure: &Failure) -> Self {
        Self {
            id: failure.id.as_u64(),
            name: failure.name,
            outcome: failure.outcome.to_string(),
            message: failure.message.clone(),
            panicked_at: failure.panicked_at.clone(),
            called_at: failure.called_at.to_string(),
            at: unix_ms(failure.at),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Schedule {
    name: &'static str,
    options: String,
    next_at: Option<u64>,
    runs: u64,
    missed: u64,
    waits_for_state: bool,
    has_ended: bool,
}

impl Schedule {
    pub(crate) fn new(info: &ScheduleInfo, options: String) -> Self {
        Self {
            name: info.name,
            options,
            next_at: info.next.map(unix_ms),
            runs: info.runs,
            missed: info.missed,
            waits_for_state: info.waits_for_state,
            has_ended: info.has_ended,
        }
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
        let first = waiting
            .first
            .iter()
            .map(|call: &ScheduledCall| OneScheduled {
                name: call.name,
                due_at: unix_ms(call.due),
                called_at: call.called_at.to_string(),
            });
        Self {
            total: waiting.count,
            first: first.collect(),
        }
    }
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Timeline {
    step_ms: u64,
    /// The latest step is last and is not over yet.
    started: Vec<u64>,
    failed: Vec<u64>,
}

impl Timeline {
    pub(crate) fn new(steps: impl Iterator<Item = Step>) -> Self {
        let (started, failed) = steps.map(|step| (step.started, step.failed)).unzip();
        Self {
            step_ms: ms(STEP),
            started,
            failed,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns milliseconds with a precision of one microsecond.
fn fine_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Returns milliseconds since 1970, as a browser counts them.
fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_are_precise_to_a_microsecond() {
        assert_eq!(fine_ms(Duration::from_nanos(1_234_567)), 1.235);
    }
}
