//! The invariants of the policies under random schedules of calls, panics, aborts, cancellations and a shutdown.
//!
//! `PROPTEST_CASES=10000 cargo test -p bgtask-tests --test policies -- properties` searches longer.

use bgtask::{Manager, ShutdownReport, TaskError, TaskHandle, background};
use bgtask_tests::{in_paused_time, silence_panics};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// One step of a test.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call {
        key: u8,
        body: Body,
    },
    /// Aborts the call with this number, modulo the number of calls.
    Abort(usize),
    Cancel(usize),
    DropHandle(usize),
    Wait(u64),
}

/// The behaviour of a body.
#[derive(Clone, Copy, Debug)]
struct Body {
    milliseconds: u64,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Value,
    Error,
    Panic,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![6 => Just(End::Value), 1 => Just(End::Error), 1 => Just(End::Panic)];
    let body = (0_u64..40, end).prop_map(|(milliseconds, end)| Body { milliseconds, end });
    let step = prop_oneof![
        10 => (0_u8..3, body).prop_map(|(key, body)| Step::Call { key, body }),
        1 => any::<usize>().prop_map(Step::Abort),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::DropHandle),
        4 => (0_u64..30).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// One run of a body.
#[derive(Clone, Copy, Debug)]
struct Run {
    call: usize,
    key: u8,
    begin: u64,
    /// In ticks of the diary; no two events share a tick.
    end: Option<u64>,
    at: Instant,
}

/// All runs, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<(u64, Vec<Run>)>>);

impl Diary {
    fn tick(&self) -> u64 {
        let mut diary = self.0.lock().unwrap();
        diary.0 += 1;
        diary.0
    }

    fn begin(&self, call: usize, key: u8) -> Running {
        let begin = self.tick();
        let runs = &mut self.0.lock().unwrap().1;
        runs.push(Run {
            call,
            key,
            begin,
            end: None,
            at: Instant::now(),
        });
        Running(self.clone(), runs.len() - 1)
    }

    fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap().1.clone()
    }
}

/// Records the end of its run when it is dropped.
struct Running(Diary, usize);

impl Drop for Running {
    fn drop(&mut self) {
        let end = self.0.tick();
        self.0.0.lock().unwrap().1[self.1].end = Some(end);
    }
}

async fn run(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    let _running = diary.begin(call, key);
    sleep(Duration::from_millis(body.milliseconds)).await;
    match body.end {
        End::Value => Ok(call),
        End::Error => Err("planned"),
        End::Panic => panic!("planned"),
    }
}

