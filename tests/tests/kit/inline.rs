//! `inline()`: calls that run in their caller.

use bgtask::{ShutdownToken, TaskError, background, testing};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

type Log = Arc<Mutex<Vec<String>>>;

fn write(log: &Log, what: impl Into<String>) {
    log.lock().unwrap().push(what.into());
}

fn written(log: &Log) -> String {
    log.lock().unwrap().join(" ")
}

#[background]
async fn writes(log: Log, what: &'static str) -> usize {
    write(&log, what);
    what.len()
}

#[background]
fn writes_blocking(log: Log, what: &'static str) {
    write(&log, what);
}

#[background]
async fn waits(log: Log, until: Arc<Notify>) {
    write(&log, "begins");
    until.notified().await;
    write(&log, "ends");
}

#[background]
async fn calls_others(log: Log) {
    write(&log, "(");
    writes(log.clone(), "inner").await.unwrap();
    writes_blocking(log.clone(), "plain");
    write(&log, ")");
}

#[bgtask::test]
async fn inline_calls_are_finished_when_they_return_in_the_order_of_the_code() {
    let log = Log::default();
    let inline = testing::inline();
    write(&log, "a");
    let handle = writes(log.clone(), "b");
    assert!(handle.is_finished());
    write(&log, "c");
    writes_blocking(log.clone(), "d");
    write(&log, "e");
    assert_eq!(written(&log), "a b c d e");
    assert_eq!(handle.await, Ok(1));
    assert_eq!((testing::calls(writes), testing::runs(writes)), (1, 1));
    assert_eq!(bgtask::stats().succeeded, 2);

    drop(inline);
    drop(writes(log.clone(), "f"));
    assert_eq!(written(&log), "a b c d e");
    testing::idle().await;
    assert_eq!(written(&log), "a b c d e f");
}

#[bgtask::test]
async fn nested_inline_calls_are_finished_too() {
    let log = Log::default();
    let _inline = testing::inline();
    drop(calls_others(log.clone()));
    assert_eq!(written(&log), "( inner plain )");
}

#[bgtask::test]
async fn on_one_thread_an_inline_call_runs_to_its_first_wait_and_continues_when_the_test_awaits() {
    let (log, until) = (Log::default(), Arc::new(Notify::new()));
    let inline = testing::inline();
    let handle = waits(log.clone(), until.clone());
    assert_eq!(written(&log), "begins");
    until.notify_one();
    assert_eq!(written(&log), "begins");
    assert_eq!(handle.await, Ok(()));
    assert_eq!(written(&log), "begins ends");
    drop(inline);
}

/// The call that started here has a different waker from the runtime task.
#[bgtask::test]
async fn an_inline_call_that_waits_can_be_aborted_cancelled_and_drained() {
    let (log, never) = (Log::default(), Arc::new(Notify::new()));
    let _inline = testing::inline();
    let aborted = waits(log.clone(), never.clone());
    tokio::task::yield_now().await;
    aborted.abort();
    assert_eq!(aborted.await, Err(TaskError::Aborted));

    let aborted_at_once = waits(log.clone(), never);
    aborted_at_once.abort();
    assert_eq!(aborted_at_once.await, Err(TaskError::Aborted));

    let cancelled = until_cancelled_inline();
    cancelled.cancel();
    assert_eq!(cancelled.await, Ok(()));
    // The drain at the end ends it.
    drop(until_cancelled_inline());
}

#[background]
async fn until_cancelled_inline(token: ShutdownToken) {
    token.cancelled().await;
}

#[background]
async fn an_hour_later(log: Log) {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    write(&log, "an hour later");
}

#[bgtask::test(start_paused = true)]
async fn on_one_thread_an_inline_call_does_not_advance_paused_time() {
    let log = Log::default();
    let inline = testing::inline();
    drop(an_hour_later(log.clone()));
    assert_eq!(written(&log), "");
    testing::idle().await;
    assert_eq!(written(&log), "an hour later");
    drop(inline);
}

#[background]
async fn naps(log: Log) {
    write(&log, "begins");
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    writes(log.clone(), "inner").await.unwrap();
    write(&log, "ends");
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_an_inline_call_runs_to_its_end_even_if_it_waits() {
    let log = Log::default();
    let _inline = testing::inline();
    drop(naps(log.clone()));
    assert_eq!(written(&log), "begins inner ends");
    // In a runtime task, which a worker runs.
    let of_a_worker = log.clone();
    tokio::spawn(async move {
        drop(naps(of_a_worker.clone()));
        assert_eq!(written(&of_a_worker), "begins inner ends begins inner ends");
    })
    .await
    .unwrap();
}

#[background]
fn blocks_on(log: Log) {
    let runtime = tokio::runtime::Handle::current();
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    write(&log, "woke up");
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_an_inline_blocking_function_may_block_on_a_future() {
    let log = Log::default();
    let _inline = testing::inline();
    drop(blocks_on(log.clone()));
    assert_eq!(written(&log), "woke up");
}

#[test]
fn a_plain_thread_waits_for_its_inline_calls_even_if_the_test_has_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let kit = testing::Kit::install().unwrap();
        let inline = testing::inline();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let log = Log::default();
            let entered = kit.manager().enter();
            drop(naps(log.clone()));
            drop(writes_blocking(log.clone(), "plain"));
            drop(entered);
            sender.send((kit, written(&log))).unwrap();
        });
        let (kit, log) = receiver.await.unwrap();
        assert_eq!(log, "begins inner ends plain");
        drop(inline);
        kit.finish().await;
    });
}

#[background(
    concurrency = 1,
    timeout = "1m",
    retry(max = 2, base = "10m", cap = "10m")
)]
fn blocking_with_policies(log: Log) -> Result<(), String> {
    write(&log, "tries");
    match log.lock().unwrap().len() {
        1 => Err("not yet".to_owned()),
        _ => Ok(()),
    }
}

#[bgtask::test(start_paused = true)]
async fn an_inline_blocking_function_with_policies_runs_in_its_caller_until_a_policy_waits() {
    let log = Log::default();
    let inline = testing::inline();
    let handle = blocking_with_policies(log.clone());
    assert_eq!(written(&log), "tries");
    assert_eq!(handle.await, Ok(Ok(())));
    assert_eq!(written(&log), "tries tries");
    assert!(blocking_with_policies(log.clone()).is_finished());
    drop(inline);
}

#[background(log = "off")]
async fn breaks_inline() {
    panic!("as declared");
}

#[bgtask::test]
async fn a_panic_of_an_inline_call_does_not_reach_the_caller() {
    testing::expect_panic(breaks_inline);
    let _inline = testing::inline();
    let handle = breaks_inline();
    assert!(matches!(handle.await, Err(TaskError::Panicked { .. })));
}

#[bgtask::test]
async fn held_calls_run_inline_where_they_are_released() {
    let log = Log::default();
    let _inline = testing::inline();
    let paused = testing::pause_dispatch();
    drop(writes(log.clone(), "a"));
    drop(writes(log.clone(), "b"));
    assert_eq!(written(&log), "");
    paused.release_next();
    assert_eq!(written(&log), "a");
    drop(paused);
    assert_eq!(written(&log), "a b");
}

#[bgtask::test]
async fn calls_are_inline_while_any_guard_lives() {
    let log = Log::default();
    let first = testing::inline();
    let second = testing::inline();
    drop(first);
    drop(writes(log.clone(), "a"));
    assert_eq!(written(&log), "a");
    drop(second);
    drop(writes(log.clone(), "b"));
    assert_eq!(written(&log), "a");
}
