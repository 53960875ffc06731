//! What everything that belongs to one manager shares: the gate, the phase, the request, the hooks, the runtime.
//! Owns the state and its transitions; knows nothing of who waits for them, of where calls are written down, or of signals.

use crate::observe::Stage;
use crate::observe::call_info::LateTask;
use crate::observe::hooks::{HookList, Hooks};
use crate::policy::Registry;
use crate::report::{Failure, ShutdownReason, ShutdownReport};
use crate::tracker::gate::Gate;
use crate::tracker::main_polls::MainPolls;
use crate::tracker::stragglers::{LateTasks, Stragglers};
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::SideThread;
use crate::util::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::util::sync::{Condvar, Mutex, MutexGuard, broken, thread};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Once, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};
use thread::ThreadId;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How many failures of one shutdown a report keeps; further ones are in the totals.
const FAILURES_KEPT: usize = 1000;

/// How far the one shutdown sequence has come. Only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Phase {
    /// Nobody has asked for a shutdown.
    Running,
    /// Asked to stop: `main`'s token has fired.
    Stopping,
    /// `main` has ended: the tasks' tokens have fired.
    Draining,
    /// The deadline has passed: what is polled now is dropped.
    Expired,
    /// The report is written.
    Over,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Draining => "draining",
            Phase::Expired => "past the deadline",
            Phase::Over => "over",
        })
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) reason: ShutdownReason,
    pub(crate) asked: Instant,
    pub(crate) grace: Duration,
    pub(crate) deadline: Instant,
}

/// What the shutdown sequence waits for; see [`Shared::wait_until`].
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) main_ended: bool,
    /// `main`'s token has fired, and its waiters have been woken.
    pub(crate) main_notified: bool,
    /// The thread that fires the tokens.
    pub(crate) fired_by: Option<ThreadId>,
    /// The number of runs that schedules are starting now.
    ticks_starting: usize,
    /// The tokens of tasks have fired, and whoever waited for one has been woken.
    pub(crate) tasks_told: bool,
}

/// A run that a schedule is starting; see [`Shared::start_tick`].
#[derive(Debug)]
pub(crate) struct Tick<'a>(&'a Shared);

impl Drop for Tick<'_> {
    fn drop(&mut self) {
        if !broken!("tick_not_counted") {
            self.0.progress(|progress| progress.ticks_starting -= 1);
        }
    }
}

/// Nothing is ever sent: that it is dropped ends the watch's nap, and the watch.
pub(crate) type Watched = mpsc::Sender<Infallible>;

/// What to do when a runtime has ended.
pub(crate) type RuntimeEnded = fn(&Shared);

/// What is kept of the calls that were live at the deadline.
#[derive(Debug, Default)]
struct Late {
    /// When it passed, until they have been collected.
    expired: Option<Instant>,
    /// Those that have ended since.
    tasks: LateTasks,
}

/// The failures since the request.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// The first failures.
    pub(crate) named: Vec<Failure>,
    /// The number of all failures.
    pub(crate) count: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gate: Gate,
    /// Live calls that a drain does not wait for, because they wait for the drain.
    pub(crate) not_awaited: AtomicU64,
    late: Mutex<Late>,
    pub(crate) runtime: Handle,
    pub(crate) runtime_id: Id,
    pub(crate) hooks: HookList,
    /// What is kept for functions with policies.
    pub(crate) policies: Registry,
    /// It is that of `#[bgtask::main]`, and so the program's.
    pub(crate) is_process_default: bool,
    /// The polls of `main`, under `#[bgtask::main]`.
    pub(crate) main_polls: MainPolls,
    uninstalled: AtomicBool,
    /// What to do when the runtime ends, for a manager that a call has installed.
    fallback: Mutex<Option<RuntimeEnded>>,
    /// See [`dismiss_once`](Self::dismiss_once). The standard library's, in a model too: no model has a runtime that ends.
    dismissed: Once,
    grace: Mutex<Duration>,
    phase: AtomicU8,
    request: OnceLock<Request>,
    /// When the draining began.
    drains_since: OnceLock<Instant>,
    /// As long as this is here, the watch goes on; see [`Watched`].
    watched: Mutex<Option<Watched>>,
    /// Fires with [`Phase::Stopping`]: `main`'s token.
    pub(crate) stopping: CancellationToken,
    /// Fires with [`Phase::Draining`]: the parent of the tasks' tokens.
    pub(crate) draining: CancellationToken,
    /// Fires when the deadline passes before `main` has ended.
    pub(crate) main_is_late: CancellationToken,
    /// Fires with [`Phase::Over`].
    pub(crate) over: CancellationToken,
    /// How many times a single task was cancelled through its handle: as long as it is zero, no token has to look for a
    /// cancellation of its own.
    pub(crate) cancelled_alone: AtomicUsize,
    progress: Mutex<Progress>,
    progress_made: Condvar,
    /// The number of callers that wait in `idle()`, and what notifies them.
    idle_watchers: Mutex<usize>,
    pub(crate) idle: Notify,
    failures: Mutex<Failures>,
    report: OnceLock<ShutdownReport>,
    on_over: Mutex<Option<OnOver>>,
    /// What the dashboard keeps, if there is one.
    #[cfg(feature = "dashboard")]
    pub(crate) board: OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    /// What the durable tier keeps, once a store is open.
    #[cfg(feature = "durable")]
    pub(crate) store: OnceLock<Arc<dyn Attached>>,
    /// The number of durable calls that nobody awaited, so nothing was stored.
    #[cfg(feature = "durable")]
    pub(crate) not_stored: AtomicU64,
}

