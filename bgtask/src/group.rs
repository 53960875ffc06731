//! `Group`: calls that are awaited, cancelled and drained together, apart from the rest.
//! Owns what its holder can do with it; the count is the group_state's.

use crate::call::supervise::Supervised;
use crate::context;
use crate::manager::Manager;
use crate::stats::{TaskId, TaskInfo};
use crate::tracker::Tracker;
use crate::tracker::group_state::GroupState;
use crate::tracker::shutdown_state::Phase;
use crate::util::waker::contained;
use std::collections::HashSet;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long [`Group::drain`] awaits the end of the members that it has aborted.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// How long [`Group::drain`] waits before it checks again whether the last calls have been launched.
const LAUNCH_CHECK: Duration = Duration::from_millis(1);

/// Calls that are awaited, cancelled and drained together, apart from all others: a connection's, a tenant's.
///
/// - **Members** are the calls that [`run`](Self::run) makes, and those that members make in turn, on the runtime's workers and
///   on the blocking pool. A call that waits for one of its policies is a member; one that joins another call (`coalesce`), is
///   skipped or refused runs nothing, and is none. What a member hands to `tokio::spawn`, or to a thread, is no part of it:
///   calls from there belong to the group only within `run`. [`outside`](Self::outside) makes a call that shall outlive the
///   group.
/// - A group is **part of its manager**. Its members are counted, listed, drained and reported like all calls, and the
///   manager's shutdown fires their tokens. A group decides which manager a call belongs to, on whatever runtime and thread it
///   is made.
/// - **Nested** groups ([`child`](Self::child)) are part of the group around them: their members are members of that one too,
///   and what cancels, closes or drains it does the same to them. Not the other way round.
/// - **Clones** are the same group. Dropping them does nothing: members run on, and stay members. For a group that ends with
///   its owner, see [`cancel_on_drop`](Self::cancel_on_drop).
///
/// A group costs its members about a third of a call, and other calls nothing.
///
/// # Examples
///
/// A connection's work ends with the connection:
///
/// ```
/// use bgtask::{Group, ShutdownToken, background};
/// use std::time::Duration;
///
/// #[background]
/// async fn forward(peer: u32, token: ShutdownToken) { token.cancelled().await }
///
/// async fn serve(connection: u32) {
///     let group = Group::new();
///     group.run(|| {
///         forward(connection);
///         forward(connection + 1);
///     });
///     // … until the client goes …
///     let late = group.drain(Duration::from_secs(5)).await;
///     assert!(late.is_empty());
/// }
///
/// #[bgtask::main]
/// async fn main() { serve(1).await }
/// ```
///
/// A batch is awaited, while other background work goes on:
///
/// ```
/// # use bgtask::{Group, background};
/// #[background]
/// async fn index(page: u32) { /* … */ }
///
/// #[bgtask::main]
/// async fn main() {
///     let batch = Group::new();
///     for page in 0..10 {
///         batch.run(|| index(page));
///     }
///     batch.idle().await;
/// }
/// ```
#[derive(Clone)]
pub struct Group {
    group_state: Arc<GroupState>,
}

