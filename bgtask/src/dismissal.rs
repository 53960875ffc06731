//! The end of a manager that nobody has shut down: it is dropped, or its runtime has ended.
//! Owns what becomes of the work that is left; knows nothing of who held the manager.

use crate::ledger::Ledger;
use crate::notice::{Teller, report};
use crate::report::ShutdownReason;
use crate::shared::Phase;
use crate::shutdown;
use std::sync::Arc;

/// How many tasks are named that are left.
const NAMED: usize = 10;

/// Why nobody has shut it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Dropped,
    /// It was installed by a call, and its runtime has ended.
    RuntimeEnded,
}

/// Names the work that is left, fires its tokens, and refuses calls from now on. The manager is no longer its runtime's.
pub(crate) fn dismiss(ledger: &Arc<Ledger>, why: Why) {
    let shared = &ledger.shared;
    if shared.main_has_ended() {
        return;
    }
    name_what_is_left(ledger, why);
    if !shared.set_request(ShutdownReason::ManagerDropped) {
        // The sequence is under way. With nobody left to say that the rest has ended, this is what says so.
        shutdown::main_ended(ledger, ShutdownReason::ManagerDropped);
        return;
    }
    shared.advance_to(Phase::Draining);
    let mut teller = Teller::new();
    shared.fire(&mut teller);
    ledger.close();
    ledger.dismiss_lanes();
    teller.catch_up();
}

fn name_what_is_left(ledger: &Ledger, why: Why) {
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
