//! Durable calls within one process: their outcomes, retries, times, and what is refused.

use crate::support::store;
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::durable::{EnqueueError, JobError, JobState, not_stored};
use bgtask::{Manager, State, background};
use bgtask_durable::{Jobs, OpenError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// As [`store::with_store`], with the state of a function.
fn with_store<F: Future<Output = ()>>(scratch: &Scratch, test: impl FnOnce(Jobs) -> F) {
    store::with_store(scratch, |jobs| {
        bgtask::provide(Prefix("receipt"));
        test(jobs)
    });
}

#[derive(Clone)]
struct Prefix(&'static str);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    text: String,
    copies: Vec<u128>,
}

#[background(durable(queue = "mail", priority = 2, keep = "7d"), timeout = "30s")]
async fn receipt(
    State(prefix): State<Prefix>,
    order: u64,
    names: Vec<String>,
) -> io::Result<Receipt> {
    Ok(Receipt {
        text: format!("{} {order} for {}", prefix.0, names.join(" & ")),
        copies: vec![u128::MAX; 2],
    })
}

#[background(durable)]
fn blocking(number: u32) -> u32 {
    number + 1
}

#[background(durable)]
async fn nothing() {}

/// The attempts of each test.
static ATTEMPTS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

#[background(durable, retry(max = 5, base = "10ms", backoff = "constant"))]
async fn flaky(test: String) -> Result<u32, String> {
    let mut attempts = ATTEMPTS.lock().expect("no test panics with it");
    let attempts = attempts.get_or_insert_default().entry(test).or_default();
    *attempts += 1;
    match *attempts {
        attempt @ 1..=2 => Err(format!("attempt {attempt} failed")),
        attempt => Ok(attempt),
    }
}

#[background(durable, retry(max = 3, base = "10ms"))]
async fn hopeless(nul: bool) -> Result<(), String> {
    Err(if nul { "a\0b" } else { "no way" }.to_owned())
}

#[background(durable, retry(max = 5, base = "10ms", when = |error: &String| error != "final"))]
async fn particular() -> Result<(), String> {
    Err("final".to_owned())
}

/// A panic is a failed attempt like any other.
#[background(durable, retry(max = 2, base = "10ms"))]
async fn panicking() -> Result<(), String> {
    panic!("on purpose")
}

#[background(durable, retry(max = 2, base = "10ms"), timeout = "50ms")]
async fn slow() -> Result<(), String> {
    std::future::pending().await
}

#[background(durable, retry(max = 1))]
async fn too_large() -> String {
    "x".repeat(300 * 1024)
}

#[background(durable, retry(max = 1))]
async fn nul_output() -> String {
    "a\0b".to_owned()
}

/// Sentences 1.1 and 11.12.
fn a_stored_call_runs_and_its_value_comes_back(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let job = receipt(7, vec!["Ann".to_owned(), "Bo".to_owned()])
            .await
            .expect("it is stored");
        let expected = Receipt {
            text: "receipt 7 for Ann & Bo".to_owned(),
            copies: vec![u128::MAX; 2],
        };
        assert_eq!(job.outcome().await, Ok(expected));
        let status = job.status().await.expect("it is there");
        assert_eq!(
            (status.state, status.attempts, status.crashes),
            (JobState::Done, 1, 0)
        );
        assert_eq!(status.function, "jobs::in_process::receipt");
        // Found again by its id.
        let again = jobs.get::<Receipt>(job.id().to_string().parse().expect("an id"));
        assert_eq!(again.outcome().await.expect("the same").copies.len(), 2);
        assert_eq!(jobs.count(JobState::Done).await, Ok(1));
    });
}

fn plain_functions_and_functions_without_a_value_are_stored_too(scratch: Scratch) {
    with_store(&scratch, |_| async {
        assert_eq!(
            blocking(1).await.expect("it is stored").outcome().await,
            Ok(2)
        );
        assert_eq!(
            nothing().await.expect("it is stored").outcome().await,
            Ok(())
        );
    });
}

