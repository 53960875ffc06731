//! Calls that run where they are made.

use bgtask::{ShutdownToken, TaskError, background, testing};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

type Log = Arc<Mutex<Vec<String>>>;

fn say(log: &Log, what: impl Into<String>) {
    log.lock().unwrap().push(what.into());
}

fn said(log: &Log) -> String {
    log.lock().unwrap().join(" ")
}

#[background]
async fn writes(log: Log, what: &'static str) -> usize {
    say(&log, what);
    what.len()
}

#[background]
fn writes_plainly(log: Log, what: &'static str) {
    say(&log, what);
}

#[background]
async fn waits(log: Log, until: Arc<Notify>) {
    say(&log, "begins");
    until.notified().await;
    say(&log, "ends");
}

#[background]
async fn calls_others(log: Log) {
    say(&log, "(");
    writes(log.clone(), "inner").await.unwrap();
    writes_plainly(log.clone(), "plain");
    say(&log, ")");
}

#[bgtask::test]
async fn inline_calls_are_done_when_they_return_and_in_the_order_of_the_code() {
    let log = Log::default();
    let inline = testing::inline();
    say(&log, "a");
    let handle = writes(log.clone(), "b");
    assert!(handle.is_finished());
    say(&log, "c");
    writes_plainly(log.clone(), "d");
    say(&log, "e");
    assert_eq!(said(&log), "a b c d e");
    assert_eq!(handle.await, Ok(1));
    assert_eq!((testing::calls(writes), testing::runs(writes)), (1, 1));
    assert_eq!(bgtask::stats().succeeded, 2);

    drop(inline);
    drop(writes(log.clone(), "f"));
    assert_eq!(said(&log), "a b c d e");
    testing::idle().await;
    assert_eq!(said(&log), "a b c d e f");
}

#[bgtask::test]
async fn inline_calls_of_inline_calls_are_done_too() {
    let log = Log::default();
    let _inline = testing::inline();
    drop(calls_others(log.clone()));
    assert_eq!(said(&log), "( inner plain )");
}

#[bgtask::test]
async fn on_one_thread_an_inline_call_runs_to_its_first_wait_and_on_when_the_test_awaits() {
    let (log, until) = (Log::default(), Arc::new(Notify::new()));
    let inline = testing::inline();
    let handle = waits(log.clone(), until.clone());
    assert_eq!(said(&log), "begins");
    until.notify_one();
    assert_eq!(said(&log), "begins");
    assert_eq!(handle.await, Ok(()));
    assert_eq!(said(&log), "begins ends");
    drop(inline);
}

/// The one that was begun here has another waker than the runtime's task.
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

    let told = until_told_inline();
    told.cancel();
    assert_eq!(told.await, Ok(()));
    // Drained at the end.
    drop(until_told_inline());
}

#[background]
async fn until_told_inline(token: ShutdownToken) {
    token.cancelled().await;
}

#[background]
async fn an_hour_later(log: Log) {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    say(&log, "an hour later");
}

#[bgtask::test(start_paused = true)]
async fn on_one_thread_an_inline_call_does_not_move_paused_time() {
    let log = Log::default();
    let inline = testing::inline();
    drop(an_hour_later(log.clone()));
    assert_eq!(said(&log), "");
    testing::idle().await;
    assert_eq!(said(&log), "an hour later");
    drop(inline);
}

#[background]
async fn naps(log: Log) {
    say(&log, "begins");
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    writes(log.clone(), "inner").await.unwrap();
    say(&log, "ends");
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_an_inline_call_runs_to_its_end_whatever_it_waits_for() {
    let log = Log::default();
    let _inline = testing::inline();
    drop(naps(log.clone()));
    assert_eq!(said(&log), "begins inner ends");
    // In a task of the runtime, which one of its workers runs.
    let of_a_worker = log.clone();
    tokio::spawn(async move {
        drop(naps(of_a_worker.clone()));
        assert_eq!(said(&of_a_worker), "begins inner ends begins inner ends");
    })
    .await
    .unwrap();
}

#[background]
fn blocks_on(log: Log) {
    let runtime = tokio::runtime::Handle::current();
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    say(&log, "woke up");
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_an_inline_plain_function_may_block_on_a_future() {
    let log = Log::default();
    let _inline = testing::inline();
    drop(blocks_on(log.clone()));
    assert_eq!(said(&log), "woke up");
}

#[test]
fn a_plain_thread_waits_for_its_inline_calls_also_where_the_test_has_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let kit = testing::Kit::install().unwrap();
        let inline = testing::inline();
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let log = Log::default();
            let entered = kit.manager().enter();
            drop(naps(log.clone()));
            drop(writes_plainly(log.clone(), "plain"));
            drop(entered);
            tell.send((kit, said(&log))).unwrap();
        });
        let (kit, said) = told.await.unwrap();
        assert_eq!(said, "begins inner ends plain");
        drop(inline);
        kit.finish().await;
    });
}

#[background(
    concurrency = 1,
    timeout = "1m",
    retry(max = 2, base = "10m", cap = "10m")
)]
fn plain_with_policies(log: Log) -> Result<(), String> {
    say(&log, "tries");
    match log.lock().unwrap().len() {
        1 => Err("not yet".to_owned()),
        _ => Ok(()),
    }
}

#[bgtask::test(start_paused = true)]
async fn an_inline_plain_function_with_policies_runs_where_it_is_called_until_it_is_to_wait() {
    let log = Log::default();
    let inline = testing::inline();
    let handle = plain_with_policies(log.clone());
    assert_eq!(said(&log), "tries");
    assert_eq!(handle.await, Ok(Ok(())));
    assert_eq!(said(&log), "tries tries");
    assert!(plain_with_policies(log.clone()).is_finished());
    drop(inline);
}

#[background(log = "off")]
async fn breaks_inline() {
    panic!("as declared");
}

#[bgtask::test]
async fn a_panic_of_an_inline_call_is_not_the_callers() {
    testing::expect_panic(breaks_inline);
    let _inline = testing::inline();
    let handle = breaks_inline();
    assert!(matches!(handle.await, Err(TaskError::Panicked { .. })));
}

#[bgtask::test]
async fn calls_that_are_held_back_run_inline_where_they_are_released() {
    let log = Log::default();
    let _inline = testing::inline();
    let paused = testing::pause_dispatch();
    drop(writes(log.clone(), "a"));
    drop(writes(log.clone(), "b"));
    assert_eq!(said(&log), "");
    paused.release_next();
    assert_eq!(said(&log), "a");
    drop(paused);
    assert_eq!(said(&log), "a b");
}

#[bgtask::test]
async fn calls_are_inline_as_long_as_any_guard_lives() {
    let log = Log::default();
    let first = testing::inline();
    let second = testing::inline();
    drop(first);
    drop(writes(log.clone(), "a"));
    assert_eq!(said(&log), "a");
    drop(second);
    drop(writes(log.clone(), "b"));
    assert_eq!(said(&log), "a");
}
