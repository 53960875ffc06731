//! A call with attempts left gets one more of them from a shutdown: at once, with a token that fires late. Behaviour
//! 27.

use bgtask::{
    Group, Manager, Outcome, ShutdownReason, ShutdownToken, TaskError, TaskState, background,
    shutdown_token,
};
use bgtask_tests::{
    FOREVER, blocking_until, in_paused_time, on_both_flavors, on_both_flavors_within,
    record_events, recorded_of, until,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

type Sent = Result<&'static str, &'static str>;

/// A server that rejects its first request.
#[derive(Clone, Default)]
struct Server {
    requests: Arc<AtomicUsize>,
    /// Whether the tokens had fired at the start of each attempt: the parameter, and that of `shutdown_token()`.
    fired: Arc<Mutex<Vec<(bool, bool)>>>,
}

impl Server {
    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn note(&self, token: &ShutdownToken) {
        let fired = (token.is_cancelled(), shutdown_token().is_cancelled());
        self.fired.lock().unwrap().push(fired);
    }

    fn send(&self) -> Sent {
        match self.requests.fetch_add(1, Ordering::SeqCst) {
            0 => Err("not yet"),
            _ => Ok("sent"),
        }
    }

    /// Returns, for each attempt, whether its two tokens had fired at its start.
    fn fired(&self) -> Vec<(bool, bool)> {
        self.fired.lock().unwrap().clone()
    }
}

async fn until_asleep(manager: &Manager, count: usize) {
    until("all are asleep", || {
        let tasks = manager.tasks().into_iter();
        let asleep = tasks.filter(|task| task.state == TaskState::BackingOff);
        asleep.count() == count
    })
    .await;
}

#[background(retry(max = 5, base = "1h", cap = "1h"), log = "off")]
async fn sends(server: Server, token: ShutdownToken) -> Sent {
    server.note(&token);
    tokio::task::yield_now().await;
    server.send()
}

#[background(retry(max = 5, base = "1h", cap = "1h"), log = "off")]
fn sends_blocking(server: Server, token: ShutdownToken) -> Sent {
    server.note(&token);
    server.send()
}

#[background(retry(max = 5, base = "1h", cap = "1h"), timeout = "1m", log = "off")]
fn sends_blocking_in_time(server: Server, token: ShutdownToken) -> Sent {
    server.note(&token);
    server.send()
}

#[background(
    retry(max = 5, base = "1h", cap = "1h"),
    on_shutdown = "finish",
    log = "off"
)]
async fn sends_and_finishes(server: Server, token: ShutdownToken) -> Sent {
    server.note(&token);
    server.send()
}

/// Behaviour 27.
#[test]
fn a_call_asleep_when_draining_starts_gets_one_more_attempt_at_once() {
    let reports = on_both_flavors(async |manager| {
        let servers: Vec<_> = (0..4).map(|_| Server::default()).collect();
        let tasks = [
            sends(servers[0].clone()),
            sends_blocking(servers[1].clone()),
            sends_blocking_in_time(servers[2].clone()),
            sends_and_finishes(servers[3].clone()),
        ];
        until_asleep(manager, 4).await;
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        assert!(report.elapsed < FOREVER / 2, "{report}");
        assert_eq!((report.drained, report.gave_up), (4, 0));
        for task in tasks {
            assert_eq!(task.await, Ok(Ok("sent")));
        }
        for server in servers {
            assert_eq!(server.requests(), 2);
            assert_eq!(server.fired(), [(false, false), (false, false)]);
        }
        assert_eq!(manager.stats().retries, 4);
    });
    for report in reports {
        assert!(!report.to_string().contains("gave up"), "{report}");
    }
}

/// Fails at once, and then runs until its token fires.
#[background(retry(max = 5, base = "1h", cap = "1h"), log = "off")]
async fn takes_all_the_time_there_is(
    server: Server,
    token: ShutdownToken,
) -> Result<(Duration, Duration), &'static str> {
    if server.send().is_err() {
        return Err("not yet");
    }
    let begin = Instant::now();
    assert_eq!((token.shutdown_reason(), token.deadline()), (None, None));
    let other = shutdown_token();
    assert!(!other.is_cancelled());
    token.cancelled().await;
    assert!(token.is_cancelled() && other.is_cancelled() && shutdown_token().is_cancelled());
    assert_eq!(token.shutdown_reason(), Some(ShutdownReason::from("now")));
    Ok((begin.elapsed(), token.remaining().unwrap()))
}

