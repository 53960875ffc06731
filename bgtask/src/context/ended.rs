//! Runtimes whose manager was dropped: their calls are refused, and do not install another manager.
//! Owns what refuses the calls once the manager is freed; must never know how a call is refused.

use crate::context::install;
use crate::context::managers::{Note, managers};
use crate::observe::hooks::Hooks;
use crate::report::ShutdownReason;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Returns what refuses calls on the runtime, if its manager was dropped.
pub(super) fn refusing(runtime: &Handle) -> Option<Arc<Shared>> {
    let known = |note: &Note| match note {
        Note::Replaced => None,
        Note::Dropped(shared) => Some(shared.upgrade()),
        Note::StandIn(shared) => Some(Some(shared.clone())),
    };
    let found = managers().ended.get(&runtime.id()).and_then(known)?;
    if found.is_some() {
        return found;
    }
    // While the list is unlocked: a metrics recorder may run any code when it is created, or dropped.
    let stand_in = stand_in(runtime);
    let mut earlier = None;
    if let Some(note) = managers().ended.get_mut(&runtime.id()) {
        match note {
            Note::Replaced => {}
            Note::Dropped(_) => *note = Note::StandIn(stand_in.clone()),
            // Another thread was faster.
            Note::StandIn(shared) => earlier = Some(shared.clone()),
        }
    }
    Some(earlier.unwrap_or(stand_in))
}

/// Creates the stand-in for a manager that has been freed: a manager that has shut down, tracks nothing and refuses calls.
fn stand_in(runtime: &Handle) -> Arc<Shared> {
    let tracker = install::make(runtime, install::GRACE, Hooks::default(), false);
    tracker.close();
    let shared = tracker.shared.clone();
    shared.set_uninstalled();
    shared.shutdown.set_request(ShutdownReason::ManagerDropped);
    shared.shutdown.advance_to(Phase::Over);
    // Nobody has these tokens yet. The manager's own shutdown has notified the observers.
    shared.shutdown.fire_tokens(Phase::Over);
    shared
}
