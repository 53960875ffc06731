//! Essential tasks: an early end starts the shutdown.
//! Owns the step from an early end to the request; `main_polls` decides which ends are early.

use crate::handler::{Handler, Log};
use crate::report::ShutdownReason;
use crate::shutdown::request;
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

/// Handles the essential tasks that ended during a poll of `main`, after the poll has returned with `main` still pending.
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
    request::start(tracker);
    if handler.log() != Log::Off {
        report!(error, "essential task ended, shutting down"; name = handler.name());
    }
}
