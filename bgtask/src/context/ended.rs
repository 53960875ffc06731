//! Runtimes whose manager was dropped: their calls are refused, and do not install another manager.
//! Owns one note per such runtime, until the runtime ends; must never know how a call is refused.

use super::{NotFound, install, managers};
use crate::observe::hooks::Hooks;
use crate::report::ShutdownReason;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::spawn;
use std::collections::HashMap;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::runtime::{Handle, Id};

/// The notes, by runtime.
pub(super) type Notes = HashMap<Id, Note>;

/// The last manager of a runtime that was installed explicitly.
#[derive(Debug)]
pub(super) enum Note {
    /// A manager is installed again.
    Replaced,
    /// The manager was dropped. Weak, so that the program's hooks and values are dropped with it.
    Dropped(Weak<Shared>),
    /// The manager is freed, and this refuses calls in its place.
    StandIn(Arc<Shared>),
}

/// Notes that a manager was dropped. Returns whether the note is the first one of its runtime: then the caller calls
/// [`forget_with_runtime`] once the list of managers is unlocked.
#[must_use]
pub(super) fn note(notes: &mut Notes, dropped: &Arc<Shared>) -> bool {
    let note = Note::Dropped(Arc::downgrade(dropped));
    // The note that this replaces is `Replaced`, which owns nothing.
    notes.insert(dropped.runtime_id, note).is_none()
}

/// Accepts calls on the runtime again, because a manager is installed there. Returns what refused them, to be dropped once the
/// list of managers is unlocked: its hooks may run any code when they are dropped.
pub(super) fn replace(notes: &mut Notes, runtime: Id) -> Option<Note> {
    // The note itself stays: a task on the runtime waits to remove it, and one such task per runtime is enough.
    let note = notes.get_mut(&runtime)?;
    Some(mem::replace(note, Note::Replaced))
}

/// Removes the runtime's note when the runtime ends, or at once if it has ended.
pub(super) fn forget_with_runtime(runtime: &Handle) {
    spawn::spawn(runtime, "bgtask", Sentinel(runtime.id()));
}

/// Returns what refuses a call made here, if no manager was found because the runtime's manager was dropped.
#[cold]
pub(super) fn or_gone(not_found: NotFound) -> NotFound {
    match (not_found, Handle::try_current()) {
        (NotFound::None, Ok(runtime)) => refusing(&runtime).map_or(NotFound::None, NotFound::Gone),
        (not_found, _) => not_found,
    }
}

fn refusing(runtime: &Handle) -> Option<Arc<Shared>> {
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

/// Creates what refuses calls in place of a manager that has been freed: a manager that has shut down and tracks nothing.
fn stand_in(runtime: &Handle) -> Arc<Shared> {
    let tracker = install::make(runtime, install::GRACE, Hooks::default(), false);
    tracker.close();
    let shared = tracker.shared.clone();
    shared.set_uninstalled();
    shared.shutdown.set_request(ShutdownReason::ManagerDropped);
    shared.shutdown.advance_to(Phase::Over);
    // Nobody has these tokens yet. Observers are not notified: the manager's own shutdown has notified them.
    for token in [
        &shared.shutdown.stopping,
        &shared.shutdown.draining,
        &shared.shutdown.over,
    ] {
        token.cancel();
    }
    shared
}

/// Removes the note of its runtime when the runtime drops it.
struct Sentinel(Id);

impl Future for Sentinel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let note = managers().ended.remove(&self.0);
        // While the list is unlocked: see `replace`.
        drop(note);
    }
}

#[cfg(test)]
mod tests {
    use super::managers;
    use crate::Manager;
    use tokio::runtime::Builder;

    #[test]
    fn a_note_ends_with_its_runtime_whichever_is_dropped_first() {
        for manager_goes_first in [true, false] {
            let runtime = Builder::new_current_thread().build().unwrap();
            let id = runtime.handle().id();
            let is_noted = || managers().ended.contains_key(&id);
            let manager = Manager::builder().install_on(runtime.handle()).unwrap();
            assert!(!is_noted());
            if manager_goes_first {
                drop(manager);
                assert!(is_noted());
                drop(runtime);
            } else {
                drop(runtime);
                drop(manager);
            }
            assert!(!is_noted());
        }
    }
}