/// A store of durable jobs that is attached to a manager.
#[cfg(feature = "durable")]
pub(crate) trait Attached: std::any::Any + fmt::Debug + Send + Sync {
    /// Returns when every attempt that has ended is stored and the others have been returned to their queues, at the latest
    /// at `until`.
    fn close(&self, until: Instant);
}

/// What is left to do on the sequence's own thread once the report is there.
struct OnOver(OnComplete);

/// It is given the report and the deadline.
type OnComplete = Box<dyn FnOnce(&ShutdownReport, Instant) + Send>;

impl fmt::Debug for OnOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnOver")
    }
}

impl Shared {
    pub(crate) fn new(
        runtime: Handle,
        grace: Duration,
        hooks: Hooks,
        is_process_default: bool,
    ) -> Self {
        Self {
            gate: Gate::default(),
            not_awaited: AtomicU64::new(0),
            late: Mutex::default(),
            runtime_id: runtime.id(),
            runtime,
            hooks: HookList::new(hooks),
            policies: Registry::new(),
            is_process_default,
            main_polls: MainPolls::default(),
            uninstalled: AtomicBool::new(false),
            fallback: Mutex::default(),
            dismissed: Once::new(),
            grace: Mutex::new(grace),
            phase: AtomicU8::new(Phase::Running as u8),
            request: OnceLock::new(),
            drains_since: OnceLock::new(),
            watched: Mutex::default(),
            stopping: CancellationToken::new(),
            draining: CancellationToken::new(),
            main_is_late: CancellationToken::new(),
            over: CancellationToken::new(),
            cancelled_alone: AtomicUsize::new(0),
            progress: Mutex::default(),
            progress_made: Condvar::new(),
            idle_watchers: Mutex::default(),
            idle: Notify::new(),
            failures: Mutex::default(),
            report: OnceLock::new(),
            on_over: Mutex::default(),
            #[cfg(feature = "dashboard")]
            board: OnceLock::new(),
            #[cfg(feature = "durable")]
            store: OnceLock::new(),
            #[cfg(feature = "durable")]
            not_stored: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // Acquire: whoever sees a phase also sees the request that led to it.
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Stopping,
            2 => Phase::Draining,
            3 => Phase::Expired,
            _ => Phase::Over,
        }
    }

    /// Moves on to `phase`; a later phase is never left for an earlier one. The tokens that belong to it are fired by
    /// [`fire`](Self::fire), which may run code of the user's.
    pub(crate) fn advance_to(&self, phase: Phase) {
        if phase == Phase::Draining {
            // Before the phase: whoever sees that sees since when.
            self.drains_since.get_or_init(Instant::now);
        }
        // Release: pairs with the load in `phase`.
        self.phase.fetch_max(phase as u8, Ordering::Release);
    }

