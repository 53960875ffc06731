//! The report of a shutdown: why, how long, what failed, what did not finish; and its table.
//! Plain data; must never know how a shutdown works.

use crate::error::SourceLocation;
use crate::fields::Fields;
use crate::stats::{Outcome, Stats, TaskId, TaskState};
use crate::util::fmt::{Grouped, Seconds};
#[cfg(feature = "serde")]
use crate::util::serialize::{display, seconds, time};
use crate::util::table::{self, Align};
use crate::util::text::Excerpt;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, SystemTime};

/// A signal, or its closest equivalent on Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Signal {
    /// SIGINT; Ctrl-C on Windows.
    #[cfg_attr(feature = "serde", serde(rename = "SIGINT"))]
    Interrupt,
    /// SIGTERM; Ctrl-Break, a closed console, a log-off or a system shutdown on Windows.
    #[cfg_attr(feature = "serde", serde(rename = "SIGTERM"))]
    Terminate,
    /// SIGHUP: the terminal or the ssh connection was closed.
    #[cfg_attr(feature = "serde", serde(rename = "SIGHUP"))]
    Hangup,
}

impl Signal {
    /// Returns the signal's number: 1, 2 or 15.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Signal::Hangup => 1,
            Signal::Interrupt => 2,
            Signal::Terminate => 15,
        }
    }

    /// Returns the exit code of a process that this signal ended: 128 + the signal's number.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        128 + self.number()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::Hangup => "SIGHUP",
        })
    }
}

/// Why a [`ShutdownToken`](crate::ShutdownToken) has fired; see [`ShutdownToken::reason`](crate::ShutdownToken::reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StopReason {
    /// The shutdown.
    Shutdown,
    /// The call alone was cancelled, or its [`Group`](crate::Group), or the durable job that it runs.
    Cancelled,
    /// The process no longer holds the durable job that the call runs, so nothing that the call returns is stored: other processes
    /// have taken this one for dead, and run the job.
    LeaseLost,
    /// The time limit of the attempt has passed: `timeout = "…"` on a plain function, which cannot be dropped.
    TimedOut,
}

impl StopReason {
    /// Returns the word for the reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::Shutdown => "shutdown",
            StopReason::Cancelled => "cancelled",
            StopReason::LeaseLost => "lease_lost",
            StopReason::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a shutdown was requested. The first request stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ShutdownReason {
    /// The process received a signal.
    Signal(Signal),
    /// The program requested it, with this reason.
    Requested(Cow<'static, str>),
    /// `main` returned by itself.
    MainReturned,
    /// `main` panicked.
    MainPanicked,
    /// The [`Manager`](crate::Manager) was dropped without a shutdown.
    ManagerDropped,
    /// A task of the named function, which is `essential`, has ended.
    EssentialEnded(Cow<'static, str>),
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShutdownReason::Signal(signal) => signal.fmt(f),
            ShutdownReason::Requested(why) => f.pad(&format!("requested: {}", Excerpt(why))),
            ShutdownReason::MainReturned => f.pad("main returned"),
            ShutdownReason::MainPanicked => f.pad("main panicked"),
            ShutdownReason::ManagerDropped => f.pad("the manager was dropped"),
            ShutdownReason::EssentialEnded(name) => {
                f.pad(&format!("the essential task {name} ended"))
            }
        }
    }
}

impl From<&'static str> for ShutdownReason {
    fn from(why: &'static str) -> Self {
        ShutdownReason::Requested(why.into())
    }
}

impl From<String> for ShutdownReason {
    fn from(why: String) -> Self {
        ShutdownReason::Requested(why.into())
    }
}

impl From<Signal> for ShutdownReason {
    fn from(signal: Signal) -> Self {
        ShutdownReason::Signal(signal)
    }
}

/// The report of a shutdown. Its `Display` is one line, and a small table of the tasks that did not finish or failed.
///
/// The report has a bounded size, however many tasks there were. Its counts cover all of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ShutdownReport {
    /// Why the shutdown was requested.
    pub reason: ShutdownReason,
    /// Time from the request to the end.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub elapsed: Duration,
    /// The grace period.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub grace: Duration,
    /// The number of tasks that ended while draining, whatever their outcome. Tasks that failed are included.
    pub drained: u64,
    /// The number of drained calls with `retry` that failed because the shutdown left no time for their remaining attempts.
    pub gave_up: u64,
    /// The number of tasks that were still live at the deadline.
    pub straggler_count: u64,
    /// The oldest of these stragglers, by the time of their call: at most 100.
    pub stragglers: Vec<Straggler>,
    /// The other stragglers, grouped by function and state, the largest group first.
    pub further_stragglers: Vec<StragglerGroup>,
    /// The number of failures since the request: tasks that failed, panicked or timed out, members aborted at the time limit of
    /// [`Group::drain`](crate::Group::drain), and calls that the shutdown dropped while they waited for their rate limit
    /// ([`Outcome::Cancelled`]).
    pub failure_count: u64,
    /// The first of these failures: at most 1000.
    pub failures: Vec<Failure>,
    /// The number of calls of [`after`](crate::after) and [`at`](crate::at) whose time had not come when draining began. They were
    /// never made.
    pub scheduled_count: u64,
    /// The first due of these calls: at most 100.
    pub scheduled: Vec<ScheduledCall>,
    /// Whether `main` had not ended by the deadline.
    pub main_was_late: bool,
    /// The totals at the end.
    pub totals: Stats,
}

