//! Schedules in a test, and the wall clock that they follow.

use super::function::{BackgroundFunction, Function};
use super::record::State;
use crate::schedule;
use std::time::SystemTime;

/// Starts every function linked into the program that has `every`, `cron` or `on_start`, as `#[bgtask::main]` does by itself and
/// `#[bgtask::test(schedules)]` does before the first line of the test. Otherwise a test starts none.
///
/// To run a scheduled function once, call it.
///
/// # Examples
/// ```standalone_crate
/// # use std::time::Duration;
/// # #[bgtask::background(every = "1m")]
/// # async fn purge_expired() {}
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::start_schedules();
/// tokio::time::sleep(Duration::from_secs(3630)).await; // with `start_paused`, takes no time
/// assert_eq!(bgtask::testing::runs(purge_expired), 60); // #[background(every = "1m")]
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit.
#[track_caller]
pub fn start_schedules() {
    schedule::start(&State::current_tracker("start_schedules()"));
}

/// Starts the schedule of one function, whatever other schedules are linked into the program. Does nothing if the schedule was
/// started before.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background(every = "1m", immediately)]
/// # async fn purge_expired() {}
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::start_schedule(purge_expired);
/// bgtask::testing::started(purge_expired).await;
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function, and if the function has no schedule.
#[track_caller]
pub fn start_schedule<M>(function: impl BackgroundFunction<M>) {
    let tracker = State::current_tracker("start_schedule()");
    let function = Function::new(&function);
    let mut started = false;
    for handler in function.handlers() {
        started |= schedule::start_one(&tracker, handler);
    }
    assert!(
        started,
        "`{}` has no schedule: it has none of the options `every`, `cron` and `on_start`",
        function.name
    );
}

/// Sets the wall clock of this test, which `cron` follows and which [`schedules()`](crate::schedules) shows. From that time on,
/// the wall clock advances with the clock of `tokio::time`: under paused time, a day of ticks takes no time. Default: the
/// machine's clock, plus the time by which the test has advanced `tokio::time`.
///
/// Takes a [`SystemTime`] or a type that converts into one, such as a `DateTime` of chrono or a `Timestamp` of jiff. Call this
/// before the schedules start: a running schedule treats it as a clock that was set forward or back. It does not change
/// `SystemTime::now()` in your own code.
///
/// # Examples
/// ```standalone_crate
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # use std::time::{Duration, SystemTime};
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000); // 2030-01-01T00:00:00Z
/// bgtask::testing::set_now(new_year);
/// bgtask::testing::start_schedules();
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit.
#[track_caller]
pub fn set_now(time: impl Into<SystemTime>) {
    let shared = State::current_tracker("set_now()").shared.clone();
    // The wall clock follows the clock of the test's runtime, whatever runtime this is called on.
    let _entered = shared.runtime.enter();
    shared.policies.wall_clock.set(time.into());
}
