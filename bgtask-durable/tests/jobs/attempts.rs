//! The attempts of durable functions: their job, their progress, cancellation, `unique`, and the policies that limit them.

use crate::support::store::{open, until, with_store};
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::durable::{JobError, JobState, enqueue_all};
use bgtask::{Job, ShutdownToken, StopReason, background};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

const LATER: Duration = Duration::from_secs(3600);

/// A type of the program's with the name of ours.
mod own {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Job(pub(crate) u32);
}

#[background(durable, retry(max = 3, base = "10ms", backoff = "constant"))]
async fn knows_its_job(job: Job, own: own::Job) -> Result<(String, u32, own::Job), String> {
    if job.attempt() < 2 {
        return Err("once more".to_owned());
    }
    Ok((
        format!("{}/{}", job.attempt(), job.max_attempts()),
        own.0,
        own,
    ))
}

#[background(durable)]
fn blocking_with_job(number: u32, job: Job) -> (u32, String) {
    (number, job.id().to_string())
}

fn a_function_receives_its_job(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = knows_its_job(own::Job(5)).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(("2/3".to_owned(), 5, own::Job(5))));
        let job = blocking_with_job(1).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok((1, job.id().to_string())));
    });
}

#[background(durable, retry(max = 1))]
async fn reports(job: Job, token: ShutdownToken, ends: bool) {
    for done in 0..50 {
        job.progress(f64::from(done) / 100.0, format!("step {done}"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    job.progress(f64::NAN, "a\0b");
    job.progress(7.0, "x".repeat(500));
    if !ends {
        token.cancelled().await;
    }
}

/// Sentence 11.7.
fn the_last_progress_is_stored_and_not_each(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = reports(true).await.expect("it is stored");
        job.outcome().await.expect("it ends");
        let status = job.status().await.expect("it is there");
        let progress = status.progress.expect("it reported some");
        assert_eq!((progress.fraction, progress.note.len()), (1.0, 200));
        // The claim, the end, and few of the 52 reports.
        assert!(status.version < 30, "{}", status.version);
    });
}

/// Sentences 11.7 and 11.8.
fn progress_is_seen_while_the_job_runs_and_the_version_grows(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = reports(false).await.expect("it is stored");
        let first = until(&job, |status| status.progress.is_some()).await;
        assert_eq!(
            (first.state, first.is_cancelling),
            (JobState::Running, false)
        );
        let last = until(&job, |status| {
            status
                .progress
                .as_ref()
                .is_some_and(|progress| progress.fraction == 1.0)
        })
        .await;
        assert!(last.version > first.version);
        assert_eq!(job.cancel().await, Ok(true));
    });
}

/// Without the defaults that `durable` has.
#[background(durable, retry(max = 3, base = "10ms", panics = false))]
async fn panics_once() {
    panic!("once");
}

fn a_panic_is_final_if_the_function_says_so(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = panics_once().await.expect("it is stored");
        let outcome = job.outcome().await;
        assert_eq!(outcome, Err(JobError::panicked("once".to_owned(), 1)));
    });
}

/// Ends when its token fires: with a value, or without one.
#[background(durable, retry(max = 5, base = "10ms"))]
async fn stops(token: ShutdownToken, has_value: bool) -> Result<u32, String> {
    token.cancelled().await;
    assert_eq!(token.reason(), Some(StopReason::Cancelled));
    if has_value {
        Ok(7)
    } else {
        Err("stopped".to_owned())
    }
}

/// Sentence 11.3.
fn the_token_of_a_cancelled_job_fires_and_no_attempt_follows(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let job = stops(false).await.expect("it is stored");
        until(&job, |status| status.state == JobState::Running).await;
        assert_eq!(job.cancel().await, Ok(true));
        assert_eq!(job.outcome().await, Err(JobError::cancelled(1)));
        assert_eq!(jobs.count(JobState::Cancelled).await, Ok(1));
        // It runs again if it is asked to.
        assert_eq!(job.retry_now().await, Ok(true));
        until(&job, |status| status.state == JobState::Running).await;
        assert_eq!(job.cancel().await, Ok(true));
        assert_eq!(job.outcome().await, Err(JobError::cancelled(1)));
    });
}

