//! The state of one group of calls: how many are live, whether it is closed, its tokens, and who waits for it to run empty.
//! Owns the order between counting a member and looking at the count; knows nothing of slots, or of how calls are made.

use crate::policy::Scope;
use crate::tracker::shared::Shared;
use crate::util::panic::catch_and_ignore;
use crate::util::sync::atomic::{AtomicU64, Ordering};
use crate::util::sync::broken;
use std::any::Any;
use std::fmt;
use std::iter;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

// The lower bits of a group_state's state; above them stands the number of live members, those of nested groups among them.
/// Calls from outside are refused.
const CLOSED: u64 = 1;
/// All calls are refused, and members that have not begun never do.
const ABORTED: u64 = 1 << 1;
/// Somebody has waited for the group to run empty, and may still do so.
const WATCHED: u64 = 1 << 2;
/// A drain of the group has begun: a member that is dropped for it is no failure.
const DRAINED: u64 = 1 << 3;
/// The group was cancelled: a member that fails is not tried again, also where the drain would leave it one more attempt.
const CANCELLED: u64 = 1 << 4;
/// All calls are refused, also those of members. Members that have not begun may still do so.
const SEALED: u64 = 1 << 5;
/// One live member.
const MEMBER: u64 = 1 << 6;

/// A count of live calls that can be closed, waited for and cancelled.
///
/// A member is counted in its group and in all groups around that one, from the outermost in: as long as it is live, none of
/// them is empty. It leaves in the moment in which it is retired, after the manager has counted its end.
pub(crate) struct GroupState {
    pub(crate) shared: Arc<Shared>,
    /// Keeps the records of the members until the group and they are gone: they are listed and aborted also after the manager
    /// was dropped.
    records: Option<Kept>,
    /// The group around this one.
    parent: Option<Arc<GroupState>>,
    state: AtomicU64,
    /// Notified when at most one member is left, as long as somebody watches.
    emptied: Notify,
    /// The parent of the members' own tokens: fires when the group or the manager drains, and when the group is cancelled.
    draining: CancellationToken,
    /// The same for members that the drain leaves alone (`on_shutdown = "finish"`): fires when the group is cancelled.
    cancelled: CancellationToken,
}

impl fmt::Debug for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupState")
            .field("members", &self.members())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The records of a group's manager. A group_state keeps them alive and never looks into them, so their type does not matter here.
pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

/// One member's part in the count, until it is retired. Not to be dropped under a lock: that may wake anybody.
#[derive(Debug)]
#[must_use = "the member leaves its group when this is dropped"]
pub(crate) struct Membership(Arc<GroupState>);

