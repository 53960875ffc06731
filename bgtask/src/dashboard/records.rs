//! The history that the page shows: each function's outcomes and durations, and the last failures with their messages.
//! Owns the counts and the bounded list; must never know the pages.

use crate::error::RefusedReason;
use crate::handler::{Handler, handlers};
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{FailedTask, HookList, PanickedTask};
use crate::observe::{Coalesced, Ended, Observer, Stage};
use crate::stats::{Outcome, TaskId};
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use crate::util::text::Excerpt;
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
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
            message: Excerpt(task.error).to_string(),
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
            message: Excerpt(task.message).to_string(),
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

impl Observer for Records {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn ended(&self, end: &Ended) {
        let Ended {
            call,
            outcome,
            age,
            waited,
            ..
        } = end;
        if let Some(counts) = self.counts(call.handler) {
            let add = |count: &AtomicU64, value| count.fetch_add(value, Ordering::Relaxed);
            add(&counts.outcomes[*outcome as usize], 1);
            add(&counts.total_micros, micros(*age));
            counts
                .longest_micros
                .fetch_max(micros(*age), Ordering::Relaxed);
            if let Some(waited) = waited {
                add(&counts.waited_micros, micros(*waited));
                add(&counts.begun, 1);
            }
        }
        // The hooks record errors and panics with their messages. A cancellation is mostly intended.
        let message = match outcome {
            Outcome::TimedOut => "exceeded its `timeout`",
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
    use crate::handler::{HandlerSpec, Kind};
    use crate::handler::{Log, OnShutdown, WarnAfter};

    #[test]
    fn the_mean_of_many_long_calls_is_right() {
        static HANDLER: Handler = Handler::new(HandlerSpec {
            name: "long",
            path: || "records",
            module_path: module_path!(),
            file: file!(),
            line: line!(),
            kind: Kind::Async,
            takes_token: false,
            on_shutdown: OnShutdown::Drain,
            log: Log::Off,
            warn_after: WarnAfter::Default,
            policies: None,
        });
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
