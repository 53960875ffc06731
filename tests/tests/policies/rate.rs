//! `rate`: the starts that a window allows.

use crate::support::SECOND;
use bgtask::{Outcome, RefusedReason, TaskError, background};
use bgtask_tests::{
    FOREVER, in_paused_time, on_both_flavors, record_events, recorded_of, settle, until,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

#[background(rate = "3/s")]
async fn three_a_second(at: Arc<Mutex<Vec<Instant>>>) {
    at.lock().unwrap().push(Instant::now());
}

/// Behaviour 31.
#[test]
fn a_window_has_at_most_the_allowed_starts() {
    in_paused_time(async |manager| {
        let at = Arc::default();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..8).map(|_| three_a_second(Arc::clone(&at))).collect();
        settle().await;
        assert_eq!(manager.stats().waiting, 5);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        let starts: Vec<_> = at
            .lock()
            .unwrap()
            .iter()
            .map(|start| (*start - begin).as_millis())
            .collect();
        // A timer fires at a whole millisecond, never early.
        let seconds: Vec<_> = starts.iter().map(|start| start / 1000).collect();
        assert_eq!(seconds, [0, 0, 0, 1, 1, 1, 2, 2]);
    });
}

#[background(rate(limit = "1/m", key = *user, overflow = "refuse"), log = "off")]
async fn one_a_minute_and_user(user: u32) -> u32 {
    user
}

/// Behaviour 31.
#[test]
fn a_rate_applies_per_key_and_refuses_if_requested() {
    in_paused_time(async |manager| {
        assert_eq!(one_a_minute_and_user(1).await, Ok(1));
        assert_eq!(one_a_minute_and_user(2).await, Ok(2));
        let refused = one_a_minute_and_user(1);
        assert!(refused.is_finished());
        assert_eq!(
            refused.await,
            Err(TaskError::Refused(RefusedReason::RateExceeded))
        );
        sleep(60 * SECOND).await;
        assert_eq!(one_a_minute_and_user(1).await, Ok(1));
        assert_eq!((manager.stats().accepted, manager.stats().refused), (3, 1));
    });
}

#[background(rate = "1/m", log = "off")]
async fn one_a_minute(number: u32, at: Arc<Mutex<Vec<(u32, Instant)>>>) {
    at.lock().unwrap().push((number, Instant::now()));
}

/// Behaviour 31.
#[test]
fn a_call_that_does_not_wait_any_more_gives_its_place_back() {
    in_paused_time(async |manager| {
        let at: Arc<Mutex<Vec<_>>> = Arc::default();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..7)
            .map(|number| one_a_minute(number, at.clone()))
            .collect();
        settle().await;
        assert_eq!(manager.stats().waiting, 6);
        // The first of those that wait, which has the timer, and two behind it.
        for aborted in [1, 2, 4] {
            tasks[aborted].abort();
        }
        settle().await;
        assert_eq!(manager.stats().waiting, 3);
        sleep(65 * SECOND).await;
        // Just before its turn, which then comes for the next.
        sleep(50 * SECOND).await;
        tasks[5].cancel();
        settle().await;
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(task.await.is_ok());
        }
        assert_eq!(ended, [true, false, false, true, false, false, true]);
        let starts: Vec<_> = at
            .lock()
            .unwrap()
            .iter()
            .map(|(number, start)| (*number, (*start - begin).as_secs()))
            .collect();
        assert_eq!(starts, [(0, 0), (3, 60), (6, 120)]);
    });
}

#[background(rate = "1/h", log = "off")]
async fn one_an_hour(started: Arc<AtomicUsize>) {
    started.fetch_add(1, Ordering::SeqCst);
}

#[background(rate = "1/h", name = "waits and is logged")]
async fn waits_and_is_logged() {}

/// Behaviour 31.
#[test]
fn calls_that_wait_for_the_rate_until_the_end_are_logged_unless_silent() {
    record_events();
    // In real time: a paused clock would reach their turn before the shutdown starts.
    on_both_flavors(async |manager| {
        (0..2).for_each(|_| drop(waits_and_is_logged()));
        (0..2).for_each(|_| drop(one_an_hour(Arc::default())));
        until("two wait", || manager.stats().waiting == 2).await;
    });
    let logged = |name| {
        let events = recorded_of(name);
        let dropped = events
            .iter()
            .filter(|event| event.message.starts_with("call dropped while it waited"));
        dropped.count()
    };
    assert_eq!(
        (logged("waits and is logged"), logged("::one_an_hour")),
        (2, 0)
    );
}

