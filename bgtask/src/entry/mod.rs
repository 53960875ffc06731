//! The entry point that `#[bgtask::main]` calls: builds the runtime, runs `main` under a manager, drains, and exits with `main`'s result.
//! Owns the order of these steps; generated code calls nothing else.

mod main_thread;
pub(crate) mod signal;
mod strict;

use crate::ShutdownToken;
use crate::entry::main_thread::MainThread;
use crate::entry::signal::Watching;
use crate::entry::signal::dump::DumpSignal;
use crate::handler::self_check;
use crate::manager::{DEFAULT_GRACE, Manager};
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown::{essential, log, request};
use crate::task::judge::Judge;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::to_stderr;
use std::any::Any;
use std::fmt::Display;
use std::future::Future;
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
    pub pre_stop: Option<Duration>,
    pub strict: bool,
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

impl<T> Ended<T> {
    /// Returns why the shutdown begins, unless it has been requested before.
    fn reason(&self) -> ShutdownReason {
        match self {
            Ended::Panicked(_) => ShutdownReason::MainPanicked,
            Ended::Returned(_) | Ended::Dropped | Ended::Late => ShutdownReason::MainReturned,
        }
    }
}

/// How the process ends, once `main`'s output has been reported.
enum Exit {
    Code(ExitCode),
    Panic(Box<dyn Any + Send>),
}

impl Exit {
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

/// Runs the program of an `async fn main`.
///
/// # Panics
///
/// Panics with `main`'s own panic, after the drain.
pub fn run_main<T, F>(config: MainConfig, main: impl FnOnce(ShutdownToken) -> F) -> ExitCode
where
    T: Termination,
    F: Future<Output = T>,
{
    let Some(program) = Program::start(&config) else {
        return ExitCode::FAILURE;
    };
    let exit = match program.run(config.takes_token, main) {
        Ended::Returned(output) => Exit::Code(output.report()),
        Ended::Dropped => Exit::Code(ExitCode::SUCCESS),
        Ended::Late => Exit::Code(ExitCode::FAILURE),
        Ended::Panicked(payload) => Exit::Panic(payload),
    };
    let own = exit.number();
    let number = program.finish(own, AfterThat::Exit);
    match exit {
        Exit::Code(code) if number == own => code,
        Exit::Code(_) => ExitCode::FAILURE,
        Exit::Panic(payload) => resume_unwind(payload),
    }
}

/// Runs a function that other code calls: one with another name than `main`.
///
/// Returns the function's output. If there is none, because the function was dropped, or if the output is a success and the program
/// has failed, the process exits here.
///
/// # Panics
///
/// Panics with the function's own panic, after the drain.
pub fn run_function<T, J, F>(
    config: MainConfig,
    _judge: J,
    function: impl FnOnce(ShutdownToken) -> F,
) -> T
where
    J: Judge<T>,
    F: Future<Output = T>,
{
    let Some(program) = Program::start(&config) else {
        std::process::exit(1);
    };
    let ended = program.run(config.takes_token, function);
    let own = match &ended {
        Ended::Returned(output) => i32::from(J::failure(output).is_some()),
        Ended::Dropped => 0,
        Ended::Late => 1,
        Ended::Panicked(_) => PANIC_EXIT_CODE,
    };
    let number = program.finish(own, AfterThat::Continue);
    match ended {
        Ended::Returned(output) if number == own => output,
        Ended::Panicked(payload) => resume_unwind(payload),
        Ended::Returned(_) | Ended::Dropped | Ended::Late => std::process::exit(number),
    }
}

/// Whether the process exits after a program, or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterThat {
    Exit,
    /// Returns to the function's caller, which a signal then ends as if bgtask had never watched for it.
    Continue,
}

/// A program that has been started: its runtime, its manager, and the threads that watch both.
struct Program {
    runtime: Runtime,
    manager: Manager,
    main_thread: MainThread,
    strict: bool,
    watching: Watching,
}

