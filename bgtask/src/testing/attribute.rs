//! What `#[bgtask::test]` calls: builds the runtime, runs the test under a kit, drains, gives the verdict.
//! Owns the order of these; generated code calls nothing else.

use super::{DEFAULT_DRAIN, DEFAULT_WAIT, Kit};
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
    /// Start them before the test.
    pub schedules: bool,
    /// What only the test's own crate can say: `start_paused` needs a feature of tokio that this crate does not turn on.
    pub prepare: fn(&mut Builder),
}

/// Runs a test.
///
/// # Panics
/// With the test's own panic; without one, if background work has failed.
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
        Err(error) => panic!("the test kit: {error}"),
    };
    drop(entered);
    let kit = kit
        .drain_within(config.drain.unwrap_or(DEFAULT_DRAIN))
        .wait_within(config.wait.unwrap_or(DEFAULT_WAIT));
    if config.schedules {
        kit.manager().start_schedules();
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
        // Its handles are dropped with it; a panic in there is the test's own.
        catch_unwind(AssertUnwindSafe(|| drop(test))).and(ended)
    });
    let verdict = runtime.block_on(kit.end());
    // Not a plain drop: that waits for the blocking pool, and so for ever for what was just abandoned.
    runtime.shutdown_background();
    match (ended, verdict) {
        (Ok(output), None) => output,
        (Ok(output), Some(verdict)) => {
            // If it is an error, that is what the user wants to read first.
            let _ = output.report();
            panic!("{verdict}");
        }
        (Err(payload), verdict) => {
            if let Some(verdict) = verdict {
                // Captured with the test's other output.
                eprintln!("besides, {verdict}");
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
