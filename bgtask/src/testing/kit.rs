//! The kit of one test: its manager, and the end of the test: drain, verdict, and the values that are dropped between the two.

use super::record::State;
use super::verdict::Verdict;
use super::wait::Judged;
use crate::InstallError;
use crate::context;
use crate::manager::{Manager, shut_down};
use crate::report::ShutdownReport;
use crate::tracker::Tracker;
use crate::util::log::to_stderr;
use crate::util::panic::{Caught, catch};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

/// The default limit of the drain at the end of a test.
pub(super) const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// The default limit of a wait. Its only purpose is that no test hangs, so it is far above what a machine that is busy with other
/// tests needs.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// The test kit, for tests without [`#[bgtask::test]`](macro@crate::test): under `#[tokio::test]`, or on a runtime of your own.
///
/// A kit installs a manager of its own on the runtime. A kit that is dropped without [`finish`](Self::finish) does not drain, and
/// fails the test for what has failed so far.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # macro_rules! never_run { ($($tokens:tt)*) => {} }
/// # never_run! {
/// #[tokio::test]
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// async fn refreshes() -> Result<(), bgtask::InstallError> {
///     let kit = bgtask::testing::Kit::install()?;
///     refresh();
///     kit.finish().await; // drains, and panics if background work has failed
///     Ok(())
/// }
/// # refreshes().unwrap();
/// ```
#[must_use = "the test's background work is drained and judged by `finish().await`"]
#[derive(Debug)]
pub struct Kit {
    manager: Manager,
    state: Arc<State>,
    finished: bool,
}

impl Kit {
    /// Installs the kit and its manager on the current runtime.
    ///
    /// # Errors
    /// Fails with [`InstallError::NoRuntime`] outside of a runtime, with [`InstallError::AlreadyInstalled`] if the runtime has a
    /// manager, and with [`InstallError::CalledBefore`] if a background function was called there before.
    pub fn install() -> Result<Self, InstallError> {
        // The kit cannot record earlier calls, and does not control how they run.
        if Handle::try_current().is_ok_and(|runtime| context::has_fallback(&runtime)) {
            return Err(InstallError::CalledBefore);
        }
        let state = Arc::new(State::new(DEFAULT_WAIT));
        let (panics, ends) = (state.clone(), state.clone());
        let manager = Manager::builder()
            .grace(DEFAULT_DRAIN)
            .on_panic(move |task| panics.record_panic(task))
            .on_finish(move |task| ends.record_end(task))
            .install()?;
        state.set_tracker(manager.tracker());
        let hooks = &manager.tracker().shared.hooks;
        hooks.set_dispatcher(state.clone());
        Ok(Self {
            manager,
            state,
            finished: false,
        })
    }

    /// Sets how long the drain at the end may take, by the real clock. Default: 5 s.
    pub fn drain_within(self, limit: Duration) -> Self {
        self.manager.tracker().shared.shutdown.set_grace(limit);
        self
    }

    /// Sets how long each [`idle`](super::idle), each [`started`](super::started) and each call under [`inline`](super::inline)
    /// may take, by the real clock. Default: 10 s.
    pub fn wait_within(self, limit: Duration) -> Self {
        self.state.records().limit = limit;
        self
    }

    /// Returns the manager of the test.
    #[must_use]
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Drains the background work and gives the verdict. Calls that [`pause_dispatch`](super::pause_dispatch) holds back are
    /// released first. This ends the kit, so call [`assert_called`](super::assert_called) and the like before.
    ///
    /// # Panics
    /// Panics if background work failed the test, and names every failure: a task panicked, returned an `Err`, timed out or was
    /// refused because its [`State`](crate::State) was missing, without being declared or awaited; a task did not end in time; or
    /// a declared failure did not happen.
    ///
    /// # Cancel safety
    /// If the future is dropped, the drain continues, and only earlier failures are judged.
    pub fn finish(self) -> impl Future<Output = ()> {
        Judged(Box::pin(async move {
            match self.end().await {
                Some(verdict) => Err(verdict.to_string()),
                None => Ok(()),
            }
        }))
    }

