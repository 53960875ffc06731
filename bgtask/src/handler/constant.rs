//! Checks of the constants in attributes. Of a function's options they run while the program compiles, of `main`'s at its start.
//! Knows single values; what two of them must be to each other, their own types check.

use crate::Rate;
use std::time::Duration;

/// The most attempts of a job: the engine stores their number in a `smallint`.
const MOST_ATTEMPTS: u32 = 32_767;

/// Each tick of a durable function is a transaction, which a disk makes a few hundred of per second.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

#[track_caller]
const fn require(holds: bool, wrong: &'static str) {
    if !holds {
        panic!("{}", wrong);
    }
}

pub const fn duration(value: Duration, _: &'static str) -> Duration {
    value
}

/// # Panics
/// If it is zero.
#[track_caller]
pub const fn positive(value: Duration, wrong: &'static str) -> Duration {
    require(!value.is_zero(), wrong);
    value
}

/// # Panics
/// If it is shorter than the ticks of a durable function may follow each other.
#[track_caller]
pub const fn period_of_jobs(value: Duration, wrong: &'static str) -> Duration {
    require(value.as_nanos() >= SHORTEST_PERIOD.as_nanos(), wrong);
    value
}

pub const fn number(value: usize, _: &'static str) -> usize {
    value
}

/// # Panics
/// If it is zero.
#[track_caller]
pub const fn count(value: usize, wrong: &'static str) -> usize {
    require(value > 0, wrong);
    value
}

/// # Panics
/// If it is zero.
#[track_caller]
pub const fn small_count(value: u32, wrong: &'static str) -> u32 {
    require(value > 0, wrong);
    value
}

/// # Panics
/// If there is no second attempt.
#[track_caller]
pub const fn attempts(value: u32, wrong: &'static str) -> u32 {
    require(value > 1, wrong);
    value
}

/// # Panics
/// If a job cannot have so many.
#[track_caller]
pub const fn attempts_of_jobs(value: u32, wrong: &'static str) -> u32 {
    require(value > 0 && value <= MOST_ATTEMPTS, wrong);
    value
}

/// # Panics
/// If a job cannot have it.
#[track_caller]
pub const fn priority(value: u8, wrong: &'static str) -> u8 {
    require(value >= 1 && value <= 4, wrong);
    value
}

/// # Panics
/// If it is empty.
#[track_caller]
pub const fn name(value: &'static str, wrong: &'static str) -> &'static str {
    require(!value.is_empty(), wrong);
    value
}

/// # Panics
/// If no queue can have it.
#[cfg(feature = "durable")]
#[track_caller]
pub const fn queue(value: &'static str, wrong: &'static str) -> &'static str {
    require(crate::durable::is_queue_name(value), wrong);
    value
}

/// # Panics
/// If no durable function can have had it.
#[cfg(feature = "durable")]
#[track_caller]
pub const fn was(value: &'static str, wrong: &'static str) -> &'static str {
    let is_short = value.len() >= 2 && value.len() < 128;
    require(value.is_ascii() && is_short, wrong);
    value
}

pub const fn rate(value: Rate, _: &'static str) -> Rate {
    value
}