impl ShutdownReport {
    /// Returns whether all tasks and `main` ended in time, and nothing failed since the request.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.straggler_count == 0 && self.failure_count == 0 && !self.main_was_late
    }
}

/// A task that was still live at the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Straggler {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// Time from its call to the deadline.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub age: Duration,
    /// The call site.
    #[cfg_attr(feature = "serde", serde(serialize_with = "display"))]
    pub called_at: &'static Location<'static>,
    /// Whether its function has a [`ShutdownToken`](crate::ShutdownToken) parameter. Code without one may call
    /// [`shutdown_token()`](crate::shutdown_token), which this does not reflect.
    pub takes_token: bool,
    /// Whether it ran a job of a `durable` function. The job is back in its queue, and its attempt is not counted.
    pub is_job: bool,
    /// The task's state at the deadline.
    pub state: TaskState,
    /// [`Outcome::Aborted`], or [`Outcome::Abandoned`] if the task had begun and could not be stopped. Another outcome means that
    /// the task ended by itself just after the deadline.
    pub outcome: Outcome,
    /// The values that the option `fields` names.
    pub fields: Fields,
}

/// Stragglers of one function and in one state that the report does not list one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StragglerGroup {
    /// The name of the function.
    pub name: &'static str,
    /// The state of the tasks at the deadline.
    pub state: TaskState,
    /// The number of tasks in the group.
    pub count: u64,
}

/// Displays groups on one line: `60 000 × deliver (waiting), 3 × refresh_cache (running)`.
pub(crate) struct Groups<'a>(pub(crate) &'a [StragglerGroup]);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many groups are named.
        const NAMED: usize = 8;
        let Self(all) = self;
        for (index, group) in all.iter().take(NAMED).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let StragglerGroup { name, state, count } = group;
            write!(f, "{comma}{} × {name} ({state})", Grouped(*count))?;
        }
        match all.get(NAMED..) {
            Some(rest @ [_, ..]) => {
                let count = rest.iter().map(|group| group.count).sum();
                write!(f, ", {} others", Grouped(count))
            }
            _ => Ok(()),
        }
    }
}

/// A task that failed during the shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Failure {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The call site.
    #[cfg_attr(feature = "serde", serde(serialize_with = "display"))]
    pub called_at: &'static Location<'static>,
    /// [`Outcome::Failed`], [`Outcome::Panicked`] or [`Outcome::TimedOut`]; [`Outcome::Cancelled`] for a call that was dropped
    /// while it waited for a policy; [`Outcome::Aborted`] for a task that was aborted at the time limit of
    /// [`Group::drain`](crate::Group::drain).
    pub outcome: Outcome,
    /// The message of the error or the panic, not escaped, and truncated at [`set_text_limit`](crate::set_text_limit).
    pub message: String,
    /// The location of the panic, if it panicked and the location is known.
    pub location: Option<SourceLocation>,
    /// The values that the option `fields` names.
    pub fields: Fields,
}

