//! The watch over slow tasks: a thread that reports each task which has run longer than its `warn_after`, once.
//! Owns the limits and the thread; must never know why a task is slow.

use crate::handler::{Handler, Log, Registered, WarnAfter};
use crate::inspect::scan::Scan;
use crate::tracker::Tracker;
use crate::tracker::state::ReportKind;
use crate::util::fmt::Rounded;
use crate::util::log::report;
use crate::util::panic::catch_and_ignore;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// The limits: each function's own, or the manager's.
#[derive(Clone, Copy, Debug)]
struct Limits {
    default: Option<Duration>,
}

impl Limits {
    fn limit(self, handler: &Handler) -> Option<Duration> {
        if handler.log() == Log::Off {
            return None;
        }
        match handler.warn_after() {
            WarnAfter::After(limit) => Some(limit),
            WarnAfter::Never => None,
            // Its task is meant to run for long.
            WarnAfter::Default if handler.is_started_once() => None,
            WarnAfter::Default => self.default,
        }
    }

    /// Returns the shortest limit of any function linked into the program. Their set never grows.
    fn shortest(self) -> Option<Duration> {
        let all = inventory::iter::<Registered>.into_iter();
        all.filter_map(|registered| self.limit(registered.0)).min()
    }
}

/// Starts the watch if any function has a limit. Its thread does not belong to the runtime, whose workers may all be stuck; it
/// waits by the operating system's clock, and ends with the manager.
pub(crate) fn start(tracker: &Arc<Tracker>, default: Option<Duration>) {
    let limits = Limits { default };
    let Some(shortest) = limits.shortest() else {
        return;
    };
    let (watched, is_over) = channel();
    let weak = Arc::downgrade(tracker);
    let spawned = thread::Builder::new()
        .name("bgtask-watch".to_owned())
        .spawn(move || watch(&weak, &is_over, limits, shortest));
    match spawned {
        Ok(_) => tracker.shared.shutdown.keep_watch(watched),
        Err(error) => {
            report!(warn, "cannot spawn the thread that watches for slow tasks: `warn_after` has no effect"; error = error);
        }
    }
}

fn watch<N>(tracker: &Weak<Tracker>, is_over: &Receiver<N>, limits: Limits, shortest: Duration) {
    // A task that starts now is slow after this time at the earliest.
    let mut pause = shortest;
    while let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(pause) {
        let Some(tracker) = tracker.upgrade() else {
            return;
        };
        let scan = Scan::new(&tracker, ReportKind::Slow, |live| {
            let limit = limits.limit(live.identity.handler)?;
            Some((live.identity.called(), limit))
        });
        // This may be the last owner of the manager, and its drop runs the drops of the user's hooks.
        catch_and_ignore(|| drop(tracker));
        pause = scan.pause(shortest);
        scan.report(
            |found| {
                let (task, limit) = (&found.task, Rounded(found.limit));
                report!(warn, "task is running longer than `warn_after`"; name = task.name, id: task.id.as_u64(),
                    called_at = task.called_at, age = Rounded(task.age), warn_after = limit, state = task.state,
                    attempt: task.attempt, fields + task.fields);
            },
            |count, others| {
                report!(warn, "more tasks are running longer than `warn_after`"; count: count, tasks = others);
            },
        );
    }
}
