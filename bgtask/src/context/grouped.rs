//! The group that calls made by the code running on this thread belong to.
//! Owns the entry into a group and the way back; knows nothing of the uses of a group.

use crate::context::managers::known;
use crate::context::thread::{
    BY_SCOPE, BY_TASK, HERE, HIDDEN, IN_GROUP, KNOWN_SOLE, VIEW, WRITERS, note_new_writer, running,
    swap, task,
};
use crate::error::RefusedReason;
use crate::handler::Handler;
use crate::stats::TaskId;
use crate::tracker::group_state::{GroupState, Membership};
use crate::tracker::shared::Shared;
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{self, ShardWriter};
use std::cell::Cell;
use std::sync::Arc;
use tokio::runtime::Handle;

thread_local! {
    /// The group of the innermost `Group::run`.
    static SCOPE: Cell<Option<Arc<GroupState>>> = const { Cell::new(None) };
}

/// The id of a call, and its slot, or why it is refused.
pub(crate) type Accepted = (TaskId, Result<TaskRef, Box<Refusal>>);

/// Why a call is refused, and by which manager.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reason: RefusedReason,
    /// The membership of a call that its group had admitted.
    membership: Option<Membership>,
}

#[cold]
pub(super) fn refusal(shared: &Arc<Shared>, reason: RefusedReason) -> Box<Refusal> {
    Box::new(Refusal {
        shared: shared.clone(),
        reason,
        membership: None,
    })
}

/// The answer of a group to a call, given before the call takes anything that another call could have. Must not be dropped where
/// something is borrowed or locked, because that may wake any task.
pub(crate) struct Entrance {
    group_state: Arc<GroupState>,
    /// Absent if the group is closed.
    membership: Cell<Option<Membership>>,
}

impl Entrance {
    pub(super) fn new(group_state: Arc<GroupState>) -> Self {
        let membership = Cell::new(group_state.admit(is_caller));
        Self {
            group_state,
            membership,
        }
    }

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

/// Records a call whose group has answered with the group's manager.
#[cold]
pub(crate) fn accept_entered(handler: &'static Handler, entrance: &Entrance) -> Accepted {
    accept_in(handler, &entrance.group_state, || {
        entrance.membership.take()
    })
}

/// The state of a thread's fast path before the thread entered a group.
struct FastPath {
    known_sole: u64,
    writers: u32,
}

/// Makes every call of this thread check for a group, until [`open`].
#[inline]
fn close() -> FastPath {
    FastPath {
        known_sole: KNOWN_SOLE.replace(IN_GROUP),
        writers: WRITERS.get(),
    }
}

#[inline]
fn open(before: &FastPath) {
    // The old value is about the old writer. `IN_GROUP` stays true with any writer.
    let holds = WRITERS.get() == before.writers || before.known_sole == IN_GROUP;
    KNOWN_SOLE.set(if holds { before.known_sole } else { 0 });
}

/// Restores the state of a thread when dropped.
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

/// Makes the calls of `work` members of the group, or of none. On a thread that is being torn down, they are members of none.
#[inline]
pub(crate) fn in_group<R>(group_state: Option<Arc<GroupState>>, work: impl FnOnce() -> R) -> R {
    let view = VIEW.get();
    let by_scope = if group_state.is_some() { BY_SCOPE } else { 0 };
    VIEW.set(view & HIDDEN | by_scope);
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

/// Does the same as [`run_as`](super::run_as) for a member of a group: the calls of `work` belong to that group, too.
// Apart from `run_as`, so that tasks without a group do not pay for the four more thread-locals.
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

/// Returns the group that calls made here belong to.
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
        // Where a member's body runs another runtime, calls belong to that runtime's manager.
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

/// Returns whether a writer belongs to the manager of the group.
fn is_of(group_state: &GroupState) -> impl Fn(&&mut ShardWriter) -> bool {
    |writer| Arc::ptr_eq(&writer.tracker().shared, &group_state.shared)
}

#[inline(always)]
fn accept_in(
    handler: &'static Handler,
    group_state: &Arc<GroupState>,
    admit: impl Fn() -> Option<Membership>,
) -> Accepted {
    // The thread's last call nearly always belonged to the same manager.
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
        // The manager is gone, and refuses like one that has shut down.
        let refused = refusal(&group_state.shared, RefusedReason::ShutDown);
        return (tracker::one_id(), Err(refused));
    };
    let replaced = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let replaced = here.replace(tracker.writer());
        note_new_writer();
        Some((
            replaced,
            accept_at(here.as_mut()?, handler, group_state, admit),
        ))
    });
    // The old writer is dropped after the borrow: it may be the last owner of a manager, whose hooks may run any code.
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
        let (id, task_ref) = writer.accept(handler);
        if let Some(task_ref) = task_ref {
            task_ref.join_group(membership);
            return (id, Ok(task_ref));
        }
        let mut refused = refusal(&group_state.shared, RefusedReason::ShutDown);
        // To be dropped where nothing is borrowed, because that may wake any task.
        refused.membership = Some(membership);
        (id, Err(refused))
    } else {
        let refused = refusal(&group_state.shared, RefusedReason::GroupClosed);
        (writer.refuse(), Err(refused))
    }
}

/// Returns whether the task whose code runs here is a live member of the group.
pub(crate) fn is_caller(group: &GroupState) -> bool {
    task()
        .and_then(|task| task.group_state())
        .is_some_and(|current| current.is_within(group))
}
