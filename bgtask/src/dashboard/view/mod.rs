//! The shape of `snapshot.json`, of the events of the stream, and of `function.json`. `docs/dashboard.md` lists every field.
//! Owns plain data and its conversion from the crate's types; must never know how the data is gathered.

mod calls;
mod function;

pub(crate) use calls::{Failures, OneEnd, OneFailure, Schedule, Scheduled, Task, Tasks};
pub(crate) use function::{Details, Function, OneGroup};

use super::timeline::{STEP, Step};
use crate::stats::Stats;
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
    pub(crate) ended: Vec<OneEnd>,
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
            ended: Vec::new(),
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

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns milliseconds with a precision of one microsecond.
pub(super) fn fine_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Returns milliseconds since 1970, as a browser counts them.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
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