    /// Drains, and returns why the test fails, if it does.
    pub(super) async fn end(mut self) -> Option<Verdict> {
        self.state.resume_all();
        let report = drain(self.manager.tracker(), "the test ended").await;
        self.finished = true;
        self.state.record_unclaimed().await;
        let mut verdict = self.state.verdict(Some(&report));
        let panics = self.state.drop_kept();
        if !panics.is_empty() {
            verdict.get_or_insert_default().add_panics_of_kept(&panics);
        }
        verdict
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        // Calls that are still held back keep the manager alive.
        self.state.abort_held();
        if self.finished {
            return;
        }
        // No drain follows. The panic hook has reported the values that panic.
        self.state.drop_kept();
        match self.state.verdict(None) {
            Some(verdict) if !thread::panicking() => panic!("{verdict}"),
            Some(verdict) => to_stderr(format_args!("{verdict}")),
            None if !thread::panicking() => {
                to_stderr(format_args!(
                    "a test kit was dropped without `finish().await`: nothing was drained"
                ));
            }
            None => {}
        }
    }
}

/// Keeps a value until the drain at the end of the test is over, and then drops it. Values are dropped in reverse order.
///
/// Rust drops a test's own variables when its body ends, *before* the drain: the background work still runs while a guard that
/// excludes other tests is released, a temporary folder is deleted or a mock server stops. The values are dropped before the
/// verdict, even if the test has panicked. A plain function that the drain has abandoned may still run then.
///
/// For a value that the test still uses, pass a clone of an [`Arc`]. The value must be [`Send`]: a guard of `tokio::sync::Mutex`
/// is, a guard of `std::sync::Mutex` is not.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn serve(token: bgtask::ShutdownToken) { token.cancelled().await; }
/// static PORT: tokio::sync::Mutex<u16> = tokio::sync::Mutex::const_new(3000);
///
/// # macro_rules! never_run { ($($tokens:tt)*) => {} }
/// # never_run! {
/// #[bgtask::test]
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// async fn serves() {
/// #   let kit = bgtask::testing::Kit::install().unwrap();
///     bgtask::testing::until_drained(PORT.lock().await); // `let _port = …` would be released before `serve` has ended
///     serve();
/// #   kit.finish().await;
/// }
/// # serves();
/// ```
///
/// # Panics
/// Panics if there is no test kit. A value that panics while it is dropped fails the test.
#[track_caller]
pub fn until_drained(value: impl Send + 'static) {
    let state = State::current("until_drained()");
    state.records().kept.push(Box::new(value));
}

/// Shuts down the background work of the test and returns the report. Every task's token fires, and tasks that have not ended
/// within the limit of the drain are aborted. Later calls are refused.
///
/// The report names the tasks that did not finish, and they no longer fail the test.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn serve(token: bgtask::ShutdownToken) { token.cancelled().await; }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let task = serve();
/// let report = bgtask::testing::shutdown().await;
/// assert!(report.is_clean());
/// assert_eq!(task.await, Ok(()));
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit.
///
/// # Cancel safety
/// If the future is dropped, the shutdown continues.
#[track_caller]
pub fn shutdown() -> impl Future<Output = ShutdownReport> + Send {
    let state = State::current("shutdown()");
    let tracker = State::current_tracker("shutdown()");
    async move {
        state.records().late_is_reported = true;
        state.resume_all();
        drain(&tracker, "the test asked").await
    }
}

/// Shuts down. Another thread fires the tokens, and paused time advances as soon as this thread is idle. So that no tick or timer
/// fires before the tokens, this blocks until they have fired.
async fn drain(tracker: &Arc<Tracker>, reason: &'static str) -> ShutdownReport {
    let mut report = pin!(shut_down(tracker, reason.into()));
    let begun = poll_fn(|cx| Poll::Ready(report.as_mut().poll(cx))).await;
    if let Poll::Ready(report) = begun {
        return report;
    }
    // Checking a token is not enough: it counts as fired before it wakes its waiters.
    if let Some(request) = tracker.shared.shutdown.request() {
        tracker
            .shared
            .shutdown
            .wait_until(request.deadline, |progress| progress.tasks_notified);
    }
    report.await
}

impl State {
    /// Drops the values that the test has kept, the latest first. Returns their panics.
    fn drop_kept(&self) -> Vec<Caught> {
        let mut panics = Vec::new();
        // One by one, and not under the lock: the drop is user code, and may keep another value.
        while let Some(value) = { self.records().kept.pop() } {
            if let Err(caught) = catch(|| drop(value)) {
                panics.push(*caught);
            }
        }
        panics
    }
}
