//! One task from its first poll to its last drop: runs it in its span, catches its panics, writes down how it ended.
//! Owns the task's future or closure; knows nothing of what spawns it, and of the output no more than that it is one.

use crate::classify::Classify;
use crate::context::{self, Context, CurrentTask};
use crate::handler::{Handler, Kind};
use crate::hooks::{FailedTask, FinishedTask, PanickedTask};
use crate::ledger::{Ending, Key};
use crate::notice::report;
use crate::panic_site::{Caught, catch};
use crate::policy::{Log, OnShutdown};
use crate::report::Failure;
use crate::shared::{Phase, Shared};
use crate::stats::{Outcome, TaskId};
use crate::{SourceLocation, TaskError};
use pin_project_lite::pin_project;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// What a task leaves behind for the holder of its handle.
pub(crate) type Delivery = Result<Kept, TaskError>;

/// An accepted call, and all that is needed to account for it.
///
/// However it goes out of scope, it strikes itself out of the books.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handler: &'static Handler,
    pub(crate) id: TaskId,
    pub(crate) key: Key,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) called: Instant,
    pub(crate) span: Span,
    /// Swapped into the thread while the task's code runs.
    context: Option<Context>,
    ended: bool,
}

impl Record {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handler: &'static Handler,
        id: TaskId,
        key: Key,
        called_at: &'static Location<'static>,
        called: Instant,
    ) -> Self {
        let task = CurrentTask {
            key,
            finishes: handler.on_shutdown() == OnShutdown::Finish,
            is_async: handler.kind() == Kind::Async,
        };
        let context = Context {
            shared: shared.clone(),
            task: Some(task),
        };
        Self {
            shared,
            handler,
            id,
            key,
            called_at,
            called,
            // A child of the caller's span, since that is the current one here.
            span: tracing::info_span!(target: "bgtask", "task", name = handler.name(), id = id.as_u64()),
            context: Some(context),
            ended: false,
        }
    }

    /// Runs code of the user's as this task's: in its span, and with itself as the thread's current task.
    fn run<R>(&mut self, work: impl FnOnce() -> R) -> Result<R, Caught> {
        let _in_span = self.span.enter();
        context::swap(&mut self.context);
        let result = catch(work);
        context::swap(&mut self.context);
        result
    }

    /// Whether the deadline has passed for this task. Cheap as long as it has not.
    fn must_stop(&self) -> bool {
        match self.shared.phase() {
            Phase::Running | Phase::Stopping | Phase::Draining => false,
            Phase::Expired => {
                !self.shared.ledger.is_live(self.key) || self.shared.ledger.is_awaited(self.key)
            }
            Phase::Over => !self.shared.ledger.is_live(self.key),
        }
    }

    fn start(&self) -> bool {
        let live = self.shared.ledger.start(self.key);
        if live {
            self.tell("task started", None);
        }
        live
    }

    /// The body returned. Judges the output and accounts for it.
    fn returned(&mut self, mut output: Output) -> Delivery {
        let failure = output.failure.take();
        let outcome = match failure {
            None => Outcome::Succeeded,
            Some(_) => Outcome::Failed,
        };
        if let Some(error) = &failure {
            self.note_failure(outcome, error, None);
            self.shared.hooks.failed(&FailedTask {
                id: self.id,
                name: self.handler.name(),
                called_at: self.called_at,
                error,
            });
        }
        let mut kept = Kept {
            value: Some(output.value),
            unseen: output.needs_owner.then(|| {
                Box::new(Unseen {
                    handler: self.handler,
                    id: self.id,
                    span: self.span.clone(),
                    failure,
                })
            }),
        };
        // What nobody waits for is reported before it is accounted for: once the count is zero the process may exit.
        if self.end(outcome, output.needs_owner) == Ending::OwnerLeft {
            kept.settle();
            self.end(outcome, false);
        }
        Ok(kept)
    }

    /// The body panicked, and that was reported. Accounts for it.
    fn panicked(&mut self, caught: Caught) -> TaskError {
        self.note_failure(Outcome::Panicked, &caught.message, caught.location.clone());
        self.end(Outcome::Panicked, false);
        TaskError::Panicked {
            message: caught.message,
            location: caught.location,
        }
    }

    /// The task was dropped before it came to its end.
    fn stopped(&mut self, outcome: Outcome) -> TaskError {
        // Ending because of the shutdown is not a failure; ending for any other cause is.
        if self.shared.phase() < Phase::Draining && self.handler.log() != Log::Off {
            let _in_span = self.span.enter();
            let (name, id) = (self.handler.name(), self.id);
            match outcome {
                Outcome::Cancelled => {
                    report!(error, "task cancelled without a shutdown"; name = name, id = id);
                }
                _ => {
                    report!(error, "task aborted without a shutdown"; name = name, id = id, called_at = self.called_at);
                }
            }
        }
        self.end(outcome, false);
        match outcome {
            Outcome::Cancelled => TaskError::Cancelled,
            _ => TaskError::Aborted,
        }
    }

    fn report_panic(&self, what: &'static str, caught: &Caught) {
        let (name, id) = (self.handler.name(), self.id);
        if self.handler.log() != Log::Off {
            let _in_span = self.span.enter();
            let place = Place(caught.location.as_ref());
            let message = caught.message.as_str();
            report!(error, "task panicked"; name = name, id = id, panic = message, location = place, during = what);
        }
        self.shared.hooks.panicked(&PanickedTask {
            id,
            name,
            called_at: self.called_at,
            message: &caught.message,
            location: caught.location.as_ref(),
        });
    }

    fn note_failure(&self, outcome: Outcome, message: &str, location: Option<SourceLocation>) {
        self.shared.note_failure(|| Failure {
            id: self.id,
            name: self.handler.name(),
            called_at: self.called_at,
            outcome,
            message: message.to_owned(),
            location,
        });
    }

    /// Strikes the call out of the books, unless `expect_owner` and its handle is gone.
    fn end(&mut self, outcome: Outcome, expect_owner: bool) -> Ending {
        if !self.ended {
            self.ended = true;
            self.tell("task finished", Some(outcome));
            self.shared.hooks.finished(|| FinishedTask {
                id: self.id,
                name: self.handler.name(),
                called_at: self.called_at,
                outcome,
                age: self.called.elapsed(),
            });
        }
        let ending = self.shared.ledger.end(self.key, outcome, expect_owner);
        if ending == (Ending::Ended { drained: true }) {
            self.shared.progress(|_| ());
        }
        ending
    }

    /// The started and finished events, at the level the function asked for.
    fn tell(&self, what: &'static str, outcome: Option<Outcome>) {
        let Some(level) = self.handler.log().level() else {
            return;
        };
        if level > LevelFilter::current() {
            return;
        }
        let _in_span = self.span.enter();
        macro_rules! event {
            ($level:ident) => {
                match outcome {
                    None => tracing::$level!(target: "bgtask", "{what}"),
                    Some(outcome) => tracing::$level!(
                        target: "bgtask",
                        %outcome,
                        age = ?self.called.elapsed(),
                        "{what}"
                    ),
                }
            };
        }
        match self.handler.log() {
            Log::Off => {}
            Log::Trace => event!(trace),
            Log::Debug => event!(debug),
            Log::Info => event!(info),
            Log::Warn => event!(warn),
            Log::Error => event!(error),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.stopped(Outcome::Aborted);
        }
    }
}

