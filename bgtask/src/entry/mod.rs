//! What `#[bgtask::main]` calls: builds the runtime, runs `main` under a manager, drains, leaves with `main`'s result.
//! Owns the order of these; generated code calls nothing else.

pub(crate) mod signal;

use crate::entry::signal::DumpSignal;
use crate::handler::self_check;
use crate::manager::{DEFAULT_GRACE, Manager};
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown::essential;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::to_stderr;
use crate::util::side_thread::run_within_a_second;
use crate::{ShutdownToken, shutdown};
use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::process::{ExitCode, Termination};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Once the shutdown is over, the main thread has the rest of the grace period to leave, and at least this long. It has to shut
/// down the runtime, and a task that never yields may prevent that.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// How long after the deadline we give up on the main thread, if something did not finish: a process leaves within 1.5 s after
/// the deadline.
const STUCK_WAIT: Duration = Duration::from_millis(1_400);
/// The least time between the report, which may have come late, and giving up on the main thread.
const LAST_WAIT: Duration = Duration::from_millis(400);

/// With more stragglers than this, we do not shut down the runtime.
const MANY: u64 = 10_000;

/// What a panic in `main` ends a program with.
const PANIC_EXIT_CODE: i32 = 101;

/// The arguments of `#[bgtask::main]`.
#[derive(Debug)]
pub struct MainConfig {
    pub flavor: Flavor,
    pub worker_threads: Option<usize>,
    pub grace: Option<Duration>,
    pub warn_after: Option<Duration>,
    pub dump: Option<DumpSignal>,
    pub takes_token: bool,
}

/// `flavor = "…"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    MultiThread,
    CurrentThread,
}

/// How `main` ended.
enum Ended<T> {
    Returned(T),
    Panicked(Box<dyn Any + Send>),
    /// It takes no token, so it was dropped when the shutdown was asked for.
    Dropped,
    /// It takes one, and had not ended at the deadline.
    Late,
}

/// What is left of it when its output has been reported.
enum Exit {
    Code(ExitCode),
    Panic(Box<dyn Any + Send>),
}

impl Exit {
    /// Replaces success by failure if an essential task has ended early. A failure that `main` itself reports stays as it is.
    fn unless_essential_ended(self, manager: &Manager) -> Self {
        let request = manager.tracker().shared.shutdown.request();
        let essential_ended = request
            .is_some_and(|request| matches!(request.reason, ShutdownReason::EssentialEnded(_)));
        match self {
            Exit::Code(ExitCode::SUCCESS) if essential_ended => Exit::Code(ExitCode::FAILURE),
            exit => exit,
        }
    }

    /// The exit code as a number, for those who have to leave with `std::process::exit`.
    fn number(&self) -> i32 {
        match self {
            // It does not give its number away, but it can be compared.
            Exit::Code(code) => (0..=u8::MAX)
                .find(|&number| ExitCode::from(number) == *code)
                .map_or(1, i32::from),
            Exit::Panic(_) => PANIC_EXIT_CODE,
        }
    }
}

