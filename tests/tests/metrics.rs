//! The feature `metrics`: what a scrape shows adds up, whatever becomes of the calls. One recorder serves the whole process, so
//! each test has functions under names of its own.

use bgtask::{
    Manager, Outcome, Phase, RefusedReason, ShutdownToken, State, TaskError, TaskState, background,
};
use bgtask_tests::{
    FOREVER, blocking_until, in_paused_time, manager_within, runtimes, settle, until,
};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::collections::BTreeMap;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

const SHORT: Duration = Duration::from_millis(100);

/// The names of outcomes, as a label says them.
const OUTCOMES: [&str; 7] = [
    "succeeded",
    "failed",
    "panicked",
    "timed_out",
    "cancelled",
    "aborted",
    "abandoned",
];

fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets(&[0.01, 1.0, 60.0])
        .unwrap()
}

/// Sets the recorder of the whole process.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| builder().install_recorder().unwrap())
}

/// What one scrape shows: of each series its name, its labels and its value.
struct Scrape(Vec<(String, BTreeMap<String, String>, f64)>);

impl Scrape {
    fn of(handle: &PrometheusHandle) -> Self {
        let text = handle.render();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
                let (key, value) = label.split_once('=')?;
                Some((key.to_owned(), value.trim_matches('"').to_owned()))
            });
            Some((name.to_owned(), labels.collect(), value.parse().unwrap()))
        });
        Self(series.collect())
    }

    fn now() -> Self {
        Self::of(recorder())
    }

    fn find(&self, metric: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let fits = move |own: &BTreeMap<String, String>| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| own.get(*key).is_some_and(|own| own == value))
        };
        let found = self.0.iter();
        found.filter_map(move |(name, own, value)| (name == metric && fits(own)).then_some(*value))
    }

    /// The sum over all series with these labels, of which there have to be some.
    fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        assert!(
            self.has(metric, labels),
            "there is no {metric} with {labels:?}"
        );
        self.find(metric, labels).sum()
    }

    fn has(&self, metric: &str, labels: &[(&str, &str)]) -> bool {
        self.find(metric, labels).next().is_some()
    }

    fn started(&self, name: &str) -> f64 {
        self.sum("bgtask_tasks_started_total", &[("name", name)])
    }

    fn running(&self, name: &str) -> f64 {
        self.sum("bgtask_tasks_running", &[("name", name)])
    }

    fn waiting(&self, name: &str) -> f64 {
        self.sum("bgtask_tasks_waiting", &[("name", name)])
    }

    /// How many ended in each way, but for those in which none did.
    fn finished(&self, name: &str) -> Vec<(&'static str, f64)> {
        let each = OUTCOMES.iter().map(|&outcome| {
            let labels = [("name", name), ("outcome", outcome)];
            (outcome, self.sum("bgtask_tasks_finished_total", &labels))
        });
        each.filter(|(_, count)| *count > 0.0).collect()
    }

    /// How many have begun, and how many of those have ended.
    fn begun_and_ended(&self, name: &str) -> (f64, f64) {
        let count = |metric| self.find(metric, &[("name", name)]).sum();
        (
            count("bgtask_task_wait_seconds_count"),
            count("bgtask_task_duration_seconds_count"),
        )
    }

    fn managers(&self, state: &str) -> f64 {
        self.sum("bgtask_managers", &[("state", state)])
    }

    /// That what started has ended, and is shown so.
    fn assert_all_ended(&self, name: &str, began: f64) {
        let finished: f64 = self.finished(name).iter().map(|(_, count)| count).sum();
        assert_eq!(finished, self.started(name), "{name}");
        assert_eq!(self.running(name), 0.0, "{name}");
        assert_eq!(self.begun_and_ended(name), (began, began), "{name}");
    }
}