/// Where a panic happened, or that nobody knows.
struct Place<'a>(Option<&'a SourceLocation>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(location) => location.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// What a body returned, its type forgotten.
pub(crate) struct Output {
    value: Box<dyn Any + Send>,
    failure: Option<String>,
    /// It is a `Result`, or something whose drop runs code: if nobody holds the handle, it has to be seen to.
    needs_owner: bool,
}

impl Output {
    fn new<T: Send + 'static>(value: T, classify: Classify<T>) -> Self {
        Self {
            failure: (classify.failure)(&value),
            needs_owner: needs_owner(classify),
            value: Box::new(value),
        }
    }
}

/// Whether an output has to be seen to even if nobody holds the handle.
pub(crate) fn needs_owner<T>(classify: Classify<T>) -> bool {
    classify.is_result || std::mem::needs_drop::<T>()
}

/// An output on its way to the holder of the handle. If it is dropped instead, whatever it says is reported.
pub(crate) struct Kept {
    value: Option<Box<dyn Any + Send>>,
    unseen: Option<Box<Unseen>>,
}

/// What has to be said of an output that nobody looked at.
struct Unseen {
    handler: &'static Handler,
    id: TaskId,
    span: Span,
    failure: Option<String>,
}

impl Kept {
    /// The value, for the holder of the handle. `None` if it was settled, which an awaited handle never meets.
    pub(crate) fn take(mut self) -> Option<Box<dyn Any + Send>> {
        self.unseen = None;
        self.value.take()
    }

    /// Nobody will look at it: reports an error, drops the value and contains what that may do.
    fn settle(&mut self) {
        let value = self.value.take();
        let Some(unseen) = self.unseen.take() else {
            return;
        };
        let Unseen {
            handler,
            id,
            span,
            failure,
        } = *unseen;
        let _in_span = span.enter();
        let name = handler.name();
        let tells = handler.log() != Log::Off;
        if let Some(error) = failure.filter(|_| tells) {
            report!(error, "task failed"; name = name, id = id, error = error);
        }
        if let Err(caught) = catch(|| drop(value))
            && tells
        {
            let place = Place(caught.location.as_ref());
            report!(error, "task's output panicked while it was dropped";
                name = name, id = id, panic = caught.message, location = place);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.settle();
    }
}

pin_project! {
    /// A user's future whose output is judged and forgotten as soon as it is there.
    pub(crate) struct Erased<F, T> {
        #[pin]
        future: F,
        classify: Classify<T>,
    }
}

impl<F: Future<Output = T>, T: Send + 'static> Future for Erased<F, T> {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Output> {
        let this = self.project();
        this.future
            .poll(cx)
            .map(|value| Output::new(value, *this.classify))
    }
}