/// Runs a program.
///
/// # Panics
/// With `main`'s own panic, after the draining.
pub fn run_main<T, F>(config: MainConfig, main: impl FnOnce(ShutdownToken) -> F) -> ExitCode
where
    T: Termination,
    F: Future<Output = T>,
{
    // Before the runtime starts its threads.
    let listening = match signal::listen(config.dump) {
        Ok(listening) => listening,
        Err(error) => return unwatched(&error),
    };
    let mut builder = match config.flavor {
        Flavor::MultiThread => tokio::runtime::Builder::new_multi_thread(),
        Flavor::CurrentThread => tokio::runtime::Builder::new_current_thread(),
    };
    if let Some(threads) = config.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            to_stderr(format_args!(
                "the tokio runtime could not be built: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    let mut settings = Manager::builder().grace(config.grace.unwrap_or(DEFAULT_GRACE));
    if let Some(limit) = config.warn_after {
        settings = settings.warn_after(limit);
    }
    let manager = match settings.install_for_program(runtime.handle()) {
        Ok(manager) => manager,
        Err(error) => {
            to_stderr(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = listening.watch(manager.tracker()) {
        return unwatched(&error);
    }
    let main_thread = leave_even_if_stuck(&manager);

    let ended = runtime.block_on(run_until_ended(&manager, config.takes_token, main));
    let reason = match ended {
        Ended::Panicked(_) => ShutdownReason::MainPanicked,
        Ended::Returned(_) | Ended::Dropped | Ended::Late => ShutdownReason::MainReturned,
    };
    // Before the output is reported: that prints an error, and nobody may ever read it.
    shutdown::main_ended(manager.tracker(), reason.clone());
    let exit = match ended {
        Ended::Returned(output) => Exit::Code(output.report()),
        Ended::Dropped => Exit::Code(ExitCode::SUCCESS),
        Ended::Late => Exit::Code(ExitCode::FAILURE),
        Ended::Panicked(payload) => Exit::Panic(payload),
    };
    let exit = exit.unless_essential_ended(&manager);
    main_thread.will_exit_with(exit.number());
    let report = runtime.block_on(manager.shutdown(reason));
    self_check::self_check();
    let_go(runtime, &report);
    // Nobody else prints from here on; if somebody has begun to, the process ends under us.
    if main_thread.has_left() {
        shutdown::print(&report);
    }
    match exit {
        Exit::Code(code) => code,
        Exit::Panic(payload) => resume_unwind(payload),
    }
}

/// Ends the runtime. A plain drop would wait for the blocking pool, and thus forever for the tasks that were just abandoned.
fn let_go(runtime: Runtime, report: &ShutdownReport) {
    if report.straggler_count > MANY {
        // Dropping every task takes longer than the process has, and the process ends anyway.
        std::mem::forget(runtime);
    } else {
        runtime.shutdown_background();
    }
}

/// A program that no signal can stop in order is not run at all.
fn unwatched(error: &io::Error) -> ExitCode {
    to_stderr(format_args!("signals cannot be watched for: {error}"));
    ExitCode::FAILURE
}

/// Polls `main` until it has ended or has to be dropped.
async fn run_until_ended<T, F: Future<Output = T>>(
    manager: &Manager,
    takes_token: bool,
    main: impl FnOnce(ShutdownToken) -> F,
) -> Ended<T> {
    let shared = &manager.tracker().shared;
    let mut main = match catch_unwind(AssertUnwindSafe(|| Box::pin(main(manager.token())))) {
        Ok(main) => main,
        Err(payload) => return Ended::Panicked(payload),
    };
    let ended = {
        let mut has_to_end = pin!(async {
            if takes_token {
                shared.shutdown.main_is_late.cancelled().await;
            } else {
                shared.shutdown.stopping.cancelled().await;
            }
        });
        let mut to_be_woken: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            shared.main_polls.begin_poll();
            // AssertUnwindSafe: a `main` that panicked is not polled again.
            let poll = catch_unwind(AssertUnwindSafe(|| main.as_mut().poll(cx)));
            match poll {
                Ok(Poll::Pending) => essential::poll_ended(manager.tracker()),
                _ => shared.main_polls.main_ended(),
            }
            // After the first poll, since that is where programs set their subscriber.
            self_check::self_check();
            if let Ok(Poll::Pending) = poll {
                // And where they provide state. A `main` that has ended by then wants nothing started.
                manager.start_schedules();
            }
            match poll {
                Ok(Poll::Ready(output)) => Poll::Ready(Ended::Returned(output)),
                Err(payload) => Poll::Ready(Ended::Panicked(payload)),
                // As long as nobody has asked for anything, it is enough to have been here once.
                Ok(Poll::Pending)
                    if shared.shutdown.phase() == Phase::Running
                        && to_be_woken
                            .as_ref()
                            .is_some_and(|own| own.will_wake(cx.waker())) =>
                {
                    Poll::Pending
                }
                Ok(Poll::Pending) => {
                    to_be_woken = Some(cx.waker().clone());
                    has_to_end.as_mut().poll(cx).map(|()| match takes_token {
                        true => Ended::Late,
                        false => Ended::Dropped,
                    })
                }
            }
        })
        .await
    };
    // What `main` still holds is dropped before the draining starts; its panic is `main`'s.
    match catch_unwind(AssertUnwindSafe(|| drop(main))) {
        Ok(()) => ended,
        Err(payload) => Ended::Panicked(payload),
    }
}

/// Has the process leave even if the main thread cannot: on a runtime of one thread, a task that never yields holds that
/// one for ever.
fn leave_even_if_stuck(manager: &Manager) -> MainThread {
    let main_thread = MainThread::default();
    let watched = main_thread.clone();
    let main = thread::current().id();
    manager
        .tracker()
        .shared
        .shutdown
        .on_complete(move |report, deadline| {
            if thread::current().id() == main {
                // There was no thread to spare for the shutdown, and it is not stuck.
                return;
            }
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            let wait = if left.is_zero() && report.straggler_count > 0 {
                let left = (deadline + STUCK_WAIT).saturating_duration_since(now);
                left.max(LAST_WAIT)
            } else {
                left.max(LEAVE_WAIT)
            };
            if watched.leaves_within(wait) {
                return;
            }
            shutdown::print(report);
            run_within_a_second(|| {
                to_stderr(format_args!("the main thread is stuck; leaving without it"));
            });
            // What `main` came to, if it came to that.
            let code = watched.exit_code().unwrap_or(match report.reason {
                ShutdownReason::Signal(signal) => signal.exit_code(),
                _ => 1,
            });
            signal::leave(code);
        });
    main_thread
}

/// What is known of the main thread from outside.
#[derive(Clone, Default)]
struct MainThread(Arc<(Mutex<MainState>, Condvar)>);

#[derive(Default)]
struct MainState {
    exit_code: Option<i32>,
    has_left: bool,
    is_given_up: bool,
}

impl MainThread {
    fn will_exit_with(&self, code: i32) {
        self.state().exit_code = Some(code);
    }

    fn exit_code(&self) -> Option<i32> {
        self.state().exit_code
    }

    /// The main thread is out of the runtime. `false` if it has been given up.
    fn has_left(&self) -> bool {
        let mut state = self.state();
        state.has_left = true;
        self.0.1.notify_all();
        !state.is_given_up
    }

    /// Waits until the main thread is out of the runtime. If that takes longer than `wait`, it is given up: `false`.
    fn leaves_within(&self, wait: Duration) -> bool {
        let (mut state, _) = self
            .0
            .1
            .wait_timeout_while(self.state(), wait, |state| !state.has_left)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_given_up = !state.has_left;
        state.has_left
    }

    /// Locked for a read or a write of its fields, never while anything else is done.
    fn state(&self) -> MutexGuard<'_, MainState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
