//! The effects of policies and schedules, counted by their reason.

use crate::support::{Scrape, alone};
use bgtask::{RefusedReason, State, TaskError, background};
use bgtask_tests::{FOREVER, in_paused_time, manager_within, runtimes, settle, until};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

#[background(
    name = "in_a_queue",
    concurrency(max = 1, queue = 1, overflow = "drop_oldest")
)]
async fn waits_in_a_queue(open: Arc<Notify>) {
    open.notified().await;
}

#[background(
    name = "full",
    concurrency(max = 1, queue = 0, overflow = "refuse"),
    log = "off"
)]
async fn is_full(open: Arc<Notify>) {
    open.notified().await;
}

#[background(name = "rated", rate(limit = "1/h", overflow = "refuse"), log = "off")]
async fn is_rated() {}

#[background(name = "rated_and_waiting", rate = "1/h", log = "off")]
async fn waits_for_its_rate() {}

#[derive(Clone)]
struct Nowhere;

#[background(name = "stateless", log = "off")]
async fn lacks_its_state(State(_nowhere): State<Nowhere>) {}

#[background(name = "joined", coalesce(policy = "join"))]
async fn is_joined(open: Arc<Notify>) {
    open.notified().await;
}

#[background(name = "skipped", coalesce(policy = "skip"))]
async fn is_skipped(open: Arc<Notify>) {
    open.notified().await;
}

#[background(name = "replaced", coalesce(policy = "replace"))]
async fn is_replaced(open: Arc<Notify>) {
    open.notified().await;
}

#[background(name = "retried", retry(max = 3, base = "1s"), log = "off")]
async fn is_retried() -> io::Result<()> {
    Err(io::ErrorKind::TimedOut.into())
}

#[background(name = "after_the_end", log = "off")]
async fn is_called_after_the_end() {}

#[test]
fn effects_of_policies_are_counted_by_their_reason() {
    let _turn = alone();
    let report = in_paused_time(async |manager| {
        let open = Arc::new(Notify::new());
        // The second waits; the third displaces it.
        let tasks = [0, 1, 2].map(|_| waits_in_a_queue(open.clone()));
        settle().await;
        let shown = Scrape::now();
        assert_eq!(shown.waiting("in_a_queue"), 1.0);
        assert_eq!(shown.running("in_a_queue"), 2.0);
        let dropped = [("name", "in_a_queue"), ("reason", "dropped_from_queue")];
        assert_eq!(shown.sum("bgtask_tasks_dropped_total", &dropped), 1.0);
        open.notify_one();
        settle().await;
        assert_eq!(Scrape::now().waiting("in_a_queue"), 0.0);
        open.notify_one();
        for task in tasks {
            let _ = task.await;
        }
        let shown = Scrape::now();
        assert_eq!(
            shown.finished("in_a_queue"),
            [("succeeded", 2.0), ("cancelled", 1.0)]
        );
        shown.assert_all_ended("in_a_queue", 2.0);

        let runs = is_full(open.clone());
        let refused = is_full(open.clone());
        let reason = RefusedReason::QueueFull;
        assert_eq!(refused.await, Err(TaskError::Refused(reason)));
        settle().await;
        open.notify_one();
        runs.await.unwrap();
        is_rated().await.unwrap();
        let _ = is_rated().await;
        let _ = lacks_its_state().await;
        let shown = Scrape::now();
        for (name, reason) in [
            ("full", "queue_full"),
            ("rated", "rate_exceeded"),
            ("stateless", "missing_state"),
        ] {
            let labels = [("name", name), ("reason", reason)];
            assert_eq!(shown.sum("bgtask_calls_refused_total", &labels), 1.0);
        }
        shown.assert_all_ended("full", 1.0);
        assert!(!shown.has("bgtask_tasks_started_total", &[("name", "stateless")]));

        let runs = [is_joined(open.clone()), is_joined(open.clone())];
        let skips = [is_skipped(open.clone()), is_skipped(open.clone())];
        let replaces = [is_replaced(open.clone()), is_replaced(open.clone())];
        settle().await;
        open.notify_waiters();
        for task in runs.into_iter().chain(skips).chain(replaces) {
            let _ = task.await;
        }
        let shown = Scrape::now();
        for name in ["joined", "skipped"] {
            let labels = [("name", name), ("how", name)];
            assert_eq!(shown.sum("bgtask_calls_coalesced_total", &labels), 1.0);
            shown.assert_all_ended(name, 1.0);
        }
        let labels = [("name", "replaced"), ("reason", "replaced")];
        assert_eq!(shown.sum("bgtask_tasks_dropped_total", &labels), 1.0);
        assert_eq!(
            shown.finished("replaced"),
            [("succeeded", 1.0), ("cancelled", 1.0)]
        );

        let _ = is_retried().await;
        let shown = Scrape::now();
        assert_eq!(
            shown.sum("bgtask_task_retries_total", &[("name", "retried")]),
            2.0
        );
        shown.assert_all_ended("retried", 1.0);
        let labels = [("name", "retried"), ("outcome", "failed")];
        assert_eq!(
            shown.sum("bgtask_task_duration_seconds_count", &labels),
            1.0
        );

        manager.shutdown("end").await;
        let _ = is_called_after_the_end().await;
    });
    let shown = Scrape::now();
    let refused = [("name", "after_the_end"), ("reason", "shut_down")];
    assert_eq!(shown.sum("bgtask_calls_refused_total", &refused), 1.0);
    assert_eq!(report.totals.running, 0);
}

