//! Durable functions under `#[bgtask::test(durable)]`: a store in memory, whose clock is that of the test.

use bgtask::durable::{JobError, JobState, enqueue_all};
use bgtask::testing::{
    assert_called, assert_enqueued, expect_error, idle, set_now, start_schedule,
};
use bgtask::{Job, ShutdownToken, State, background};
use bgtask_durable::Filter;
use bgtask_durable::testing::jobs;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep};

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

/// Without the random part that the pauses of durable functions have by default.
#[background(durable, retry(max = 3, base = "1m", jitter = false))]
async fn punctual(job: Job) -> Result<u32, String> {
    match job.attempt() {
        3 => Ok(3),
        attempt => Err(format!("attempt {attempt}")),
    }
}

#[bgtask::test(durable, start_paused = true)]
async fn pauses_without_jitter_have_their_full_length() {
    let begin = Instant::now();
    let job = punctual().await.expect("it is stored");
    assert_eq!(job.outcome().await, Ok(3));
    assert_eq!(begin.elapsed().as_secs(), 60 + 120);
}

/// An error that says when to try again.
struct Busy(Duration);

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("busy")
    }
}

#[background(durable, retry(max = 3, base = "1m", after = |error| Some(error.0)))]
async fn told_when(job: Job) -> Result<(), Busy> {
    match job.attempt() {
        3 => Ok(()),
        attempt => Err(Busy(Duration::from_secs(10 * u64::from(attempt)))),
    }
}

#[bgtask::test(durable, start_paused = true)]
async fn an_error_may_say_when_the_next_attempt_is_made() {
    let begin = Instant::now();
    let job = told_when().await.expect("it is stored");
    assert_eq!(job.outcome().await, Ok(()));
    assert_eq!(begin.elapsed().as_secs(), 10 + 20);
}

