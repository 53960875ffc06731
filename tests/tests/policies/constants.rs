//! Constants in the place of literals.

use crate::support::SECOND;
use bgtask::{Rate, TaskError, background};
use bgtask_tests::{in_paused_time, settle};
use std::time::Duration;
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(5);
const MAX: usize = 2;
const ATTEMPTS: u32 = 4;
const RATE: Rate = Rate::per_minute(90);

const fn half(limit: Duration) -> Duration {
    Duration::from_millis(limit.as_millis() as u64 / 2)
}

struct Settings;

impl Settings {
    const QUEUE: usize = 10 * MAX;
}

#[background(
    timeout = LIMIT,
    concurrency(max = MAX, queue = Settings::QUEUE),
    rate = RATE,
    retry(max = ATTEMPTS, base = half(LIMIT), cap = LIMIT),
    warn_after = LIMIT.saturating_mul(10)
)]
async fn with_constants(wait: Duration) -> Result<(), String> {
    sleep(wait).await;
    Ok(())
}

#[background(
    timeout = "5s",
    concurrency(max = 2, queue = 20),
    rate = "90/1m",
    retry(max = 4, base = "2500ms", cap = "5s"),
    warn_after = "50s"
)]
async fn with_literals(wait: Duration) -> Result<(), String> {
    sleep(wait).await;
    Ok(())
}

fn options_of(name: &str) -> String {
    let handlers = bgtask::handlers();
    let mut handlers = handlers.iter();
    let handler = handlers.find(|handler| handler.name().ends_with(name));
    handler.expect(name).options().to_string()
}

#[test]
fn a_constant_is_the_same_as_the_literal_in_its_place() {
    let _ = (with_constants, with_literals);
    assert_eq!(
        options_of("constants::with_constants"),
        options_of("constants::with_literals")
    );
    assert!(
        options_of("constants::with_constants").contains("rate = 90/m"),
        "{}",
        options_of("constants::with_constants")
    );
}

#[background(timeout = LIMIT, log = "off")]
async fn at_most_the_limit(wait: Duration) {
    sleep(wait).await;
}

#[background(concurrency = MAX, log = "off")]
async fn at_most_two() {
    sleep(SECOND).await;
}

#[test]
fn a_constant_limits() {
    in_paused_time(async |manager| {
        assert_eq!(at_most_the_limit(LIMIT / 2).await, Ok(()));
        assert_eq!(at_most_the_limit(LIMIT * 2).await, Err(TaskError::TimedOut));
        let tasks: Vec<_> = (0..5).map(|_| at_most_two()).collect();
        settle().await;
        assert_eq!(manager.stats().waiting, 3);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
    });
}

#[test]
fn a_block_takes_constants_too() {
    in_paused_time(async |_| {
        let task = bgtask::spawn!("too long", timeout = LIMIT, log = "off", async {
            sleep(2 * LIMIT).await;
        });
        assert_eq!(task.await, Err(TaskError::TimedOut));
    });
}

#[test]
fn a_rate_is_read_as_the_attribute_spells_it() {
    for (text, rate) in [
        ("100/s", Rate::per_second(100)),
        ("10/m", Rate::per_minute(10)),
        ("1/h", Rate::per_hour(1)),
        ("5/30s", Rate::new(5, Duration::from_secs(30))),
        ("5/1m30s", Rate::new(5, Duration::from_secs(90))),
        ("3/ms", Rate::new(3, Duration::from_millis(1))),
    ] {
        assert_eq!(text.parse(), Ok(rate), "{text}");
        assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
    }
    for text in [
        "", "100", "100/", "/s", "0/s", "1/0s", "-1/s", "+1/s", "1.5/s", "100 / s", "s/100",
    ] {
        let error = text.parse::<Rate>().expect_err(text);
        assert_eq!(
            error.to_string(),
            format!("expected a rate such as \"100/s\" or \"10/m\", found {text:?}")
        );
    }
}
