//! Spans: they state the outcome of their task, and close with it.

use crate::page_table::{in_backticks, rows};
use bgtask::background;
use bgtask_tests::{on_both_flavors, until};
use bgtask_tests::{record_events, record_spans, recorded_of};
use tracing::{Instrument, Level};

#[background(name = "span succeeds")]
async fn span_succeeds() {}

#[background(name = "span fails")]
fn span_fails() -> Result<(), String> {
    Err("its error".to_owned())
}

#[background(name = "span panics")]
async fn span_panics() {
    panic!("its panic");
}

#[background(name = "span times out", timeout = "1ms")]
async fn span_times_out() {
    std::future::pending().await
}

#[background(name = "span is aborted")]
async fn span_is_aborted() {
    std::future::pending().await
}

/// Behaviour 34.
#[test]
fn the_span_of_a_task_states_its_outcome_for_opentelemetry_too() {
    let recorder = record_spans();
    on_both_flavors(async |_| {
        async {
            span_succeeds().await.unwrap();
            span_fails().await.unwrap().unwrap_err();
            span_panics().await.unwrap_err();
            span_times_out().await.unwrap_err();
            let aborted = span_is_aborted();
            aborted.abort();
            aborted.await.unwrap_err();
        }
        .instrument(tracing::info_span!("request"))
        .await;
        for name in ["succeeds", "fails", "panics", "times out", "is aborted"] {
            recorder.until_closed(&format!("span {name}"), 1).await;
        }
    });
    let declared: Vec<_> = rows("The span")
        .iter()
        .flat_map(|row| in_backticks(&row[0]))
        .collect();
    for (name, outcome, status, description) in [
        ("span succeeds", "succeeded", "", ""),
        ("span fails", "failed", "ERROR", "its error"),
        ("span panics", "panicked", "ERROR", "its panic"),
        ("span times out", "timed out", "ERROR", "time"),
        ("span is aborted", "aborted", "", ""),
    ] {
        let spans = recorder.task_spans(name);
        assert_eq!(spans.len(), 2, "{name}");
        for span in spans {
            let metadata = span.metadata;
            let level_and_target = (*metadata.level(), metadata.target());
            assert_eq!(level_and_target, (Level::INFO, "bgtask"));
            let fields = metadata.fields().iter().map(|field| field.name());
            assert_eq!(fields.collect::<Vec<_>>(), declared);
            assert_eq!(span.parent, Some("request"));
            assert_eq!(span.fields["id"].kind, "number");
            assert_eq!(span.field("outcome"), outcome, "{span:?}");
            assert_eq!(span.field("otel.name"), name);
            assert_eq!(span.field("otel.status_code"), status, "{span:?}");
            let status = span.field("otel.status_description");
            assert!(status.contains(description), "{span:?}");
            assert_eq!(status.is_empty(), description.is_empty(), "{span:?}");
        }
    }
}

#[background]
async fn ends_before_its_handle_is_awaited() -> u32 {
    7
}

/// Behaviour 34.
#[test]
fn a_span_closes_with_its_task_even_if_the_handle_is_kept() {
    let recorder = record_spans();
    on_both_flavors(async |_| {
        let handle = ends_before_its_handle_is_awaited();
        until("it has ended", || handle.is_finished()).await;
        for span in recorder.task_spans("::ends_before_its_handle_is_awaited") {
            assert!(span.is_closed, "{span:?}");
        }
        assert_eq!(handle.await, Ok(7));
    });
    assert_eq!(
        recorder
            .task_spans("::ends_before_its_handle_is_awaited")
            .len(),
        2
    );
}

#[background(log = "info")]
async fn logs_a_line(password: String) {
    tracing::info!("inside the task");
    drop(password);
}

#[background(log = "info")]
fn logs_a_line_blocking(password: String) {
    tracing::info!("inside the task");
    drop(password);
}

/// Behaviour 34.
#[test]
fn the_callers_span_is_the_tasks_parent_and_arguments_are_never_logged() {
    record_events();
    on_both_flavors(async |_| {
        async {
            logs_a_line("secret".to_owned()).await.unwrap();
            logs_a_line_blocking("secret".to_owned()).await.unwrap();
        }
        .instrument(tracing::info_span!("request", path = "/users"))
        .await;
    });
    for name in ["::logs_a_line", "::logs_a_line_blocking"] {
        let events = recorded_of(name);
        let inside: Vec<_> = events
            .iter()
            .filter(|event| event.message == "inside the task")
            .collect();
        assert_eq!(inside.len(), 2);
        for event in inside {
            let (task, caller) = (&event.spans[0], &event.spans[1]);
            assert_eq!(task.name(), "task");
            assert!(task.field("name").ends_with(name));
            assert!(task.field("id").parse::<u64>().is_ok());
            assert_eq!(caller.name(), "request");
            assert_eq!(caller.field("path"), "/users");
        }
        for message in ["task started", "task finished"] {
            let events = events.iter().filter(|event| event.message == message);
            assert!(events.clone().all(|event| event.level == Level::INFO));
            assert_eq!(events.count(), 2, "{message}");
        }
        assert!(!format!("{events:?}").contains("secret"));
    }
}

#[background(log = "trace", name = "logs at trace")]
async fn logs_at_trace() {}

#[background(log = "warn", name = "logs at warn")]
async fn logs_at_warn() {}

#[background(log = "error", name = "logs at error")]
async fn logs_at_error() {}

/// Behaviour 34.
#[test]
fn the_log_option_sets_the_level_of_the_started_and_finished_events() {
    record_events();
    on_both_flavors(async |_| {
        logs_at_trace().await.unwrap();
        logs_at_warn().await.unwrap();
        logs_at_error().await.unwrap();
    });
    for (name, level) in [
        ("logs at trace", Level::TRACE),
        ("logs at warn", Level::WARN),
        ("logs at error", Level::ERROR),
    ] {
        let events = recorded_of(name);
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|event| event.level == level));
        assert_eq!(events[1].field("outcome"), "succeeded");
    }
}
