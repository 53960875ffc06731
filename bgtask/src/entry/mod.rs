//! The entry point that `#[bgtask::main]` calls: builds the runtime, runs `main` under a manager, drains, and exits with `main`'s result.
//! Owns the order of these steps; generated code calls nothing else.

mod main_thread;
pub(crate) mod signal;

use crate::ShutdownToken;
use crate::entry::main_thread::MainThread;
use crate::entry::signal::dump::DumpSignal;
use crate::handler::self_check;
use crate::manager::{DEFAULT_GRACE, Manager};
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown::{essential, log, request};
use crate::tracker::shutdown_state::Phase;
use crate::util::log::to_stderr;
use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::process::{ExitCode, Termination};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The number of stragglers above which the runtime is leaked, not shut down.
const MANY: u64 = 10_000;

/// The exit code of a program whose `main` panics.
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
    /// It takes no token, so it was dropped when the shutdown was requested.
    Dropped,
    /// It takes a token, and had not ended at the deadline.
    Late,
}

/// How the process ends, once `main`'s output has been reported.
enum Exit {
    Code(ExitCode),
    Panic(Box<dyn Any + Send>),
}

impl Exit {
    /// Replaces success by failure if an essential task has ended early. A failure of `main` itself stays as it is.
    fn unless_essential_ended(self, manager: &Manager) -> Self {
        let request = manager.tracker().shared.shutdown.request();
        let essential_ended = request
            .is_some_and(|request| matches!(request.reason, ShutdownReason::EssentialEnded(_)));
        match self {
            Exit::Code(ExitCode::SUCCESS) if essential_ended => Exit::Code(ExitCode::FAILURE),
            exit => exit,
        }
    }

    /// Returns the exit code as a number, as `std::process::exit` takes it.
    fn number(&self) -> i32 {
        match self {
            // An `ExitCode` does not reveal its number, but it can be compared.
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
///
/// Panics with `main`'s own panic, after the drain.
pub fn run_main<T, F>(config: MainConfig, main: impl FnOnce(ShutdownToken) -> F) -> ExitCode
where
    T: Termination,
    F: Future<Output = T>,
{
    // Before the runtime starts its threads.
    let listening = match signal::listen(config.dump) {
        Ok(listening) => listening,
        Err(error) => return fail_without_signals(&error),
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
            to_stderr(format_args!("cannot build the tokio runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut settings = Manager::builder().grace(config.grace.unwrap_or(DEFAULT_GRACE));
    if let Some(limit) = config.warn_after {
        settings = settings.warn_after(limit);
    }
    let manager = match settings.install_as_default(runtime.handle()) {
        Ok(manager) => manager,
        Err(error) => {
            to_stderr(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = listening.watch(manager.tracker()) {
        return fail_without_signals(&error);
    }
    let main_thread = MainThread::watch(manager.tracker());

    let ended = runtime.block_on(run_until_ended(&manager, config.takes_token, main));
    let reason = match ended {
        Ended::Panicked(_) => ShutdownReason::MainPanicked,
        Ended::Returned(_) | Ended::Dropped | Ended::Late => ShutdownReason::MainReturned,
    };
    // Before the output is reported: that may print an error, and block on a pipe that nobody reads.
    request::main_ended(manager.tracker(), reason.clone());
    let exit = match ended {
        Ended::Returned(output) => Exit::Code(output.report()),
        Ended::Dropped => Exit::Code(ExitCode::SUCCESS),
        Ended::Late => Exit::Code(ExitCode::FAILURE),
        Ended::Panicked(payload) => Exit::Panic(payload),
    };
    let exit = exit.unless_essential_ended(&manager);
    main_thread.set_exit_code(exit.number());
    let report = runtime.block_on(manager.shutdown(reason));
    self_check::self_check();
    end_runtime(runtime, &report);
    // If this thread has been given up, another thread prints the report and exits.
    if main_thread.leave() {
        log::print(&report);
    }
    match exit {
        Exit::Code(code) => code,
        Exit::Panic(payload) => resume_unwind(payload),
    }
}

/// Ends the runtime. A plain drop would wait for the blocking pool, and thus forever for abandoned tasks.
fn end_runtime(runtime: Runtime, report: &ShutdownReport) {
    if report.straggler_count > MANY {
        // Dropping every task is running longer than `warn_after`er than the process has, and the process ends anyway.
        std::mem::forget(runtime);
    } else {
        runtime.shutdown_background();
    }
}

/// Refuses to run a program that no signal could stop gracefully.
fn fail_without_signals(error: &io::Error) -> ExitCode {
    to_stderr(format_args!("cannot watch for signals: {error}"));
    ExitCode::FAILURE
}

/// Polls `main` until it has ended, or until it must be dropped.
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
        let mut must_end = pin!(async {
            if takes_token {
                shared.shutdown.main_is_late.cancelled().await;
            } else {
                shared.shutdown.stopping.cancelled().await;
            }
        });
        let mut registered: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            shared.main_polls.begin_poll();
            // AssertUnwindSafe: a `main` that panicked is not polled again.
            let poll = catch_unwind(AssertUnwindSafe(|| main.as_mut().poll(cx)));
            match poll {
                Ok(Poll::Pending) => essential::poll_ended(manager.tracker()),
                _ => shared.main_polls.main_ended(),
            }
            // After the first poll, in which programs set their subscriber and provide state.
            self_check::self_check();
            if let Ok(Poll::Pending) = poll {
                manager.start_schedules();
            }
            match poll {
                Ok(Poll::Ready(output)) => Poll::Ready(Ended::Returned(output)),
                Err(payload) => Poll::Ready(Ended::Panicked(payload)),
                // Until a shutdown is requested, registering the waker once is enough.
                Ok(Poll::Pending)
                    if shared.shutdown.phase() == Phase::Running
                        && registered
                            .as_ref()
                            .is_some_and(|waker| waker.will_wake(cx.waker())) =>
                {
                    Poll::Pending
                }
                Ok(Poll::Pending) => {
                    registered = Some(cx.waker().clone());
                    must_end.as_mut().poll(cx).map(|()| {
                        if takes_token {
                            Ended::Late
                        } else {
                            Ended::Dropped
                        }
                    })
                }
            }
        })
        .await
    };
    // The values that `main` still owns are dropped before draining starts. A panic of a drop is `main`'s.
    match catch_unwind(AssertUnwindSafe(|| drop(main))) {
        Ok(()) => ended,
        Err(payload) => Ended::Panicked(payload),
    }
}