#[background(rate = "1/h", name = "waits in a burst")]
async fn waits_in_a_burst() {}

/// Behaviour 31.
#[test]
fn a_burst_that_waits_for_the_rate_until_the_end_is_logged_in_few_events_with_its_count() {
    record_events();
    let reports = on_both_flavors(async |manager| {
        (0..300).for_each(|_| drop(waits_in_a_burst()));
        until("all but the first wait", || manager.stats().waiting == 299).await;
    });
    for report in reports {
        // The report counts every call.
        assert_eq!(report.failure_count, 299, "{report}");
        assert_eq!(report.totals.cancelled, 299, "{report}");
    }
    let events = recorded_of("waits in a burst");
    let dropped = events
        .iter()
        .filter(|event| event.message == "call dropped while it waited for the rate limit");
    let counts: Vec<_> = dropped.map(|event| event.field("dropped")).collect();
    // For each flavor the first and the last, and one more for each second that the machine takes to drop them.
    let last = counts.iter().filter(|count| **count == "299").count();
    assert_eq!(last, 2, "{counts:?}");
    assert!(counts.len() < 40, "{counts:?}");
}

/// Behaviour 31.
#[test]
fn a_call_that_waits_for_the_rate_does_not_delay_the_drain_and_is_reported() {
    on_both_flavors(async |manager| {
        let started = Arc::new(AtomicUsize::new(0));
        assert_eq!(one_an_hour(started.clone()).await, Ok(()));
        let waits = one_an_hour(started.clone());
        until("it waits", || manager.stats().waiting == 1).await;
        let report = manager.shutdown("now").await;
        assert!(report.elapsed < FOREVER / 2);
        assert_eq!(waits.await, Err(TaskError::Cancelled));
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert_eq!(report.failures.len(), 1, "{report}");
        assert_eq!(report.failures[0].outcome, Outcome::Cancelled);
        assert!(report.failures[0].message.contains("rate"));
    });
}

#[background(
    coalesce(policy = "trailing"),
    rate(limit = "1/s", overflow = "refuse"),
    log = "off"
)]
async fn trails_at_a_rate(at: Arc<Mutex<Vec<Instant>>>, seconds: u64) {
    at.lock().unwrap().push(Instant::now());
    sleep(Duration::from_millis(seconds)).await;
}

/// Behaviour 31.
#[test]
fn a_run_that_waited_for_another_counts_when_it_starts() {
    in_paused_time(async |_| {
        let at = Arc::default();
        let call = |millis| trails_at_a_rate(Arc::clone(&at), millis);
        let first = call(1900);
        sleep(SECOND).await;
        // It trails the first and starts at 1.9 s, less than a second before 2.5 s.
        let second = call(100);
        assert_eq!((first.await, second.await), (Ok(()), Ok(())));
        sleep(SECOND / 2).await;
        assert_eq!(
            call(0).await,
            Err(TaskError::Refused(RefusedReason::RateExceeded))
        );
        assert_eq!(at.lock().unwrap().len(), 2);
    });
}

#[background(rate = "1/s", concurrency(max = 1, queue = 0), log = "off")]
async fn one_a_second_if_there_is_room(gate: Arc<Notify>) {
    gate.notified().await;
}

/// Behaviour 31.
#[test]
fn a_call_whose_turn_has_come_is_refused_if_no_permit_is_free() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let running = one_a_second_if_there_is_room(gate.clone());
        let waits = one_a_second_if_there_is_room(gate.clone());
        settle().await;
        assert!(!waits.is_finished());
        sleep(2 * SECOND).await;
        assert!(waits.is_finished(), "{:?}", manager.tasks());
        let refused = Err(TaskError::Refused(RefusedReason::QueueFull));
        assert_eq!(waits.await, refused);
        gate.notify_one();
        assert_eq!(running.await, Ok(()));
    });
}
