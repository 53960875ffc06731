//! `TaskHandle`: what a call returns. Waits for the output, cancels, aborts; dropping it detaches.
//! Knows nothing of how the task is run, only where it stands in the books.

use crate::call::supervise::Supervised;
use crate::handler::Handler;
use crate::observe::hooks::Dispatcher;
use crate::policy::{Followers, SharedOutcome};
use crate::stats::TaskId;
use crate::task::BoxedTask;
use crate::tracker::task_ref::TaskRef;
use crate::util::sync::atomic::{AtomicBool, Ordering};
use crate::util::sync::broken;
use crate::{RefusedReason, TaskError};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// A handle to one call of a background function.
///
/// Await it for the output; drop it and the task goes on by itself. Whoever holds it is trusted to look: an `Err` is then
/// theirs and not logged, until the handle is dropped without having been awaited.
///
/// The handle of a task that a shutdown [abandoned](crate::Outcome::Abandoned) is ready when the task ends after all.
///
/// # Cancel safety
/// Awaiting `&mut handle` in a `select!` loses nothing when another branch wins.
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
/// A handle is a future like any other: what takes futures takes handles. For calls that are awaited or cancelled together
/// without their outputs there is [`Group`](crate::Group).
///
/// ```
/// # use bgtask::TaskError;
/// # use std::time::Duration;
/// # #[bgtask::background]
/// # async fn add(a: u32, b: u32) -> u32 { a + b }
/// # #[bgtask::main]
/// # async fn main() -> Result<(), TaskError> {
/// // All of them, in the order of the calls:
/// let sums = futures_util::future::join_all((1..4).map(|n| add(n, n))).await;
/// assert_eq!(sums, [Ok(2), Ok(4), Ok(6)]);
///
/// // As they end. Dropping the set aborts what it spawned, which is the waiting: for the calls too, `abort_on_drop`.
/// let mut set = tokio::task::JoinSet::new();
/// for n in 1..4 {
///     set.spawn(add(n, n).abort_on_drop());
/// }
/// while let Some(sum) = set.join_next().await {
///     assert!(sum.expect("nobody aborts the set")? > 0);
/// }
///
/// // The first of two; the other one runs on, and its handle can still be awaited.
/// let (mut one, mut other) = (add(1, 1), add(2, 2));
/// tokio::select! {
///     sum = &mut one => assert_eq!(sum?, 2),
///     sum = &mut other => assert_eq!(sum?, 4),
/// }
///
/// // Within a time of the caller's own. Without `abort_on_drop` the call would run on after it.
/// let sum = tokio::time::timeout(Duration::from_secs(5), add(1, 2).abort_on_drop()).await;
/// assert_eq!(sum, Ok(Ok(3)));
/// # Ok(())
/// # }
/// ```
pub struct TaskHandle<T> {
    raw: RawHandle,
    output: PhantomData<fn() -> T>,
}

/// All of a handle but its type.
pub(crate) struct RawHandle {
    id: TaskId,
    handler: &'static Handler,
    /// Where the call stands in the books, if it is written there.
    place: Option<TaskRef>,
    /// What few handles have.
    rest: Option<Box<Rest>>,
}

pub(crate) enum Rest {
    /// The call has a task, and its policies something to do with the handle.
    Tied(PolicyLink),
    /// It shares the outcome of another call.
    Joined(oneshot::Receiver<SharedOutcome>),
    /// It does nothing, since another call does it.
    Skipped,
    Refused(RefusedReason),
    /// It was refused, and a test kit is notified when the holder receives the reason.
    RefusedInTest(RefusedReason, Arc<dyn Dispatcher>),
}

/// What policy_link a handle to the policies of its call.
pub(crate) struct PolicyLink {
    /// The call was accepted on the condition that somebody holds the handle. Tells by being dropped.
    caller_alive: Option<CallerAlive>,
    /// Those who have joined its run.
    followers: Option<Arc<Followers>>,
    /// Its holder has aborted the call, and the run goes on for others.
    has_let_go: AtomicBool,
}

impl PolicyLink {
    pub(crate) fn new(
        caller_alive: Option<CallerAlive>,
        followers: Option<Arc<Followers>>,
    ) -> Self {
        Self {
            caller_alive,
            followers,
            has_let_go: AtomicBool::new(false),
        }
    }

    pub(crate) fn are_any(&self) -> bool {
        self.caller_alive.is_some() || self.followers.is_some()
    }

    fn has_let_go(&self) -> bool {
        // Relaxed: whoever polls the handle after it was aborted has been given it since.
        self.has_let_go.load(Ordering::Relaxed)
    }
}

/// What is dropped with the handle, and so tells that nobody holds it any more.
pub(crate) type CallerAlive = oneshot::Sender<()>;

/// What the holder of the handle is given.
enum Received {
    /// The task, with its output.
    Task(BoxedTask),
    /// A copy: the `Result` of another call.
    Copy(Box<dyn Any + Send>),
}

impl RawHandle {
    #[inline]
    pub(crate) fn accepted(id: TaskId, handler: &'static Handler, place: TaskRef) -> Self {
        Self {
            id,
            handler,
            place: Some(place),
            rest: None,
        }
    }

    /// The call has no task of its own.
    pub(crate) fn of_no_task(id: TaskId, handler: &'static Handler, rest: Rest) -> Self {
        Self {
            id,
            handler,
            place: None,
            rest: Some(Box::new(rest)),
        }
    }

    pub(crate) fn tied(mut self, policy_link: PolicyLink) -> Self {
        self.rest = Some(Box::new(Rest::Tied(policy_link)));
        self
    }

    fn policy_link(&self) -> Option<&PolicyLink> {
        match self.rest.as_deref() {
            Some(Rest::Tied(policy_link)) => Some(policy_link),
            _ => None,
        }
    }

