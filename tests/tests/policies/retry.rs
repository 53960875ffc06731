//! `retry`: how often an attempt follows a failed one, when it starts, and what ends the series.

use crate::support::{PASSING, SECOND, Script, ScriptError};
use bgtask::{ShutdownToken, TaskError, TaskState, background, spawn};
use bgtask_tests::{
    FOREVER, in_paused_time, on_both_flavors, record_events, recorded_of, settle, until,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

#[background(
    retry(max = 5, backoff = "exponential", base = "200ms", cap = "1s"),
    log = "off"
)]
async fn tries(script: Script) -> Result<u32, ScriptError> {
    script.next()
}

#[background(retry(max = 5, backoff = "linear", base = "1s"), log = "off")]
fn tries_blocking(token: ShutdownToken, script: Script) -> Result<u32, ScriptError> {
    assert!(!token.is_cancelled());
    script.next()
}

/// Behaviour 27.
#[test]
fn attempts_stop_at_the_first_success_and_pauses_grow_up_to_the_cap() {
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
async fn never_succeeds() -> Result<(), ScriptError> {
    Err(ScriptError::Passing)
}

/// Behaviour 27.
#[test]
fn the_last_failure_is_the_outcome_and_states_the_attempts() {
    record_events();
    in_paused_time(async |manager| {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let recorded = errors.clone();
        bgtask::on_error(move |task| recorded.lock().unwrap().push(task.error.to_owned()));
        assert_eq!(never_succeeds().await, Ok(Err(ScriptError::Passing)));
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

#[background(retry(max = 5, base = "1ms", when = |error| *error == ScriptError::Passing), log = "off")]
async fn tries_what_passes(script: Script) -> Result<u32, ScriptError> {
    script.next()
}

/// Behaviour 27.
#[test]
fn an_error_that_the_predicate_rejects_is_not_retried() {
    in_paused_time(async |_| {
        let script = Script::new([PASSING, Err(ScriptError::Lasting)]);
        assert_eq!(
            tries_what_passes(script.clone()).await,
            Ok(Err(ScriptError::Lasting))
        );
        assert_eq!(script.attempts(), 2);
    });
}

/// Waits as the error says: a second for the first one, and as the back-off says for the others.
fn pause_of(error: &Busy) -> Option<Duration> {
    error.0.map(Duration::from_secs)
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Busy(Option<u64>);

#[background(retry(max = 4, base = "200ms", cap = "200ms", after = pause_of), log = "off")]
async fn waits_as_told(starts: Starts, errors: Arc<[Busy]>) -> Result<(), Busy> {
    starts.next(&errors)
}

#[background(
    retry(max = 4, base = "200ms", cap = "200ms", when = |error| error.0 != Some(9), after = |error| error.0.map(Duration::from_secs)),
    log = "off"
)]
fn waits_as_told_while_it_makes_sense(starts: Starts, errors: Arc<[Busy]>) -> Result<(), Busy> {
    starts.next(&errors)
}

/// When the attempts of a call began.
#[derive(Clone, Default)]
struct Starts(Arc<Mutex<Vec<Instant>>>);

impl Starts {
    /// Notes the beginning of an attempt, and returns its error.
    fn next(&self, errors: &[Busy]) -> Result<(), Busy> {
        let mut starts = self.0.lock().unwrap();
        starts.push(Instant::now());
        match errors.get(starts.len() - 1) {
            Some(error) => Err(*error),
            None => Ok(()),
        }
    }

    /// The pauses in between, in milliseconds.
    fn pauses(&self) -> Vec<u128> {
        let starts = self.0.lock().unwrap();
        let pauses = starts.windows(2).map(|two| two[1] - two[0]);
        pauses.map(|pause| pause.as_millis()).collect()
    }
}

/// Behaviour 27.
#[test]
fn an_error_may_say_when_the_next_attempt_is_made() {
    in_paused_time(async |_| {
        let starts = Starts::default();
        let errors: Arc<[_]> = Arc::new([Busy(Some(90)), Busy(None), Busy(Some(0))]);
        let outcome = waits_as_told(starts.clone(), errors.clone()).await;
        assert_eq!(outcome, Ok(Ok(())));
        assert_eq!(starts.pauses(), [90_000, 200, 0]);

        let starts = Starts::default();
        let block = starts.clone();
        let told = errors.clone();
        let outcome = spawn!(
            "waits as told",
            retry(
                max = 4,
                base = "200ms",
                cap = "200ms",
                after = |error| error.0.map(Duration::from_secs)
            ),
            log = "off",
            move || {
                let (block, told) = (block.clone(), told.clone());
                async move { block.next(&told) }
            }
        );
        assert_eq!(outcome.await, Ok(Ok(())));
        assert_eq!(starts.pauses(), [90_000, 200, 0]);

        // The predicate comes first.
        let starts = Starts::default();
        let errors = Arc::new([Busy(Some(2)), Busy(Some(9))]);
        let outcome = waits_as_told_while_it_makes_sense(starts.clone(), errors).await;
        assert_eq!(outcome, Ok(Err(Busy(Some(9)))));
        assert_eq!(starts.pauses(), [2_000]);
    });
}

/// Behaviour 27.
#[test]
fn a_pause_that_an_error_asks_for_is_a_year_at_most() {
    in_paused_time(async |_| {
        let starts = Starts::default();
        let outcome = waits_as_told(starts.clone(), Arc::new([Busy(Some(u64::MAX))])).await;
        assert_eq!(outcome, Ok(Ok(())));
        assert_eq!(starts.pauses(), [365 * 24 * 60 * 60 * 1000]);
    });
}

#[background(concurrency = 1, log = "off")]
async fn fails_without_a_retry() -> Result<(), ScriptError> {
    Err(ScriptError::Lasting)
}

/// Behaviour 27.
#[test]
fn an_error_states_its_attempts_if_several_are_allowed() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    in_paused_time(async |_| {
        let noted = errors.clone();
        bgtask::on_error(move |task| noted.lock().unwrap().push(task.error.to_owned()));
        let _ = fails_without_a_retry().await;
        let _ = tries_what_passes(Script::new([Err(ScriptError::Lasting)])).await;
        let _ = tries_what_passes(Script::new([PASSING, Err(ScriptError::Lasting)])).await;
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

/// Behaviour 27.
#[test]
fn a_blocking_function_aborted_between_attempts_is_not_abandoned() {
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
async fn panics_at_first(attempts: Arc<AtomicU32>) -> Result<u32, ScriptError> {
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

/// Behaviour 27.
#[test]
fn a_panic_is_a_failed_attempt_only_if_requested() {
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
async fn is_late_at_first(script: Script) -> Result<u32, ScriptError> {
    let result = script.next();
    if result.is_err() {
        sleep(FOREVER).await;
    }
    result
}

/// Behaviour 27.
#[test]
fn each_attempt_has_the_whole_timeout() {
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
fn waits_for_each_limit(token: ShutdownToken, attempts: Arc<AtomicU32>) {
    attempts.fetch_add(1, Ordering::SeqCst);
    token.wait();
}

// More attempts than needed: on a busy machine a later one may miss its limit too, before it has started.
#[background(
    retry(max = 1000, base = "1ms", backoff = "constant"),
    timeout = "10ms",
    log = "off"
)]
fn is_late_once(token: ShutdownToken, attempts: Arc<AtomicU32>) -> Result<bool, ScriptError> {
    if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
        token.wait();
    }
    Ok(token.is_cancelled())
}

/// Behaviour 27.
#[test]
fn the_token_of_a_later_attempt_does_not_fire_with_the_limit_of_the_first() {
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
    ) -> Result<String, ScriptError> {
        match self.attempts.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(ScriptError::Passing),
            _ if token.is_cancelled() => Err(ScriptError::Lasting),
            _ => Ok(format!("{} at {stop}", self.name)),
        }
    }

    #[background(retry(max = 3, base = "1ms"), timeout = "1m")]
    fn deliver_blocking(self: Arc<Self>) -> Result<&'static str, ScriptError> {
        match self.attempts.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(ScriptError::Passing),
            _ => Ok(self.name),
        }
    }
}

#[derive(Clone)]
struct Parcel(Arc<AtomicU32>);

impl Parcel {
    /// By value: each attempt gets a clone.
    #[background(retry(max = 2, base = "1ms"))]
    async fn send(mut self) -> Result<u32, ScriptError> {
        let before = std::mem::take(&mut self.0);
        match before.fetch_add(1, Ordering::SeqCst) {
            0 => Err(ScriptError::Passing),
            sent => Ok(sent),
        }
    }
}

/// Behaviour 27.
#[test]
fn each_attempt_of_a_method_has_its_receiver() {
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
async fn sleeps_an_hour_between_attempts() -> Result<(), ScriptError> {
    Err(ScriptError::Passing)
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", backoff = "constant"),
    on_shutdown = "finish",
    log = "off"
)]
async fn sleeps_an_hour_and_finishes() -> Result<(), ScriptError> {
    Err(ScriptError::Passing)
}

/// Behaviour 27.
#[test]
fn a_task_asleep_between_attempts_does_not_delay_the_drain() {
    on_both_flavors(async |manager| {
        let tasks = [
            sleeps_an_hour_between_attempts(),
            sleeps_an_hour_and_finishes(),
        ];
        let attempts = Arc::new(AtomicU32::new(0));
        let late = waits_for_each_limit(attempts.clone());
        until("all are asleep", || {
            let asleep = manager.tasks().into_iter();
            asleep
                .filter(|task| task.state == TaskState::BackingOff)
                .count()
                == 3
        })
        .await;
        let report = manager.shutdown("now").await;
        // Otherwise it would take an hour, or the whole grace period.
        assert!(report.elapsed < FOREVER / 2);
        assert_eq!(report.stragglers, []);
        for task in tasks {
            assert_eq!(task.await, Ok(Err(ScriptError::Passing)));
        }
        assert_eq!(late.await, Err(TaskError::TimedOut));
    });
}

#[background(
    retry(max = 5, base = "1h", cap = "1h", backoff = "constant"),
    log = "off"
)]
async fn is_cancelled_asleep(script: Script) -> Result<u32, ScriptError> {
    script.next()
}

