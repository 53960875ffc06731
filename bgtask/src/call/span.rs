//! The span of a task: its fields, and the outcome recorded at its end.
//! Owns when a span is opened and closed; knows nothing of events within it.

use crate::fields::new_span;
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::task::{Body, End, Extras, Notes, Task};
use crate::util::panic::{catch, catch_and_ignore};
use std::pin::Pin;
use tracing::Span;
use tracing::field::display;
use tracing::level_filters::LevelFilter;

/// Opens the span of a task that is about to be launched, if a subscriber may want it. A subscriber that panics must not lose
/// the call.
#[inline]
pub(super) fn prepare(task: Pin<&mut Task<dyn Body>>, call: &CallInfo) {
    if LevelFilter::current() >= LevelFilter::INFO {
        open(task.notes(), call);
    }
}

#[cold]
fn open(notes: &mut Notes, call: &CallInfo) {
    // A child of the caller's span, which is the current one here.
    let (name, id) = (call.handler.name(), call.id.as_u64());
    let fields = notes.fields();
    let span = catch(|| {
        let with_fields = fields.open_span(name, id);
        with_fields.unwrap_or_else(|| task_span(name, id))
    });
    if let Ok(span) = span
        && !span.is_disabled()
    {
        notes.extras().span = Some(span);
    }
}

fn task_span(name: &'static str, id: u64) -> Span {
    new_span!(name, id)
}

/// Records the outcome of a task in its span, and closes the span unless `keep`.
pub(super) fn end(notes: &mut Notes, outcome: Outcome, keep: bool) {
    let Some(Extras { span, end, .. }) = notes.existing_extras() else {
        return;
    };
    // A subscriber that panics loses the outcome, and nobody else does.
    catch_and_ignore(|| {
        if let Some(span) = span {
            record(span, outcome, end.as_ref());
        }
        if !keep {
            *span = None;
        }
    });
}

#[cold]
fn record(span: &Span, outcome: Outcome, end: Option<&End>) {
    span.record("outcome", display(outcome));
    if cfg!(feature = "opentelemetry")
        && let Outcome::Failed | Outcome::Panicked | Outcome::TimedOut = outcome
    {
        span.record("otel.status_code", "ERROR");
        match end {
            Some(End::Failed(error)) => span.record("otel.status_description", display(error)),
            Some(End::Error(error)) => span.record("otel.status_description", display(error)),
            None => span,
        };
    }
}
