//! The state of a manager's one shutdown: its phase, request, tokens, progress and report.
//! Owns the transitions, and the order in which their parts become visible; knows nothing of threads, signals or the calls.

use crate::observe::call_info::LateTask;
use crate::report::{Failure, ShutdownReason, ShutdownReport};
use crate::tracker::stragglers::{LateTasks, Stragglers};
use crate::util::panic::catch_and_ignore;
use crate::util::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::util::sync::{Condvar, Mutex, broken, thread};
use std::convert::Infallible;
use std::fmt;
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};
use thread::ThreadId;
use tokio_util::sync::CancellationToken;

/// Stands for a time that is too long for the clock.
pub(crate) const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How many failures of a shutdown the report names. The totals have all of them.
const FAILURES_KEPT: usize = 1000;

/// How far the one shutdown sequence has come. Only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Phase {
    /// No shutdown was requested.
    Running,
    /// A shutdown was requested: the token of `main` has fired, or fires once the pre-stop time has passed.
    Stopping,
    /// `main` has ended: the tokens of the tasks have fired.
    Draining,
    /// The deadline has passed: a task that is polled is dropped.
    Expired,
    /// The report is complete.
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

/// The first request for a shutdown.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) reason: ShutdownReason,
    pub(crate) asked: Instant,
    pub(crate) grace: Duration,
    pub(crate) deadline: Instant,
    /// When `main` is to stop, if that is later than the request.
    pub(crate) main_stops: Option<Instant>,
}

/// The events that the shutdown sequence waits for; see [`ShutdownState::wait_until`].
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) main_ended: bool,
    /// The tokens of the request have fired, and their waiters have been woken: `main`'s too, unless it waits for the pre-stop time.
    pub(crate) main_notified: bool,
    /// The thread that fires the tokens.
    pub(crate) fired_by: Option<ThreadId>,
    /// The number of runs that schedules are starting now.
    ticks_starting: usize,
    /// The tokens of tasks have fired, and their waiters have been woken.
    pub(crate) tasks_notified: bool,
}

/// A run that a schedule is starting; see [`ShutdownState::start_tick`].
#[derive(Debug)]
pub(crate) struct Tick<'a>(&'a ShutdownState);

impl Drop for Tick<'_> {
    fn drop(&mut self) {
        if !broken!("tick_not_counted") {
            self.0.progress(|progress| progress.ticks_starting -= 1);
        }
    }
}

/// Keeps the watch for slow tasks running until it is dropped. Nothing is ever sent.
pub(crate) type Watched = mpsc::Sender<Infallible>;

/// The callback that runs once the shutdown is over. Receives the report and the deadline.
type OnComplete = Box<dyn FnOnce(&ShutdownReport, Instant) + Send>;

/// The calls that were live at the deadline.
#[derive(Debug, Default)]
struct Late {
    /// When the deadline passed. Absent before that, and once the calls have been taken.
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

/// The times of a shutdown that has not been requested yet.
#[derive(Clone, Copy, Debug)]
struct Times {
    grace: Duration,
    pre_stop: Duration,
}

/// The state of a manager's one shutdown, which all of the manager's code shares.
pub(crate) struct ShutdownState {
    /// Locked to read or to set one.
    times: Mutex<Times>,
    phase: AtomicU8,
    /// Whether the token of `main` does not fire yet in [`Phase::Stopping`].
    is_main_held: AtomicBool,
    request: OnceLock<Request>,
    /// When the draining began.
    drains_since: OnceLock<Instant>,
    /// Fires with [`Phase::Stopping`]: no schedule starts a run any more.
    pub(crate) stopping: CancellationToken,
    /// The token of `main`. Fires with [`Phase::Stopping`], after the pre-stop time if there is one.
    pub(crate) main: CancellationToken,
    /// Fires with [`Phase::Draining`]: the parent of the tasks' tokens.
    pub(crate) draining: CancellationToken,
    /// Fires when the deadline passes before `main` has ended.
    pub(crate) main_is_late: CancellationToken,
    /// Fires with [`Phase::Over`].
    pub(crate) over: CancellationToken,
    progress: Mutex<Progress>,
    progress_made: Condvar,
    failures: Mutex<Failures>,
    late: Mutex<Late>,
    watched: Mutex<Option<Watched>>,
    report: OnceLock<ShutdownReport>,
    on_complete: Mutex<Option<OnComplete>>,
}

impl fmt::Debug for ShutdownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownState")
            .field("phase", &self.phase())
            .field("request", &self.request())
            .finish_non_exhaustive()
    }
}

