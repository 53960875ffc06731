//! The end of a test: work drains first, and then the kit drops what it keeps.

use crate::support::{doubled, until_cancelled};
use crate::user;
use bgtask::testing::{self, Kit};
use bgtask::{Outcome, ShutdownToken, TaskError, background};
use bgtask_tests::{FOREVER, runtimes};
use rstest::rstest;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self};
use std::time::Duration;

static ENDED: AtomicU32 = AtomicU32::new(0);

#[background]
async fn ends_after_the_test(token: ShutdownToken) {
    token.cancelled().await;
    // Relaxed: the test reads it after the runtime has joined its workers.
    ENDED.fetch_add(1, Ordering::Relaxed);
}

/// Behaviour 39.
#[test]
fn work_that_still_runs_is_drained_at_the_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let kit = Kit::install().unwrap();
        ends_after_the_test();
        kit.finish().await;
    });
    assert_eq!(ENDED.load(Ordering::Relaxed), 1);
}

/// Behaviour 39.
#[bgtask::test(drain = "500ms")]
async fn a_shutdown_in_a_test_shows_how_code_drains(shutdown: ShutdownToken) {
    let cancelled = until_cancelled();
    let late = user::poll_for_ever();
    testing::started("poll_for_ever").await;
    let report = testing::shutdown().await;
    assert!(shutdown.is_cancelled());
    assert_eq!(cancelled.await, Ok(true));
    assert_eq!(late.await, Err(TaskError::Aborted));
    // The report names it, so it does not fail the test.
    let late: Vec<_> = report.stragglers.iter().map(|late| late.outcome).collect();
    assert_eq!(late, [Outcome::Aborted]);
    assert!(matches!(doubled(1).await, Err(TaskError::Refused(_))));
    testing::assert_not_called("doubled");
}

#[test]
fn tests_side_by_side_have_a_kit_each() {
    let (sender, receiver) = mpsc::channel();
    for times in 1..4 {
        let sender = sender.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let kit = Kit::install().unwrap().drain_within(FOREVER);
                for number in 0..times {
                    doubled(number);
                }
                testing::assert_called("doubled", times as usize);
                testing::idle().await;
                assert_eq!(kit.manager().stats().succeeded, u64::from(times));
                kit.finish().await;
            });
            sender.send(()).unwrap();
        });
    }
    for _ in 1..4 {
        receiver.recv_timeout(FOREVER).unwrap();
    }
}

/// Records the order in which values are dropped.
struct Notes(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Notes {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1);
    }
}

#[background(name = "kit: takes its time")]
async fn takes_its_time(token: ShutdownToken, notes: Notes) {
    token.cancelled().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(notes);
}

/// Behaviour 39.
#[test]
fn kept_values_live_until_the_drain_ends_and_drop_in_reverse_order() {
    for runtime in runtimes() {
        let order: Arc<Mutex<Vec<_>>> = Arc::default();
        let notes = |name| Notes(order.clone(), name);
        runtime.block_on(async {
            let kit = Kit::install().unwrap();
            let _local = notes("local");
            testing::until_drained(notes("kept first"));
            testing::until_drained(notes("kept last"));
            takes_its_time(notes("task"));
            kit.finish().await;
        });
        let expected = ["task", "kept last", "kept first", "local"];
        assert_eq!(*order.lock().unwrap(), expected);
    }
}

/// Behaviour 39.
#[test]
fn a_dropped_kit_drops_its_kept_values() {
    let [runtime, _] = runtimes();
    let order: Arc<Mutex<Vec<_>>> = Arc::default();
    runtime.block_on(async {
        let kit = Kit::install().unwrap();
        testing::until_drained(Notes(order.clone(), "kept"));
        drop(kit);
    });
    assert_eq!(*order.lock().unwrap(), ["kept"]);
}

/// Only one test may use a resource that background work releases when it has drained, such as a port.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static USERS: AtomicU32 = AtomicU32::new(0);

#[background(name = "kit: uses the port")]
async fn uses_the_port(token: ShutdownToken) {
    assert_eq!(
        USERS.fetch_add(1, Ordering::SeqCst),
        0,
        "another test uses it"
    );
    token.cancelled().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        USERS.fetch_sub(1, Ordering::SeqCst),
        1,
        "another test uses it"
    );
}

/// Behaviour 39.
#[rstest]
#[case::first(1)]
#[case::second(2)]
#[case::third(3)]
#[bgtask::test]
async fn tests_that_exclude_each_other_do_so_until_their_work_has_drained(#[case] _number: u32) {
    testing::until_drained(ONE_AT_A_TIME.lock().await);
    uses_the_port();
    testing::started(uses_the_port).await;
}
