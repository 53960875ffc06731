//! The history that the page shows: each function's counts and its last calls, and the last failures with their messages.
//! Owns what an observer's notification means for them; must never know the pages.

mod counts;
mod groups;
mod histogram;
mod history;

pub(crate) use counts::{Spread, Sums};
pub(crate) use groups::Group;
pub(crate) use history::End;

use crate::error::RefusedReason;
use crate::fields::Fields;
use crate::handler::{Handler, handlers};
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{FailedTask, HookList, PanickedTask};
use crate::observe::{Coalesced, Ended, Observer, Stage};
use crate::stats::{Outcome, TaskId};
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use counts::{Count, Counts};
use history::History;
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How many failures are kept. Earlier ones are counted.
const FAILURES: usize = 100;

#[derive(Debug)]
pub(crate) struct Records {
    /// Every function linked into the program, so that finding one takes no lock.
    functions: HashMap<&'static str, Function>,
    failures: Mutex<Failures>,
    /// Tasks that are aborted from now on are not failures.
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Function {
    counts: Counts,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// The number of all calls that failed.
    pub(crate) total: u64,
    /// The latest failures, the newest last.
    pub(crate) kept: VecDeque<Failure>,
}

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) id: TaskId,
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// Escaped and truncated.
    pub(crate) message: Arc<str>,
    pub(crate) panicked_at: Option<Arc<str>>,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) at: SystemTime,
    pub(crate) fields: Fields,
}

impl Records {
    pub(crate) fn new() -> Self {
        let names = handlers().into_iter().map(|handler| handler.name());
        Self {
            functions: names.map(|name| (name, Function::default())).collect(),
            failures: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Records the calls of a manager from now on.
    pub(crate) fn observe(self: &Arc<Self>, hooks: &HookList) {
        let (failed, panicked) = (self.clone(), self.clone());
        hooks.change(|hooks| {
            hooks
                .on_error
                .push(Arc::new(move |task| failed.failed(task)));
            hooks
                .on_panic
                .push(Arc::new(move |task| panicked.panicked(task)));
        });
        hooks.observe(self.clone());
    }

    fn function(&self, handler: &Handler) -> Option<&Function> {
        self.functions.get(handler.name())
    }

    fn failed(&self, task: &FailedTask<'_>) {
        self.keep(Failure {
            id: task.id,
            name: task.name,
            outcome: Outcome::Failed,
            message: task.shown.to_string().into(),
            panicked_at: None,
            called_at: task.called_at,
            at: SystemTime::now(),
            fields: task.fields.clone(),
        });
    }

    fn panicked(&self, task: &PanickedTask<'_>) {
        self.keep(Failure {
            id: task.id,
            name: task.name,
            outcome: Outcome::Panicked,
            message: task.shown.to_string().into(),
            panicked_at: task.location.map(|location| location.to_string().into()),
            called_at: task.called_at,
            at: SystemTime::now(),
            fields: task.fields.clone(),
        });
    }

    fn keep(&self, failure: Failure) {
        let mut failures = self.failures();
        // A call may fail twice: it panics, and panics again while it is dropped. The first panic is the cause.
        if failures.kept.iter().any(|kept| kept.id == failure.id) {
            return;
        }
        failures.total += 1;
        failures.kept.push_back(failure.clone());
        // Dropped after the lock.
        let oldest = (failures.kept.len() > FAILURES).then(|| failures.kept.pop_front());
        drop(failures);
        drop(oldest);
        if let Some(function) = self.functions.get(failure.name) {
            let Failure { id, message, .. } = failure;
            let mut history = function.history();
            history.groups.add(
                id,
                failure.outcome,
                &message,
                failure.panicked_at.as_ref(),
                failure.at,
            );
            history.failed(id, message);
        }
    }

    /// Held to change or to copy the list. Nothing panics under it.
    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock()
    }

    pub(crate) fn sums(&self, name: &str) -> Sums {
        let function = self.functions.get(name);
        function.map_or_else(Sums::default, |function| function.counts.sums())
    }

    /// Returns the latest ends of all functions, the newest first.
    pub(crate) fn latest_ends(&self, limit: usize) -> Vec<(&'static str, End)> {
        let mut ends = Vec::new();
        for (name, function) in &self.functions {
            let history = function.history();
            ends.extend(history.ends().map(|end| (*name, end.clone())));
        }
        ends.sort_unstable_by_key(|(_, end)| std::cmp::Reverse((end.at, end.id)));
        ends.truncate(limit);
        ends
    }

    /// Returns the latest ends of one function, the newest first.
    pub(crate) fn ends_of(&self, name: &str) -> Vec<End> {
        let Some(function) = self.functions.get(name) else {
            return Vec::new();
        };
        let mut ends: Vec<_> = function.history().ends().cloned().collect();
        ends.sort_unstable_by_key(|end| std::cmp::Reverse((end.at, end.id)));
        ends
    }

    /// Returns the failures of one function by message, and how many are in none of these groups.
    pub(crate) fn groups(&self, name: &str) -> (Vec<Group>, u64) {
        let function = self.functions.get(name);
        function.map_or_else(Default::default, |function| {
            function.history().groups.newest_first()
        })
    }

    /// Returns the run of a function's schedule that ended last.
    pub(crate) fn last_run(&self, name: &str) -> Option<End> {
        self.functions.get(name)?.history().last_run.clone()
    }

    /// Returns the time until the next attempt of a call, if the call sleeps and the time is known.
    pub(crate) fn until_next_attempt(&self, name: &str, id: TaskId) -> Option<Duration> {
        let due = self.functions.get(name)?.history().next_attempt(id)?;
        Some(due.saturating_duration_since(Instant::now()))
    }
}

impl Function {
    /// Held to note or to copy a bounded number of items. Nothing panics under it, and no other lock is taken.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }
}

impl Observer for Records {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn ended(&self, end: &Ended) {
        let Ended { call, outcome, .. } = end;
        let at = SystemTime::now();
        if let Some(function) = self.function(call.handler) {
            function.counts.add(*outcome, slice::from_ref(end));
            let mut history = function.history();
            history.ended(*outcome, slice::from_ref(end), at);
        }
        // The hooks record errors and panics with their messages. A cancellation is mostly intended.
        let message = match outcome {
            Outcome::TimedOut => "timed out",
            // Relaxed: the flag orders no other memory.
            Outcome::Aborted if !self.draining.load(Ordering::Relaxed) => {
                "aborted without a shutdown"
            }
            _ => return,
        };
        self.keep(Failure {
            id: call.id,
            name: call.handler.name(),
            outcome: *outcome,
            message: message.into(),
            panicked_at: None,
            called_at: call.called_at,
            at,
            fields: end.fields.clone(),
        });
    }

