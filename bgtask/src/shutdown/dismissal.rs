//! The end of a manager without a shutdown: the manager is dropped, or its runtime has ended.
//! Owns what happens to the remaining work; knows nothing of who held the manager.

use crate::observe::turned_away;
use crate::report::ShutdownReason;
use crate::shutdown;
use crate::stats::TaskInfo;
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::report;
use crate::util::side_thread::SideThread;
use crate::util::sync::thread;
use std::sync::Arc;

/// How many of the remaining tasks are named.
const NAMED: usize = 10;

/// Why the manager ends without a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Dropped,
    /// A call installed the manager, and its runtime has ended.
    RuntimeEnded,
}

/// Names the remaining work, fires its tokens, and refuses calls from now on. The caller has already unregistered the manager.
pub(crate) fn dismiss(tracker: &Arc<Tracker>, why: Why) {
    if let Some(dismissal) = Dismissal::begin(tracker) {
        dismissal.finish(tracker, why);
    }
}

/// A dismissal that has begun: the manager drains, and nothing is logged yet.
#[derive(Debug)]
#[must_use = "the remaining work is neither named nor notified until `finish`"]
pub(crate) struct Dismissal {
    remaining: Vec<TaskInfo>,
    /// A shutdown was requested before.
    is_shutting_down: bool,
}

impl Dismissal {
    /// Lists the remaining work and lets the draining begin. Runs no user code, so a caller may hold a lock. Returns `None` if
    /// a shutdown sequence that needs nobody is running.
    pub(crate) fn begin(tracker: &Tracker) -> Option<Self> {
        let shared = &tracker.shared;
        if shared.shutdown.main_has_ended() {
            return None;
        }
        let remaining = tracker.live_tasks();
        let is_shutting_down = !shared.shutdown.set_request(ShutdownReason::ManagerDropped);
        if !is_shutting_down {
            // After the list: from now on a task that the runtime drops ends without a log line of its own.
            shared.shutdown.advance_to(Phase::Draining);
        }
        Some(Self {
            remaining,
            is_shutting_down,
        })
    }

    pub(crate) fn finish(self, tracker: &Arc<Tracker>, why: Why) {
        let shared = &tracker.shared;
        if !self.is_shutting_down {
            // First, because a subscriber and a waker may request the shutdown on this thread, which must not wait for itself.
            shared
                .shutdown
                .progress(|progress| progress.fired_by = Some(thread::current().id()));
        }
        name(&self.remaining, why);
        if self.is_shutting_down {
            // The shutdown sequence is running and waits for `main` to end. Nobody else is left to report that.
            shutdown::main_ended(tracker, ShutdownReason::ManagerDropped);
            return;
        }
        let mut side_thread = SideThread::new();
        shared.fire(&mut side_thread);
        // No sequence runs that would set this.
        shared
            .shutdown
            .progress(|progress| progress.main_notified = true);
        tracker.close();
        tracker.dismiss_runners();
        // No sequence runs that would write these lines either, and the program may end within the second.
        turned_away::write_held_back(&shared.policies, &mut side_thread);
        // A waiter may have counted a call that the closed gate has refused since, which is no end and notifies nobody.
        shared.notify_idle();
        side_thread.catch_up();
    }
}

fn name(tasks: &[TaskInfo], why: Why) {
    if tasks.is_empty() {
        return;
    }
    let mut names: Vec<_> = tasks
        .iter()
        .take(NAMED)
        .map(|task| format!("{} (id {})", task.name, task.id))
        .collect();
    if tasks.len() > NAMED {
        names.push("…".to_owned());
    }
    let (count, names) = (tasks.len(), names.join(", "));
    match why {
        Why::Dropped => {
            report!(error, "a manager was dropped while background work runs: await `manager.shutdown(…)` first";
                running: count, tasks = names);
        }
        Why::RuntimeEnded => {
            report!(error, "a runtime without `#[bgtask::main]` or a `Manager` has ended and cut off background work";
                running: count, tasks = names);
        }
    }
}
