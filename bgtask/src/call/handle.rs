//! `TaskHandle`: the caller's end of a task. Awaits the output, cancels, aborts; dropping it detaches the task.
//! Knows the record of the task, and nothing of how the task runs.

use crate::call::supervise::Supervised;
use crate::handler::Handler;
use crate::observe::dispatch::Dispatcher;
use crate::policy::{Followers, SharedOutcome};
use crate::report::StopReason;
use crate::stats::TaskId;
use crate::task::BoxedTask;
use crate::tracker::task_ref::TaskRef;
use crate::util::sync::atomic::{AtomicBool, Ordering};
use crate::util::sync::broken;
use crate::{RefusedReason, TaskError};
use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;

/// A handle to one call of a background function.
///
/// Await it for the output, or drop it: the task continues on its own. While a handle is held, an `Err` is its holder's to handle
/// and is not logged. If the handle is dropped without having been awaited, the `Err` is logged.
///
/// The handle of a task that a shutdown [abandoned](crate::Outcome::Abandoned) is ready when the task ends after all.
///
/// A handle is a future: `join_all`, `JoinSet` and `select!` take it as they take others. For calls that are awaited or cancelled
/// together without their outputs, there is [`Group`](crate::Group).
///
/// # Examples
///
/// ```
/// #[bgtask::background]
/// async fn add(a: u32, b: u32) -> u32 { a + b }
///
/// #[bgtask::main]
/// async fn main() -> Result<(), bgtask::TaskError> {
///     assert_eq!(add(1, 2).await?, 3);
///     Ok(())
/// }
/// ```
///
/// Several calls at once:
///
/// ```
/// # use bgtask::TaskError;
/// # use std::time::Duration;
/// # #[bgtask::background]
/// # async fn add(a: u32, b: u32) -> u32 { a + b }
/// # #[bgtask::main]
/// # async fn main() -> Result<(), TaskError> {
/// // All outputs, in the order of the calls:
/// let sums = futures_util::future::join_all((1..4).map(|n| add(n, n))).await;
/// assert_eq!(sums, [Ok(2), Ok(4), Ok(6)]);
///
/// // As they end. Dropping the set aborts the tasks that wait; with `abort_on_drop`, it aborts the calls, too.
/// let mut set = tokio::task::JoinSet::new();
/// for n in 1..4 {
///     set.spawn(add(n, n).abort_on_drop());
/// }
/// while let Some(sum) = set.join_next().await {
///     assert!(sum.expect("nobody aborts the set")? > 0);
/// }
///
/// // The first of two. The other one continues, and its handle can still be awaited.
/// let (mut one, mut other) = (add(1, 1), add(2, 2));
/// tokio::select! {
///     sum = &mut one => assert_eq!(sum?, 2),
///     sum = &mut other => assert_eq!(sum?, 4),
/// }
///
/// // Within a time limit. Without `abort_on_drop`, the call would continue after it.
/// let sum = tokio::time::timeout(Duration::from_secs(5), add(1, 2).abort_on_drop()).await;
/// assert_eq!(sum, Ok(Ok(3)));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Awaiting `&mut handle` in a `select!` loses nothing when another branch wins.
pub struct TaskHandle<T> {
    raw: RawHandle,
    output: PhantomData<fn() -> T>,
}

/// A handle without its type.
pub(crate) struct RawHandle {
    id: TaskId,
    handler: &'static Handler,
    /// Absent if the call has no task.
    task_ref: Option<TaskRef>,
    rest: Option<Box<Rest>>,
}

pub(crate) enum Rest {
    /// The call has a task whose policies depend on the handle.
    Linked(PolicyLink),
    /// The call shares the outcome of another one.
    Joined(oneshot::Receiver<SharedOutcome>),
    /// The call does nothing, because another one is in flight.
    Skipped,
    Refused(RefusedReason),
    /// The attempt of a durable job does not begin, because a policy has no permit for it. It may after this pause.
    #[cfg_attr(not(feature = "durable"), allow(dead_code))] // There are no jobs.
    Postponed(Duration),
    /// The call was refused, and a test kit is notified when the holder receives the reason.
    RefusedInTest(RefusedReason, Arc<dyn Dispatcher>),
}

/// The link from a handle to the policies of its call.
pub(crate) struct PolicyLink {
    /// For a call that waits only as long as its handle is held.
    caller_alive: Option<CallerAlive>,
    /// The calls that have joined the run.
    followers: Option<Arc<Followers>>,
    /// Whether the holder has aborted the call while the run continues for its followers.
    is_left: AtomicBool,
}

