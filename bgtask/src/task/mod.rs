//! The task of a call: its future and then its output, in one allocation with the task's notes.
//! Owns the user's values; must never know where they run or how the tracker records the call.

pub(crate) mod attempt;
pub(crate) mod judge;
pub(crate) mod live_fields;

use crate::TaskError;
use crate::fields::Fields;
use crate::task::judge::Judge;
use crate::task::live_fields::Kept;
use crate::util::panic::catch_and_ignore;
use crate::util::text::Message;
use pin_project_lite::pin_project;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::Span;

/// A task's rarely needed data. Most tasks have none, and allocate nothing for it.
#[derive(Debug, Default)]
pub(crate) struct Notes(Option<Box<Extras>>);

#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// `None` if no subscriber is interested.
    pub(crate) span: Option<Span>,
    /// Completes when the future must be dropped. Only for `on_shutdown = "cancel"`.
    pub(crate) cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// How the task ended, unless it succeeded.
    pub(crate) end: Option<End>,
    /// The values that the option `fields` names.
    pub(crate) fields: Option<Kept>,
}

impl Drop for Extras {
    /// A subscriber may panic when a span closes. The task must still be counted, wherever it is dropped.
    fn drop(&mut self) {
        let span = self.span.take();
        catch_and_ignore(|| drop(span));
    }
}

#[derive(Debug)]
pub(crate) enum End {
    /// There is no value.
    Error(TaskError),
    /// The value is an `Err` with this text.
    Failed(Message),
}

impl Notes {
    #[cold]
    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.0.get_or_insert_default()
    }

    #[inline]
    pub(crate) fn existing_extras(&mut self) -> Option<&mut Extras> {
        self.0.as_deref_mut()
    }

    pub(crate) fn span(&self) -> Option<&Span> {
        self.0.as_ref()?.span.as_ref()
    }

    /// Returns the values that the option `fields` names.
    pub(crate) fn fields(&self) -> Fields {
        let kept = self.0.as_ref().and_then(|extras| extras.fields.as_ref());
        kept.map_or_else(Fields::default, |kept| kept.fields.clone())
    }
}

/// How a body ended, unless it succeeded.
#[derive(Debug)]
pub(crate) enum BodyFailure {
    /// The output is an `Err` with this text.
    Failed(Message),
    /// A policy has ended the body, and there is no output.
    Ended(PolicyEnd),
}

/// How a policy ended a task.
#[derive(Debug)]
pub(crate) struct PolicyEnd {
    pub(crate) error: TaskError,
    pub(crate) attempts: u32,
    /// Whether a shutdown left no time for further attempts.
    pub(crate) gave_up: bool,
    /// The number of attempts as messages show it, such as "(gave up after 2 attempts)".
    pub(crate) note: Option<String>,
}

/// The user's part of a task.
pub(crate) trait Body: Send {
    /// Polls the future. Once it is ready, the output replaces it, unless a policy has ended the body. Returns `None` for a
    /// success.
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Box<BodyFailure>>>;
    /// Returns whether an unclaimed output has to be handled: it is a `Result`, or its drop runs code.
    fn needs_owner(&self) -> bool;
    /// Returns whether part of a cleared body still runs on a thread, where it cannot be stopped.
    fn left_behind(&self) -> bool {
        false
    }
    /// Drops the future or the output.
    fn clear(self: Pin<&mut Self>);
    /// Moves the output into an `Option` of its type.
    fn take(self: Pin<&mut Self>, into: &mut dyn Any);
}

pin_project! {
    /// The body of a function whose output is judged by `J`. This is all that is monomorphised per function.
    struct Work<F, T, J> {
        judge: PhantomData<J>,
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, T> {
        Future { #[pin] future: F },
        Output { output: Option<T> },
        Gone,
    }
}

impl<F, T, J> Body for Work<F, T, J>
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
    J: Judge<T>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Box<BodyFailure>>> {
        let mut state = self.project().state;
        let StateProjection::Future { future } = state.as_mut().project() else {
            // Polled after its end, which no runner does.
            return Poll::Pending;
        };
        let output = ready!(future.poll(cx));
        let failure = J::failure(&output);
        state.set(State::Output {
            output: Some(output),
        });
        Poll::Ready(
            failure.map(|failure| Box::new(BodyFailure::Failed(Message::new(failure, None)))),
        )
    }

    fn needs_owner(&self) -> bool {
        J::CAN_FAIL || std::mem::needs_drop::<T>()
    }

    fn clear(self: Pin<&mut Self>) {
        self.project().state.set(State::Gone);
    }

    fn take(self: Pin<&mut Self>, into: &mut dyn Any) {
        // Only here the output's type is known again: the launch created the handle with the same type.
        if let Some(into) = into.downcast_mut::<Option<T>>()
            && let StateProjection::Output { output } = self.project().state.project()
        {
            *into = output.take();
        }
    }
}

pin_project! {
    /// A task's notes and body, in one allocation.
    pub(crate) struct Task<B: ?Sized> {
        notes: Notes,
        #[pin]
        body: B,
    }
}

pub(crate) type BoxedTask = Pin<Box<Task<dyn Body>>>;

impl Task<()> {
    // Boxed here, because a generic spawn costs users ten times the compile time.
    pub(crate) fn boxed<F, T, J>(future: F, _judge: J) -> BoxedTask
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
        J: Judge<T>,
    {
        Box::pin(Task {
            notes: Notes::default(),
            body: Work::<F, T, J> {
                judge: PhantomData,
                state: State::Future { future },
            },
        })
    }
}

impl Task<()> {
    /// Creates a task whose body is not a plain future.
    pub(crate) fn with_body(body: impl Body + 'static) -> BoxedTask {
        Box::pin(Task {
            notes: Notes::default(),
            body,
        })
    }
}

impl Task<dyn Body> {
    pub(crate) fn left_behind(&self) -> bool {
        self.body.left_behind()
    }

    pub(crate) fn parts(self: Pin<&mut Self>) -> (&mut Notes, Pin<&mut dyn Body>) {
        let this = self.project();
        (this.notes, this.body)
    }

    pub(crate) fn needs_owner(&self) -> bool {
        self.body.needs_owner()
    }

    pub(crate) fn notes(self: Pin<&mut Self>) -> &mut Notes {
        self.project().notes
    }

    /// Takes the result for the holder of the handle.
    pub(crate) fn take<T: 'static>(self: Pin<&mut Self>) -> Result<T, TaskError> {
        let (notes, body) = self.parts();
        let end = notes.existing_extras().and_then(|extras| extras.end.take());
        if let Some(End::Error(error)) = end {
            return Err(error);
        }
        let mut output: Option<T> = None;
        body.take(&mut output);
        // Only an unclaimed output is gone by now, and the types match, so this default is never used.
        output.ok_or(TaskError::Aborted)
    }
}

impl fmt::Debug for Task<dyn Body> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.fmt(f)
    }
}

/// A plain function as a future that is ready on its first poll.
pub(crate) struct Call<F>(Option<F>);

impl<F> Call<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }
}

// The function is moved out before it is called, so its address does not matter.
impl<F> Unpin for Call<F> {}

impl<T, F: FnOnce() -> T> Future for Call<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<T> {
        match self.0.take() {
            Some(function) => Poll::Ready(function()),
            None => Poll::Pending,
        }
    }
}
