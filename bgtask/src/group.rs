//! `Group`: calls that are awaited, cancelled and drained together, apart from all others.
//! Owns the methods of its holder; `GroupState` owns the count of members.

use crate::call::supervise::Supervised;
use crate::context;
use crate::manager::Manager;
use crate::report::StopReason;
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

/// The pause of [`Group::drain`] between two checks whether the last calls have been launched.
const LAUNCH_CHECK: Duration = Duration::from_millis(1);

/// Calls that are awaited, cancelled and drained together, apart from all others: those of a connection or a tenant.
///
/// - **Members** are the calls made within [`run`](Self::run), and the calls that members make, on the runtime's workers and on the
///   blocking pool. A call that waits for a policy is a member. A call that joins another one (`coalesce`), is skipped or is refused
///   runs nothing, and is no member. Code that a member passes to `tokio::spawn` or to a thread is not part of it: its calls belong
///   to the group only within `run`. Calls made within [`outside`](Self::outside) may outlive the group.
/// - A group is **part of its manager**. Its members are counted, listed, drained and reported like all calls, and the
///   manager's shutdown fires their tokens. The group decides which manager a call belongs to, on any runtime and thread.
/// - **Nested** groups ([`child`](Self::child)) are part of the group around them: their members are also members of the outer group.
///   Cancelling, closing or draining the outer group does the same to the inner one, not the other way round.
/// - **Clones** are the same group. Dropping them does nothing: members continue, and remain members. For a group that ends with
///   its owner, see [`cancel_on_drop`](Self::cancel_on_drop).
///
/// A member costs about a third more than another call. Other calls cost the same.
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
/// A batch is awaited while other background work continues:
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
    /// It is not part of another group, not even within [`run`](Self::run) or in a member. For a nested group, see
    /// [`child`](Self::child).
    ///
    /// # Panics
    /// If no manager can be found.
    #[track_caller]
    #[allow(
        clippy::new_without_default,
        reason = "it finds a manager, and may panic"
    )]
    pub fn new() -> Self {
        match context::current("Group::new()") {
            Ok(tracker) => Self::for_manager(&tracker),
            Err(gone) => Self::of(Arc::new(GroupState::new(gone))),
        }
    }

    fn for_manager(tracker: &Arc<Tracker>) -> Self {
        Self::of(Arc::new(GroupState::with_records(
            tracker.shared.clone(),
            tracker.clone(),
        )))
    }

    pub(crate) fn of(group_state: Arc<GroupState>) -> Self {
        Self { group_state }
    }

    /// Creates a group within this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::of(Arc::new(self.group_state.child()))
    }

    /// Returns the group that calls made here belong to: within [`run`](Self::run), or in the body of a member.
    ///
    /// For code that starts threads or tokio tasks whose calls should be members, too.
    #[must_use]
    pub fn current() -> Option<Self> {
        context::group_state().map(|group_state| Self { group_state })
    }

    /// Runs `work` on this thread. The calls that it makes are members.
    ///
    /// Within a nested `run`, calls belong to the innermost group. A future that `work` returns is polled later, so its calls are
    /// no members.
    ///
    /// # Panics
    /// With the panic of `work`.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        context::in_group(Some(self.group_state.clone()), work)
    }

    /// Runs `work` on this thread. The calls that it makes belong to no group, so they may outlive the member or the
    /// [`run`](Self::run) around them.
    pub fn outside<R>(work: impl FnOnce() -> R) -> R {
        context::in_group(None, work)
    }

    /// Waits until no member is live, and completes at once if none is. Later calls may be members again, unless the group is
    /// [closed](Self::close).
    ///
    /// A member that awaits this does not wait for itself. Two members that await it wait for each other.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn idle(&self) {
        let group_state = &*self.group_state;
        loop {
            let mut emptied = pin!(group_state.emptied().notified());
            // Before the count is read, so that an end after that is not missed.
            emptied.as_mut().enable();
            let is_idle = poll_fn(|cx| {
                // Checked at every poll, because another task may poll now. Read the count first: a caller that is live after that
                // is in the count.
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
    /// those within it. A closed group stays closed.
    ///
    /// Members continue, and their calls are still accepted as members. A member of the group around this one is not a member of
    /// this one, so its calls into this group are refused. A refused call has no effect on other calls: it joins no run
    /// (`coalesce`), and no run follows it.
    pub fn close(&self) {
        self.group_state.close();
    }

    /// Fires the tokens of all members, of nested groups and of later members, too: the group stays cancelled.
    ///
    /// The effect on each is that of [`TaskHandle::cancel`](crate::TaskHandle::cancel): a member ends when it reacts to its token;
    /// with `on_shutdown = "cancel"`, its future is dropped. Calls are still accepted; see [`close`](Self::close).
    pub fn cancel(&self) {
        self.group_state.set_cancelled();
        // In the manager's drain, the last attempts of members with `retry` have tokens of their own.
        if self.group_state.shared.shutdown.phase() >= Phase::Draining
            && let Some(tracker) = context::known(&self.group_state.shared)
        {
            for member in tracker.members(&self.group_state) {
                member.note_cancelled(StopReason::Cancelled);
            }
        }
        self.group_state.cancel();
    }

    /// Closes the group, also for its members, and drops them at their next await, including those of nested groups.
    ///
    /// The effect on each is that of [`TaskHandle::abort`](crate::TaskHandle::abort): plain functions that have begun run on. There is
    /// one difference: a run that calls outside the group have joined (`coalesce`) ends too, because it is a member's. Those calls
    /// end with [`TaskError::Aborted`](crate::TaskError::Aborted). `TaskHandle::abort` leaves such a run to the calls that joined it.
    ///
    /// Visits every live call of the manager: a million calls take some milliseconds.
    pub fn abort(&self) {
        self.abort_but(None);
    }

    fn abort_but(&self, own: Option<TaskId>) {
        self.group_state.abort();
        let Some(tracker) = context::known(&self.group_state.shared) else {
            return;
        };
        for member in tracker.members(&self.group_state) {
            if own.is_some() && member.live_id() == own {
                continue;
            }
            if let Some(queued) = member.abort() {
                Supervised::new(member, queued).abort();
            }
        }
    }

    /// Closes the group, fires its members' tokens, and waits until none is live, at most until `limit`. Aborts the members that are
    /// live then, and waits up to a second for their ends. Returns them, the oldest first: an empty list if all ended in time.
    ///
    /// Until `limit`, the members' calls are accepted as members. As in a shutdown, the tokens of members with
    /// `on_shutdown = "finish"` do not fire. Members that wait for a permit or for an earlier run start in their turn. Members
    /// that wait for their rate end with [`TaskError::Cancelled`](crate::TaskError::Cancelled), which is logged.
    ///
    /// A member that awaits this does not wait for itself, and is not aborted. Two members that await it wait for each other, and the
    /// first whose `limit` passes aborts the other. As with [`abort`](Self::abort), a member's run is aborted even if calls outside
    /// the group have joined it.
    ///
    /// # Panics
    /// If the runtime has no timer (`enable_time`).
    ///
    /// # Cancel safety
    /// If the future is dropped before `limit`, the group stays closed and nothing is aborted. It may be called again.
    pub async fn drain(&self, limit: Duration) -> Vec<TaskInfo> {
        self.group_state.drain();
        if tokio::time::timeout(limit, self.idle()).await.is_ok() {
            return Vec::new();
        }
        // Seal before the list is made, so that no member joins. Abort after it: members that have not begun would end before they
        // are listed.
        self.group_state.seal();
        // Another thread may be launching a call that was admitted before that.
        let _ = tokio::time::timeout(ABORT_WAIT, self.launched()).await;
        let own = context::task().map(|member| member.identity().id);
        let mut late = self.tasks();
        late.retain(|task| Some(task.id) != own);
        self.abort_but(own);
        // A member that has not ended by then will not.
        let _ = tokio::time::timeout(ABORT_WAIT, self.idle()).await;
        late
    }

    /// Waits until every counted member is live, and so is listed.
    async fn launched(&self) {
        while let Some(tracker) = context::known(&self.group_state.shared) {
            if tracker.members(&self.group_state).len() as u64 >= self.group_state.members() {
                return;
            }
            tokio::time::sleep(LAUNCH_CHECK).await;
        }
    }

    /// Returns whether calls from outside are refused: the group is closed, or one around it is.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.group_state.is_closed()
    }

    /// Returns whether the members' tokens have fired: the group was cancelled or drains, or the manager drains.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.group_state.token(false).is_cancelled()
    }

    /// Returns the number of live members, including those of nested groups.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.group_state.members()).unwrap_or(usize::MAX)
    }

    /// Returns whether no member is live. A handle may be finished a moment before its call leaves the group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the live members, the oldest call first. Visits every live call of the manager.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let Some(tracker) = context::known(&self.group_state.shared) else {
            return Vec::new();
        };
        let members = tracker.members(&self.group_state);
        let ids: HashSet<_> = members
            .iter()
            .filter_map(|member| member.live_id())
            .collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let mut tasks = tracker.live_tasks();
        tasks.retain(|task| ids.contains(&task.id));
        tasks
    }

    /// Returns a token that fires with those of the members, for code that is no member, such as the loop of a connection.
    /// Cancelling it cancels only itself.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.group_state.token(false).child_token()
    }

    /// Returns a guard that [cancels](Self::cancel) the group when it is dropped: at the end of a block, at a `?` or in a panic.
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
        Group::for_manager(self.tracker())
    }
}