/// Behaviour 27.
#[test]
fn the_token_of_the_last_attempt_fires_two_seconds_before_the_deadline() {
    in_paused_time(async |manager| {
        let server = Server::default();
        let task = takes_all_the_time_there_is(server.clone());
        until_asleep(manager, 1).await;
        // The clock does not jump while the blocking pool has work, so it does not skip the pause before the drain starts.
        let stops_the_clock = tokio::task::spawn_blocking(move || {
            blocking_until("the last attempt has started", || server.requests() == 2);
        });
        let report = manager.shutdown("now").await;
        stops_the_clock.await.unwrap();
        assert!(report.is_clean(), "{report}");
        let (took, _) = task.await.unwrap().unwrap();
        // Less the time from the request to the attempt.
        assert!(
            took <= FOREVER - 2 * SECOND && took > FOREVER / 2,
            "{took:?}"
        );
    });
    // With a running clock, it does not fire earlier.
    on_both_flavors_within(3 * SECOND, async |manager| {
        let task = takes_all_the_time_there_is(Server::default());
        until_asleep(manager, 1).await;
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        let (_, left) = task.await.unwrap().unwrap();
        assert!(left <= 2 * SECOND, "{left:?}");
    });
}

/// Fails at once; its second attempt ends when its token fires, or when the worker is released.
#[background(retry(max = 5, base = "1h", cap = "1h"), log = "off")]
fn sleeps_until_its_token_fires(
    server: Server,
    worker: Arc<BlockedWorker>,
    token: ShutdownToken,
) -> Result<bool, &'static str> {
    if server.send().is_err() {
        return Err("not yet");
    }
    blocking_until("the worker is blocked", || {
        worker.is_blocked.load(Ordering::SeqCst)
    });
    let mut has_fired = false;
    while !has_fired && !worker.is_released.load(Ordering::SeqCst) {
        has_fired = !token.sleep(Duration::from_millis(20));
    }
    worker.is_released.store(true, Ordering::SeqCst);
    Ok(has_fired)
}

/// The state of the only worker of a runtime, which a task blocks.
#[derive(Default)]
struct BlockedWorker {
    is_blocked: AtomicBool,
    is_released: AtomicBool,
}

#[background(log = "off")]
async fn blocks_the_worker(server: Server, worker: Arc<BlockedWorker>) {
    until("the last attempt has started", || server.requests() == 2).await;
    worker.is_blocked.store(true, Ordering::SeqCst);
    while !worker.is_released.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Behaviour 27.
#[test]
fn the_token_of_the_last_attempt_fires_even_if_every_worker_is_blocked() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = Manager::builder()
        .grace(4 * SECOND)
        .install_on(runtime.handle())
        .unwrap();
    let (server, worker) = (Server::default(), Arc::new(BlockedWorker::default()));
    runtime.block_on(async {
        let task = sleeps_until_its_token_fires(server.clone(), worker.clone());
        until_asleep(&manager, 1).await;
        let blocks = blocks_the_worker(server, worker.clone());
        let report = manager.shutdown("now").await;
        worker.is_released.store(true, Ordering::SeqCst);
        assert!(report.is_clean(), "{report}");
        assert_eq!(task.await, Ok(Ok(true)));
        assert_eq!(blocks.await, Ok(()));
    });
}

/// Behaviour 27.
#[test]
fn with_less_than_two_seconds_left_the_token_of_the_last_attempt_has_fired() {
    on_both_flavors_within(SECOND, async |manager| {
        let (server, blocking) = (Server::default(), Server::default());
        let tasks = [sends(server.clone()), sends_blocking(blocking.clone())];
        until_asleep(manager, 2).await;
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        for task in tasks {
            assert_eq!(task.await, Ok(Ok("sent")));
        }
        for server in [server, blocking] {
            assert_eq!(server.fired(), [(false, false), (true, true)]);
        }
    });
}

