//! Which manager the code here belongs to.
//! Owns the order of the sources in which one may be found, and the panics where none is; knows nothing of calls.

use crate::context::grouped::group_state;
use crate::context::managers::{for_runtime, known, managers, upgraded};
use crate::context::thread::{VIEW, entered, running, task};
use crate::context::{ended, install};
use crate::tracker::Tracker;
use crate::tracker::group_state::GroupState;
use crate::tracker::shared::Shared;
use crate::tracker::task_ref::TaskRef;
use std::panic::Location;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Why no manager was found.
#[derive(Debug)]
pub(super) enum NotFound {
    /// The manager of the task, of the group or of the runtime was dropped.
    Gone(Arc<Shared>),
    /// None is installed here.
    None,
    /// Several are, and nothing decides between them.
    Ambiguous,
}

/// Returns the manager that `what` belongs to, or, in a task that has outlived its manager, what remains of that one.
///
/// # Panics
/// If none can be found. The message names the cure.
#[track_caller]
pub(crate) fn current(what: &str) -> Result<Arc<Tracker>, Arc<Shared>> {
    or_panic(manager(), what)
}

/// As [`current`], for callers who only need what a manager shares with its tasks.
#[track_caller]
pub(crate) fn current_shared(what: &str) -> Arc<Shared> {
    current(what).map_or_else(|gone| gone, |tracker| tracker.shared.clone())
}

/// As [`current_shared`], and installs no manager.
///
/// # Panics
/// If several managers can be found. The message names the cure.
#[track_caller]
pub(crate) fn shared_if_any(what: &str) -> Option<Arc<Shared>> {
    match manager() {
        Err(NotFound::None) => None,
        found => {
            Some(or_panic(found, what).map_or_else(|gone| gone, |tracker| tracker.shared.clone()))
        }
    }
}

#[track_caller]
pub(super) fn or_panic(
    found: Result<Arc<Tracker>, NotFound>,
    what: &str,
) -> Result<Arc<Tracker>, Arc<Shared>> {
    match found.map_err(or_gone) {
        Ok(tracker) => Ok(tracker),
        Err(NotFound::Gone(shared)) => Err(shared),
        Err(NotFound::None) => match install::for_call_of(what, Location::caller()) {
            Some(tracker) => Ok(tracker),
            None => panic_without(what),
        },
        Err(NotFound::Ambiguous) => panic!(
            "`{what}` was called on a thread that belongs to no runtime, and there are several bgtask managers: choose \
             one with `let _entered = manager.enter();`"
        ),
    }
}

/// Finds what refuses calls on this runtime, if the runtime's manager was dropped.
#[cold]
fn or_gone(not_found: NotFound) -> NotFound {
    match (not_found, Handle::try_current()) {
        (NotFound::None, Ok(runtime)) => {
            ended::refusing(&runtime).map_or(NotFound::None, NotFound::Gone)
        }
        (not_found, _) => not_found,
    }
}

#[cold]
#[track_caller]
fn panic_without(what: &str) -> ! {
    panic!(
        "`{what}` was called where there is no bgtask manager: put `#[bgtask::main]` on `main`, or install a \
             `bgtask::Manager` on the runtime first (for a test: `#[bgtask::test]`)"
    )
}

fn manager() -> Result<Arc<Tracker>, NotFound> {
    manager_of_group(group_here().as_ref())
}

/// Returns the group that calls made here belong to.
pub(super) fn group_here() -> Option<Arc<GroupState>> {
    if VIEW.get() == 0 { None } else { group_state() }
}

/// Finds the manager of the group; without a group, that of the code here.
pub(super) fn manager_of_group(group: Option<&Arc<GroupState>>) -> Result<Arc<Tracker>, NotFound> {
    match group {
        Some(group) => known(&group.shared).ok_or_else(|| NotFound::Gone(group.shared.clone())),
        None if VIEW.get() == 0 => manager_of(running()),
        None => manager_in_view(),
    }
}

/// Finds the manager where a guard may hide the task.
#[inline(never)]
pub(super) fn manager_in_view() -> Result<Arc<Tracker>, NotFound> {
    manager_of(task())
}

/// Finds a manager, in this order:
///
/// 1. the task's, if the code runs on the task's own runtime,
/// 2. that of the `enter` guard,
/// 3. the runtime's,
/// 4. the task's, on whatever runtime,
/// 5. that of `#[bgtask::main]`,
/// 6. on a thread that belongs to no runtime, the only one.
// Always inlined: a call that looks its manager up does it here.
#[inline(always)]
pub(super) fn manager_of(task: Option<TaskRef>) -> Result<Arc<Tracker>, NotFound> {
    let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
    if let Some(task) = &task
        // Where a task's body runs another runtime, the manager of that runtime comes first.
        && runtime.is_none_or(|id| id == task.shared().runtime_id)
    {
        return from_task(task);
    }
    if task.is_none()
        && let Some(tracker) = entered()
    {
        return Ok(tracker);
    }
    if let Some(tracker) = runtime.and_then(for_runtime) {
        return Ok(tracker);
    }
    if let Some(task) = &task {
        return from_task(task);
    }
    let mut live = upgraded(managers().installed.values());
    // A manager that a call has installed belongs to its runtime alone.
    live.retain(|tracker| !tracker.shared.is_fallback());
    let is_default = |tracker: &&Arc<Tracker>| tracker.shared.is_process_default;
    if let Some(default) = live.iter().find(is_default) {
        return Ok(default.clone());
    }
    match &live[..] {
        [only] if runtime.is_none() => Ok(only.clone()),
        [_, _, ..] if runtime.is_none() => Err(NotFound::Ambiguous),
        _ => Err(NotFound::None),
    }
}

fn from_task(task: &TaskRef) -> Result<Arc<Tracker>, NotFound> {
    known(task.shared()).ok_or_else(|| NotFound::Gone(task.shared().clone()))
}
