//! `pause_dispatch()`: calls that are held back until the test releases them.

use crate::support::{doubled, doubled_slowly, fails, quiet};
use bgtask::testing::{self, Kit};
use bgtask::{TaskError, background};
use bgtask_tests::runtimes;
use std::thread::{self, ThreadId};

#[bgtask::test]
async fn held_calls_are_released_one_by_one_or_all_at_once() {
    let paused = testing::pause_dispatch();
    let (first, second, third) = (doubled(1), doubled_slowly(2), doubled(3));
    testing::assert_called("doubled", 2);
    assert_eq!(paused.waiting().len(), 3);
    assert!(paused.waiting()[1].ends_with("doubled_slowly"));

    assert!(paused.release_next().unwrap().ends_with("doubled"));
    assert_eq!(first.await, Ok(2));
    assert!(!second.is_finished() && !third.is_finished());

    assert_eq!(paused.release_all(), 2);
    assert_eq!(second.await, Ok(4));
    assert_eq!(third.await, Ok(6));
    assert_eq!(paused.release_next(), None);

    let fourth = doubled(4);
    drop(paused);
    assert_eq!(fourth.await, Ok(8));
    assert_eq!(doubled(5).await, Ok(10));
}

#[bgtask::test]
async fn a_held_call_that_is_aborted_never_starts_and_frees_its_slot() {
    let paused = testing::pause_dispatch();
    // Enough calls to reuse slots.
    for _ in 0..300 {
        let first = quiet();
        first.abort();
        assert_eq!(first.await, Err(TaskError::Aborted));
        assert!(paused.waiting().is_empty());
        let second = quiet();
        assert_eq!(paused.waiting().len(), 1);
        assert!(paused.release_next().is_some());
        assert_eq!(second.await, Ok(()));
    }
}

#[bgtask::test]
async fn held_calls_are_released_at_the_end() {
    // The guard is dropped with its thread-local, after the drain has started.
    std::mem::forget(testing::pause_dispatch());
    doubled(1);
    fails();
    testing::expect_error("fails");
}

#[background(concurrency = 1)]
fn thread_it_runs_on() -> ThreadId {
    thread::current().id()
}

#[bgtask::test]
async fn a_blocking_function_has_its_own_thread_unless_calls_are_inline() {
    assert_ne!(thread_it_runs_on().await, Ok(thread::current().id()));
    let _inline = testing::inline();
    assert_eq!(thread_it_runs_on().await, Ok(thread::current().id()));
}

#[test]
fn a_dropped_kit_aborts_the_calls_that_it_holds() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let kit = Kit::install().unwrap();
        let _paused = testing::pause_dispatch();
        let held = doubled(1);
        drop(kit);
        assert!(held.is_finished());
        assert_eq!(held.await, Err(TaskError::Aborted));
    });
}
