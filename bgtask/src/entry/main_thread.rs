//! Whether the main thread leaves in time: on a runtime of one thread, a task that never yields holds it forever.
//! Owns the waiting and the exit without it; must never know what the main thread does.

use crate::entry::{signal, strict};
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown::log;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::util::log::to_stderr;
use crate::util::side_thread::run_within_a_second;
use crate::util::sync::unmodelled::{Condvar, Mutex};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// After the shutdown, the main thread has the rest of the grace period to leave, and at least this long. It has to shut down the
/// runtime, which a task that never yields may prevent.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// How long after the deadline the main thread is given up if something did not finish: the process exits within 1.5 s after the
/// deadline.
const STUCK_WAIT: Duration = Duration::from_millis(1_400);

/// The least time between the report, which may be late, and giving up on the main thread.
const LAST_WAIT: Duration = Duration::from_millis(400);

/// The state of the main thread, for other threads.
#[derive(Clone, Default)]
pub(super) struct MainThread(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Locked for a read or a write of its fields.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    exit_code: Option<i32>,
    has_left: bool,
    is_given_up: bool,
}

impl MainThread {
    /// Exits the process after a shutdown even if the main thread cannot. Call it on the main thread.
    ///
    /// With `strict`, that exit fails if the report has anything that fails a strict program.
    pub(super) fn watch(tracker: &Tracker, strict: bool) -> Self {
        let main_thread = Self::default();
        let watched = main_thread.clone();
        // Weak, because the state of the shutdown keeps the callback.
        let judged = strict.then(|| Arc::downgrade(&tracker.shared));
        let main = thread::current().id();
        tracker
            .shared
            .shutdown
            .on_complete(move |report, deadline| {
                // If no thread could be spawned, the shutdown runs on the main thread, which is then not stuck.
                if thread::current().id() != main
                    && !watched.leaves_within(time_to_leave(report, deadline))
                {
                    watched.exit(
                        report,
                        judged.and_then(|shared| shared.upgrade()).as_deref(),
                    );
                }
            });
        main_thread
    }

    /// Records the exit code of `main`'s result.
    pub(super) fn set_exit_code(&self, code: i32) {
        self.0.state.lock().exit_code = Some(code);
    }

    /// Records that the main thread has left the runtime. Returns `false` if it has been given up.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.0.state.lock();
        state.has_left = true;
        self.0.changed.notify_all();
        !state.is_given_up
    }

    /// Waits until the main thread has left the runtime. If that takes longer than `limit`, gives it up and returns `false`.
    fn leaves_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.0.state.lock();
        while !state.has_left {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.is_given_up = true;
                return false;
            }
            state = self.0.changed.wait_timeout(state, left);
        }
        true
    }

    fn exit(&self, report: &ShutdownReport, judged: Option<&Shared>) -> ! {
        log::print(report);
        run_within_a_second(|| {
            to_stderr(format_args!("the main thread is stuck; exiting without it"));
        });
        // `main`'s own code, if it has ended.
        let code = self.0.state.lock().exit_code;
        let mut code = code.unwrap_or(match report.reason {
            ShutdownReason::Signal(signal) => signal.exit_code(),
            _ => 1,
        });
        if let (0, Some(shared)) = (code, judged) {
            code = strict::judge(&shared.policies, report);
        }
        signal::exit(code);
    }
}

fn time_to_leave(report: &ShutdownReport, deadline: Instant) -> Duration {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    if left.is_zero() && report.straggler_count > 0 {
        let left = (deadline + STUCK_WAIT).saturating_duration_since(now);
        left.max(LAST_WAIT)
    } else {
        left.max(LEAVE_WAIT)
    }
}
