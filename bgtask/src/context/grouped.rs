//! The group that calls made by the code running on this thread belong to.
//! Owns the step in and out of it; knows nothing of what a group is good for.

use super::{
    BY_SCOPE, BY_TASK, HERE, HIDDEN, IN_GROUP, KNOWN_ALONE, Refusal, VIEW, known, running, swap,
    task,
};
use crate::error::RefusedReason;
use crate::handler::Handler;
use crate::stats::TaskId;
use crate::tracker::group_state::{GroupState, Membership};
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{self, ShardWriter};
use std::cell::Cell;
use std::sync::Arc;
use tokio::runtime::Handle;

thread_local! {
    /// The group that code runs in, unless that is only its task's.
    static SCOPE: Cell<Option<Arc<GroupState>>> = const { Cell::new(None) };
    /// How many times this thread's writer was replaced by another manager's.
    static DESKS: Cell<u32> = const { Cell::new(0) };
}

type Accepted = (TaskId, Result<TaskRef, Box<Refusal>>);

/// The answer of a group to a call that is made in it: given before the call takes anything from another call. Not to be dropped
/// where something is borrowed or locked: that may wake anybody.
pub(crate) struct Entrance {
    group_state: Arc<GroupState>,
    /// Absent if the group is closed.
    membership: Cell<Option<Membership>>,
}

impl Entrance {
    /// Returns whether the group refuses the call.
    pub(crate) fn is_refused(&self) -> bool {
        let membership = self.membership.take();
        let is_refused = membership.is_none();
        self.membership.set(membership);
        is_refused
    }

    pub(crate) fn group_state(&self) -> &Arc<GroupState> {
        &self.group_state
    }
}

/// Asks the group that calls made from here belong to, if there is one, and counts the next call as its member.
/// [`accept_entered`] must follow, or the member leaves again.
#[inline]
pub(crate) fn enter_group() -> Option<Entrance> {
    if VIEW.get() == 0 {
        return None;
    }
    let group_state = group_state()?;
    let membership = Cell::new(group_state.admit(is_caller));
    Some(Entrance {
        group_state,
        membership,
    })
}

/// Counts a call whose group has answered, in the records of the group's manager.
#[cold]
pub(crate) fn accept_entered(handler: &'static Handler, entrance: &Entrance) -> Accepted {
    accept_in(handler, &entrance.group_state, || {
        entrance.membership.take()
    })
}

/// This thread's writer is another manager's from now on.
pub(super) fn desk_replaced() {
    DESKS.set(DESKS.get().wrapping_add(1));
}

/// The state of a thread's fast path before the thread entered a group.
struct FastPath {
    alone: u64,
    writers: u32,
}

/// Has every call of this thread look for a group, until [`open`].
#[inline]
fn close() -> FastPath {
    FastPath {
        alone: KNOWN_ALONE.replace(IN_GROUP),
        writers: DESKS.get(),
    }
}

#[inline]
fn open(before: &FastPath) {
    // What was found out about one manager says nothing of another; that a group is around this one stays true.
    let holds = DESKS.get() == before.writers || before.alone == IN_GROUP;
    KNOWN_ALONE.set(if holds { before.alone } else { 0 });
}

/// Puts back, when it is dropped, what a thread was doing before.
struct Left {
    scope: Option<Arc<GroupState>>,
    view: u8,
    before: FastPath,
}

impl Drop for Left {
    #[inline]
    fn drop(&mut self) {
        VIEW.set(self.view);
        open(&self.before);
        let _ = SCOPE.try_with(|scope| scope.replace(self.scope.take()));
    }
}

/// Makes the calls of `work` members of the group, or of none. On a thread that is being torn down they are nobody's.
#[inline]
pub(crate) fn in_group<R>(group_state: Option<Arc<GroupState>>, work: impl FnOnce() -> R) -> R {
    let view = VIEW.get();
    let of_group = if group_state.is_some() { BY_SCOPE } else { 0 };
    VIEW.set(view & HIDDEN | of_group);
    let _left = Left {
        scope: SCOPE
            .try_with(|scope| scope.replace(group_state))
            .ok()
            .flatten(),
        view,
        before: close(),
    };
    work()
}

/// The same as [`run_as`](super::run_as) for a member of a group: what `work` calls belongs to that group.
#[inline]
pub(crate) fn run_as_member<R>(task: &mut Option<TaskRef>, work: impl FnOnce() -> R) -> R {
    let before = close();
    let view = VIEW.replace(BY_TASK);
    swap(task);
    let result = work();
    swap(task);
    VIEW.set(view);
    open(&before);
    result
}

