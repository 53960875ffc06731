//! `Manager`: the handle through which a program's background work is tracked, inspected and shut down.
//! Owns what happens when it is dropped; must never know how a program finds it.

pub(crate) mod builder;
pub(crate) mod free;
pub(crate) mod idle;

use crate::context;
use crate::inspect::health::{self, Health};
use crate::inspect::snapshot::{self, Snapshot};
use crate::policy::HandlerStats;
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown::dismissal::{self, Why};
use crate::shutdown::request;
use crate::stats::{Stats, TaskInfo};
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use crate::tracker::task_ref::TaskRef;
use crate::util::waker::contained;
use crate::{Overrides, OverridesError, ShutdownToken, configure, schedule};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The default grace period of a shutdown: 25 s, within the 30 s after which Kubernetes kills a pod
/// (`terminationGracePeriodSeconds`).
pub const DEFAULT_GRACE: Duration = context::GRACE;

/// Tracks the background work of one tokio runtime.
///
/// [`#[bgtask::main]`](macro@crate::main) creates one. Create your own to use a runtime of your own; it does not watch for
/// signals. How code finds its manager:
///
/// - A runtime has at most one manager, and code on any of the runtime's threads finds it.
/// - A plain thread finds the manager if it is the only one in the process, or between [`enter`](Self::enter) and the drop of its
///   guard.
/// - A runtime without a manager uses that of `#[bgtask::main]`, if there is one, and never that of another runtime.
/// - Otherwise, the first call on such a runtime installs a manager that starts no schedules and ends with the runtime. A manager
///   that is installed explicitly later replaces it, and takes over the calls made before.
///
/// If it is dropped without a shutdown while work runs, it logs an error, fires the tokens and refuses further calls. After the
/// drop, with or without a shutdown, later calls on its runtime are refused with
/// [`RefusedReason::ShutDown`](crate::RefusedReason::ShutDown) until another manager is installed there explicitly. No call
/// installs one.
///
/// # Examples
///
/// ```
/// #[bgtask::background]
/// async fn write_audit_line(line: String) { println!("{line}") }
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let manager = bgtask::Manager::builder().install_on(runtime.handle())?;
/// runtime.block_on(async { write_audit_line("started".into()) });
/// let report = runtime.block_on(manager.shutdown("the example ends"));
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Manager {
    tracker: Arc<Tracker>,
}

impl Manager {
    pub(crate) fn new(tracker: Arc<Tracker>) -> Self {
        Self { tracker }
    }

