//! The consequence of an essential task's end: if the end is early, the shutdown starts.
//! Owns the step from an early end to the shutdown request; `main_polls` decides which ends are early.

use crate::handler::Handler;
use crate::handler::Log;
use crate::report::ShutdownReason;
use crate::shutdown;
use crate::tracker::Tracker;
use crate::tracker::main_polls::EarlyEnd;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::report;
use std::sync::Arc;

/// Handles the final end of an essential task.
pub(crate) fn ended(tracker: &Arc<Tracker>, handler: &'static Handler) {
    // During a shutdown we expect essential tasks to end.
    if tracker.shared.shutdown.phase() == Phase::Running {
        fail(tracker, tracker.shared.main_polls.task_ended(handler));
    }
}

/// Judges the essential tasks that ended during a poll of `main`, after that poll has returned and left `main` pending.
pub(crate) fn poll_ended(tracker: &Arc<Tracker>) {
    fail(tracker, tracker.shared.main_polls.end_poll());
}

/// Starts the shutdown if the end is early, unless a shutdown has already been requested for another reason.
fn fail(tracker: &Arc<Tracker>, early: Option<EarlyEnd<'_>>) {
    let Some(early) = early else {
        return;
    };
    let handler = early.handler;
    let reason = ShutdownReason::EssentialEnded(handler.name().into());
    let is_first = tracker.shared.shutdown.set_request(reason);
    drop(early);
    if !is_first {
        return;
    }
    // Start the shutdown before the event is logged, because a subscriber may block.
    shutdown::start(tracker);
    if handler.log() != Log::Off {
        report!(error, "an essential task has ended: shutting down"; name = handler.name());
    }
}