/// Behaviour 27.
#[test]
fn a_cancelled_task_is_not_retried_and_a_snapshot_shows_its_attempt() {
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

#[background(retry(max = 3, base = "1ms"), name = "is cancelled in an attempt")]
async fn is_cancelled_in_an_attempt(gate: Arc<Notify>, script: Script) -> Result<u32, ScriptError> {
    gate.notified().await;
    script.next()
}

#[background(
    retry(max = 3, base = "1ms"),
    on_shutdown = "finish",
    name = "is drained in an attempt"
)]
async fn is_drained_in_an_attempt(gate: Arc<Notify>, script: Script) -> Result<u32, ScriptError> {
    gate.notified().await;
    script.next()
}

#[background]
async fn ends_with_the_drain(token: ShutdownToken) {
    token.cancelled().await;
}

/// Behaviour 27.
#[test]
fn a_cancelled_attempt_is_the_last_and_an_attempt_during_the_drain_the_last_but_one() {
    record_events();
    let script = Script::new([PASSING, PASSING, PASSING]);
    let gate = Arc::new(Notify::new());
    in_paused_time(async |manager| {
        let cancelled = is_cancelled_in_an_attempt(gate.clone(), script.clone());
        settle().await;
        cancelled.cancel();
        gate.notify_one();
        assert_eq!(cancelled.await, Ok(PASSING));
        assert_eq!(script.attempts(), 1);

        let drained = is_drained_in_an_attempt(gate.clone(), script.clone());
        let ends = ends_with_the_drain();
        settle().await;
        let (report, _) = tokio::join!(manager.shutdown("the test"), async {
            assert_eq!(ends.await, Ok(()));
            gate.notify_one();
            until("it has failed once", || script.attempts() == 2).await;
            gate.notify_one();
            assert_eq!(drained.await, Ok(PASSING));
        });
        assert_eq!((report.failures.len(), report.gave_up), (1, 1));
    });
    assert_eq!(script.attempts(), 3);
    let pauses = |task| {
        let events = recorded_of(task).into_iter();
        let failed = events.filter(|event| event.message.starts_with("attempt failed"));
        failed
            .map(|event| event.field("pause").to_owned())
            .collect::<Vec<_>>()
    };
    assert!(pauses("is cancelled in an attempt").is_empty());
    assert_eq!(pauses("is drained in an attempt"), ["0.0ns"]);
}

#[background(retry(max = 3, base = "1ms"), log = "off")]
async fn fails_so_often(times: Arc<AtomicU32>) -> Result<(), &'static str> {
    match times.fetch_sub(1, Ordering::Relaxed) {
        0 => Ok(()),
        _ => Err("again"),
    }
}

/// Behaviour 27.
#[test]
fn the_report_counts_retries() {
    for (times, suffix) in [(1, "; 1 retry in total"), (2, "; 2 retries in total")] {
        let report = in_paused_time(async |_| {
            let _ = fails_so_often(Arc::new(AtomicU32::new(times))).await;
        });
        assert!(report.to_string().ends_with(suffix), "{report}");
    }
}
