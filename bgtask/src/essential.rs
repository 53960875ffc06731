//! What follows from the end of an essential task: the shutdown, if the end is early.
//! Owns the step from such an end to the request; what is early is the business of `main_polls`.

use crate::handler::Handler;
use crate::ledger::Ledger;
use crate::main_polls::EarlyEnd;
use crate::notice::report;
use crate::policy::Log;
use crate::report::ShutdownReason;
use crate::shared::Phase;
use crate::shutdown;
use std::sync::Arc;

/// An essential task has ended for good.
pub(crate) fn ended(ledger: &Arc<Ledger>, handler: &'static Handler) {
    // In a shutdown its end is as it should be.
    if ledger.shared.phase() == Phase::Running {
        fail(ledger, ledger.shared.main_polls.task_ended(handler));
    }
}

/// A poll of `main` has returned, and `main` is pending: judges the essential tasks that have ended meanwhile.
pub(crate) fn poll_ended(ledger: &Arc<Ledger>) {
    fail(ledger, ledger.shared.main_polls.end_poll());
}

/// Starts the shutdown if the end is early, unless the shutdown has been requested for another reason.
fn fail(ledger: &Arc<Ledger>, early: Option<EarlyEnd<'_>>) {
    let Some(early) = early else {
        return;
    };
    let handler = early.handler;
    let reason = ShutdownReason::EssentialEnded(handler.name().into());
    let is_first = ledger.shared.set_request(reason);
    drop(early);
    if !is_first {
        return;
    }
    // Started before it is logged: a subscriber may be stuck.
    shutdown::start(ledger);
    if handler.log() != Log::Off {
        report!(error, "an essential task has ended: shutting down"; name = handler.name());
    }
}
