//! The history that the page shows: each function's outcomes and durations, and the last failures with their messages.
//! Owns the counts and the bounded list; must never know the pages.

use crate::error::RefusedReason;
use crate::handler::{Handler, handlers};
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{FailedTask, HookList, PanickedTask};
use crate::observe::{Coalesced, Ended, Observer, Stage};
use crate::stats::{Outcome, TaskId};
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How many failures are kept. Earlier ones are counted.
const FAILURES: usize = 100;

#[derive(Debug)]
pub(crate) struct Records {
    /// Every function linked into the program, so that counting takes no lock.
    functions: HashMap<&'static str, Counts>,
    failures: Mutex<Failures>,
    /// Tasks that are aborted from now on are not failures.
    draining: AtomicBool,
}

// Relaxed, all of them: each is a total for people to read, and orders no other memory.
#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    refused: AtomicU64,
    coalesced: AtomicU64,
    retries: AtomicU64,
    /// From the call to the end, over all calls that ended. In nanoseconds, the sum for a hundred thousand connections would
    /// overflow after two days.
    total_micros: AtomicU64,
    longest_micros: AtomicU64,
    /// From the call to the first instruction, over all calls that began and ended.
    waited_micros: AtomicU64,
    begun: AtomicU64,
}

/// The totals of one function.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    /// In the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    pub(crate) refused: u64,
    pub(crate) coalesced: u64,
    pub(crate) retries: u64,
    /// From the call to the end. `None` if no call has ended.
    pub(crate) mean: Option<Duration>,
    pub(crate) longest: Option<Duration>,
    /// From the call to the first instruction. `None` if no call has begun and ended.
    pub(crate) mean_wait: Option<Duration>,
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
    pub(crate) message: String,
    pub(crate) panicked_at: Option<String>,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) at: SystemTime,
}

impl Records {
    pub(crate) fn new() -> Self {
        let names = handlers().into_iter().map(|handler| handler.name());
        Self {
            functions: names.map(|name| (name, Counts::default())).collect(),
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

    fn counts(&self, handler: &Handler) -> Option<&Counts> {
        self.functions.get(handler.name())
    }

    fn failed(&self, task: &FailedTask<'_>) {
        self.keep(Failure {
            id: task.id,
            name: task.name,
            outcome: Outcome::Failed,
            message: task.shown.to_string(),
            panicked_at: None,
            called_at: task.called_at,
            at: SystemTime::now(),
        });
    }

    fn panicked(&self, task: &PanickedTask<'_>) {
        self.keep(Failure {
            id: task.id,
            name: task.name,
            outcome: Outcome::Panicked,
            message: task.shown.to_string(),
            panicked_at: task.location.map(ToString::to_string),
            called_at: task.called_at,
            at: SystemTime::now(),
        });
    }

    fn keep(&self, failure: Failure) {
        let mut failures = self.failures();
        // A call may fail twice: it panics, and panics again while it is dropped. The first panic is the cause.
        if failures.kept.iter().any(|kept| kept.id == failure.id) {
            return;
        }
        failures.total += 1;
        failures.kept.push_back(failure);
        // Dropped after the lock.
        let oldest = (failures.kept.len() > FAILURES).then(|| failures.kept.pop_front());
        drop(failures);
        drop(oldest);
    }

    /// Held to change or to copy the list. Nothing panics under it.
    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock()
    }

    pub(crate) fn sums(&self, name: &str) -> Sums {
        let Some(counts) = self.functions.get(name) else {
            return Sums::default();
        };
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let outcomes = counts.outcomes.each_ref().map(load);
        let ended: u64 = outcomes.iter().sum();
        let mean = |sum, count| load(sum).checked_div(count).map(Duration::from_micros);
        Sums {
            outcomes,
            refused: load(&counts.refused),
            coalesced: load(&counts.coalesced),
            retries: load(&counts.retries),
            mean: mean(&counts.total_micros, ended),
            longest: (ended > 0).then(|| Duration::from_micros(load(&counts.longest_micros))),
            mean_wait: mean(&counts.waited_micros, load(&counts.begun)),
        }
    }
}

impl Counts {
    /// Adds calls that have ended with this outcome.
    fn add(&self, outcome: Outcome, ends: &[Ended]) {
        // Add them up first, because there may be a million.
        let (mut total, mut longest, mut waited, mut begun) = (0, 0, 0, 0);
        for end in ends {
            let age = micros(end.age);
            total += age;
            longest = longest.max(age);
            if let Some(time) = end.waited {
                waited += micros(time);
                begun += 1;
            }
        }
        let add = |count: &AtomicU64, value| count.fetch_add(value, Ordering::Relaxed);
        add(&self.outcomes[outcome as usize], ends.len() as u64);
        add(&self.total_micros, total);
        self.longest_micros.fetch_max(longest, Ordering::Relaxed);
        if begun > 0 {
            add(&self.waited_micros, waited);
            add(&self.begun, begun);
        }
    }
}

impl Observer for Records {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn ended(&self, end: &Ended) {
        let Ended { call, outcome, .. } = end;
        if let Some(counts) = self.counts(call.handler) {
            counts.add(*outcome, slice::from_ref(end));
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
            message: message.to_owned(),
            panicked_at: None,
            called_at: call.called_at,
            at: SystemTime::now(),
        });
    }

    fn all_ended(&self, handler: &'static Handler, outcome: Outcome, ends: &[Ended]) {
        // None of them is a failure, because the shutdown has ended them.
        if let Some(counts) = self.counts(handler) {
            counts.add(outcome, ends);
        }
    }

    fn refused(&self, handler: &'static Handler, _reason: RefusedReason) {
        if let Some(counts) = self.counts(handler) {
            counts.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn coalesced(&self, handler: &'static Handler, _how: Coalesced) {
        if let Some(counts) = self.counts(handler) {
            counts.coalesced.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn retried(&self, call: &CallInfo) {
        if let Some(counts) = self.counts(call.handler) {
            counts.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn shutdown(&self, stage: Stage) {
        if stage >= Stage::Draining {
            self.draining.store(true, Ordering::Relaxed);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::text::Message;

    #[test]
    fn the_mean_of_many_long_calls_is_right() {
        static HANDLER: Handler = Handler::for_tests("long");
        let records = Records {
            functions: HashMap::from([(HANDLER.name(), Counts::default())]),
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
            });
        }
        let sums = records.sums(HANDLER.name());
        assert_eq!((sums.mean, sums.longest), (Some(week), Some(week)));
        assert_eq!(sums.mean_wait, Some(Duration::from_micros(5)));
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
            })
            .collect();
        let sums = |notify: fn(&Records, &[Ended])| {
            let records = Records {
                functions: HashMap::from([(HANDLER.name(), Counts::default())]),
                ..Records::new()
            };
            notify(&records, &ends);
            assert_eq!(records.failures().total, 0);
            let sums = records.sums(HANDLER.name());
            (sums.outcomes, sums.mean, sums.longest, sums.mean_wait)
        };
        let together = sums(|records, ends| records.all_ended(&HANDLER, Outcome::Abandoned, ends));
        let one_by_one = sums(|records, ends| ends.iter().for_each(|end| records.ended(end)));
        assert_eq!(together, one_by_one);
        assert_eq!(together.0[Outcome::Abandoned as usize], 100);
        assert_eq!(together.3, Some(Duration::from_millis(49)));
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
