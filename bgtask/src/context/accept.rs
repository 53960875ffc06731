//! The record of a call: with the thread's writer if it is the manager's, else with one of the manager that is found.
//! Owns the fast path while there is only one manager; knows nothing of what a call runs.

use crate::context::grouped::{self, Accepted, Entrance};
use crate::context::lookup::{
    NotFound, group_here, manager_in_view, manager_of, manager_of_group, or_panic,
};
use crate::context::thread::{
    HERE, IN_GROUP, KNOWN_SOLE, SOLE_MANAGER, VIEW, for_writer, note_new_writer, running,
};
use crate::error::RefusedReason;
use crate::handler::Handler;
use crate::tracker::group_state::GroupState;
use crate::tracker::shared::Shared;
use crate::tracker::{self, ShardWriter, Tracker};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Records a call with the manager it belongs to.
///
/// # Panics
/// If no manager can be found.
#[inline]
#[track_caller]
pub(crate) fn accept(handler: &'static Handler) -> Accepted {
    let known = KNOWN_SOLE.get();
    // Acquire: pairs with the release in `update_sole`. A thread that continues with a manager which is no longer the only one has
    // not seen the other one yet, and cannot mean it.
    if known == 0 || known != SOLE_MANAGER.load(Ordering::Acquire) {
        return accept_slowly(handler);
    }
    let accepted = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        Some(record(here.as_mut()?, handler))
    });
    match accepted {
        Ok(Some(accepted)) => accepted,
        _ => accept_slowly(handler),
    }
}

#[inline(always)]
fn record(writer: &mut ShardWriter, handler: &'static Handler) -> Accepted {
    let (id, task_ref) = writer.accept(handler);
    (
        id,
        task_ref.ok_or_else(|| shut_down(&writer.tracker().shared)),
    )
}

#[cold]
fn shut_down(shared: &Arc<Shared>) -> Box<grouped::Refusal> {
    grouped::refusal(shared, RefusedReason::ShutDown)
}

#[track_caller]
fn accept_slowly(handler: &'static Handler) -> Accepted {
    if VIEW.get() == 0 {
        accept_by_manager(handler)
    } else {
        accept_in_view(handler)
    }
}

#[inline(never)]
#[track_caller]
fn accept_by_manager(handler: &'static Handler) -> Accepted {
    accept_anywhere(handler, || manager_of(running()))
}

/// Records a call where a group or a guard stands between the task and the calls made here.
#[inline(never)]
#[track_caller]
fn accept_in_view(handler: &'static Handler) -> Accepted {
    match grouped::accept(handler) {
        Some(accepted) => accepted,
        None => accept_hidden(handler),
    }
}

#[cold]
#[track_caller]
fn accept_hidden(handler: &'static Handler) -> Accepted {
    accept_anywhere(handler, manager_in_view)
}

#[inline(always)]
#[track_caller]
fn accept_anywhere(
    handler: &'static Handler,
    find: impl FnOnce() -> Result<Arc<Tracker>, NotFound>,
) -> Accepted {
    // Load before the look-up: if the managers change in between, this value is outdated, and the fast path stays closed.
    let sole = SOLE_MANAGER.load(Ordering::Acquire);
    match or_panic(find(), handler.name()) {
        Ok(tracker) => accept_by(handler, &tracker, sole),
        Err(gone) => refuse_by(&gone),
    }
}

/// Refuses a call whose manager is gone, and with it the counters.
#[cold]
fn refuse_by(gone: &Arc<Shared>) -> Accepted {
    (tracker::one_id(), Err(shut_down(gone)))
}

