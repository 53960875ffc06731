//! What happened, as far as the page tells it: each function's ends and durations, and the last failures with their messages.
//! Owns the counts and the bounded list; knows nothing of who looks.

use crate::handler::handlers;
use crate::hooks::{FailedTask, FinishedTask, HookList, PanickedTask};
use crate::stats::{Outcome, TaskId};
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How many failures are kept; of earlier ones their number.
const FAILURES: usize = 100;

/// Bytes of a message that are kept: errors can be pages long, and there is room for a hundred of them.
const MESSAGE: usize = 2000;

#[derive(Debug)]
pub(crate) struct Records {
    /// Every function linked into the program, so that counting takes no lock.
    functions: HashMap<&'static str, Counts>,
    failures: Mutex<Failures>,
}

/// Relaxed, all of them: each is a total for people to look at, and nothing else is read on its account.
#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Of all that ended, from the call to the end.
    total_nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

/// What one function came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// In the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    /// Of one that has ended at least once: from the call to the end.
    pub(crate) mean: Option<Duration>,
    pub(crate) longest: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// All there were.
    pub(crate) total: u64,
    /// The latest, the newest last.
    pub(crate) kept: VecDeque<Failure>,
}

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) id: TaskId,
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
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
        }
    }

    /// Has the calls of a manager told here from now on.
    pub(crate) fn listen(self: &Arc<Self>, hooks: &HookList) {
        let (finished, failed, panicked) = (self.clone(), self.clone(), self.clone());
        hooks.change(|hooks| {
            hooks
                .on_finish
                .push(Arc::new(move |task| finished.finished(task)));
            hooks.on_error.push(Arc::new(move |task| failed.failed(task)));
            hooks
                .on_panic
                .push(Arc::new(move |task| panicked.panicked(task)));
        });
    }

    fn finished(&self, task: &FinishedTask) {
        if let Some(counts) = self.functions.get(task.name) {
            let nanos = u64::try_from(task.age.as_nanos()).unwrap_or(u64::MAX);
            counts.outcomes[task.outcome as usize].fetch_add(1, Ordering::Relaxed);
            counts.total_nanos.fetch_add(nanos, Ordering::Relaxed);
            counts.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
        }
        if task.outcome == Outcome::TimedOut {
            self.keep(Failure {
                id: task.id,
                name: task.name,
                outcome: task.outcome,
                message: "it ran out of time".to_owned(),
                panicked_at: None,
                called_at: task.called_at,
                at: SystemTime::now(),
            });
        }
    }

    fn failed(&self, task: &FailedTask<'_>) {
        self.keep(Failure {
            id: task.id,
            name: task.name,
            outcome: Outcome::Failed,
            message: shortened(task.error),
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
            message: shortened(task.message),
            panicked_at: task.location.map(ToString::to_string),
            called_at: task.called_at,
            at: SystemTime::now(),
        });
    }

    fn keep(&self, failure: Failure) {
        let mut failures = self.failures();
        failures.total += 1;
        failures.kept.push_back(failure);
        // Dropped after the lock, as all that is not needed under it.
        let oldest = (failures.kept.len() > FAILURES).then(|| failures.kept.pop_front());
        drop(failures);
        drop(oldest);
    }

    /// Held for a change of the list or a copy of it. Nothing panics under it.
    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ends_of(&self, name: &str) -> Ends {
        let Some(counts) = self.functions.get(name) else {
            return Ends::default();
        };
        let outcomes = counts.outcomes.each_ref();
        let outcomes = outcomes.map(|count| count.load(Ordering::Relaxed));
        let ended: u64 = outcomes.iter().sum();
        let total = counts.total_nanos.load(Ordering::Relaxed);
        let longest = counts.longest_nanos.load(Ordering::Relaxed);
        Ends {
            outcomes,
            mean: total.checked_div(ended).map(Duration::from_nanos),
            longest: (ended > 0).then(|| Duration::from_nanos(longest)),
        }
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE {
        return message.to_owned();
    }
    let mut end = MESSAGE;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_failures_and_each_message_are_bounded() {
        let records = Records::new();
        let message = "ü".repeat(5000);
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
        assert!(longest.max().unwrap() <= MESSAGE + '…'.len_utf8());
    }
}
