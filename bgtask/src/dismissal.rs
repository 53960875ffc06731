//! The end of a manager without a shutdown: the manager is dropped, or its runtime has ended.
//! Owns what happens to the remaining work; knows nothing of who held the manager.

use crate::ledger::Ledger;
use crate::notice::{Teller, report};
use crate::report::ShutdownReason;
use crate::shared::Phase;
use crate::shutdown;
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
pub(crate) fn dismiss(ledger: &Arc<Ledger>, why: Why) {
    let shared = &ledger.shared;
    if shared.main_has_ended() {
        return;
    }
    name_remaining_work(ledger, why);
    if !shared.set_request(ShutdownReason::ManagerDropped) {
        // The shutdown sequence is running and waits for `main` to end. Nobody else is left to report that.
        shutdown::main_ended(ledger, ShutdownReason::ManagerDropped);
        return;
    }
    shared.advance_to(Phase::Draining);
    let mut teller = Teller::new();
    shared.fire(&mut teller);
    // No sequence runs that would set this.
    shared.progress(|progress| progress.main_notified = true);
    ledger.close();
    ledger.dismiss_lanes();
    teller.catch_up();
}

fn name_remaining_work(ledger: &Ledger, why: Why) {
    let tasks = ledger.live_tasks();
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
