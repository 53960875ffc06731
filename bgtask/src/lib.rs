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
//! | add, pause, change or run schedules | [`every()`], [`schedules()`], [`ScheduleHandle`] |
//! | change limits, rates and periods at run time | [`reconfigure()`], [`Overrides`] |
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
//! | `serde` | `Serialize` for the public data types, in [the documented form][inspect], and `Deserialize` for [`Overrides`] | serde |
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
// On docs.rs, each item shows the feature that its `#[cfg]` names.
#![cfg_attr(docsrs, feature(doc_cfg))]
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
/// # Examples
///
/// ## Functions, methods and the token
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
/// #[background(log = "info", warn_after = "never")]
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
/// ## Time limits and retries
///
/// The pauses of `backoff` grow from `base` to `cap`: with a base of 10 ms, `"constant"` pauses for 10, 10 and 10 ms, `"linear"` for 10, 20
/// and 30 ms, and `"exponential"`, the default, for 10, 20 and 40 ms. With `jitter`, each is a random part of that.
///
/// ```
/// use bgtask::{TaskError, background};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use std::time::Duration;
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Error {
///     Busy { retry_after: Option<Duration> },
///     Gone,
/// }
///
/// static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
///
/// #[background(retry(
///     max = 4,
///     backoff = "linear",
///     base = "1ms",
///     cap = "2ms",
///     jitter,
///     when = |error| *error != Error::Gone, // no other attempt follows `Gone`
///     after = |error| match error {
///         Error::Busy { retry_after } => *retry_after, // instead of the pause, if there is one
///         Error::Gone => None,
///     },
///     panics,                               // a panic is a failed attempt, too
///     last_attempt = false,                 // no other attempt follows once a shutdown drains
/// ))]
/// async fn fetch() -> Result<u32, Error> {
///     match ATTEMPTS.fetch_add(1, Relaxed) + 1 {
///         1 => Err(Error::Busy { retry_after: None }),
///         2 => Err(Error::Busy { retry_after: Some(Duration::from_millis(5)) }),
///         3 => panic!("a bug"),
///         attempt => Ok(attempt),
///     }
/// }
///
/// #[background(retry(max = 4, when = |error| *error != Error::Gone))]
/// async fn fetch_page() -> Result<(), Error> {
///     Err(Error::Gone)
/// }
///
/// #[background(timeout = "10ms")]
/// async fn hang() {
///     std::future::pending().await
/// }
///
/// #[bgtask::main]
/// async fn main() {
///     assert_eq!(fetch().await, Ok(Ok(4)));
///     assert_eq!(fetch_page().await, Ok(Err(Error::Gone)));
///     assert_eq!(hang().await, Err(TaskError::TimedOut));
/// }
/// ```
///
/// ## Coalescing
///
/// Each function is called three times while its first run is in flight:
///
/// ```
/// use bgtask::{TaskError, background};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use tokio::sync::Semaphore;
///
/// /// Holds the bodies back until the calls are made.
/// static GATE: Semaphore = Semaphore::const_new(0);
/// static RUNS: AtomicU32 = AtomicU32::new(0);
///
/// async fn render() -> u32 {
///     let run = RUNS.fetch_add(1, Relaxed);
///     let _open = GATE.acquire().await;
///     run
/// }
///
/// /// The calls share the outcome of the run in flight.
/// #[background(coalesce(key = page, policy = "join"))]
/// async fn join(page: u32) -> u32 { render().await }
///
/// /// The calls do nothing.
/// #[background(coalesce(key = page, policy = "skip"))]
/// async fn skip(page: u32) -> u32 { render().await }
///
/// /// Each call drops the run in flight, and runs instead.
/// #[background(coalesce(key = page, policy = "replace"))]
/// async fn replace(page: u32) -> u32 { render().await }
///
/// /// The calls share one more run, after the one that has begun.
/// #[background(coalesce(key = page, policy = "trailing"))]
/// async fn trailing(page: u32) -> u32 { render().await }
///
/// #[bgtask::main]
/// async fn main() {
///     let first = trailing(7);
///     while RUNS.load(Relaxed) == 0 {
///         tokio::task::yield_now().await; // until it has begun: further calls join a run that has not
///     }
///     let trailed = [first, trailing(7), trailing(7)];
///     let joined = [join(7), join(7), join(7)];
///     let skipped = [skip(7), skip(7), skip(7)];
///     let replaced = [replace(7), replace(7), replace(7)];
///     GATE.close();
///
///     let [first, second, third] = joined;
///     let (first, second, third) = (first.await, second.await, third.await);
///     assert!(first.is_ok() && first == second && second == third);
///
///     let [first, second, third] = skipped;
///     assert!(first.await.is_ok());
///     assert_eq!([second.await, third.await], [const { Err(TaskError::Skipped) }; 2]);
///
///     let [first, second, third] = replaced;
///     assert_eq!([first.await, second.await], [const { Err(TaskError::Replaced) }; 2]);
///     assert!(third.await.is_ok());
///
///     let [first, second, third] = trailed;
///     let (first, second, third) = (first.await, second.await, third.await);
///     assert!(first.is_ok() && first != second && second == third);
/// }
/// ```
///
/// ## Limits
///
/// Each function with `concurrency` is called three times: one call runs, one waits, and the third finds the wait queue full:
///
/// ```
/// use bgtask::{RefusedReason, TaskError, background};
/// use tokio::sync::Semaphore;
///
/// static GATE: Semaphore = Semaphore::const_new(0);
///
/// /// The new call is refused. This is the default.
/// #[background(concurrency(max = 1, queue = 1, overflow = "refuse"))]
/// async fn refuse() { drop(GATE.acquire().await) }
///
/// /// The oldest waiting call is dropped, and the new call waits.
/// #[background(concurrency(max = 1, queue = 1, overflow = "drop_oldest"))]
/// async fn drop_oldest() { drop(GATE.acquire().await) }
///
/// /// The new call waits as long as its handle is held.
/// #[background(concurrency(max = 1, queue = 1, overflow = "wait"))]
/// async fn wait() { drop(GATE.acquire().await) }
///
/// /// One call per hour and user begins; further ones are refused. By default, with `"wait"`, they wait.
/// #[background(rate(limit = "1/h", overflow = "refuse", key = user))]
/// async fn remind(user: u32) {}
///
/// #[bgtask::main]
/// async fn main() {
///     let refused = [refuse(), refuse(), refuse()];
///     let dropped = [drop_oldest(), drop_oldest(), drop_oldest()];
///     let waiting = [wait(), wait(), wait()];
///     GATE.close();
///
///     let full = Err(TaskError::Refused(RefusedReason::QueueFull));
///     let [first, second, third] = refused;
///     assert_eq!([first.await, second.await, third.await], [Ok(()), Ok(()), full]);
///
///     let by_a_later_one = Err(TaskError::Refused(RefusedReason::DroppedFromQueue));
///     let [first, second, third] = dropped;
///     assert_eq!([first.await, second.await, third.await], [Ok(()), by_a_later_one, Ok(())]);
///
///     let [first, second, third] = waiting;
///     assert_eq!([first.await, second.await, third.await], [Ok(()), Ok(()), Ok(())]);
///
///     let beyond = Err(TaskError::Refused(RefusedReason::RateExceeded));
///     assert_eq!([remind(1).await, remind(2).await, remind(1).await], [Ok(()), Ok(()), beyond]);
/// }
/// ```
///
/// ## Schedules
///
/// The first run of each function, at 1:00, takes until 3:30. So the ticks at 2:00 and 3:00 are missed:
///
/// ```standalone_crate
/// use bgtask::{background, testing};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use std::time::Duration;
/// use tokio::time::sleep;
///
/// async fn work(runs: &AtomicU32) {
///     if runs.fetch_add(1, Relaxed) == 0 {
///         sleep(Duration::from_secs(150)).await;
///     }
/// }
///
/// static ONCE: AtomicU32 = AtomicU32::new(0);
/// static SKIP: AtomicU32 = AtomicU32::new(0);
/// static ALL: AtomicU32 = AtomicU32::new(0);
/// static OVERLAP: AtomicU32 = AtomicU32::new(0);
/// static AT_THE_START: AtomicU32 = AtomicU32::new(0);
///
/// /// One run replaces the missed ticks, at 3:30. This is the default.
/// #[background(every = "1m", missed = "once")]
/// async fn once() { work(&ONCE).await }
///
/// /// None of them runs.
/// #[background(every = "1m", missed = "skip")]
/// async fn skip() { work(&SKIP).await }
///
/// /// Each has its own run, at 3:30, one after the other.
/// #[background(every = "1m", missed = "all")]
/// async fn all() { work(&ALL).await }
///
/// /// The run at 2:00 does not wait for the first one, so no tick is missed.
/// #[background(every = "1m", overlap)]
/// async fn overlap() { work(&OVERLAP).await }
///
/// /// The first run begins at the start, and each tick comes up to 10 s later.
/// #[background(every = "1m", immediately, jitter = "10s")]
/// async fn at_the_start() { AT_THE_START.fetch_add(1, Relaxed); }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # let kit = testing::Kit::install().unwrap();
/// // In a test with a paused clock:
/// testing::start_schedules();
/// sleep(Duration::from_secs(5 * 60 + 30)).await;
/// assert_eq!(ONCE.load(Relaxed), 4);         // 1:00, 3:30, 4:00, 5:00
/// assert_eq!(SKIP.load(Relaxed), 3);         // 1:00, 4:00, 5:00
/// assert_eq!(ALL.load(Relaxed), 5);          // 1:00, 3:30, 3:30, 4:00, 5:00
/// assert_eq!(OVERLAP.load(Relaxed), 5);      // 1:00, 2:00, 3:00, 4:00, 5:00
/// assert_eq!(AT_THE_START.load(Relaxed), 6); // 0:00, and five ticks
/// # kit.finish().await;
/// # }
/// ```
///
/// With the feature `cron`, a function runs by the wall clock:
///
/// ```
/// # #[cfg(feature = "cron")]
/// # mod example {
/// # use bgtask::background;
/// #[background(cron = "0 3 * * *", timezone = "Europe/Berlin")] // every night at three; without `timezone`, UTC
/// async fn close_the_day() { /* … */ }
///
/// #[background(cron = "*/10 * * * * *")] // six fields: the first has the seconds
/// async fn poll() { /* … */ }
/// # }
/// ```
///
/// ## Start-up tasks
///
/// ```standalone_crate
/// use bgtask::background;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// static STARTS: AtomicU32 = AtomicU32::new(0);
///
/// /// Starts again when it fails, and when it ends: with `when = "failure"`, the default, only when it fails. After five restarts within
/// /// a minute it has ended for good. Because it is `essential`, the shutdown starts then.
/// #[background(on_start, essential, restart(max = 5, window = "1m", when = "always", backoff = "constant", base = "1ms"))]
/// async fn consume() {
///     STARTS.fetch_add(1, Relaxed);
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # let manager = bgtask::Manager::builder().schedules(true).install_on(runtime.handle())?;
/// # let shutdown = manager.token();
/// // Under `#[bgtask::main]`, the exit code is 1.
/// # runtime.block_on(async {
/// shutdown.cancelled().await;
/// assert_eq!(STARTS.load(Relaxed), 6);
/// # manager.shutdown("the example ends").await;
/// # });
/// # Ok(())
/// # }
/// ```
///
/// ## The shutdown
///
/// ```
/// use bgtask::{Manager, ShutdownToken, TaskError, background};
/// use std::future::pending;
/// use std::time::Duration;
///
/// /// Its token fires. This is the default.
/// #[background(on_shutdown = "drain")]
/// async fn drain(token: ShutdownToken) -> &'static str {
///     token.cancelled().await;
///     "notified"
/// }
///
/// /// Its future is dropped.
/// #[background(on_shutdown = "cancel")]
/// async fn cancel() {
///     pending().await
/// }
///
/// /// It is left alone, and still has to end before the deadline.
/// #[background(on_shutdown = "finish")]
/// async fn finish(token: ShutdownToken) -> bool {
///     tokio::time::sleep(Duration::from_millis(20)).await;
///     token.is_cancelled()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Runtime::new()?;
/// let manager = Manager::builder().install_on(runtime.handle())?;
/// runtime.block_on(async {
///     let (drained, cancelled, finished) = (drain(), cancel(), finish());
///     manager.shutdown("the example ends").await;
///     assert_eq!(drained.await, Ok("notified"));
///     assert_eq!(cancelled.await, Err(TaskError::Cancelled));
///     assert_eq!(finished.await, Ok(false));
/// });
/// # Ok(())
/// # }
/// ```
///
/// ## Constants, names and logs
///
/// A duration, a number, a rate, a name, a cron expression and a time zone may be a constant. The compiler checks it as the attribute checks
/// a literal; a cron expression is checked when the schedules start.
///
/// ```
/// use bgtask::{Rate, background};
/// use std::time::Duration;
///
/// const LIMIT: Duration = Duration::from_secs(30);
/// const PER_PARTNER: Rate = Rate::per_second(50);
/// const CORES: usize = 4;
///
/// #[background(timeout = LIMIT, rate = PER_PARTNER, concurrency = 2 * CORES)]
/// async fn ask(question: String) { /* … */ }
///
/// /// Its two events, started and finished, have the level `info`; by default, `debug`. It is reported once it takes a minute.
/// #[background(name = "import", log = "info", warn_after = "1m")]
/// async fn import() { /* … */ }
///
/// /// No event about it is logged, neither a failure nor a refusal, except a deadline that it misses.
/// #[background(log = "off")]
/// async fn probe() { /* … */ }
///
/// let handlers = bgtask::handlers();
/// let ask = handlers.iter().find(|handler| handler.name().ends_with("::ask")).unwrap();
/// assert_eq!(ask.options().to_string(), "timeout = 30s, concurrency = 8, rate = 50/s");
/// assert!(handlers.iter().any(|handler| handler.name() == "import"));
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
