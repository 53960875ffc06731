//! A snapshot of one manager: phase, totals, oldest live tasks, policies and schedules.
//! Owns what it contains, and the limits of that; changes nothing.

mod display;

use crate::handler::Handler;
use crate::inspect::oldest::{Oldest, Others};
use crate::policy::{HandlerStats, ScheduleInfo, Waiting};
use crate::report::{ScheduledCall, ShutdownReason};
use crate::stats::{Stats, TaskInfo};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
#[cfg(feature = "serde")]
use crate::util::serialize::{optional_seconds, seconds, time};
use std::time::{Duration, Instant, SystemTime};

/// How many tasks are listed one by one.
const TASKS: usize = 50;

/// The state of one manager's work at one moment. Its `Display` is a table of bounded size.
///
/// [`snapshot()`](crate::snapshot()) and [`Manager::snapshot`](crate::Manager::snapshot) take one;
/// `#[bgtask::main(dump = "SIGUSR1")]` prints one on each such signal. Calls continue while it is taken, so its parts are not
/// from exactly the same instant. Each part is correct in itself, and the totals add up.
///
/// # Examples
///
/// ```
/// #[bgtask::background]
/// async fn refresh_cache(key: String) { std::future::pending::<()>().await }
///
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # let manager = bgtask::Manager::builder().grace(std::time::Duration::ZERO).install_on(runtime.handle())?;
/// # runtime.block_on(async {
/// refresh_cache("home".into());
/// let snapshot = bgtask::snapshot();
/// assert_eq!(snapshot.stats.running, 1);
/// println!("{snapshot}"); // each task with its state, age and call site
/// # manager.shutdown("the example ends").await;
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Snapshot {
    /// When it was taken.
    #[cfg_attr(feature = "serde", serde(serialize_with = "time"))]
    pub taken: SystemTime,
    /// The phase of the shutdown, or [`Phase::Running`].
    pub phase: Phase,
    /// The shutdown, once it has been requested.
    pub shutdown: Option<ShutdownProgress>,
    /// The totals.
    pub stats: Stats,
    /// The 50 oldest live tasks, oldest call first. [`tasks()`](crate::tasks()) lists all.
    pub tasks: Vec<TaskInfo>,
    /// The number of further live tasks by function name, the largest first.
    pub others: Vec<(&'static str, u64)>,
    /// The policies of each function, by name; see [`handler_stats()`](crate::handler_stats()).
    pub handlers: Vec<HandlerStats>,
    /// The schedules, by name; see [`schedules()`](crate::schedules()).
    pub schedules: Vec<ScheduleInfo>,
    /// The calls of [`after`](crate::after) and [`at`](crate::at) that wait for their time, the first due first: at most 50.
    pub scheduled: Vec<ScheduledCall>,
    /// The number of all such calls.
    pub scheduled_count: u64,
}

/// The shutdown in progress of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ShutdownProgress {
    /// Why it was requested.
    pub reason: ShutdownReason,
    /// Time since the request.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub elapsed: Duration,
    /// Time since the tasks' tokens fired, if they have.
    #[cfg_attr(feature = "serde", serde(serialize_with = "optional_seconds"))]
    pub draining: Option<Duration>,
    /// Time until the deadline. Zero after it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub remaining: Duration,
}

/// Takes a snapshot. No call waits for it.
pub(crate) fn take(tracker: &Tracker) -> Snapshot {
    let now = Instant::now();
    let rest = without_tasks(&tracker.shared, now);
    let (tasks, Others(others)) = oldest_tasks(tracker, now, TASKS, |_| true);
    Snapshot {
        stats: tracker.totals(),
        tasks: tasks.into_iter().map(|(_, task)| task).collect(),
        others,
        ..rest
    }
}

/// Takes a snapshot of a manager that no longer exists.
pub(crate) fn take_ended(shared: &Shared) -> Snapshot {
    without_tasks(shared, Instant::now())
}

fn without_tasks(shared: &Shared, now: Instant) -> Snapshot {
    let since = |moment| now.saturating_duration_since(moment);
    let Waiting { first, count } = shared.policies.later.waiting(TASKS);
    Snapshot {
        taken: SystemTime::now(),
        phase: shared.shutdown.phase(),
        shutdown: shared.shutdown.request().map(|request| ShutdownProgress {
            reason: request.reason.clone(),
            elapsed: since(request.asked),
            draining: shared.shutdown.drains_since().map(since),
            remaining: request.deadline.saturating_duration_since(now),
        }),
        stats: Stats::default(),
        tasks: Vec::new(),
        others: Vec::new(),
        handlers: shared.policies.handler_stats(),
        schedules: shared.policies.schedule_infos(),
        scheduled: first,
        scheduled_count: count,
    }
}

