//! Durable functions under `#[bgtask::test(durable)]`: a store in memory, whose clock is that of the test.

use bgtask::durable::{JobError, JobState, enqueue_all};
use bgtask::testing::{assert_called, assert_enqueued, expect_error, idle};
use bgtask::{ShutdownToken, State, background};
use bgtask_durable::Filter;
use bgtask_durable::testing::jobs;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

#[background(durable, retry(max = 3, base = "1m"))]
async fn receipt(order: u64, failures: u32) -> Result<String, String> {
    static FAILED: AtomicU32 = AtomicU32::new(0);
    if failures > 0 && FAILED.fetch_add(1, Ordering::Relaxed) < failures {
        return Err(format!("the printer of order {order} is off"));
    }
    Ok(format!("receipt of order {order}"))
}

#[background(durable(queue = "mail"), retry(max = 1), log = "off")]
async fn refused() -> Result<(), String> {
    Err("no such address".to_owned())
}

#[background(durable)]
async fn until_cancelled(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(durable)]
async fn unique(order: u64) -> u64 {
    order
}

#[derive(Clone)]
struct Prefix(&'static str);

#[background(durable)]
async fn with_state(State(prefix): State<Prefix>) -> String {
    prefix.0.to_owned()
}

/// Sentences 1.1 and 11.12.
#[bgtask::test(durable)]
async fn the_value_comes_back_and_the_call_is_on_record() {
    let job = receipt(7, 0).await.expect("it is stored");
    let _ = assert_enqueued(receipt, 1).with(json!({ "order": 7 }));
    assert_eq!(job.outcome().await, Ok("receipt of order 7".to_owned()));
    assert_called(receipt, 1);
}

/// Sentences 8.1 and 11.1.
#[bgtask::test(durable, start_paused = true)]
async fn the_pause_before_an_attempt_and_after_take_no_time() {
    let begin = Instant::now();
    let job = receipt(8, 2)
        .after(Duration::from_secs(3600))
        .await
        .expect("it is stored");
    let status = job.status().await.expect("it is there");
    assert_eq!(status.state, JobState::Scheduled);
    assert_eq!(job.outcome().await, Ok("receipt of order 8".to_owned()));
    let status = job.status().await.expect("it is there");
    assert_eq!((status.attempts, status.max_attempts), (3, 3));
    // The hour, and two pauses of random length.
    assert!(
        begin.elapsed() > Duration::from_secs(3600),
        "{:?}",
        begin.elapsed()
    );
}

/// Sentence 8.1.
#[bgtask::test(durable, start_paused = true)]
async fn at_follows_the_clock_of_the_test() {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    bgtask::testing::set_now(new_year);
    let begin = Instant::now();
    let at = new_year + Duration::from_secs(600);
    let job = receipt(9, 0).at(at).await.expect("it is stored");
    job.outcome().await.expect("it succeeds");
    assert_eq!(begin.elapsed().as_secs(), 600);
}

#[bgtask::test(durable, start_paused = true)]
async fn idle_waits_for_the_jobs() {
    enqueue_all((0..20).map(|order| receipt(order, 0)))
        .await
        .expect("they are stored");
    receipt(20, 0)
        .after(Duration::from_secs(60))
        .await
        .expect("it is stored");
    idle().await;
    assert_eq!(jobs().count(JobState::Done).await, Ok(21));
}

#[bgtask::test(durable)]
async fn a_declared_failure_of_a_job_that_is_not_awaited_fails_no_test() {
    expect_error(refused);
    refused().await.expect("it is stored");
    idle().await;
    assert_eq!(jobs().count(JobState::Dead).await, Ok(1));
}

#[bgtask::test(durable)]
async fn an_awaited_failure_fails_no_test() {
    let job = refused().await.expect("it is stored");
    let failed = job.outcome().await.expect_err("it fails");
    assert!(
        matches!(failed, JobError::Failed { attempts: 1, .. }),
        "{failed}"
    );
}

/// Sentence 11.3.
#[bgtask::test(durable)]
async fn a_running_job_is_cancelled_through_its_token() {
    let job = until_cancelled().await.expect("it is stored");
    bgtask::testing::started(until_cancelled).await;
    assert_eq!(job.cancel().await, Ok(true));
    // The body ends with a value, so the job is done.
    assert_eq!(job.outcome().await, Ok(()));
    assert_eq!(job.cancel().await, Ok(false));
}

/// Sentence 11.3.
#[bgtask::test(durable, start_paused = true)]
async fn a_job_that_does_not_run_is_cancelled_at_once() {
    let job = receipt(1, 0)
        .after(Duration::from_secs(3600))
        .await
        .expect("it is stored");
    assert_eq!(job.cancel().await, Ok(true));
    let cancelled = job.outcome().await.expect_err("it is cancelled");
    assert!(
        matches!(cancelled, JobError::Cancelled { .. }),
        "{cancelled}"
    );
    idle().await;
}

/// Sentences 11.4 and 11.9.
#[bgtask::test(durable)]
async fn a_second_unique_job_is_a_duplicate_until_the_first_has_ended() {
    jobs().pause("default").await.expect("it pauses");
    let first = unique(1).key("1").await.expect("it is stored");
    let second = unique(1).key("1").await.expect("the first is there");
    let other = unique(2).key("2").await.expect("it is stored");
    assert!(second.is_duplicate() && !first.is_duplicate() && !other.is_duplicate());
    assert_eq!(second.id(), first.id());
    jobs().resume("default").await.expect("it resumes");
    assert_eq!(second.outcome().await, Ok(1));
    idle().await;
    let third = unique(1).key("1").await.expect("it is stored");
    assert!(!third.is_duplicate());
}

/// Sentences 11.2 and 11.13.
#[bgtask::test(durable)]
async fn a_dead_job_is_tried_again() {
    let job = refused().await.expect("it is stored");
    job.outcome().await.expect_err("it fails");
    let dead = Filter::all().queue("mail").state(JobState::Dead);
    let listed = jobs().list(dead.clone()).await.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].last_error.as_deref(), Some("no such address"));
    assert_eq!(jobs().retry_dead(dead.clone()).await, Ok(1));
    job.outcome().await.expect_err("it fails again");
    assert_called(refused, 2);
    assert_eq!(jobs().delete(job.id()).await, Ok(true));
    assert_eq!(job.status().await, Err(JobError::Gone));
}

