//! The policies around one body: behaviours 26 to 29 and 31.

use bgtask::{
    HandlerStats, Manager, Outcome, RefusedReason, ShutdownToken, State, TaskError, TaskHandle,
    TaskState, background,
};
use bgtask_tests::{
    FOREVER, in_paused_time, on_both_flavors, record_events, recorded_of, runtimes, settle, until,
};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Says when it is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// ---- 26: timeout ----

#[background(timeout = "5s", log = "off")]
async fn sleeps_within_five_seconds(seconds: u64, on_drop: OnDrop) -> u64 {
    sleep(Duration::from_secs(seconds)).await;
    drop(on_drop);
    seconds
}

#[test]
fn b26_a_future_is_dropped_at_its_limit_and_not_before() {
    in_paused_time(async |manager| {
        let begin = Instant::now();
        let in_time = sleeps_within_five_seconds(4, OnDrop(Arc::default()));
        assert_eq!(in_time.await, Ok(4));
        assert_eq!(begin.elapsed(), 4 * SECOND);

        let dropped = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        let late = sleeps_within_five_seconds(3600, OnDrop(dropped.clone()));
        assert_eq!(late.await, Err(TaskError::TimedOut));
        assert_eq!(begin.elapsed(), 5 * SECOND);
        assert!(dropped.load(Ordering::SeqCst));
        let stats = manager.stats();
        assert_eq!((stats.timed_out, stats.succeeded, stats.running), (1, 1, 0));
    });
}

#[test]
fn b26_an_aborted_call_is_dropped_at_once_also_while_its_handle_is_held() {
    on_both_flavors(async |_| {
        let dropped = Arc::new(AtomicBool::new(false));
        let task = sleeps_within_five_seconds(4, OnDrop(dropped.clone()));
        tokio::task::yield_now().await;
        task.abort();
        until("it is dropped", || dropped.load(Ordering::SeqCst)).await;
        assert_eq!(task.await, Err(TaskError::Aborted));
    });
}

#[background(timeout = "10ms", log = "off")]
fn blocks_until_its_token_fires(token: ShutdownToken, begun: mpsc::Sender<()>) -> &'static str {
    begun.send(()).unwrap();
    token.wait();
    "heeded"
}

#[background(timeout = "10ms", log = "off")]
fn blocks_until_the_token_it_finds_fires() {
    bgtask::shutdown_token().wait();
}

#[test]
fn b26_a_plain_functions_token_fires_at_the_limit_and_it_is_waited_for() {
    on_both_flavors(async |manager| {
        let (begun, has_begun) = mpsc::channel();
        let task = blocks_until_its_token_fires(begun);
        assert_eq!(task.await, Err(TaskError::TimedOut));
        has_begun.recv().unwrap();
        assert_eq!(
            blocks_until_the_token_it_finds_fires().await,
            Err(TaskError::TimedOut)
        );
        assert_eq!(manager.stats().timed_out, 2);
        assert!(!manager.is_shutting_down());
    });
}

#[background(timeout = "5s", name = "told to be late")]
async fn told_to_be_late() {
    std::future::pending::<()>().await;
}

#[background(log = "off")]
async fn awaits_the_token_it_finds() {
    bgtask::shutdown_token().cancelled().await;
}

/// Runs a runtime and a manager of its own on its thread. Returns how many tasks did not end by their token.
#[background(timeout = "1h", log = "off")]
fn runs_a_runtime_of_its_own() -> u64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let manager = Manager::builder()
        .grace(FOREVER / 6)
        .install_on(runtime.handle())
        .unwrap();
    let report = runtime.block_on(async {
        let task = awaits_the_token_it_finds();
        until("it runs", || {
            let mut tasks = manager.tasks().into_iter();
            tasks.any(|task| task.state == TaskState::Running)
        })
        .await;
        settle().await;
        let report = manager.shutdown("the inner test ends").await;
        drop(task);
        report
    });
    report.straggler_count
}

#[test]
fn b26_tasks_of_a_runtime_within_an_attempt_have_tokens_of_their_own() {
    on_both_flavors(async |_| {
        assert_eq!(runs_a_runtime_of_its_own().await, Ok(0));
    });
}

#[test]
fn b26_a_timeout_is_logged_told_to_hooks_and_named_in_the_report() {
    record_events();
    let finished = Arc::new(Mutex::new(Vec::new()));
    let report = in_paused_time(async |manager| {
        let finished = finished.clone();
        bgtask::on_finish(move |task| finished.lock().unwrap().push(task.outcome));
        manager.request_shutdown("so that the report keeps what fails");
        assert_eq!(told_to_be_late().await, Err(TaskError::TimedOut));
    });
    assert_eq!(*finished.lock().unwrap(), [Outcome::TimedOut]);
    assert_eq!(report.failures.len(), 1);
    assert_eq!(report.failures[0].outcome, Outcome::TimedOut);
    assert!(!report.is_clean());
    let events = recorded_of("told to be late");
    let late = events
        .iter()
        .find(|event| event.message == "task timed out")
        .unwrap();
    assert_eq!(late.level, tracing::Level::ERROR);
    assert!(late.spans.iter().any(|(name, _)| name == "task"));
}

// ---- 27: retry ----

#[derive(Clone, Debug, PartialEq)]
enum Trouble {
    Passing,
    Lasting,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Trouble {}

/// What each attempt comes to, and when it was made.
#[derive(Clone, Default)]
struct Script {
    results: Arc<Mutex<Vec<Result<u32, Trouble>>>>,
    at: Arc<Mutex<Vec<Instant>>>,
}

impl Script {
    fn new(results: impl IntoIterator<Item = Result<u32, Trouble>>) -> Self {
        let mut results: Vec<_> = results.into_iter().collect();
        results.reverse();
        Self {
            results: Arc::new(Mutex::new(results)),
            at: Arc::default(),
        }
    }

    fn next(&self) -> Result<u32, Trouble> {
        self.at.lock().unwrap().push(Instant::now());
        self.results
            .lock()
            .unwrap()
            .pop()
            .expect("one attempt more")
    }

    fn attempts(&self) -> usize {
        self.at.lock().unwrap().len()
    }

    fn pauses(&self) -> Vec<u128> {
        let at = self.at.lock().unwrap();
        at.windows(2)
            .map(|pair| (pair[1] - pair[0]).as_millis())
            .collect()
    }
}

const PASSING: Result<u32, Trouble> = Err(Trouble::Passing);

#[background(
    retry(max = 5, backoff = "exponential", base = "200ms", cap = "1s"),
    log = "off"
)]
async fn tries(script: Script) -> Result<u32, Trouble> {
    script.next()
}

