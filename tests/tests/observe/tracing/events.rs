//! Events: their fields, levels and spans are those that `docs/tracing.md` states.

use crate::page_table::{events_of_page, fields_by_kind, without_backticks};
use bgtask::{Manager, RefusedReason, ShutdownReason, TaskError, TaskHandle, background};
use bgtask_tests::{FOREVER, blocking_until, manager_within, runtimes, subscribe, until};
use bgtask_tests::{Recorder, record_events, record_spans};
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

#[background]
async fn succeeds() -> u32 {
    1
}

#[background]
async fn fails() -> Result<(), String> {
    Err("its error".to_owned())
}

#[background]
async fn panics() {
    panic!("its panic");
}

#[background(timeout = "1ms")]
async fn times_out() {
    std::future::pending().await
}

#[background(retry(max = 2, backoff = "constant", base = "1ms"))]
async fn fails_twice() -> Result<(), &'static str> {
    Err("not today")
}

#[background(coalesce(policy = "skip"))]
async fn runs_alone() {
    std::future::pending().await
}

#[background(rate(limit = "1/h", overflow = "refuse"))]
async fn runs_hourly() {}

#[background]
async fn returns_a_bomb() -> Bomb {
    Bomb
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("its output's panic");
        }
    }
}

#[background]
async fn is_refused() {}

#[background]
async fn is_late() {
    std::future::pending().await
}

/// Makes one call for each of the events that a call may cause.
/// Behaviour 34.
#[test]
fn events_have_the_level_and_fields_of_the_page() {
    let recorder = record_spans();
    for runtime in runtimes() {
        let manager = Manager::builder()
            .grace(Duration::from_millis(200))
            .on_finish(|task| assert!(!task.name.ends_with("::succeeds"), "the hook's panic"))
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            succeeds().await.unwrap();
            until_detached_end(fails()).await;
            until_detached_end(fails_twice()).await;
            returns_a_bomb();
            let panicked = panics().await;
            assert!(matches!(panicked, Err(TaskError::Panicked { .. })));
            assert_eq!(times_out().await, Err(TaskError::TimedOut));
            let first = runs_alone();
            assert_eq!(runs_alone().await, Err(TaskError::Skipped));
            first.abort();
            assert_eq!(first.await, Err(TaskError::Aborted));
            runs_hourly().await.unwrap();
            let refused = runs_hourly().await;
            assert_eq!(
                refused,
                Err(TaskError::Refused(RefusedReason::RateExceeded))
            );
            until("all have ended", || manager.stats().running == 0).await;
            is_late();
            manager.shutdown("the test is over").await;
            let refused = is_refused().await;
            assert_eq!(refused, Err(TaskError::Refused(RefusedReason::ShutDown)));
        });
        runtime.shutdown_background();
    }
    let (page, kinds) = (events_of_page(), fields_by_kind());
    let events = recorder.events(|event| event.target == "bgtask");
    let mut seen = BTreeSet::new();
    for event in &events {
        let row = page
            .get(&without_backticks(&event.message))
            .unwrap_or_else(|| panic!("{event:?} is not on the page"));
        let names: BTreeSet<_> = event.fields.keys().copied().collect();
        let mut expected: BTreeSet<_> = row.fields.iter().map(String::as_str).collect();
        // The span names the call, so an event inside it does not. A filter may let warnings and errors through without the span.
        if event.task().is_some() && event.level >= Level::INFO {
            expected.remove("name");
            expected.remove("id");
        }
        // Only a call whose function names some has fields.
        expected.remove("fields");
        assert_eq!(names, expected, "{event:?}");
        for (name, value) in &event.fields {
            let kind = kinds.get(*name).map(String::as_str);
            assert_eq!(kind, Some(value.kind), "{name} of {event:?}");
        }
        let level = event.level.to_string().to_lowercase();
        assert!(
            row.levels.contains(&level) || row.levels.contains("log"),
            "{event:?}"
        );
        seen.insert(&*event.message);
    }
    for message in [
        "task started",
        "task finished",
        "task panicked",
        "task failed",
        "task timed out",
        "task aborted without a shutdown",
        "task output panicked on drop",
        "task did not finish before the shutdown deadline",
        "attempt failed, retrying",
        "call coalesced",
        "call refused",
        "call refused: the manager has shut down",
        "hook panicked",
        "linked background functions",
        "shutdown requested",
        "draining",
        "shutdown complete",
    ] {
        assert!(seen.contains(message), "{message:?} is not among {seen:?}");
    }
    // Each names its call, in its span or by itself.
    for event in events
        .iter()
        .filter(|event| event.fields.contains_key("called_at"))
    {
        let called_at = event.field("called_at");
        assert!(called_at.contains("tests/observe/tracing/"), "{event:?}");
        let fields = event.task().map_or(&event.fields, |task| &task.fields);
        assert!(fields.contains_key("name") && fields.contains_key("id"));
    }
    let attempts = recorder.events_about("::fails_twice");
    let attempt = attempts
        .iter()
        .find(|event| event.message.starts_with("attempt"))
        .unwrap();
    assert_eq!(
        (attempt.field("attempt"), attempt.field("max_attempts")),
        ("1", "2")
    );
    assert_eq!(attempt.field("error"), "not today");
}

