//! The reports about one call: log events in its span, notifications of hooks and observers, entries of the shutdown report.
//! Owns their texts; never decides how a call ends.

use crate::SourceLocation;
use crate::TaskError;
use crate::call::supervise::Supervised;
use crate::fields::Fields;
use crate::handler::Log;
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{FailedTask, PanickedTask};
use crate::report::Failure;
use crate::stats::Outcome;
use crate::task::{End, PolicyEnd};
use crate::tracker::shutdown_state::Phase;
use crate::util::fmt::Rounded;
use crate::util::log::{CallFields, mention_at, report};
use crate::util::panic::{Caught, catch_and_ignore};
use crate::util::text::{Excerpt, Message};
use std::fmt;
use tracing::level_filters::LevelFilter;

impl Supervised {
    /// Logs something in the task's span.
    fn in_span(&mut self, log: impl FnOnce()) {
        let span = self
            .task
            .as_mut()
            .and_then(|task| task.as_mut().notes().span());
        // The panic hook has reported a subscriber that panics where the span is entered or left.
        catch_and_ignore(|| match span {
            None => log(),
            Some(span) => span.in_scope(log),
        });
    }

    /// Returns the values that the option `fields` names.
    pub(super) fn fields(&mut self) -> Fields {
        let task = self.task.as_mut();
        task.map_or_else(Fields::default, |task| task.as_mut().notes().fields())
    }

    /// Returns the name and the id, for an event at the level of the `log` option, and the values that the option `fields` names, unless
    /// the span of such an event has them all.
    fn call_fields(&mut self) -> (CallFields, Fields) {
        let (call, level) = (self.call_info(), self.task_ref().log.level());
        let has_span = self.task.is_some() && self.notes().span().is_some();
        let (name, id) = (call.handler.name(), call.id.as_u64());
        let own = CallFields::new(name, id, level, has_span);
        let fields = if own.id.recorded().is_some() {
            self.fields()
        } else {
            Fields::default()
        };
        (own, fields)
    }

    /// Returns whether the function's failures are logged: all but those with `log = "off"`.
    fn should_log(&self) -> bool {
        self.task_ref().log != Log::Off
    }

    /// Returns whether the started and finished events are enabled, at the level of the function's `log` option.
    #[inline]
    pub(super) fn event_enabled(&self) -> bool {
        let max_level = LevelFilter::current();
        let level = self.task_ref().log.level();
        max_level != LevelFilter::OFF && level.is_some_and(|level| level <= max_level)
    }

    /// Notifies the dispatcher that the call begins. A call with policies does so itself, because its body may have to wait.
    pub(super) fn notify_dispatcher(&self) {
        let CallInfo { id, handler, .. } = self.call_info();
        if handler.policies().is_none()
            && !self.must_stop()
            && let Some(dispatcher) = self.shared().hooks.dispatcher()
        {
            dispatcher.begun(id);
        }
    }

    #[cold]
    pub(super) fn report_start(&mut self, event_enabled: bool, is_observed: bool) {
        if self.never_starts() {
            return;
        }
        let (log, call) = (self.task_ref().log, self.call_info());
        if event_enabled {
            let (own, fields) = self.call_fields();
            self.in_span(|| {
                mention_at!(log, "task started"; name ~ own.name, id ~ own.id,
                    called_at = call.called_at, queued = Rounded(call.age()), fields + fields);
            });
        }
        // A call with policies notifies the observers itself, because its body may have to wait.
        if is_observed && call.handler.policies().is_none() {
            self.task_ref().notify_started();
        }
    }

    #[cold]
    pub(super) fn report_end(&mut self, outcome: Outcome) {
        // The end of an abandoned task was reported at the deadline.
        let Some(end) = self.task_ref().claim_end(outcome) else {
            return;
        };
        if self.event_enabled() {
            let log = self.task_ref().log;
            let (own, fields) = self.call_fields();
            self.in_span(|| {
                mention_at!(log, "task finished"; name ~ own.name, id ~ own.id, called_at = end.call.called_at,
                    outcome = outcome, age = Rounded(end.age), fields + fields);
            });
        }
        self.shared().hooks.ended(&end);
        self.end_span(outcome);
    }

    /// Reports an output that is an error. It is logged once it is certain that no handle takes it: see
    /// [`report_unclaimed`](Self::report_unclaimed).
    pub(super) fn report_error(&mut self, error: &Message) {
        self.note_failure(Outcome::Failed, error, None);
        let (call, fields) = (self.call_info(), self.fields());
        self.shared().hooks.failed(&FailedTask {
            id: call.id,
            name: call.handler.name(),
            called_at: call.called_at,
            error: &error.whole(),
            shown: error,
            fields: &fields,
        });
    }

