//! The end of a manager without a shutdown: the manager is dropped, or its runtime has ended.
//! Owns what happens to the remaining work; must never know who held the manager.

use crate::observe::rejections;
use crate::report::ShutdownReason;
use crate::shutdown::request;
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
    /// A call had installed the manager, and its runtime has ended.
    RuntimeEnded,
}

/// Names the remaining work, fires its tokens, and refuses calls from now on. The caller has already unregistered the manager.
pub(crate) fn dismiss(tracker: &Arc<Tracker>, why: Why) {
    if let Some(dismissal) = Dismissal::begin(tracker) {
        dismissal.finish(tracker, why);
    }
}

/// A dismissal in progress: draining has begun, and nothing is logged yet.
#[derive(Debug)]
#[must_use = "the remaining work is neither named nor notified until `finish`"]
pub(crate) struct Dismissal {
    remaining: Vec<TaskInfo>,
    /// A shutdown was requested before.
    is_shutting_down: bool,
}

impl Dismissal {
    /// Lists the remaining work and begins draining. Runs no user code, so a caller may hold a lock. Returns `None` if a shutdown
    /// sequence is already running that does not wait for `main`.
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
            // First, because a subscriber or a waker may request the shutdown on this thread, which must not wait for itself.
            shared
                .shutdown
                .progress(|progress| progress.fired_by = Some(thread::current().id()));
        }
        name(&self.remaining, why);
        if self.is_shutting_down {
            // The shutdown sequence is running and waits for the end of `main`, which nothing else can report any more.
            request::main_ended(tracker, ShutdownReason::ManagerDropped);
            return;
        }
        let mut side_thread = SideThread::new();
        let scheduled = shared.policies.later.close(NAMED);
        super::log::not_made(&mut side_thread, &scheduled.first, scheduled.count);
        shared.fire(&mut side_thread);
        // No sequence runs that would set this.
        shared
            .shutdown
            .progress(|progress| progress.main_notified = true);
        tracker.close();
        tracker.dismiss_runners();
        // No sequence runs that would write these lines, and the program may end within the second.
        rejections::write_held_back(&shared.policies, &mut side_thread);
        // A waiter may have counted a call that the closed gate then refused. A refusal is not an end and notifies no waiter.
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
            report!(error, "manager dropped while background work was running: await `manager.shutdown(…)` first";
                running: count, tasks = names);
        }
        Why::RuntimeEnded => {
            report!(error, "runtime ended while background work was running: use `#[bgtask::main]` or a `Manager` to drain it";
                running: count, tasks = names);
        }
    }
}