/// Drops the handle, and waits until the call has ended.
async fn until_detached_end<T>(handle: TaskHandle<T>) {
    let id = handle.id();
    drop(handle);
    until("it has ended", || {
        bgtask::tasks().iter().all(|task| task.id != id)
    })
    .await;
}

#[background]
async fn is_queued_at_the_deadline() {}

/// Behaviour 34.
#[test]
fn a_call_that_is_queued_at_the_deadline_has_not_started() {
    let recorder = record_spans();
    let [runtime, _] = runtimes();
    let manager = manager_within(Duration::ZERO, &runtime);
    runtime.block_on(async {
        is_queued_at_the_deadline();
        manager.request_shutdown("the test is over");
        let name = "::is_queued_at_the_deadline";
        // Blocks the only worker: the call stays queued until the shutdown retires it.
        blocking_until("it is named", || {
            let events = recorder.events_about(name);
            events
                .iter()
                .any(|event| event.message == "task did not finish before the shutdown deadline")
        });
        manager.shutdown("the test is over").await;
        recorder.until_closed(name, 1).await;
        let events = recorder.events_about(name);
        let has_started = events.iter().any(|event| event.message == "task started");
        assert!(!has_started, "{events:?}");
    });
}

#[background(concurrency(max = 1, queue = 0))]
async fn holds_the_permit() {
    std::future::pending().await
}

#[background]
async fn makes_a_refused_call() {
    holds_the_permit();
    assert!(holds_the_permit().await.is_err());
}

/// The event is about the refused call, in the span of the call that made it.
/// Behaviour 34.
#[test]
fn an_event_in_the_span_of_another_call_names_its_own() {
    let recorder = Recorder::global();
    let [runtime, _] = runtimes();
    let manager = manager_within(Duration::ZERO, &runtime);
    runtime.block_on(async {
        makes_a_refused_call().await.unwrap();
        manager.shutdown("the test is over").await;
    });
    let events = recorder.events_about("::holds_the_permit");
    let refused = events.iter().find(|event| event.message == "call refused");
    let refused = refused.expect("it was refused");
    assert!(
        refused.spans[0]
            .field("name")
            .ends_with("::makes_a_refused_call")
    );
    assert!(refused.field("name").ends_with("::holds_the_permit"));
    assert!(!refused.field("id").is_empty());
}

#[background]
async fn drains_cleanly(token: bgtask::ShutdownToken) {
    token.cancelled().await;
}

/// Behaviour 34.
#[test]
fn a_clean_shutdown_is_one_line_at_info() {
    let recorder = Recorder::global();
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            drains_cleanly();
            manager.request_shutdown("a clean shutdown");
            assert!(manager.shutdown("the test is over").await.is_clean());
        });
    }
    let events = recorder.events(|event| event.target == "bgtask");
    let of_shutdown: Vec<_> = events
        .iter()
        .filter(|event| event.field("reason") == "requested: a clean shutdown")
        .map(|event| (event.level, &*event.message))
        .collect();
    let each = [
        (Level::DEBUG, "shutdown requested"),
        (Level::INFO, "shutdown complete"),
    ];
    assert_eq!(of_shutdown, [each, each].concat());
    let draining = events.iter().filter(|event| event.message == "draining");
    assert!(
        draining
            .map(|event| event.level)
            .all(|level| level == Level::DEBUG)
    );
}

#[background(log = "error")]
async fn logs_at_error() {}

/// Behaviour 34.
#[test]
fn events_name_their_call_if_its_span_is_filtered_out() {
    record_events();
    let recorder = Recorder::default();
    let subscriber =
        tracing_subscriber::registry().with(recorder.clone().with_filter(LevelFilter::ERROR));
    let _subscribed = subscribe(subscriber);
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        logs_at_error().await.unwrap();
        manager.shutdown(ShutdownReason::MainReturned).await;
    });
    let events = recorder.events_about("::logs_at_error");
    let messages: Vec<_> = events.iter().map(|event| &*event.message).collect();
    assert_eq!(messages, ["task started", "task finished"]);
    assert!(events.iter().all(|event| event.spans.is_empty()));
    assert!(events[0].field("id").parse::<u64>().is_ok());
    assert_eq!(events[0].field("id"), events[1].field("id"));
}
