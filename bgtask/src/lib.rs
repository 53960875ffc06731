//! Background work that the process knows about: one attribute, an ordinary call, a shutdown that drains.
//!
//! [`#[background]`](macro@background) goes on a function. Calling it returns a [`TaskHandle`] at once, and the body runs
//! in the background, *tracked*: it is counted before its first instruction, its panics are caught and reported, and a
//! shutdown waits for it, up to a deadline, and names what did not finish.
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
//! # Which item for what
//!
//! | you want to | use |
//! |---|---|
//! | run a function in the background | [`#[background]`](macro@background), and call it |
//! | run a block or a closure in the background, without a function | [`spawn!`] |
//! | have the process drain, and heed signals | [`#[bgtask::main]`](macro@main) on `main` |
//! | have it drain on a runtime of your own, and watch for signals yourself | [`Manager`] |
//! | know in a task that it should stop | a parameter of type [`ShutdownToken`], or [`shutdown_token()`] |
//! | wait for a task, cancel or abort it | [`TaskHandle`], [`TaskError`] |
//! | wait until nothing runs | [`idle()`] |
//! | wait for some tasks, cancel or drain them, apart from the rest | [`Group`] |
//! | see what runs | [`snapshot()`], which prints as a table; [`tasks()`], [`stats()`], [`handlers()`] |
//! | be told of what takes long | the option `warn_after` of [`#[background]`](macro@background), or of [`#[bgtask::main]`](macro@main) for all |
//! | see it in a browser | `dashboard`, a feature |
//! | have metrics of it | `metrics`, a feature |
//! | have calls survive the process | the option `durable`, and the crate `bgtask-durable` |
//! | be told of failures | [`on_panic()`], [`on_error()`], [`on_finish()`] |
//! | have it tried again, limited, coalesced, scheduled | the options of [`#[background]`](macro@background#policies) |
//! | give tasks a connection pool, a client, settings | a parameter of type [`State`], and [`provide()`] |
//! | see lines, retries, and when what is due | [`handler_stats()`], [`schedules()`] |
//! | have calls without a manager panic instead of installing one | [`require_manager()`] |
//! | test code that makes calls | [`#[bgtask::test]`](macro@test), [`testing`] |
//! | stop the process from code | [`request_shutdown()`], [`is_shutting_down()`] |
//!
//! The repository has a page on each of these: every policy ([docs/policies.md]), blocks ([docs/blocks.md]), what tests can check
//! and what a failing test reports ([docs/testing.md]), every span and event with its fields and how to filter them
//! ([docs/tracing.md]), metrics ([docs/metrics.md]), who may see the dashboard ([docs/dashboard.md]), what the attributes
//! generate ([docs/expansion.md]) and what that costs to compile ([docs/compile-time.md]).
//!
//! [docs/policies.md]: https://github.com/bgtask/bgtask/blob/main/docs/policies.md
//! [docs/blocks.md]: https://github.com/bgtask/bgtask/blob/main/docs/blocks.md
//! [docs/testing.md]: https://github.com/bgtask/bgtask/blob/main/docs/testing.md
//! [docs/tracing.md]: https://github.com/bgtask/bgtask/blob/main/docs/tracing.md
//! [docs/metrics.md]: https://github.com/bgtask/bgtask/blob/main/docs/metrics.md
//! [docs/dashboard.md]: https://github.com/bgtask/bgtask/blob/main/docs/dashboard.md
//! [docs/expansion.md]: https://github.com/bgtask/bgtask/blob/main/docs/expansion.md
//! [docs/compile-time.md]: https://github.com/bgtask/bgtask/blob/main/docs/compile-time.md
//!
//! # Every call is accounted for
//!
//! At any moment, and in every snapshot,
//!
//! `accepted = running + succeeded + failed + panicked + timed_out + cancelled + aborted + abandoned`
//!
//! A call that is not accepted is refused: it is logged, counted apart, and its handle says [`TaskError::Refused`].
//!
//! # Shutdown
//!
//! One sequence, however often and from wherever it is asked for, under one deadline:
//!
//! 1. **Stopping**: a signal or [`request_shutdown()`]. `main`'s token fires; servers stop accepting and finish what they
//!    have. Background calls are still accepted, and their tokens have not fired. A `main` that takes no token is dropped.
//!    When `main` returns by itself, this step is skipped.
//! 2. **Draining**: `main` has ended. Every task's token fires, all at once. Calls made by work that still runs are accepted
//!    and drained too. When nothing runs any more, the gate closes in that very moment: a later call is refused.
//!    This waits for `main`: a server that one client holds up takes the time from the tasks.
//! 3. **Deadline**, [25 s](DEFAULT_GRACE) after the request if not set otherwise: `async` tasks are aborted, and that is
//!    awaited for up to a second; what blocks is abandoned. Each is named, in the log and in the [`ShutdownReport`].
//!
//! A second signal at any time ends the process at once with 128 + its number. What one task does at step 2 is its
//! `on_shutdown` option: `"drain"` (it hears of it), `"cancel"` (it is dropped), `"finish"` (it hears nothing).
//!
//! # Policies
//!
//! What is written around `tokio::spawn` by hand is an option of [`#[background]`](macro@background#policies):
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
//! They wrap one another in one order: coalesce → rate → concurrency → retry → timeout → body. A call that only waits does not
//! delay the drain: a task asleep between two attempts makes one more attempt at once, a call that waits for the rate is dropped
//! and named, a call that waits for a permit starts when its turn comes, and schedules stop ticking.
//!
//! # What is it doing?
//!
//! [`snapshot()`] prints as a table: the totals, the oldest live tasks with their ages and places, the lines, the schedules.
//! `#[bgtask::main(dump = "SIGUSR1")]` prints it to stderr whenever that signal comes, also with every worker stuck. What takes
//! longer than its `warn_after` is reported once, at `warn`; so is what still runs half the grace period after its token fired.
//! Both are looked for from threads of their own, by the clock of the operating system, which a test's paused time does not
//! move; a call costs nothing more for it.
//!
//! # Features
//!
//! - `cron`: the option of that name. It brings an expression parser and the time zones of the IANA database.
//! - `metrics`: what becomes of calls, told to the recorder of the [`metrics`](https://docs.rs/metrics) facade that the program
//!   sets; nothing else has to be switched on. Names, labels and what adds up: [docs/metrics.md].
//! - `opentelemetry`: the spans of the tasks carry the fields that `tracing-opentelemetry` makes a span's name and status of. It
//!   brings nothing.
//! - `dashboard`: `bgtask::dashboard`, a page that shows what runs, on a listener of its own or as part of an axum server. It
//!   brings axum and `serde_json`.
//!
//! With `--cfg tokio_unstable`, which tokio-console needs, each call is a task of the runtime to itself, with its name and the
//! line that called it.
//!
//! # Failure
//!
//! A panic is reported the moment it happens, as an error event of [`tracing`](https://docs.rs/tracing) in the task's span
//! with name, id, message and place, and the process lives. An `Err` is logged at error unless somebody holds the handle. To
//! end because the token fired is no failure; to be cancelled or aborted without a shutdown is one. Arguments are never
//! logged. Without a `tracing` subscriber, the events that must not be missed go to stderr, one line each. In every line and
//! field, bgtask escapes the control characters of your texts and cuts long texts; see [`set_text_limit()`].
//!
//! # What it does not promise
//!
//! Work in memory dies with the process: SIGKILL, a power cut, `std::process::exit` and `panic = "abort"` lose what runs.
//! A thread that blocks cannot be stopped from outside: it is named, and left behind.
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