#[background(retry(max = 5, base = "1h", cap = "1h"), log = "off")]
async fn never_gets_through(attempts: Arc<AtomicUsize>) -> Sent {
    attempts.fetch_add(1, Ordering::SeqCst);
    Err("no answer")
}

#[background(retry(max = 5, base = "1h", cap = "1h"), timeout = "10ms", log = "off")]
async fn is_never_in_time(attempts: Arc<AtomicUsize>) {
    attempts.fetch_add(1, Ordering::SeqCst);
    sleep(FOREVER).await;
}

#[background(retry(max = 2, base = "1h", cap = "1h"), log = "off")]
async fn has_one_attempt_left(attempts: Arc<AtomicUsize>) -> Sent {
    attempts.fetch_add(1, Ordering::SeqCst);
    Err("no answer")
}

/// Behaviour 27.
#[test]
fn the_report_separates_calls_that_gave_up_from_drained_ones() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let reports = on_both_flavors(async |manager| {
        let noted = errors.clone();
        bgtask::on_error(move |task| noted.lock().unwrap().push(task.error.to_owned()));
        let attempts = Arc::new(AtomicUsize::new(0));
        let gives_up = never_gets_through(attempts.clone());
        let late = is_never_in_time(attempts.clone());
        let exhausted = has_one_attempt_left(attempts.clone());
        until_asleep(manager, 3).await;
        let report = manager.shutdown("now").await;
        assert_eq!(attempts.load(Ordering::SeqCst), 6);
        assert_eq!(gives_up.await, Ok(Err("no answer")));
        assert_eq!(late.await, Err(TaskError::TimedOut));
        assert_eq!(exhausted.await, Ok(Err("no answer")));

        assert_eq!((report.drained, report.gave_up), (3, 2));
        let mut failures: Vec<_> = report
            .failures
            .iter()
            .map(|failure| (failure.outcome, failure.message.as_str()))
            .collect();
        failures.sort_by_key(|(_, message)| *message);
        let expected = [
            (Outcome::Failed, "no answer (after 2 attempts)"),
            (Outcome::Failed, "no answer (gave up after 2 attempts)"),
            (Outcome::TimedOut, "timed out (gave up after 2 attempts)"),
        ];
        assert_eq!(failures, expected);
    });
    for report in reports {
        let text = report.to_string();
        assert!(text.contains("3 failed; 2 gave up retrying"), "{text}");
    }
    let mut errors = errors.lock().unwrap();
    errors.sort();
    assert_eq!(
        *errors,
        [
            "no answer (after 2 attempts)",
            "no answer (after 2 attempts)",
            "no answer (gave up after 2 attempts)",
            "no answer (gave up after 2 attempts)"
        ]
    );
}

#[background(
    name = "panics each time",
    retry(max = 5, base = "1h", cap = "1h", panics)
)]
async fn panics_each_time() {
    panic!("no answer");
}

#[background(
    name = "panics twice",
    retry(max = 2, base = "1ms", cap = "1ms", panics)
)]
async fn panics_twice() {
    panic!("no answer");
}

#[background(
    name = "is late each time",
    retry(max = 5, base = "1h", cap = "1h"),
    timeout = "1ms"
)]
async fn is_late_each_time() {
    std::future::pending::<()>().await;
}

#[background(
    name = "is late once",
    retry(max = 5, base = "1h", cap = "1h", last_attempt = false),
    timeout = "1ms"
)]
async fn is_late_once() {
    std::future::pending::<()>().await;
}

