//! The code behind `#[bgtask::test]`: builds the runtime, runs the test under a kit, drains, and gives the verdict.
//! Owns the order of these steps. Generated code calls nothing else.

use super::kit::{DEFAULT_DRAIN, DEFAULT_WAIT, Kit};
use crate::ShutdownToken;
use crate::entry::Flavor;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Termination;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The arguments of `#[bgtask::test]`.
#[derive(Debug)]
pub struct TestConfig {
    pub flavor: Flavor,
    pub worker_threads: Option<usize>,
    pub drain: Option<Duration>,
    pub wait: Option<Duration>,
    /// Whether the schedules start before the test.
    pub schedules: bool,
    /// Opens the store of a test with `durable`: of another crate, which this one does not know.
    pub store: Option<fn()>,
    /// Sets what only the test's own crate can set: `start_paused` needs a feature of tokio that this crate does not enable.
    pub prepare: fn(&mut Builder),
}

/// Runs a test.
///
/// # Panics
/// Panics with the test's own panic, or else if background work has failed.
#[track_caller]
pub fn run_test<T, F>(config: TestConfig, test: impl FnOnce(ShutdownToken) -> F) -> T
where
    T: Termination,
    F: Future<Output = T>,
{
    let runtime = runtime(&config);
    let entered = runtime.enter();
    let kit = match Kit::install() {
        Ok(kit) => kit,
        Err(error) => panic!("cannot install the test kit: {error}"),
    };
    drop(entered);
    let kit = kit
        .drain_within(config.drain.unwrap_or(DEFAULT_DRAIN))
        .wait_within(config.wait.unwrap_or(DEFAULT_WAIT));
    if config.schedules {
        kit.manager().start_schedules();
    }
    if let Some(open) = config.store {
        // The store works on the test's runtime.
        let _entered = runtime.enter();
        open();
    }
    let token = kit.manager().token();

    let ended = runtime.block_on(async {
        // AssertUnwindSafe: a test that has panicked is not polled again.
        let test = catch_unwind(AssertUnwindSafe(|| Box::pin(test(token))));
        let mut test = test?;
        let ended = poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| test.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
                Err(payload) => Poll::Ready(Err(payload)),
            },
        )
        .await;
        // The test's handles are dropped with it. A panic of that drop is the test's own.
        catch_unwind(AssertUnwindSafe(|| drop(test))).and(ended)
    });
    let verdict = runtime.block_on(kit.end());
    // A plain drop would wait for the blocking pool, and so forever for the functions that were just abandoned.
    runtime.shutdown_background();
    match (ended, verdict) {
        (Ok(output), None) => output,
        (Ok(output), Some(verdict)) => {
            // The test's own error comes first.
            let _ = output.report();
            panic!("{verdict}");
        }
        (Err(payload), verdict) => {
            if let Some(verdict) = verdict {
                // `eprintln!`, because the test harness captures it with the test's other output.
                eprintln!("in addition, {verdict}");
            }
            resume_unwind(payload)
        }
    }
}

#[track_caller]
fn runtime(config: &TestConfig) -> Runtime {
    let mut builder = match config.flavor {
        Flavor::MultiThread => Builder::new_multi_thread(),
        Flavor::CurrentThread => Builder::new_current_thread(),
    };
    if let Some(threads) = config.worker_threads {
        builder.worker_threads(threads);
    }
    (config.prepare)(builder.enable_all());
    match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("cannot build the tokio runtime: {error}"),
    }
}
