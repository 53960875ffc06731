//! Background work that the process knows about: one attribute, an ordinary call, a shutdown that drains.
//!
//! Put [`#[background]`](macro@background) on a function. A call then returns a [`TaskHandle`] immediately, and the body runs in the
//! background, *tracked*: bgtask counts the call before its first instruction, catches and reports panics, and a shutdown waits for
//! the work until a deadline and names what did not finish.
//!
//! bgtask works in memory and is not a job queue: SIGKILL, a power cut, `std::process::exit` and `panic = "abort"` lose the work that
//! has not ended. A thread that blocks cannot be stopped from outside; the shutdown names it and abandons it.
//!
//! ```no_run
//! use bgtask::{ShutdownToken, background};
//!
//! #[background]
//! async fn refresh_cache(key: String) -> std::io::Result<()> {
//!     tokio::fs::write(std::env::temp_dir().join(key), "…").await
//! }
//!
//! #[bgtask::main]
//! async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
//!     let home = || async { refresh_cache("home".into()); "answered from the cache" };
//!     let app = axum::Router::new().route("/", axum::routing::get(home));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
//!     Ok(()) // from here the background work drains
//! }
//! ```
//!
//! # Overview
//!
//! | Task | Item |
//! |---|---|
//! | run a function in the background | [`#[background]`](macro@background), and call it |
//! | run a block or a closure in the background | [`spawn!`] |
//! | drain on shutdown, and handle signals | [`#[bgtask::main]`](macro@main) on `main` |
//! | drain on a runtime of your own, with your own signal handling | [`Manager`] |
//! | notice in a task that it should stop | a parameter of type [`ShutdownToken`], or [`shutdown_token()`] |
//! | await, cancel or abort a task | [`TaskHandle`], [`TaskError`] |
//! | await, cancel or drain some tasks apart from the rest | [`Group`] |
//! | make a call later | [`after()`], [`at()`] |
//! | wait until no task is live | [`idle()`] |
//! | inspect the work | [`snapshot()`], [`tasks()`], [`stats()`], [`handlers()`], [`handler_stats()`], [`schedules()`] |
//! | report slow tasks | the option `warn_after` of [`#[background]`](macro@background), or of [`#[bgtask::main]`](macro@main) for all functions |
//! | handle failures | [`on_panic()`], [`on_error()`], [`on_finish()`] |
//! | retry, limit, coalesce or schedule calls | the options of [`#[background]`](macro@background#policies) |
//! | share a connection pool, a client or settings with tasks | a parameter of type [`State`], and [`provide()`] |
//! | start a shutdown from code, or check for one | [`request_shutdown()`], [`is_shutting_down()`] |
//! | answer probes of liveness and readiness | [`health()`], [`is_ready()`], and the option `pre_stop` of [`#[bgtask::main]`](macro@main) |
//! | reject calls without a manager | [`require_manager()`] |
//! | have calls survive the process | the option `durable`, and the crate `bgtask-durable` |
//! | test code that makes calls | [`#[bgtask::test]`](macro@test), [`testing`] |
//!
//! The repository has a page on each subject: [calls], [options], [policies], [blocks], [groups], [managers], [shutdown], [testing],
//! [inspecting a process][inspect], [tracing], [metrics], [the dashboard][dashboard], [limits], and what the attributes
//! [generate][expansion].
//!
//! # Accounting
//!
//! At any moment, and in every snapshot,
//!
//! `accepted = running + succeeded + failed + panicked + timed_out + cancelled + aborted + abandoned`
//!
//! A call that is not accepted is logged and counted as refused, and its handle returns [`TaskError::Refused`].
//!
//! # Shutdown
//!
//! A shutdown is one sequence with one deadline, whatever requests it and however often:
//!
//! 1. **Stopping**: a signal or [`request_shutdown()`]. `main`'s token fires, so servers stop accepting connections and finish their
//!    open requests. bgtask still accepts calls, and the tokens of tasks have not fired. A `main` without a token is dropped. This
//!    step is skipped if `main` returns by itself.
//! 2. **Draining**: `main` has ended, and every task's token fires. bgtask accepts and drains the calls that tasks still make. When
//!    the last task has ended, it refuses every later call. A server that a client holds up in step 1 leaves less time for this.
//! 3. **Deadline**, [25 s](DEFAULT_GRACE) after the request by default: bgtask aborts `async` tasks, waits up to a second for the
//!    aborts, and abandons tasks that block their threads. The log and the [`ShutdownReport`] name each.
//!
//! A second signal exits immediately with 128 + its number. The option `on_shutdown` decides what step 2 does to a task: `"drain"`:
//! its token fires; `"cancel"`: its future is dropped; `"finish"`: it is left alone. [More][shutdown].
//!
//! # Policies
//!
//! ```
//! # use bgtask::{State, background};
//! # #[derive(Clone)] struct Client;
//! # impl Client { async fn post(&self, _: String) -> std::io::Result<()> { Ok(()) } }
//! #[background(timeout = "30s", retry(max = 5, jitter), concurrency = 8)]
//! async fn deliver(State(client): State<Client>, hook: String) -> std::io::Result<()> {
//!     client.post(hook).await
//! }
//!
//! #[background(every = "5m", immediately)]
//! async fn purge_expired() { /* … */ }
//! ```
//!
//! Policies apply in one order: coalesce → rate → concurrency → retry → timeout → body. A waiting call does not delay the drain: a
//! task that sleeps between two attempts makes one more attempt immediately, a call that waits for its rate limit is dropped and
//! reported, a call that waits for a permit starts when it is admitted, and schedules stop. [More][policies].
//!
//! # Failures
//!
//! A panic is reported when it happens, as an error event of [`tracing`](https://docs.rs/tracing) in the task's span, with name, id,
//! message and location, and the process continues. An `Err` is logged at `error` unless the handle is still held. Ending because the
//! token fired is not a failure; being cancelled or aborted without a shutdown is. Arguments are never logged. Without a subscriber,
//! panics, unread errors and stragglers go to stderr, one line each. bgtask escapes control characters and truncates long texts in
//! all of its output; see [`set_text_limit()`]. [More][tracing].
//!
//! # Features
//!
//! | Feature | Adds | Dependencies |
//! |---|---|---|
//! | `cron` | the option `cron` | croner, chrono-tz |
//! | `dashboard` | `bgtask::dashboard`, a page that shows what runs, on its own listener or in an axum server | axum, `serde_json` |
//! | `metrics` | counters, gauges and histograms of calls, for the recorder of the [`metrics`](https://docs.rs/metrics) facade | metrics |
//! | `opentelemetry` | the span fields from which `tracing-opentelemetry` reads a span's name and status | none |
//! | `serde` | `Serialize` for the public data types, in [the documented form][inspect] | serde |
//!
//! All are off by default. With `--cfg tokio_unstable`, which tokio-console needs, each call is a task of the runtime with its own
//! name and call site.
//!
//! [blocks]: https://github.com/bgtask/bgtask/blob/main/docs/blocks.md
//! [calls]: https://github.com/bgtask/bgtask/blob/main/docs/calls.md
//! [dashboard]: https://github.com/bgtask/bgtask/blob/main/docs/dashboard.md
//! [expansion]: https://github.com/bgtask/bgtask/blob/main/docs/expansion.md
//! [groups]: https://github.com/bgtask/bgtask/blob/main/docs/groups.md
//! [inspect]: https://github.com/bgtask/bgtask/blob/main/docs/inspect.md
//! [limits]: https://github.com/bgtask/bgtask/blob/main/docs/limits.md
//! [managers]: https://github.com/bgtask/bgtask/blob/main/docs/managers.md
//! [metrics]: https://github.com/bgtask/bgtask/blob/main/docs/metrics.md
//! [options]: https://github.com/bgtask/bgtask/blob/main/docs/options.md
//! [policies]: https://github.com/bgtask/bgtask/blob/main/docs/policies.md
//! [shutdown]: https://github.com/bgtask/bgtask/blob/main/docs/shutdown.md
//! [testing]: https://github.com/bgtask/bgtask/blob/main/docs/testing.md
//! [tracing]: https://github.com/bgtask/bgtask/blob/main/docs/tracing.md
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

