//! The state of one group of calls: the number of live members, whether it is closed, its tokens, and who waits for its end.
//! Owns the order between counting a member and reading the count; knows nothing of slots, or of how calls are made.

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

// The lower bits of the state word. Above them is the number of live members, including those of nested groups.
/// Calls from outside are refused.
const CLOSED: u64 = 1;
/// All calls are refused, and members that have not begun never will.
const ABORTED: u64 = 1 << 1;
/// A caller has waited for the group to become empty, and may still wait.
const WATCHED: u64 = 1 << 2;
/// The group drains: a member that is dropped for this reason is no failure.
const DRAINED: u64 = 1 << 3;
/// The group was cancelled: a member that fails gets no further attempt, not even the one that a drain would leave it.
const CANCELLED: u64 = 1 << 4;
/// All calls are refused, including those of members. Members that have not begun may still begin.
const SEALED: u64 = 1 << 5;
/// One live member.
const MEMBER: u64 = 1 << 6;

/// A count of live calls that can be closed, waited for and cancelled.
///
/// A member is counted in its group and in all groups around it, from the outermost in: while it is live, none of them is empty.
/// It leaves when it is retired, after the manager has counted its end.
pub(crate) struct GroupState {
    pub(crate) shared: Arc<Shared>,
    /// Keeps the members' records as long as the group: members can be listed and aborted after the manager was dropped.
    records: Option<Records>,
    /// The group around this one.
    parent: Option<Arc<GroupState>>,
    state: AtomicU64,
    /// Notified when at most one member is left, while the group is watched.
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

/// The records of a group's manager. A group only keeps them alive, so their type does not matter here.
pub(crate) type Records = Arc<dyn Any + Send + Sync>;

/// The membership of one call, until the call is retired. Must not be dropped under a lock, because that may wake any task.
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
    pub(crate) fn with_records(shared: Arc<Shared>, records: Records) -> Self {
        let mut group = Self::new(shared);
        group.records = Some(records);
        group
    }