impl PolicyLink {
    pub(crate) fn new(
        caller_alive: Option<CallerAlive>,
        followers: Option<Arc<Followers>>,
    ) -> Self {
        Self {
            caller_alive,
            followers,
            is_left: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_needed(&self) -> bool {
        self.caller_alive.is_some() || self.followers.is_some()
    }

    fn is_left(&self) -> bool {
        // Relaxed: a thread that polls the handle after the abort has received the handle since.
        self.is_left.load(Ordering::Relaxed)
    }
}

/// Dropped with the handle: its receiver then knows that the handle is gone.
pub(crate) type CallerAlive = oneshot::Sender<()>;

/// The value that the holder of the handle receives.
enum Received {
    /// The task, with its output.
    Task(BoxedTask),
    /// A copy of the `Result` of another call.
    Copy(Box<dyn Any + Send>),
}

impl RawHandle {
    #[inline]
    pub(crate) fn accepted(id: TaskId, handler: &'static Handler, task_ref: TaskRef) -> Self {
        Self {
            id,
            handler,
            task_ref: Some(task_ref),
            rest: None,
        }
    }

    /// The handle of a call without a task of its own.
    pub(crate) fn without_task(id: TaskId, handler: &'static Handler, rest: Rest) -> Self {
        Self {
            id,
            handler,
            task_ref: None,
            rest: Some(Box::new(rest)),
        }
    }

    pub(crate) fn linked(mut self, policy_link: PolicyLink) -> Self {
        self.rest = Some(Box::new(Rest::Linked(policy_link)));
        self
    }

    fn policy_link(&self) -> Option<&PolicyLink> {
        match self.rest.as_deref() {
            Some(Rest::Linked(policy_link)) => Some(policy_link),
            _ => None,
        }
    }

    fn is_finished(&self) -> bool {
        match self.rest.as_deref() {
            // The leader sends an outcome however it ends.
            Some(Rest::Joined(outcome)) => !outcome.is_empty(),
            Some(Rest::Linked(policy_link)) if policy_link.is_left() => true,
            _ => self.task_ref.as_ref().is_none_or(TaskRef::is_done),
        }
    }

    fn cancel(&self, reason: StopReason) {
        if let Some(task_ref) = &self.task_ref
            && let Some(token) = task_ref.token()
        {
            let policy_link = self.policy_link();
            if let Some(followers) = policy_link.and_then(|link| link.followers.as_ref()) {
                // Later calls need a run that is not about to end.
                followers.close();
            }
            // Note it before the token fires and ends the attempt: no other attempt must follow. The last attempt of a drain has a
            // token of its own, which this fires.
            task_ref.note_cancelled(reason);
            // Count first: a task that the token wakes may call `is_cancelled` before the next line runs. Release: pairs with the
            // acquire in `is_cancelled`, so a thread that sees the count finds the token in the record.
            let cancelled_alone = &task_ref.shared().cancelled_alone;
            if broken!("cancelled_before_noted") {
                token.cancel();
            }
            cancelled_alone.fetch_add(1, Ordering::Release);
            token.cancel();
        }
    }

    fn abort(&self) {
        let Some(task_ref) = &self.task_ref else {
            return;
        };
        if let Some(policy_link) = self.policy_link()
            && let Some(followers) = &policy_link.followers
            && !task_ref.is_done()
            && !followers.close_if_empty()
        {
            policy_link.is_left.store(true, Ordering::Relaxed);
            task_ref.wake_joiner();
        } else if let Some(queued) = task_ref.abort() {
            Supervised::new(task_ref.clone(), queued).abort();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, TaskError>> {
        let Some(task_ref) = &self.task_ref else {
            return match self.rest.as_deref_mut() {
                Some(Rest::Joined(outcome)) => poll_joined(outcome, cx),
                Some(Rest::Skipped) => Poll::Ready(Err(TaskError::Skipped)),
                Some(Rest::Refused(reason)) => Poll::Ready(Err(TaskError::Refused(*reason))),
                // The code that runs jobs asks for the pause, and awaits no such handle.
                Some(Rest::Postponed(_)) => Poll::Ready(Err(TaskError::Cancelled)),
                Some(Rest::RefusedInTest(reason, kit)) => {
                    kit.refusal_seen(self.id);
                    Poll::Ready(Err(TaskError::Refused(*reason)))
                }
                Some(Rest::Linked(_)) | None => unreachable!("such a call has a task"),
            };
        };
        if self.policy_link().is_some_and(PolicyLink::is_left) {
            return Poll::Ready(Err(TaskError::Aborted));
        }
        let task = ready!(task_ref.join(cx.waker()));
        let task = task.expect("a `TaskHandle` must not be polled again after it was ready");
        Poll::Ready(Ok(Received::Task(task)))
    }
}

fn poll_joined(
    outcome: &mut oneshot::Receiver<SharedOutcome>,
    cx: &mut Context<'_>,
) -> Poll<Result<Received, TaskError>> {
    Poll::Ready(match ready!(Pin::new(outcome).poll(cx)) {
        Ok(SharedOutcome::Value(copy)) => Ok(Received::Copy(copy)),
        Ok(SharedOutcome::Error(error)) => Err(error),
        // The leader was dropped with the runtime.
        Err(_) => Err(TaskError::Aborted),
    })
}

impl Drop for RawHandle {
    #[inline]
    fn drop(&mut self) {
        if let Some(task_ref) = &self.task_ref
            && let Some(left) = task_ref.detach()
        {
            drop_unclaimed(task_ref, left);
        }
    }
}

/// Frees the slot of a task that has ended, and drops what the holder has not taken.
#[cold]
fn drop_unclaimed(task_ref: &TaskRef, left: Option<BoxedTask>) {
    if let Some(task) = left {
        Supervised::new(task_ref.clone(), task).drop_unclaimed();
    }
    task_ref.release();
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(raw: RawHandle) -> Self {
        Self {
            raw,
            output: PhantomData,
        }
    }

    /// Returns the id of this call: the same as in logs, in [`tasks()`](crate::tasks) and in the shutdown report.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.raw.id
    }

    /// Returns the name of the function.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.raw.handler.name()
    }

    /// Returns whether the task has ended, or was refused. Its output may not have been taken yet.
    ///
    /// The call may leave its [`Group`](crate::Group) a moment later; to find the group empty, await
    /// [`Group::idle`](crate::Group::idle).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Fires this task's own [`ShutdownToken`](crate::ShutdownToken).
    ///
    /// The task ends when it reacts to the token. With `on_shutdown = "cancel"`, its future is dropped. Calls that have joined its
    /// run (`coalesce`) share the outcome.
    pub fn cancel(&self) {
        self.raw.cancel(StopReason::Cancelled);
    }

    /// Returns after which pause the attempt of a durable job may begin, if it has not.
    #[cfg(feature = "durable")]
    pub(crate) fn postponed(&self) -> Option<Duration> {
        match self.raw.rest.as_deref() {
            Some(Rest::Postponed(pause)) => Some(*pause),
            _ => None,
        }
    }

    /// Does the same as [`cancel`](Self::cancel), for this reason.
    #[cfg(feature = "durable")]
    pub(crate) fn cancel_for(&self, reason: StopReason) {
        self.raw.cancel(reason);
    }

    /// Drops the task at its next await, whether or not it reacts to its token. Without a shutdown, that is logged.
    ///
    /// A plain function that has begun cannot be stopped this way. One that still waits for a thread of the blocking pool never
    /// begins. With policies, the task is [abandoned](crate::Outcome::Abandoned) while the function runs on.
    ///
    /// Once another call has joined the run (`coalesce`), the run continues for that call. The handle is ready at once all the
    /// same, with [`TaskError::Aborted`]. A call that has joined another one has no task, so neither this method nor
    /// [`cancel`](Self::cancel) affects the run it shares.
    pub fn abort(&self) {
        self.raw.abort();
    }

    /// Returns the handle in a form that [aborts](Self::abort) the task when it is dropped: for calls whose output is their only
    /// purpose.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// #[bgtask::background]
    /// async fn look_up(name: String) -> u32 { /* … */ name.len() as u32 }
    ///
    /// # #[bgtask::main]
    /// # async fn main() {
    /// let answer = look_up("home".into()).abort_on_drop();
    /// // If this is dropped while it waits, or takes too long, the look-up is aborted.
    /// let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
    /// assert_eq!(answer, Ok(Ok(4)));
    /// # }
    /// ```
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop { handle: Some(self) }
    }
}

/// A [`TaskHandle`] whose task is aborted when this is dropped; see [`TaskHandle::abort_on_drop`].
///
/// It is a future of the same output, and dereferences to the handle.
///
/// # Cancel safety
/// Awaiting `&mut` of it in a `select!` loses nothing when another branch wins. If the `select!` owns it, the task is aborted then.
#[must_use = "the task is aborted when this is dropped"]
pub struct AbortOnDrop<T> {
    /// Absent once it has been detached.
    handle: Option<TaskHandle<T>>,
}

impl<T> AbortOnDrop<T> {
    /// Returns the plain handle: the task is no longer aborted.
    pub fn detach(mut self) -> TaskHandle<T> {
        match self.handle.take() {
            Some(handle) => handle,
            None => unreachable!("only `detach` takes it, and consumes `self`"),
        }
    }
}

impl<T> Deref for AbortOnDrop<T> {
    type Target = TaskHandle<T>;

