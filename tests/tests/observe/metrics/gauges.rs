//! Gauges: they return to zero, whatever becomes of the calls, the managers and the recorder.

use crate::support::{SHORT, Scrape, alone, builder};
use bgtask::{Manager, TaskError, background};
use bgtask_tests::{FOREVER, blocking_until, manager_within, runtimes, settle, until};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

#[background(name = "blocked_worker", log = "off")]
async fn blocks_its_worker(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[background(name = "blocked_thread", log = "off")]
fn blocks_its_thread(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[background(name = "never_began", log = "off")]
fn waits_for_a_thread() {}

#[background(name = "stuck_with_a_permit", concurrency = 1, log = "off")]
fn one_at_a_time(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[background(name = "sleeps_on", log = "off")]
async fn ignores_its_token() {
    std::future::pending().await
}

#[test]
fn gauges_return_to_zero_when_calls_are_retired_at_the_deadline() {
    let _turn = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let manager = manager_within(SHORT, &runtime);
    let mut open = Vec::new();
    let mut gate = || {
        let (sender, gate) = mpsc::channel();
        open.push(sender);
        gate
    };
    runtime.block_on(async {
        one_at_a_time(gate());
        until("it runs", || {
            Scrape::now().started_and_ended("stuck_with_a_permit").0 == 1.0
        })
        .await;
        one_at_a_time(gate());
        until("it waits", || {
            Scrape::now().waiting("stuck_with_a_permit") == 1.0
        })
        .await;
        blocks_its_thread(gate());
        until("it runs", || {
            Scrape::now().started_and_ended("blocked_thread").0 == 1.0
        })
        .await;
        waits_for_a_thread();
        ignores_its_token();
        blocks_its_worker(gate());
        until("it runs", || {
            Scrape::now().started_and_ended("blocked_worker").0 == 1.0
        })
        .await;
        let report = manager.shutdown("over").await;
        assert_eq!(report.stragglers.len(), 6);
    });
    let shown = Scrape::now();
    let totals = manager.stats();
    assert_eq!(totals.running, 0);
    assert_eq!(shown.waiting("stuck_with_a_permit"), 0.0);
    assert_eq!(
        shown.finished("stuck_with_a_permit"),
        [("aborted", 1.0), ("abandoned", 1.0)]
    );
    shown.assert_all_ended("stuck_with_a_permit", 1.0);
    assert_eq!(shown.finished("blocked_thread"), [("abandoned", 1.0)]);
    shown.assert_all_ended("blocked_thread", 1.0);
    assert_eq!(shown.finished("blocked_worker"), [("abandoned", 1.0)]);
    shown.assert_all_ended("blocked_worker", 1.0);
    assert_eq!(shown.finished("never_began"), [("aborted", 1.0)]);
    shown.assert_all_ended("never_began", 0.0);
    assert_eq!(shown.finished("sleeps_on"), [("aborted", 1.0)]);
    shown.assert_all_ended("sleeps_on", 1.0);

    drop(open);
    runtime.shutdown_timeout(FOREVER);
    let later = Scrape::now();
    for name in [
        "stuck_with_a_permit",
        "blocked_thread",
        "blocked_worker",
        "never_began",
    ] {
        assert_eq!(later.finished(name), shown.finished(name), "no second end");
        assert_eq!(later.running(name), 0.0);
    }
}

#[background(name = "with_the_runtime", concurrency = 1, log = "off")]
async fn goes_with_the_runtime() {
    std::future::pending().await
}

#[test]
fn gauges_return_to_zero_when_the_runtime_is_dropped() {
    let _turn = alone();
    const NAME: &str = "with_the_runtime";
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        goes_with_the_runtime();
        goes_with_the_runtime();
        until("one runs", || {
            Scrape::now().started_and_ended(NAME).0 == 1.0
        })
        .await;
    });
    let shown = Scrape::now();
    assert_eq!((shown.running(NAME), shown.waiting(NAME)), (2.0, 1.0));
    drop(runtime);
    let shown = Scrape::now();
    assert_eq!((shown.running(NAME), shown.waiting(NAME)), (0.0, 0.0));
    assert_eq!(shown.finished(NAME), [("aborted", 2.0)]);
    shown.assert_all_ended(NAME, 1.0);
    drop(manager);
}

#[background(name = "of_two_managers")]
async fn of_two_managers(open: oneshot::Receiver<()>) {
    let _ = open.await;
}

#[test]
fn two_managers_are_shown_together_and_each_in_its_state() {
    let _turn = alone();
    const NAME: &str = "of_two_managers";
    let count = |state| {
        let shown = Scrape::now();
        shown
            .find("bgtask_managers", &[("state", state)])
            .sum::<f64>()
    };
    blocking_until("those of other tests are gone", || {
        let states = ["running", "stopping", "draining", "over"];
        states.map(count) == [0.0; 4]
    });
    let managers = runtimes().map(|runtime| (manager_within(FOREVER, &runtime), runtime));
    assert_eq!(count("running"), 2.0);
    let mut open = Vec::new();
    for (_, runtime) in &managers {
        let (sender, gate) = oneshot::channel();
        open.push(sender);
        runtime.block_on(async { drop(of_two_managers(gate)) });
    }
    assert_eq!(Scrape::now().running(NAME), 2.0);

    let [(first, first_runtime), (second, second_runtime)] = managers;
    first.request_shutdown("a test");
    blocking_until("it is counted", || count("stopping") == 1.0);
    assert_eq!(count("running"), 1.0);
    drop(open.remove(0));
    first_runtime.block_on(first.shutdown("a test"));
    let shown = Scrape::now();
    assert_eq!(shown.running(NAME), 1.0);
    assert_eq!(
        (count("running"), count("stopping"), count("over")),
        (1.0, 0.0, 1.0)
    );
    drop((first, first_runtime));
    blocking_until("it is gone", || count("over") == 0.0);

    // Dropped while work runs, it is counted until that work ends.
    drop(second);
    assert_eq!((count("running"), count("draining")), (0.0, 1.0));
    assert_eq!(Scrape::now().running(NAME), 1.0);
    drop(open);
    second_runtime.block_on(until("it ends", || Scrape::now().running(NAME) == 0.0));
    drop(second_runtime);
    blocking_until("it is gone", || count("draining") == 0.0);
    Scrape::now().assert_all_ended(NAME, 2.0);
}

#[background(name = "waiting_before_the_recorder", concurrency = 1)]
async fn waiting_before_the_recorder(open: Arc<Notify>) {
    open.notified().await;
}

#[background(name = "before_the_recorder")]
async fn before_the_recorder(open: Arc<Notify>) {
    open.notified().await;
}

#[test]
fn a_late_recorder_receives_the_current_gauges() {
    let _turn = alone();
    const NAME: &str = "before_the_recorder";
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let [open, second_open] = [0, 1].map(|_| Arc::new(Notify::new()));
    let tasks = runtime.block_on(async {
        let tasks = [0, 1].map(|_| before_the_recorder(open.clone()));
        for _ in 0..2 {
            waiting_before_the_recorder(second_open.clone());
        }
        settle().await;
        tasks
    });
    let late = builder().build_recorder();
    let handle = late.handle();
    with_local_recorder(&late, || {
        runtime.block_on(async {
            open.notify_one();
            let [first, second] = tasks;
            first.await.unwrap();
            let shown = Scrape::of(&handle);
            assert_eq!(shown.running(NAME), 1.0, "and not one less than none");
            assert!(shown.managers("running") >= 1.0);
            assert_eq!(shown.waiting("waiting_before_the_recorder"), 1.0);
            let never_waited = [("name", NAME)];
            assert!(!shown.has("bgtask_tasks_waiting", &never_waited));
            open.notify_one();
            second.await.unwrap();
            assert_eq!(Scrape::of(&handle).running(NAME), 0.0);
            before_the_recorder(open.clone()).abort();
            assert_eq!(Scrape::of(&handle).started(NAME), 1.0);
        });
    });
    drop(manager);
}

/// A recorder that panics.
struct Broken;

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        panic!("no counters here")
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("no gauges here")
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("no histograms here")
    }
}