/// Sentence 11.1.
fn a_failed_attempt_is_followed_by_another(scratch: Scratch) {
    let test = scratch.url().to_owned();
    with_store(&scratch, |_| async {
        let job = flaky(test).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(3));
        let status = job.status().await.expect("it is there");
        assert_eq!(status.attempts, 3);
        assert_eq!(status.last_error.as_deref(), Some("attempt 2 failed"));
    });
}

/// Sentences 6.5 and 11.2.
fn after_its_last_attempt_a_job_is_dead(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let job = hopeless(false).await.expect("it is stored");
        let error = job.outcome().await.expect_err("it fails");
        assert_eq!(error, JobError::failed("no way".to_owned(), 3));
        assert_eq!(jobs.count(JobState::Dead).await, Ok(1));
        // A NUL cannot be stored, and must not keep the end from being stored.
        let error = hopeless(true).await.expect("it is stored").outcome().await;
        assert_eq!(error, Err(JobError::failed("a\u{fffd}b".to_owned(), 3)));
    });
}

/// Sentences 6.4, 9.1 and 11.2.
fn the_policy_decides_which_failures_are_final(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let refused = particular().await.expect("it is stored").outcome().await;
        assert_eq!(refused, Err(JobError::failed("final".to_owned(), 1)));
        let late = slow().await.expect("it is stored").outcome().await;
        assert_eq!(late, Err(JobError::timed_out(2)));
        let nul = nul_output().await.expect("it is stored").outcome().await;
        let nul = nul.expect_err("its output is not stored").to_string();
        assert!(nul.contains("NUL"), "{nul}");
        let large = too_large().await.expect("it is stored").outcome().await;
        let large = large.expect_err("its output is not stored").to_string();
        assert!(
            large.contains("the encoded output has 307202 bytes"),
            "{large}"
        );
    });
}

/// Sentence 11.2.
fn a_panic_is_a_failed_attempt(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let panicked = panicking().await.expect("it is stored").outcome().await;
        assert_eq!(
            panicked,
            Err(JobError::panicked("on purpose".to_owned(), 2))
        );
    });
}

/// Sentence 8.1.
fn a_job_does_not_start_before_its_time(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let delay = Duration::from_millis(700);
        let begin = Instant::now();
        let job = nothing().after(delay).await.expect("it is stored");
        assert_eq!(
            job.status().await.expect("it is there").state,
            JobState::Scheduled
        );
        job.outcome().await.expect("it runs");
        assert!(begin.elapsed() >= delay);
    });
}

/// Sentence 1.9.
#[test]
fn without_a_store_a_call_is_an_error() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _manager = Manager::builder().install().expect("the first manager");
        assert_eq!(
            nothing().await.expect_err("no store"),
            EnqueueError::NotOpen
        );
    });
}

fn a_manager_has_one_store(scratch: Scratch) {
    let url = scratch.url().to_owned();
    with_store(&scratch, |_| async move {
        let again = bgtask_durable::open_at(url).await;
        assert!(matches!(again, Err(OpenError::AlreadyOpen)), "{again:?}");
    });
}

#[test]
fn a_database_that_cannot_keep_jobs_is_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _manager = Manager::builder().install().expect("the first manager");
        let memory = bgtask_durable::open_at("sqlite::memory:").await;
        assert!(matches!(memory, Err(OpenError::InMemory)), "{memory:?}");
        let other = bgtask_durable::open_at("mysql://ann:secret@localhost/jobs").await;
        let text = other.expect_err("another database").to_string();
        assert!(
            text.contains("expected `sqlite://path`") && !text.contains("secret"),
            "{text}"
        );
    });
}

/// Sentence 1.7.
fn a_call_that_nobody_awaits_is_counted_and_stores_nothing(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        drop(nothing());
        // A future that is never polled stores nothing either.
        drop(nothing().into_future());
        assert_eq!(not_stored(), 2);
        for state in [JobState::Waiting, JobState::Running, JobState::Done] {
            assert_eq!(jobs.count(state).await, Ok(0));
        }
        nothing()
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("it runs");
        assert_eq!(not_stored(), 2);
    });
}

