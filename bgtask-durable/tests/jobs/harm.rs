//! What harms no other job, and no other process: locked rows, late states, many waiters, long errors, a runtime that ends.

use crate::support::store::{LIMIT, Process, until, with_store};
use crate::support::{Scratch, in_rounds, on_each_database, on_the_kit};
use bgtask::durable::{Enqueue, EnqueueError, JobState, enqueue_all};
use bgtask::{State, background};
use bgtask_durable::{Filter, OpenError, builder};
use std::time::{Duration, Instant};

#[background(durable)]
async fn quick(number: u32) -> u32 {
    number
}

#[cfg(feature = "postgres")]
#[background(durable)]
async fn slow(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Its jobs end at once, and have a key.
#[background(durable(unique(key = key)), retry(max = 1), log = "off")]
async fn hopeless(key: String) -> Result<(), String> {
    Err(key)
}

#[background(durable, retry(max = 1), log = "off")]
async fn long_error(length: usize) -> Result<(), String> {
    Err("ä".repeat(length))
}

#[background(durable)]
async fn json(value: serde_json::Value) -> bool {
    value.is_array()
}

#[background(durable(queue = "narrow"), on_shutdown = "cancel")]
async fn narrow() {
    tokio::time::sleep(LIMIT).await;
}

#[derive(Clone)]
struct Late;

#[background(durable(queue = "narrow"), on_shutdown = "cancel")]
async fn late(State(_late): State<Late>) {
    tokio::time::sleep(LIMIT).await;
}

/// Never retried.
#[background(durable, retry(max = 1))]
async fn once(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Where a job has a NUL.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum In {
    Output,
    Error,
    Panic,
}

#[background(durable, retry(max = 1), log = "off")]
async fn nul(place: In) -> Result<String, String> {
    match place {
        In::Output => Ok("a\0b".to_owned()),
        In::Error => Err("a\0b".to_owned()),
        In::Panic => panic!("a\0b"),
    }
}

#[background(durable)]
async fn length(text: String) -> usize {
    text.len()
}

fn start(scratch: &Scratch) -> Process {
    Process::start(builder().url(scratch.url()))
}

fn of_two_dead_jobs_with_one_key_the_latest_is_tried_again(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        for key in ["a", "a", "b"] {
            let job = hopeless(key.to_owned()).await.expect("it is stored");
            job.outcome().await.expect_err("it fails");
        }
        assert_eq!(jobs.retry_dead(Filter::all()).await, Ok(2));
    });
}

fn thousands_of_waiters_get_their_outcomes(scratch: Scratch) {
    with_store(&scratch, |store| async move {
        // Nothing runs before all are stored, and each part is stored within the store's limit, however slow the machine is.
        store.pause("default").await.expect("it is paused");
        let mut jobs = Vec::new();
        for first in (0..3000).step_by(50) {
            let stored = enqueue_all((first..first + 50).map(quick)).await;
            jobs.extend(stored.expect("they are stored"));
        }
        let waiters = jobs.into_iter();
        let waiters: Vec<_> = waiters
            .map(|job| tokio::spawn(async move { job.outcome().await }))
            .collect();
        // Waiters that read their rows leave connections for other statements.
        store.resume("default").await.expect("it is resumed");
        for (number, waiter) in (0..).zip(waiters) {
            let outcome = tokio::time::timeout(10 * LIMIT, waiter).await;
            let outcome = outcome.expect("within the limit").expect("no panic");
            assert_eq!(outcome, Ok(number));
        }
    });
}

fn a_long_error_is_cut(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = long_error(1 << 20).await.expect("it is stored");
        job.outcome().await.expect_err("it fails");
        let status = job.status().await.expect("it is there");
        let error = status.last_error.expect("an error");
        assert!(error.len() < 66_000, "{} bytes", error.len());
        assert!(error.ends_with("ä… (2097152 bytes)"));
    });
}

fn what_would_never_decode_is_not_stored(scratch: Scratch) {
    let nested =
        |depth| (0..depth).fold(serde_json::json!(0), |value, _| serde_json::json!([value]));
    with_store(&scratch, |_| async {
        let job = json(nested(127)).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(true));
        let error = json(nested(128)).await.expect_err("it is too deep");
        assert!(matches!(error, EnqueueError::Encode { .. }), "{error}");
        // Brackets in texts are not counted.
        let text = serde_json::json!(["[\"\\".repeat(200)]);
        let job = json(text).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(true));
    });
}

/// Sentences 6.3, 6.4, 6.5 and 6.8.
fn a_nul_delays_no_other_job(scratch: Scratch) {
    let is_long = std::env::var_os("BGTASK_ROUNDS").is_some();
    in_rounds(1, |round, _| {
        let scratch = scratch.another();
        let process = start(&scratch);
        process.run(async {
            // Until the process claims.
            let first = quick(0).await.expect("it is stored");
            assert_eq!(first.outcome().await, Ok(0));
            let error = length("a\0b".to_owned()).await.expect_err("a NUL");
            assert!(matches!(error, EnqueueError::Nul { .. }), "{error}");
            let calls = (0..20).flat_map(|number| {
                let place = [In::Output, In::Error, In::Panic].get(number as usize % 4);
                let failing = place.map(|place| nul(*place).untyped());
                [quick(number).untyped()].into_iter().chain(failing)
            });
            let jobs = enqueue_all(calls).await.expect("they are stored");
            let begin = Instant::now();
            let mut outcomes = Vec::new();
            for job in &jobs {
                let outcome = tokio::time::timeout(LIMIT, job.outcome()).await;
                outcomes.push(outcome.expect("within the limit"));
            }
            let ended = begin.elapsed();
            let values = outcomes.iter().flatten().filter_map(|value| value.as_u64());
            assert!(values.eq(0..20), "{outcomes:?}");
            for (job, outcome) in jobs.iter().zip(&outcomes) {
                let is_dead = job.status().await.expect("it is there").state == JobState::Dead;
                assert_eq!(is_dead, outcome.is_err());
            }
            assert_eq!(jobs.len(), 35);
            #[expect(clippy::print_stdout, reason = "of a long run")]
            {
                println!(
                    "{}, round {round}: 20 jobs beside those with a NUL ended in {ended:?}",
                    scratch.kind()
                );
            }
            // Only there is the machine the test's own.
            assert!(!is_long || ended < Duration::from_secs(1), "{ended:?}");
        });
        process.end();
    });
}

