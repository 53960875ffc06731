//! `Manager`: what a program holds to have its background work tracked, and the free functions that find it.
//! Owns installation and the last word when it is dropped; the work itself is the modules' below.

pub(crate) mod idle;

use crate::context::{self, current, current_shared};
use crate::handler::self_check;
use crate::inspect::slow_tasks;
use crate::inspect::snapshot::{self, Snapshot};
use crate::observe::hooks::{FailedTask, FinishedTask, Hooks, PanickedTask};
use crate::policy::{HandlerStats, ScheduleInfo};
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown;
use crate::shutdown::dismissal::{self, Why};
use crate::state::ToProvide;
use crate::stats::{Stats, TaskInfo};
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use crate::tracker::task_ref::TaskRef;
use crate::util::waker::contained;
use crate::{InstallError, ShutdownToken, schedule};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Time a shutdown is given where nothing else is said: within the 30 s that Kubernetes waits before it kills
/// (`terminationGracePeriodSeconds`).
pub const DEFAULT_GRACE: Duration = context::GRACE;

/// Tracks the background work of one tokio runtime.
///
/// It does not watch for signals: that is the program's own, or [`#[bgtask::main]`](macro@crate::main)'s.
///
/// [`#[bgtask::main]`](macro@crate::main) makes one; make your own to use a runtime of your own. There is at most one a
/// runtime, and code on any of the runtime's threads finds it. A plain thread finds it too if it is the only one in the
/// process, or between [`enter`](Self::enter) and the end of its guard. A runtime without a manager has that of
/// `#[bgtask::main]`, if there is one, and never that of another runtime. If there is none, the first call on such a runtime
/// installs a manager that starts no schedules and ends with the runtime. A manager that is installed explicitly later replaces
/// it, and takes over the calls made before.
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
///
/// Dropped without a shutdown while work runs, it says so at error level, fires the tokens and refuses further calls.
///
/// Once a manager has been dropped, with or without a shutdown, later calls on its runtime are refused with
/// [`RefusedReason::ShutDown`](crate::RefusedReason::ShutDown), until another manager is installed there explicitly. No call
/// installs one.
#[derive(Debug)]
pub struct Manager {
    tracker: Arc<Tracker>,
}

impl Manager {
    /// A manager to be, with a grace period of 25 s and no hooks.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder {
            grace: DEFAULT_GRACE,
            hooks: Hooks::default(),
            provided: ToProvide::default(),
            schedules: false,
            warn_after: None,
        }
    }

    /// Installs a manager with the default settings on the runtime this is called in.
    ///
    /// # Errors
    /// See [`ManagerBuilder::install`].
    pub fn install() -> Result<Self, InstallError> {
        Self::builder().install()
    }

    /// Makes this the manager of the current thread until the guard is dropped: for threads that are not the runtime's, in
    /// programs with several managers.
    pub fn enter(&self) -> Entered<'_> {
        Entered {
            before: context::enter(self.tracker.clone()),
            _manager: PhantomData,
        }
    }

    /// The token that fires as soon as a shutdown is asked for: what `main` gets under `#[bgtask::main]`.
    pub fn token(&self) -> ShutdownToken {
        ShutdownToken::of_process(self.tracker.shared.clone())
    }

    /// Shuts down and tells how it went: fires every task's token, waits until all have ended or the grace period is over,
    /// aborts the rest.
    ///
    /// Whoever calls this is taken to have ended its own service, as `main` has when it returns; to ask for the shutdown
    /// without that, use [`request_shutdown`](Self::request_shutdown). However often and from wherever it is called, there
    /// is one sequence and one report, and the first reason stands. A task that awaits this is not waited for.
    ///
    /// # Cancel safety
    /// The sequence goes on when the future is dropped; calling again waits for the same report.
    pub async fn shutdown(&self, reason: impl Into<ShutdownReason>) -> ShutdownReport {
        shut_down(&self.tracker, reason.into()).await
    }

    /// Requests the shutdown: [`token`](Self::token) fires, and the grace period begins. Tasks go on, and their tokens do not
    /// fire until [`shutdown`](Self::shutdown) is called or the grace period is over.
    ///
    /// When this returns, the token has fired, its waiters have been woken, and no tick and no restart starts a run any more.
    /// Another thread fires the token, and this call waits for it. A waker that blocks delays this call by at most two seconds.
    pub fn request_shutdown(&self, reason: impl Into<ShutdownReason>) {
        shutdown::request_and_notify(&self.tracker, reason.into());
    }

    /// Whether a shutdown has been asked for.
    pub fn is_shutting_down(&self) -> bool {
        self.tracker.shared.shutdown.phase() >= Phase::Stopping
    }

    /// The live tasks, oldest call first. A snapshot: callers are not held up while it is taken.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.tracker.live_tasks()
    }

    /// A look at all of it, of bounded size, that prints as a table. Callers are not held up while it is taken.
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(&self.tracker)
    }

    /// The totals. They add up; see [`Stats`].
    pub fn stats(&self) -> Stats {
        self.tracker.totals()
    }

    /// What the policies of each function have done, and how long their lines are: one entry a function that has policies and
    /// has been called, sorted by name.
    pub fn handler_stats(&self) -> Vec<HandlerStats> {
        self.tracker.shared.policies.handler_stats()
    }

    /// Starts every function linked into the program that says `every`, `cron` or `on_start`; `#[bgtask::main]` does so by
    /// itself. Each begins once its [`State`](crate::State) is there; state that is still missing after two seconds is
    /// reported. A second call does nothing.
    ///
    /// What is under way when the shutdown is asked for is drained as any other call; no further run begins. The runtime's timer
    /// has to be on (`enable_time` or `enable_all`).
    pub fn start_schedules(&self) {
        schedule::start(&self.tracker);
    }

    /// The schedules that were started, sorted by name: when each is due, and what became of its ticks.
    pub fn schedules(&self) -> Vec<ScheduleInfo> {
        self.tracker.shared.policies.schedule_infos()
    }

    /// Provides a value for [`State`](crate::State) parameters of its type. The first value of a type stands; a second one is
    /// reported and dropped.
    #[track_caller]
    pub fn provide<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.tracker.shared.policies.states.provide(value);
    }

    pub(crate) fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        context::unregister(&self.tracker);
        dismissal::dismiss(&self.tracker, Why::Dropped);
    }
}