impl Membership {
    pub(crate) fn group_state(&self) -> &Arc<GroupState> {
        &self.0
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl GroupState {
    /// Returns a group of the manager whose state is `shared`. It keeps `records`, the manager's records, alive.
    pub(crate) fn of(shared: Arc<Shared>, records: Kept) -> Self {
        let mut own = Self::new(shared);
        own.records = Some(records);
        own
    }

    /// A group of a manager that is gone.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let draining = shared.draining.child_token();
        Self::with_tokens(shared, None, None, draining, CancellationToken::new())
    }

    /// A group within this one.
    pub(crate) fn child(self: &Arc<Self>) -> Self {
        Self::with_tokens(
            self.shared.clone(),
            self.records.clone(),
            Some(self.clone()),
            self.draining.child_token(),
            self.cancelled.child_token(),
        )
    }

    fn with_tokens(
        shared: Arc<Shared>,
        records: Option<Kept>,
        parent: Option<Arc<GroupState>>,
        draining: CancellationToken,
        cancelled: CancellationToken,
    ) -> Self {
        Self {
            shared,
            records,
            parent,
            state: AtomicU64::new(0),
            emptied: Notify::new(),
            draining,
            cancelled,
        }
    }

    /// Counts a call as a member of this group and of all around it, unless one of them is closed. Calls made by a group's own
    /// members are let into a closed one too, since it is not empty as long as they run: `is_caller` says whether the call's
    /// caller is a member of a group.
    #[inline]
    pub(crate) fn admit(
        self: &Arc<Self>,
        is_caller: fn(&GroupState) -> bool,
    ) -> Option<Membership> {
        let is_counted = self.parent.is_none() && self.count_if_open().is_ok();
        (is_counted || self.count_nested(is_caller)).then(|| Membership(self.clone()))
    }

    /// Counts a call in all groups around this one, and then in this.
    fn count_nested(&self, is_caller: fn(&GroupState) -> bool) -> bool {
        // A list, because the way to the outermost group may be longer than a stack is deep.
        let mut inward: Vec<_> = self.outward().collect();
        while let Some(group_state) = inward.pop() {
            let is_counted = match group_state.count_if_open() {
                Ok(()) => true,
                Err(state) => {
                    state & (ABORTED | SEALED) == 0
                        && is_caller(group_state)
                        && group_state.count_unless_sealed()
                }
            };
            if !is_counted {
                if let Some(parent) = &group_state.parent {
                    parent.leave();
                }
                return false;
            }
        }
        true
    }

    /// Returns this group and the groups around it, from the innermost out.
    #[inline]
    fn outward(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |group_state| group_state.parent.as_deref())
    }

    /// Counts a call in this group alone.
    ///
    /// # Errors
    /// With the state, if the group is closed.
    #[inline]
    fn count_if_open(&self) -> Result<(), u64> {
        let counted = |state| (state & (CLOSED | ABORTED) == 0).then_some(state + MEMBER);
        // Relaxed, as all that counts up: that a call is counted publishes nothing, and all steps on this one value have an
        // order.
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
            .map(drop)
    }

    /// Counts a call of a member, unless the group was sealed or aborted. One step: a call that is counted after the seal would be
    /// aborted, and not listed.
    fn count_unless_sealed(&self) -> bool {
        let counted = |state| (state & (ABORTED | SEALED) == 0).then_some(state + MEMBER);
        // Relaxed: see `count_if_open`.
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
            .is_ok()
    }

    /// A member has been retired, or was never to be.
    #[inline]
    fn leave(&self) {
        for group_state in self.outward() {
            // Release: pairs with the acquire in `watch`, so that whoever finds the group empty sees what its members did. The
            // flag is read in the same step that counts: whoever sets it before that is notified, and whoever sets it after
            // sees the count.
            let before = group_state.state.fetch_sub(MEMBER, Ordering::Release);
            // One that is left may be the one that waits.
            if before & WATCHED != 0 && before < 3 * MEMBER {
                group_state.notify();
            }
        }
    }

    #[cold]
    fn notify(&self) {
        // Wakers may be anybody's.
        catch_and_ignore(|| self.emptied.notify_waiters());
    }

    /// How many members are live. Whoever waits for them to end is notified from now on; to be asked after that wait was made.
    pub(crate) fn watch(&self) -> u64 {
        if broken!("group_watched_late") {
            let members = self.members();
            self.state.fetch_or(WATCHED, Ordering::Acquire);
            return members;
        }
        // Acquire: pairs with the release in `leave`.
        self.state.fetch_or(WATCHED, Ordering::Acquire) / MEMBER
    }

    pub(crate) fn emptied(&self) -> &Notify {
        &self.emptied
    }

    /// How many members are live.
    pub(crate) fn members(&self) -> u64 {
        self.state.load(Ordering::Acquire) / MEMBER
    }

    pub(crate) fn close(&self) {
        // Relaxed: see `count`.
        self.state.fetch_or(CLOSED, Ordering::Relaxed);
    }