/// Behaviour 27.
#[test]
fn a_last_attempt_that_panics_or_times_out_states_that_the_call_gave_up() {
    record_events();
    let panics = Arc::new(Mutex::new(Vec::new()));
    on_both_flavors(async |manager| {
        let noted = panics.clone();
        bgtask::on_panic(move |task| noted.lock().unwrap().push(task.message.to_owned()));
        let exhausted = panics_twice();
        assert!(exhausted.await.is_err());
        let panicking = panics_each_time();
        let late = is_late_each_time();
        let late_once = is_late_once();
        until_asleep(manager, 3).await;
        let report = manager.shutdown("now").await;
        assert_eq!(report.gave_up, 3, "{report}");
        // The handle has the original panic.
        let error = panicking.await.unwrap_err();
        assert!(matches!(error, TaskError::Panicked { message, .. } if message == "no answer"));
        assert_eq!(late.await, Err(TaskError::TimedOut));
        assert_eq!(late_once.await, Err(TaskError::TimedOut));
        let mut messages: Vec<_> = report
            .failures
            .iter()
            .map(|failure| &failure.message)
            .collect();
        messages.sort();
        assert_eq!(
            messages,
            [
                "no answer (gave up after 2 attempts)",
                "timed out (gave up after 1 attempt)",
                "timed out (gave up after 2 attempts)",
            ]
        );
    });
    let expected = [
        "no answer (after 2 attempts)",
        "no answer (gave up after 2 attempts)",
    ];
    // Once per flavor.
    assert_eq!(*panics.lock().unwrap(), [expected, expected].concat());
    for (name, text) in [
        ("panics twice", expected[0]),
        ("panics each time", expected[1]),
    ] {
        let events = recorded_of(name);
        let ends = events
            .iter()
            .filter(|event| event.message == "task panicked");
        let texts: Vec<_> = ends.map(|event| event.field("panic").to_owned()).collect();
        assert_eq!(texts, [text, text]);
    }
    for (name, attempts) in [("is late each time", "2"), ("is late once", "1")] {
        let events = recorded_of(name);
        let ends = events
            .iter()
            .filter(|event| event.message == "task timed out");
        let fields: Vec<_> = ends
            .map(|event| (event.field("attempts"), event.field("gave_up")))
            .collect();
        assert_eq!(fields, [(attempts, "true"), (attempts, "true")]);
    }
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", last_attempt = false),
    log = "off"
)]
async fn wants_no_last_attempt(attempts: Arc<AtomicUsize>, gate: Arc<Semaphore>) -> Sent {
    attempts.fetch_add(1, Ordering::SeqCst);
    gate.acquire().await.unwrap().forget();
    Err("no answer")
}

/// Behaviour 27.
#[test]
fn a_function_can_opt_out_of_the_last_attempt() {
    on_both_flavors(async |manager| {
        let (attempts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1)));
        let asleep = wants_no_last_attempt(attempts.clone(), gate.clone());
        until_asleep(manager, 1).await;
        let running = wants_no_last_attempt(attempts.clone(), gate.clone());
        until("it has started", || attempts.load(Ordering::SeqCst) == 2).await;
        let (report, ()) = tokio::join!(manager.shutdown("now"), async {
            assert_eq!(asleep.await, Ok(Err("no answer")));
            gate.add_permits(10);
            assert_eq!(running.await, Ok(Err("no answer")));
        });
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
        assert_eq!((report.drained, report.gave_up), (2, 2));
        let message = &report.failures[0].message;
        assert_eq!(message, "no answer (gave up after 1 attempt)");
    });
}

#[background(retry(max = 5, base = "1h", cap = "1h"), log = "off")]
async fn is_interrupted_by_its_token(server: Server, token: ShutdownToken) -> Sent {
    server.note(&token);
    if server.send().is_err() {
        token.cancelled().await;
        return Err("interrupted");
    }
    Err("no answer")
}

/// Behaviour 27.
#[test]
fn an_attempt_that_the_drain_interrupts_is_followed_by_one_more_and_no_other() {
    on_both_flavors(async |manager| {
        let server = Server::default();
        let task = is_interrupted_by_its_token(server.clone());
        until("it has started", || server.requests() == 1).await;
        let report = manager.shutdown("now").await;
        assert_eq!(task.await, Ok(Err("no answer")));
        assert_eq!(report.gave_up, 1);
        assert_eq!(server.fired(), [(false, false), (false, false)]);
    });
}

#[background(concurrency = 1, retry(max = 5, base = "1h", cap = "1h"), log = "off")]
async fn waits_and_sends(server: Server, token: ShutdownToken, gate: Arc<Semaphore>) -> Sent {
    server.note(&token);
    gate.acquire().await.unwrap().forget();
    server.send()
}