/// The settings of a [`Manager`] to be.
#[must_use = "a builder does nothing until `install` or `install_on`"]
#[derive(Clone)]
pub struct ManagerBuilder {
    grace: Duration,
    hooks: Hooks,
    provided: ToProvide,
    schedules: bool,
    warn_after: Option<Duration>,
}

impl ManagerBuilder {
    /// The time a shutdown is given, from the request to the deadline. 25 s if not set.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Calls `hook` whenever a task panics, on the thread it panicked on. A hook that panics itself is reported and breaks
    /// nothing.
    pub fn on_panic(mut self, hook: impl Fn(&PanickedTask<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_panic.push(Arc::new(hook));
        self
    }

    /// Calls `hook` whenever a task returns an `Err`, whether or not somebody holds its handle.
    pub fn on_error(mut self, hook: impl Fn(&FailedTask<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_error.push(Arc::new(hook));
        self
    }

    /// Calls `hook` whenever a task ends, however it ends, before it is accounted for. Keep it short: it runs on the task's
    /// thread. Not called for tasks that are abandoned, which do not end. Of plain functions that the shutdown's deadline finds
    /// still queued it is told on a thread of the shutdown's, which waits a second for it at most; where the system has none to
    /// spare, on the one that has asked for the shutdown, once that is over.
    pub fn on_finish(mut self, hook: impl Fn(&FinishedTask) + Send + Sync + 'static) -> Self {
        self.hooks.on_finish.push(Arc::new(hook));
        self
    }

    /// Provides a value for [`State`](crate::State) parameters of its type; see [`provide`](crate::provide).
    #[track_caller]
    pub fn provide<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.provided.add(value);
        self
    }

    /// Whether the functions that say `every`, `cron` or `on_start` are started with the manager; see
    /// [`Manager::start_schedules`]. Not if not said: a test, or a second runtime, rarely wants them.
    pub fn schedules(mut self, start: bool) -> Self {
        self.schedules = start;
        self
    }

    /// From when on a task that has not ended is reported, once, with name, id, age, state and the place of its call, for
    /// functions that do not say `warn_after` themselves. Not if not said. Functions that say `on_start`, which are there to run
    /// for long, are reported only if they say so themselves.
    ///
    /// Counted from the call; of one that waits in a line of its policies, from when it is let through. By the clock of the
    /// operating system, which a test's paused time does not move. It is a thread that looks, so it works with every worker
    /// stuck too; and it looks a tenth of the time apart, at the most a second, so that is how late a report may come.
    pub fn warn_after(mut self, limit: Duration) -> Self {
        self.warn_after = Some(limit);
        self
    }

    /// Makes the manager of the runtime this is called in.
    ///
    /// # Errors
    /// [`InstallError::NoRuntime`] outside of a runtime, [`InstallError::AlreadyInstalled`] if it has a manager.
    pub fn install(self) -> Result<Manager, InstallError> {
        let runtime = Handle::try_current().map_err(|_| InstallError::NoRuntime)?;
        self.install_on(&runtime)
    }

    /// Makes the manager of `runtime`.
    ///
    /// # Errors
    /// [`InstallError::AlreadyInstalled`] if the runtime has a manager.
    pub fn install_on(self, runtime: &Handle) -> Result<Manager, InstallError> {
        let manager = self.install_unchecked(runtime, false)?;
        self_check::self_check();
        Ok(manager)
    }

    /// The manager of the program, for `#[bgtask::main]`. Without the self-check, whose reports would go past a subscriber
    /// that `main` has yet to set.
    pub(crate) fn install_for_program(self, runtime: &Handle) -> Result<Manager, InstallError> {
        self.install_unchecked(runtime, true)
    }

    fn install_unchecked(
        self,
        runtime: &Handle,
        is_process_default: bool,
    ) -> Result<Manager, InstallError> {
        let Self {
            grace,
            hooks,
            provided,
            schedules,
            warn_after,
        } = self;
        // A call may have installed a manager. That one stays, with these settings and the calls it tracks.
        let taken_over = |hooks| {
            let tracker = context::take_over(runtime)?;
            tracker.shared.shutdown.set_grace(grace);
            tracker.shared.hooks.change(|own| own.append(hooks));
            Some(tracker)
        };
        let tracker = match taken_over(hooks.clone()) {
            Some(tracker) => tracker,
            None => match context::install(runtime, grace, hooks.clone(), is_process_default) {
                Ok(tracker) => tracker,
                // A call may have been faster since we looked.
                Err(error) => taken_over(hooks).ok_or(error)?,
            },
        };
        provided.put_into(&tracker.shared.policies.states);
        slow_tasks::start(&tracker, warn_after);
        if schedules {
            schedule::start(&tracker);
        }
        Ok(Manager { tracker })
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder")
            .field("grace", &self.grace)
            .field("warn_after", &self.warn_after)
            .finish_non_exhaustive()
    }
}

/// Keeps a [`Manager`] the current one of a thread; see [`Manager::enter`].
///
/// # Panics
/// Where guards are dropped in another order than the reverse of that in which they were made.
#[must_use = "the manager is left again when the guard is dropped"]
#[derive(Debug)]
pub struct Entered<'a> {
    before: context::Before,
    /// Not `Send`: the guard has to be dropped on the thread it was made on.
    _manager: PhantomData<(&'a Manager, *const ())>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        context::leave(&mut self.before);
    }
}