/// Sentence 11.3.
fn a_cancelled_job_that_ends_with_a_value_is_done(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = stops(true).await.expect("it is stored");
        until(&job, |status| status.state == JobState::Running).await;
        assert_eq!(job.cancel().await, Ok(true));
        assert_eq!(job.outcome().await, Ok(7));
    });
}

/// Each manager has an engine of its own, as a process has.
///
/// Sentence 11.3.
fn a_job_is_cancelled_from_another_process(scratch: Scratch) {
    let runtimes = [(); 2].map(|()| tokio::runtime::Runtime::new().expect("a runtime"));
    let (worker, _jobs) = runtimes[0].block_on(open(scratch.url()));
    let job = runtimes[0].block_on(async {
        let job = stops(false).await.expect("it is stored");
        until(&job, |status| status.state == JobState::Running).await;
        job
    });
    let (other, jobs) = runtimes[1].block_on(open(scratch.url()));
    runtimes[1].block_on(async {
        let job = jobs.get::<u32>(job.id());
        assert_eq!(job.cancel().await, Ok(true));
        assert_eq!(job.outcome().await, Err(JobError::cancelled(1)));
        other.shutdown("the test is over").await;
    });
    runtimes[0].block_on(worker.shutdown("the test is over"));
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Order {
    shop: String,
    id: u64,
}

fn order(shop: &str, id: u64) -> Order {
    let shop = shop.to_owned();
    Order { shop, id }
}

#[background(durable(unique))]
async fn once(order: Order, exact: f64) -> (u64, String) {
    (order.id, format!("{exact:?}"))
}

#[background(durable(unique(key = format!("{}/{}", order.shop, order.id))))]
async fn once_an_order(order: Order, copies: u32) -> u32 {
    let _ = order;
    copies
}

#[background(durable(unique(key = order.id, within = "1d")))]
async fn once_a_day(order: Order) -> u64 {
    order.id
}

/// Sentence 11.4.
fn without_a_key_the_arguments_are_compared(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let first = once(order("a", 1), 0.1)
            .after(LATER)
            .await
            .expect("it is stored");
        let again = once(order("a", 1), 0.1).await.expect("it is there");
        let other = once(order("b", 1), 0.1).await.expect("it is stored");
        assert_eq!((again.id(), again.is_duplicate()), (first.id(), true));
        assert!(!other.is_duplicate());
        first.retry_now().await.expect("it is there");
        assert_eq!(first.outcome().await, Ok((1, "0.1".to_owned())));
        let anew = once(order("a", 1), 0.1).await.expect("the first has ended");
        assert!(!anew.is_duplicate());
        assert_eq!(anew.outcome().await, Ok((1, "0.1".to_owned())));
    });
}

/// Sentence 11.4.
fn with_a_key_only_that_is_compared(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let first = once_an_order(order("a", 1), 1)
            .after(LATER)
            .await
            .expect("it is stored");
        let again = once_an_order(order("a", 1), 2).await.expect("it is there");
        assert!(again.is_duplicate());
        let other = once_an_order(order("a", 2), 3).await.expect("it is stored");
        assert_eq!(other.outcome().await, Ok(3));
        // The key of the call replaces that of the function.
        let own = once_an_order(order("a", 1), 4)
            .key("mine")
            .await
            .expect("it is stored");
        assert_eq!(own.outcome().await, Ok(4));
        first.cancel().await.expect("it is there");
    });
}