/// Records a call with its manager. `sole` is the value of [`SOLE_MANAGER`] before the look-up of the manager.
#[inline(always)]
fn accept_by(handler: &'static Handler, tracker: &Arc<Tracker>, sole: u64) -> Accepted {
    let mut replaced = None;
    let accepted = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let is_its = |writer: &ShardWriter| Arc::ptr_eq(writer.tracker(), tracker);
        if !here.as_ref().is_some_and(is_its) {
            replaced = here.replace(tracker.writer());
            note_new_writer();
        }
        // Within a group, the fast path stays closed, even if this call is none of the group's.
        if KNOWN_SOLE.get() != IN_GROUP {
            let is_default = tracker.shared.is_process_default;
            KNOWN_SOLE.set(if is_default { sole } else { 0 });
        }
        here.as_mut().map(|writer| record(writer, handler))
    });
    // After the borrow: this may be the last owner of a manager, whose hooks may run any code when they are dropped.
    drop(replaced);
    match accepted {
        Ok(Some(accepted)) => accepted,
        // The thread is being torn down, or makes this call while it drops another writer.
        _ => record(&mut tracker.writer(), handler),
    }
}

/// The manager that a call belongs to, and its group. Found once per call: [`resolve`] finds them, [`accept_resolved`] records
/// the call.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The state that the manager shared with its tasks, if the manager is gone.
    manager: Result<Arc<Tracker>, Arc<Shared>>,
    group: Option<Arc<GroupState>>,
    /// The value of [`SOLE_MANAGER`] before the look-up.
    sole: u64,
    /// Whether the thread knew the manager, so that nothing was looked up.
    is_known: bool,
}

impl Resolved {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        match &self.manager {
            Ok(tracker) => &tracker.shared,
            Err(gone) => gone,
        }
    }

    /// Returns the manager unless it is gone.
    pub(crate) fn tracker(&self) -> Option<&Arc<Tracker>> {
        self.manager.as_ref().ok()
    }

    /// Asks the call's group, if there is one, whether it admits the call, and counts the call as a member.
    /// [`accept_entered`](grouped::accept_entered) must follow, or the member leaves again.
    pub(crate) fn enter_group(&mut self) -> Option<Entrance> {
        self.group.take().map(Entrance::new)
    }
}

/// Finds the manager and the group that a call of `what` belongs to.
///
/// # Panics
/// If no manager can be found. The message names the cure.
#[inline]
#[track_caller]
pub(crate) fn resolve(what: &str) -> Resolved {
    // Acquire: as in `accept`.
    let sole = SOLE_MANAGER.load(Ordering::Acquire);
    if sole != 0
        && sole == KNOWN_SOLE.get()
        && let Some(tracker) = for_writer(|_| true)
    {
        return Resolved {
            manager: Ok(tracker),
            group: None,
            sole,
            is_known: true,
        };
    }
    resolve_slowly(what, sole)
}

#[inline(never)]
#[track_caller]
fn resolve_slowly(what: &str, sole: u64) -> Resolved {
    let group = group_here();
    let found = manager_of_group(group.as_ref());
    Resolved {
        manager: or_panic(found, what),
        group,
        sole,
        is_known: false,
    }
}

/// Records a call that is made in no group with the manager found for it.
#[inline]
pub(crate) fn accept_resolved(handler: &'static Handler, resolved: &Resolved) -> Accepted {
    if resolved.is_known
        && let Ok(tracker) = &resolved.manager
    {
        let accepted = HERE.try_with(|here| {
            let mut here = here.try_borrow_mut().ok()?;
            // User code may have made a call for another manager since.
            let is_its = |writer: &&mut ShardWriter| Arc::ptr_eq(writer.tracker(), tracker);
            Some(record(here.as_mut().filter(is_its)?, handler))
        });
        if let Ok(Some(accepted)) = accepted {
            return accepted;
        }
    }
    accept_found(handler, resolved)
}

#[inline(never)]
fn accept_found(handler: &'static Handler, resolved: &Resolved) -> Accepted {
    match &resolved.manager {
        Ok(tracker) => accept_by(handler, tracker, resolved.sole),
        Err(gone) => refuse_by(gone),
    }
}
