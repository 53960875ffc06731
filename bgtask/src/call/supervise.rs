//! The running of calls: each in its span, its panics caught, its end written down however it comes.
//! Owns a task from its start to its last drop, and the runners; knows nothing of how calls are found a place.

use crate::context;
use crate::handler::Handler;
use crate::handler::{Log, OnShutdown};
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{FailedTask, PanickedTask};
use crate::report::Failure;
use crate::stats::Outcome;
use crate::task::{Body, BodyFailure, BoxedTask, End, Extras, Notes, PolicyEnd, Task};
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::tracker::task_ref::{Completion, TaskRef};
use crate::util::log::{CallFields, Time, mention_at, report};
use crate::util::panic::{Caught, catch};
use crate::util::text::{self, Excerpt};
use crate::{SourceLocation, TaskError};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, Waker, ready};
use tracing::Span;
use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;

/// Opens the span of a task that is about to be launched, if somebody listens. A subscriber that panics must not lose the
/// call.
#[inline]
pub(crate) fn prepare(task: Pin<&mut Task<dyn Body>>, identity: &CallInfo) {
    if LevelFilter::current() >= LevelFilter::INFO {
        open_span(task.notes(), identity);
    }
}

#[cold]
fn open_span(notes: &mut Notes, identity: &CallInfo) {
    // A child of the caller's span, since that is the current one here.
    let span = catch(|| task_span(identity.handler.name(), identity.id.as_u64()));
    if let Ok(span) = span
        && !span.is_disabled()
    {
        notes.extras().span = Some(span);
    }
}

#[cfg(not(feature = "opentelemetry"))]
fn task_span(name: &'static str, id: u64) -> Span {
    tracing::info_span!(target: "bgtask", "task", name, id, outcome = Empty)
}

/// With the fields that `tracing-opentelemetry` makes a span's name and status of.
#[cfg(feature = "opentelemetry")]
fn task_span(name: &'static str, id: u64) -> Span {
    tracing::info_span!(target: "bgtask", "task", name, id, outcome = Empty,
        otel.name = name, otel.status_code = Empty, otel.status_description = Empty)
}

/// Writes into a task's span how the task ended.
#[cold]
fn close_span(span: &Span, outcome: Outcome, end: Option<&End>) {
    span.record("outcome", display(outcome));
    if cfg!(feature = "opentelemetry")
        && let Outcome::Failed | Outcome::Panicked | Outcome::TimedOut = outcome
    {
        span.record("otel.status_code", "ERROR");
        match end {
            Some(End::Failed(error)) => {
                span.record("otel.status_description", display(Excerpt(error)))
            }
            Some(End::Error(error)) => span.record("otel.status_description", display(error)),
            None => span,
        };
    }
}

/// A call that is being run, or that is to be.
///
/// However it goes out of scope, the call is struck out of the books.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// Swapped into the thread while the task's code runs, and so absent as long; and once there is nothing left to do.
    place: Option<TaskRef>,
    /// Taken from the books by the start, and gone with the end.
    task: Option<BoxedTask>,
}

impl Supervised {
    /// A call that has been started.
    pub(crate) fn new(place: TaskRef, task: BoxedTask) -> Self {
        Self {
            place: Some(place),
            task: Some(task),
        }
    }

    /// A call that is still in the books.
    pub(crate) fn to_be_started(place: TaskRef) -> Self {
        Self {
            place: Some(place),
            task: None,
        }
    }

