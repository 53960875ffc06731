//! `TaskHandle`: what a call returns. Waits for the output, cancels, aborts; dropping it detaches.
//! Knows nothing of how the task is run, only where it stands in the books.

use crate::handler::Handler;
use crate::slab::Place;
use crate::stats::TaskId;
use crate::supervise::Supervised;
use crate::task::BoxedTask;
use crate::{RefusedReason, TaskError};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

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
pub struct TaskHandle<T> {
    raw: RawHandle,
    output: PhantomData<fn() -> T>,
}

/// All of a handle but its type.
pub(crate) struct RawHandle {
    id: TaskId,
    handler: &'static Handler,
    /// Absent if the call was refused.
    place: Option<Place>,
}

impl RawHandle {
    pub(crate) fn new(id: TaskId, handler: &'static Handler, place: Option<Place>) -> Self {
        Self { id, handler, place }
    }

    fn is_finished(&self) -> bool {
        self.place.as_ref().is_none_or(Place::is_done)
    }

    fn cancel(&self) {
        if let Some(place) = &self.place
            && let Some(token) = place.token()
        {
            // Counted first: whoever the token wakes may ask `is_cancelled` before this line's next. Release: pairs with
            // the acquire there, so that whoever sees the count finds the token in the books.
            let cancelled_alone = &place.shared().cancelled_alone;
            cancelled_alone.fetch_add(1, Ordering::Release);
            token.cancel();
        }
    }

    fn abort(&self) {
        if let Some(place) = &self.place
            && let Some(queued) = place.abort()
        {
            Supervised::new(place.clone(), queued).abort();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedTask, TaskError>> {
        let Some(place) = &self.place else {
            return Poll::Ready(Err(TaskError::Refused(RefusedReason::ShutDown)));
        };
        let task = ready!(place.join(cx.waker()));
        Poll::Ready(Ok(task.expect(
            "a `TaskHandle` must not be polled again after it was ready",
        )))
    }
}

impl Drop for RawHandle {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = &self.place
            && let Some(left) = place.detach()
        {
            settle(place, left);
        }
    }
}

/// The task has ended, and nobody has taken its output, or all of it.
#[cold]
fn settle(place: &Place, left: Option<BoxedTask>) {
    if let Some(task) = left {
        Supervised::new(place.clone(), task).settle();
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

    /// Whether the task has ended, or was refused. Its output may still wait to be taken.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Fires this task's own [`ShutdownToken`](crate::ShutdownToken). The task ends when it heeds it; with
    /// `on_shutdown = "cancel"` its future is dropped.
    pub fn cancel(&self) {
        self.raw.cancel();
    }

    /// Has the task dropped at its next await, whether or not it heeds its token; without a shutdown that is logged.
    ///
    /// A plain function that has begun cannot be stopped so; one that waits for a thread of the blocking pool never
    /// begins.
    pub fn abort(&self) {
        self.raw.abort();
    }
}

impl<T: 'static> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.raw.poll(cx)).and_then(|mut task| task.as_mut().take()))
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
