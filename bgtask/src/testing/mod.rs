//! Tests of code with background work: waits, counts, declared failures, held calls, and a verdict at the end.
//!
//! [`#[bgtask::test]`](macro@crate::test) gives a test its own runtime and manager, and drains the background work at the end of
//! the test. The test fails if a task panicked, did not end, or returned an `Err` or timed out without its handle being awaited.
//! This includes an `Err` in a handle that something still holds after the drain, such as a server that lives on. The message
//! names each task with its location. On a runtime of your own, or under `#[tokio::test]`, a [`Kit`] does the same. In a test
//! with neither, the first call on a runtime installs a manager that fails no test; with `BGTASK_REQUIRE_MANAGER=1` in the
//! environment, or after [`require_manager()`](crate::require_manager), such a call panics instead.
//!
//! The functions here refer to the test that calls them. They take a background function itself, which the compiler checks, or
//! its name; see [`BackgroundFunction`]. They panic for a function that is not a background function and for a name that no
//! function has, even in [`assert_not_called`].
//!
//! # Examples
//! ```standalone_crate
//! use bgtask::{background, testing};
//!
//! #[background]
//! async fn send_mail(to: String) -> Result<(), String> {
//!     if to.contains('@') { Ok(()) } else { Err(format!("`{to}` is no address")) }
//! }
//!
//! fn register(address: &str) { send_mail(address.to_owned()); }
//!
//! # macro_rules! never_run { ($($tokens:tt)*) => {} }
//! # never_run! {
//! #[bgtask::test]
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! async fn registering_sends_a_mail() {
//! #   let kit = testing::Kit::install().unwrap();
//!     register("ada@example.org");
//!     testing::idle().await;
//!     testing::assert_called(send_mail, 1);
//!
//!     testing::expect_error(send_mail); // without this line, the next one fails the test
//!     register("nobody");
//! #   kit.finish().await;
//! }
//! # registering_sends_a_mail();
//! ```
//!
//! With `start_paused` (and the `test-util` feature of tokio), an hour of `tokio::time` takes no time, in background work as in
//! the test, and `cron` follows the same clock; see [`set_now`]. The limits of the drain and of the waits use the real clock.
// Works through the hooks, the dispatcher and the manager's report. Must never know how tasks run.

mod alarm;
pub(crate) mod attribute;
mod clock;
mod dispatch;
mod expect;
mod failure;
mod function;
mod inline;
#[cfg(feature = "durable")]
mod jobs;
mod kit;
mod record;
#[cfg(feature = "durable")]
mod stored;
mod verdict;
mod wait;

pub use clock::{set_now, start_schedule, start_schedules};
pub use dispatch::{Inline, PausedDispatch, inline, pause_dispatch};
pub use expect::{
    assert_called, assert_not_called, calls, expect_error, expect_panic, expect_timeout, runs,
};
pub use function::BackgroundFunction;
#[cfg(feature = "durable")]
pub use jobs::{EnqueuedCalls, assert_enqueued};
pub use kit::{Kit, shutdown, until_drained};
pub use wait::{Wait, idle, started};