#[background(retry(max = 5, backoff = "linear", base = "1s"), log = "off")]
fn tries_blocking(token: ShutdownToken, script: Script) -> Result<u32, Trouble> {
    assert!(!token.is_cancelled());
    script.next()
}

#[test]
fn b27_attempts_stop_at_the_first_success_and_pauses_grow_up_to_the_cap() {
    in_paused_time(async |manager| {
        let script = Script::new([PASSING, PASSING, PASSING, PASSING, Ok(7)]);
        assert_eq!(tries(script.clone()).await, Ok(Ok(7)));
        assert_eq!(script.pauses(), [200, 400, 800, 1000]);

        let script = Script::new([PASSING, PASSING, Ok(8)]);
        assert_eq!(tries_blocking(script.clone()).await, Ok(Ok(8)));
        assert_eq!(script.pauses(), [1000, 2000]);

        let stats = manager.stats();
        assert_eq!((stats.accepted, stats.succeeded, stats.retries), (2, 2, 6));
    });
}

#[background(retry(max = 3, base = "1ms"), name = "never succeeds")]
async fn never_succeeds() -> Result<(), Trouble> {
    Err(Trouble::Passing)
}

#[test]
fn b27_the_last_failure_is_the_outcome_and_tells_the_attempts() {
    record_events();
    in_paused_time(async |manager| {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let told = errors.clone();
        bgtask::on_error(move |task| told.lock().unwrap().push(task.error.to_owned()));
        assert_eq!(never_succeeds().await, Ok(Err(Trouble::Passing)));
        assert_eq!(*errors.lock().unwrap(), ["Passing (after 3 attempts)"]);
        assert_eq!(manager.stats().failed, 1);
        drop(never_succeeds());
        until("the second has ended", || manager.stats().running == 0).await;
    });
    let events = recorded_of("never succeeds");
    let failed: Vec<_> = events
        .iter()
        .filter(|event| event.message == "task failed")
        .collect();
    assert_eq!(failed.len(), 1, "the first one's error went to its owner");
    assert_eq!(failed[0].field("error"), "Passing (after 3 attempts)");
    let attempts: Vec<_> = events
        .iter()
        .filter(|event| event.message == "attempt failed, retrying")
        .map(|event| event.field("attempt"))
        .collect();
    assert_eq!(attempts, ["1", "2", "1", "2"]);
}

#[background(retry(max = 5, base = "1ms", when = |trouble| *trouble == Trouble::Passing), log = "off")]
async fn tries_what_passes(script: Script) -> Result<u32, Trouble> {
    script.next()
}

#[test]
fn b27_what_the_predicate_does_not_want_is_not_tried_again() {
    in_paused_time(async |_| {
        let script = Script::new([PASSING, Err(Trouble::Lasting)]);
        assert_eq!(
            tries_what_passes(script.clone()).await,
            Ok(Err(Trouble::Lasting))
        );
        assert_eq!(script.attempts(), 2);
    });
}

#[background(concurrency = 1, log = "off")]
async fn fails_without_a_retry() -> Result<(), Trouble> {
    Err(Trouble::Lasting)
}

#[test]
fn b27_an_error_tells_its_attempts_where_there_may_be_several() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    in_paused_time(async |_| {
        let noted = errors.clone();
        bgtask::on_error(move |task| noted.lock().unwrap().push(task.error.to_owned()));
        let _ = fails_without_a_retry().await;
        let _ = tries_what_passes(Script::new([Err(Trouble::Lasting)])).await;
        let _ = tries_what_passes(Script::new([PASSING, Err(Trouble::Lasting)])).await;
    });
    assert_eq!(
        *errors.lock().unwrap(),
        [
            "Lasting",
            "Lasting (after 1 attempt)",
            "Lasting (after 2 attempts)"
        ]
    );
}

#[test]
fn b27_a_plain_function_aborted_between_attempts_is_not_left_behind() {
    in_paused_time(async |manager| {
        let task = tries_blocking(Script::new([PASSING]));
        until("it is asleep", || {
            manager.tasks().first().map(|task| task.state) == Some(TaskState::BackingOff)
        })
        .await;
        task.abort();
        assert_eq!(task.await, Err(TaskError::Aborted));
        let stats = manager.stats();
        assert_eq!((stats.aborted, stats.abandoned), (1, 0));
    });
}

#[background(retry(max = 3, base = "1ms"), log = "off")]
async fn panics_at_first(attempts: Arc<AtomicU32>) -> Result<u32, Trouble> {
    match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => panic!("the first attempt"),
        attempt => Ok(attempt),
    }
}

#[background(retry(max = 3, base = "1ms", panics), log = "off")]
async fn panics_at_first_and_is_tried_again(attempts: Arc<AtomicU32>) -> u32 {
    match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => panic!("the first attempt"),
        attempt => attempt,
    }
}

#[background(retry(max = 2, base = "1ms", panics), log = "off")]
fn always_panics() {
    panic!("always");
}

#[test]
fn b27_a_panic_is_a_failed_attempt_only_where_asked() {
    in_paused_time(async |manager| {
        let attempts = Arc::new(AtomicU32::new(0));
        let error = panics_at_first(attempts.clone()).await.unwrap_err();
        assert!(matches!(error, TaskError::Panicked { .. }), "{error}");
        assert_eq!(attempts.load(Ordering::SeqCst), 1);

        let attempts = Arc::new(AtomicU32::new(0));
        assert_eq!(panics_at_first_and_is_tried_again(attempts).await, Ok(1));

        let line = line!() - 20;
        match always_panics().await {
            Err(TaskError::Panicked {
                message, location, ..
            }) => {
                assert_eq!(message, "always");
                let location = location.unwrap();
                assert_eq!(location.file, file!());
                assert!(location.line.abs_diff(line) < 10, "{location}");
            }
            other => panic!("{other:?}"),
        }
        let stats = manager.stats();
        assert_eq!((stats.panicked, stats.succeeded, stats.retries), (2, 1, 2));
    });
}

#[background(
    timeout = "1s",
    retry(max = 3, base = "1s", backoff = "constant"),
    log = "off"
)]
async fn is_late_at_first(script: Script) -> Result<u32, Trouble> {
    let result = script.next();
    if result.is_err() {
        sleep(FOREVER).await;
    }
    result
}