pub(crate) type BoxedFuture = Pin<Box<dyn Future<Output = Output> + Send>>;
pub(crate) type BoxedClosure = Box<dyn FnOnce() -> Output + Send>;

pub(crate) fn erase<F, T>(future: F, classify: Classify<T>) -> BoxedFuture
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    Box::pin(Erased { future, classify })
}

pub(crate) fn erase_closure<F, T>(work: F, classify: Classify<T>) -> BoxedClosure
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Box::new(move || Output::new(work(), classify))
}

/// An async task under supervision: what is handed to the runtime.
pub(crate) struct SupervisedFuture {
    /// Absent once it has been dropped, which has to happen under supervision too.
    future: Option<BoxedFuture>,
    record: Record,
    /// For `on_shutdown = "cancel"` alone: completes when the future is to be dropped.
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    /// Polled, and has not waited yet.
    Started,
    /// The books know how to wake it.
    Parked,
    Ended,
}

impl SupervisedFuture {
    pub(crate) fn new(record: Record, future: BoxedFuture) -> Self {
        let cancelled = (record.handler.on_shutdown() == OnShutdown::Cancel)
            .then(|| {
                let make = || record.shared.task_token(false);
                record.shared.ledger.token(record.key, make)
            })
            .flatten()
            .map(|token| Box::pin(token.cancelled_owned()));
        Self {
            future: Some(future),
            record,
            cancelled,
            stage: Stage::Queued,
        }
    }

    /// Drops the user's future; a panic in there is reported and goes no further.
    fn drop_future(&mut self) {
        let future = self.future.take();
        if let Err(caught) = self.record.run(|| drop(future)) {
            self.record.report_panic("drop", &caught);
        }
    }

    fn stop(&mut self, outcome: Outcome) -> Delivery {
        self.stage = Stage::Ended;
        self.drop_future();
        Err(self.record.stopped(outcome))
    }

    fn is_cancelled(&mut self, cx: &mut task::Context<'_>) -> bool {
        self.cancelled
            .as_mut()
            .is_some_and(|cancelled| cancelled.as_mut().poll(cx).is_ready())
    }
}

impl Future for SupervisedFuture {
    type Output = Delivery;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Delivery> {
        let this = &mut *self;
        if this.record.must_stop() {
            return Poll::Ready(this.stop(Outcome::Aborted));
        }
        if this.is_cancelled(cx) {
            return Poll::Ready(this.stop(Outcome::Cancelled));
        }
        if this.stage == Stage::Queued {
            this.stage = Stage::Started;
            this.record.start();
        }
        let Some(future) = &mut this.future else {
            // Only an executor that polls after the end gets here.
            return Poll::Ready(Err(TaskError::Aborted));
        };
        match this.record.run(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => {
                if this.stage == Stage::Started {
                    this.stage = Stage::Parked;
                    // The runtime's waker for this task stays the same for life, so once is enough.
                    let live = this
                        .record
                        .shared
                        .ledger
                        .park(this.record.key, cx.waker().clone());
                    // The deadline may have passed between the poll and the entry: then nobody will wake us for it.
                    if !live || this.record.must_stop() {
                        return Poll::Ready(this.stop(Outcome::Aborted));
                    }
                }
                Poll::Pending
            }
            Ok(Poll::Ready(output)) => {
                this.stage = Stage::Ended;
                this.drop_future();
                Poll::Ready(this.record.returned(output))
            }
            Err(caught) => {
                this.stage = Stage::Ended;
                // First said, then dropped: dropping what is left may panic once more.
                this.record.report_panic("run", &caught);
                this.drop_future();
                Poll::Ready(Err(this.record.panicked(caught)))
            }
        }
    }
}

impl Drop for SupervisedFuture {
    fn drop(&mut self) {
        if self.stage != Stage::Ended {
            let _ = self.stop(Outcome::Aborted);
        }
    }
}

/// A blocking task under supervision: what is handed to the blocking pool.
pub(crate) struct SupervisedClosure {
    work: Option<BoxedClosure>,
    record: Record,
}

impl SupervisedClosure {
    pub(crate) fn new(record: Record, work: BoxedClosure) -> Self {
        Self {
            work: Some(work),
            record,
        }
    }

    pub(crate) fn run(mut self) -> Delivery {
        let Some(work) = self.work.take() else {
            return Err(TaskError::Aborted);
        };
        if self.record.must_stop() || !self.record.start() {
            return Err(self.stop(work));
        }
        match self.record.run(work) {
            Ok(output) => self.record.returned(output),
            Err(caught) => {
                self.record.report_panic("run", &caught);
                Err(self.record.panicked(caught))
            }
        }
    }

    fn stop(&mut self, work: BoxedClosure) -> TaskError {
        if let Err(caught) = self.record.run(|| drop(work)) {
            self.record.report_panic("drop", &caught);
        }
        self.record.stopped(Outcome::Aborted)
    }
}

impl Drop for SupervisedClosure {
    /// The pool drops what it did not begin.
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.stop(work);
        }
    }
}
