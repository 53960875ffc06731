//! Paused time: an hour passes in no time.

use crate::support::{doubled, hangs};
use bgtask::testing::{self};
use bgtask::{TaskError, background};
use bgtask_tests::FOREVER;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[background]
async fn an_hour_later() -> u32 {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    doubled(21).await.unwrap()
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn an_hour_passes_in_no_time() {
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    an_hour_later();
    testing::idle().await;
    testing::assert_called("doubled", 1);
    assert!(paused.elapsed() >= Duration::from_secs(3600));
    assert!(real.elapsed() < FOREVER);
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn the_drain_at_the_end_advances_paused_time_too() {
    an_hour_later();
}

#[background(retry(max = 3, backoff = "constant", base = "10m", cap = "1h"))]
async fn succeeds_at_last(attempts: Arc<AtomicU32>) -> Result<u32, &'static str> {
    match attempts.fetch_add(1, Ordering::Relaxed) + 1 {
        3 => Ok(3),
        _ => Err("not yet"),
    }
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn time_limits_and_back_offs_of_policies_pass_in_no_time() {
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    assert_eq!(hangs().await, Err(TaskError::TimedOut));
    assert!(paused.elapsed() >= Duration::from_secs(3600));
    let retried = tokio::time::Instant::now();
    assert_eq!(succeeds_at_last(Arc::default()).await, Ok(Ok(3)));
    assert!(retried.elapsed() >= Duration::from_secs(1200));
    assert!(real.elapsed() < FOREVER);
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn time_limits_of_the_user_pass_in_no_time_too() {
    let limit = Duration::from_secs(60);
    let limited = tokio::time::timeout(limit, an_hour_later()).await;
    assert!(limited.is_err());
    testing::assert_not_called("doubled");
}

/// The wait has its own limit, apart from the drain, and reports no call that ends in time.
#[bgtask::test(wait = "1h", drain = "1h", start_paused = true)]
async fn a_wait_under_paused_time_is_measured_by_the_real_clock() {
    an_hour_later();
    an_hour_later();
    testing::idle().await;
    assert_eq!(testing::runs(an_hour_later), 2);
}