    /// Returns a group of a manager that is gone.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let draining = shared.shutdown.draining.child_token();
        Self::with_tokens(shared, None, None, draining, CancellationToken::new())
    }

    /// Returns a new group within this one.
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
        records: Option<Records>,
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

    /// Counts a call as a member of this group and of all groups around it, unless one of them is closed. A closed group still
    /// admits the calls of its own members, because it is not empty while they run: `is_caller` returns whether the caller is a
    /// member of a group.
    #[inline]
    pub(crate) fn admit(
        self: &Arc<Self>,
        is_caller: fn(&GroupState) -> bool,
    ) -> Option<Membership> {
        let is_counted = self.parent.is_none() && self.count_if_open().is_ok();
        (is_counted || self.count_nested(is_caller)).then(|| Membership(self.clone()))
    }

    /// Counts a call in all groups around this one, and then in this one.
    fn count_nested(&self, is_caller: fn(&GroupState) -> bool) -> bool {
        // A list instead of recursion, because groups may be nested deeper than the stack allows.
        let mut inward: Vec<_> = self.outward().collect();
        while let Some(group) = inward.pop() {
            let is_counted = match group.count_if_open() {
                Ok(()) => true,
                Err(state) => {
                    state & (ABORTED | SEALED) == 0
                        && is_caller(group)
                        && group.count_unless_sealed()
                }
            };
            if !is_counted {
                if let Some(parent) = &group.parent {
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
        iter::successors(Some(self), |group| group.parent.as_deref())
    }

    /// Counts a call in this group only.
    ///
    /// # Errors
    /// Returns the state if the group is closed.
    #[inline]
    fn count_if_open(&self) -> Result<(), u64> {
        let counted = |state| (state & (CLOSED | ABORTED) == 0).then_some(state + MEMBER);
        // Relaxed: counting a call publishes nothing, and all changes of this one value have an order.
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
            .map(drop)
    }

    /// Counts a call of a member, unless the group was sealed or aborted. One step: a call that is counted after the seal would be
    /// aborted without being listed.
    fn count_unless_sealed(&self) -> bool {
        let counted = |state| (state & (ABORTED | SEALED) == 0).then_some(state + MEMBER);
        // Relaxed: see `count_if_open`.
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
            .is_ok()
    }

    /// Removes a member that was retired, or was not launched.
    #[inline]
    fn leave(&self) {
        for group in self.outward() {
            // Release: pairs with the acquire in `watch`, so that a caller that finds the group empty sees what its members did.
            // The same step reads the flag: a caller that sets it earlier is notified, and one that sets it later finds the
            // member gone.
            let before = group.state.fetch_sub(MEMBER, Ordering::Release);
            // The last member may be the one that waits.
            if before & WATCHED != 0 && before < 3 * MEMBER {
                group.notify();
            }
        }
    }

    #[cold]
    fn notify(&self) {
        // Wakers may run user code.
        catch_and_ignore(|| self.emptied.notify_waiters());
    }

    /// Returns the number of live members, and has their ends notified from now on. The caller has registered its wait before.
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

    /// Returns the number of live members.
    pub(crate) fn members(&self) -> u64 {
        // Acquire: pairs with the release in `leave`.
        self.state.load(Ordering::Acquire) / MEMBER
    }

    pub(crate) fn close(&self) {
        // Relaxed: see `count_if_open`.
        self.state.fetch_or(CLOSED, Ordering::Relaxed);
    }

    /// Returns whether calls from outside are refused, by this group or one around it.
    pub(crate) fn is_closed(&self) -> bool {
        self.has(CLOSED | ABORTED)
    }

    /// Returns whether one of these flags is set in this group or one around it.
    fn has(&self, flags: u64) -> bool {
        // Relaxed: the flags decide alone, and the caller reads nothing that was written before they were set.
        self.outward()
            .any(|group| group.state.load(Ordering::Relaxed) & flags != 0)
    }

    /// Refuses all calls from now on, including those of members. Leaves the present members alone.
    pub(crate) fn seal(&self) {
        // Acquire: pairs with the release in `leave`, as in `members`. The changes of this one value have an order, so a call is
        // either counted before this, or refused.
        self.state.fetch_or(CLOSED | SEALED, Ordering::Acquire);
    }

    /// Refuses all calls from now on. Members that have not begun never will; the caller aborts the others.
    pub(crate) fn abort(&self) {
        // AcqRel: pairs with the read-modify-write in `stops`.
        self.state.fetch_or(CLOSED | ABORTED, Ordering::AcqRel);
    }

    /// Returns whether a member that is about to begin must not. The member is live.
    pub(crate) fn stops(&self) -> bool {
        self.outward().any(|group| {
            let state = if broken!("abort_loaded_relaxed") {
                group.state.load(Ordering::Relaxed)
            } else {
                // A read-modify-write, AcqRel: if it comes before the one in `abort`, that one acquires from it, and the visit of
                // live members that follows there finds this one.
                group.state.fetch_or(0, Ordering::AcqRel)
            };
            state & ABORTED != 0
        })
    }

    /// Notes that the group is cancelled. Comes before the tokens fire: an attempt that its token ends must be the last one.
    pub(crate) fn set_cancelled(&self) {
        // AcqRel: pairs with the read-modify-write in `is_cancelled`.
        self.state.fetch_or(CANCELLED, Ordering::AcqRel);
    }

    /// Returns whether this group, or one around it, was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        // A read-modify-write, AcqRel: if it comes before the one in `set_cancelled`, that one acquires from it. Then
        // `Group::cancel` sees that the manager drains, which this member has seen, and cancels the member's last attempt.
        self.outward()
            .any(|group| group.state.fetch_or(0, Ordering::AcqRel) & CANCELLED != 0)
    }

    /// Fires the tokens of all present and later members.
    pub(crate) fn cancel(&self) {
        // Counted first, for the reason given in `TaskHandle::cancel`.
        self.shared.cancelled_alone.fetch_add(1, Ordering::Release);
        catch_and_ignore(|| self.draining.cancel());
        catch_and_ignore(|| self.cancelled.cancel());
    }

    /// Does the same, except for members that a drain leaves alone.
    pub(crate) fn drain(&self) {
        // Relaxed: only members that are dropped because of the token read it.
        self.state.fetch_or(CLOSED | DRAINED, Ordering::Relaxed);
        self.shared.cancelled_alone.fetch_add(1, Ordering::Release);
        catch_and_ignore(|| self.draining.cancel());
    }

    /// Returns whether this group, or one around it, drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.has(DRAINED)
    }

    /// Returns the parent of members' tokens. `finishes`: of members that a drain leaves alone.
    pub(crate) fn token(&self, finishes: bool) -> &CancellationToken {
        if finishes {
            &self.cancelled
        } else {
            &self.draining
        }
    }

    /// Returns whether this is `group`, or is nested in it.
    pub(crate) fn is_within(&self, group: &GroupState) -> bool {
        self.outward().any(|outer| std::ptr::eq(outer, group))
    }
}

impl Scope for GroupState {
    fn is_ending(&self) -> bool {
        self.has(ABORTED | DRAINED | CANCELLED)
    }
}

impl Drop for GroupState {
    /// Drops the groups around this one that have no other owner, one after the other. Otherwise each would be dropped within the
    /// drop of the group in it, and a long chain would overflow the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(group) = parent {
            parent = Arc::into_inner(group).and_then(|mut group| group.parent.take());
        }
    }
}