pub(crate) async fn shut_down(tracker: &Arc<Tracker>, reason: ShutdownReason) -> ShutdownReport {
    let shared = &tracker.shared;
    // A task that waits for the drain would otherwise be waited for by it, and both for the deadline.
    let _not_awaited = context::task_of(shared).map(NotAwaited::new);
    shutdown::main_ended(tracker, reason);
    if clock_is_paused() {
        // Another thread fires the tokens, and a paused clock jumps to the next timer as soon as this thread waits.
        shutdown::wait_until_tasks_are_notified(shared);
    }
    contained(shared.shutdown.over.cancelled()).await;
    match shared.shutdown.report() {
        Some(report) => report.clone(),
        None => unreachable!("`over` fires when the report is written"),
    }
}

/// Returns whether a test has paused the runtime's clock: the system's clock moves on, and the runtime's does not.
fn clock_is_paused() -> bool {
    let (before, start) = (tokio::time::Instant::now(), Instant::now());
    while start.elapsed().is_zero() {}
    tokio::time::Instant::now() == before
}

/// While it lives, the drain does not wait for one task.
struct NotAwaited(TaskRef);

impl NotAwaited {
    fn new(place: TaskRef) -> Self {
        place.wait_for_drain();
        // The drain may be waiting for just this task.
        place.shared().shutdown.progress(|_| ());
        Self(place)
    }
}