    pub(crate) fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// Makes this the manager of the current thread until the guard is dropped. For threads outside the runtime, in programs with
    /// several managers.
    pub fn enter(&self) -> Entered<'_> {
        Entered {
            before: context::enter(self.tracker.clone()),
            _manager: PhantomData,
        }
    }

    /// Runs `work` on this thread. The calls that it makes belong to this manager, and run on its runtime, whatever runtime the thread
    /// belongs to. For programs with several runtimes.
    ///
    /// A future that `work` returns is polled later, so its calls belong to the manager of the code that polls it.
    ///
    /// # Examples
    ///
    /// ```
    /// use bgtask::{Manager, background};
    ///
    /// #[background]
    /// async fn write_audit_line(line: String) { /* … */ }
    ///
    /// #[bgtask::main]
    /// async fn main() -> std::io::Result<()> {
    ///     let second = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    ///     let audit = Manager::builder().install_on(second.handle()).map_err(std::io::Error::other)?;
    ///     audit.run(|| write_audit_line("started".into()));
    ///     bgtask::spawn!(in &audit, "audit the settings", async { /* … */ });
    ///     audit.shutdown("the program ends").await;
    ///     second.shutdown_background();
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// With the panic of `work`.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        work()
    }

    /// Returns the token that fires when a shutdown is requested. `#[bgtask::main]` passes it to `main`.
    #[must_use]
    pub fn token(&self) -> ShutdownToken {
        ShutdownToken::for_process(self.tracker.shared.clone())
    }

    /// Shuts down and returns the report: fires every task's token, waits until all tasks have ended or the grace period is over,
    /// and aborts the rest.
    ///
    /// The caller has ended its own service by then, as `main` has when it returns. To request the shutdown earlier, use
    /// [`request_shutdown`](Self::request_shutdown). There is one sequence and one report, however often and from wherever this
    /// is called, and the first reason stands. A task that awaits this is not awaited by the shutdown.
    ///
    /// # Cancel safety
    ///
    /// The sequence continues if the future is dropped. Calling this again waits for the same report.
    pub async fn shutdown(&self, reason: impl Into<ShutdownReason>) -> ShutdownReport {
        shut_down(&self.tracker, reason.into()).await
    }

    /// Requests the shutdown: [`token`](Self::token) fires, after the [`pre_stop`](crate::ManagerBuilder::pre_stop) time if there is one, and
    /// the grace period begins. Tasks continue, and their tokens do not
    /// fire until [`shutdown`](Self::shutdown) is called or the grace period is over.
    ///
    /// When this returns, [`is_ready`](Self::is_ready) returns `false`, no tick and no restart starts a run any more, and, without
    /// a `pre_stop` time, the token has fired and its waiters have been woken. Another thread fires the token, and this call waits for
    /// it. A waker that blocks delays this call by at most two seconds.
    pub fn request_shutdown(&self, reason: impl Into<ShutdownReason>) {
        request::request_and_wait(&self.tracker, reason.into());
    }

    /// Returns whether a shutdown has been requested.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.tracker.shared.shutdown.phase() >= Phase::Stopping
    }

    /// Returns whether this process should receive requests: until a shutdown is requested, and only while a store of durable jobs
    /// that is open works as it should.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.health().readiness.is_ok()
    }

    /// Returns the answers to the two questions of those who watch a process: whether it is alive, and whether it is ready.
    #[must_use]
    pub fn health(&self) -> Health {
        health::check(&self.tracker.shared)
    }

    /// Returns the live tasks, oldest call first. No call waits while they are listed.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.tracker.live_tasks()
    }

    /// Takes a snapshot of bounded size, which prints as a table. No call waits while it is taken.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(&self.tracker)
    }

    /// Returns the totals. They add up; see [`Stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.tracker.totals()
    }

    /// Returns the counts of each function that has policies and has been called, or whose values were changed, sorted by name.
    #[must_use]
    pub fn handler_stats(&self) -> Vec<HandlerStats> {
        self.tracker.shared.policies.handler_stats()
    }

    /// Starts every function linked into the program that has `every`, `cron` or `on_start`. `#[bgtask::main]` does this by
    /// itself. A second call does nothing.
    ///
    /// Each function begins once its [`State`](crate::State) is provided. State that is still missing after two seconds is
    /// logged. When a shutdown is requested, runs in progress are drained like other calls, and no further run begins. The
    /// runtime needs its timer (`enable_time` or `enable_all`).
    ///
    /// # Panics
    ///
    /// If a constant in the place of a `cron` expression is none. The attribute checks literals while the program compiles.
    pub fn start_schedules(&self) {
        schedule::start(&self.tracker);
    }

    /// Returns handles to the schedules that were started, sorted by name.
    #[must_use]
    pub fn schedules(&self) -> Vec<schedule::ScheduleHandle> {
        schedule::handles(&self.tracker.shared)
    }

    /// Replaces the values of options, for the calls that come and for those that wait: limits, rates and periods hold at once. What an
    /// earlier call or [`ManagerBuilder::configure`](crate::ManagerBuilder::configure) has changed, and these overrides do not, has the
    /// value of its attribute again.
    ///
    /// # Examples
    ///
    /// ```
    /// use bgtask::Overrides;
    ///
    /// #[bgtask::background(name = "deliver", concurrency = 2)]
    /// async fn deliver(hook: String) { /* … */ }
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// # let manager = bgtask::Manager::install()?;
    /// manager.reconfigure(&Overrides::new().set("deliver", |options| options.concurrency(16)))?;
    ///
    /// let wrong = Overrides::new().set("deliver", |options| options.queue(100));
    /// println!("{}", manager.reconfigure(&wrong).unwrap_err());
    /// # manager.shutdown("end").await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If a name fits no function, a function does not have an option on its attribute, or a value is one that the attribute would not
    /// take. All mistakes are listed, and nothing is changed.
    pub fn reconfigure(&self, overrides: &Overrides) -> Result<(), OverridesError> {
        configure::apply(&self.tracker.shared, overrides)
    }

    /// Provides a value for [`State`](crate::State) parameters of its type. The first value of a type stands. A second one is
    /// logged and dropped.
    #[track_caller]
    pub fn provide<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.tracker.shared.policies.states.provide(value);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        context::unregister(&self.tracker);
        dismissal::dismiss(&self.tracker, Why::Dropped);
    }
}

/// A guard that makes a [`Manager`] the current one of its thread; see [`Manager::enter`].
///
/// # Panics
///
/// Dropping it panics if a guard that was created later on this thread is still alive.
#[must_use = "the thread leaves the manager when the guard is dropped"]
#[derive(Debug)]
pub struct Entered<'a> {
    before: context::Before,
    /// Not `Send`: the guard has to be dropped on the thread that created it.
    _manager: PhantomData<(&'a Manager, *const ())>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        context::leave(&mut self.before);
    }
}

pub(crate) async fn shut_down(tracker: &Arc<Tracker>, reason: ShutdownReason) -> ShutdownReport {
    let shared = &tracker.shared;
    // Otherwise a task that awaits the drain and the drain would wait for each other until the deadline.
    let _not_awaited = context::task_of(shared).map(NotAwaited::new);
    request::main_ended(tracker, reason);
    if clock_is_paused() {
        // Another thread fires the tokens, and a paused clock jumps to the next timer as soon as this thread waits.
        request::wait_until_tasks_are_notified(shared);
    }
    contained(shared.shutdown.over.cancelled()).await;
    match shared.shutdown.report() {
        Some(report) => report.clone(),
        None => unreachable!("`over` fires after the report is written"),
    }
}

/// Returns whether a test has paused the runtime's clock: the system's clock advances, and the runtime's does not.
fn clock_is_paused() -> bool {
    let (before, start) = (tokio::time::Instant::now(), Instant::now());
    while start.elapsed().is_zero() {}
    tokio::time::Instant::now() == before
}

/// A guard of one task: while it lives, the drain does not wait for that task.
struct NotAwaited(TaskRef);

impl NotAwaited {
    fn new(task: TaskRef) -> Self {
        task.wait_for_drain();
        // Wakes the drain, which may be waiting only for this task.
        task.shared().shutdown.progress(|_| ());
        Self(task)
    }
}

impl Drop for NotAwaited {
    fn drop(&mut self) {
        self.0.stop_waiting_for_drain();
    }
}