#[background(name = "under_a_broken_recorder")]
async fn under_a_broken_recorder() -> u32 {
    7
}

#[test]
fn a_recorder_that_panics_loses_no_call_and_leaves_the_gauges_correct() {
    let _turn = alone();
    bgtask_tests::record_events();
    let [runtime, _] = runtimes();
    with_local_recorder(&Broken, || {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            assert_eq!(under_a_broken_recorder().await, Ok(7));
            manager.shutdown("end").await;
        });
        assert_eq!(manager.stats().succeeded, 1);
        drop(manager);
    });
    let events = bgtask_tests::recorded(|event| event.message == "observer panicked");
    assert!(
        events
            .iter()
            .any(|event| event.field("observer") == "metrics"),
        "{events:?}"
    );
    let manager = Manager::builder().grace(FOREVER);
    let manager = manager.install_on(runtime.handle()).unwrap();
    runtime.block_on(async { under_a_broken_recorder().await.unwrap() });
    assert_eq!(Scrape::now().running("under_a_broken_recorder"), 0.0);
    drop(manager);
}

#[background(name = "waiting_under_a_broken_recorder", concurrency = 1)]
async fn waiting_under_a_broken_recorder(end: Arc<Notify>) {
    end.notified().await;
}

#[test]
fn a_recorder_that_panics_leaves_the_gauges_of_waiting_calls_correct() {
    const NAME: &str = "waiting_under_a_broken_recorder";
    let _turn = alone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let end = Arc::new(Notify::new());
    with_local_recorder(&Broken, || {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            let runs = waiting_under_a_broken_recorder(end.clone());
            let waits = waiting_under_a_broken_recorder(end.clone());
            let is_aborted = waiting_under_a_broken_recorder(end.clone());
            settle().await;
            is_aborted.abort();
            assert_eq!(is_aborted.await, Err(TaskError::Aborted));
            for task in [runs, waits] {
                end.notify_one();
                task.await.unwrap();
            }
            manager.shutdown("end").await;
        });
    });
    // Reports the gauges to the global recorder.
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        end.notify_one();
        let runs = waiting_under_a_broken_recorder(end.clone());
        let waits = waiting_under_a_broken_recorder(end.clone());
        runs.await.unwrap();
        assert_eq!(Scrape::now().running(NAME), 1.0);
        end.notify_one();
        waits.await.unwrap();
    });
    let shown = Scrape::now();
    assert_eq!((shown.running(NAME), shown.waiting(NAME)), (0.0, 0.0));
    drop(manager);
}

#[background(name = "behind_a_blocked_hook", log = "off")]
fn behind_a_blocked_hook(continues: Arc<AtomicBool>) {
    blocking_until("the test releases it", || continues.load(Ordering::Relaxed));
}

#[test]
fn a_finish_hook_that_is_blocked_at_the_deadline_leaves_the_gauges_correct() {
    const NAME: &str = "behind_a_blocked_hook";
    let _turn = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let continues = Arc::new(AtomicBool::new(false));
    let hooks = continues.clone();
    let manager = Manager::builder()
        .grace(Duration::ZERO)
        .on_finish(move |_| {
            blocking_until("the test releases it", || hooks.load(Ordering::Relaxed));
        })
        .install_on(runtime.handle())
        .unwrap();
    let entered = manager.enter();
    for _ in 0..4 {
        behind_a_blocked_hook(continues.clone());
    }
    drop(entered);
    let report = runtime.block_on(manager.shutdown("end"));
    assert_eq!(report.totals.running, 0);
    let shown = Scrape::now();
    assert_eq!((shown.started(NAME), shown.running(NAME)), (4.0, 0.0));
    continues.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(FOREVER);
}