impl Program {
    /// Builds the runtime, installs the manager and watches for signals. Reports a failure on stderr and returns `None`.
    fn start(config: &MainConfig) -> Option<Self> {
        // Before the runtime starts its threads.
        let listening = or_report("watch for signals", signal::listen(config.dump))?;
        let mut builder = match config.flavor {
            Flavor::MultiThread => tokio::runtime::Builder::new_multi_thread(),
            Flavor::CurrentThread => tokio::runtime::Builder::new_current_thread(),
        };
        if let Some(threads) = config.worker_threads {
            builder.worker_threads(threads);
        }
        let runtime = or_report("build the tokio runtime", builder.enable_all().build())?;
        let grace = config.grace.unwrap_or(DEFAULT_GRACE);
        if let Some(pre_stop) = config.pre_stop {
            assert!(
                pre_stop < grace,
                "`pre_stop` counts within `grace`, so {pre_stop:?} of {grace:?} leave no time to stop in: shorten `pre_stop`, or lengthen `grace`"
            );
        }
        let mut settings = Manager::builder().grace(grace);
        if let Some(time) = config.pre_stop {
            settings = settings.pre_stop(time);
        }
        if let Some(limit) = config.warn_after {
            settings = settings.warn_after(limit);
        }
        let installed = settings.install_as_default(runtime.handle());
        let manager = or_report("install the manager", installed)?;
        let watching = or_report("watch for signals", listening.watch(manager.tracker()))?;
        let main_thread = MainThread::watch(manager.tracker(), config.strict);
        Some(Self {
            runtime,
            manager,
            main_thread,
            strict: config.strict,
            watching,
        })
    }

    /// Runs `main` until it has ended, and requests the shutdown.
    fn run<T, F: Future<Output = T>>(
        &self,
        takes_token: bool,
        main: impl FnOnce(ShutdownToken) -> F,
    ) -> Ended<T> {
        let main = run_until_ended(&self.manager, takes_token, main);
        let ended = self.runtime.block_on(main);
        // Before the output is reported: that may print an error, and block on a pipe that nobody reads.
        request::main_ended(self.manager.tracker(), ended.reason());
        ended
    }

    /// Drains, prints the report and ends the runtime. Returns the exit code: `main`'s `own`, or 1 if that is a success and the
    /// program has failed nevertheless.
    fn finish(self, own: i32, after: AfterThat) -> i32 {
        let request = self.manager.tracker().shared.shutdown.request();
        let essential_ended = request
            .is_some_and(|request| matches!(request.reason, ShutdownReason::EssentialEnded(_)));
        let mut code = if own == 0 && essential_ended { 1 } else { own };
        self.main_thread.set_exit_code(code);
        // The shutdown has been requested, so this reason does not stand.
        let shutdown = self.manager.shutdown(ShutdownReason::MainReturned);
        let report = self.runtime.block_on(shutdown);
        self_check::self_check();
        end_runtime(self.runtime, &report);
        // If this thread has been given up, another thread prints the report and exits.
        if self.main_thread.leave() {
            log::print(&report);
        }
        if self.strict && code == 0 {
            code = strict::judge(&self.manager.tracker().shared.policies, &report);
        }
        if after == AfterThat::Exit {
            // A signal that arrives from now on does not replace the exit code.
            std::mem::forget(self.watching);
        }
        code
    }
}

/// Returns the value. Reports an error on stderr and returns `None`: without signals, nothing could stop the program gracefully.
fn or_report<T, E: Display>(what: &str, result: Result<T, E>) -> Option<T> {
    result
        .inspect_err(|error| to_stderr(format_args!("cannot {what}: {error}")))
        .ok()
}

/// Ends the runtime. A plain drop would wait for the blocking pool, and thus forever for abandoned tasks.
fn end_runtime(runtime: Runtime, report: &ShutdownReport) {
    if report.straggler_count > MANY {
        // Dropping every task takes longer than the process has, and the process ends anyway.
        std::mem::forget(runtime);
    } else {
        runtime.shutdown_background();
    }
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
                shared.shutdown.main.cancelled().await;
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
            let poll = match poll {
                Ok(Poll::Pending) => {
                    let started = catch_unwind(AssertUnwindSafe(|| manager.start_schedules()));
                    started
                        .map(|()| Poll::Pending)
                        .inspect_err(|_| shared.main_polls.main_ended())
                }
                ended => ended,
            };
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