/// Sentence 6.6.
#[bgtask::test(durable)]
async fn a_job_waits_until_its_state_is_provided() {
    let job = with_state().await.expect("it is stored");
    tokio::task::yield_now().await;
    assert_eq!(
        job.status().await.map(|job| job.state),
        Ok(JobState::Waiting)
    );
    bgtask::provide(Prefix("receipt"));
    assert_eq!(job.outcome().await, Ok("receipt".to_owned()));
}

#[bgtask::test(durable)]
async fn open_in_the_code_under_test_returns_the_store_of_the_test() {
    let opened = bgtask_durable::open().await.expect("the store of the test");
    let job = receipt(3, 0).await.expect("it is stored");
    let found = opened.get::<String>(job.id());
    assert_eq!(found.outcome().await, Ok("receipt of order 3".to_owned()));
}

/// Sentence 11.10.
#[bgtask::test(durable, start_paused = true)]
async fn a_job_is_gone_when_its_time_is_over() {
    let job = receipt(4, 0).await.expect("it is stored");
    job.outcome().await.expect("it succeeds");
    tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
    assert_eq!(job.status().await, Err(JobError::Gone));
    let unknown = jobs().get::<String>(bgtask::durable::JobId::new(99));
    assert_eq!(unknown.status().await, Err(JobError::NotFound));
}

#[bgtask::test(durable)]
#[should_panic(expected = "a job of `kit::refused` is dead, and its outcome was not awaited")]
async fn a_dead_job_that_is_neither_awaited_nor_declared_fails_the_test() {
    refused().await.expect("it is stored");
    idle().await;
}

#[bgtask::test(durable, wait = "100ms")]
#[should_panic(expected = "job 1 of `kit::receipt`, scheduled, 0 of 3 attempts begun")]
async fn an_idle_that_takes_too_long_names_the_jobs() {
    receipt(5, 0)
        .after(Duration::from_secs(3600))
        .await
        .expect("it is stored");
    idle().await;
}

#[bgtask::test(durable)]
#[should_panic(expected = r#"no stored call of `kit::receipt` had the arguments {"order":7}"#)]
async fn other_arguments_fail_the_test() {
    receipt(6, 0).await.expect("it is stored");
    let _ = assert_enqueued(receipt, 1).with(json!({ "order": 7 }));
}

#[bgtask::test(durable)]
#[should_panic(expected = "no call of `kit::receipt` stored, and 1 expected")]
async fn a_call_that_was_not_stored_fails_the_test() {
    let _ = assert_enqueued(receipt, 1);
}
