//! One task from its first poll to its last drop: runs it in its span, catches its panics, writes down how it ended.
//! Owns the task's future and output; knows nothing of what spawns it, and of the output no more than that it is one.

use crate::classify::Classify;
use crate::context::{self, Context, CurrentTask};
use crate::handler::{Handler, Kind};
use crate::hooks::{FailedTask, FinishedTask, PanickedTask};
use crate::ledger::{Announced, Ending, Key, announce};
use crate::notice::report;
use crate::panic_site::{Caught, catch};
use crate::policy::Log;
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
use std::task::{self, Poll, Waker, ready};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::Span;
use tracing::level_filters::LevelFilter;

/// An accepted call, and all that is needed to account for it.
///
/// However it goes out of scope, it strikes itself out of the books.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) handler: &'static Handler,
    pub(crate) id: TaskId,
    called_at: &'static Location<'static>,
    /// Swapped into the thread while the task's code runs, and so absent as long.
    context: Option<Context>,
    /// Absent for a task that needs none of it: then nothing is spent on it.
    extras: Option<Box<Extras>>,
    stage: Stage,
    /// The end has been told to the subscriber and to the hooks.
    told: bool,
    /// The output is a `Result`, or its drop runs code: if nobody holds the handle, it has to be seen to.
    needs_owner: bool,
}

/// What most tasks do without.
#[derive(Debug, Default)]
struct Extras {
    /// Absent where nobody listens.
    span: Option<Span>,
    /// For `on_shutdown = "cancel"` alone: completes when the future is to be dropped.
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// What the holder of the handle gets in place of a value, or has to be told of it.
    end: Option<Box<End>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    /// Polled, and has not waited yet.
    Started,
    /// The books know how to wake it.
    Parked,
    Ended,
}

#[derive(Debug)]
enum End {
    /// There is no value.
    Error(TaskError),
    /// There is one, and it is an `Err` that says this.
    Failed(String),
}