#[test]
fn a_call_that_waits_for_its_rate_when_draining_starts_is_counted_as_dropped() {
    let _turn = alone();
    const NAME: &str = "rated_and_waiting";
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        waits_for_its_rate().await.unwrap();
        waits_for_its_rate();
        settle().await;
        let shown = Scrape::now();
        assert_eq!((shown.waiting(NAME), shown.running(NAME)), (1.0, 1.0));
        manager.shutdown("end").await;
    });
    let shown = Scrape::now();
    let dropped = [("name", NAME), ("reason", "cancelled")];
    assert_eq!(shown.sum("bgtask_tasks_dropped_total", &dropped), 1.0);
    assert_eq!(shown.waiting(NAME), 0.0);
    assert_eq!(
        shown.finished(NAME),
        [("succeeded", 1.0), ("cancelled", 1.0)]
    );
    shown.assert_all_ended(NAME, 1.0);
}

#[derive(Clone)]
struct Tardy;

#[background(name = "tardy", every = "10s", missed = "skip")]
async fn is_tardy(State(_tardy): State<Tardy>) {
    sleep(Duration::from_secs(25)).await;
}

#[derive(Clone)]
struct Unsteady;

#[background(
    name = "unsteady",
    on_start,
    restart(max = 2, window = "1h"),
    log = "off"
)]
async fn is_unsteady(State(_unsteady): State<Unsteady>) {
    panic!("again");
}

#[test]
fn missed_ticks_and_restarts_are_counted() {
    let _turn = alone();
    in_paused_time(async |manager| {
        manager.provide(Tardy);
        manager.provide(Unsteady);
        manager.start_schedules();
        // Runs from 10 to 35, and from 40 to 65: 20, 30, 50 and 60 are missed.
        sleep(Duration::from_secs(68)).await;
        let shown = Scrape::now();
        assert_eq!(
            shown.sum("bgtask_schedule_missed_total", &[("name", "tardy")]),
            4.0
        );
        assert_eq!(shown.started("tardy"), 2.0);
        until("it is given up", || {
            let schedules = manager.schedules();
            let mut own = schedules
                .iter()
                .filter(|schedule| schedule.name() == "unsteady");
            own.all(|schedule| schedule.info().has_ended)
        })
        .await;
        let shown = Scrape::now();
        assert_eq!(
            shown.sum("bgtask_schedule_restarts_total", &[("name", "unsteady")]),
            2.0
        );
        assert_eq!(shown.started("unsteady"), 3.0);
    });
}
