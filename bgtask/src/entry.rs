//! What `#[bgtask::main]` calls: builds the runtime, runs `main` under a manager, drains, leaves with `main`'s result.
//! Owns the order of these; generated code calls nothing else.

use crate::manager::{DEFAULT_GRACE, Manager};
use crate::notice::to_stderr;
use crate::report::ShutdownReason;
use crate::{ShutdownToken, discovery, shutdown, signal};
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

/// How long the main thread may take to leave once the shutdown is over. It only has to let go of the runtime, unless a
/// task that never yields keeps it from that.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// The arguments of `#[bgtask::main]`.
#[derive(Debug)]
pub struct MainConfig {
    pub flavor: Flavor,
    pub worker_threads: Option<usize>,
    pub grace: Option<Duration>,
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
    /// It takes no token, so it was dropped when the shutdown was asked for; or it was late.
    Dropped,
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
    let manager = Manager::builder()
        .grace(config.grace.unwrap_or(DEFAULT_GRACE))
        .install_unchecked(runtime.handle());
    let manager = match manager {
        Ok(manager) => manager,
        Err(error) => {
            to_stderr(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = signal::watch(Arc::clone(manager.shared())) {
        to_stderr(format_args!("signals cannot be watched for: {error}"));
        return ExitCode::FAILURE;
    }
    let left = leave_even_if_stuck(&manager);

    let ended = runtime.block_on(run_until_ended(&manager, config.takes_token, main));
    let reason = match &ended {
        Ended::Panicked(_) => ShutdownReason::MainPanicked,
        Ended::Returned(_) | Ended::Dropped => ShutdownReason::MainReturned,
    };
    let report = runtime.block_on(manager.shutdown(reason));
    discovery::self_check();
    // Not a plain drop: that waits for the blocking pool, and so for ever for what was just abandoned.
    runtime.shutdown_background();
    // The watcher leaves the printing to us from here on; if it has begun to leave, the process ends under us.
    let _ = left.send(());
    shutdown::print(&report);

    match ended {
        Ended::Returned(output) => output.report(),
        Ended::Panicked(payload) => resume_unwind(payload),
        Ended::Dropped => ExitCode::SUCCESS,
    }
}

/// Polls `main` until it has ended or has to be dropped.
async fn run_until_ended<T, F: Future<Output = T>>(
    manager: &Manager,
    takes_token: bool,
    main: impl FnOnce(ShutdownToken) -> F,
) -> Ended<T> {
    let shared = manager.shared();
    let mut main = match catch_unwind(AssertUnwindSafe(|| Box::pin(main(manager.token())))) {
        Ok(main) => main,
        Err(payload) => return Ended::Panicked(payload),
    };
    let ended = {
        let mut has_to_end = pin!(async {
            if takes_token {
                shared.main_is_late.cancelled().await;
            } else {
                shared.stopping.cancelled().await;
            }
        });
        std::future::poll_fn(|cx| {
            // AssertUnwindSafe: a `main` that panicked is not polled again.
            let poll = catch_unwind(AssertUnwindSafe(|| main.as_mut().poll(cx)));
            // After the first poll, since that is where programs set their subscriber.
            discovery::self_check();
            match poll {
                Ok(Poll::Ready(output)) => Poll::Ready(Ended::Returned(output)),
                Err(payload) => Poll::Ready(Ended::Panicked(payload)),
                Ok(Poll::Pending) => has_to_end.as_mut().poll(cx).map(|()| Ended::Dropped),
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
/// one for ever. Sending on the channel calls it off.
fn leave_even_if_stuck(manager: &Manager) -> mpsc::Sender<()> {
    let (left, has_left) = mpsc::channel();
    manager.shared().on_over(move |report| {
        if has_left.recv_timeout(LEAVE_WAIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            shutdown::print(report);
            to_stderr(format_args!("the main thread is stuck; leaving without it"));
            signal::leave(match report.reason {
                ShutdownReason::Signal(signal) => signal.exit_code(),
                _ => 1,
            });
        }
    });
    left
}