#[test]
fn b27_each_attempt_has_the_timeout_to_itself() {
    in_paused_time(async |manager| {
        let script = Script::new([PASSING, Ok(1)]);
        assert_eq!(is_late_at_first(script.clone()).await, Ok(Ok(1)));
        assert_eq!(script.pauses(), [2000]);

        let script = Script::new([PASSING, PASSING, PASSING]);
        assert_eq!(
            is_late_at_first(script.clone()).await,
            Err(TaskError::TimedOut)
        );
        assert_eq!(script.attempts(), 3);
        assert_eq!(manager.stats().timed_out, 1);
    });
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", jitter),
    timeout = "10ms",
    log = "off"
)]
fn is_told_at_each_limit(token: ShutdownToken, attempts: Arc<AtomicU32>) {
    attempts.fetch_add(1, Ordering::SeqCst);
    token.wait();
}

// More attempts than it needs: on a busy machine a later one may miss its limit too, before it has begun.
#[background(
    retry(max = 1000, base = "1ms", backoff = "constant"),
    timeout = "10ms",
    log = "off"
)]
fn is_late_once(token: ShutdownToken, attempts: Arc<AtomicU32>) -> Result<bool, Trouble> {
    if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
        token.wait();
    }
    Ok(token.is_cancelled())
}

#[test]
fn b27_the_token_of_a_later_attempt_has_not_fired_with_the_limit_of_the_first() {
    on_both_flavors(async |_| {
        let attempts = Arc::new(AtomicU32::new(0));
        assert_eq!(is_late_once(attempts.clone()).await, Ok(Ok(false)));
        assert!(attempts.load(Ordering::SeqCst) >= 2);
    });
}

struct Courier {
    attempts: AtomicU32,
    name: &'static str,
}

impl Courier {
    #[background(
        retry(max = 3, base = "1ms"),
        coalesce(key = self.name),
        concurrency(max = 1, key = stop)
    )]
    async fn deliver(
        self: Arc<Self>,
        token: ShutdownToken,
        stop: String,
    ) -> Result<String, Trouble> {
        match self.attempts.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(Trouble::Passing),
            _ if token.is_cancelled() => Err(Trouble::Lasting),
            _ => Ok(format!("{} at {stop}", self.name)),
        }
    }

    #[background(retry(max = 3, base = "1ms"), timeout = "1m")]
    fn deliver_blocking(self: Arc<Self>) -> Result<&'static str, Trouble> {
        match self.attempts.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(Trouble::Passing),
            _ => Ok(self.name),
        }
    }
}

#[derive(Clone)]
struct Parcel(Arc<AtomicU32>);

impl Parcel {
    /// By value: what each attempt gets is a copy of it.
    #[background(retry(max = 2, base = "1ms"))]
    async fn send(mut self) -> Result<u32, Trouble> {
        let before = std::mem::take(&mut self.0);
        match before.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Trouble::Passing),
            sent => Ok(sent),
        }
    }
}

#[test]
fn b27_each_attempt_of_a_method_has_its_receiver() {
    on_both_flavors(async |_| {
        let courier = || {
            Arc::new(Courier {
                attempts: AtomicU32::new(0),
                name: "Ada",
            })
        };
        let own = courier();
        let delivered = own.clone().deliver("home".to_owned()).await;
        assert_eq!(delivered, Ok(Ok("Ada at home".to_owned())));
        assert_eq!(own.attempts.load(Ordering::SeqCst), 3);
        assert_eq!(Arc::strong_count(&own), 1);
        assert_eq!(courier().deliver_blocking().await, Ok(Ok("Ada")));
        assert_eq!(Parcel(Arc::default()).send().await, Ok(Ok(1)));
    });
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", backoff = "constant"),
    log = "off"
)]
async fn sleeps_an_hour_between_attempts() -> Result<(), Trouble> {
    Err(Trouble::Passing)
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", backoff = "constant"),
    on_shutdown = "finish",
    log = "off"
)]
async fn sleeps_an_hour_and_finishes() -> Result<(), Trouble> {
    Err(Trouble::Passing)
}

#[test]
fn b27_a_task_asleep_between_attempts_does_not_hold_the_drain() {
    on_both_flavors(async |manager| {
        let tasks = [
            sleeps_an_hour_between_attempts(),
            sleeps_an_hour_and_finishes(),
        ];
        let attempts = Arc::new(AtomicU32::new(0));
        let late = is_told_at_each_limit(attempts.clone());
        until("all are asleep", || {
            let asleep = manager.tasks().into_iter();
            asleep
                .filter(|task| task.state == TaskState::BackingOff)
                .count()
                == 3
        })
        .await;
        let report = manager.shutdown("now").await;
        // Else it would have taken an hour, or the whole grace period.
        assert!(report.elapsed < FOREVER / 2);
        assert_eq!(report.stragglers, []);
        for task in tasks {
            assert_eq!(task.await, Ok(Err(Trouble::Passing)));
        }
        assert_eq!(late.await, Err(TaskError::TimedOut));
    });
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", backoff = "constant"),
    log = "off"
)]
async fn is_cancelled_asleep(script: Script) -> Result<u32, Trouble> {
    script.next()
}

#[test]
fn b27_a_cancelled_task_is_not_tried_again_and_a_snapshot_shows_the_attempt() {
    in_paused_time(async |manager| {
        let script = Script::new([PASSING, PASSING]);
        let task = is_cancelled_asleep(script.clone());
        settle().await;
        let info = &manager.tasks()[0];
        assert_eq!((info.state, info.attempt), (TaskState::BackingOff, 1));
        sleep(3601 * SECOND).await;
        let info = &manager.tasks()[0];
        assert_eq!((info.state, info.attempt), (TaskState::BackingOff, 2));
        task.cancel();
        assert_eq!(task.await, Ok(PASSING));
        assert_eq!(script.attempts(), 2);
    });
}

#[background(retry(max = 3, base = "1ms"), name = "is told as it tries")]
async fn is_told_as_it_tries(gate: Arc<Notify>, script: Script) -> Result<u32, Trouble> {
    gate.notified().await;
    script.next()
}

#[background(
    retry(max = 3, base = "1ms"),
    on_shutdown = "finish",
    name = "is told as it tries to finish"
)]
async fn is_told_as_it_tries_to_finish(gate: Arc<Notify>, script: Script) -> Result<u32, Trouble> {
    gate.notified().await;
    script.next()
}