    /// Fires the tokens of all phases up to the present one. Wakers that panic are contained.
    pub(crate) fn fire(self: &Arc<Self>, side_thread: &mut SideThread) {
        let phase = self.phase();
        let stage = match phase {
            Phase::Running => None,
            Phase::Stopping => Some(Stage::Stopping),
            Phase::Draining | Phase::Expired => Some(Stage::Draining),
            Phase::Over => Some(Stage::Over),
        };
        if let Some(stage) = stage
            && self.hooks.observers.any()
        {
            // First told: whoever a token wakes may look. Aside, since what metrics are recorded with may be stuck, and must not
            // hold the shutdown.
            let own = Arc::clone(self);
            side_thread.run(move || {
                own.hooks
                    .observers
                    .notify(|observer| observer.shutdown(stage));
            });
        }
        for (of, token) in [
            (Phase::Stopping, &self.stopping),
            (Phase::Draining, &self.draining),
            (Phase::Over, &self.over),
        ] {
            if phase >= of {
                catch_and_ignore(|| token.cancel());
            }
        }
    }

    /// Whether it still is its runtime's manager.
    pub(crate) fn is_installed(&self) -> bool {
        // Acquire: pairs with the release in `set_uninstalled`; whoever drops a manager and then calls sees it gone.
        !self.uninstalled.load(Ordering::Acquire)
    }

    pub(crate) fn set_uninstalled(&self) {
        self.uninstalled.store(true, Ordering::Release);
    }

    pub(crate) fn set_fallback(&self, ended: Option<RuntimeEnded>) {
        *lock(&self.fallback) = ended;
    }

    /// Returns whether a call installed this manager and nobody has taken it over.
    pub(crate) fn is_fallback(&self) -> bool {
        lock(&self.fallback).is_some()
    }

    /// Handles the end of the runtime. Called when the runtime drops a task that has not ended.
    #[cold]
    pub(crate) fn runtime_ends(&self) {
        let ended = *lock(&self.fallback);
        if let Some(ended) = ended {
            ended(self);
        }
    }

    /// Calls `begin` if nobody has. Of two callers, one calls it and both return after it.
    ///
    /// `begin` must run no user code, because the other caller waits for it.
    pub(crate) fn dismiss_once(&self, begin: impl FnOnce()) {
        self.dismissed.call_once(begin);
    }

    /// Notes who asked and when. `false` if it had been asked for already: the first request stands.
    pub(crate) fn set_request(&self, reason: ShutdownReason) -> bool {
        let asked = Instant::now();
        let grace = *lock(&self.grace);
        // A grace too long for the clock is a grace without end; a century stands for it.
        let deadline = asked
            .checked_add(grace)
            .unwrap_or_else(|| asked + Duration::from_secs(100 * 365 * 24 * 3600));
        let request = Request {
            reason,
            asked,
            grace,
            deadline,
        };
        self.request.set(request).is_ok() || broken!("requested_twice")
    }

    /// Has no effect on a shutdown that has been asked for.
    pub(crate) fn set_grace(&self, grace: Duration) {
        *lock(&self.grace) = grace;
    }

    /// When the draining began, if it has.
    pub(crate) fn drains_since(&self) -> Option<Instant> {
        self.drains_since.get().copied()
    }

    /// Keeps the watch going until the shutdown is over, or this is gone.
    pub(crate) fn keep_watch(&self, watched: Watched) {
        *lock(&self.watched) = Some(watched);
    }

    pub(crate) fn request(&self) -> Option<&Request> {
        self.request.get()
    }

    /// Notes progress and wakes the sequence.
    pub(crate) fn progress(&self, change: impl FnOnce(&mut Progress)) {
        // The lock is held for the change alone; notifying after it spares the woken thread a wait.
        change(&mut lock(&self.progress));
        self.progress_made.notify_all();
    }

