//! Overdue tasks: those that still run half the grace period after their tokens fired.
//! Owns when the drain scans for them and what it reports; must never know how a scan works.

use crate::handler::Log;
use crate::inspect::scan::Scan;
use crate::tracker::Tracker;
use crate::tracker::state::ReportKind;
use crate::util::fmt::Rounded;
use crate::util::log::report;
use std::time::{Duration, Instant};

/// The search for overdue tasks in one drain.
pub(super) struct Overdue {
    fired: Instant,
    deadline: Instant,
    /// Half the grace period.
    limit: Duration,
}

impl Overdue {
    /// Begins the search. The tokens have just fired.
    pub(super) fn new(grace: Duration, deadline: Instant) -> Self {
        Self {
            fired: Instant::now(),
            deadline,
            limit: grace / 2,
        }
    }

    pub(super) fn first_scan(&self) -> Option<Instant> {
        self.fired.checked_add(self.limit)
    }

    /// Scans once. Returns the report, which is still to run, and the time of the next scan.
    pub(super) fn scan(
        &self,
        tracker: &Tracker,
    ) -> (impl FnOnce() + Send + 'static, Option<Instant>) {
        let scan = Scan::new(tracker, ReportKind::Overdue, |live| {
            let handler = live.identity.handler;
            // A task with `on_shutdown = "finish"` received no signal. One with `log = "off"` is named only at the deadline.
            let is_relevant = !handler.finishes() && handler.log() != Log::Off;
            let since = live.identity.called().max(self.fired);
            is_relevant.then_some((since, self.limit))
        });
        let next = scan.now().checked_add(scan.pause(self.limit));
        let remaining = self.deadline.saturating_duration_since(scan.now());
        let report = move || {
            scan.report(
                |found| {
                    let task = &found.task;
                    report!(warn, "task is still running long after its token fired"; name = task.name,
                        id: task.id.as_u64(), called_at = task.called_at, age = Rounded(task.age),
                        remaining = Rounded(remaining), state = task.state, takes_token: found.handler.takes_token(),
                        fields + task.fields);
                },
                |count, others| {
                    report!(warn, "more tasks are still running long after their tokens fired"; count: count,
                        tasks = others);
                },
            );
        };
        (report, next)
    }
}