#[doc(hidden)]
pub mod __private;
// Not `spawn`: the compiler would suggest this module to users who forget the `!` of `spawn!`.
mod block;
mod call;
mod configure;
mod context;
#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(feature = "durable")]
pub mod durable;
mod entry;
mod error;
mod fields;
mod group;
mod handler;
mod inspect;
mod manager;
#[cfg(bgtask_loom)]
#[path = "../../models/loom/src/mod.rs"]
pub mod models;
#[cfg(bgtask_shuttle)]
#[path = "../../models/shuttle/src/mod.rs"]
pub mod models;
mod observe;
mod policy;
mod report;
mod schedule;
mod shutdown;
mod state;
mod stats;
mod task;
pub mod testing;
mod tracker;
mod util;

/// Makes each call of a function run in the background, tracked.
///
/// ```
/// use bgtask::{ShutdownToken, background};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// struct Mailer { /* … */ }
///
/// impl Mailer {
///     /// A method takes its receiver by `Arc`, because the task outlives the caller.
///     #[background(name = "send_mail")]
///     async fn send(self: Arc<Self>, to: String) -> std::io::Result<()> {
///         // …
///         Ok(())
///     }
/// }
///
/// /// A plain function may block. The token may be any parameter, and callers do not pass it.
/// #[background(log = "info", on_shutdown = "finish")]
/// fn compact(path: std::path::PathBuf, token: ShutdownToken) {
///     while token.sleep(Duration::from_secs(60)) { /* … */ }
/// }
///
/// # async fn shows(mailer: &Arc<Mailer>) -> Result<(), Box<dyn std::error::Error>> {
/// mailer.clone().send("a@example.org".into());           // continues by itself
/// mailer.clone().send("b@example.org".into()).await??;   // awaited: first a TaskError, then the function's own error
/// compact("store".into());
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// A call on a thread outside of any tokio runtime panics if no manager can be found. On a runtime without a manager, the first call
/// installs one and logs a warning: that manager tracks the work but does not drain it. Put [`#[bgtask::main]`](macro@main) on
/// `main`, or install a [`Manager`]. With [`require_manager()`], such calls also panic.
///
/// # Details
pub use bgtask_macros::background;
/// Makes `main` the entry point of a program with background work.
///
/// ```
/// use bgtask::ShutdownToken;
///
/// #[bgtask::main(grace = "10s")]
/// async fn main(shutdown: ShutdownToken) -> std::io::Result<()> {
/// #   bgtask::request_shutdown("the example ends");
///     shutdown.cancelled().await; // a server would serve until then
///     Ok(()) // the background work drains, and the process exits with this result
/// }
/// ```
///
/// A function that takes arguments becomes a plain function that takes them:
///
/// ```standalone_crate
/// use bgtask::ShutdownToken;
///
/// #[bgtask::main]
/// async fn serve(port: u16, shutdown: ShutdownToken) -> Result<u16, std::io::Error> {
///     // …
///     Ok(port)
/// }
///
/// fn main() -> Result<(), std::io::Error> {
///     let port = serve(3000)?; // returns when the background work has drained
///     println!("port {port} is closed");
///     Ok(())
/// }
/// ```
///
/// # Panics
///
/// Panics with `main`'s own panic, after the background work has drained.
///
/// # Details
pub use bgtask_macros::main;
/// Makes a function a test that drains its background work and fails if a task fails.
///
/// The test's local variables are dropped before the drain; [`testing::until_drained`] keeps a value until the drain is over.
///
/// ```
/// use bgtask::background;
///
/// #[background]
/// async fn save(page: u32) -> std::io::Result<()> { Ok(()) }
///
/// #[bgtask::test]
/// async fn pages_are_saved() {
///     save(1);
///     bgtask::testing::idle().await;
///     bgtask::testing::assert_called(save, 1);
/// }
///
/// #[bgtask::test(start_paused = true, drain = "1s")]
/// async fn an_hour_passes_in_no_time(shutdown: bgtask::ShutdownToken) -> std::io::Result<()> {
///     tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
///     Ok(())
/// }
/// ```
///
/// # Panics
///
/// Panics with the test's own panic. Otherwise, panics if a task panicked, returned an `Err`, timed out or lacked its [`State`] and
/// the test did not read that from its handle, or if a task had not ended within `drain`, unless the test declared it; see
/// [`testing`].
///
/// # Details
pub use bgtask_macros::test;
pub use call::handle::{AbortOnDrop, TaskHandle};
pub use call::token::{Cancelled, ShutdownToken, shutdown_token};
pub use configure::{OptionValues, Overrides};
pub use context::require_manager;
#[cfg(feature = "durable")]
pub use durable::Job;
pub use error::{InstallError, OverridesError, RefusedReason, SourceLocation, TaskError};
pub use fields::Fields;
pub use group::{CancelOnDrop, Group};
pub use handler::{Handler, Kind, Log, OnShutdown, Options, WarnAfter, handlers};
pub use inspect::health::{Check, Health};
pub use inspect::snapshot::{ShutdownProgress, Snapshot};
pub use manager::builder::ManagerBuilder;
pub use manager::free::{
    handler_stats, health, is_ready, is_shutting_down, on_error, on_finish, on_panic, provide,
    reconfigure, request_shutdown, schedules, set_grace, snapshot, stats, tasks, wrap,
};
pub use manager::idle::idle;
pub use manager::{DEFAULT_GRACE, Entered, Manager};
pub use observe::hooks::{FailedTask, FinishedTask, PanickedTask};
pub use policy::{HandlerStats, ParseRateError, Rate, ScheduleInfo};
pub use report::{
    Failure, ScheduledCall, ShutdownReason, ShutdownReport, Signal, StopReason, Straggler,
    StragglerGroup,
};
#[cfg(feature = "cron")]
pub use schedule::handle::cron;
pub use schedule::handle::{ScheduleError, ScheduleHandle, every};
pub use schedule::later::{ScheduledHandle, after, at};
pub use state::State;
pub use stats::{Outcome, Stats, TaskId, TaskInfo, TaskState};
pub use task::attempt::Attempt;
pub use tracker::shutdown_state::Phase;
pub use util::text::set_text_limit;