/// The phase, the request and the tokens.
impl ShutdownState {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            times: Mutex::new(Times {
                grace,
                pre_stop: Duration::ZERO,
            }),
            is_main_held: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Running as u8),
            request: OnceLock::new(),
            drains_since: OnceLock::new(),
            stopping: CancellationToken::new(),
            main: CancellationToken::new(),
            draining: CancellationToken::new(),
            main_is_late: CancellationToken::new(),
            over: CancellationToken::new(),
            progress: Mutex::default(),
            progress_made: Condvar::default(),
            failures: Mutex::default(),
            late: Mutex::default(),
            watched: Mutex::default(),
            report: OnceLock::new(),
            on_complete: Mutex::default(),
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // Acquire: pairs with the release in `advance_to`, so that a thread that sees a phase sees the request that led to it.
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Stopping,
            2 => Phase::Draining,
            3 => Phase::Expired,
            _ => Phase::Over,
        }
    }

    /// Advances to `phase`, unless a later phase has been reached. The caller then fires the tokens of the phase, which may run
    /// user code.
    pub(crate) fn advance_to(&self, phase: Phase) {
        if phase == Phase::Draining {
            // Set before the phase: a thread that sees the phase sees the time.
            self.drains_since.get_or_init(Instant::now);
        }
        // Release: pairs with the acquire in `phase`.
        self.phase.fetch_max(phase as u8, Ordering::Release);
    }

    /// Fires the tokens of all phases up to `phase`. Ignores wakers that panic.
    pub(crate) fn fire_tokens(&self, phase: Phase) {
        for (fires, token) in [
            (phase >= Phase::Stopping, &self.stopping),
            (self.main_must_stop_in(phase), &self.main),
            (phase >= Phase::Draining, &self.draining),
            (phase >= Phase::Over, &self.over),
        ] {
            if fires {
                catch_and_ignore(|| token.cancel());
            }
        }
    }

    /// Returns whether `main` must stop.
    pub(crate) fn main_must_stop(&self) -> bool {
        self.main_must_stop_in(self.phase())
    }

    fn main_must_stop_in(&self, phase: Phase) -> bool {
        // Acquire: pairs with the release in `stop_main`, so that code that stops sees what the sequence did before. That the flag was
        // set before the phase advanced is visible by the phase.
        phase > Phase::Stopping
            || phase == Phase::Stopping && !self.is_main_held.load(Ordering::Acquire)
    }

    /// Ends the pre-stop time. The caller then fires the tokens.
    pub(crate) fn stop_main(&self) {
        // Release: pairs with the acquire in `main_must_stop_in`.
        self.is_main_held.store(false, Ordering::Release);
    }

    /// Returns the parent of one task's own token.
    pub(crate) fn task_token(&self, finishes: bool) -> CancellationToken {
        if finishes || (broken!("token_not_linked") && self.phase() < Phase::Draining) {
            CancellationToken::new()
        } else {
            self.draining.child_token()
        }
    }

    /// Records the request for a shutdown. Returns `false` if there was one before: the first one stands.
    pub(crate) fn set_request(&self, reason: ShutdownReason) -> bool {
        let asked = Instant::now();
        let Times { grace, pre_stop } = *self.times.lock();
        let deadline = asked.checked_add(grace).unwrap_or_else(|| asked + CENTURY);
        let main_stops = (!pre_stop.is_zero()).then(|| {
            let stops = asked.checked_add(pre_stop).unwrap_or(deadline);
            stops.min(deadline)
        });
        let request = Request {
            reason,
            asked,
            grace,
            deadline,
            main_stops,
        };
        let is_held = main_stops.is_some();
        let is_first = self.request.set(request).is_ok();
        if is_first && is_held {
            // Relaxed: the release in `advance_to`, which follows on this thread, publishes it with the phase.
            self.is_main_held.store(true, Ordering::Relaxed);
        }
        is_first || broken!("requested_twice")
    }

    pub(crate) fn request(&self) -> Option<&Request> {
        self.request.get()
    }

    /// Sets the grace of a shutdown that has not been requested yet.
    pub(crate) fn set_grace(&self, grace: Duration) {
        self.times.lock().grace = grace;
    }

    /// Sets how long `main` goes on after the request, of a shutdown that has not been requested yet.
    pub(crate) fn set_pre_stop(&self, pre_stop: Duration) {
        self.times.lock().pre_stop = pre_stop;
    }

    /// Returns when the draining began, if it has.
    pub(crate) fn drains_since(&self) -> Option<Instant> {
        self.drains_since.get().copied()
    }
}