    fn is_finished(&self) -> bool {
        match self.rest.as_deref() {
            // Whoever it has joined says something however it ends.
            Some(Rest::Joined(outcome)) => !outcome.is_empty(),
            Some(Rest::Tied(policy_link)) if policy_link.has_let_go() => true,
            _ => self.place.as_ref().is_none_or(TaskRef::is_done),
        }
    }

    fn cancel(&self) {
        if let Some(place) = &self.place
            && let Some(token) = place.token()
        {
            if let Some(followers) = self
                .policy_link()
                .and_then(|policy_link| policy_link.followers.as_ref())
            {
                // Whoever comes from now on wants a run that is not about to end.
                followers.close();
            }
            // Noted before the token fires, which ends the attempt: that one is to be the last. And the drain may have fired that
            // token already, where the last attempt has another.
            place.note_cancelled();
            // Counted first: whoever the token wakes may ask `is_cancelled` before this line's next. Release: pairs with
            // the acquire there, so that whoever sees the count finds the token in the books.
            let cancelled_alone = &place.shared().cancelled_alone;
            if broken!("cancelled_before_noted") {
                token.cancel();
            }
            cancelled_alone.fetch_add(1, Ordering::Release);
            token.cancel();
        }
    }

    fn abort(&self) {
        let Some(place) = &self.place else {
            return;
        };
        if let Some(policy_link) = self.policy_link()
            && let Some(followers) = &policy_link.followers
            && !place.is_done()
            && !followers.close_if_empty()
        {
            policy_link.has_let_go.store(true, Ordering::Relaxed);
            place.wake_joiner();
        } else if let Some(queued) = place.abort() {
            Supervised::new(place.clone(), queued).abort();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, TaskError>> {
        let Some(place) = &self.place else {
            return match self.rest.as_deref_mut() {
                Some(Rest::Joined(outcome)) => poll_joined(outcome, cx),
                Some(Rest::Skipped) => Poll::Ready(Err(TaskError::Skipped)),
                Some(Rest::Refused(reason)) => Poll::Ready(Err(TaskError::Refused(*reason))),
                Some(Rest::RefusedInTest(reason, kit)) => {
                    kit.refusal_seen(self.id);
                    Poll::Ready(Err(TaskError::Refused(*reason)))
                }
                Some(Rest::Tied(_)) | None => unreachable!("such a call has its place"),
            };
        };
        if let Some(Rest::Tied(policy_link)) = self.rest.as_deref()
            && policy_link.has_let_go()
        {
            return Poll::Ready(Err(TaskError::Aborted));
        }
        let task = ready!(place.join(cx.waker()));
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
        // Its leader went with the runtime.
        Err(_) => Err(TaskError::Aborted),
    })
}

impl Drop for RawHandle {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = &self.place
            && let Some(left) = place.detach()
        {
            drop_unclaimed(place, left);
        }
    }
}

/// The task has ended, and nobody has taken its output, or all of it.
#[cold]
fn drop_unclaimed(place: &TaskRef, left: Option<BoxedTask>) {
    if let Some(task) = left {
        Supervised::new(place.clone(), task).drop_unclaimed();
    }
    place.release();
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(raw: RawHandle) -> Self {
        Self {
            raw,
            output: PhantomData,
        }
    }

    /// The identity of this call; the same as in logs, in [`tasks()`](crate::tasks) and in the report.
    pub fn id(&self) -> TaskId {
        self.raw.id
    }

    /// The name of the function.
    pub fn name(&self) -> &'static str {
        self.raw.handler.name()
    }

    /// Returns whether the task has ended, or was refused. Its output may still wait to be taken.
    ///
    /// The call may leave its [`Group`](crate::Group) a moment later; to find the group empty, await
    /// [`Group::idle`](crate::Group::idle).
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Fires this task's own [`ShutdownToken`](crate::ShutdownToken). The task ends when it heeds it; with
    /// `on_shutdown = "cancel"` its future is dropped. Calls that have joined its run (`coalesce`) share what that comes to.
    pub fn cancel(&self) {
        self.raw.cancel();
    }

    /// Has the task dropped at its next await, whether or not it heeds its token; without a shutdown that is logged.
    ///
    /// A plain function that has begun cannot be stopped so; one that waits for a thread of the blocking pool never
    /// begins. With policies the task is then [abandoned](crate::Outcome::Abandoned), while the function runs on.
    ///
    /// Once another call has joined the run (`coalesce`), the run is that one's too and goes on; the handle is ready at once all
    /// the same, with [`TaskError::Aborted`]. A call that has joined another one has no task: neither this nor
    /// [`cancel`](Self::cancel) touches the run it shares.
    pub fn abort(&self) {
        self.raw.abort();
    }

    /// Returns the handle in a form that [aborts](Self::abort) the task when it is dropped: for calls that are worth nothing
    /// without whoever awaits them.
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
    /// // If this is dropped while it waits, or takes too long, nobody looks up anything any more.
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
/// It is awaited like the handle, and dereferences to it.
///
/// # Cancel safety
/// Awaiting `&mut` of it in a `select!` loses nothing when another branch wins; awaiting it itself there aborts the task.
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
            None => unreachable!("only this takes it, and has the whole of it"),
        }
    }
}

impl<T> Deref for AbortOnDrop<T> {
    type Target = TaskHandle<T>;

    fn deref(&self) -> &TaskHandle<T> {
        match &self.handle {
            Some(handle) => handle,
            None => unreachable!("it is there until this is gone"),
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
            None => unreachable!("it is there until this is gone"),
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

impl<T: 'static> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.raw.poll(cx)) {
            Ok(Received::Task(mut task)) => task.as_mut().take(),
            // The key of what is joined names the function, so the types are the same.
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
