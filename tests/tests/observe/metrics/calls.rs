//! Counters and histograms: each call is counted once, by its outcome.

use crate::support::{SHORT, Scrape, alone, recorder};
use bgtask::{Outcome, Phase, ShutdownToken, TaskError, TaskState, background};
use bgtask_tests::{FOREVER, blocking_until, manager_within, runtimes, settle, until};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use std::collections::BTreeMap;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

#[background(name = "of_all_outcomes", timeout = "10ms", log = "off")]
async fn ends_with(outcome: Outcome, token: ShutdownToken) -> io::Result<()> {
    match outcome {
        Outcome::Succeeded => Ok(()),
        Outcome::Failed => Err(io::ErrorKind::NotFound.into()),
        Outcome::Panicked => panic!("on purpose"),
        Outcome::TimedOut => std::future::pending().await,
        _ => unreachable!("{token:?}"),
    }
}

#[background(name = "of_all_outcomes", on_shutdown = "cancel", log = "off")]
async fn never_ends() {
    std::future::pending().await
}

#[test]
fn calls_of_every_outcome_add_up() {
    let _turn = alone();
    const NAME: &str = "of_all_outcomes";
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        ends_with(Outcome::Succeeded).await.unwrap().unwrap();
        let shown = Scrape::now();
        assert_eq!(
            shown.started(NAME),
            1.0,
            "before the caller receives its outcome"
        );
        assert_eq!(shown.finished(NAME), [("succeeded", 1.0)]);
        assert_eq!(shown.running(NAME), 0.0);

        let _ = ends_with(Outcome::Succeeded).await;
        for outcome in [Outcome::Failed, Outcome::Panicked, Outcome::TimedOut] {
            let _ = ends_with(outcome).await;
        }
        let [cancelled, aborted, queued] = [never_ends(), never_ends(), never_ends()];
        queued.abort();
        until("two run", || Scrape::now().started_and_ended(NAME).0 == 7.0).await;
        let shown = Scrape::now();
        assert_eq!((shown.started(NAME), shown.running(NAME)), (8.0, 2.0));
        cancelled.cancel();
        aborted.abort();
        assert_eq!(cancelled.await, Err(TaskError::Cancelled));
        assert_eq!(aborted.await, Err(TaskError::Aborted));
    });
    let shown = Scrape::now();
    let finished = [
        ("succeeded", 2.0),
        ("failed", 1.0),
        ("panicked", 1.0),
        ("timed_out", 1.0),
        ("cancelled", 1.0),
        ("aborted", 2.0),
    ];
    assert_eq!(shown.finished(NAME), finished);
    // All except the call that was aborted while it was queued.
    shown.assert_all_ended(NAME, 7.0);
    assert_eq!(manager.stats().running, 0);
}

#[background(name = "shown_at_zero")]
async fn shown_at_zero() {}

#[test]
fn a_functions_counters_are_there_before_they_count() {
    let _turn = alone();
    let [runtime, _] = runtimes();
    let _manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async { shown_at_zero().await.unwrap() });
    let panicked = [("name", "shown_at_zero"), ("outcome", "panicked")];
    assert_eq!(
        Scrape::now().sum("bgtask_tasks_finished_total", &panicked),
        0.0,
        "so that an alert sees the first panic as an increase"
    );
}

#[background(name = "kept_waiting")]
async fn holds(open: oneshot::Receiver<()>) {
    let _ = open.await;
}

