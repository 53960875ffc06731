//! `TaskHandle`: what a call returns. Waits for the output, cancels, aborts; dropping it detaches.
//! Knows nothing of how the task is run, only where it stands in the books.

use crate::ledger::Key;
use crate::shared::Shared;
use crate::stats::TaskId;
use crate::supervise::Delivery;
use crate::{RefusedReason, TaskError};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// A handle to one call of a background function.
///
/// Await it for the output; drop it and the task goes on by itself. Whoever holds it is trusted to look: an `Err` is then
/// theirs and not logged, until the handle is dropped without having been awaited.
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
    id: TaskId,
    name: &'static str,
    state: State,
    output: PhantomData<fn() -> T>,
}

enum State {
    Refused(RefusedReason),
    Accepted {
        join: JoinHandle<Delivery>,
        shared: Arc<Shared>,
        key: Key,
        finishes: bool,
        /// The books want to know when the handle is dropped; see [`crate::supervise::needs_owner`].
        tell_drop: bool,
    },
}

impl<T> TaskHandle<T> {
    pub(crate) fn refused(id: TaskId, name: &'static str, reason: RefusedReason) -> Self {
        Self {
            id,
            name,
            state: State::Refused(reason),
            output: PhantomData,
        }
    }

    pub(crate) fn accepted(
        id: TaskId,
        name: &'static str,
        join: JoinHandle<Delivery>,
        shared: Arc<Shared>,
        key: Key,
        finishes: bool,
        tell_drop: bool,
    ) -> Self {
        Self {
            id,
            name,
            state: State::Accepted {
                join,
                shared,
                key,
                finishes,
                tell_drop,
            },
            output: PhantomData,
        }
    }

    /// The identity of this call; the same as in logs, in [`tasks()`](crate::tasks) and in the report.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The name of the function.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the task has ended, or was refused. Its output may still wait to be taken.
    pub fn is_finished(&self) -> bool {
        match &self.state {
            State::Refused(_) => true,
            State::Accepted { join, .. } => join.is_finished(),
        }
    }

    /// Fires this task's own [`ShutdownToken`](crate::ShutdownToken). The task ends when it heeds it; with
    /// `on_shutdown = "cancel"` its future is dropped.
    pub fn cancel(&self) {
        if let State::Accepted {
            shared,
            key,
            finishes,
            ..
        } = &self.state
        {
            let token = shared.ledger.token(*key, || shared.task_token(*finishes));
            if let Some(token) = token {
                // Counted first: whoever the token wakes may ask `is_cancelled` before this line's next. Release: pairs with
                // the acquire there, so that whoever sees the count finds the token in the books.
                shared.cancelled_alone.fetch_add(1, Ordering::Release);
                token.cancel();
            }
        }
    }

    /// Has the task dropped at its next await, whether or not it heeds its token; without a shutdown that is logged.
    ///
    /// A plain function that has begun cannot be stopped so; one that waits for a thread of the blocking pool never
    /// begins.
    pub fn abort(&self) {
        if let State::Accepted { join, .. } = &self.state {
            join.abort();
        }
    }
}

impl<T: 'static> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let join = match &mut self.state {
            State::Refused(reason) => return Poll::Ready(Err(TaskError::Refused(*reason))),
            State::Accepted { join, .. } => join,
        };
        let delivery = ready!(Pin::new(join).poll(cx));
        // A join error means that the runtime dropped the task: `abort()`, or its own end. Panics never get that far.
        let kept = delivery.unwrap_or(Err(TaskError::Aborted))?;
        let value = kept.take().and_then(|value| value.downcast::<T>().ok());
        // Only an output that nobody waits for is settled early, and the launch gave this handle its own type.
        Poll::Ready(value.map(|value| *value).ok_or(TaskError::Aborted))
    }
}

impl<T> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if let State::Accepted {
            shared,
            key,
            tell_drop: true,
            ..
        } = &self.state
        {
            shared.ledger.detach(*key);
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("is_finished", &self.is_finished())
            .finish()
    }
}