/// Returns the oldest live tasks of the functions that `is_included` selects, at most `limit`, each with its function, and a summary
/// of the others. Visits each live call once, and copies only the tasks it returns.
pub(crate) fn oldest_tasks(
    tracker: &Tracker,
    now: Instant,
    limit: usize,
    is_included: impl Fn(&'static Handler) -> bool,
) -> (Vec<(&'static Handler, TaskInfo)>, Others) {
    let mut oldest = Oldest::new(limit);
    tracker.for_each_live(None, |live| {
        if is_included(live.identity.handler) {
            oldest.add(&live.identity, || live.info(now));
        }
    });
    let (mut kept, others) = oldest.finish();
    let policies = &tracker.shared.policies;
    for (handler, task) in &mut kept {
        if let Some(options) = handler.policies() {
            policies.describe_one(options, task);
        }
        if handler.fields().is_some() {
            task.fields = tracker.shared.fields.get(task.id);
        }
    }
    (kept, others)
}

#[cfg(feature = "serde")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;
    use crate::stats::{TaskId, TaskState};
    use serde_json::json;
    use std::panic::Location;

    #[test]
    fn a_snapshot_serializes_as_documented() {
        let called_at = Location::caller();
        let snapshot = Snapshot {
            taken: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            phase: Phase::Draining,
            shutdown: Some(ShutdownProgress {
                reason: ShutdownReason::Requested("deploy".into()),
                elapsed: Duration::from_millis(2_500),
                draining: None,
                remaining: Duration::from_secs(22),
            }),
            stats: Stats {
                accepted: 2,
                running: 2,
                ..Stats::default()
            },
            tasks: vec![TaskInfo {
                id: TaskId(7),
                name: "shop::deliver",
                state: TaskState::BackingOff,
                age: Duration::from_millis(1_800),
                called_at,
                attempt: 2,
                file: "src/main.rs",
                line: 5,
                fields: Fields::default(),
                #[cfg(feature = "durable")]
                job: None,
            }],
            others: vec![("shop::import", 1)],
            handlers: Vec::new(),
            schedules: vec![ScheduleInfo {
                name: "shop::purge",
                next: Some(SystemTime::UNIX_EPOCH),
                runs: 1,
                missed: 0,
                waits_for_state: false,
                is_paused: false,
                has_ended: false,
            }],
            scheduled: vec![ScheduledCall {
                name: "shop::remind",
                due: SystemTime::UNIX_EPOCH,
                called_at,
            }],
            scheduled_count: 1,
        };
        let expected = json!({
            "taken": "1970-01-01T00:00:01.500Z",
            "phase": "draining",
            "shutdown": {
                "reason": { "requested": "deploy" },
                "elapsed": 2.5,
                "draining": null,
                "remaining": 22.0,
            },
            "stats": {
                "accepted": 2, "refused": 0, "running": 2, "succeeded": 0, "failed": 0, "panicked": 0, "timed_out": 0,
                "cancelled": 0, "aborted": 0, "abandoned": 0, "coalesced": 0, "retries": 0, "waiting": 0,
            },
            "tasks": [{
                "id": 7,
                "name": "shop::deliver",
                "state": "backing_off",
                "age": 1.8,
                "called_at": called_at.to_string(),
                "attempt": 2,
                "file": "src/main.rs",
                "line": 5,
                "fields": {},
            }],
            "others": [["shop::import", 1]],
            "handlers": [],
            "schedules": [{
                "name": "shop::purge",
                "next": "1970-01-01T00:00:00.000Z",
                "runs": 1,
                "missed": 0,
                "waits_for_state": false,
                "is_paused": false,
                "has_ended": false,
            }],
            "scheduled": [{
                "name": "shop::remind",
                "due": "1970-01-01T00:00:00.000Z",
                "called_at": called_at.to_string(),
            }],
            "scheduled_count": 1,
        });
        assert_eq!(serde_json::to_value(&snapshot).unwrap(), expected);
    }
}