#[background]
async fn hears_of_the_drain(token: ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn b27_a_cancelled_attempt_that_fails_is_the_last_and_one_that_the_drain_finds_the_last_but_one() {
    record_events();
    let script = Script::new([PASSING, PASSING, PASSING]);
    let gate = Arc::new(Notify::new());
    in_paused_time(async |manager| {
        let cancelled = is_told_as_it_tries(gate.clone(), script.clone());
        settle().await;
        cancelled.cancel();
        gate.notify_one();
        assert_eq!(cancelled.await, Ok(PASSING));
        assert_eq!(script.attempts(), 1);

        let drained = is_told_as_it_tries_to_finish(gate.clone(), script.clone());
        let hears = hears_of_the_drain();
        settle().await;
        let (report, _) = tokio::join!(manager.shutdown("b27"), async {
            assert_eq!(hears.await, Ok(()));
            gate.notify_one();
            until("it has failed once", || script.attempts() == 2).await;
            gate.notify_one();
            assert_eq!(drained.await, Ok(PASSING));
        });
        assert_eq!((report.failures.len(), report.gave_up), (1, 1));
    });
    assert_eq!(script.attempts(), 3);
    let told = |task| {
        let events = recorded_of(task).into_iter();
        let failed = events.filter(|event| event.message.starts_with("attempt failed"));
        failed
            .map(|event| event.field("pause").to_owned())
            .collect::<Vec<_>>()
    };
    assert!(told("is told as it tries").is_empty());
    assert_eq!(told("is told as it tries to finish"), ["0.0ns"]);
}

#[background(retry(max = 3, base = "1ms"), log = "off")]
async fn fails_so_often(times: Arc<AtomicU32>) -> Result<(), &'static str> {
    match times.fetch_sub(1, Ordering::Relaxed) {
        0 => Ok(()),
        _ => Err("again"),
    }
}

#[test]
fn b27_the_report_counts_retries() {
    for (times, says) in [(1, "; 1 retry in total"), (2, "; 2 retries in total")] {
        let report = in_paused_time(async |_| {
            let _ = fails_so_often(Arc::new(AtomicU32::new(times))).await;
        });
        assert!(report.to_string().ends_with(says), "{report}");
    }
}

// ---- 28: concurrency ----

/// How many bodies run, and how many did at most.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

struct Inside(Gauge);

impl Gauge {
    fn enter(&self) -> Inside {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Inside(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[background(concurrency = 3)]
async fn at_most_three(gauge: Gauge) {
    let _inside = gauge.enter();
    sleep(Duration::from_millis(1)).await;
}

#[background(concurrency = 3)]
fn at_most_three_blocking(gauge: Gauge) {
    let _inside = gauge.enter();
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn b28_never_more_bodies_than_permits() {
    on_both_flavors(async |manager| {
        let gauge = Gauge::default();
        let tasks: Vec<_> = (0..100).map(|_| at_most_three(gauge.clone())).collect();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!(gauge.most(), 3);

        let gauge = Gauge::default();
        let tasks: Vec<_> = (0..50)
            .map(|_| at_most_three_blocking(gauge.clone()))
            .collect();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert!(gauge.most() <= 3);
        assert_eq!(manager.stats().succeeded, 150);
        assert_eq!(manager.stats().waiting, 0);
    });
}

#[background(concurrency = 1)]
fn holds_a_thread(gate: Arc<(Mutex<mpsc::Receiver<()>>, AtomicUsize)>) {
    gate.1.fetch_add(1, Ordering::SeqCst);
    let _ = gate.0.lock().unwrap().recv();
}

#[test]
fn b28_waiting_plain_functions_hold_no_thread_of_the_pool() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let manager = bgtask_tests::manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let (open, gate) = mpsc::channel();
        let gate = Arc::new((Mutex::new(gate), AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..10).map(|_| holds_a_thread(gate.clone())).collect();
        until("the first has begun", || gate.1.load(Ordering::SeqCst) == 1).await;
        until("nine wait", || manager.stats().waiting == 9).await;
        // Of two threads one is held, so another piece of work finds one.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        drop(open);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert!(manager.shutdown("end").await.is_clean());
    });
    runtime.shutdown_background();
}

#[background(concurrency(max = 1, queue = 2), log = "off")]
async fn refuses(gate: Arc<Notify>) {
    gate.notified().await;
}

#[background(concurrency(max = 1, queue = 2, overflow = "drop_oldest"), log = "off")]
async fn drops_the_oldest(gate: Arc<Notify>) {
    gate.notified().await;
}

#[background(concurrency(max = 1, queue = 0, overflow = "wait"), log = "off")]
async fn waits_with_its_caller(gate: Arc<Notify>) {
    gate.notified().await;
}

/// What the policies of one function have done.
fn stats_of(function: &str) -> HandlerStats {
    let all = bgtask::handler_stats();
    let own = all.iter().find(|own| own.name.ends_with(function));
    *own.unwrap()
}

fn adds_up(manager: &Manager) {
    let stats = manager.stats();
    assert_eq!(stats.accepted, stats.running + stats.ended());
}

#[test]
fn b28_past_its_bound_the_line_refuses() {
    let report = in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..5).map(|_| refuses(gate.clone())).collect();
        // Told at once, with nothing polled yet.
        let states: Vec<_> = manager.tasks().iter().map(|task| task.state).collect();
        let (queued, waiting) = (TaskState::Queued, TaskState::Waiting);
        assert_eq!(states, [queued, waiting, waiting]);
        assert!(!tasks[2].is_finished());
        assert!(tasks[3].is_finished() && tasks[4].is_finished());
        let stats = manager.stats();
        assert_eq!((stats.accepted, stats.refused), (3, 2));
        adds_up(manager);
        let mut outcomes = Vec::new();
        for task in tasks {
            gate.notify_one();
            outcomes.push(task.await);
        }
        let refused = Err(TaskError::Refused(RefusedReason::QueueFull));
        assert_eq!(outcomes, [Ok(()), Ok(()), Ok(()), refused.clone(), refused]);
    });
    let line = report.to_string();
    assert!(line.contains(" s of 60.0 s: 0 drained"), "{line}");
    assert!(line.ends_with("; 2 refused in total"), "{line}");
}

#[background(concurrency(max = 1, queue = 0), name = "refuses and says so")]
async fn refuses_and_says_so(gate: Arc<Notify>) {
    gate.notified().await;
}

/// The counts in the lines about refused or dropped calls of a function so far.
fn counts_logged(message: &str, field: &str, name: &str) -> Vec<String> {
    let events = recorded_of(name);
    let lines = events.iter().filter(|event| event.message == message);
    lines.map(|event| event.field(field).to_owned()).collect()
}