/// The group that calls made from here belong to.
#[cold]
pub(crate) fn group_state() -> Option<Arc<GroupState>> {
    let view = VIEW.get();
    if view & BY_SCOPE != 0 {
        SCOPE
            .try_with(|scope| {
                let group_state = scope.take();
                scope.set(group_state.clone());
                group_state
            })
            .ok()
            .flatten()
    } else if view & BY_TASK != 0 {
        let group_state = running()?.group_state()?;
        // Where a member's body runs another runtime, calls belong there.
        let is_elsewhere = Handle::try_current()
            .is_ok_and(|runtime| runtime.id() != group_state.shared.runtime_id);
        (!is_elsewhere).then_some(group_state)
    } else {
        None
    }
}

/// Records a call that is made in a group, and counts it in the group. Returns `None` if the call is made in no group.
#[inline]
pub(super) fn accept(handler: &'static Handler) -> Option<Accepted> {
    if VIEW.get() & BY_SCOPE == 0 {
        let group_state = group_state()?;
        return Some(accept_in(handler, &group_state, || {
            group_state.admit(is_caller)
        }));
    }
    SCOPE
        .try_with(|scope| {
            let group_state = scope.take()?;
            let accepted = accept_in(handler, &group_state, || group_state.admit(is_caller));
            scope.set(Some(group_state));
            Some(accepted)
        })
        .ok()
        .flatten()
}

/// The writer, if it is one of the manager's whose group this is.
fn is_of(group_state: &GroupState) -> impl Fn(&&mut ShardWriter) -> bool {
    |writer| Arc::ptr_eq(&writer.tracker().shared, &group_state.shared)
}

#[inline(always)]
fn accept_in(
    handler: &'static Handler,
    group_state: &Arc<GroupState>,
    admit: impl Fn() -> Option<Membership>,
) -> Accepted {
    // The thread's last call was made for the same manager, nearly always.
    let accepted = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let writer = here.as_mut().filter(is_of(group_state))?;
        Some(accept_at(writer, handler, group_state, &admit))
    });
    match accepted {
        Ok(Some(accepted)) => accepted,
        _ => accept_elsewhere(handler, group_state, &admit),
    }
}

#[cold]
fn accept_elsewhere(
    handler: &'static Handler,
    group_state: &Arc<GroupState>,
    admit: &dyn Fn() -> Option<Membership>,
) -> Accepted {
    let Some(tracker) = known(&group_state.shared) else {
        // Its manager is gone, and refuses like one that has shut down.
        let refused = refusal(group_state, RefusedReason::ShutDown);
        return (tracker::one_id(), Err(refused));
    };
    let replaced = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let replaced = here.replace(tracker.writer());
        desk_replaced();
        Some((
            replaced,
            accept_at(here.as_mut()?, handler, group_state, admit),
        ))
    });
    // What is dropped here is no longer borrowed: it may be the last owner of a manager, whose hooks may do anything then.
    match replaced {
        Ok(Some((_, accepted))) => accepted,
        // The thread is being torn down, or makes this call while it drops another writer.
        _ => accept_at(&mut tracker.writer(), handler, group_state, admit),
    }
}

#[inline(always)]
fn accept_at(
    writer: &mut ShardWriter,
    handler: &'static Handler,
    group_state: &Arc<GroupState>,
    admit: impl Fn() -> Option<Membership>,
) -> Accepted {
    if let Some(membership) = admit() {
        let (id, place) = writer.accept(handler);
        if let Some(place) = place {
            place.join_group(membership);
            return (id, Ok(place));
        }
        let mut refused = refusal(group_state, RefusedReason::ShutDown);
        // Dropped where nothing is borrowed: that may wake anybody.
        refused.membership = Some(membership);
        (id, Err(refused))
    } else {
        let refused = refusal(group_state, RefusedReason::GroupClosed);
        (writer.refuse(), Err(refused))
    }
}

#[cold]
fn refusal(group_state: &GroupState, reason: RefusedReason) -> Box<Refusal> {
    Box::new(Refusal {
        shared: group_state.shared.clone(),
        reason,
        membership: None,
    })
}

/// Whether the task whose code runs here is a live member of the group.
pub(crate) fn is_caller(group: &GroupState) -> bool {
    task()
        .and_then(|task| task.group_state())
        .is_some_and(|own| own.is_within(group))
}
