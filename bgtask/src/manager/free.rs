//! The free functions: what a [`Manager`](crate::Manager) offers, for the current manager.
//! Each finds the manager and delegates; owns nothing.

use crate::configure::{self, Overrides};
use crate::context::{current, current_shared};
use crate::error::OverridesError;
use crate::inspect::health::{self, Health};
use crate::inspect::snapshot::{self, Snapshot};
use crate::observe::hooks::{FailedTask, FinishedTask, PanickedTask};
use crate::policy::HandlerStats;
use crate::report::ShutdownReason;
use crate::schedule::{self, ScheduleHandle};
use crate::shutdown::request;
use crate::stats::{Stats, TaskInfo};
use crate::task::attempt::{Attempt, wrapper};
use crate::tracker::shutdown_state::Phase;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Requests the shutdown, without waiting for its end; see [`Manager::request_shutdown`](crate::Manager::request_shutdown).
/// Under `#[bgtask::main]` the tasks drain when `main` has ended.
///
/// # Examples
///
/// ```no_run
/// # async fn license_expired() {}
/// #[bgtask::background]
/// async fn watch_license() {
///     license_expired().await;
///     bgtask::request_shutdown("the license expired");
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn request_shutdown(reason: impl Into<ShutdownReason>) {
    // A manager that no longer exists has been shut down.
    if let Ok(tracker) = current("request_shutdown()") {
        request::request_and_wait(&tracker, reason.into());
    }
}

/// Returns whether a shutdown has been requested. For a readiness probe, use [`is_ready`].
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn is_shutting_down() -> bool {
    current_shared("is_shutting_down()").shutdown.phase() >= Phase::Stopping
}

/// Returns whether this process should receive requests: until a shutdown is requested, and only while a store of durable jobs that
/// is open works as it should; see [`health`] for the reason.
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn is_ready() -> bool {
    health::check(&current_shared("is_ready()"))
        .readiness
        .is_ok()
}

/// Returns the answers to the two questions of those who watch a process: whether it is alive, and whether it is ready.
///
/// # Examples
///
/// Probes behind a router of axum; any other router works in the same way.
///
/// ```
/// use axum::{Router, http::StatusCode, routing::get};
///
/// fn probes() -> Router {
///     let answer = |check: bgtask::Check| {
///         let status = StatusCode::from_u16(check.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
///         (status, check.to_string())
///     };
///     Router::new()
///         .route("/healthz", get(async move || answer(bgtask::health().liveness)))
///         .route("/readyz", get(async move || answer(bgtask::health().readiness)))
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn health() -> Health {
    health::check(&current_shared("health()"))
}

/// Returns the live tasks of the current manager; see [`Manager::tasks`](crate::Manager::tasks).
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn tasks() -> Vec<TaskInfo> {
    current("tasks()").map_or_else(|_ended| Vec::new(), |tracker| tracker.live_tasks())
}

/// Takes a snapshot of the current manager, which prints as a table; see [`Manager::snapshot`](crate::Manager::snapshot).
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn snapshot() -> Snapshot {
    current("snapshot()").map_or_else(
        |ended| snapshot::take_ended(&ended),
        |tracker| snapshot::take(&tracker),
    )
}

/// Returns the totals of the current manager; see [`Manager::stats`](crate::Manager::stats).
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn stats() -> Stats {
    current("stats()").map_or_else(|_ended| Stats::default(), |tracker| tracker.totals())
}

/// Returns the counts of each function with policies; see [`Manager::handler_stats`](crate::Manager::handler_stats).
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn handler_stats() -> Vec<HandlerStats> {
    current_shared("handler_stats()").policies.handler_stats()
}

/// Provides a value to the current manager, for [`State`](crate::State) parameters of its type. The first value of a type stands.
/// A second one is logged and dropped.
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn provide<T: Clone + Send + Sync + 'static>(value: T) {
    current_shared("provide()").policies.states.provide(value);
}

/// Returns the schedules of the current manager; see [`Manager::schedules`](crate::Manager::schedules).
///
/// # Panics
///
/// Panics if no manager can be found.
#[must_use]
#[track_caller]
pub fn schedules() -> Vec<ScheduleHandle> {
    schedule::handles(&current_shared("schedules()"))
}

/// Replaces the values of options under the current manager; see [`Manager::reconfigure`](crate::Manager::reconfigure). Under
/// `#[bgtask::main]`, call it at the start of `main`, and again whenever the configuration has changed.
///
/// # Examples
///
/// ```
/// #[bgtask::background(name = "deliver", concurrency = 2)]
/// async fn deliver(hook: String) { /* … */ }
///
/// #[bgtask::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let settings = r#"{ "deliver": { "concurrency": 16 } }"#; // a file, or the environment
///     bgtask::reconfigure(&serde_json::from_str(settings)?)?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// See [`Manager::reconfigure`](crate::Manager::reconfigure).
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn reconfigure(overrides: &Overrides) -> Result<(), OverridesError> {
    configure::apply(&current_shared("reconfigure()"), overrides)
}

/// Sets the grace period of the current manager, for a program that reads it when it starts. A constant one is an option:
/// `#[bgtask::main(grace = "…")]`. Has no effect once a shutdown has been requested.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// #[bgtask::main]
/// async fn main() {
///     let seconds = std::env::var("GRACE_SECONDS").ok().and_then(|text| text.parse().ok());
///     bgtask::set_grace(Duration::from_secs(seconds.unwrap_or(10)));
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn set_grace(grace: Duration) {
    current_shared("set_grace()").shutdown.set_grace(grace);
}

/// Adds a hook to the current manager that is called whenever a task panics; see
/// [`ManagerBuilder::on_panic`](crate::ManagerBuilder::on_panic).
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn on_panic(hook: impl Fn(&PanickedTask<'_>) + Send + Sync + 'static) {
    current_shared("on_panic()")
        .hooks
        .change(|hooks| hooks.on_panic.push(Arc::new(hook)));
}

/// Adds a hook to the current manager that is called whenever a task returns an `Err`; see
/// [`ManagerBuilder::on_error`](crate::ManagerBuilder::on_error).
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn on_error(hook: impl Fn(&FailedTask<'_>) + Send + Sync + 'static) {
    current_shared("on_error()")
        .hooks
        .change(|hooks| hooks.on_error.push(Arc::new(hook)));
}

/// Adds code to the current manager around each attempt of every task, inside of the code that was added before; see
/// [`ManagerBuilder::wrap`](crate::ManagerBuilder::wrap). Calls that were made before keep the wrappers that they have.
///
/// # Examples
///
/// ```
/// #[bgtask::main]
/// async fn main() {
///     bgtask::wrap(|attempt| async move {
///         let name = attempt.name();
///         let outcome = attempt.await;
///         println!("{name} {outcome}");
///     });
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn wrap<F>(wrap: impl Fn(Attempt) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    current_shared("wrap()").wrappers.add([wrapper(wrap)]);
}

/// Adds a hook to the current manager that is called whenever a task ends; see
/// [`ManagerBuilder::on_finish`](crate::ManagerBuilder::on_finish).
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn on_finish(hook: impl Fn(&FinishedTask<'_>) + Send + Sync + 'static) {
    current_shared("on_finish()")
        .hooks
        .change(|hooks| hooks.on_finish.push(Arc::new(hook)));
}
