//! `timeout`: the limit of one attempt, and what happens to a body that reaches it.

use crate::support::{OnDrop, SECOND, sleeps_within_five_seconds};
use bgtask::{Manager, Outcome, ShutdownToken, TaskError, TaskState, background};
use bgtask_tests::{
    FOREVER, in_paused_time, on_both_flavors, record_events, recorded_of, settle, until,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use tokio::runtime::Builder;
use tokio::time::Instant;

/// Behaviour 26.
#[test]
fn a_future_is_dropped_at_its_limit_and_not_before() {
    in_paused_time(async |manager| {
        let begin = Instant::now();
        let in_time = sleeps_within_five_seconds(4, OnDrop(Arc::default()));
        assert_eq!(in_time.await, Ok(4));
        assert_eq!(begin.elapsed(), 4 * SECOND);

        let dropped = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        let late = sleeps_within_five_seconds(3600, OnDrop(dropped.clone()));
        assert_eq!(late.await, Err(TaskError::TimedOut));
        assert_eq!(begin.elapsed(), 5 * SECOND);
        assert!(dropped.load(Ordering::SeqCst));
        let stats = manager.stats();
        assert_eq!((stats.timed_out, stats.succeeded, stats.running), (1, 1, 0));
    });
}

/// Behaviour 26.
#[test]
fn an_aborted_call_is_dropped_at_once_even_while_its_handle_is_held() {
    on_both_flavors(async |_| {
        let dropped = Arc::new(AtomicBool::new(false));
        let task = sleeps_within_five_seconds(4, OnDrop(dropped.clone()));
        tokio::task::yield_now().await;
        task.abort();
        until("it is dropped", || dropped.load(Ordering::SeqCst)).await;
        assert_eq!(task.await, Err(TaskError::Aborted));
    });
}

#[background(timeout = "10ms", log = "off")]
fn blocks_until_its_token_fires(token: ShutdownToken, started: mpsc::Sender<()>) -> &'static str {
    started.send(()).unwrap();
    token.wait();
    "heeded"
}

#[background(timeout = "10ms", log = "off")]
fn blocks_until_the_token_it_finds_fires() {
    bgtask::shutdown_token().wait();
}

/// Behaviour 26.
#[test]
fn the_token_of_a_blocking_function_fires_at_the_limit_and_its_end_is_awaited() {
    on_both_flavors(async |manager| {
        let (started, has_started) = mpsc::channel();
        let task = blocks_until_its_token_fires(started);
        assert_eq!(task.await, Err(TaskError::TimedOut));
        has_started.recv().unwrap();
        assert_eq!(
            blocks_until_the_token_it_finds_fires().await,
            Err(TaskError::TimedOut)
        );
        assert_eq!(manager.stats().timed_out, 2);
        assert!(!manager.is_shutting_down());
    });
}

#[background(timeout = "5s", name = "times out")]
async fn times_out() {
    std::future::pending::<()>().await;
}

#[background(log = "off")]
async fn awaits_the_token_it_finds() {
    bgtask::shutdown_token().cancelled().await;
}

/// Runs its own runtime and manager on its thread. Returns the number of tasks that did not end with their token.
#[background(timeout = "1h", log = "off")]
fn runs_a_runtime_of_its_own() -> u64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let manager = Manager::builder()
        .grace(FOREVER / 6)
        .install_on(runtime.handle())
        .unwrap();
    let report = runtime.block_on(async {
        let task = awaits_the_token_it_finds();
        until("it runs", || {
            let mut tasks = manager.tasks().into_iter();
            tasks.any(|task| task.state == TaskState::Running)
        })
        .await;
        settle().await;
        let report = manager.shutdown("the inner test ends").await;
        drop(task);
        report
    });
    report.straggler_count
}

/// Behaviour 26.
#[test]
fn tasks_of_a_runtime_within_an_attempt_have_their_own_tokens() {
    on_both_flavors(async |_| {
        assert_eq!(runs_a_runtime_of_its_own().await, Ok(0));
    });
}

/// Behaviour 26.
#[test]
fn a_timeout_is_logged_passed_to_hooks_and_named_in_the_report() {
    record_events();
    let finished = Arc::new(Mutex::new(Vec::new()));
    let report = in_paused_time(async |manager| {
        let finished = finished.clone();
        bgtask::on_finish(move |task| finished.lock().unwrap().push(task.outcome));
        manager.request_shutdown("so that the report keeps what fails");
        assert_eq!(times_out().await, Err(TaskError::TimedOut));
    });
    assert_eq!(*finished.lock().unwrap(), [Outcome::TimedOut]);
    assert_eq!(report.failures.len(), 1);
    assert_eq!(report.failures[0].outcome, Outcome::TimedOut);
    assert!(!report.is_clean());
    let events = recorded_of("times out");
    let late = events
        .iter()
        .find(|event| event.message == "task timed out")
        .unwrap();
    assert_eq!(late.level, tracing::Level::ERROR);
    assert!(late.task().is_some());
}