#[background(name = "kept_waiting_plain", concurrency(max = 1))]
fn holds_plain(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[test]
fn the_wait_ends_and_the_duration_starts_with_the_first_instruction() {
    let _turn = alone();
    // The blocking pool has one thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let sums = |name| {
        let shown = Scrape::now();
        let sum = |metric| shown.find(metric, &[("name", name)]).sum::<f64>();
        (
            sum("bgtask_task_wait_seconds_sum"),
            sum("bgtask_task_duration_seconds_sum"),
        )
    };
    runtime.block_on(async {
        let (open, gate) = oneshot::channel();
        let task = holds(gate);
        // This is the only thread of the runtime.
        thread::sleep(SHORT);
        until("it runs", || {
            Scrape::now().started_and_ended("kept_waiting").0 == 1.0
        })
        .await;
        open.send(()).unwrap();
        task.await.unwrap();
        let (waited, ran) = sums("kept_waiting");
        assert!(waited >= 0.1, "{waited}");
        assert!(ran >= 0.0);

        let (open, gate) = mpsc::channel();
        let (taken, is_taken) = oneshot::channel();
        let (leave, left) = mpsc::channel::<()>();
        let other = tokio::task::spawn_blocking(move || {
            let _ = taken.send(());
            let _ = left.recv();
        });
        is_taken.await.unwrap();
        let task = holds_plain(gate);
        settle().await;
        assert_eq!(
            Scrape::now().started_and_ended("kept_waiting_plain").0,
            0.0,
            "it has its permit, and no thread"
        );
        sleep(SHORT).await;
        drop(leave);
        other.await.unwrap();
        until("it runs", || {
            Scrape::now().started_and_ended("kept_waiting_plain").0 == 1.0
        })
        .await;
        sleep(2 * SHORT).await;
        drop(open);
        task.await.unwrap();
        let (waited, ran) = sums("kept_waiting_plain");
        assert!(waited >= 0.1, "{waited}");
        assert!(ran >= 0.2, "{ran}");
        manager.shutdown("end").await;
    });
}

/// A recorder that keeps the descriptions.
#[derive(Default)]
struct Described(Mutex<BTreeMap<String, (Option<Unit>, String)>>);

impl Described {
    fn note(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        let mut own = self.0.lock().unwrap();
        own.insert(key.as_str().to_owned(), (unit, text.into_owned()));
    }
}

impl Recorder for Described {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.note(key, unit, text);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.note(key, unit, text);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.note(key, unit, text);
    }
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[background(name = "described")]
async fn described() {}

#[test]
fn every_metric_is_described_with_its_unit() {
    let _turn = alone();
    let [runtime, _] = runtimes();
    let _manager = manager_within(FOREVER, &runtime);
    let recorder = Described::default();
    with_local_recorder(&recorder, || {
        runtime.block_on(async { described().await.unwrap() });
    });
    let all = recorder.0.into_inner().unwrap();
    for (name, (unit, text)) in &all {
        let expected = if name.ends_with("_seconds") {
            Unit::Seconds
        } else {
            Unit::Count
        };
        assert_eq!(*unit, Some(expected), "{name}");
        assert!(text.ends_with('.'), "{name}: {text}");
    }
    let described: Vec<_> = all.keys().map(String::as_str).collect();
    let page = include_str!("../../../../docs/metrics.md");
    let mut documented: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `bgtask_")?.split_once('`'))
        .map(|(name, _)| format!("bgtask_{name}"))
        .collect();
    documented.sort();
    assert_eq!(described, documented);
}

#[background(name = "holds_up_its_worker", log = "off")]
async fn holds_up_its_worker(until: Phase, token: ShutdownToken) {
    // This is the token that other code awaits; it fires shortly after the phase changes.
    let token = token.cancellation_token();
    blocking_until("the shutdown has come so far", || {
        bgtask::snapshot().phase >= until && token.is_cancelled()
    });
}

#[background(name = "held_up_beyond_the_deadline", log = "off")]
async fn held_up_beyond_the_deadline() {}

#[background(
    name = "held_up_until_it_is_cancelled",
    log = "info",
    on_shutdown = "cancel"
)]
async fn held_up_until_it_is_cancelled() {}

/// Makes `call` while the only worker is blocked until that phase, so that the call ends before its first instruction.
fn ends_before_it_starts(name: &str, grace: Duration, until: Phase, call: fn(), outcome: &str) {
    recorder();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = manager_within(grace, &runtime);
    let entered = manager.enter();
    let holds_up = holds_up_its_worker(until);
    blocking_until("it runs", || {
        let task = manager.tasks().into_iter().next();
        task.is_some_and(|task| task.state == TaskState::Running)
    });
    call();
    drop((holds_up, entered));
    runtime.block_on(manager.shutdown("end"));
    let shown = Scrape::now();
    let of_its = [("name", name), ("outcome", outcome)];
    assert_eq!(shown.sum("bgtask_tasks_finished_total", &of_its), 1.0);
    for histogram in [
        "bgtask_task_wait_seconds_count",
        "bgtask_task_duration_seconds_count",
    ] {
        let started: f64 = shown.find(histogram, &[("name", name)]).sum();
        assert_eq!(started, 0.0, "{histogram} of {name}");
    }
}