    pub(super) fn report_panic(
        &mut self,
        during: &'static str,
        shown: &Message,
        location: Option<&SourceLocation>,
    ) {
        let (call, fields) = (self.call_info(), self.fields());
        let (name, id) = (call.handler.name(), call.id);
        if self.should_log() {
            self.in_span(|| {
                report!(error, "task panicked"; name = name, id: id.as_u64(), called_at = call.called_at,
                    panic = shown, location = Site(location), during = during, fields + fields);
            });
        }
        self.shared().hooks.panicked(&PanickedTask {
            id,
            name,
            called_at: call.called_at,
            message: &shown.whole(),
            shown,
            location,
            fields: &fields,
        });
    }

    pub(super) fn report_timeout(&mut self, end: &PolicyEnd) {
        if self.should_log() {
            let (call, fields) = (self.call_info(), self.fields());
            self.in_span(|| {
                report!(error, "task timed out"; name = call.handler.name(), id: call.id.as_u64(),
                    called_at = call.called_at, attempts: end.attempts, gave_up: end.gave_up, fields + fields);
            });
        }
        let message = Message::new("timed out", end.note.clone());
        self.note_failure(Outcome::TimedOut, &message, None);
    }

    /// Reports a task that was dropped without a shutdown. A cancellation by the drain of its group is no failure.
    pub(super) fn report_stop(&mut self, outcome: Outcome) {
        let group = self.task_ref().group_state();
        let group_drains = group.is_some_and(|group| group.is_draining());
        let is_cancelled = outcome == Outcome::Cancelled;
        if group_drains {
            if is_cancelled {
                return;
            }
            let message = Message::new("aborted at the time limit of its group's drain", None);
            self.note_failure(outcome, &message, None);
        }
        if !self.should_log() {
            return;
        }
        let call = self.call_info();
        let (name, id, called_at) = (call.handler.name(), call.id.as_u64(), call.called_at);
        let fields = self.fields();
        self.in_span(|| {
            if is_cancelled {
                report!(error, "task cancelled without a shutdown"; name = name, id: id, called_at = called_at,
                    fields + fields);
            } else if group_drains {
                report!(warn, "task aborted at the time limit of its group's drain"; name = name, id: id,
                    called_at = called_at, fields + fields);
            } else {
                report!(error, "task aborted without a shutdown"; name = name, id: id, called_at = called_at,
                    fields + fields);
            }
        });
    }

    /// Reports a failure that no handle will return.
    pub(super) fn report_unclaimed(&mut self, end: Option<End>) {
        self.count_unseen(end.as_ref());
        let (outcome, error) = match end {
            // Its event was logged at the timeout.
            Some(End::Error(TaskError::TimedOut)) => (Outcome::TimedOut, Message::default()),
            Some(End::Failed(error)) => (Outcome::Failed, error),
            _ => return,
        };
        let call = self.call_info();
        if outcome == Outcome::Failed && self.should_log() {
            let fields = self.fields();
            self.in_span(|| {
                report!(error, "task failed"; name = call.handler.name(), id: call.id.as_u64(),
                    called_at = call.called_at, error = error, fields + fields);
            });
        }
        if let Some(dispatcher) = self.shared().hooks.dispatcher() {
            dispatcher.unseen(call, outcome, &error);
        }
    }

    /// Counts a failure that no code will read. One after which `restart` starts the function again is not final; the schedule counts
    /// the one after which it gives up.
    fn count_unseen(&self, end: Option<&End>) {
        let is_failure = matches!(
            end,
            Some(End::Failed(_) | End::Error(TaskError::TimedOut | TaskError::Panicked { .. }))
        );
        let shared = self.shared();
        let policies = self.call_info().handler.policies();
        let restarts = policies
            .and_then(|policies| policies.schedule.as_ref())
            .is_some_and(|schedule| schedule.restart.is_some())
            && shared.shutdown.phase() == Phase::Running;
        if is_failure && !restarts {
            shared.policies.unseen_failures.add_one();
        }
    }

    pub(super) fn report_panic_of_output(&mut self, caught: &Caught) {
        if self.should_log() {
            let (call, fields) = (self.call_info(), self.fields());
            self.in_span(|| {
                report!(error, "task output panicked on drop"; name = call.handler.name(),
                    id: call.id.as_u64(), called_at = call.called_at, panic = Excerpt(&caught.message),
                    location = Site(caught.location.as_ref()), fields + fields);
            });
        }
    }

    /// Adds a failure to the shutdown report.
    pub(super) fn note_failure(
        &mut self,
        outcome: Outcome,
        message: &Message,
        location: Option<SourceLocation>,
    ) {
        if self.shared().shutdown.phase() == Phase::Running {
            return;
        }
        let (call, fields) = (self.call_info(), self.fields());
        self.shared().shutdown.note_failure(|| Failure {
            id: call.id,
            name: call.handler.name(),
            called_at: call.called_at,
            outcome,
            message: message.kept(),
            location,
            fields,
        });
    }
}

/// The location of a panic, if it is known.
struct Site<'a>(Option<&'a SourceLocation>);

impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(location) => location.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