#[test]
fn b28_refusals_are_logged_once_a_second_with_their_count_and_the_last_of_a_burst_too() {
    record_events();
    in_paused_time(async |_| {
        let gate = Arc::new(Notify::new());
        let running = refuses_and_says_so(gate.clone());
        let refuse = |times| (0..times).for_each(|_| drop(refuses_and_says_so(gate.clone())));
        let logged = || counts_logged("call refused", "refused", "refuses and says so");
        refuse(18);
        // The rest of them within a second or two, although no further call is made.
        until("the last is logged", || logged().last().unwrap() == "18").await;
        let first = logged();
        assert_eq!(first[0], "1");
        // Two, or one more for each second that the machine has taken to make the calls.
        assert!(first.len() < 18, "{first:?}");
        refuse(2);
        until("the next ones are logged", || {
            logged().last().unwrap() == "20"
        })
        .await;
        gate.notify_one();
        assert_eq!(running.await, Ok(()));
    });
}

#[background(concurrency(max = 1, queue = 0), name = "refuses to the end")]
async fn refuses_to_the_end(gate: Arc<Notify>) {
    gate.notified().await;
}

#[test]
fn b28_what_is_held_back_of_a_burst_is_logged_before_the_shutdown_is_over() {
    record_events();
    in_paused_time(async |_| {
        let gate = Arc::new(Notify::new());
        gate.notify_one();
        let running = refuses_to_the_end(gate.clone());
        for _ in 0..18 {
            drop(refuses_to_the_end(gate.clone()));
        }
        assert_eq!(running.await, Ok(()));
    });
    let logged = counts_logged("call refused", "refused", "refuses to the end");
    assert_eq!(logged.last().unwrap(), "18");
}

#[background(
    concurrency(max = 1, queue = 0),
    name = "refuses until the manager is dropped"
)]
async fn refuses_until_dropped(gate: Arc<Notify>) {
    gate.notified().await;
}

#[test]
fn b28_what_is_held_back_of_a_burst_is_logged_when_the_manager_is_dropped() {
    record_events();
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        runtime.block_on(async {
            let gate = Arc::new(Notify::new());
            for _ in 0..19 {
                drop(refuses_until_dropped(gate.clone()));
            }
            drop(manager);
        });
        let name = "refuses until the manager is dropped";
        let logged = counts_logged("call refused", "refused", name);
        assert_eq!(logged.last().unwrap(), "18");
    }
}

#[background(
    concurrency(max = 1, queue = 1, overflow = "drop_oldest"),
    name = "drops and says so"
)]
async fn drops_and_says_so(State(gate): State<Arc<Notify>>) {
    gate.notified().await;
}

#[test]
fn b28_what_is_dropped_from_the_line_is_not_logged_as_refused() {
    record_events();
    in_paused_time(async |manager| {
        // For the lack of its state: that is a refusal.
        assert!(drops_and_says_so().is_finished());
        let gate = Arc::new(Notify::new());
        manager.provide(gate.clone());
        let tasks: Vec<_> = (0..20).map(|_| drops_and_says_so()).collect();
        let logged = || counts_logged("call dropped", "dropped", "drops and says so");
        until("the last drop is logged", || {
            logged().last().map(String::as_str) == Some("18")
        })
        .await;
        assert_eq!(logged()[0], "1");
        for event in recorded_of("drops and says so") {
            if event.message == "call dropped" {
                assert_eq!(
                    event.field("reason"),
                    RefusedReason::DroppedFromQueue.to_string()
                );
            }
        }
        let refused = counts_logged("call refused", "refused", "drops and says so");
        assert_eq!(refused, ["1"]);
        for task in tasks {
            gate.notify_one();
            let _ = task.await;
        }
        let stats = stats_of("drops and says so");
        assert_eq!((stats.refused, stats.dropped), (1, 18));
    });
}

#[test]
fn b28_past_its_bound_the_line_drops_its_oldest() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..5).map(|_| drops_the_oldest(gate.clone())).collect();
        settle().await;
        assert_eq!(manager.stats().running, 3);
        let mut outcomes = Vec::new();
        for task in tasks {
            gate.notify_one();
            outcomes.push(task.await);
        }
        let dropped = Err(TaskError::Refused(RefusedReason::DroppedFromQueue));
        assert_eq!(outcomes, [Ok(()), dropped.clone(), dropped, Ok(()), Ok(())]);
        assert_eq!(manager.stats().cancelled, 2);
        assert_eq!(stats_of("drops_the_oldest").dropped, 2);
        assert_eq!(manager.handler_stats(), bgtask::handler_stats());
        adds_up(manager);
    });
}

#[test]
fn b28_past_its_bound_a_call_waits_as_long_as_its_caller() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let running = waits_with_its_caller(gate.clone());
        let waits = waits_with_its_caller(gate.clone());
        let let_go = waits_with_its_caller(gate.clone());
        settle().await;
        assert_eq!(manager.stats().running, 3);
        drop(let_go);
        settle().await;
        assert_eq!((manager.stats().running, manager.stats().cancelled), (2, 1));
        gate.notify_one();
        assert_eq!(running.await, Ok(()));
        gate.notify_one();
        assert_eq!(waits.await, Ok(()));
        adds_up(manager);
    });
}

#[background(concurrency(max = 1, key = (user.len(), *kind)), log = "off")]
async fn one_a_key(user: String, kind: u8, gauge: Gauge) {
    let _inside = gauge.enter();
    drop((user, kind));
    sleep(SECOND).await;
}