fn a_queue_that_the_engine_does_not_take_is_refused(scratch: Scratch) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = bgtask::Manager::builder().install().expect("the first");
        for name in ["Mail", "a b", "a--b", "a-", "-a", "9a", ""] {
            let opened = builder().url(scratch.url()).queue(name, 1).open().await;
            assert!(
                matches!(opened, Err(OpenError::Setting { name: "queue", .. })),
                "{name}"
            );
        }
        let opened = builder().url(scratch.url()).queue("a-b_9", 10_000);
        opened.open().await.expect("it opens");
        assert_eq!(quick(1).await.expect("it is stored").outcome().await, Ok(1));
        for name in ["Mail", "a--b", "a_"] {
            let error = quick(1).queue(name).await.expect_err("a wrong name");
            assert!(matches!(error, EnqueueError::Queue { .. }), "{error}");
        }
        manager.shutdown("the test is over").await;
    });
}

/// The limit is that of the queue, whenever its functions are claimed.
fn a_state_that_comes_late_does_not_widen_a_queue(scratch: Scratch) {
    let process = Process::start(
        builder()
            .url(scratch.url())
            .queue("narrow", 1)
            .queue("other", 1),
    );
    process.run(async {
        let first = narrow().await.expect("it is stored");
        until(&first, |status| status.state == JobState::Running).await;
        bgtask::provide(Late);
        let second = late().await.expect("it is stored");
        // The claims of this queue come before those of the one below.
        let elsewhere = late().queue("other").await.expect("it is stored");
        until(&elsewhere, |status| status.state == JobState::Running).await;
        let status = second.status().await.expect("it is there");
        assert_eq!((status.state, status.attempts), (JobState::Waiting, 0));
        assert!(first.cancel().await.expect("it is written"));
        until(&second, |status| status.state == JobState::Running).await;
        for job in [second, elsewhere] {
            job.cancel().await.expect("it is written");
        }
    });
    process.end();
}

/// The other process of the database runs them.
fn a_runtime_that_ends_takes_no_attempts(scratch: Scratch) {
    let first = start(&scratch);
    // For as long as the thread of its store, which nothing stops.
    std::mem::forget(first.manager);
    first.runtime.shutdown_background();
    let second = start(&scratch);
    second.run(async {
        let calls = (0..50).map(|_| -> Enqueue<()> { once(10) });
        for job in enqueue_all(calls).await.expect("they are stored") {
            let outcome = tokio::time::timeout(LIMIT, job.outcome()).await;
            assert_eq!(outcome.expect("within the limit"), Ok(()));
        }
    });
    second.end();
}

#[cfg(feature = "postgres")]
#[test]
fn a_locked_row_does_not_keep_other_jobs_from_being_recorded() {
    use bgtask_durable::sqlx::{self, Connection as _};
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    let process = start(&scratch);
    process.run(async {
        let held = slow(300).await.expect("it is stored");
        until(&held, |status| status.state == JobState::Running).await;
        let connection = sqlx::PgConnection::connect(scratch.url()).await;
        let mut connection = connection.expect("it connects");
        let mut transaction = connection.begin().await.expect("it begins");
        sqlx::query("SELECT 1 FROM river_job WHERE id = $1 FOR UPDATE")
            .bind(held.id().get())
            .execute(&mut *transaction)
            .await
            .expect("it is locked");
        // Its end is on its way to the database from here on.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let other = quick(1).await.expect("it is stored");
        // Less than the server waits for a lock.
        let outcome = tokio::time::timeout(Duration::from_secs(3), other.outcome()).await;
        assert_eq!(outcome.expect("it waits for no lock"), Ok(1));
        let status = held.status().await.expect("it is there");
        assert_eq!(status.state, JobState::Running);
        transaction.rollback().await.expect("it is over");
        assert_eq!(held.outcome().await, Ok(()));
    });
    process.end();
}

on_each_database! {
    a_nul_delays_no_other_job,
    a_queue_that_the_engine_does_not_take_is_refused,
    a_state_that_comes_late_does_not_widen_a_queue,
    a_runtime_that_ends_takes_no_attempts,
    of_two_dead_jobs_with_one_key_the_latest_is_tried_again,
    thousands_of_waiters_get_their_outcomes,
    a_long_error_is_cut,
    what_would_never_decode_is_not_stored,
}

on_the_kit! {
    of_two_dead_jobs_with_one_key_the_latest_is_tried_again,
    thousands_of_waiters_get_their_outcomes,
    a_long_error_is_cut,
    what_would_never_decode_is_not_stored,
}