    fn deref(&self) -> &TaskHandle<T> {
        match &self.handle {
            Some(handle) => handle,
            None => unreachable!("only `detach` takes it"),
        }
    }
}

impl<T: 'static> Future for AbortOnDrop<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.handle {
            Some(handle) => Pin::new(handle).poll(cx),
            None => unreachable!("only `detach` takes it"),
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

impl<T> fmt::Debug for AbortOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AbortOnDrop").field(&**self).finish()
    }
}

impl<T> TaskHandle<T> {
    /// Waits for the end of the call, and then leaves its output as unread as a dropped handle does.
    pub(crate) async fn ended(mut self) {
        let received = poll_fn(|cx| self.raw.poll(cx)).await;
        if let (Ok(Received::Task(task)), Some(task_ref)) = (received, &self.raw.task_ref) {
            Supervised::new(task_ref.clone(), task).drop_unclaimed();
        }
    }
}

impl<T: 'static> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.raw.poll(cx)) {
            Ok(Received::Task(mut task)) => task.as_mut().take(),
            // The key of a run names the function, so the types are the same.
            Ok(Received::Copy(copy)) => copy
                .downcast::<Result<T, TaskError>>()
                .map_or(Err(TaskError::Aborted), |result| *result),
            Err(error) => Err(error),
        })
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}