#[test]
fn b28_each_key_has_permits_of_its_own() {
    in_paused_time(async |_| {
        let gauge = Gauge::default();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..4)
            .flat_map(|kind| {
                let gauge = gauge.clone();
                (0..3).map(move |_| one_a_key("a".into(), kind, gauge.clone()))
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!(gauge.most(), 4);
        assert_eq!(begin.elapsed(), 3 * SECOND);
    });
}

#[background(concurrency = 1, log = "off")]
async fn one_at_a_time(token: ShutdownToken, begun: Arc<AtomicUsize>) {
    begun.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

#[test]
fn b28_what_waits_for_a_permit_when_draining_starts_is_started_and_drained() {
    on_both_flavors(async |manager| {
        let begun = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..10).map(|_| one_at_a_time(begun.clone())).collect();
        until("one has begun", || begun.load(Ordering::SeqCst) == 1).await;
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(begun.load(Ordering::SeqCst), 10);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
    });
}

#[test]
fn b28_a_call_cancelled_or_aborted_in_the_line_gives_up_its_place() {
    in_paused_time(async |manager| {
        let begun = Arc::new(AtomicUsize::new(0));
        let running = one_at_a_time(begun.clone());
        let cancelled = one_at_a_time(begun.clone());
        let aborted = one_at_a_time(begun.clone());
        let last = one_at_a_time(begun.clone());
        settle().await;
        cancelled.cancel();
        aborted.abort();
        assert_eq!(cancelled.await, Err(TaskError::Cancelled));
        assert_eq!(aborted.await, Err(TaskError::Aborted));
        running.cancel();
        assert_eq!(running.await, Ok(()));
        until("the last has begun", || begun.load(Ordering::SeqCst) == 2).await;
        last.cancel();
        assert_eq!(last.await, Ok(()));
        adds_up(manager);
    });
}

#[background(concurrency = 1, log = "off")]
fn blocks_until_let_go(gate: Arc<Mutex<mpsc::Receiver<()>>>, gauge: Gauge) {
    let _inside = gauge.enter();
    let _ = gate.lock().unwrap().recv();
}

#[test]
fn b28_an_aborted_plain_function_that_has_begun_is_abandoned_and_keeps_its_permit() {
    on_both_flavors(async |manager| {
        let (open, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let gauge = Gauge::default();
        let begun = blocks_until_let_go(gate.clone(), gauge.clone());
        until("it has begun", || gauge.now() == 1).await;
        let waits = blocks_until_let_go(gate.clone(), gauge.clone());
        begun.abort();
        assert_eq!(begun.await, Err(TaskError::Aborted));
        assert_eq!(manager.stats().abandoned, 1);
        settle().await;
        let states: Vec<_> = manager.tasks().iter().map(|task| task.state).collect();
        assert_eq!(states, [TaskState::Waiting]);
        assert_eq!(gauge.most(), 1);
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(waits.await, Ok(()));
        assert_eq!(gauge.most(), 1);
        adds_up(manager);
    });
}

#[background(timeout = "1h", log = "off")]
fn notes_that_it_began(begun: Arc<AtomicUsize>) {
    begun.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn b28_an_aborted_plain_function_that_waits_for_a_thread_never_begins() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let manager = bgtask_tests::manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let (open, gate) = mpsc::channel::<()>();
        let only_thread = tokio::task::spawn_blocking(move || gate.recv());
        let begun = Arc::new(AtomicUsize::new(0));
        let task = notes_that_it_began(begun.clone());
        settle().await;
        task.abort();
        assert_eq!(task.await, Err(TaskError::Aborted));
        let stats = manager.stats();
        assert_eq!((stats.aborted, stats.abandoned), (1, 0));
        drop(open);
        let _ = only_thread.await.unwrap();
        // Whatever was queued for the thread has had its turn when this has.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 0);
        assert!(manager.shutdown("end").await.is_clean());
    });
    runtime.shutdown_background();
}

#[test]
fn b28_two_managers_share_no_permits() {
    let [one, other] = runtimes();
    let (gate, other_gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let managers = [&one, &other].map(|runtime| bgtask_tests::manager_within(FOREVER, runtime));
    let entered = managers[0].enter();
    let first = refuses(gate.clone());
    drop(entered);
    // Its only permit is that of the first one's manager.
    other.block_on(async {
        let second = refuses(other_gate.clone());
        other_gate.notify_one();
        assert_eq!(second.await, Ok(()));
        assert!(managers[1].shutdown("end").await.is_clean());
    });
    one.block_on(async {
        gate.notify_one();
        assert_eq!(first.await, Ok(()));
        assert!(managers[0].shutdown("end").await.is_clean());
    });
    other.shutdown_background();
}

#[background(concurrency = 1, timeout = "1h", log = "off")]
fn is_stuck(gate: Arc<Mutex<mpsc::Receiver<()>>>, begun: Arc<AtomicUsize>) {
    begun.fetch_add(1, Ordering::SeqCst);
    let _ = gate.lock().unwrap().recv();
}

#[test]
fn b28_a_plain_function_stuck_at_the_deadline_is_abandoned_and_what_waits_behind_it_aborted() {
    for runtime in runtimes() {
        let manager = bgtask_tests::manager_within(Duration::from_millis(50), &runtime);
        let (open, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let begun = Arc::new(AtomicUsize::new(0));
        let report = runtime.block_on(async {
            let stuck = is_stuck(gate.clone(), begun.clone());
            let waits = is_stuck(gate.clone(), begun.clone());
            until("the first has begun", || begun.load(Ordering::SeqCst) == 1).await;
            let report = manager.shutdown("now").await;
            assert_eq!(stuck.await, Err(TaskError::Aborted));
            assert_eq!(waits.await, Err(TaskError::Aborted));
            report
        });
        let outcomes: Vec<_> = report.stragglers.iter().map(|late| late.outcome).collect();
        assert_eq!(outcomes, [Outcome::Abandoned, Outcome::Aborted]);
        assert_eq!(report.totals.running, 0);
        drop(open);
        // Let go at last, it ends; the one that waited never begins.
        bgtask_tests::blocking_until("it has ended", || Arc::strong_count(&gate) == 1);
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        runtime.shutdown_background();
    }
}

#[background(
    concurrency = 2,
    retry(max = 3, base = "1h", cap = "1h", backoff = "constant"),
    log = "off"
)]
async fn fails_at_first(gate: Arc<Notify>, script: Script) -> Result<u32, Trouble> {
    gate.notified().await;
    script.next()
}

#[test]
fn b35_the_stats_of_a_function_tell_what_each_of_its_calls_is_doing() {
    in_paused_time(async |_| {
        let doing = || {
            let own = stats_of("fails_at_first");
            [own.queued, own.running, own.waiting, own.backing_off]
        };
        let gates: [_; 3] = std::array::from_fn(|_| Arc::new(Notify::new()));
        let first = fails_at_first(gates[0].clone(), Script::new([PASSING, Ok(1)]));
        let second = fails_at_first(gates[1].clone(), Script::new([Ok(2)]));
        let third = fails_at_first(gates[2].clone(), Script::new([Ok(3)]));
        assert_eq!(doing(), [2, 0, 1, 0], "nothing has been polled");
        settle().await;
        assert_eq!(doing(), [0, 2, 1, 0]);
        gates[0].notify_one();
        settle().await;
        assert_eq!(doing(), [0, 1, 1, 1], "asleep, it keeps its permit");
        gates[1].notify_one();
        assert_eq!(second.await, Ok(Ok(2)));
        settle().await;
        assert_eq!(doing(), [0, 1, 0, 1]);
        gates[2].notify_one();
        assert_eq!(third.await, Ok(Ok(3)));
        assert_eq!(doing(), [0, 0, 0, 1]);
        gates[0].notify_one();
        assert_eq!(first.await, Ok(Ok(1)));
        assert_eq!(doing(), [0; 4], "all have ended");
        assert_eq!(stats_of("fails_at_first").retries, 1);
        let said = bgtask::snapshot().to_string();
        assert!(said.contains("3 succeeded; 1 retry\n"), "{said}");
    });
}

