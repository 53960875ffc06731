//! `coalesce`: calls with one key join, skip, replace or trail the run in flight.

use crate::support::{Gauge, OnDrop, Runs, adds_up, joins};
use bgtask::{Outcome, RefusedReason, ShutdownToken, TaskError, TaskHandle, background};
use bgtask_tests::{in_paused_time, on_both_flavors, settle, until};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use tokio::sync::Notify;

/// Behaviour 29.
#[test]
fn calls_with_one_key_join_the_run_in_flight_and_share_its_outcome() {
    in_paused_time(async |manager| {
        let runs = Runs::default();
        let tasks: Vec<_> = (0..5).map(|_| joins("a".into(), runs.clone())).collect();
        let other = joins("b".into(), runs.clone());
        settle().await;
        assert_eq!(runs.count(), 2);
        assert_eq!(
            (manager.stats().accepted, manager.stats().coalesced),
            (2, 4)
        );
        assert!(tasks.iter().all(|task| !task.is_finished()));
        runs.gate.notify_waiters();
        for task in tasks {
            assert_eq!(task.await, Ok(1));
        }
        assert_eq!(other.await, Ok(2));

        // The run has ended, so the next call has its own.
        let next = joins("a".into(), runs.clone());
        settle().await;
        runs.gate.notify_waiters();
        assert_eq!(next.await, Ok(3));
        adds_up(manager);
    });
}

#[background(coalesce, log = "off")]
async fn joins_what_cannot_be_copied(fails: bool, runs: Runs) -> io::Result<u32> {
    let number = runs.run().await;
    if fails {
        Err(io::Error::other("the disk is full"))
    } else {
        Ok(number)
    }
}