/// Sentence 11.4.
fn within_a_window_an_ended_job_keeps_others_away_too(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let calls = || {
            [
                once_a_day(order("a", 1)),
                once_a_day(order("b", 1)),
                once_a_day(order("a", 2)),
            ]
        };
        let handles = enqueue_all(calls()).await.expect("they are stored");
        let duplicates: Vec<_> = handles.iter().map(|job| job.is_duplicate()).collect();
        assert_eq!(duplicates, [false, true, false]);
        for job in &handles {
            job.outcome().await.expect("it ends");
        }
        let days = || {
            std::time::UNIX_EPOCH
                .elapsed()
                .expect("after 1970")
                .as_secs()
                / 86_400
        };
        let before = days();
        let again = once_a_day(order("c", 1)).await.expect("it is there");
        // Unless the test has passed midnight, UTC.
        if days() == before {
            assert!(again.is_duplicate());
            assert_eq!(again.id(), handles[0].id());
        }
        assert_eq!(again.outcome().await, Ok(1));
    });
}

/// How many bodies run at once, and at most did, in each test.
static AT_ONCE: Mutex<BTreeMap<String, (u32, u32)>> = Mutex::new(BTreeMap::new());

#[background(durable, concurrency = 2)]
async fn limited(job: Job, test: String) -> u32 {
    {
        let mut at_once = AT_ONCE.lock().expect("no thread panics with it");
        let (now, most) = at_once.entry(test.clone()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    let mut at_once = AT_ONCE.lock().expect("no thread panics with it");
    at_once.entry(test).or_default().0 -= 1;
    job.attempt()
}

/// Sentence 11.6.
fn jobs_without_a_permit_go_back_to_the_queue_uncounted(scratch: Scratch) {
    let test = scratch.url().to_owned();
    with_store(&scratch, |_| async {
        let calls: Vec<_> = (0..12).map(|_| limited(test.clone())).collect();
        let handles = enqueue_all(calls).await.expect("they are stored");
        for job in handles {
            assert_eq!(job.outcome().await, Ok(1), "each in its first attempt");
        }
        let most = AT_ONCE.lock().expect("no thread panics with it")[&test].1;
        assert!(most <= 2, "{most}");
        // A postponed attempt is no call.
        assert_eq!(bgtask::stats().accepted, 12);
    });
}

#[background(durable, rate(limit = "2/s", key = user))]
async fn rated(user: String, begin_millis: u64) -> u64 {
    let _ = user;
    now_millis() - begin_millis
}

fn now_millis() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    u64::try_from(now.as_millis()).expect("it fits")
}

/// Sentence 11.6.
fn jobs_beyond_the_rate_wait_in_their_queue(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let begin = now_millis();
        let calls = (0..5).map(|_| rated("ann".to_owned(), begin));
        let handles = enqueue_all(calls).await.expect("they are stored");
        let mut starts = Vec::new();
        for job in handles {
            starts.push(job.outcome().await.expect("it ends"));
        }
        starts.sort_unstable();
        assert!(
            starts[4] - starts[2] >= 500 && starts[3] - starts[1] >= 500,
            "{starts:?}"
        );
    });
}

on_each_database! {
    a_job_is_cancelled_from_another_process,
    a_function_receives_its_job,
    a_panic_is_final_if_the_function_says_so,
    the_last_progress_is_stored_and_not_each,
    progress_is_seen_while_the_job_runs_and_the_version_grows,
    the_token_of_a_cancelled_job_fires_and_no_attempt_follows,
    a_cancelled_job_that_ends_with_a_value_is_done,
    without_a_key_the_arguments_are_compared,
    with_a_key_only_that_is_compared,
    within_a_window_an_ended_job_keeps_others_away_too,
    jobs_without_a_permit_go_back_to_the_queue_uncounted,
    jobs_beyond_the_rate_wait_in_their_queue,
}

on_the_kit! {
    a_function_receives_its_job,
    the_last_progress_is_stored_and_not_each,
    progress_is_seen_while_the_job_runs_and_the_version_grows,
    the_token_of_a_cancelled_job_fires_and_no_attempt_follows,
    a_cancelled_job_that_ends_with_a_value_is_done,
    without_a_key_the_arguments_are_compared,
    with_a_key_only_that_is_compared,
    within_a_window_an_ended_job_keeps_others_away_too,
    jobs_without_a_permit_go_back_to_the_queue_uncounted,
    jobs_beyond_the_rate_wait_in_their_queue,
}