/// A call that is made later: by [`after`](crate::after) or [`at`](crate::at).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ScheduledCall {
    /// The path of the code that scheduled the call, or of the function that was passed itself.
    pub name: &'static str,
    /// When the call is made.
    #[cfg_attr(feature = "serde", serde(serialize_with = "time"))]
    pub due: SystemTime,
    /// Where it was scheduled.
    #[cfg_attr(feature = "serde", serde(serialize_with = "display"))]
    pub called_at: &'static Location<'static>,
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shutdown ({}) took {} of {}: {} drained, {} did not finish, {} failed",
            self.reason,
            Seconds(self.elapsed),
            Seconds(self.grace),
            self.drained,
            self.straggler_count,
            self.failure_count,
        )?;
        if self.gave_up > 0 {
            write!(f, "; {} gave up retrying", self.gave_up)?;
        }
        match self.scheduled_count {
            0 => {}
            1 => f.write_str("; 1 scheduled call was not made")?,
            count => write!(f, "; {} scheduled calls were not made", Grouped(count))?,
        }
        // Unlike the other figures, these count since the start.
        let Stats {
            refused,
            coalesced,
            retries,
            ..
        } = self.totals;
        for (count, what) in [
            (refused, "refused"),
            (coalesced, "coalesced"),
            (retries, if retries == 1 { "retry" } else { "retries" }),
        ] {
            if count > 0 {
                write!(f, "; {count} {what} in total")?;
            }
        }
        if self.main_was_late {
            f.write_str("; main did not end before the deadline")?;
        }
        let mut rows = Vec::new();
        for straggler in &self.stragglers {
            rows.push([
                straggler.outcome.to_string(),
                straggler.name.to_owned(),
                straggler.id.to_string(),
                Seconds(straggler.age).to_string(),
                straggler.called_at.to_string(),
                with_fields(
                    straggler_note(straggler, self.main_was_late),
                    &straggler.fields,
                ),
            ]);
        }
        for failure in &self.failures {
            rows.push([
                failure.outcome.to_string(),
                failure.name.to_owned(),
                failure.id.to_string(),
                "-".to_owned(),
                failure.called_at.to_string(),
                with_fields(failure.message.clone(), &failure.fields),
            ]);
        }
        for call in &self.scheduled {
            rows.push([
                "not made".to_owned(),
                call.name.to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                call.called_at.to_string(),
                format!("due {}", humantime::format_rfc3339_seconds(call.due)),
            ]);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let stragglers = self.straggler_count - self.stragglers.len() as u64;
        let failures = self.failure_count - self.failures.len() as u64;
        let columns = [
            ("outcome", Align::Left),
            ("task", Align::Left),
            ("id", Align::Right),
            ("age", Align::Right),
            ("called at", Align::Left),
            ("note", Align::Left),
        ];
        table::write(f, columns, &rows)?;
        if stragglers > 0 {
            let groups = Groups(&self.further_stragglers);
            write!(
                f,
                "\n  … and {} more that did not finish: {groups}",
                Grouped(stragglers)
            )?;
        }
        if failures > 0 {
            write!(f, "\n  … and {} more that failed", Grouped(failures))?;
        }
        Ok(())
    }
}

/// Returns the note of a row, with the fields of its call.
fn with_fields(note: String, fields: &Fields) -> String {
    if fields.is_empty() {
        return note;
    }
    format!("{note}; {fields}")
}

fn straggler_note(straggler: &Straggler, main_was_late: bool) -> String {
    if straggler.is_job {
        return "returned to its queue".to_owned();
    }
    let token = match (straggler.takes_token, main_was_late) {
        (false, _) => "no token parameter",
        (true, false) => "takes a token",
        (true, true) => "takes a token, which fired at the deadline",
    };
    match straggler.state {
        TaskState::Running => token.to_owned(),
        state => format!("{state}; {token}"),
    }
}

#[cfg(feature = "serde")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RefusedReason, TaskError, WarnAfter};
    use serde_json::{json, to_value};

    #[test]
    fn reports_reasons_and_options_serialize_as_documented() {
        let at = Location::caller();
        let report = ShutdownReport {
            reason: ShutdownReason::Signal(Signal::Terminate),
            elapsed: Duration::from_millis(3_250),
            grace: Duration::from_secs(25),
            drained: 3,
            gave_up: 0,
            straggler_count: 1,
            stragglers: vec![Straggler {
                id: TaskId(1),
                name: "shop::import",
                age: Duration::from_secs(30),
                called_at: at,
                takes_token: true,
                is_job: false,
                state: TaskState::Running,
                outcome: Outcome::TimedOut,
                fields: Fields::default(),
            }],
            further_stragglers: Vec::new(),
            failure_count: 1,
            failures: vec![Failure {
                id: TaskId(2),
                name: "shop::deliver",
                called_at: at,
                outcome: Outcome::Panicked,
                message: "no answer".to_owned(),
                location: Some(SourceLocation {
                    file: "src/api.rs".to_owned(),
                    line: 40,
                    column: 9,
                }),
                fields: Fields::default(),
            }],
            scheduled_count: 0,
            scheduled: Vec::new(),
            main_was_late: false,
            totals: Stats::default(),
        };
        let value = to_value(&report).unwrap();
        assert_eq!(value["reason"], json!({ "signal": "SIGTERM" }));
        assert_eq!(
            (&value["elapsed"], &value["grace"]),
            (&json!(3.25), &json!(25.0))
        );
        let straggler = json!({
            "id": 1, "name": "shop::import", "age": 30.0, "called_at": at.to_string(), "takes_token": true,
            "is_job": false, "state": "running", "outcome": "timed_out", "fields": {},
        });
        assert_eq!(value["stragglers"], json!([straggler]));
        let failure = json!({
            "id": 2, "name": "shop::deliver", "called_at": at.to_string(), "outcome": "panicked",
            "message": "no answer", "location": "src/api.rs:40:9", "fields": {},
        });
        assert_eq!(value["failures"], json!([failure]));
        let reason = TaskError::Refused(RefusedReason::MissingState("Pool"));
        assert_eq!(
            to_value(&reason).unwrap(),
            json!({ "refused": { "missing_state": "Pool" } })
        );
        assert_eq!(
            to_value(ShutdownReason::MainReturned).unwrap(),
            json!("main_returned")
        );
        assert_eq!(
            to_value(WarnAfter::After(Duration::from_millis(1_500))).unwrap(),
            json!({ "after": 1.5 })
        );
    }
}
