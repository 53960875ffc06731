//! Reads the state of a manager, and what was recorded of it, into a snapshot or into the details of one function.
//! Owns the limits of the lists; must never know when a sample is taken, or who receives it.

use super::records::Records;
use super::view::{self, Details, Snapshot};
use crate::handler::{self, Handler};
use crate::inspect::snapshot::oldest_tasks;
use crate::policy::{HandlerStats, ScheduleInfo};
use crate::tracker::Tracker;
use std::collections::HashMap;
use std::time::Instant;

/// How many live tasks are shown. The others are counted.
const TASKS: usize = 100;

/// How many ended calls of all functions are shown.
const ENDED: usize = 100;

/// How many of the calls that wait for their time are shown, the first to come.
const SCHEDULED: usize = 50;

/// The sources of a sample.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) tracker: &'a Tracker,
    pub(super) records: &'a Records,
}

impl Sources<'_> {
    /// Fills a snapshot with everything except the timeline.
    pub(super) fn fill(self, snapshot: &mut Snapshot) {
        let (tasks, running) = self.tasks(|_| true);
        snapshot.tasks = tasks;

        let policies = self.tracker.shared.policies.handler_stats();
        // The page shows one row per name: blocks may share a name, and the start-up check reports functions that do.
        let handlers = functions();
        let functions = handlers.iter().map(|handler| {
            let running = running.get(handler.name()).copied().unwrap_or(0);
            self.function(handler, running, &policies)
        });
        snapshot.functions = functions.collect();

        let failures = self.records.failures();
        snapshot.failures.total = failures.total;
        // Copied under the lock, converted after it.
        let kept = failures.kept.clone();
        drop(failures);
        let latest = kept.iter().rev().map(view::OneFailure::new);
        snapshot.failures.latest = latest.collect();

        let ended = self.records.latest_ends(ENDED);
        let ended = ended.iter().map(|(name, end)| view::OneEnd::new(name, end));
        snapshot.ended = ended.collect();

        let schedules = self.tracker.shared.policies.schedule_infos();
        let schedules = schedules.iter().map(|info| {
            let handler = handlers.iter().find(|handler| handler.name() == info.name);
            self.schedule(info, handler.copied())
        });
        snapshot.schedules = schedules.collect();
        let later = &self.tracker.shared.policies.later;
        snapshot.scheduled = view::Scheduled::new(&later.waiting(SCHEDULED));
    }

    /// Fills in the details of one function, with its live and ended calls.
    pub(super) fn fill_details(self, details: &mut Details, handler: &'static Handler) {
        let name = handler.name();
        let policies = self.tracker.shared.policies.handler_stats();
        (details.tasks, _) = self.tasks(|other| other.name() == name);
        details.function = Some(self.function(handler, details.tasks.total, &policies));
        details.options = handler.options().iter().map(str::to_owned).collect();

        let ended = self.records.ends_of(name);
        let ended = ended.iter().map(|end| view::OneEnd::new(name, end));
        details.ended = ended.collect();

        let (groups, others) = self.records.groups(name);
        details.groups = groups.iter().map(view::OneGroup::new).collect();
        details.other_failures = others;

        let schedules = self.tracker.shared.policies.schedule_infos();
        let schedules = schedules.iter().filter(|info| info.name == name);
        let schedules = schedules.map(|info| self.schedule(info, Some(handler)));
        details.schedules = schedules.collect();
    }

    /// Returns the oldest live tasks of some functions, and the number of live tasks by name.
    fn tasks(
        self,
        is_included: impl Fn(&'static Handler) -> bool,
    ) -> (view::Tasks, HashMap<&'static str, u64>) {
        let (oldest, others) = oldest_tasks(self.tracker, Instant::now(), TASKS, is_included);
        let total = oldest.len() as u64 + others.count();
        let mut running: HashMap<_, _> = others.0.into_iter().collect();
        let tasks = oldest.iter().map(|(handler, task)| {
            *running.entry(task.name).or_default() += 1;
            let until_next = || self.records.until_next_attempt(task.name, task.id);
            view::Task::new(handler, task, until_next)
        });
        let oldest = tasks.collect();
        (view::Tasks { total, oldest }, running)
    }

    fn function(
        self,
        handler: &Handler,
        running: u64,
        policies: &[HandlerStats],
    ) -> view::Function {
        let name = handler.name();
        // Sorted by name. Several blocks may share a name.
        let start = policies.partition_point(|stats| stats.name < name);
        let count = policies[start..].partition_point(|stats| stats.name == name);
        let policies = &policies[start..start + count];
        view::Function::new(handler, running, &self.records.sums(name), policies)
    }

    fn schedule(self, info: &ScheduleInfo, handler: Option<&Handler>) -> view::Schedule {
        let options = handler.map(|handler| handler.options().to_string());
        let last = self.records.last_run(info.name);
        view::Schedule::new(info, options.unwrap_or_default(), last)
    }
}

/// Returns every function linked into the program, one per name, sorted by name.
fn functions() -> Vec<&'static Handler> {
    let mut handlers = handler::handlers();
    handlers.dedup_by_key(|handler| handler.name());
    handlers
}

/// Returns the function of this name, if it is linked into the program.
pub(super) fn find(name: &str) -> Option<&'static Handler> {
    functions()
        .into_iter()
        .find(|handler| handler.name() == name)
}
