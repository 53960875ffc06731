//! The verdict on a test: everything that fails it, as text. Must never know when it is given.

use super::failure::FailureKind;
use super::record::{CallState, Expected, Failure, State};
use crate::TaskError;
use crate::handler::Handler;
use crate::report::ShutdownReport;
use crate::stats::Outcome;
use crate::task::End;
use crate::util::panic::Caught;
use crate::util::text::{Indented, Message};
use std::collections::BTreeSet;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::yield_now;

/// Why a test fails.
#[derive(Debug, Default)]
pub(super) struct Verdict(Vec<String>);

impl Verdict {
    /// Adds the panics of the values that `until_drained()` has kept.
    pub(super) fn add_panics_of_kept(&mut self, panics: &[Caught]) {
        self.0.extend(panics.iter().map(|caught| {
            format!(
                "a value that `until_drained()` kept panicked while it was dropped: {}",
                Indented(&caught.message)
            )
        }));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("background work failed this test:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl State {
    /// Records the failures whose handles are still held after the drain, because these handles can no longer be awaited. A
    /// handle that a task awaits was woken by the end of its call, perhaps on another thread. We wait for those, but not longer
    /// than a wait of the test may take.
    pub(super) async fn record_unclaimed(&self) {
        let limit = self.records().limit;
        let begin = Instant::now();
        loop {
            let (failures, are_awaited) = self.unclaimed();
            if !are_awaited || begin.elapsed() >= limit {
                self.records().failures.extend(failures);
                return;
            }
            yield_now().await;
            // Not a timer: it would advance paused time, and with it work that is still live.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns the failures of ended calls whose handles are still held, and whether a task awaits one of these.
    fn unclaimed(&self) -> (Vec<Failure>, bool) {
        let (mut failures, mut are_awaited) = (Vec::new(), false);
        let no_message = Message::default();
        if let Some(tracker) = self.tracker() {
            tracker.for_each_unclaimed(&mut |call, notes, is_awaited| {
                let extras = notes.existing_extras();
                let (outcome, message) = match extras.and_then(|extras| extras.end.as_ref()) {
                    Some(End::Failed(error)) => (Outcome::Failed, error),
                    Some(End::Error(TaskError::TimedOut)) => (Outcome::TimedOut, &no_message),
                    _ => return,
                };
                failures.push(Failure::unseen(call, outcome, message, true));
                are_awaited |= is_awaited;
            });
        }
        (failures, are_awaited)
    }

    /// Returns why the test fails after the drain, if it does. Without a report, returns what has failed so far.
    pub(super) fn verdict(&self, report: Option<&ShutdownReport>) -> Option<Verdict> {
        let records = self.records();
        let mut lines = Vec::new();
        let mut expected = records.expected.clone();
        // A call may panic twice: in its body, and when its remains are dropped.
        let mut declared = BTreeSet::new();
        for failure in &records.failures {
            if declared.contains(&failure.id) {
                continue;
            }
            let handler = records.handler(failure.id);
            if handler.is_some_and(|handler| take(&mut expected, failure.kind, handler)) {
                declared.insert(failure.id);
            } else {
                lines.push(failure.to_string());
            }
        }
        lines.extend(records.calls.iter().filter_map(|call| {
            let reason = call.unseen_refusal()?;
            Some(format!(
                "`{}` was refused and was not awaited: {reason}\n      called at {} (id {}); if this is intended: await its handle",
                call.handler.name(),
                call.called_at,
                call.id,
            ))
        }));
        #[cfg(feature = "durable")]
        lines.extend(records.not_stored.iter().cloned());
        #[cfg(feature = "durable")]
        for job in &records.dead {
            if !take(&mut expected, job.kind, job.handler) {
                lines.push(job.to_string());
            }
        }
        let Some(report) = report else {
            return (!lines.is_empty()).then_some(Verdict(lines));
        };
        if !records.late_is_reported {
            lines.extend(report.stragglers.iter().map(|late| {
                let token = if late.takes_token {
                    "takes a `ShutdownToken`, which has fired"
                } else {
                    "has no `ShutdownToken` parameter; the token of `bgtask::shutdown_token()` has fired"
                };
                format!(
                    "`{}` had not ended {:?} after the test, and was {}\n      called at {} (id {}); {token}",
                    late.name,
                    report.grace,
                    late.outcome,
                    late.called_at,
                    late.id,
                )
            }));
        }
        // A failure whose handle was awaited also fulfils a declaration.
        for call in &records.calls {
            if let CallState::Ended(outcome) = call.state
                && let Some(kind) = FailureKind::from_outcome(outcome)
                && !records.failures.iter().any(|failure| failure.id == call.id)
            {
                take(&mut expected, kind, call.handler);
            }
        }
        lines.extend(expected.iter().map(|unfulfilled| {
            let what = match unfulfilled.kind {
                FailureKind::Panic => "panic",
                FailureKind::Error => "return an `Err`",
                FailureKind::Timeout => "time out",
            };
            format!(
                "`{}` was expected to {what} but did not: remove the declaration, or find out why",
                unfulfilled.function.name
            )
        }));
        (!lines.is_empty()).then_some(Verdict(lines))
    }
}

/// Removes a declaration of this kind for the function. Returns whether there was one.
fn take(expected: &mut Vec<Expected>, kind: FailureKind, handler: &'static Handler) -> bool {
    let found = expected
        .iter()
        .position(|declared| declared.kind == kind && declared.function.is(handler));
    found.map(|at| expected.remove(at)).is_some()
}