    /// Returns the right to start a run of a schedule, held until the run is counted, or `None` once a shutdown has been
    /// requested.
    ///
    /// Uses the lock of [`wait_until_main_is_notified`](Self::wait_until_main_is_notified): either that method waits for this
    /// run, or this method sees the phase in which that method was called.
    pub(crate) fn start_tick(&self) -> Option<Tick<'_>> {
        let mut progress = lock(&self.progress);
        if self.phase() != Phase::Running {
            return None;
        }
        if !broken!("tick_not_counted") {
            progress.ticks_starting += 1;
        }
        Some(Tick(self))
    }

    /// Blocks this thread until the waiters of `main`'s token have been woken and no schedule starts a run any more, at most
    /// until `deadline`. Call it after the phase has advanced.
    pub(crate) fn wait_until_main_is_notified(&self, deadline: Instant) {
        let own = thread::current().id();
        self.wait_until(deadline, |progress| {
            // A thread cannot wait for its own work: a waker may call `request_shutdown`.
            let is_notified = progress.main_notified || progress.fired_by == Some(own);
            is_notified && progress.ticks_starting == 0
        });
    }

    /// Adds a caller that waits in `idle()`, or removes one.
    pub(crate) fn watch_idle(&self, waits: bool) {
        let mut watchers = lock(&self.idle_watchers);
        *watchers = if waits { *watchers + 1 } else { *watchers - 1 };
        // Still under the lock, so that of two simultaneous changes the gate keeps the later one.
        self.gate.watch(*watchers > 0);
    }

    /// Wakes the callers that wait in `idle()`, which then check again.
    pub(crate) fn notify_idle(&self) {
        // Wakers may run anybody's code.
        catch_and_ignore(|| self.idle.notify_waiters());
    }

    pub(crate) fn main_has_ended(&self) -> bool {
        lock(&self.progress).main_ended
    }

    /// Blocks this thread until `done`, at most until `deadline`. Says whether `done`.
    ///
    /// `done` is asked under the progress lock, which every change takes before it notifies: no wake-up is lost.
    pub(crate) fn wait_until(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&Progress) -> bool,
    ) -> bool {
        let mut progress = lock(&self.progress);
        loop {
            if done(&progress) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            progress = self
                .progress_made
                .wait_timeout(progress, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Keeps a failure for the report, if a shutdown is under way.
    pub(crate) fn note_failure(&self, failure: impl FnOnce() -> Failure) {
        if self.phase() == Phase::Running {
            return;
        }
        let mut failures = lock(&self.failures);
        failures.count += 1;
        if failures.named.len() < FAILURES_KEPT {
            failures.named.push(failure());
        }
    }

    pub(crate) fn take_failures(&self) -> Failures {
        std::mem::take(&mut *lock(&self.failures))
    }

    /// The deadline has passed: from now on [`note_late`](Self::note_late) takes notes.
    pub(crate) fn start_noting_late(&self) {
        lock(&self.late).expired = Some(Instant::now());
    }

    /// Keeps what the report has to say of a call that was live at the deadline; nothing if that has not passed. `task` is
    /// given the moment in which it did.
    pub(crate) fn note_late(&self, task: impl FnOnce(Instant) -> LateTask) {
        let mut late = lock(&self.late);
        if let Some(expired) = late.expired {
            late.tasks.add(task(expired));
        }
    }

    /// Returns the late calls noted so far, and stops noting them.
    pub(crate) fn take_late(&self) -> Stragglers {
        let Late { tasks, .. } = std::mem::take(&mut *lock(&self.late));
        tasks.finish()
    }

    /// Publishes the report; the shutdown is over.
    pub(crate) fn conclude(self: &Arc<Self>, report: ShutdownReport, side_thread: &mut SideThread) {
        self.report.get_or_init(|| report);
        self.advance_to(Phase::Over);
        *lock(&self.watched) = None;
        self.fire(side_thread);
    }

    /// Calls what is left to do once the shutdown is over.
    pub(crate) fn speak_last_words(&self) {
        // Taken out first: what it does may take long.
        let last = lock(&self.on_over).take();
        if let (Some(OnOver(last)), Some(report), Some(request)) =
            (last, self.report(), self.request())
        {
            last(report, request.deadline);
        }
    }

    /// Has `last` called with the report and the deadline, on the sequence's own thread.
    pub(crate) fn on_over(&self, last: impl FnOnce(&ShutdownReport, Instant) + Send + 'static) {
        *lock(&self.on_over) = Some(OnOver(Box::new(last)));
    }

    /// The report, once the shutdown is over.
    pub(crate) fn report(&self) -> Option<&ShutdownReport> {
        self.report.get()
    }

    /// The parent of one task's own token.
    pub(crate) fn task_token(&self, finishes: bool) -> CancellationToken {
        if finishes || (broken!("token_not_linked") && self.phase() < Phase::Draining) {
            CancellationToken::new()
        } else {
            self.draining.child_token()
        }
    }
}

/// Nothing panics under these locks, so what a poisoned one guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