/// Managers come and go with each test: those that count them take turns with the others.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    recorder();
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[background(name = "of_all_outcomes", timeout = "10ms", log = "off")]
async fn comes_to(outcome: Outcome, token: ShutdownToken) -> io::Result<()> {
    match outcome {
        Outcome::Succeeded => Ok(()),
        Outcome::Failed => Err(io::ErrorKind::NotFound.into()),
        Outcome::Panicked => panic!("as it was told"),
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
        comes_to(Outcome::Succeeded).await.unwrap().unwrap();
        let shown = Scrape::now();
        assert_eq!(
            shown.started(NAME),
            1.0,
            "before its end is told to the caller"
        );
        assert_eq!(shown.finished(NAME), [("succeeded", 1.0)]);
        assert_eq!(shown.running(NAME), 0.0);

        let _ = comes_to(Outcome::Succeeded).await;
        for outcome in [Outcome::Failed, Outcome::Panicked, Outcome::TimedOut] {
            let _ = comes_to(outcome).await;
        }
        let [cancelled, aborted, queued] = [never_ends(), never_ends(), never_ends()];
        queued.abort();
        until("two run", || Scrape::now().begun_and_ended(NAME).0 == 7.0).await;
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
    // All but the one that was aborted while it was queued.
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

#[background(name = "stuck_worker", log = "off")]
async fn blocks_its_worker(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[background(name = "stuck_thread", log = "off")]
fn blocks_its_thread(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[background(name = "never_began", log = "off")]
fn waits_for_a_thread() {}

#[background(name = "stuck_in_line", concurrency = 1, log = "off")]
fn one_at_a_time(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[background(name = "sleeps_on", log = "off")]
async fn ignores_its_token() {
    std::future::pending().await
}

#[test]
fn gauges_come_back_to_zero_when_calls_are_struck_out_at_the_deadline() {
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
            Scrape::now().begun_and_ended("stuck_in_line").0 == 1.0
        })
        .await;
        one_at_a_time(gate());
        until("it waits", || Scrape::now().waiting("stuck_in_line") == 1.0).await;
        blocks_its_thread(gate());
        until("it runs", || {
            Scrape::now().begun_and_ended("stuck_thread").0 == 1.0
        })
        .await;
        waits_for_a_thread();
        ignores_its_token();
        blocks_its_worker(gate());
        until("it runs", || {
            Scrape::now().begun_and_ended("stuck_worker").0 == 1.0
        })
        .await;
        let report = manager.shutdown("over").await;
        assert_eq!(report.stragglers.len(), 6);
    });
    let shown = Scrape::now();
    let totals = manager.stats();
    assert_eq!(totals.running, 0);
    assert_eq!(shown.waiting("stuck_in_line"), 0.0);
    assert_eq!(
        shown.finished("stuck_in_line"),
        [("aborted", 1.0), ("abandoned", 1.0)]
    );
    shown.assert_all_ended("stuck_in_line", 1.0);
    assert_eq!(shown.finished("stuck_thread"), [("abandoned", 1.0)]);
    shown.assert_all_ended("stuck_thread", 1.0);
    assert_eq!(shown.finished("stuck_worker"), [("abandoned", 1.0)]);
    shown.assert_all_ended("stuck_worker", 1.0);
    assert_eq!(shown.finished("never_began"), [("aborted", 1.0)]);
    shown.assert_all_ended("never_began", 0.0);
    assert_eq!(shown.finished("sleeps_on"), [("aborted", 1.0)]);
    shown.assert_all_ended("sleeps_on", 1.0);

    drop(open);
    runtime.shutdown_timeout(FOREVER);
    let later = Scrape::now();
    for name in [
        "stuck_in_line",
        "stuck_thread",
        "stuck_worker",
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
fn gauges_come_back_to_zero_when_the_runtime_is_dropped() {
    let _turn = alone();
    const NAME: &str = "with_the_runtime";
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        goes_with_the_runtime();
        goes_with_the_runtime();
        until("one runs", || Scrape::now().begun_and_ended(NAME).0 == 1.0).await;
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

#[background(name = "kept_waiting")]
async fn holds(open: oneshot::Receiver<()>) {
    let _ = open.await;
}

#[background(name = "kept_waiting_plain", concurrency(max = 1))]
fn holds_plain(open: mpsc::Receiver<()>) {
    let _ = open.recv();
}

#[test]
fn the_wait_ends_with_the_first_instruction_and_the_duration_begins() {
    let _turn = alone();
    // One thread in the blocking pool.
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
        // The runtime has one thread, and this is it.
        thread::sleep(SHORT);
        until("it runs", || {
            Scrape::now().begun_and_ended("kept_waiting").0 == 1.0
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
            Scrape::now().begun_and_ended("kept_waiting_plain").0,
            0.0,
            "it has its permit, and no thread"
        );
        sleep(SHORT).await;
        drop(leave);
        other.await.unwrap();
        until("it runs", || {
            Scrape::now().begun_and_ended("kept_waiting_plain").0 == 1.0
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

#[background(
    name = "lined_up",
    concurrency(max = 1, queue = 1, overflow = "drop_oldest")
)]
async fn lines_up(open: Arc<Notify>) {
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
async fn comes_after_the_end() {}

#[test]
fn what_policies_do_is_counted_by_its_reason() {
    let _turn = alone();
    let report = in_paused_time(async |manager| {
        let open = Arc::new(Notify::new());
        // The second waits, the third takes its place.
        let tasks = [0, 1, 2].map(|_| lines_up(open.clone()));
        settle().await;
        let shown = Scrape::now();
        assert_eq!(shown.waiting("lined_up"), 1.0);
        assert_eq!(shown.running("lined_up"), 2.0);
        let dropped = [("name", "lined_up"), ("reason", "dropped_from_queue")];
        assert_eq!(shown.sum("bgtask_tasks_dropped_total", &dropped), 1.0);
        open.notify_one();
        settle().await;
        assert_eq!(Scrape::now().waiting("lined_up"), 0.0);
        open.notify_one();
        for task in tasks {
            let _ = task.await;
        }
        let shown = Scrape::now();
        assert_eq!(
            shown.finished("lined_up"),
            [("succeeded", 2.0), ("cancelled", 1.0)]
        );
        shown.assert_all_ended("lined_up", 2.0);

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
        let _ = comes_after_the_end().await;
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
            let mut own = schedules.iter().filter(|own| own.name == "unsteady");
            own.all(|own| own.has_ended)
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
    blocking_until("it is told", || count("stopping") == 1.0);
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

    // Dropped with work under way, it is there as long as that is.
    drop(second);
    assert_eq!((count("running"), count("draining")), (0.0, 1.0));
    assert_eq!(Scrape::now().running(NAME), 1.0);
    drop(open);
    second_runtime.block_on(until("it ends", || Scrape::now().running(NAME) == 0.0));
    drop(second_runtime);
    blocking_until("it is gone", || count("draining") == 0.0);
    Scrape::now().assert_all_ended(NAME, 2.0);
}

#[background(name = "in_line_before_the_recorder", concurrency = 1)]
async fn in_line_before_the_recorder(open: Arc<Notify>) {
    open.notified().await;
}

#[background(name = "before_the_recorder")]
async fn before_the_recorder(open: Arc<Notify>) {
    open.notified().await;
}

#[test]
fn a_recorder_that_comes_late_finds_the_gauges_as_they_are() {
    let _turn = alone();
    const NAME: &str = "before_the_recorder";
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let [open, second_open] = [0, 1].map(|_| Arc::new(Notify::new()));
    let tasks = runtime.block_on(async {
        let tasks = [0, 1].map(|_| before_the_recorder(open.clone()));
        for _ in 0..2 {
            in_line_before_the_recorder(second_open.clone());
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
            assert_eq!(shown.waiting("in_line_before_the_recorder"), 1.0);
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

/// Notes what is described to it.
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
        let expected = match name.ends_with("_seconds") {
            true => Unit::Seconds,
            false => Unit::Count,
        };
        assert_eq!(*unit, Some(expected), "{name}");
        assert!(text.ends_with('.'), "{name}: {text}");
    }
    let described: Vec<_> = all.keys().map(String::as_str).collect();
    let page = include_str!("../../docs/metrics.md");
    let mut documented: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `bgtask_")?.split_once('`'))
        .map(|(name, _)| format!("bgtask_{name}"))
        .collect();
    documented.sort();
    assert_eq!(described, documented);
}

/// A recorder that cannot do what it is for.
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
fn a_recorder_that_panics_costs_no_call_and_leaves_the_gauges_right() {
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
    let said = bgtask_tests::recorded(|event| event.message == "observer panicked");
    assert!(
        said.iter()
            .any(|event| event.field("observer") == "metrics"),
        "{said:?}"
    );
    let manager = Manager::builder().grace(FOREVER);
    let manager = manager.install_on(runtime.handle()).unwrap();
    runtime.block_on(async { under_a_broken_recorder().await.unwrap() });
    assert_eq!(Scrape::now().running("under_a_broken_recorder"), 0.0);
    drop(manager);
}

#[background(name = "in_line_under_a_broken_recorder", concurrency = 1)]
async fn in_line_under_a_broken_recorder(end: Arc<Notify>) {
    end.notified().await;
}

#[test]
fn a_recorder_that_panics_leaves_the_gauges_of_what_stands_in_a_line_right() {
    const NAME: &str = "in_line_under_a_broken_recorder";
    let _turn = alone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let end = Arc::new(Notify::new());
    with_local_recorder(&Broken, || {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            let runs = in_line_under_a_broken_recorder(end.clone());
            let waits = in_line_under_a_broken_recorder(end.clone());
            let is_aborted = in_line_under_a_broken_recorder(end.clone());
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
    // Has the gauges shown to the program's own recorder.
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        end.notify_one();
        let runs = in_line_under_a_broken_recorder(end.clone());
        let waits = in_line_under_a_broken_recorder(end.clone());
        runs.await.unwrap();
        assert_eq!(Scrape::now().running(NAME), 1.0);
        end.notify_one();
        waits.await.unwrap();
    });
    let shown = Scrape::now();
    assert_eq!((shown.running(NAME), shown.waiting(NAME)), (0.0, 0.0));
    drop(manager);
}

#[background(name = "behind_a_stuck_hook", log = "off")]
fn behind_a_stuck_hook(goes_on: Arc<AtomicBool>) {
    blocking_until("it is let go", || goes_on.load(Ordering::Relaxed));
}

#[test]
fn a_finished_hook_that_is_stuck_at_the_deadline_leaves_the_gauges_right() {
    const NAME: &str = "behind_a_stuck_hook";
    let _turn = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let goes_on = Arc::new(AtomicBool::new(false));
    let hooks = goes_on.clone();
    let manager = Manager::builder()
        .grace(Duration::ZERO)
        .on_finish(move |_| {
            blocking_until("it is let go", || hooks.load(Ordering::Relaxed));
        })
        .install_on(runtime.handle())
        .unwrap();
    let entered = manager.enter();
    for _ in 0..4 {
        behind_a_stuck_hook(goes_on.clone());
    }
    drop(entered);
    let report = runtime.block_on(manager.shutdown("end"));
    assert_eq!(report.totals.running, 0);
    let shown = Scrape::now();
    assert_eq!((shown.started(NAME), shown.running(NAME)), (4.0, 0.0));
    goes_on.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(FOREVER);
}

#[background(name = "holds_up_its_worker", log = "off")]
async fn holds_up_its_worker(until: Phase, token: ShutdownToken) {
    // The one that others await: it fires a moment after the phase has changed.
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

/// Behind a worker that is stuck until then, `call` is made, and ends before its first instruction.
fn ends_before_it_begins(name: &str, grace: Duration, until: Phase, call: fn(), outcome: &str) {
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
        let begun: f64 = shown.find(histogram, &[("name", name)]).sum();
        assert_eq!(begun, 0.0, "{histogram} of {name}");
    }
}

#[test]
fn a_call_that_the_shutdown_ends_before_its_first_instruction_is_not_counted_as_begun() {
    let _turn = alone();
    bgtask_tests::record_events();
    ends_before_it_begins(
        "held_up_beyond_the_deadline",
        Duration::ZERO,
        Phase::Expired,
        || drop(held_up_beyond_the_deadline()),
        "aborted",
    );
    ends_before_it_begins(
        "held_up_until_it_is_cancelled",
        FOREVER,
        Phase::Draining,
        || drop(held_up_until_it_is_cancelled()),
        "cancelled",
    );
    let said = bgtask_tests::recorded_of("held_up_until_it_is_cancelled");
    assert!(
        said.iter().all(|event| event.message != "task started"),
        "{said:?}"
    );
}

#[background(
    name = "under_stress",
    log = "off",
    concurrency(max = 64, queue = 4, overflow = "drop_oldest")
)]
async fn in_line(way: u32) -> io::Result<()> {
    ends_in_its_way(way).await
}

#[background(name = "under_stress", log = "off")]
async fn at_once(way: u32) -> io::Result<()> {
    ends_in_its_way(way).await
}

#[background(name = "under_stress", log = "off")]
fn on_a_thread(way: u32, token: ShutdownToken) -> io::Result<()> {
    match way % 5 {
        0 => panic!("as it was told"),
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
        0 => panic!("as it was told"),
        1 => return Err(io::ErrorKind::NotFound.into()),
        2 => std::future::pending().await,
        3 => sleep(Duration::from_millis(u64::from(way % 60))).await,
        4 => tokio::task::yield_now().await,
        _ => {}
    }
    Ok(())
}

#[test]
fn under_stress_every_call_is_told_once_as_started_and_once_as_ended() {
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
        // In time for some, and too short for others.
        let manager = manager_within(Duration::from_millis(20 * round), &runtime);
        thread::scope(|threads| {
            for from in 0..3_u32 {
                let manager = &manager;
                threads.spawn(move || {
                    let _entered = manager.enter();
                    for way in (from..600).step_by(3) {
                        let task = in_line(way);
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
        let (begun, ended) = Scrape::now().begun_and_ended(NAME);
        assert_eq!(begun, ended);
    }
}

#[test]
fn a_handler_may_still_be_used_across_catch_unwind() {
    fn may<T: UnwindSafe + RefUnwindSafe>(_: &T) {}
    bgtask::handlers().into_iter().for_each(may);
}