/// Sentence 1.7.
#[bgtask::test]
#[should_panic(expected = "was called and not awaited, so nothing was stored")]
async fn a_call_that_nobody_awaits_fails_a_test() {
    drop(nothing());
}

/// Sentences 6.3 and 9.1.
fn arguments_that_cannot_be_stored_are_refused_at_the_call(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let large = receipt(1, vec!["x".repeat(300 * 1024)]).await;
        let large = large.expect_err("too much");
        assert!(matches!(large, EnqueueError::TooLarge { .. }), "{large}");
        let error = receipt(1, vec!["a\0b".to_owned()])
            .await
            .expect_err("a NUL");
        assert!(
            matches!(
                error,
                EnqueueError::Nul {
                    parameter: "names",
                    ..
                }
            ),
            "{error}"
        );
    });
}

/// Both managers have an engine and connections of their own, as two processes have.
///
/// Sentence 11.12.
fn an_outcome_is_awaited_wherever_the_job_runs(scratch: Scratch) {
    let runtimes = [(); 2].map(|()| tokio::runtime::Runtime::new().expect("a runtime"));
    let opened = runtimes
        .each_ref()
        .map(|runtime| runtime.block_on(async { store::open(scratch.url()).await }));
    let stored: Vec<_> = (0..20)
        .map(|number| {
            runtimes[0].block_on(async {
                let job = blocking(number).await.expect("it is stored");
                (number, job)
            })
        })
        .collect();
    for (runtime, (_, jobs)) in runtimes.iter().zip(&opened) {
        for (number, job) in &stored {
            let outcome = runtime.block_on(jobs.get::<u32>(job.id()).outcome());
            assert_eq!(outcome, Ok(number + 1));
        }
    }
    for (runtime, (manager, _)) in runtimes.iter().zip(&opened) {
        runtime.block_on(manager.shutdown("the test is over"));
    }
}

/// As processes do that start at the same time.
///
/// Sentence 10.1.
fn an_empty_database_may_be_opened_by_several_at_once(scratch: Scratch) {
    let openers: Vec<_> = (0..5)
        .map(|number| {
            let url = scratch.url().to_owned();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    let (manager, _) = store::open(&url).await;
                    let job = blocking(number).await.expect("it is stored");
                    assert_eq!(job.outcome().await, Ok(number + 1));
                    manager.shutdown("the test is over").await;
                });
            })
        })
        .collect();
    for opener in openers {
        opener.join().expect("it opens the database");
    }
}

/// The tests whose job runs.
static ENDLESS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Never ends by itself.
#[background(durable)]
async fn endless(test: String) {
    ENDLESS.lock().expect("no panic").push(test);
    std::future::pending::<()>().await;
}

/// Sentence 5.5.
fn the_report_of_the_shutdown_lists_the_returned_jobs(scratch: Scratch) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().grace(Duration::from_millis(100));
        let manager = manager.install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url()).await;
        jobs.expect("the store opens");
        bgtask::provide(Prefix("receipt"));
        let test = scratch.url().to_owned();
        endless(test.clone()).await.expect("it is stored");
        while !ENDLESS.lock().expect("no panic").contains(&test) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let report = manager.shutdown("the test is over").await;
        assert_eq!(report.straggler_count, 1, "{report}");
        assert!(report.stragglers[0].is_job);
        let listed = report.to_string();
        assert!(listed.contains("jobs::in_process::endless"), "{listed}");
        assert!(listed.contains("returned to its queue"), "{listed}");
    });
}

on_each_database! {
    the_report_of_the_shutdown_lists_the_returned_jobs,
    an_empty_database_may_be_opened_by_several_at_once,
    a_manager_has_one_store,
    a_call_that_nobody_awaits_is_counted_and_stores_nothing,
    an_outcome_is_awaited_wherever_the_job_runs,
    a_stored_call_runs_and_its_value_comes_back,
    plain_functions_and_functions_without_a_value_are_stored_too,
    a_failed_attempt_is_followed_by_another,
    after_its_last_attempt_a_job_is_dead,
    a_panic_is_a_failed_attempt,
    the_policy_decides_which_failures_are_final,
    a_job_does_not_start_before_its_time,
    arguments_that_cannot_be_stored_are_refused_at_the_call,
    jobs_of_functions_with_constants_are_stored,
    each_attempt_of_a_job_has_its_fields_and_the_code_around_it,
}