/// Behaviour 29.
#[test]
fn joined_calls_share_the_value_of_a_result_and_the_text_of_an_error_that_cannot_be_cloned() {
    in_paused_time(async |_| {
        let runs = Runs::default();
        for fails in [false, true] {
            let leader = joins_what_cannot_be_copied(fails, runs.clone());
            let joined = joins_what_cannot_be_copied(fails, runs.clone());
            settle().await;
            runs.gate.notify_waiters();
            match (leader.await, joined.await) {
                (Ok(Ok(1)), Ok(Ok(1))) if !fails => {}
                (Ok(Err(error)), Err(TaskError::LeaderFailed { message, .. })) if fails => {
                    assert_eq!(error.to_string(), "the disk is full");
                    assert_eq!(message, "the disk is full");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[background(coalesce, log = "off")]
async fn leads_to_a_panic(gate: Arc<Notify>, panics: bool) -> u32 {
    gate.notified().await;
    assert!(!panics, "the leader");
    7
}

/// Behaviour 29.
#[test]
fn a_leader_that_panics_or_is_aborted_poisons_nothing() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let leader = leads_to_a_panic(gate.clone(), true);
        let joined = leads_to_a_panic(gate.clone(), true);
        settle().await;
        gate.notify_one();
        for task in [leader, joined] {
            match task.await {
                Err(TaskError::Panicked {
                    message, location, ..
                }) => {
                    assert_eq!(message, "the leader");
                    assert!(location.is_some());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(manager.stats().panicked, 1);

        let leader = leads_to_a_panic(gate.clone(), false);
        settle().await;
        leader.abort();
        // No call joins a run that is about to be dropped.
        let next = leads_to_a_panic(gate.clone(), false);
        assert_eq!(leader.await, Err(TaskError::Aborted));
        settle().await;
        gate.notify_one();
        assert_eq!(next.await, Ok(7));
    });
}

/// Behaviour 29.
#[test]
fn aborting_one_call_does_not_end_the_run_for_calls_that_joined_it() {
    in_paused_time(async |manager| {
        let runs = Runs::default();
        let mut leader = joins("a".into(), runs.clone());
        let joined = joins("a".into(), runs.clone());
        let other = joins("b".into(), runs.clone());
        // A call without a waiter still counts.
        drop(joins("b".into(), runs.clone()));
        settle().await;
        assert_eq!((runs.count(), manager.stats().coalesced), (2, 2));

        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut leader).poll(&mut cx).is_pending());
        assert!(!leader.is_finished());
        leader.abort();
        leader.abort();
        assert!(woken.0.load(Ordering::SeqCst));
        assert!(leader.is_finished());
        assert_eq!(leader.await, Err(TaskError::Aborted));
        other.abort();
        drop(other);
        settle().await;
        assert_eq!(manager.stats().running, 2);

        runs.gate.notify_waiters();
        assert_eq!(joined.await, Ok(1));
        settle().await;
        let stats = manager.stats();
        assert_eq!((stats.succeeded, stats.aborted), (2, 0));
        adds_up(manager);
    });
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[background(coalesce, log = "off")]
async fn joins_and_heeds_its_token(token: ShutdownToken, runs: Runs) -> u32 {
    let number = runs.run().await;
    if token.is_cancelled() { 0 } else { number }
}

/// Behaviour 29.
#[test]
fn no_call_joins_a_cancelled_run() {
    in_paused_time(async |manager| {
        let runs = Runs::default();
        let first = joins_and_heeds_its_token(runs.clone());
        settle().await;
        first.cancel();
        let second = joins_and_heeds_its_token(runs.clone());
        let third = joins_and_heeds_its_token(runs.clone());
        settle().await;
        assert_eq!((runs.count(), manager.stats().coalesced), (1, 1));
        runs.gate.notify_waiters();
        assert_eq!(first.await, Ok(0));
        settle().await;
        runs.gate.notify_waiters();
        assert_eq!(second.await, Ok(2));
        assert_eq!(third.await, Ok(2));
    });
}

#[derive(Debug, PartialEq)]
struct PanicsWhenCloned;

impl Clone for PanicsWhenCloned {
    fn clone(&self) -> Self {
        panic!("a clone");
    }
}

#[background(coalesce, log = "off")]
async fn cannot_really_be_shared(gate: Arc<Notify>) -> PanicsWhenCloned {
    gate.notified().await;
    PanicsWhenCloned
}

/// Behaviour 29.
#[test]
fn an_output_that_panics_while_it_is_cloned_does_not_fail_the_run() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let leader = cannot_really_be_shared(gate.clone());
        let joined = cannot_really_be_shared(gate.clone());
        // No one awaits this call, so nothing is cloned for it.
        drop(cannot_really_be_shared(gate.clone()));
        settle().await;
        gate.notify_one();
        assert_eq!(leader.await, Ok(PanicsWhenCloned));
        assert!(joined.is_finished());
        match joined.await {
            Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "a clone"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            (manager.stats().succeeded, manager.stats().panicked),
            (1, 0)
        );
    });
}

#[background(coalesce(policy = "skip"), log = "off")]
async fn skips(runs: Runs) -> u32 {
    runs.run().await
}

/// Behaviour 29.
#[test]
fn a_skipped_call_resolves_as_skipped_and_is_no_failure() {
    let report = in_paused_time(async |manager| {
        let runs = Runs::default();
        let first = skips(runs.clone());
        let second = skips(runs.clone());
        assert!(second.is_finished());
        assert_eq!(second.await, Err(TaskError::Skipped));
        settle().await;
        runs.gate.notify_waiters();
        assert_eq!(first.await, Ok(1));
        let stats = manager.stats();
        assert_eq!((stats.accepted, stats.coalesced, stats.failed), (1, 1, 0));
        manager.request_shutdown("so that the report keeps what fails");
    });
    assert!(report.is_clean());
}

#[background(coalesce(key = *key, policy = "replace"), log = "off")]
async fn replaces(key: u32, runs: Runs, gauge: Gauge, dropped: OnDrop) -> u32 {
    let _inside = gauge.enter();
    let number = runs.run().await;
    drop((key, dropped));
    number
}

/// Behaviour 29.
#[test]
fn a_later_call_replaces_the_one_in_flight() {
    in_paused_time(async |manager| {
        let (runs, gauge) = (Runs::default(), Gauge::default());
        let drops: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let call = |number: usize| {
            replaces(
                1,
                runs.clone(),
                gauge.clone(),
                OnDrop(drops[number].clone()),
            )
        };
        let first = call(0);
        settle().await;
        // Two calls at once: the second never starts.
        let (second, third) = (call(1), call(2));
        settle().await;
        assert_eq!(first.await, Err(TaskError::Replaced));
        assert_eq!(second.await, Err(TaskError::Replaced));
        assert!(drops[0].load(Ordering::SeqCst) && drops[1].load(Ordering::SeqCst));
        assert_eq!((runs.count(), gauge.now()), (2, 1));
        runs.gate.notify_waiters();
        assert_eq!(third.await, Ok(2));
        assert_eq!(gauge.most(), 1);
        let stats = manager.stats();
        assert_eq!((stats.cancelled, stats.succeeded), (2, 1));
        adds_up(manager);
    });
}

#[background(
    coalesce(policy = "replace"),
    rate(limit = "1/h", overflow = "refuse"),
    log = "off"
)]
async fn replaces_once_an_hour(runs: Runs) -> u32 {
    runs.run().await
}