    /// Runs a plain function to its end.
    pub(crate) fn run(mut self) {
        self.task = self.place().start();
        // Nothing is there if it was aborted while it was queued.
        if self.task.is_some() {
            let outcome = if self.place().is_live() {
                self.begin(self.identity().handler);
                match self.poll(&mut task::Context::from_waker(Waker::noop()), true) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => unreachable!("a closure never waits"),
                }
            } else {
                // The deadline has passed while it was queued.
                self.drop_reported(Outcome::Aborted)
            };
            self.end(outcome);
        }
        self.place = None;
    }

    /// The same under a dispatcher, which is told if the function begins.
    pub(crate) fn run_alone(self) {
        if self.place().is_live() {
            self.tell_dispatcher();
        }
        self.run();
    }

    /// Of a call with policies they say so themselves: its body may have to wait.
    fn tell_dispatcher(&self) {
        let CallInfo { id, handler, .. } = self.identity();
        if handler.policies().is_none()
            && !self.must_stop()
            && let Some(dispatcher) = self.shared().hooks.dispatcher()
        {
            dispatcher.begun(id);
        }
    }

    fn tell_unseen(&self, outcome: Outcome, message: &str) {
        if let Some(dispatcher) = self.shared().hooks.dispatcher() {
            dispatcher.unseen(self.identity(), outcome, message);
        }
    }

    /// The end of a call that is not to be run.
    pub(crate) fn abort(&mut self) {
        if self.task.is_some() {
            let outcome = self.drop_reported(Outcome::Aborted);
            self.end(outcome);
        }
        self.place = None;
    }

    /// The same, of a call of which that has been said.
    pub(crate) fn abort_quietly(mut self) {
        let outcome = self.drop_silently(Outcome::Aborted);
        self.end(outcome);
        self.place = None;
    }

    /// Sees to what an ended call has left, which nobody will look at.
    pub(crate) fn drop_unclaimed(mut self) {
        if let Some(task) = self.task.take() {
            self.handle_unclaimed(task);
        }
        self.place = None;
    }

    /// Where the call is written down.
    fn place(&self) -> &TaskRef {
        match &self.place {
            Some(place) => place,
            None => unreachable!("the place is only away while the task's code runs"),
        }
    }

    fn shared(&self) -> &Shared {
        self.place().shared()
    }

    fn identity(&self) -> CallInfo {
        self.place().identity()
    }

    /// What is noted of the task. It is there from the start to the end.
    fn notes(&mut self) -> &mut Notes {
        match &mut self.task {
            Some(task) => task.as_mut().notes(),
            None => unreachable!("the task is there until its end"),
        }
    }

    /// Runs code of the user's as this task's: in its span, and with itself as the thread's current task.
    #[inline]
    fn run_body<R>(
        &mut self,
        work: impl FnOnce(Pin<&mut dyn Body>) -> R,
    ) -> Result<R, Box<Caught>> {
        let Some(task) = &mut self.task else {
            unreachable!("the task is there until its end");
        };
        let (notes, body) = task.as_mut().parts();
        context::run_as(&mut self.place, || match notes.span() {
            None => catch(|| work(body)),
            // Within, since a subscriber may panic too.
            Some(span) => catch(|| span.in_scope(|| work(body))),
        })
    }

    /// Does the same as [`run_body`](Self::run_body) for a task that may be a member of a group: its calls are then members too.
    fn run_body_of_member<R>(
        &mut self,
        work: impl FnOnce(Pin<&mut dyn Body>) -> R,
    ) -> Result<R, Box<Caught>> {
        let Some(task) = &mut self.task else {
            unreachable!("the task is there until its end");
        };
        let (notes, body) = task.as_mut().parts();
        context::run_as_member(&mut self.place, || match notes.span() {
            None => catch(|| work(body)),
            Some(span) => catch(|| span.in_scope(|| work(body))),
        })
    }

    /// Reports something in the task's span.
    fn in_span(&mut self, report: impl FnOnce()) {
        let span = self
            .task
            .as_mut()
            .and_then(|task| task.as_mut().notes().span());
        // A subscriber that panics where the span is entered or left has no better place to say so than the panic hook,
        // which has done so.
        let _ = match span {
            None => catch(report),
            Some(span) => catch(|| span.in_scope(report)),
        };
    }

    /// The name and the id, for an event at the level of the `log` option.
    fn call_fields(&mut self) -> CallFields {
        let (identity, level) = (self.identity(), self.place().log.level());
        let task = self.task.as_mut();
        let has_span = task.is_some_and(|task| task.as_mut().notes().span().is_some());
        let (name, id) = (identity.handler.name(), identity.id.as_u64());
        CallFields::new(name, id, level, has_span)
    }

    /// The first instruction is about to run.
    #[inline]
    fn begin(&mut self, handler: &'static Handler) {
        if handler.on_shutdown() == OnShutdown::Cancel {
            self.stop_when_cancelled();
        }
        let (event_enabled, is_observed) =
            (self.event_enabled(), self.shared().hooks.observers.any());
        if event_enabled || is_observed {
            self.tell_start(event_enabled, is_observed);
        }
    }

    /// Has the future dropped as soon as the task's token fires.
    #[cold]
    fn stop_when_cancelled(&mut self) {
        let token = self.place().token();
        self.notes().extras().cancelled = token.map(|token| Box::pin(token.cancelled_owned()));
    }

    /// Whether it is to be dropped: the deadline has passed for it, or it was aborted. Cheap as long as it is not.
    #[inline]
    fn must_stop(&self) -> bool {
        let place = self.place();
        match place.shared().shutdown.phase() {
            Phase::Running | Phase::Stopping | Phase::Draining => place.is_aborted(),
            Phase::Expired => !place.is_live() || place.is_awaited(),
            // Written down so late that it was not found at the deadline, it does not begin any more.
            Phase::Over => !place.is_live() || place.is_aborted() || !place.may_outlive_drain(),
        }
    }

    /// The deadline has passed while it was queued, or its token has fired and that ends it.
    fn never_starts(&self) -> bool {
        let place = self.place();
        let token = match place.identity().handler.on_shutdown() {
            OnShutdown::Cancel => place.existing_token(),
            _ => None,
        };
        self.must_stop() || token.is_some_and(|token| token.is_cancelled())
    }

    /// Polls the task, for the first time or again. Once it is ready, [`end`](Self::end) has to follow.
    #[inline]
    fn poll(&mut self, cx: &mut task::Context<'_>, is_first: bool) -> Poll<Outcome> {
        let place = self.place();
        if place.shared().shutdown.phase() >= Phase::Expired || !place.is_ordinary() {
            return self.poll_rarely(cx, is_first);
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(self.drop_reported(Outcome::Cancelled));
        }
        match self.run_body(|body| body.poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) => Poll::Ready(Outcome::Succeeded),
            Ok(Poll::Ready(Some(trouble))) => Poll::Ready(self.troubled(*trouble)),
            Err(caught) => Poll::Ready(self.panicked(*caught, None)),
        }
    }

    /// The same for one that is a member of a group, or that may have to be dropped.
    #[inline(never)]
    fn poll_rarely(&mut self, cx: &mut task::Context<'_>, is_first: bool) -> Poll<Outcome> {
        let place = self.place();
        // A running member needs no further check.
        let is_running =
            place.is_running_member() && place.shared().shutdown.phase() < Phase::Expired;
        if !is_running && self.must_stop() {
            if is_first {
                self.place().set_queued();
            }
            return Poll::Ready(self.drop_reported(Outcome::Aborted));
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(self.drop_reported(Outcome::Cancelled));
        }
        // A task that is no member and may run past the deadline is handled alike: it has no group, so its calls join none.
        match self.run_body_of_member(|body| body.poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) => Poll::Ready(Outcome::Succeeded),
            Ok(Poll::Ready(Some(trouble))) => Poll::Ready(self.troubled(*trouble)),
            Err(caught) => Poll::Ready(self.panicked(*caught, None)),
        }
    }

    /// Returns whether the task's token has fired, or fires at this moment, and that ends the task.
    #[inline]
    fn is_cancelled(&mut self, cx: &mut task::Context<'_>) -> bool {
        let extras = self.notes().existing_extras();
        let Some(cancelled) = extras.and_then(|extras| extras.cancelled.as_mut()) else {
            return false;
        };
        let has_fired = cancelled.as_mut().poll(cx).is_ready();
        // The phase decides, and the tokens fire a moment later: the body must not be polled in between.
        has_fired || self.shared().shutdown.phase() >= Phase::Draining
    }

    /// It has not simply succeeded.
    #[cold]
    fn troubled(&mut self, trouble: BodyFailure) -> Outcome {
        match trouble {
            BodyFailure::Failed(error) => self.failed(error),
            BodyFailure::Ended(verdict) => self.ended_by_policy(verdict),
        }
    }

    #[cold]
    fn failed(&mut self, error: String) -> Outcome {
        self.note_failure(Outcome::Failed, &error, None);
        let identity = self.identity();
        self.shared().hooks.failed(&FailedTask {
            id: identity.id,
            name: identity.handler.name(),
            called_at: identity.called_at,
            error: &error,
        });
        self.notes().extras().end = Some(End::Failed(error));
        Outcome::Failed
    }

    #[cold]
    fn panicked(&mut self, caught: Caught, note: Option<&str>) -> Outcome {
        let shown = match note {
            Some(note) => &format!("{} {note}", caught.message),
            None => &caught.message,
        };
        // First said, then dropped: dropping what is left may panic once more.
        self.report_panic("run", shown, caught.location.as_ref());
        self.clear();
        self.note_failure(Outcome::Panicked, shown, caught.location.clone());
        let Caught { message, location } = caught;
        self.notes().extras().end = Some(End::Error(TaskError::Panicked { message, location }));
        Outcome::Panicked
    }

    /// A policy ended the task, and there is no value.
    #[cold]
    fn ended_by_policy(&mut self, verdict: PolicyEnd) -> Outcome {
        let PolicyEnd {
            error,
            attempts,
            gave_up,
            note,
        } = verdict;
        let outcome = match error {
            TaskError::Panicked { message, location } => {
                return self.panicked(Caught { message, location }, note.as_deref());
            }
            TaskError::TimedOut => Outcome::TimedOut,
            TaskError::Aborted => Outcome::Aborted,
            _ => Outcome::Cancelled,
        };
        if outcome == Outcome::TimedOut {
            if self.is_loud() {
                let identity = self.identity();
                self.in_span(|| {
                    report!(error, "task ran out of time"; name = identity.handler.name(), id: identity.id.as_u64(),
                        called_at = identity.called_at, attempts: attempts, gave_up: gave_up);
                });
            }
            let message = "it ran out of time";
            match note {
                Some(note) => self.note_failure(outcome, &format!("{message} {note}"), None),
                None => self.note_failure(outcome, message, None),
            }
        }
        self.notes().extras().end = Some(End::Error(error));
        outcome
    }

    /// The task ends before it came to its end: its future is dropped.
    #[cold]
    fn drop_reported(&mut self, outcome: Outcome) -> Outcome {
        let outcome = self.drop_silently(outcome);
        if self.shared().shutdown.phase() >= Phase::Draining {
            // To end because of the shutdown is no failure.
            return outcome;
        }
        let group_drains = self
            .place()
            .group_state()
            .is_some_and(|own| own.is_draining());
        match outcome {
            // Nor is it one to end because the group drains.
            Outcome::Cancelled if group_drains => return outcome,
            Outcome::Cancelled => {}
            _ if group_drains => {
                self.note_failure(
                    outcome,
                    "it did not end within the drain of its group",
                    None,
                );
            }
            _ => {}
        }
        if self.is_loud() {
            let identity = self.identity();
            let (name, id) = (identity.handler.name(), identity.id.as_u64());
            let called_at = identity.called_at;
            self.in_span(|| match outcome {
                Outcome::Cancelled => {
                    report!(error, "task cancelled without a shutdown"; name = name, id: id, called_at = called_at);
                }
                _ if group_drains => {
                    report!(warn, "task aborted: it did not end within the drain of its group"; name = name, id: id,
                        called_at = called_at);
                }
                _ => {
                    report!(error, "task aborted without a shutdown"; name = name, id: id, called_at = called_at);
                }
            });
        }
        outcome
    }

    /// The same, without a word.
    fn drop_silently(&mut self, outcome: Outcome) -> Outcome {
        self.clear();
        let left_behind = self.task.as_ref().is_some_and(|task| task.left_behind());
        let outcome = match outcome {
            Outcome::Aborted if left_behind => Outcome::Abandoned,
            outcome => outcome,
        };
        let error = match outcome {
            Outcome::Cancelled => TaskError::Cancelled,
            _ => TaskError::Aborted,
        };
        self.notes().extras().end = Some(End::Error(error));
        outcome
    }

    /// Drops what the body still has; a panic in there is reported and goes no further.
    fn clear(&mut self) {
        if let Err(caught) = self.run_body_of_member(|body| body.clear()) {
            self.report_panic("drop", &caught.message, caught.location.as_ref());
        }
    }

    /// Hands the task over to the holder of its handle, or sees to it, and accounts for it.
    #[inline]
    fn end(&mut self, outcome: Outcome) {
        // One that listens from `info` on has the task's span too.
        let listened_to = LevelFilter::current();
        let is_heard = listened_to != LevelFilter::OFF
            && (listened_to >= LevelFilter::INFO || self.event_enabled());
        if is_heard || self.shared().hooks.any_at_the_end() {
            self.notify_end(outcome);
        }
        let Some(task) = self.task.take() else {
            return;
        };
        let place = self.place();
        if let Completion::Detached(task) = place.hand_over(task, outcome) {
            // What nobody waits for is seen to before it is accounted for: once the count is zero the process may exit.
            if task.needs_owner() {
                self.handle_unclaimed(task);
            } else {
                drop(task);
            }
            self.place().end(outcome);
        }
    }

    /// Nobody will look at the output: reports an error, drops the value and contains what that may do.
    #[cold]
    fn handle_unclaimed(&mut self, task: BoxedTask) {
        self.task = Some(task);
        let tells = self.is_loud();
        let end = self
            .notes()
            .existing_extras()
            .and_then(|extras| extras.end.take());
        let identity = self.identity();
        let (name, id) = (identity.handler.name(), identity.id);
        if let Some(End::Error(TaskError::TimedOut)) = end {
            // That it did has been reported.
            self.tell_unseen(Outcome::TimedOut, "");
        } else if let Some(End::Failed(error)) = end {
            if tells {
                self.in_span(|| {
                    report!(error, "task failed"; name = name, id: id.as_u64(), called_at = identity.called_at,
                        error = Excerpt(&error));
                });
            }
            self.tell_unseen(Outcome::Failed, &error);
        }
        if let Err(caught) = self.run_body(|body| body.clear())
            && tells
        {
            self.in_span(|| {
                let site = Site(caught.location.as_ref());
                report!(error, "task's output panicked while it was dropped"; name = name, id: id.as_u64(),
                    called_at = identity.called_at, panic = Excerpt(&caught.message), location = site);
            });
        }
        self.task = None;
    }

    /// Unless the function is to be silent.
    fn is_loud(&self) -> bool {
        self.place().log != Log::Off
    }

    /// Whether somebody listens to the started and finished events, at the level the function asked for.
    #[inline]
    fn event_enabled(&self) -> bool {
        let listened_to = LevelFilter::current();
        let level = self.place().log.level();
        listened_to != LevelFilter::OFF && level.is_some_and(|level| level <= listened_to)
    }

    fn report_panic(
        &mut self,
        during: &'static str,
        message: &str,
        location: Option<&SourceLocation>,
    ) {
        let identity = self.identity();
        let (name, id) = (identity.handler.name(), identity.id);
        if self.is_loud() {
            let site = Site(location);
            let text = Excerpt(message);
            self.in_span(|| {
                report!(error, "task panicked"; name = name, id: id.as_u64(), called_at = identity.called_at,
                    panic = text, location = site, during = during);
            });
        }
        self.shared().hooks.panicked(&PanickedTask {
            id,
            name,
            called_at: identity.called_at,
            message,
            location,
        });
    }

    fn note_failure(&self, outcome: Outcome, message: &str, location: Option<SourceLocation>) {
        let identity = self.identity();
        self.shared().shutdown.note_failure(|| Failure {
            id: identity.id,
            name: identity.handler.name(),
            called_at: identity.called_at,
            outcome,
            message: text::kept(message),
            location,
        });
    }

    #[cold]
    fn notify_end(&mut self, outcome: Outcome) {
        // An abandoned task was accounted for at the deadline; that it ends after all is no second end.
        let Some(end) = self.place().claim_end(outcome) else {
            return;
        };
        if self.event_enabled() {
            let (log, call, called_at) = (self.place().log, self.call_fields(), end.call.called_at);
            self.in_span(|| {
                mention_at!(log, "task finished"; name ~ call.name, id ~ call.id, called_at = called_at,
                    outcome = outcome, age = Time(end.age));
            });
        }
        self.shared().hooks.ended(&end);
        self.tell_span(outcome);
    }

    #[cold]
    fn tell_start(&mut self, event_enabled: bool, is_observed: bool) {
        if self.never_starts() {
            return;
        }
        let (log, identity) = (self.place().log, self.identity());
        if event_enabled {
            let call = self.call_fields();
            self.in_span(|| {
                mention_at!(log, "task started"; name ~ call.name, id ~ call.id,
                    called_at = identity.called_at, queued = Time(identity.age()));
            });
        }
        // With policies the first instruction of the body comes when they let it.
        if is_observed && identity.handler.policies().is_none() {
            self.place().notify_started();
        }
    }

    /// Its span is told the outcome, and closed where that is all it will be needed for: whoever holds the handle may keep it
    /// for long, and what took that long was not the task.
    fn tell_span(&mut self, outcome: Outcome) {
        let keeps = outcome == Outcome::Failed || self.place().is_detached();
        let Some(extras) = self.notes().existing_extras() else {
            return;
        };
        let Extras { span, end, .. } = extras;
        // A subscriber that panics has lost what it was told, and nobody else has.
        let _ = catch(|| {
            if let Some(span) = span {
                close_span(span, outcome, end.as_ref());
            }
            if !keeps {
                *span = None;
            }
        });
    }
}

