//! The group that calls made by the code running on this thread belong to.
//! Owns the step in and out of it; knows nothing of what a group is good for.

use super::{GROUPED, HERE, HIDDEN, Refusal, VIEW, known, task};
use crate::error::RefusedReason;
use crate::handler::Handler;
use crate::ledger::{self, Desk};
use crate::roster::Roster;
use crate::slab::Place;
use crate::stats::TaskId;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A group, while code runs in it.
#[derive(Debug)]
pub(super) struct Scope {
    roster: Arc<Roster>,
    /// The code is a member's body: where that runs another runtime, calls belong there.
    is_body: bool,
}

/// Puts back, when it is dropped, what a thread was doing before.
struct Left {
    scope: Option<Scope>,
    view: u8,
    alone: u64,
    /// Where this thread's desk was, for which `alone` holds.
    desk: Option<usize>,
}

impl Drop for Left {
    fn drop(&mut self) {
        VIEW.set(self.view);
        let scope = HERE.try_with(|here| {
            let mut here = here.try_borrow_mut().ok()?;
            // What was found out about one manager says nothing of another.
            here.alone = if self.desk == address(here.desk.as_ref()) {
                self.alone
            } else {
                0
            };
            std::mem::replace(&mut here.scope, self.scope.take())
        });
        // No longer borrowed: it may be the last owner of a group.
        drop(scope);
    }
}

fn address(desk: Option<&Desk>) -> Option<usize> {
    desk.map(|desk| Arc::as_ptr(desk.ledger()).addr())
}

/// Makes the calls of `work` members of the group, or of none. On a thread that is being torn down they are nobody's.
#[inline]
fn within<R>(scope: Option<Scope>, work: impl FnOnce() -> R) -> R {
    let view = VIEW.get();
    let is_grouped = scope.is_some();
    let left = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let left = Left {
            scope: std::mem::replace(&mut here.scope, scope),
            view,
            alone: here.alone,
            desk: address(here.desk.as_ref()),
        };
        // The fast path does not know of groups. Where the calls are nobody's, it may be taken again once it is found out that
        // it can.
        here.alone = 0;
        Some(left)
    });
    if let Ok(Some(_)) = left {
        let group = if is_grouped { GROUPED } else { 0 };
        VIEW.set(view & HIDDEN | group);
    }
    work()
}

/// Makes the calls of `work` members of a group.
pub(crate) fn in_group<R>(roster: &Arc<Roster>, work: impl FnOnce() -> R) -> R {
    let scope = Scope {
        roster: roster.clone(),
        is_body: false,
    };
    within(Some(scope), work)
}

/// The same for the body of a member.
#[inline]
pub(crate) fn in_group_of_task<R>(roster: &Arc<Roster>, work: impl FnOnce() -> R) -> R {
    let scope = Scope {
        roster: roster.clone(),
        is_body: true,
    };
    within(Some(scope), work)
}

/// Makes the calls of `work` members of no group.
pub(crate) fn in_no_group<R>(work: impl FnOnce() -> R) -> R {
    within(None, work)
}

/// The group that calls made from here belong to.
pub(crate) fn roster() -> Option<Arc<Roster>> {
    if VIEW.get() & GROUPED == 0 {
        return None;
    }
    HERE.try_with(|here| here.try_borrow().ok()?.scope.as_ref()?.roster())
        .ok()
        .flatten()
}

impl Scope {
    /// Its group, unless what runs here is another runtime within a member's body.
    fn roster(&self) -> Option<Arc<Roster>> {
        let is_elsewhere = self.is_body
            && Handle::try_current()
                .is_ok_and(|runtime| runtime.id() != self.roster.shared.runtime_id);
        (!is_elsewhere).then(|| self.roster.clone())
    }
}

/// Counts a call that is made in a group, in the books of the group's manager and in the group.
pub(super) fn accept(
    handler: &'static Handler,
    roster: &Arc<Roster>,
) -> (TaskId, Result<Place, Box<Refusal>>) {
    let refused = |reason| {
        Err(Box::new(Refusal {
            shared: roster.shared.clone(),
            reason,
        }))
    };
    let ticket = roster.admit(&is_caller);
    let at_the_desk = |desk: &mut Desk| match &ticket {
        Some(_) => desk.accept(handler),
        None => (desk.refuse(), None),
    };
    let is_its = |desk: &Desk| Arc::ptr_eq(&desk.ledger().shared, &roster.shared);
    let accepted = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let desk = here.desk.as_mut()?;
        is_its(desk).then(|| at_the_desk(desk))
    });
    let (id, place) = match accepted {
        Ok(Some(accepted)) => accepted,
        // The thread has made no call for this manager yet, or its last one for another.
        _ => match known(&roster.shared) {
            Some(ledger) => {
                let mut desk = ledger.desk();
                let accepted = at_the_desk(&mut desk);
                let replaced = HERE.try_with(|here| {
                    let mut here = here.try_borrow_mut().ok()?;
                    here.desk.replace(desk)
                });
                // No longer borrowed: it may be the last owner of a manager.
                drop(replaced);
                accepted
            }
            None => return (ledger::one_id(), refused(RefusedReason::ShutDown)),
        },
    };
    match (place, ticket) {
        (Some(place), Some(ticket)) => {
            place.join_group(ticket);
            (id, Ok(place))
        }
        (_, Some(_)) => (id, refused(RefusedReason::ShutDown)),
        (_, None) => (id, refused(RefusedReason::GroupClosed)),
    }
}

/// Whether the task whose code runs here is a live member of the group.
pub(crate) fn is_caller(group: &Roster) -> bool {
    task()
        .and_then(|task| task.roster())
        .is_some_and(|own| own.is_within(group))
}
