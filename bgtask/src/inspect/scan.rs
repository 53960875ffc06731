//! A scan of the live tasks for those that have run longer than a limit, each of which is reported once.
//! Owns which tasks a scan finds, and when the next one is due; must never know why a task runs long.

use crate::handler::Handler;
use crate::inspect::oldest::{Oldest, Others};
use crate::policy::Activity;
use crate::stats::TaskInfo;
use crate::tracker::Tracker;
use crate::tracker::state::ReportKind;
use crate::tracker::visit::Live;
use std::time::{Duration, Instant};

/// How many tasks one scan names. It sums up the rest.
const NAMED: usize = 20;

/// The shortest and the longest pause between two scans.
const SCAN_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A task that has passed its limit.
pub(crate) struct Found {
    pub(crate) handler: &'static Handler,
    pub(crate) task: TaskInfo,
    pub(crate) limit: Duration,
}

/// The result of one scan.
pub(crate) struct Scan {
    now: Instant,
    named: Vec<Found>,
    others: Others,
    /// When the next live task passes its limit.
    due: Option<Instant>,
}

impl Scan {
    /// Scans the live tasks, and marks those it finds as reported. `limit` returns the start of a task's time and its limit, or
    /// `None` for a task that is not to be reported.
    pub(crate) fn new(
        tracker: &Tracker,
        kind: ReportKind,
        limit: impl Fn(&Live<'_>) -> Option<(Instant, Duration)>,
    ) -> Self {
        let now = Instant::now();
        let mut oldest = Oldest::new(NAMED);
        let mut due: Option<Instant> = None;
        let mut has_passed = |since: Instant, limit| {
            // A time beyond the range of the clock never comes.
            let Some(end) = since.checked_add(limit) else {
                return false;
            };
            if end > now {
                due = Some(due.map_or(end, |due| due.min(end)));
            }
            end <= now
        };
        tracker.for_each_live(Some(kind), |live| {
            let Some((since, limit)) = limit(&live) else {
                return;
            };
            if !has_passed(since, limit) {
                return;
            }
            let (id, handler) = (live.identity.id, live.identity.handler);
            let progress = || tracker.shared.policies.progress(handler.policies()?, id);
            // A drain's limit does not depend on policies, and a drain has no time to look up each of a million calls.
            if kind == ReportKind::Slow && handler.policies().is_some() {
                let Some(progress) = progress() else {
                    // It has just ended.
                    return;
                };
                // A call that waits for a policy does what it was asked to. Its time starts when it is admitted.
                let admitted = match progress.activity() {
                    Activity::Waiting => now,
                    _ => progress.admitted_at().unwrap_or(since),
                };
                if !has_passed(admitted, limit) {
                    return;
                }
            }
            if live.claim(kind) {
                oldest.add(&live.identity, || {
                    let mut task = live.info(now);
                    task.fields = tracker.shared.fields_of(&live.identity);
                    if let Some(options) = handler.policies() {
                        tracker.shared.policies.describe_one(options, &mut task);
                    }
                    Found {
                        handler,
                        task,
                        limit,
                    }
                });
            }
        });
        let (named, others) = oldest.finish();
        Self {
            now,
            named: named.into_iter().map(|(_, found)| found).collect(),
            others,
            due,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Returns the pause before the next scan. A new task needs at least `shortest` to pass its limit. The pause has a lower
    /// bound, so that many tasks that pass their limits one after the other do not cause a scan each.
    pub(crate) fn pause(&self, shortest: Duration) -> Duration {
        let gap = (shortest / 10).clamp(SCAN_INTERVAL.0, SCAN_INTERVAL.1);
        let due = self.due.map(|due| due.saturating_duration_since(self.now));
        due.map_or(shortest, |due| due.min(shortest)).max(gap)
    }

    /// Calls `name` for each named task, and `sum_up` if there are more.
    pub(crate) fn report(&self, name: impl Fn(&Found), sum_up: impl Fn(u64, &Others)) {
        self.named.iter().for_each(name);
        match self.others.count() {
            0 => {}
            count => sum_up(count, &self.others),
        }
    }
}
