//! The managers of the process, and the runtimes whose manager was dropped.
//! Owns the only process-wide list; must never keep a manager alive.

use crate::context::thread::{HERE, SOLE_MANAGER, for_writer};
use crate::error::InstallError;
use crate::tracker::shared::Shared;
use crate::tracker::{ShardWriter, Tracker};
use crate::util::spawn;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::runtime::Id;

#[derive(Debug, Default)]
pub(super) struct Managers {
    /// By runtime.
    pub(super) installed: HashMap<Id, Weak<Tracker>>,
    /// The installed managers, and those that were dropped and still drain.
    known: Vec<Weak<Tracker>>,
    pub(super) ended: HashMap<Id, Note>,
}

/// The last manager of a runtime that was installed explicitly.
#[derive(Debug)]
pub(super) enum Note {
    /// A manager is installed again.
    Replaced,
    /// The manager was dropped. Weak, so that the program's hooks and values are dropped with it.
    Dropped(Weak<Shared>),
    /// The manager is freed; this stand-in refuses calls.
    StandIn(Arc<Shared>),
}

pub(super) fn managers() -> MutexGuard<'static, Managers> {
    static MANAGERS: OnceLock<Mutex<Managers>> = OnceLock::new();
    MANAGERS.get_or_init(Mutex::default).lock()
}

/// Returns the live managers. Collected, so that the list is unlocked before one of them is dropped: that may run any code.
pub(super) fn upgraded<'a>(managers: impl Iterator<Item = &'a Weak<Tracker>>) -> Vec<Arc<Tracker>> {
    managers.filter_map(Weak::upgrade).collect()
}

/// Returns the manager with this state, if it is still there.
pub(crate) fn known(shared: &Arc<Shared>) -> Option<Arc<Tracker>> {
    let is_its = |tracker: &Tracker| Arc::ptr_eq(&tracker.shared, shared);
    if let Some(tracker) = for_writer(is_its) {
        return Some(tracker);
    }
    let known = upgraded(managers().known.iter());
    known.into_iter().find(|tracker| is_its(tracker))
}

/// Returns the manager of a runtime.
pub(super) fn for_runtime(id: Id) -> Option<Arc<Tracker>> {
    // A dropped manager may be kept alive while the runtime has another one.
    for_writer(|tracker| tracker.shared.runtime_id == id && tracker.shared.is_installed())
        .or_else(|| managers().installed.get(&id)?.upgrade())
}

/// Makes `tracker`'s manager that of its runtime.
///
/// # Errors
/// If the runtime has one.
pub(crate) fn register(tracker: &Arc<Tracker>) -> Result<(), InstallError> {
    let mut managers = managers();
    managers.known.retain(|manager| manager.strong_count() > 0);
    let id = tracker.shared.runtime_id;
    let installed = managers.installed.get(&id);
    // A manager that is gone without having been unregistered does not count.
    if installed.is_some_and(|manager| manager.strong_count() > 0) {
        return Err(InstallError::AlreadyInstalled);
    }
    let manager = Arc::downgrade(tracker);
    managers.known.push(manager.clone());
    managers.installed.insert(id, manager);
    // The note stays, because a task on the runtime waits to remove it: one such task per runtime is enough.
    let note = managers.ended.get_mut(&id);
    let refused_calls = note.map(|note| mem::replace(note, Note::Replaced));
    managers.update_sole(tracker);
    drop(managers);
    // While the list is unlocked: its hooks may run any code when they are dropped.
    drop(refused_calls);
    Ok(())
}

/// Ends what [`register`] began: the runtime may have another manager.
pub(crate) fn unregister(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    shared.set_uninstalled();
    // A manager that a call has installed ends with its runtime.
    let was_explicit = !shared.is_fallback();
    let mut managers = managers();
    managers.installed.remove(&shared.runtime_id);
    // In one step with the removal: no call finds neither the manager nor the note. A note that this replaces is `Replaced`, which
    // owns nothing.
    let note = Note::Dropped(Arc::downgrade(shared));
    let is_first_note = was_explicit && managers.ended.insert(shared.runtime_id, note).is_none();
    managers.update_sole(tracker);
    drop(managers);
    if is_first_note {
        // Runs when the runtime ends, or at once if it has ended.
        spawn::keep_until_end(&shared.runtime, Sentinel(shared.runtime_id));
    }
    // This thread's writer need not keep the manager and its runtime alive.
    let writer = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let is_its = |writer: &mut ShardWriter| Arc::ptr_eq(writer.tracker(), tracker);
        here.take_if(is_its)
    });
    drop(writer);
}

impl Managers {
    /// Notes in [`SOLE_MANAGER`] whether `tracker`'s manager, which was just added or removed, is the only one. A manager that
    /// becomes the only one again does not regain the fast path.
    fn update_sole(&self, tracker: &Arc<Tracker>) {
        static CHANGES: AtomicU64 = AtomicU64::new(0);
        let is_sole = self.installed.len() == 1
            && self.installed.contains_key(&tracker.shared.runtime_id)
            && tracker.shared.is_process_default;
        // Relaxed: written only under the lock.
        let change = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
        // Release: a thread that sees the change also sees the managers as they are now.
        SOLE_MANAGER.store(if is_sole { change } else { 0 }, Ordering::Release);
    }
}

/// Removes the note of its runtime when the runtime drops it.
struct Sentinel(Id);

impl Drop for Sentinel {
    fn drop(&mut self) {
        let note = managers().ended.remove(&self.0);
        // While the list is unlocked: see `register`.
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