impl Drop for NotAwaited {
    fn drop(&mut self) {
        self.0.stop_waiting_for_drain();
    }
}

/// Requests the shutdown, without waiting for its end; see [`Manager::request_shutdown`]. Under `#[bgtask::main]` the tasks drain
/// when `main` has ended.
///
/// # Panics
/// Where no manager can be found.
///
/// ```no_run
/// # async fn license_expired() {}
/// #[bgtask::background]
/// async fn watch_license() {
///     license_expired().await;
///     bgtask::request_shutdown("the license expired");
/// }
/// ```
#[track_caller]
pub fn request_shutdown(reason: impl Into<ShutdownReason>) {
    // What is left of a manager that is gone has been shut down.
    if let Ok(tracker) = current("request_shutdown()") {
        shutdown::request_and_notify(&tracker, reason.into());
    }
}

/// Whether a shutdown has been asked for: a readiness probe answers "no" from then on.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn is_shutting_down() -> bool {
    current_shared("is_shutting_down()").shutdown.phase() >= Phase::Stopping
}

/// The live tasks of the current manager; see [`Manager::tasks`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn tasks() -> Vec<TaskInfo> {
    current("tasks()").map_or_else(|_gone| Vec::new(), |tracker| tracker.live_tasks())
}

/// A look at the current manager's work that prints as a table; see [`Manager::snapshot`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn snapshot() -> Snapshot {
    current("snapshot()").map_or_else(
        |gone| snapshot::of_the_gone(&gone),
        |tracker| snapshot::take(&tracker),
    )
}

/// The totals of the current manager; see [`Manager::stats`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn stats() -> Stats {
    current("stats()").map_or_else(|_gone| Stats::default(), |tracker| tracker.totals())
}

/// What the policies of each function have done; see [`Manager::handler_stats`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn handler_stats() -> Vec<HandlerStats> {
    current_shared("handler_stats()").policies.handler_stats()
}

/// Provides a value to the current manager, for [`State`](crate::State) parameters of its type. The first value of a type
/// stands; a second one is reported and dropped.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn provide<T: Clone + Send + Sync + 'static>(value: T) {
    current_shared("provide()").policies.states.provide(value);
}

/// The schedules of the current manager; see [`Manager::schedules`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn schedules() -> Vec<ScheduleInfo> {
    current_shared("schedules()").policies.schedule_infos()
}

/// Sets the grace period of the current manager, for programs that learn it when they start; one known when they are
/// built is `#[bgtask::main(grace = "…")]`. Has no effect on a shutdown that has been asked for.
///
/// # Panics
/// Where no manager can be found.
///
/// ```
/// # use std::time::Duration;
/// #[bgtask::main]
/// async fn main() {
///     let seconds = std::env::var("GRACE_SECONDS").ok().and_then(|text| text.parse().ok());
///     bgtask::set_grace(Duration::from_secs(seconds.unwrap_or(10)));
/// }
/// ```
#[track_caller]
pub fn set_grace(grace: Duration) {
    current_shared("set_grace()").shutdown.set_grace(grace);
}

/// Adds a hook to the current manager: `hook` is called whenever a task panics; see [`ManagerBuilder::on_panic`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn on_panic(hook: impl Fn(&PanickedTask<'_>) + Send + Sync + 'static) {
    current_shared("on_panic()")
        .hooks
        .change(|hooks| hooks.on_panic.push(Arc::new(hook)));
}

/// Adds a hook to the current manager: `hook` is called whenever a task returns an `Err`; see [`ManagerBuilder::on_error`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn on_error(hook: impl Fn(&FailedTask<'_>) + Send + Sync + 'static) {
    current_shared("on_error()")
        .hooks
        .change(|hooks| hooks.on_error.push(Arc::new(hook)));
}

/// Adds a hook to the current manager: `hook` is called whenever a task ends; see [`ManagerBuilder::on_finish`].
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn on_finish(hook: impl Fn(&FinishedTask) + Send + Sync + 'static) {
    current_shared("on_finish()")
        .hooks
        .change(|hooks| hooks.on_finish.push(Arc::new(hook)));
}