on_the_kit! {
    a_stored_call_runs_and_its_value_comes_back,
    plain_functions_and_functions_without_a_value_are_stored_too,
    a_failed_attempt_is_followed_by_another,
    after_its_last_attempt_a_job_is_dead,
    the_policy_decides_which_failures_are_final,
    a_job_does_not_start_before_its_time,
    arguments_that_cannot_be_stored_are_refused_at_the_call,
    jobs_of_functions_with_constants_are_stored,
    each_attempt_of_a_job_has_its_fields_and_the_code_around_it,
}

const QUEUE: &str = "letters";
const PRIORITY: u8 = 3;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const TIMES: u32 = 20;

#[background(
    name = NAMES.0,
    durable(queue = QUEUE, priority = PRIORITY, keep = WEEK, was = NAMES.1, unique(within = WEEK)),
    retry(max = TIMES, cap = WEEK)
)]
async fn with_constants(number: u32) -> u32 {
    number
}

const NAMES: (&str, &str) = ("letters::with_constants", "letters::former");

#[background(
    name = "letters::with_literals",
    durable(
        queue = "letters",
        priority = 3,
        keep = "7d",
        was = "letters::another",
        unique(within = "7d")
    ),
    retry(max = 20, cap = "7d")
)]
async fn with_literals(number: u32) -> u32 {
    number
}

#[test]
fn constants_of_a_durable_function_are_the_same_as_literals() {
    let options = |name: &str| {
        let handlers = bgtask::handlers();
        let handler = handlers.iter().find(|handler| handler.name() == name);
        handler.expect("it is linked").options().to_string()
    };
    // No two functions have had the same name.
    let literals = options("letters::with_literals").replace("letters::another", NAMES.1);
    assert_eq!(options(NAMES.0), literals);
}

fn jobs_of_functions_with_constants_are_stored(scratch: Scratch) {
    with_store(&scratch, |_| async move {
        let constants = with_constants(7).await.expect("it is stored");
        let literals = with_literals(8).await.expect("it is stored");
        assert_eq!(constants.outcome().await, Ok(7));
        assert_eq!(literals.outcome().await, Ok(8));
    });
}

/// What the code around each attempt has seen.
static AROUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

async fn around(attempt: bgtask::Attempt) {
    let seen = attempt.fields().to_string();
    let outcome = attempt.await;
    let mut around = AROUND.lock().expect("no test panics with it");
    around.push(format!("{seen}: {outcome}"));
}

#[background(durable, fields(%test, order.id = order), wrap = around, retry(max = 2, base = "10ms"))]
async fn billed(test: String, order: u32) -> Result<u32, String> {
    let mut attempts = ATTEMPTS.lock().expect("no test panics with it");
    let attempts = attempts.get_or_insert_default().entry(test).or_default();
    *attempts += 1;
    if *attempts == 1 {
        return Err("the first attempt fails".to_owned());
    }
    Ok(order)
}

fn each_attempt_of_a_job_has_its_fields_and_the_code_around_it(scratch: Scratch) {
    // Its own, on each database.
    let test = format!("around {}", scratch.url());
    with_store(&scratch, |_| async move {
        let job = billed(test.clone(), 7).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(7));
        let around = AROUND.lock().expect("no test panics with it");
        let seen: Vec<_> = around.iter().filter(|seen| seen.contains(&test)).collect();
        let [first, second] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert!(
            first.contains("order.id=7") && first.ends_with(": failed"),
            "{first}"
        );
        assert!(
            second.contains("order.id=7") && second.ends_with(": succeeded"),
            "{second}"
        );
    });
}