/// The progress, for which the shutdown sequence waits.
impl ShutdownState {
    /// Changes the progress and wakes the threads that wait for it.
    pub(crate) fn progress(&self, change: impl FnOnce(&mut Progress)) {
        // The lock is held for the change alone; notifying after it spares the woken thread a wait.
        change(&mut self.progress.lock());
        self.progress_made.notify_all();
    }

    /// Blocks this thread until `done`, at most until `deadline`. Returns whether `done`.
    ///
    /// Calls `done` under the lock that every change takes before it notifies, so no wake-up is lost.
    pub(crate) fn wait_until(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&Progress) -> bool,
    ) -> bool {
        let mut progress = self.progress.lock();
        loop {
            if done(&progress) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            progress = self.progress_made.wait_timeout(progress, left);
        }
    }

    /// Returns the right to start a run of a schedule, held until the run is counted, or `None` once a shutdown has been
    /// requested.
    ///
    /// Uses the lock of [`wait_until_main_is_notified`](Self::wait_until_main_is_notified): either that method waits for this
    /// run, or this method sees the phase in which that method was called.
    pub(crate) fn start_tick(&self) -> Option<Tick<'_>> {
        let mut progress = self.progress.lock();
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
        let current = thread::current().id();
        self.wait_until(deadline, |progress| {
            // A thread cannot wait for its own work: a waker may call `request_shutdown`.
            let is_notified = progress.main_notified || progress.fired_by == Some(current);
            is_notified && progress.ticks_starting == 0
        });
    }

    pub(crate) fn main_has_ended(&self) -> bool {
        self.progress.lock().main_ended
    }
}

/// The report, and what it needs.
impl ShutdownState {
    /// Keeps a failure for the report, if a shutdown has been requested.
    pub(crate) fn note_failure(&self, failure: impl FnOnce() -> Failure) {
        if self.phase() == Phase::Running {
            return;
        }
        let mut failures = self.failures.lock();
        failures.count += 1;
        if failures.named.len() < FAILURES_KEPT {
            failures.named.push(failure());
        }
    }

    pub(crate) fn take_failures(&self) -> Failures {
        std::mem::take(&mut *self.failures.lock())
    }

    /// Has [`note_late`](Self::note_late) keep calls from now on: the deadline has passed.
    pub(crate) fn start_noting_late(&self) {
        self.late.lock().expired = Some(Instant::now());
    }

    /// Keeps a call that was live at the deadline for the report. Does nothing before the deadline. Passes its moment to `task`.
    pub(crate) fn note_late(&self, task: impl FnOnce(Instant) -> LateTask) {
        let mut late = self.late.lock();
        if let Some(expired) = late.expired {
            late.tasks.add(task(expired));
        }
    }

    /// Returns the late calls noted so far, and stops noting them.
    pub(crate) fn take_late(&self) -> Stragglers {
        let Late { tasks, .. } = std::mem::take(&mut *self.late.lock());
        tasks.finish()
    }

    /// Publishes the report: the shutdown is over. The caller then fires the last token.
    pub(crate) fn conclude(&self, report: ShutdownReport) {
        self.report.get_or_init(|| report);
        self.advance_to(Phase::Over);
        *self.watched.lock() = None;
    }

    /// Returns the report once the shutdown is over.
    pub(crate) fn report(&self) -> Option<&ShutdownReport> {
        self.report.get()
    }

    /// Has `on_complete` called with the report and the deadline, on the thread of the shutdown sequence.
    pub(crate) fn on_complete(
        &self,
        on_complete: impl FnOnce(&ShutdownReport, Instant) + Send + 'static,
    ) {
        *self.on_complete.lock() = Some(Box::new(on_complete));
    }

    /// Calls what remains to be done once the shutdown is over.
    pub(crate) fn call_on_complete(&self) {
        // Taken out first, because the call may take long.
        let on_complete = self.on_complete.lock().take();
        if let (Some(on_complete), Some(report), Some(request)) =
            (on_complete, self.report(), self.request())
        {
            on_complete(report, request.deadline);
        }
    }

    /// Keeps the watch for slow tasks running until the shutdown is over or the manager is gone.
    pub(crate) fn keep_watch(&self, watched: Watched) {
        *self.watched.lock() = Some(watched);
    }
}