#[background(coalesce(policy = "replace", key = *key), concurrency(max = 1, queue = 0), log = "off")]
async fn replaces_if_there_is_room(key: u32, runs: Runs) -> u32 {
    let _ = key;
    runs.run().await
}

/// Behaviour 29.
#[test]
fn a_refused_call_replaces_no_other() {
    in_paused_time(async |manager| {
        let runs = Runs::default();
        let first = replaces_once_an_hour(runs.clone());
        settle().await;
        assert_eq!(
            replaces_once_an_hour(runs.clone()).await,
            Err(TaskError::Refused(RefusedReason::RateExceeded))
        );
        runs.gate.notify_one();
        assert_eq!(first.await, Ok(1));

        // A call that replaces another is not refused for lack of room, even if a third call has taken the free permit.
        let first = replaces_if_there_is_room(1, runs.clone());
        settle().await;
        let quick = Arc::new(Mutex::new(None));
        let (taken, gate) = (quick.clone(), runs.clone());
        bgtask::on_finish(move |task| {
            if task.outcome == Outcome::Cancelled {
                *taken.lock().unwrap() = Some(replaces_if_there_is_room(2, gate.clone()));
            }
        });
        let second = replaces_if_there_is_room(1, runs.clone());
        settle().await;
        assert_eq!(first.await, Err(TaskError::Replaced));
        assert_eq!((runs.count(), manager.stats().waiting), (3, 1));
        let quick = quick.lock().unwrap().take().unwrap();
        runs.gate.notify_one();
        assert_eq!(quick.await, Ok(3));
        settle().await;
        runs.gate.notify_one();
        assert_eq!(second.await, Ok(4));
    });
}

#[background(coalesce(policy = "replace"), log = "off")]
fn replaces_blocking(token: ShutdownToken, gauge: Gauge, number: u32, last: u32) -> u32 {
    let _inside = gauge.enter();
    if number != last {
        token.wait();
    }
    number
}

/// Behaviour 29.
#[test]
fn the_token_of_a_replaced_blocking_function_fires_and_its_end_is_awaited() {
    on_both_flavors(async |_| {
        let gauge = Gauge::default();
        let first = replaces_blocking(gauge.clone(), 1, 2);
        until("the first has started", || gauge.now() == 1).await;
        let second = replaces_blocking(gauge.clone(), 2, 2);
        assert_eq!(second.await, Ok(2));
        assert_eq!(first.await, Err(TaskError::Replaced));
        assert_eq!(gauge.most(), 1);
    });
}

#[background(coalesce(policy = "replace"), rate = "1/h", log = "off")]
async fn replaces_at_a_rate(number: u32) -> u32 {
    number
}

/// Behaviour 29.
#[test]
fn a_call_that_is_replaced_while_it_waits_for_its_rate_never_starts() {
    in_paused_time(async |_| {
        assert_eq!(replaces_at_a_rate(1).await, Ok(1));
        let second = replaces_at_a_rate(2);
        settle().await;
        let third = replaces_at_a_rate(3);
        settle().await;
        assert!(second.is_finished(), "it need not wait for the hour");
        assert_eq!(second.await, Err(TaskError::Replaced));
        // The window has kept a start for the replaced call.
        assert_eq!(third.await, Ok(3));
    });
}

#[background(coalesce(policy = "replace"), log = "off")]
fn replaces_a_blocking_call(hold: Option<(Arc<AtomicBool>, mpsc::Receiver<()>)>) {
    if let Some((started, gate)) = hold {
        started.store(true, Ordering::SeqCst);
        let _ = gate.recv();
    }
}

/// Behaviour 29.
#[test]
fn a_call_that_is_replaced_while_it_waits_resolves_at_once() {
    on_both_flavors(async |_| {
        let (open, gate) = mpsc::channel();
        let started = Arc::new(AtomicBool::new(false));
        let first = replaces_a_blocking_call(Some((started.clone(), gate)));
        until("the first has started", || started.load(Ordering::SeqCst)).await;
        let second = replaces_a_blocking_call(None);
        let third = replaces_a_blocking_call(None);
        until("the second has resolved", || second.is_finished()).await;
        assert!(!first.is_finished() && !third.is_finished());
        assert_eq!(second.await, Err(TaskError::Replaced));
        drop(open);
        assert_eq!(third.await, Ok(()));
        assert_eq!(first.await, Err(TaskError::Replaced));
    });
}