/// Behaviour 27.
#[test]
fn a_call_that_starts_in_the_drain_has_an_attempt_whose_token_has_not_fired() {
    on_both_flavors(async |manager| {
        let (first, second) = (Server::default(), Server::default());
        let gate = Arc::new(Semaphore::new(0));
        let tasks = [&first, &second].map(|sender| waits_and_sends(sender.clone(), gate.clone()));
        until("the first has started", || first.fired().len() == 1).await;
        // The first attempt of the first call fails, so that call ends during the drain at the earliest.
        gate.add_permits(4);
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        for task in tasks {
            assert_eq!(task.await, Ok(Ok("sent")));
        }
        assert_eq!(second.fired(), [(true, true), (false, false)]);
    });
}

/// Behaviour 27.
#[test]
fn a_last_attempt_can_be_cancelled_alone() {
    on_both_flavors(async |manager| {
        let server = Server::default();
        let task = takes_all_the_time_there_is(server.clone());
        until_asleep(manager, 1).await;
        let (report, ()) = tokio::join!(manager.shutdown("now"), async {
            until("the last attempt has started", || server.requests() == 2).await;
            task.cancel();
            assert!(task.await.unwrap().is_ok());
        });
        assert!(report.is_clean(), "{report}");
        assert!(report.elapsed < FOREVER / 2, "{report}");
    });
}

/// Behaviour 27.
#[test]
fn a_cancelled_call_gets_no_last_attempt() {
    on_both_flavors(async |manager| {
        let (server, gate) = (Server::default(), Arc::new(Semaphore::new(0)));
        let task = waits_and_sends(server.clone(), gate.clone());
        until("it has started", || server.fired().len() == 1).await;
        task.cancel();
        let (report, ()) = tokio::join!(manager.shutdown("now"), async {
            until("it drains", bgtask::is_shutting_down).await;
            gate.add_permits(10);
        });
        assert_eq!(task.await, Ok(Err("not yet")));
        assert_eq!((server.requests(), report.gave_up), (1, 0));
    });
}

/// Behaviour 27.
#[test]
fn a_last_attempt_can_be_cancelled_with_its_group() {
    on_both_flavors(async |manager| {
        let (server, group) = (Server::default(), Group::new());
        let task = group.run(|| takes_all_the_time_there_is(server.clone()));
        until_asleep(manager, 1).await;
        let (report, ()) = tokio::join!(manager.shutdown("now"), async {
            until("the last attempt has started", || server.requests() == 2).await;
            group.cancel();
            assert!(task.await.unwrap().is_ok());
        });
        assert!(report.is_clean(), "{report}");
        assert!(report.elapsed < FOREVER / 2, "{report}");
    });
}

/// Behaviour 27.
#[test]
fn a_call_whose_group_is_cancelled_gets_no_last_attempt() {
    on_both_flavors(async |manager| {
        let (server, gate) = (Server::default(), Arc::new(Semaphore::new(0)));
        let group = Group::new();
        let task = group.run(|| waits_and_sends(server.clone(), gate.clone()));
        until("it has started", || server.fired().len() == 1).await;
        group.cancel();
        let (report, ()) = tokio::join!(manager.shutdown("now"), async {
            until("it drains", bgtask::is_shutting_down).await;
            gate.add_permits(10);
        });
        assert_eq!(task.await, Ok(Err("not yet")));
        assert_eq!((server.requests(), report.gave_up), (1, 0));
    });
}

#[background(
    retry(max = 5, base = "1h", cap = "1h"),
    on_shutdown = "cancel",
    log = "off"
)]
async fn is_dropped_asleep(attempts: Arc<AtomicUsize>) -> Sent {
    attempts.fetch_add(1, Ordering::SeqCst);
    Err("no answer")
}

/// Behaviour 27.
#[test]
fn a_call_that_the_drain_drops_gets_no_last_attempt() {
    on_both_flavors(async |manager| {
        let attempts = Arc::new(AtomicUsize::new(0));
        let task = is_dropped_asleep(attempts.clone());
        until_asleep(manager, 1).await;
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(task.await, Err(TaskError::Cancelled));
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    });
}