#[background(log = "off", concurrency(max = 2, key = key))]
async fn queueing(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", concurrency(max = 2, queue = 2, key = key))]
async fn refusing(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", concurrency(max = 2, queue = 2, overflow = "drop_oldest", key = key))]
async fn dropping(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", concurrency(max = 2, queue = 2, overflow = "wait", key = key))]
async fn waiting(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", coalesce(key = key))]
async fn joining(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", coalesce(policy = "skip", key = key))]
async fn skipping(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", coalesce(policy = "replace", key = key))]
async fn replacing(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", coalesce(policy = "trailing", key = key))]
async fn trailing(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", rate(limit = "3/50ms", key = key))]
async fn rated(diary: Diary, call: usize, key: u8, body: Body) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

#[background(log = "off", rate(limit = "3/50ms", key = key, overflow = "refuse"))]
async fn rated_refusing(
    diary: Diary,
    call: usize,
    key: u8,
    body: Body,
) -> Result<usize, &'static str> {
    run(diary, call, key, body).await
}

type Output = Result<usize, &'static str>;
type Function = fn(Diary, usize, u8, Body) -> TaskHandle<Output>;
type Outcome = Result<Output, TaskError>;

/// One call: when it was made, and the outcome of its handle.
#[derive(Debug)]
struct Call {
    key: u8,
    at: u64,
    /// Absent if the handle was dropped.
    outcome: Option<Outcome>,
    /// It was aborted or cancelled, or its handle was dropped.
    disturbed: bool,
}

struct History {
    calls: Vec<Call>,
    runs: Vec<Run>,
    report: ShutdownReport,
    /// Whether the shutdown started before the calls had ended.
    is_cut_short: bool,
}

/// Takes the steps, then shuts down: after the last call has ended, or before.
fn play(function: Function, steps: &[Step], is_cut_short: bool) -> History {
    silence_panics("planned");
    let diary = Diary::default();
    let calls = Mutex::new(Vec::<Call>::new());
    let shut_down = Mutex::new(None);
    in_paused_time(async |manager| {
        let mut handles: Vec<Option<TaskHandle<Output>>> = Vec::new();
        for step in steps {
            let made = handles.len();
            let disturb = |number: usize| {
                let number = number % made;
                calls.lock().unwrap()[number].disturbed = true;
                number
            };
            match *step {
                Step::Call { key, body } => {
                    let at = diary.tick();
                    handles.push(Some(function(diary.clone(), made, key, body)));
                    calls.lock().unwrap().push(Call {
                        key,
                        at,
                        outcome: None,
                        disturbed: false,
                    });
                }
                Step::Wait(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
                Step::Abort(_) | Step::Cancel(_) | Step::DropHandle(_) if made == 0 => {}
                Step::Abort(number) => {
                    if let Some(handle) = &handles[disturb(number)] {
                        handle.abort();
                    }
                }
                Step::Cancel(number) => {
                    if let Some(handle) = &handles[disturb(number)] {
                        handle.cancel();
                    }
                }
                Step::DropHandle(number) => handles[disturb(number)] = None,
            }
            adds_up(manager);
        }
        if is_cut_short {
            *shut_down.lock().unwrap() = Some(manager.shutdown("in the middle").await);
        }
        for (number, handle) in handles.into_iter().enumerate() {
            if let Some(handle) = handle {
                let outcome = handle.await;
                calls.lock().unwrap()[number].outcome = Some(outcome);
            }
        }
        if !is_cut_short {
            // Calls without a handle must end too, and leave no obstacle: each key is called once more.
            while manager.stats().running > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(manager.tasks().is_empty());
            sleep(Duration::from_millis(50)).await;
            for key in 0..3 {
                let body = Body {
                    milliseconds: 0,
                    end: End::Value,
                };
                let at = diary.tick();
                let number = calls.lock().unwrap().len();
                let outcome = function(diary.clone(), number, key, body).await;
                assert_eq!(outcome, Ok(Ok(number)), "nothing is left in the way");
                calls.lock().unwrap().push(Call {
                    key,
                    at,
                    outcome: Some(outcome),
                    disturbed: false,
                });
            }
            assert_eq!(manager.stats().waiting, 0);
        }
        adds_up(manager);
        if !is_cut_short {
            *shut_down.lock().unwrap() = Some(manager.shutdown("at the end").await);
        }
    });
    History {
        calls: calls.into_inner().unwrap(),
        runs: diary.runs(),
        report: shut_down.into_inner().unwrap().unwrap(),
        is_cut_short,
    }
}

/// Asserts that every accepted call is running or has ended.
fn adds_up(manager: &Manager) {
    let stats = manager.stats();
    assert_eq!(stats.accepted, stats.running + stats.ended());
}

impl History {
    /// Asserts the invariants of every policy.
    fn holds_in_general(&self) {
        // Every call is accepted, refused or coalesced, and only one of these.
        let totals = &self.report.totals;
        let counted = totals.accepted + totals.refused + totals.coalesced;
        assert_eq!(counted, self.calls.len() as u64);
        // Every accepted call has ended with exactly one outcome, and the shutdown had nothing to abort.
        assert_eq!(totals.running, 0);
        assert_eq!(totals.accepted, totals.ended());
        assert!(self.report.stragglers.is_empty(), "{}", self.report);
        // No call runs twice, and every run has ended.
        let mut ran = HashMap::new();
        for run in &self.runs {
            assert!(run.end.is_some(), "{run:?}");
            assert!(ran.insert(run.call, run).is_none(), "{run:?}");
        }
        for (number, call) in self.calls.iter().enumerate() {
            // A call that was refused or skipped has not run.
            match &call.outcome {
                Some(Err(TaskError::Refused(_) | TaskError::Skipped)) => {
                    assert!(!ran.contains_key(&number), "{call:?}");
                }
                // A value comes from a run of this key.
                Some(Ok(Ok(of))) => assert_eq!(ran[of].key, call.key),
                _ => {}
            }
        }
    }

    /// Returns the largest number of bodies of one key that ran at once.
    fn most_at_once(&self) -> usize {
        let together = self.runs.iter().map(|run| {
            let others = self.runs.iter().filter(|other| {
                other.key == run.key
                    && other.begin <= run.begin
                    && other.end.is_none_or(|end| end > run.begin)
            });
            others.count()
        });
        together.max().unwrap_or(0)
    }

    fn runs_of(&self, key: u8) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.key == key)
    }
}

fn check(
    function: Function,
    check: impl Fn(&History),
) -> impl Fn((Vec<Step>, bool)) -> Result<(), TestCaseError> {
    move |(steps, is_cut_short)| {
        let history = play(function, &steps, is_cut_short);
        history.holds_in_general();
        check(&history);
        Ok(())
    }
}

fn for_random_schedules<F>(property: F)
where
    F: Fn((Vec<Step>, bool)) -> Result<(), TestCaseError>,
{
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        // Writes no file: a failure prints its schedule.
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let schedules = (steps(), prop::bool::weighted(0.3));
    if let Err(failure) = runner.run(&schedules, property) {
        panic!("{failure}");
    }
}

/// Behaviour 28.
#[test]
fn no_more_bodies_run_than_there_are_permits() {
    for function in [queueing, refusing, dropping, waiting] as [Function; 4] {
        for_random_schedules(check(function, |history| {
            // Never do more bodies of one key run than it has permits.
            assert!(history.most_at_once() <= 2);
        }));
    }
}

/// Behaviour 28.
#[test]
fn an_unbounded_queue_starts_all_calls_in_order() {
    for_random_schedules(check(queueing, |history| {
        // An undisturbed call runs, even if the shutdown starts before its turn.
        for (number, call) in history.calls.iter().enumerate() {
            if !call.disturbed {
                assert!(
                    history.runs.iter().any(|run| run.call == number),
                    "{call:?}"
                );
            }
        }
        for key in 0..3 {
            // No body starts earlier than that of an earlier call of its key. (At one instant the runtime may poll two in any
            // order: both have permits.)
            let mut runs: Vec<_> = history.runs_of(key).collect();
            runs.sort_by_key(|run| run.call);
            assert!(runs.is_sorted_by_key(|run| run.at), "{runs:#?}");
        }
    }));
}

/// Behaviour 28.
#[test]
fn a_full_queue_is_the_only_reason_to_refuse_a_call() {
    for function in [refusing, dropping] as [Function; 2] {
        for_random_schedules(check(function, |history| {
            for (number, call) in history.calls.iter().enumerate() {
                let Some(Err(TaskError::Refused(_))) = &call.outcome else {
                    continue;
                };
                // When a call is refused, the permits and the queue of its key are full.
                let others = history
                    .calls
                    .iter()
                    .enumerate()
                    .filter(|(other, own)| *other != number && own.key == call.key);
                let unfinished = others.filter(|(other, _)| {
                    let run = history.runs.iter().find(|run| run.call == *other);
                    run.and_then(|run| run.end).is_none_or(|end| end > call.at)
                });
                assert!(unfinished.count() >= 4, "{call:?}");
            }
        }));
    }
}

/// Behaviour 29.
#[test]
fn one_body_per_key_runs_at_a_time() {
    for function in [joining, skipping, replacing, trailing] as [Function; 4] {
        for_random_schedules(check(function, |history| {
            assert!(history.most_at_once() <= 1);
        }));
    }
}

/// Behaviour 29.
#[test]
fn a_joined_call_shares_a_run_that_was_in_flight() {
    for_random_schedules(check(joining, |history| {
        for call in &history.calls {
            if let Some(Ok(Ok(of))) = call.outcome {
                let run = history.runs.iter().find(|run| run.call == of).unwrap();
                // The run had not ended when the call was made.
                assert!(run.end.is_some_and(|end| end > call.at), "{call:?} {run:?}");
            }
            // No call is skipped, replaced or refused.
            assert!(!matches!(
                call.outcome,
                Some(Err(TaskError::Skipped
                    | TaskError::Replaced
                    | TaskError::Refused(_)))
            ));
        }
    }));
}

/// Behaviour 29.
#[test]
fn a_trailing_caller_gets_a_run_that_started_after_its_call() {
    for_random_schedules(check(trailing, |history| {
        for call in &history.calls {
            if let Some(Ok(Ok(of))) = call.outcome {
                let run = history.runs.iter().find(|run| run.call == of).unwrap();
                assert!(run.begin > call.at, "{call:?} {run:?}");
            }
        }
        if history.calls.iter().all(|call| !call.disturbed) {
            for key in 0..3 {
                // Undisturbed, the last call of a key is followed by a run.
                let last = history.calls.iter().rfind(|call| call.key == key);
                let Some(last) = last else { continue };
                assert!(history.runs_of(key).any(|run| run.begin > last.at));
            }
        }
    }));
}

/// Behaviour 29.
#[test]
fn a_call_is_skipped_only_while_another_is_in_flight() {
    for_random_schedules(check(skipping, |history| {
        for call in &history.calls {
            if let Some(Err(TaskError::Skipped)) = call.outcome {
                // An earlier call had a run that had not ended, or had not started.
                let before = history
                    .calls
                    .iter()
                    .enumerate()
                    .filter(|(_, other)| other.key == call.key && other.at < call.at);
                let mut in_flight = before.filter(|(number, _)| {
                    let run = history.runs.iter().find(|run| run.call == *number);
                    run.and_then(|run| run.end).is_none_or(|end| end > call.at)
                });
                assert!(in_flight.next().is_some(), "{call:?}");
            }
        }
    }));
}

/// Behaviour 29.
#[test]
fn the_last_call_of_a_key_is_not_replaced() {
    for_random_schedules(check(replacing, |history| {
        for key in 0..3 {
            let of_key = || history.calls.iter().filter(move |call| call.key == key);
            if let Some(last) = of_key().next_back() {
                assert!(!matches!(last.outcome, Some(Err(TaskError::Replaced))));
                // Undisturbed, it runs.
                let number = history
                    .calls
                    .iter()
                    .rposition(|call| call.key == key)
                    .unwrap();
                assert!(last.disturbed || history.runs_of(key).any(|run| run.call == number));
            }
        }
    }));
}

/// Behaviour 31.
#[test]
fn no_window_has_more_starts_than_the_rate() {
    for function in [rated, rated_refusing] as [Function; 2] {
        for_random_schedules(check_rate(function));
    }
}

/// Checks the rate: a call that waits for it when the shutdown starts is dropped, and is in the report.
fn check_rate(function: Function) -> impl Fn((Vec<Step>, bool)) -> Result<(), TestCaseError> {
    check(function, |history| {
        for run in &history.runs {
            let window = history.runs_of(run.key).filter(|other| {
                other.at >= run.at && other.at < run.at + Duration::from_millis(50)
            });
            assert!(window.count() <= 3);
        }
        if history.is_cut_short {
            let held_back = history.report.failures.iter();
            let held_back = held_back.filter(|failure| failure.message.contains("rate"));
            let undisturbed = history.calls.iter().enumerate().filter(|(number, call)| {
                !call.disturbed
                    && matches!(call.outcome, Some(Err(TaskError::Cancelled)))
                    && history.runs.iter().all(|run| run.call != *number)
            });
            // Each call that was dropped before it started is in the report.
            assert!(held_back.count() >= undisturbed.count());
        }
    })
}
