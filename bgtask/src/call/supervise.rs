//! One call from its start to its end: polled as its task, its panics caught, its end recorded however it comes.
//! Owns the eight ends of a call, which `Supervised` lists; knows nothing of slots that wait for calls.

use crate::TaskError;
use crate::call::span;
use crate::context;
use crate::handler::{Handler, OnShutdown};
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::task::{Body, BodyFailure, BoxedTask, End, Notes, PolicyEnd};
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::tracker::task_ref::{Completion, TaskRef};
use crate::util::panic::{Caught, catch};
use crate::util::text::Message;
use std::pin::Pin;
use std::task::{self, Poll, Waker};
use tracing::level_filters::LevelFilter;

/// A call that runs or is about to run.
///
/// However it goes out of scope, the record of the call is retired. Its ends:
///
/// | Method | Of a call that | Logs |
/// |---|---|---|
/// | `TaskRef::discard_reserved` | was accepted and never launched | nothing |
/// | [`end`](Self::end) | has ended | its end, and an error if the handle was dropped |
/// | [`drop_reported`](Self::drop_reported), then `end` | must stop | why, unless a shutdown is the reason |
/// | [`drop_silently`](Self::drop_silently), then `end` | must stop, for a reason that is known | nothing |
/// | [`abort`](Self::abort) | has not begun, or whose runtime ends | as `drop_reported` |
/// | [`abort_quietly`](Self::abort_quietly) | has not begun, for a reason that was logged | as `drop_silently` |
/// | [`handle_unclaimed`](Self::handle_unclaimed) | has ended, and its output will not be taken | an error, a panic of a drop |
/// | [`drop_unclaimed`](Self::drop_unclaimed) | had ended before its handle was dropped | as `handle_unclaimed` |
#[derive(Debug)]
pub(crate) struct Supervised {
    /// Swapped into the thread while the task's code runs, and so absent meanwhile; absent for good after the end.
    pub(super) task_ref: Option<TaskRef>,
    /// Taken from the slot by the start, and absent after the end.
    pub(super) task: Option<BoxedTask>,
}

impl Supervised {
    /// A call that has been started.
    pub(crate) fn new(task_ref: TaskRef, task: BoxedTask) -> Self {
        Self {
            task_ref: Some(task_ref),
            task: Some(task),
        }
    }

    /// A call whose task is in its slot.
    pub(crate) fn to_be_started(task_ref: TaskRef) -> Self {
        Self {
            task_ref: Some(task_ref),
            task: None,
        }
    }