impl Group {
    /// Creates a group of the current manager.
    ///
    /// Made where a group's member or [`run`](Self::run) runs it is no part of that group; for one that is, see
    /// [`child`](Self::child).
    ///
    /// # Panics
    /// Where no manager can be found.
    #[track_caller]
    #[allow(
        clippy::new_without_default,
        reason = "it looks for a manager, and may panic"
    )]
    pub fn new() -> Self {
        match context::current("Group::new()") {
            Ok(tracker) => Self::of_manager(&tracker),
            Err(gone) => Self::of(Arc::new(GroupState::new(gone))),
        }
    }

    fn of_manager(tracker: &Arc<Tracker>) -> Self {
        Self::of(Arc::new(GroupState::with_records(
            tracker.shared.clone(),
            tracker.clone(),
        )))
    }

    pub(crate) fn of(group_state: Arc<GroupState>) -> Self {
        Self { group_state }
    }

    /// Creates a group within this one.
    pub fn child(&self) -> Self {
        Self::of(Arc::new(self.group_state.child()))
    }

    /// Returns the group that calls made here belong to: within [`run`](Self::run), or in the body of a member.
    ///
    /// For code that starts threads or tokio tasks whose calls are to be members too.
    pub fn current() -> Option<Self> {
        context::group_state().map(|group_state| Self { group_state })
    }

    /// Runs `work` on this thread, and makes members of the calls that it makes meanwhile.
    ///
    /// Nested, the innermost group counts. A future that `work` returns, and is polled later, makes its calls outside of the
    /// group.
    ///
    /// # Panics
    /// With the panic of `work`.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        context::in_group(Some(self.group_state.clone()), work)
    }

    /// Runs `work` on this thread, and makes its calls outside of any group: for work that shall outlive the member or the
    /// [`run`](Self::run) that it is called from.
    pub fn outside<R>(work: impl FnOnce() -> R) -> R {
        context::in_group(None, work)
    }

    /// Waits until no member is live. At once, if none is; members may come again after that, unless the group is
    /// [closed](Self::close).
    ///
    /// A member that awaits this does not wait for itself; two that both do wait for each other.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn idle(&self) {
        let group_state = &*self.group_state;
        loop {
            let mut emptied = pin!(group_state.emptied().notified());
            // Before the look: an end that comes after it is not missed.
            emptied.as_mut().enable();
            let is_idle = poll_fn(|cx| {
                // Asked at every poll: it may be another task that polls now. The count first: a caller that is live after it
                // was counted.
                match group_state.watch() {
                    0 => return Poll::Ready(true),
                    1 if context::is_caller(group_state) => return Poll::Ready(true),
                    _ => {}
                }
                emptied.as_mut().poll(cx).map(|()| false)
            });
            if contained(is_idle).await {
                return;
            }
        }
    }

    /// Refuses calls from now on, with [`RefusedReason::GroupClosed`](crate::RefusedReason::GroupClosed), in this group and in
    /// those within it. Members run on, and their calls are still accepted: they are waited for like any other. A member of the
    /// group around this one is not a member of this one, so its calls into this group are refused. A refused call joins no run
    /// (`coalesce`), is not skipped, and trails no run.
    ///
    /// A closed group stays so.
    pub fn close(&self) {
        self.group_state.close();
    }

    /// Fires the tokens of all members, of those in nested groups too, and of members that come later: the group stays
    /// cancelled. A member ends when it heeds its token; with `on_shutdown = "cancel"` its future is dropped. For each it is the
    /// same as [`TaskHandle::cancel`](crate::TaskHandle::cancel).
    ///
    /// Calls are still accepted; see [`close`](Self::close).
    pub fn cancel(&self) {
        self.group_state.set_cancelled();
        // While the manager drains, the last attempts of members with `retry` have tokens of their own.
        if self.group_state.shared.shutdown.phase() >= Phase::Draining
            && let Some(tracker) = context::known(&self.group_state.shared)
        {
            for member in tracker.members(&self.group_state) {
                member.note_cancelled();
            }
        }
        self.group_state.cancel();
    }

    /// Closes the group, also for its members, and has these dropped at their next await, those in nested groups too. For each
    /// it is the same as [`TaskHandle::abort`](crate::TaskHandle::abort): plain functions that have begun run on.
    ///
    /// With one difference: a run that calls outside the group have joined (`coalesce`) ends too, because it is a member's, and
    /// those calls end with [`TaskError::Aborted`](crate::TaskError::Aborted). `TaskHandle::abort` leaves such a run to the calls
    /// that have joined it.
    ///
    /// Looks at every live call of the manager: a million of them take some milliseconds.
    pub fn abort(&self) {
        self.abort_but(None);
    }

    fn abort_but(&self, own: Option<TaskId>) {
        self.group_state.abort();
        let Some(tracker) = context::known(&self.group_state.shared) else {
            return;
        };
        for place in tracker.members(&self.group_state) {
            if own.is_some() && place.live_id() == own {
                continue;
            }
            if let Some(queued) = place.abort() {
                Supervised::new(place, queued).abort();
            }
        }
    }

    /// Closes the group, fires its members' tokens, and waits until none is live, for `limit` at most. Those that are left then
    /// are aborted, and that is awaited for up to a second. Returns them, the oldest first: an empty list if all ended in time.
    ///
    /// Until `limit` the members' calls are accepted, and waited for. As in a shutdown, the tokens of members with
    /// `on_shutdown = "finish"` do not fire, members that wait for a permit or for an earlier run start in their turn, and members
    /// that wait for their rate end with [`TaskError::Cancelled`](crate::TaskError::Cancelled), which is logged.
    ///
    /// A member that awaits this is not waited for, nor aborted. Two members that both await it wait for each other, and the first
    /// whose `limit` passes aborts the other. As with [`abort`](Self::abort), a member's run is aborted also if calls outside the
    /// group have joined it.
    ///
    /// # Panics
    /// Where the runtime has no timer (`enable_time`).
    ///
    /// # Cancel safety
    /// Dropped before `limit`, the group stays closed and nothing is aborted. It may be called again.
    pub async fn drain(&self, limit: Duration) -> Vec<TaskInfo> {
        self.group_state.drain();
        if tokio::time::timeout(limit, self.idle()).await.is_ok() {
            return Vec::new();
        }
        // Before the list is made: no member adds to those that are aborted. Not aborted yet: members that have not begun would end
        // before they are listed.
        self.group_state.seal();
        // The launch of a call that was let in before that may be under way on another thread.
        let _ = tokio::time::timeout(ABORT_WAIT, self.launched()).await;
        let own = context::task().map(|place| place.identity().id);
        let mut late = self.tasks();
        late.retain(|task| Some(task.id) != own);
        self.abort_but(own);
        // What does not come back within this is not going to.
        let _ = tokio::time::timeout(ABORT_WAIT, self.idle()).await;
        late
    }

    /// Waits until every member that is counted is live, and so is listed.
    async fn launched(&self) {
        while let Some(tracker) = context::known(&self.group_state.shared) {
            if tracker.members(&self.group_state).len() as u64 >= self.group_state.members() {
                return;
            }
            tokio::time::sleep(LAUNCH_CHECK).await;
        }
    }

    /// Returns whether calls from outside are refused: the group is closed, or one around it is.
    pub fn is_closed(&self) -> bool {
        self.group_state.is_closed()
    }

    /// Returns whether the members' tokens have fired: the group was cancelled or is being drained, or the manager is.
    pub fn is_cancelled(&self) -> bool {
        self.group_state.token(false).is_cancelled()
    }

    /// Returns how many members are live, those of nested groups among them.
    pub fn len(&self) -> usize {
        usize::try_from(self.group_state.members()).unwrap_or(usize::MAX)
    }

    /// Returns whether no member is live. The handle of a call may be finished a moment before the call leaves the group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the live members, the oldest call first. Looks at every live call of the manager.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let Some(tracker) = context::known(&self.group_state.shared) else {
            return Vec::new();
        };
        let members = tracker.members(&self.group_state);
        let ids: HashSet<_> = members.iter().filter_map(|place| place.live_id()).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let mut tasks = tracker.live_tasks();
        tasks.retain(|task| ids.contains(&task.id));
        tasks
    }

    /// Returns a token that fires with those of the members, for code that is no member: the loop of a connection. Cancelling it
    /// cancels nothing but itself.
    pub fn cancellation_token(&self) -> CancellationToken {
        self.group_state.token(false).child_token()
    }

    /// Returns a guard that [cancels](Self::cancel) the group when it is dropped: at the end of a block, at a `?`, in a panic.
    pub fn cancel_on_drop(self) -> CancelOnDrop {
        CancelOnDrop { group: self }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("len", &self.len())
            .field("is_closed", &self.is_closed())
            .field("is_cancelled", &self.is_cancelled())
            .finish()
    }
}

/// A [`Group`] that is cancelled when this is dropped; see [`Group::cancel_on_drop`].
///
/// It dereferences to the group.
#[must_use = "the group is cancelled when this is dropped"]
#[derive(Debug)]
pub struct CancelOnDrop {
    group: Group,
}

impl Deref for CancelOnDrop {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.group
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

impl Manager {
    /// Creates a [`Group`] of this manager.
    pub fn group(&self) -> Group {
        Group::of_manager(self.tracker())
    }
}