    /// Whether calls from outside are refused: also if a group around this one is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.outward()
            .any(|group_state| group_state.state.load(Ordering::Relaxed) & (CLOSED | ABORTED) != 0)
    }

    /// Refuses all calls from now on, also those of members. Those that are members by now are left alone.
    pub(crate) fn seal(&self) {
        // Acquire: pairs with the releases of members that have left, as in `members`. The steps on this one value have an order,
        // so a call is either counted before this, or refused.
        self.state.fetch_or(CLOSED | SEALED, Ordering::Acquire);
    }

    /// From now on nothing is let in, and members that have not begun never do. Those that have begun are left to the caller.
    pub(crate) fn abort(&self) {
        // AcqRel: see `stops`.
        self.state.fetch_or(CLOSED | ABORTED, Ordering::AcqRel);
    }

    /// Whether a member that is about to begin must not. It has to be live by now.
    pub(crate) fn stops(&self) -> bool {
        self.outward().any(|group_state| {
            let aborted = if broken!("abort_loaded_relaxed") {
                group_state.state.load(Ordering::Relaxed)
            } else {
                // A read-modify-write, AcqRel: if it comes before the one in `abort`, that one acquires from it, and the look for
                // live members that follows there finds this one.
                group_state.state.fetch_or(0, Ordering::AcqRel)
            };
            aborted & ABORTED != 0
        })
    }

    /// Notes that the group is cancelled. Comes before the tokens fire: an attempt that its token ends must be the last one.
    pub(crate) fn set_cancelled(&self) {
        // AcqRel: see `is_cancelled`.
        self.state.fetch_or(CANCELLED, Ordering::AcqRel);
    }

    /// Returns whether this group, or one around it, was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        // A read-modify-write, AcqRel: if it comes before the one in `set_cancelled`, that one acquires from it. Then
        // `Group::cancel` sees that the manager drains, which this member has seen, and cancels the member's last attempt.
        self.outward()
            .any(|group_state| group_state.state.fetch_or(0, Ordering::AcqRel) & CANCELLED != 0)
    }

    /// Fires the tokens of all members, and of those that come.
    pub(crate) fn cancel(&self) {
        // Counted first, as in `TaskHandle::cancel`, for the same reason.
        self.shared.cancelled_alone.fetch_add(1, Ordering::Release);
        catch_and_ignore(|| self.draining.cancel());
        catch_and_ignore(|| self.cancelled.cancel());
    }

    /// The same, but for members that a drain leaves alone.
    pub(crate) fn drain(&self) {
        // Relaxed: only read by members that are dropped on account of the token.
        self.state.fetch_or(CLOSED | DRAINED, Ordering::Relaxed);
        self.shared.cancelled_alone.fetch_add(1, Ordering::Release);
        catch_and_ignore(|| self.draining.cancel());
    }

    /// Whether this group, or one around it, is being drained.
    pub(crate) fn is_draining(&self) -> bool {
        self.outward()
            .any(|group_state| group_state.state.load(Ordering::Relaxed) & DRAINED != 0)
    }

    /// What the tokens of members are children of; for those that a drain leaves alone another one.
    pub(crate) fn token(&self, finishes: bool) -> &CancellationToken {
        if finishes {
            &self.cancelled
        } else {
            &self.draining
        }
    }

    /// Whether this is `group`, or is nested in it.
    pub(crate) fn is_within(&self, group: &GroupState) -> bool {
        self.outward()
            .any(|group_state| std::ptr::eq(group_state, group))
    }
}

impl Scope for GroupState {
    fn is_ending(&self) -> bool {
        // Relaxed: the flags decide alone, and nothing else is read on their account.
        let ends = ABORTED | DRAINED | CANCELLED;
        self.outward()
            .any(|group_state| group_state.state.load(Ordering::Relaxed) & ends != 0)
    }
}

impl Drop for GroupState {
    /// Drops the groups around this one that nobody else holds, one after the other: each would otherwise be dropped within the
    /// drop of the one in it, and a long chain would overflow the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(group_state) = parent {
            parent =
                Arc::into_inner(group_state).and_then(|mut group_state| group_state.parent.take());
        }
    }
}