    /// Runs a plain function to its end.
    pub(crate) fn run(mut self) {
        self.task = self.task_ref().start();
        // Absent if the call was aborted before a thread was free.
        if self.task.is_some() {
            let outcome = if self.task_ref().is_live() {
                self.begin(self.call_info().handler);
                match self.poll(&mut task::Context::from_waker(Waker::noop()), true) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => unreachable!("a closure never waits"),
                }
            } else {
                // The deadline has passed before a thread was free.
                self.drop_reported(Outcome::Aborted)
            };
            self.end(outcome);
        }
        self.task_ref = None;
    }

    /// Runs a plain function under a dispatcher, which is notified if the function begins.
    pub(crate) fn run_alone(self) {
        if self.task_ref().is_live() {
            self.notify_dispatcher();
        }
        self.run();
    }

    /// Ends a call that is not to run.
    pub(crate) fn abort(&mut self) {
        if self.task.is_some() {
            let outcome = self.drop_reported(Outcome::Aborted);
            self.end(outcome);
        }
        self.task_ref = None;
    }

    /// Ends a call that is not to run, for a reason that was logged.
    pub(crate) fn abort_quietly(mut self) {
        let outcome = self.drop_silently(Outcome::Aborted);
        self.end(outcome);
        self.task_ref = None;
    }

    /// Drops the output of an ended call whose handle was dropped.
    pub(crate) fn drop_unclaimed(mut self) {
        if let Some(task) = self.task.take() {
            self.handle_unclaimed(task);
        }
        self.task_ref = None;
    }

    pub(super) fn task_ref(&self) -> &TaskRef {
        match &self.task_ref {
            Some(task_ref) => task_ref,
            None => unreachable!("the reference is only away while the task's code runs"),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        self.task_ref().shared()
    }

    pub(super) fn call_info(&self) -> CallInfo {
        self.task_ref().identity()
    }

    /// Returns the notes of the task, which exist from the start to the end.
    pub(super) fn notes(&mut self) -> &mut Notes {
        match &mut self.task {
            Some(task) => task.as_mut().notes(),
            None => unreachable!("the task is there until its end"),
        }
    }

    /// Runs user code as this task: in its span, and with itself as the thread's current task. Of a member, the calls of that code
    /// are members, too.
    // Generic over the membership, so that the usual call pays nothing for groups.
    #[inline]
    pub(super) fn run_body<const MAY_BE_MEMBER: bool, R>(
        &mut self,
        work: impl FnOnce(Pin<&mut dyn Body>) -> R,
    ) -> Result<R, Box<Caught>> {
        let Some(task) = &mut self.task else {
            unreachable!("the task is there until its end");
        };
        let (notes, body) = task.as_mut().parts();
        let in_span = || match notes.span() {
            None => catch(|| work(body)),
            // The span is entered within, because a subscriber may panic, too.
            Some(span) => catch(|| span.in_scope(|| work(body))),
        };
        if MAY_BE_MEMBER {
            context::run_as_member(&mut self.task_ref, in_span)
        } else {
            context::run_as(&mut self.task_ref, in_span)
        }
    }

    /// Prepares the first poll.
    #[inline]
    pub(super) fn begin(&mut self, handler: &'static Handler) {
        if handler.on_shutdown() == OnShutdown::Cancel {
            self.drop_when_cancelled();
        }
        let (event_enabled, is_observed) =
            (self.event_enabled(), self.shared().hooks.observers.any());
        if event_enabled || is_observed {
            self.report_start(event_enabled, is_observed);
        }
    }

    /// Has the future dropped as soon as the task's token fires.
    #[cold]
    fn drop_when_cancelled(&mut self) {
        let token = self.task_ref().token();
        self.notes().extras().cancelled = token.map(|token| Box::pin(token.cancelled_owned()));
    }

    /// Returns whether the future must be dropped: the deadline has passed for the task, or it was aborted. Cheap until then.
    #[inline]
    pub(super) fn must_stop(&self) -> bool {
        let task_ref = self.task_ref();
        match task_ref.shared().shutdown.phase() {
            Phase::Running | Phase::Stopping | Phase::Draining => task_ref.is_aborted(),
            Phase::Expired => !task_ref.is_live() || task_ref.is_awaited(),
            // A call recorded too late for the deadline to find it does not begin.
            Phase::Over => {
                !task_ref.is_live() || task_ref.is_aborted() || !task_ref.may_outlive_drain()
            }
        }
    }

    /// Returns whether the call ends before its first poll.
    pub(super) fn never_starts(&self) -> bool {
        let task_ref = self.task_ref();
        let token = match task_ref.identity().handler.on_shutdown() {
            OnShutdown::Cancel => task_ref.existing_token(),
            _ => None,
        };
        self.must_stop() || token.is_some_and(|token| token.is_cancelled())
    }

    /// Polls the task, for the first time or again. Once this is ready, [`end`](Self::end) must follow.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut task::Context<'_>, is_first: bool) -> Poll<Outcome> {
        let task_ref = self.task_ref();
        if task_ref.shared().shutdown.phase() >= Phase::Expired || !task_ref.is_ordinary() {
            return self.poll_special(cx, is_first);
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(self.drop_reported(Outcome::Cancelled));
        }
        let polled = self.run_body::<false, _>(|body| body.poll(cx));
        self.outcome(polled)
    }

    /// Polls a task that may be a member of a group, or may have to be dropped.
    #[inline(never)]
    fn poll_special(&mut self, cx: &mut task::Context<'_>, is_first: bool) -> Poll<Outcome> {
        let task_ref = self.task_ref();
        // A running member needs no further check.
        let is_running =
            task_ref.is_running_member() && self.shared().shutdown.phase() < Phase::Expired;
        if !is_running && self.must_stop() {
            if is_first {
                self.task_ref().set_queued();
            }
            return Poll::Ready(self.drop_reported(Outcome::Aborted));
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(self.drop_reported(Outcome::Cancelled));
        }
        // Correct for other tasks as well: they have no group, so their calls join none.
        let polled = self.run_body::<true, _>(|body| body.poll(cx));
        self.outcome(polled)
    }

    #[inline(always)]
    fn outcome(
        &mut self,
        polled: Result<Poll<Option<Box<BodyFailure>>>, Box<Caught>>,
    ) -> Poll<Outcome> {
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) => Poll::Ready(Outcome::Succeeded),
            Ok(Poll::Ready(Some(failure))) => Poll::Ready(self.failed(*failure)),
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
        // The phase changes a moment before the tokens fire: the body must not be polled in between.
        has_fired || self.shared().shutdown.phase() >= Phase::Draining
    }

    /// Notes how a body failed, and reports it.
    #[cold]
    fn failed(&mut self, failure: BodyFailure) -> Outcome {
        match failure {
            BodyFailure::Failed(error) => {
                self.report_error(&error);
                self.notes().extras().end = Some(End::Failed(error));
                Outcome::Failed
            }
            BodyFailure::Ended(end) => self.ended_by_policy(end),
        }
    }

    #[cold]
    fn panicked(&mut self, caught: Caught, note: Option<String>) -> Outcome {
        let shown = Message::new(&*caught.message, note);
        // Report before the drop: dropping the rest of the body may panic once more.
        self.report_panic("run", &shown, caught.location.as_ref());
        self.clear();
        self.note_failure(Outcome::Panicked, &shown, caught.location.clone());
        let Caught { message, location } = caught;
        self.notes().extras().end = Some(End::Error(TaskError::Panicked { message, location }));
        Outcome::Panicked
    }

    /// Notes that a policy ended the task, which has no output then.
    #[cold]
    fn ended_by_policy(&mut self, end: PolicyEnd) -> Outcome {
        let outcome = match end.error {
            TaskError::Panicked { message, location } => {
                return self.panicked(Caught { message, location }, end.note);
            }
            TaskError::TimedOut => {
                self.report_timeout(&end);
                Outcome::TimedOut
            }
            TaskError::Aborted => Outcome::Aborted,
            _ => Outcome::Cancelled,
        };
        self.notes().extras().end = Some(End::Error(end.error));
        outcome
    }

    /// Drops the future of a task that must stop, and reports that unless a shutdown is the reason.
    #[cold]
    fn drop_reported(&mut self, outcome: Outcome) -> Outcome {
        let outcome = self.drop_silently(outcome);
        // An end because of the shutdown is no failure.
        if self.shared().shutdown.phase() < Phase::Draining {
            self.report_stop(outcome);
        }
        outcome
    }

    /// Drops the future of a task that must stop.
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

    /// Drops the rest of the body; catches and reports a panic of that drop.
    fn clear(&mut self) {
        if let Err(caught) = self.run_body::<true, _>(|body| body.clear()) {
            let shown = Message::new(&*caught.message, None);
            self.report_panic("drop", &shown, caught.location.as_ref());
        }
    }

    /// Passes the task to the holder of its handle, or handles its output, and counts the end.
    #[inline]
    pub(super) fn end(&mut self, outcome: Outcome) {
        // A subscriber for `info` also has the task's span.
        let max_level = LevelFilter::current();
        let is_traced = max_level != LevelFilter::OFF
            && (max_level >= LevelFilter::INFO || self.event_enabled());
        if is_traced || self.shared().hooks.any_at_the_end() {
            self.report_end(outcome);
        }
        let Some(task) = self.task.take() else {
            return;
        };
        if let Completion::Detached(task) = self.task_ref().hand_over(task, outcome) {
            // Handle the output before the end is counted: the process may exit once the count is zero.
            // A panic is a failure of functions without an output too.
            if task.needs_owner() || outcome == Outcome::Panicked {
                self.handle_unclaimed(task);
            } else {
                drop(task);
            }
            self.task_ref().end(outcome);
        }
    }

    /// Handles an output that will not be taken: reports an error, drops the value and catches a panic of that drop.
    #[cold]
    fn handle_unclaimed(&mut self, task: BoxedTask) {
        self.task = Some(task);
        let extras = self.notes().existing_extras();
        let end = extras.and_then(|extras| extras.end.take());
        self.report_unclaimed(end);
        if let Err(caught) = self.run_body::<false, _>(|body| body.clear()) {
            self.report_panic_of_output(&caught);
        }
        self.task = None;
    }

    pub(super) fn end_span(&mut self, outcome: Outcome) {
        // The span closes here, unless later events belong to it. The holder of the handle may keep the task for long, and that
        // time is not the task's.
        let keep = outcome == Outcome::Failed || self.task_ref().is_detached();
        span::end(self.notes(), outcome, keep);
    }
}

impl Drop for Supervised {
    /// Ends a call that has not ended: the runtime drops it.
    #[inline]
    fn drop(&mut self) {
        if self.task_ref.is_some() {
            self.shared().runtime_ends();
            self.task = self.task.take().or_else(|| self.task_ref().start());
            self.abort();
        }
    }
}