impl Drop for Supervised {
    /// If it has not ended, this is its end: the runtime drops it.
    #[inline]
    fn drop(&mut self) {
        if self.place.is_some() {
            self.shared().runtime_ends();
            self.task = self.task.take().or_else(|| self.place().start());
            self.abort();
        }
    }
}

/// The runtime's task that runs the `async` calls of one slot, one after the other: a runtime's task costs more to make and
/// to end than all else about a call, so it is used again. Each call has it to itself.
#[derive(Debug)]
pub(crate) struct SlotRunner(Supervised);

impl SlotRunner {
    /// A runner for the slot of a call that has been launched.
    pub(crate) fn new(place: TaskRef) -> Self {
        Self(Supervised::to_be_started(place))
    }
}

impl Future for SlotRunner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut self.0;
        let is_first = this.task.is_none();
        if is_first {
            let Some(place) = &mut this.place else {
                return Poll::Ready(());
            };
            let Some((task, handler)) = place.start_next(Some(cx.waker())) else {
                // Woken by a waker that an earlier call has left somewhere, or told to leave.
                if !place.shared().gate.is_closed() {
                    return Poll::Pending;
                }
                // Not left to the drop, which is taken for the end of the runtime.
                self.leave();
                return Poll::Ready(());
            };
            this.task = Some(task);
            this.begin(handler);
        }
        let outcome = ready!(this.poll(cx, is_first));
        let stays = this.place().keeps_runner();
        if !stays {
            // Before the call ends: from then on the slot may have the next one.
            this.place().dismiss_runner();
        }
        this.end(outcome);
        if stays {
            return Poll::Pending;
        }
        this.place = None;
        Poll::Ready(())
    }
}