#[doc(hidden)]
pub mod __private;
mod call;
mod context;
#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(feature = "durable")]
pub mod durable;
mod entry;
mod error;
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
mod spawn;
mod state;
mod stats;
mod task;
pub mod testing;
mod tracker;
mod util;

/// Turns a function into background work that the process knows about.
///
/// ```
/// use bgtask::{ShutdownToken, background};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// struct Mailer { /* … */ }
///
/// impl Mailer {
///     /// A method takes its receiver by `Arc`, since the task outlives the caller.
///     #[background(name = "send_mail")]
///     async fn send(self: Arc<Self>, to: String) -> std::io::Result<()> {
///         // …
///         Ok(())
///     }
/// }
///
/// /// A plain function may block. Its token stands anywhere in the signature, and the caller does not write it.
/// #[background(log = "info", on_shutdown = "finish")]
/// fn compact(path: std::path::PathBuf, token: ShutdownToken) {
///     while token.sleep(Duration::from_secs(60)) { /* … */ }
/// }
///
/// # async fn shows(mailer: &Arc<Mailer>) -> Result<(), Box<dyn std::error::Error>> {
/// mailer.clone().send("a@example.org".into());           // goes on by itself
/// mailer.clone().send("b@example.org".into()).await??;   // is waited for: a TaskError, then the function's own
/// compact("store".into());
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// The call panics on a thread that belongs to no tokio runtime if no manager can be found; the message says what to do. On a
/// runtime without a manager, the first call installs one and logs a warning: that manager tracks the work but does not drain it.
/// Put [`#[bgtask::main]`](macro@main) on `main`, or install a [`Manager`]. With [`require_manager()`] such calls also panic.
///
/// # In detail
pub use bgtask_macros::background;
/// Makes `main` the entry point of a program with background work.
///
/// ```
/// use bgtask::ShutdownToken;
///
/// #[bgtask::main(grace = "10s")]
/// async fn main(shutdown: ShutdownToken) -> std::io::Result<()> {
/// #   bgtask::request_shutdown("the example ends");
///     shutdown.cancelled().await; // where a server would serve until then
///     Ok(()) // the background work drains, and the process exits with this result
/// }
/// ```
///
/// # Panics
/// With `main`'s own panic, after the background work has drained.
///
/// # In detail
pub use bgtask_macros::main;
/// Makes a function a test whose background work is drained, and judged with it.
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
/// With the test's own panic. Without one, if a task panicked, returned an `Err`, ran out of its `timeout` or lacked its
/// [`State`] and nobody looked at that, or had not ended within `drain`, unless it was declared; see [`testing`].
///
/// # In detail
pub use bgtask_macros::test;
pub use call::handle::{AbortOnDrop, TaskHandle};
pub use call::token::{Cancelled, ShutdownToken, shutdown_token};
pub use context::require_manager;
pub use error::{InstallError, RefusedReason, SourceLocation, TaskError};
pub use group::{CancelOnDrop, Group};
pub use handler::{Handler, Kind, Log, OnShutdown, Options, WarnAfter, handlers};
pub use inspect::snapshot::{ShutdownProgress, Snapshot};
pub use manager::idle::idle;
pub use manager::{
    DEFAULT_GRACE, Entered, Manager, ManagerBuilder, handler_stats, is_shutting_down, on_error,
    on_finish, on_panic, provide, request_shutdown, schedules, set_grace, snapshot, stats, tasks,
};
pub use observe::hooks::{FailedTask, FinishedTask, PanickedTask};
pub use policy::{HandlerStats, ScheduleInfo};
pub use report::{Failure, ShutdownReason, ShutdownReport, Signal, Straggler, StragglerGroup};
pub use state::State;
pub use stats::{Outcome, Stats, TaskId, TaskInfo, TaskState};
pub use tracker::shutdown_state::Phase;
pub use util::text::set_text_limit;