    fn all_ended(&self, handler: &'static Handler, outcome: Outcome, ends: &[Ended]) {
        // None of them is a failure, because the shutdown has ended them.
        if let Some(function) = self.function(handler) {
            function.counts.add(outcome, ends);
            function.history().ended(outcome, ends, SystemTime::now());
        }
    }

    fn refused(&self, handler: &'static Handler, _reason: RefusedReason) {
        if let Some(function) = self.function(handler) {
            function.counts.add_one(Count::Refused);
        }
    }

    fn coalesced(&self, handler: &'static Handler, _how: Coalesced) {
        if let Some(function) = self.function(handler) {
            function.counts.add_one(Count::Coalesced);
        }
    }

    fn scheduled(&self, handler: &'static Handler, id: TaskId) {
        if let Some(function) = self.function(handler) {
            function.history().scheduled(id);
        }
    }

    fn backs_off(&self, call: &CallInfo, pause: Duration) {
        // A pause that is longer than the clock goes is not shown.
        let until = Instant::now().checked_add(pause);
        if let (Some(function), Some(until)) = (self.function(call.handler), until) {
            function.history().backs_off(call.id, until);
        }
    }

    fn retried(&self, call: &CallInfo) {
        if let Some(function) = self.function(call.handler) {
            function.counts.add_one(Count::Retries);
            function.history().retried(call.id);
        }
    }

    fn shutdown(&self, stage: Stage) {
        if stage >= Stage::Draining {
            self.draining.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::text::Message;

    #[test]
    fn the_mean_of_many_long_calls_is_right() {
        static HANDLER: Handler = Handler::for_tests("long");
        let records = Records {
            functions: HashMap::from([(HANDLER.name(), Function::default())]),
            ..Records::new()
        };
        let week = Duration::from_secs(7 * 24 * 3600);
        for id in 0..100_000 {
            records.ended(&Ended {
                call: CallInfo::new(TaskId(id), &HANDLER, Location::caller()),
                outcome: Outcome::Succeeded,
                age: week,
                waited: Some(Duration::from_micros(5)),
                is_waiting: false,
                fields: Fields::default(),
            });
        }
        let sums = records.sums(HANDLER.name());
        let (took, waited) = (sums.took.unwrap(), sums.waited.unwrap());
        assert_eq!((took.mean, took.longest), (week, week));
        assert_eq!(waited.mean, Duration::from_micros(5));
    }

    #[test]
    fn calls_that_end_together_add_up_like_calls_that_end_one_by_one() {
        static HANDLER: Handler = Handler::for_tests("retired together");
        let ends: Vec<_> = (0..100)
            .map(|id| Ended {
                call: CallInfo::new(TaskId(id), &HANDLER, Location::caller()),
                outcome: Outcome::Abandoned,
                age: Duration::from_millis(2 * id),
                // Half of them have begun.
                waited: id.is_multiple_of(2).then(|| Duration::from_millis(id)),
                is_waiting: !id.is_multiple_of(2),
                fields: Fields::default(),
            })
            .collect();
        let sums = |notify: fn(&Records, &[Ended])| {
            let records = Records {
                functions: HashMap::from([(HANDLER.name(), Function::default())]),
                ..Records::new()
            };
            notify(&records, &ends);
            assert_eq!(records.failures().total, 0);
            let sums = records.sums(HANDLER.name());
            (sums.outcomes, sums.took, sums.waited)
        };
        let together = sums(|records, ends| records.all_ended(&HANDLER, Outcome::Abandoned, ends));
        let one_by_one = sums(|records, ends| ends.iter().for_each(|end| records.ended(end)));
        assert_eq!(together, one_by_one);
        assert_eq!(together.0[Outcome::Abandoned as usize], 100);
        assert_eq!(together.2.unwrap().mean, Duration::from_millis(49));
    }

    #[test]
    fn the_list_of_failures_and_each_message_are_bounded() {
        let records = Records::new();
        // So that the limit falls within a letter.
        let message = format!("x{}", "ü".repeat(5000));
        for id in 0..250 {
            records.failed(&FailedTask {
                id: TaskId(id),
                name: "fails",
                called_at: Location::caller(),
                error: &message,
                shown: &Message::new(&*message, None),
                fields: &Fields::default(),
            });
        }
        let failures = records.failures();
        assert_eq!(failures.total, 250);
        assert_eq!(failures.kept.len(), FAILURES);
        assert_eq!(failures.kept[0].id, TaskId(150));
        let longest = failures.kept.iter().map(|failure| failure.message.len());
        assert_eq!(longest.max().unwrap(), 4095 + "… (10001 bytes)".len());
    }
}