impl SlotRunner {
    /// Ends the call that it runs, or the one that waits for it, if there is one.
    fn leave(&mut self) {
        let Supervised { place, task } = &mut self.0;
        if let Some(place) = place {
            match task {
                Some(_) => place.dismiss_runner(),
                None => *task = place.start_next(None).map(|(task, _)| task),
            }
            self.0.abort();
        }
    }
}

impl Drop for SlotRunner {
    /// The runtime drops it before it has left.
    fn drop(&mut self) {
        if let Some(place) = &self.0.place {
            place.shared().runtime_ends();
        }
        self.leave();
    }
}

/// A runtime's task for one `async` call alone: under a dispatcher each call is handed over by itself, and no runner is kept.
#[derive(Debug)]
pub(crate) struct Alone(Supervised);

impl Alone {
    pub(crate) fn new(call: Supervised) -> Self {
        Self(call)
    }
}

impl Future for Alone {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut self.0;
        let is_first = this.task.is_none();
        if is_first {
            let Some(place) = &this.place else {
                return Poll::Ready(());
            };
            let Some(task) = place.start_alone(cx.waker()) else {
                // Aborted while it waited; the slot may be another call's by now.
                this.place = None;
                return Poll::Ready(());
            };
            this.task = Some(task);
            let handler = this.identity().handler;
            this.tell_dispatcher();
            this.begin(handler);
        }
        let outcome = ready!(this.poll(cx, is_first));
        // Before the call ends: from then on the slot may have the next one.
        this.place().dismiss_runner();
        this.end(outcome);
        this.place = None;
        Poll::Ready(())
    }
}

impl Drop for Alone {
    /// The runtime drops it, with the call it runs or that has not begun.
    fn drop(&mut self) {
        if let Supervised {
            place: Some(place),
            task: Some(_),
        } = &self.0
        {
            place.dismiss_runner();
        }
    }
}

/// Where a panic happened, or that nobody knows.
struct Site<'a>(Option<&'a SourceLocation>);

impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(location) => location.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