// ---- 29: coalesce ----

/// Counts the runs, and has each wait until it is let go.
#[derive(Clone, Default)]
struct Runs {
    count: Arc<AtomicU32>,
    gate: Arc<Notify>,
}

impl Runs {
    fn count(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    async fn run(&self) -> u32 {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.notified().await;
        number
    }
}

#[background(coalesce(key = key), log = "off")]
async fn joins(key: String, runs: Runs) -> u32 {
    drop(key);
    runs.run().await
}

#[test]
fn b29_calls_with_one_key_join_the_run_in_flight_and_share_its_outcome() {
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

        // The run has ended, so the next call is one of its own.
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
    match fails {
        true => Err(io::Error::other("the disk is full")),
        false => Ok(number),
    }
}

#[test]
fn b29_of_a_result_the_value_is_shared_and_an_error_that_cannot_be_copied_is_told() {
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

#[test]
fn b29_a_leader_that_panics_or_is_aborted_poisons_nothing() {
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
        // Nobody joins what is about to be dropped.
        let next = leads_to_a_panic(gate.clone(), false);
        assert_eq!(leader.await, Err(TaskError::Aborted));
        settle().await;
        gate.notify_one();
        assert_eq!(next.await, Ok(7));
    });
}

#[test]
fn b29_who_aborts_his_own_call_takes_the_run_from_nobody_who_has_joined_it() {
    in_paused_time(async |manager| {
        let runs = Runs::default();
        let mut leader = joins("a".into(), runs.clone());
        let joined = joins("a".into(), runs.clone());
        let other = joins("b".into(), runs.clone());
        // What nobody waits for is wanted all the same.
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
    match token.is_cancelled() {
        true => 0,
        false => number,
    }
}

#[test]
fn b29_a_run_that_was_told_to_end_is_joined_by_nobody() {
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

#[test]
fn b29_an_output_that_panics_while_it_is_copied_is_not_the_runs_panic() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let leader = cannot_really_be_shared(gate.clone());
        let joined = cannot_really_be_shared(gate.clone());
        // Nobody waits for this one, so nothing is copied for it.
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

#[test]
fn b29_a_skipped_call_is_told_so_and_is_no_failure() {
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

#[test]
fn b29_a_later_call_replaces_the_one_in_flight() {
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
        // Two at once: the second never begins.
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

#[test]
fn b29_a_call_that_is_turned_away_takes_nobodys_place() {
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

        // And one that has taken another's place is not turned away for the lack of room, though somebody else has got the
        // permit that came free.
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

#[test]
fn b29_a_plain_function_that_is_replaced_is_told_and_waited_for() {
    on_both_flavors(async |_| {
        let gauge = Gauge::default();
        let first = replaces_blocking(gauge.clone(), 1, 2);
        until("the first has begun", || gauge.now() == 1).await;
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

#[test]
fn b29_a_call_that_is_replaced_while_it_waits_for_its_rate_never_begins() {
    in_paused_time(async |_| {
        assert_eq!(replaces_at_a_rate(1).await, Ok(1));
        let second = replaces_at_a_rate(2);
        settle().await;
        let third = replaces_at_a_rate(3);
        settle().await;
        assert!(second.is_finished(), "it need not wait for the hour");
        assert_eq!(second.await, Err(TaskError::Replaced));
        // The window has kept a start for the one that was replaced.
        assert_eq!(third.await, Ok(3));
    });
}

#[background(coalesce(policy = "replace"), log = "off")]
fn replaces_what_heeds_nothing(hold: Option<(Arc<AtomicBool>, mpsc::Receiver<()>)>) {
    if let Some((begun, gate)) = hold {
        begun.store(true, Ordering::SeqCst);
        let _ = gate.recv();
    }
}

#[test]
fn b29_a_call_that_is_replaced_while_it_waits_is_told_at_once() {
    on_both_flavors(async |_| {
        let (open, gate) = mpsc::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let first = replaces_what_heeds_nothing(Some((begun.clone(), gate)));
        until("the first has begun", || begun.load(Ordering::SeqCst)).await;
        let second = replaces_what_heeds_nothing(None);
        let third = replaces_what_heeds_nothing(None);
        until("the second is told", || second.is_finished()).await;
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

#[test]
fn b29_however_many_calls_come_meanwhile_one_more_run_trails() {
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
        // It has begun: what comes now may be news to it.
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

#[test]
fn b29_a_trailing_run_that_was_accepted_is_started_and_drained() {
    on_both_flavors(async |manager| {
        let count = Arc::new(AtomicU32::new(0));
        let first = trails_into_the_drain(count.clone());
        until("the first has begun", || count.load(Ordering::SeqCst) == 1).await;
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

#[test]
fn b29_instances_of_a_generic_function_do_not_join_one_another() {
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

#[test]
fn b29_concurrent_callers_have_one_leader() {
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
            until("it has begun", || runs.count() > 0).await;
            runs.gate.notify_one();
            for task in tasks {
                assert_eq!(task.await, Ok(1));
            }
            assert_eq!(manager.stats().coalesced - before, 7);
        }
    });
}

// ---- 31: rate ----

#[background(rate = "3/s")]
async fn three_a_second(at: Arc<Mutex<Vec<Instant>>>) {
    at.lock().unwrap().push(Instant::now());
}

#[test]
fn b31_at_most_so_many_start_in_a_window() {
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
        // A timer is due at a whole millisecond, never before its time.
        let seconds: Vec<_> = starts.iter().map(|start| start / 1000).collect();
        assert_eq!(seconds, [0, 0, 0, 1, 1, 1, 2, 2]);
    });
}

#[background(rate(limit = "1/m", key = *user, overflow = "refuse"), log = "off")]
async fn one_a_minute_and_user(user: u32) -> u32 {
    user
}

#[test]
fn b31_a_rate_is_kept_by_key_and_refuses_where_asked() {
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

#[background(rate = "1/h", log = "off")]
async fn one_an_hour(begun: Arc<AtomicUsize>) {
    begun.fetch_add(1, Ordering::SeqCst);
}

#[background(rate = "1/h", name = "held back and told")]
async fn held_back_and_told() {}

#[test]
fn b31_what_the_rate_held_back_to_the_end_is_told_unless_it_is_silent() {
    record_events();
    // In true time: a clock that jumps ahead would come to their turn before the shutdown does.
    on_both_flavors(async |manager| {
        (0..2).for_each(|_| drop(held_back_and_told()));
        (0..2).for_each(|_| drop(one_an_hour(Arc::default())));
        until("two wait", || manager.stats().waiting == 2).await;
    });
    let told = |name| {
        let events = recorded_of(name);
        let dropped = events
            .iter()
            .filter(|event| event.message.starts_with("call dropped while it waited"));
        dropped.count()
    };
    assert_eq!((told("held back and told"), told("::one_an_hour")), (2, 0));
}

#[test]
fn b31_what_waits_for_the_rate_does_not_hold_the_drain_and_is_reported() {
    on_both_flavors(async |manager| {
        let begun = Arc::new(AtomicUsize::new(0));
        assert_eq!(one_an_hour(begun.clone()).await, Ok(()));
        let waits = one_an_hour(begun.clone());
        until("it waits", || manager.stats().waiting == 1).await;
        let report = manager.shutdown("now").await;
        assert!(report.elapsed < FOREVER / 2);
        assert_eq!(waits.await, Err(TaskError::Cancelled));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
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

#[test]
fn b31_a_run_that_had_to_wait_for_another_counts_when_it_begins() {
    in_paused_time(async |_| {
        let at = Arc::default();
        let call = |millis| trails_at_a_rate(Arc::clone(&at), millis);
        let first = call(1900);
        sleep(SECOND).await;
        // Trails the first, and so begins at 1.9 s; at 2.5 s that is less than a second ago.
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

#[test]
fn b31_a_call_whose_rate_has_come_is_refused_where_there_is_no_room() {
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

#[background(coalesce, rate = "1/h", log = "off")]
async fn joins_an_hourly_run() -> u32 {
    7
}

#[test]
fn b29_those_who_joined_a_run_that_never_began_are_told_why() {
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

// ---- 33: state, as far as calls are concerned ----

#[derive(Clone, Debug, PartialEq)]
struct Settings(u32);

#[test]
fn b09_a_call_with_policies_after_the_shutdown_is_refused_like_any_other() {
    on_both_flavors(async |manager| {
        manager.shutdown("b09").await;
        let refused = Err(TaskError::Refused(RefusedReason::ShutDown));
        assert_eq!(
            sleeps_within_five_seconds(1, OnDrop(Arc::default())).await,
            refused
        );
        let runs = Runs::default();
        assert_eq!(
            joins("key".into(), runs.clone()).await,
            refused.map(|_: u64| 0)
        );
        assert_eq!(runs.count(), 0);
        assert_eq!(manager.stats().refused, 2);
    });
}

#[background]
async fn counts_up(mut state: State<Settings>, token: ShutdownToken) -> u32 {
    state.0.0 += 1;
    let Settings(count) = &mut *state;
    *count += u32::from(!token.is_cancelled());
    state.0.0
}

#[test]
fn b33_what_a_task_is_given_is_its_own_copy() {
    on_both_flavors(async |manager| {
        manager.provide(Settings(40));
        assert_eq!(counts_up().await, Ok(42));
        assert_eq!(counts_up().await, Ok(42));
    });
}

#[background(log = "off")]
async fn reads_settings(token: ShutdownToken, State(settings): State<Settings>, add: u32) -> u32 {
    assert!(!token.is_cancelled());
    settings.0 + add
}

#[background(log = "off")]
fn reads_settings_blocking(add: u32, settings: State<Settings>) -> u32 {
    settings.0.0 + add
}

#[test]
fn b33_state_is_filled_in_by_type_and_belongs_to_one_manager() {
    for number in [1, 100] {
        on_both_flavors(async |manager| {
            bgtask::provide(Settings(number));
            assert_eq!(reads_settings(1).await, Ok(number + 1));
            assert_eq!(reads_settings_blocking(2).await, Ok(number + 2));
            assert_eq!(manager.stats().succeeded, 2);
        });
    }
}

#[derive(Clone)]
struct NeverProvided;

#[background(name = "lacks its state")]
async fn lacks_its_state(State(_state): State<NeverProvided>) {}

#[test]
fn b33_a_call_without_its_state_is_refused_and_says_which() {
    record_events();
    in_paused_time(async |manager| {
        let refused = lacks_its_state();
        let error = refused.await.unwrap_err();
        match &error {
            TaskError::Refused(RefusedReason::MissingState(name)) => {
                assert!(name.ends_with("NeverProvided"));
            }
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains("bgtask::provide"), "{error}");
        assert_eq!((manager.stats().accepted, manager.stats().refused), (0, 1));
    });
    let events = recorded_of("lacks its state");
    assert_eq!(events.len(), 1);
    assert!(events[0].field("reason").contains("NeverProvided"));
    assert!(events[0].field("called_at").contains(file!()));
}

#[test]
fn b33_state_provided_twice_says_so_and_the_first_stands() {
    record_events();
    on_both_flavors(async |manager| {
        bgtask::provide(Settings(1));
        manager.provide(Settings(2));
        assert_eq!(reads_settings(0).await, Ok(1));
    });
    let events = bgtask_tests::recorded(|event| {
        event.message.starts_with("state provided twice")
            && event.field("state").ends_with("Settings")
    });
    assert_eq!(events.len(), 2);
    assert!(events[0].field("first").contains(file!()));
    assert_ne!(events[0].field("first"), events[0].field("second"));
}

// ---- all together ----

#[background(
    coalesce(key = key, policy = "trailing"),
    rate(limit = "100/s", key = key),
    concurrency(max = 2, queue = 10),
    retry(max = 3, base = "10ms"),
    timeout = "1s",
    log = "off"
)]
async fn all_together(
    token: ShutdownToken,
    State(settings): State<Settings>,
    key: String,
    attempts: Arc<AtomicU32>,
) -> io::Result<String> {
    assert!(!token.is_cancelled());
    match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => Err(io::Error::other("not yet")),
        1 => {
            sleep(FOREVER).await;
            Ok(key)
        }
        _ => Ok(format!("{key} {}", settings.0)),
    }
}

#[test]
fn b29_policies_wrap_one_another() {
    in_paused_time(async |manager| {
        manager.provide(Settings(5));
        let attempts = Arc::new(AtomicU32::new(0));
        let task = all_together("a".into(), attempts.clone());
        let joined = all_together("a".into(), attempts.clone());
        assert_eq!(task.await.unwrap().unwrap(), "a 5");
        assert_eq!(joined.await.unwrap().unwrap(), "a 5");
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
        assert_eq!((manager.stats().retries, manager.stats().coalesced), (2, 1));
    });
}