#[test]
fn a_call_that_the_shutdown_ends_before_its_first_instruction_is_not_counted_as_started() {
    let _turn = alone();
    bgtask_tests::record_events();
    ends_before_it_starts(
        "held_up_beyond_the_deadline",
        Duration::ZERO,
        Phase::Expired,
        || drop(held_up_beyond_the_deadline()),
        "aborted",
    );
    ends_before_it_starts(
        "held_up_until_it_is_cancelled",
        FOREVER,
        Phase::Draining,
        || drop(held_up_until_it_is_cancelled()),
        "cancelled",
    );
    let events = bgtask_tests::recorded_of("held_up_until_it_is_cancelled");
    assert!(
        events.iter().all(|event| event.message != "task started"),
        "{events:?}"
    );
}

#[background(
    name = "under_stress",
    log = "off",
    concurrency(max = 64, queue = 4, overflow = "drop_oldest")
)]
async fn with_a_queue(way: u32) -> io::Result<()> {
    ends_in_its_way(way).await
}

#[background(name = "under_stress", log = "off")]
async fn at_once(way: u32) -> io::Result<()> {
    ends_in_its_way(way).await
}

#[background(name = "under_stress", log = "off")]
fn on_a_thread(way: u32, token: ShutdownToken) -> io::Result<()> {
    match way % 5 {
        0 => panic!("on purpose"),
        1 => Err(io::ErrorKind::NotFound.into()),
        2 => {
            let _ = token.sleep(FOREVER);
            thread::sleep(Duration::from_millis(u64::from(way % 90)));
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn ends_in_its_way(way: u32) -> io::Result<()> {
    match way % 7 {
        0 => panic!("on purpose"),
        1 => return Err(io::ErrorKind::NotFound.into()),
        2 => std::future::pending().await,
        3 => sleep(Duration::from_millis(u64::from(way % 60))).await,
        4 => tokio::task::yield_now().await,
        _ => {}
    }
    Ok(())
}

#[test]
fn under_stress_every_call_is_counted_once_as_started_and_once_as_ended() {
    let _turn = alone();
    const NAME: &str = "under_stress";
    let mut accepted = 0;
    for round in 0..5 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .max_blocking_threads(3)
            .enable_all()
            .build()
            .unwrap();
        // Long enough for some rounds, and too short for others.
        let manager = manager_within(Duration::from_millis(20 * round), &runtime);
        thread::scope(|threads| {
            for from in 0..3_u32 {
                let manager = &manager;
                threads.spawn(move || {
                    let _entered = manager.enter();
                    for way in (from..600).step_by(3) {
                        let task = with_a_queue(way);
                        match way % 11 {
                            0 => task.abort(),
                            1 => task.cancel(),
                            _ => {}
                        }
                        drop((at_once(way), on_a_thread(way)));
                    }
                });
            }
            runtime.block_on(async {
                until("some have ended", || manager.stats().ended() > 300).await;
                manager.shutdown("a round ends").await
            });
        });
        let totals = manager.stats();
        accepted += totals.accepted;
        assert_eq!(totals.running, 0);
        let shown = Scrape::now();
        assert_eq!(shown.started(NAME), accepted as f64);
        let finished: f64 = shown.finished(NAME).iter().map(|(_, count)| count).sum();
        assert_eq!(finished, accepted as f64, "{:?}", shown.finished(NAME));
        assert_eq!((shown.running(NAME), shown.waiting(NAME)), (0.0, 0.0));
        runtime.shutdown_timeout(FOREVER);
        let (started, ended) = Scrape::now().started_and_ended(NAME);
        assert_eq!(started, ended);
    }
}

#[test]
fn a_handler_may_still_be_used_across_catch_unwind() {
    fn may<T: UnwindSafe + RefUnwindSafe>(_: &T) {}
    bgtask::handlers().into_iter().for_each(may);
}