#[background(coalesce(key = key, policy = "trailing"), log = "off")]
async fn trails(key: &'static str, runs: Runs, gauge: Gauge) -> u32 {
    let _inside = gauge.enter();
    let _ = key;
    runs.run().await
}

/// Behaviour 29.
#[test]
fn one_run_trails_no_matter_how_many_calls_come_meanwhile() {
    in_paused_time(async |manager| {
        let (runs, gauge) = (Runs::default(), Gauge::default());
        let call = || trails("a", runs.clone(), gauge.clone());
        let first = call();
        settle().await;
        let trailing: Vec<_> = (0..10).map(|_| call()).collect();
        settle().await;
        assert_eq!((runs.count(), manager.stats().waiting), (1, 1));
        runs.gate.notify_waiters();
        assert_eq!(first.await, Ok(1));
        settle().await;
        // It has started, so a later call may have newer input.
        let last = call();
        settle().await;
        runs.gate.notify_waiters();
        for task in trailing {
            assert_eq!(task.await, Ok(2));
        }
        settle().await;
        runs.gate.notify_waiters();
        assert_eq!(last.await, Ok(3));
        assert_eq!((runs.count(), gauge.most()), (3, 1));
        assert_eq!(manager.stats().coalesced, 9);
    });
}

#[background(coalesce(policy = "trailing"), log = "off")]
async fn trails_into_the_drain(token: ShutdownToken, count: Arc<AtomicU32>) {
    count.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

/// Behaviour 29.
#[test]
fn a_trailing_run_that_was_accepted_is_started_and_drained() {
    on_both_flavors(async |manager| {
        let count = Arc::new(AtomicU32::new(0));
        let first = trails_into_the_drain(count.clone());
        until("the first has started", || {
            count.load(Ordering::SeqCst) == 1
        })
        .await;
        let trailing = trails_into_the_drain(count.clone());
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!((first.await, trailing.await), (Ok(()), Ok(())));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    });
}

#[background(coalesce, log = "off")]
async fn joins_by_instance<T: Default + Clone + Send + Sync + 'static>(runs: Runs) -> T {
    runs.run().await;
    T::default()
}

/// Behaviour 29.
#[test]
fn instances_of_a_generic_function_do_not_join_one_another() {
    in_paused_time(async |_| {
        let runs = Runs::default();
        let number = joins_by_instance::<u32>(runs.clone());
        let text = joins_by_instance::<String>(runs.clone());
        settle().await;
        assert_eq!(runs.count(), 2);
        runs.gate.notify_waiters();
        assert_eq!(number.await, Ok(0));
        assert_eq!(text.await, Ok(String::new()));
    });
}

/// Behaviour 29.
#[test]
fn concurrent_callers_have_one_leader() {
    on_both_flavors(async |manager| {
        for _ in 0..50 {
            let runs = Runs::default();
            let before = manager.stats().coalesced;
            let callers: Vec<_> = (0..8)
                .map(|_| {
                    let runs = runs.clone();
                    tokio::spawn(async move { vec![joins("stress".into(), runs)] })
                })
                .collect();
            let mut tasks: Vec<TaskHandle<u32>> = Vec::new();
            for caller in callers {
                tasks.extend(caller.await.unwrap());
            }
            until("it has started", || runs.count() > 0).await;
            runs.gate.notify_one();
            for task in tasks {
                assert_eq!(task.await, Ok(1));
            }
            assert_eq!(manager.stats().coalesced - before, 7);
        }
    });
}

#[background(coalesce, rate = "1/h", log = "off")]
async fn joins_an_hourly_run() -> u32 {
    7
}

/// Behaviour 29.
#[test]
fn calls_that_joined_a_run_that_never_started_resolve_with_its_reason() {
    on_both_flavors(async |manager| {
        assert_eq!(joins_an_hourly_run().await, Ok(7));
        let leader = joins_an_hourly_run();
        let joined = joins_an_hourly_run();
        assert_eq!(manager.stats().coalesced, 1);
        leader.cancel();
        assert_eq!(leader.await, Err(TaskError::Cancelled));
        assert_eq!(joined.await, Err(TaskError::Cancelled));
    });
}
