//! `TaskHandle`: what a call returns. Waits for the output, cancels, aborts; dropping it detaches.
//! Knows nothing of how the task is run, only where it stands in the books.

use crate::handler::Handler;
use crate::ledger::Key;
use crate::policy::Told;
use crate::shared::Shared;
use crate::stats::TaskId;
use crate::supervise::Delivery;
use crate::{RefusedReason, TaskError};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
    state: State,
}

enum State {
    Refused(RefusedReason),
    Accepted {
        join: JoinHandle<Option<Delivery>>,
        shared: Arc<Shared>,
        key: Key,
        /// The books want to know when the handle is dropped: somebody has to see to the output.
        needs_owner: bool,
    },
    /// Accepted on the condition that somebody holds the handle.
    Held(Box<(RawHandle, Leash)>),
    /// It shares the outcome of another call.
    Joined(oneshot::Receiver<Told>),
    /// It does nothing, since another call does it.
    Skipped,
}

/// What is dropped with the handle, and so tells that nobody holds it any more.
pub(crate) type Leash = oneshot::Sender<()>;

impl RawHandle {
    pub(crate) fn refused(id: TaskId, handler: &'static Handler, reason: RefusedReason) -> Self {
        Self {
            id,
            handler,
            state: State::Refused(reason),
        }
    }

    pub(crate) fn accepted(
        id: TaskId,
        handler: &'static Handler,
        join: JoinHandle<Option<Delivery>>,
        shared: Arc<Shared>,
        key: Key,
        needs_owner: bool,
    ) -> Self {
        Self {
            id,
            handler,
            state: State::Accepted {
                join,
                shared,
                key,
                needs_owner,
            },
        }
    }

    pub(crate) fn joined(
        id: TaskId,
        handler: &'static Handler,
        told: oneshot::Receiver<Told>,
    ) -> Self {
        Self {
            id,
            handler,
            state: State::Joined(told),
        }
    }

    pub(crate) fn skipped(id: TaskId, handler: &'static Handler) -> Self {
        Self {
            id,
            handler,
            state: State::Skipped,
        }
    }

    /// Lets go of `leash` when the handle is dropped.
    pub(crate) fn held_by(self, leash: Leash) -> Self {
        Self {
            id: self.id,
            handler: self.handler,
            state: State::Held(Box::new((self, leash))),
        }
    }

    fn is_finished(&self) -> bool {
        match &self.state {
            State::Refused(_) | State::Skipped => true,
            State::Held(held) => held.0.is_finished(),
            // Whoever it has joined says something however it ends.
            State::Joined(told) => !told.is_empty(),
            State::Accepted { join, .. } => join.is_finished(),
        }
    }

    fn cancel(&self) {
        let (shared, key) = match &self.state {
            State::Accepted { shared, key, .. } => (shared, key),
            State::Held(held) => return held.0.cancel(),
            State::Refused(_) | State::Joined(_) | State::Skipped => return,
        };
        let make = || shared.task_token(self.handler.finishes());
        let token = shared.ledger.token(*key, make);
        if let Some(token) = token {
            // Counted first: whoever the token wakes may ask `is_cancelled` before this line's next. Release: pairs with
            // the acquire there, so that whoever sees the count finds the token in the books.
            shared.cancelled_alone.fetch_add(1, Ordering::Release);
            token.cancel();
        }
    }

    fn abort(&self) {
        match &self.state {
            State::Accepted { join, .. } => join.abort(),
            State::Held(held) => held.0.abort(),
            State::Refused(_) | State::Joined(_) | State::Skipped => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery, TaskError>> {
        Poll::Ready(match &mut self.state {
            // A join error means that the runtime dropped the task: `abort()`, or its own end. Panics never get that far.
            State::Accepted { join, .. } => match ready!(Pin::new(join).poll(cx)) {
                Ok(Some(delivery)) => Ok(delivery),
                Ok(None) | Err(_) => Err(TaskError::Aborted),
            },
            State::Refused(reason) => Err(TaskError::Refused(*reason)),
            State::Skipped => Err(TaskError::Skipped),
            State::Held(held) => return held.0.poll(cx),
            State::Joined(_) => unreachable!("what was joined gives no delivery, but a copy"),
        })
    }
}

/// The copy of what another call came to: a `Result` of this one's output. Apart from the rest, which all calls pass.
#[cold]
fn poll_joined(
    told: &mut oneshot::Receiver<Told>,
    cx: &mut Context<'_>,
) -> Poll<Result<Box<dyn Any + Send>, TaskError>> {
    Pin::new(told).poll(cx).map(|told| match told {
        Ok(Told::Value(copy)) => Ok(copy),
        Ok(Told::Error(error)) => Err(error),
        // Its leader went with the runtime.
        Err(_) => Err(TaskError::Aborted),
    })
}

impl Drop for RawHandle {
    fn drop(&mut self) {
        if let State::Accepted {
            shared,
            key,
            needs_owner: true,
            ..
        } = &self.state
        {
            shared.ledger.detach(*key);
        }
    }
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
    /// begins. With policies the task is then [abandoned](crate::Outcome::Abandoned), while the function runs on.
    ///
    /// A call that has joined another one has no task: neither this nor [`cancel`](Self::cancel) touches the run it shares.
    pub fn abort(&self) {
        self.raw.abort();
    }
}

impl<T: 'static> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Joined(told) = &mut self.raw.state {
            let copy = ready!(poll_joined(told, cx))?;
            // The key of what is joined names the function, so the types are the same.
            let result = copy.downcast::<Result<T, TaskError>>();
            return Poll::Ready(result.map_or(Err(TaskError::Aborted), |result| *result));
        }
        Poll::Ready(ready!(self.raw.poll(cx)).and_then(Delivery::take))
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