impl Record {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handler: &'static Handler,
        id: TaskId,
        key: Key,
        called_at: &'static Location<'static>,
    ) -> Self {
        let task = CurrentTask {
            key,
            finishes: handler.finishes(),
            is_async: handler.kind() == Kind::Async,
        };
        let mut record = Self {
            handler,
            id,
            called_at,
            context: Some(Context {
                shared,
                task: Some(task),
            }),
            extras: None,
            stage: Stage::Queued,
            told: false,
            needs_owner: false,
        };
        if LevelFilter::current() >= LevelFilter::INFO {
            record.open_span();
        }
        record
    }

    /// Only once the record is there: a subscriber that panics must not lose the call.
    #[cold]
    fn open_span(&mut self) {
        // A child of the caller's span, since that is the current one here.
        let span = catch(
            || tracing::info_span!(target: "bgtask", "task", name = self.handler.name(), id = self.id.as_u64()),
        );
        if let Ok(span) = span
            && !span.is_disabled()
        {
            self.extras().span = Some(span);
        }
    }

    #[cold]
    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    fn end(&self) -> Option<&End> {
        self.extras.as_ref()?.end.as_deref()
    }

    fn span(&self) -> Option<&Span> {
        self.extras.as_ref()?.span.as_ref()
    }

    /// Where the call is written down.
    pub(crate) fn place(&self) -> (&Arc<Shared>, Key) {
        match &self.context {
            Some(Context {
                shared,
                task: Some(task),
            }) => (shared, task.key),
            _ => unreachable!("a record's context is only away while the task's code runs"),
        }
    }

    fn shared(&self) -> &Shared {
        self.place().0
    }

    /// Runs code of the user's as this task's: in its span, and with itself as the thread's current task.
    fn run<R>(&mut self, work: impl FnOnce() -> R) -> Result<R, Caught> {
        context::swap(&mut self.context);
        let result = match self.span() {
            None => catch(work),
            // Within, since a subscriber may panic too.
            Some(span) => catch(|| span.in_scope(work)),
        };
        context::swap(&mut self.context);
        result
    }

    /// Reports something in the task's span.
    fn in_span(&self, report: impl FnOnce()) {
        // A subscriber that panics where the span is entered or left has no better place to say so than the panic hook,
        // which has done so.
        let _ = match self.span() {
            None => catch(report),
            Some(span) => catch(|| span.in_scope(report)),
        };
    }

    /// Whether the deadline has passed for this task. Cheap as long as it has not.
    fn must_stop(&self) -> bool {
        let (shared, key) = self.place();
        match shared.phase() {
            Phase::Running | Phase::Stopping | Phase::Draining => false,
            Phase::Expired => !shared.ledger.is_live(key) || shared.ledger.is_awaited(key),
            Phase::Over => !shared.ledger.is_live(key),
        }
    }

    /// The first instruction is about to run. `false` if the call was struck out before it came to that.
    fn start(&mut self) -> (bool, Option<Announced>) {
        self.stage = Stage::Started;
        let announced = match self.handler.runs_as() {
            Kind::Async => announce(self.id),
            // The deadline has to know which of these have begun.
            Kind::Blocking => None,
        };
        let (shared, key) = self.place();
        let live = announced.is_some() || shared.ledger.start(key);
        if live && self.is_told() {
            self.tell("task started", None);
        }
        (live, announced)
    }

    /// The body's future waits. `false` if it need not wait any more: the deadline has passed.
    fn park(&mut self, waker: &Waker) -> bool {
        if self.stage == Stage::Parked {
            // The runtime's waker for this task stays the same for life, so once was enough.
            return true;
        }
        self.stage = Stage::Parked;
        let (shared, key) = self.place();
        // The deadline may have passed between the poll and the entry: then nobody will wake us for it.
        shared.ledger.park(key, waker.clone()) && !self.must_stop()
    }

    fn is_cancelled(&mut self, cx: &mut task::Context<'_>) -> bool {
        let cancelled = self
            .extras
            .as_mut()
            .and_then(|extras| extras.cancelled.as_mut());
        cancelled.is_some_and(|cancelled| cancelled.as_mut().poll(cx).is_ready())
    }

    /// The body returned. Judges the output and accounts for it.
    fn returned(&mut self, mut body: Pin<&mut dyn Body>) {
        self.stage = Stage::Ended;
        if let Some(verdict) = body.as_mut().verdict() {
            self.ended_by_policy(body, verdict);
            return;
        }
        let failure = body.judge();
        let outcome = match failure {
            None => Outcome::Succeeded,
            Some(_) => Outcome::Failed,
        };
        if let Some(error) = failure {
            self.note_failure(outcome, &error, None);
            self.shared().hooks.failed(&FailedTask {
                id: self.id,
                name: self.handler.name(),
                called_at: self.called_at,
                error: &error,
            });
            self.extras().end = Some(Box::new(End::Failed(error)));
        }
        // What nobody waits for is seen to before it is accounted for: once the count is zero the process may exit.
        if self.account(outcome, self.needs_owner) == Ending::OwnerLeft {
            self.settle(body.as_mut());
            self.account(outcome, false);
        }
    }

    /// The body panicked, and that was reported. Accounts for it.
    fn panicked(&mut self, caught: Caught) {
        self.note_failure(Outcome::Panicked, &caught.message, caught.location.clone());
        self.extras().end = Some(Box::new(End::Error(TaskError::Panicked {
            message: caught.message,
            location: caught.location,
        })));
        self.account(Outcome::Panicked, false);
    }

    /// A policy ended the task, and there is no value.
    #[cold]
    fn ended_by_policy(&mut self, body: Pin<&mut dyn Body>, verdict: Verdict) {
        let Verdict { error, attempts } = verdict;
        if let TaskError::Panicked { message, location } = error {
            let caught = Caught { message, location };
            self.report_panic("run", &caught);
            self.clear(body, "drop");
            self.panicked(caught);
            return;
        }
        let outcome = match error {
            TaskError::TimedOut => Outcome::TimedOut,
            TaskError::Aborted => Outcome::Aborted,
            _ => Outcome::Cancelled,
        };
        if outcome == Outcome::TimedOut {
            if self.handler.log() != Log::Off {
                let (name, id) = (self.handler.name(), self.id);
                self.in_span(|| report!(error, "task ran out of time"; name = name, id = id, attempts = attempts));
            }
            self.note_failure(outcome, "it ran out of time", None);
        }
        self.extras().end = Some(Box::new(End::Error(error)));
        self.account(outcome, false);
    }

    /// The task ends before it came to its end.
    fn stop(&mut self, mut body: Pin<&mut dyn Body>, outcome: Outcome) {
        self.clear(body.as_mut(), "drop");
        self.stopped(match outcome {
            Outcome::Aborted if body.left_behind() => Outcome::Abandoned,
            outcome => outcome,
        });
    }

    fn stopped(&mut self, outcome: Outcome) {
        self.stage = Stage::Ended;
        let error = match outcome {
            Outcome::Cancelled => TaskError::Cancelled,
            _ => TaskError::Aborted,
        };
        // Ending because of the shutdown is not a failure; ending for any other cause is.
        if self.shared().phase() < Phase::Draining && self.handler.log() != Log::Off {
            let (name, id) = (self.handler.name(), self.id);
            self.in_span(|| match error {
                TaskError::Cancelled => {
                    report!(error, "task cancelled without a shutdown"; name = name, id = id);
                }
                _ => {
                    report!(error, "task aborted without a shutdown"; name = name, id = id, called_at = self.called_at);
                }
            });
        }
        self.extras().end = Some(Box::new(End::Error(error)));
        self.account(outcome, false);
    }

    /// Drops what the body still has; a panic in there is reported and goes no further.
    fn clear(&mut self, body: Pin<&mut dyn Body>, during: &'static str) {
        if let Err(caught) = self.run(|| body.clear()) {
            self.report_panic(during, &caught);
        }
    }

    /// Nobody will look at the output: reports an error, drops the value and contains what that may do.
    fn settle(&mut self, body: Pin<&mut dyn Body>) {
        if !std::mem::take(&mut self.needs_owner) {
            return;
        }
        let tells = self.handler.log() != Log::Off;
        let (name, id) = (self.handler.name(), self.id);
        if let Some(End::Failed(error)) = self.end()
            && tells
        {
            self.in_span(|| report!(error, "task failed"; name = name, id = id, error = error));
        }
        if let Err(caught) = self.run(|| body.clear())
            && tells
        {
            self.in_span(|| {
                let place = Place(caught.location.as_ref());
                report!(error, "task's output panicked while it was dropped";
                    name = name, id = id, panic = caught.message, location = place);
            });
        }
    }

    fn report_panic(&self, during: &'static str, caught: &Caught) {
        let (name, id) = (self.handler.name(), self.id);
        if self.handler.log() != Log::Off {
            let place = Place(caught.location.as_ref());
            let message = caught.message.as_str();
            self.in_span(|| {
                report!(error, "task panicked"; name = name, id = id, panic = message, location = place,
                    during = during);
            });
        }
        self.shared().hooks.panicked(&PanickedTask {
            id,
            name,
            called_at: self.called_at,
            message: &caught.message,
            location: caught.location.as_ref(),
        });
    }

    fn note_failure(&self, outcome: Outcome, message: &str, location: Option<SourceLocation>) {
        self.shared().note_failure(|| Failure {
            id: self.id,
            name: self.handler.name(),
            called_at: self.called_at,
            outcome,
            message: message.to_owned(),
            location,
        });
    }

    /// Strikes the call out of the books, unless `expect_owner` and its handle is gone.
    fn account(&mut self, outcome: Outcome, expect_owner: bool) -> Ending {
        if !self.told {
            self.told = true;
            if self.is_told() || self.shared().hooks.any_on_finish() {
                self.tell_end(outcome);
            }
        }
        let (shared, key) = self.place();
        let ending = shared.ledger.end(key, outcome, expect_owner);
        if ending == (Ending::Ended { drained: true }) {
            shared.progress(|_| ());
        }
        ending
    }

    #[cold]
    fn tell_end(&self, outcome: Outcome) {
        let (shared, key) = self.place();
        // An abandoned task was accounted for at the deadline; that it ends after all is no second end.
        let Some(age) = shared.ledger.age(key) else {
            return;
        };
        if self.is_told() {
            self.tell("task finished", Some((outcome, age)));
        }
        shared.hooks.finished(|| FinishedTask {
            id: self.id,
            name: self.handler.name(),
            called_at: self.called_at,
            outcome,
            age,
        });
    }

    /// Whether somebody listens to the started and finished events, at the level the function asked for.
    fn is_told(&self) -> bool {
        let listened_to = LevelFilter::current();
        listened_to != LevelFilter::OFF
            && self
                .handler
                .log()
                .level()
                .is_some_and(|level| level <= listened_to)
    }

    #[cold]
    fn tell(&self, what: &'static str, end: Option<(Outcome, std::time::Duration)>) {
        macro_rules! event {
            ($level:ident) => {
                match end {
                    None => tracing::$level!(target: "bgtask", "{what}"),
                    Some((outcome, age)) => {
                        tracing::$level!(target: "bgtask", %outcome, ?age, "{what}");
                    }
                }
            };
        }
        self.in_span(|| match self.handler.log() {
            Log::Off => {}
            Log::Trace => event!(trace),
            Log::Debug => event!(debug),
            Log::Info => event!(info),
            Log::Warn => event!(warn),
            Log::Error => event!(error),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.stage != Stage::Ended {
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

/// A task's own part: its future, and then its output. All that is compiled anew for each function.
pub(crate) trait Body: Send {
    /// Polls the future. Once it is ready, the output takes its place.
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()>;
    /// The output's error, if it is one.
    fn judge(&self) -> Option<String>;
    /// Drops whatever is there.
    fn clear(self: Pin<&mut Self>);
    /// Moves the output into an `Option` of its type.
    fn take(self: Pin<&mut Self>, into: &mut dyn Any);

    /// Why there is no output although the future is over: a policy ended it.
    fn verdict(self: Pin<&mut Self>) -> Option<Verdict> {
        None
    }

    /// Once it was cleared: part of it still runs on a thread, and cannot be stopped.
    fn left_behind(&self) -> bool {
        false
    }
}

/// How a policy ended a task.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) error: TaskError,
    pub(crate) attempts: u32,
}

pin_project! {
    /// The body of a function that returns a `T`.
    struct Work<F, T> {
        classify: Classify<T>,
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[project_replace = StateReplaced]
    enum State<F, T> {
        Future { #[pin] future: F },
        Output { output: T },
        Gone,
    }
}

impl<F, T> Body for Work<F, T>
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let mut state = self.project().state;
        let StateProjection::Future { future } = state.as_mut().project() else {
            return Poll::Ready(());
        };
        let output = ready!(future.poll(cx));
        state.set(State::Output { output });
        Poll::Ready(())
    }

    fn judge(&self) -> Option<String> {
        let failure = self.classify.failure?;
        match &self.state {
            State::Output { output } => failure(output),
            _ => None,
        }
    }

    fn clear(self: Pin<&mut Self>) {
        self.project().state.set(State::Gone);
    }

    fn take(self: Pin<&mut Self>, into: &mut dyn Any) {
        // The one place where the output's type is known again: the launch gave the handle the same.
        if let Some(into) = into.downcast_mut::<Option<T>>()
            && let StateReplaced::Output { output } =
                self.project().state.project_replace(State::Gone)
        {
            *into = Some(output);
        }
    }
}

pin_project! {
    /// A task's record and body, in one allocation.
    pub(crate) struct Task<B: ?Sized> {
        record: Record,
        #[pin]
        body: B,
    }
}

pub(crate) type BoxedTask = Pin<Box<Task<dyn Body>>>;

impl Task<()> {
    /// A task whose body is not simply a future.
    pub(crate) fn with_body(
        mut record: Record,
        body: impl Body + 'static,
        needs_owner: bool,
    ) -> BoxedTask {
        record.needs_owner = needs_owner;
        Box::pin(Task { record, body })
    }

    pub(crate) fn boxed<F, T>(mut record: Record, future: F, classify: Classify<T>) -> BoxedTask
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        record.needs_owner = classify.failure.is_some() || std::mem::needs_drop::<T>();
        Box::pin(Task {
            record,
            body: Work {
                classify,
                state: State::Future { future },
            },
        })
    }
}

impl Task<dyn Body> {
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the books want to know when the handle is dropped.
    pub(crate) fn needs_owner(&self) -> bool {
        self.record.needs_owner
    }

    /// Has the future dropped as soon as the task's token fires.
    pub(crate) fn stop_when_cancelled(self: Pin<&mut Self>) {
        let record = self.project().record;
        let (shared, key) = record.place();
        let token = shared.ledger.token(key, || shared.task_token(false));
        record.extras().cancelled = token.map(|token| Box::pin(token.cancelled_owned()));
    }

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = self.project();
        let (record, mut body) = (this.record, this.body);
        if record.must_stop() {
            record.stop(body, Outcome::Aborted);
            return Poll::Ready(());
        }
        if record.is_cancelled(cx) {
            record.stop(body, Outcome::Cancelled);
            return Poll::Ready(());
        }
        let mut _announced = None;
        if record.stage == Stage::Queued {
            let live;
            (live, _announced) = record.start();
            if !live {
                record.stop(body, Outcome::Aborted);
                return Poll::Ready(());
            }
        }
        match record.run(|| body.as_mut().poll(cx)) {
            Ok(Poll::Pending) if record.park(cx.waker()) => return Poll::Pending,
            Ok(Poll::Pending) => record.stop(body, Outcome::Aborted),
            Ok(Poll::Ready(())) => record.returned(body),
            Err(caught) => {
                record.stage = Stage::Ended;
                // First said, then dropped: dropping what is left may panic once more.
                record.report_panic("run", &caught);
                record.clear(body, "drop");
                record.panicked(caught);
            }
        }
        Poll::Ready(())
    }

    /// The runtime drops it. If it has not ended, this is its end.
    fn stop_if_live(self: Pin<&mut Self>) {
        let this = self.project();
        if this.record.stage != Stage::Ended {
            this.record.stop(this.body, Outcome::Aborted);
        }
    }

    fn settle(self: Pin<&mut Self>) {
        let this = self.project();
        this.record.settle(this.body);
    }

    fn take_into(self: Pin<&mut Self>, output: &mut dyn Any) -> Result<(), TaskError> {
        let this = self.project();
        this.record.needs_owner = false;
        let extras = this.record.extras.as_mut();
        if let Some(End::Error(error)) = extras.and_then(|extras| extras.end.take()).map(|end| *end)
        {
            return Err(error);
        }
        this.body.take(output);
        Ok(())
    }
}

/// A task under supervision: what is handed to the runtime.
pub(crate) struct Supervised(Option<BoxedTask>);

impl Supervised {
    pub(crate) fn new(task: BoxedTask) -> Self {
        Self(Some(task))
    }

    /// Runs a plain function to its end.
    pub(crate) fn run(mut self) -> Option<Delivery> {
        let mut cx = task::Context::from_waker(Waker::noop());
        match Pin::new(&mut self).poll(&mut cx) {
            Poll::Ready(delivery) => delivery,
            // A closure never waits.
            Poll::Pending => None,
        }
    }
}

impl Future for Supervised {
    /// Nothing if it is polled after its end, as no executor does.
    type Output = Option<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Delivery>> {
        if let Some(task) = &mut self.0 {
            ready!(task.as_mut().poll(cx));
        }
        Poll::Ready(self.0.take().map(Delivery))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(task) = &mut self.0 {
            task.as_mut().stop_if_live();
        }
    }
}

/// A task that has ended, on its way to the holder of the handle. If it is dropped instead, whatever it says is reported.
pub(crate) struct Delivery(BoxedTask);

impl Delivery {
    /// The value, for the holder of the handle.
    pub(crate) fn take<T: 'static>(mut self) -> Result<T, TaskError> {
        let mut output: Option<T> = None;
        self.0.as_mut().take_into(&mut output)?;
        // Only an output that nobody waits for is settled early, and the launch gave the handle its own type.
        output.ok_or(TaskError::Aborted)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.0.needs_owner() {
            self.0.as_mut().settle();
        }
    }
}

/// A plain function as a future that is ready when it is first polled.
pub(crate) struct Call<F>(Option<F>);

impl<F> Call<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }
}

// The function is moved out before it is called; nothing relies on where it stands.
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