/// Sentence 8.1.
#[bgtask::test(durable, start_paused = true)]
async fn at_follows_the_clock_of_the_test() {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    set_now(new_year);
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

/// A number that JSON does not have is stored as `null`.
#[background(durable)]
async fn takes(_number: f64) {}

/// Sentence 6.2.
#[bgtask::test(durable)]
async fn a_job_whose_arguments_do_not_decode_is_parked() {
    let job = takes(f64::NAN).await.expect("it is stored");
    let mut events = job.watch();
    while let Some(event) = events.next().await {
        if event.expect("it is there").state == JobState::Parked {
            break;
        }
    }
    let status = job.status().await.expect("it is there");
    assert_eq!((status.state, status.attempts), (JobState::Parked, 0));
    assert!(status.last_error.expect("a reason").contains("null"));
    assert_eq!(job.cancel().await, Ok(true));
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
    sleep(Duration::from_secs(24 * 60 * 60)).await;
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

/// The ticks of one test that have run.
#[derive(Clone, Default)]
struct Ticks(Arc<Mutex<Vec<SystemTime>>>);

impl Ticks {
    /// Provides it to the functions of this test.
    fn provided() -> Self {
        let ticks = Self::default();
        bgtask::provide(ticks.clone());
        ticks
    }

    fn note(&self, job: &Job) {
        let tick = job.tick().expect("nobody calls it");
        self.0.lock().expect("nothing panics").push(tick);
    }

    /// Returns the pauses between the ticks, in minutes.
    fn pauses(&self) -> Vec<u64> {
        let ticks = self.0.lock().expect("nothing panics");
        let pauses = ticks.windows(2).map(|two| two[1].duration_since(two[0]));
        pauses
            .map(|pause| pause.expect("later").as_secs() / 60)
            .collect()
    }
}

#[background(durable, every = "1h")]
async fn hourly(job: Job, State(ticks): State<Ticks>) {
    ticks.note(&job);
}

/// Runs longer than two periods.
#[background(durable, every = "1h")]
async fn long(job: Job, State(ticks): State<Ticks>) {
    ticks.note(&job);
    sleep(Duration::from_secs(150 * 60)).await;
}

#[background(durable(queue = "later"), every = "1h", immediately, missed = "all")]
async fn with_each_tick(job: Job, State(ticks): State<Ticks>) {
    ticks.note(&job);
}

#[background(durable, every = "1h", missed = "skip", jitter = "50m")]
async fn delayed(job: Job, State(ticks): State<Ticks>) {
    ticks.note(&job);
}

#[background(durable, cron = "30 2 * * *", timezone = "Europe/Berlin")]
async fn nightly(job: Job, State(ticks): State<Ticks>) {
    ticks.note(&job);
}

const MINUTE: Duration = Duration::from_secs(60);

/// Sentences 13.1, 13.2 and 13.6.
#[bgtask::test(durable, start_paused = true)]
async fn the_clock_of_the_test_moves_ticks() {
    let ticks = Ticks::provided();
    start_schedule(hourly);
    sleep(185 * MINUTE).await;
    idle().await;
    assert_called(hourly, 3);
    assert_eq!(ticks.pauses(), [60, 60]);
    let schedules = bgtask::schedules();
    assert_eq!(schedules.len(), 1);
    let info = schedules[0].info();
    assert_eq!((info.runs, info.missed), (3, 0));
    assert!(info.next.is_some());
    // A call beside the ticks is no tick.
    assert_enqueued(hourly, 0);
}

/// Sentences 13.3 and 13.4.
#[bgtask::test(durable, start_paused = true)]
async fn a_tick_waits_for_the_job_before_it_and_one_run_replaces_those_that_are_missed() {
    let ticks = Ticks::provided();
    start_schedule(long);
    // Runs at 1:00 and, for the ticks at 2:00 and 3:00, at 3:30.
    sleep(220 * MINUTE).await;
    assert_eq!(ticks.pauses(), [120]);
    assert_eq!(bgtask::schedules()[0].info().missed, 1);
}

/// Sentences 13.4, 13.5 and 13.7.
#[bgtask::test(durable, start_paused = true)]
async fn in_a_paused_queue_one_job_waits_and_the_ticks_are_caught_up() {
    let ticks = Ticks::provided();
    jobs().pause("later").await.expect("it is paused");
    start_schedule(with_each_tick);
    sleep(185 * MINUTE).await;
    assert_eq!(jobs().count(JobState::Waiting).await, Ok(1));
    jobs().resume("later").await.expect("it is resumed");
    sleep(MINUTE).await;
    idle().await;
    // Those of the beginning, and of three hours.
    assert_eq!(ticks.pauses(), [60, 60, 60]);
}

/// Sentence 13.7.
#[bgtask::test(durable, start_paused = true)]
async fn jitter_delays_the_jobs_of_ticks_and_not_the_ticks() {
    let ticks = Ticks::provided();
    start_schedule(delayed);
    sleep(60 * MINUTE + MINUTE / 60).await;
    assert_eq!(jobs().count(JobState::Scheduled).await, Ok(1));
    // The last tick is that of seven hours, delayed to at most 7:50.
    sleep(414 * MINUTE).await;
    assert_eq!(ticks.pauses(), [60; 6]);
}

/// Sentence 13.1.
#[bgtask::test(durable, start_paused = true)]
async fn cron_follows_the_clock_that_the_test_sets() {
    let ticks = Ticks::provided();
    // 28 March 2026, 12:00 in UTC. At 2:00 on the next day, the clocks of Berlin skip an hour.
    set_now(UNIX_EPOCH + Duration::from_secs(1_774_699_200));
    start_schedule(nightly);
    sleep(3 * 24 * 60 * MINUTE).await;
    idle().await;
    assert_eq!(ticks.pauses(), [23 * 60 + 30, 24 * 60]);
}

#[test]
fn a_durable_schedule_does_not_tick_in_every_process() {
    let handlers = bgtask::handlers();
    let has_schedule = |options: &bgtask::Options| options.to_string().contains("every = ");
    let mut scheduled = handlers
        .iter()
        .filter(|handler| has_schedule(&handler.options()));
    assert!(scheduled.clone().count() >= 3);
    assert!(scheduled.all(|handler| !handler.ticks_in_every_process()));
}
