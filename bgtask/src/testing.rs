//! What tests of code with background work need: waits, counts, declared failures, held calls, and a verdict at the end.
//!
//! [`#[bgtask::test]`](macro@crate::test) gives a test a runtime and a manager of its own, and at its end drains the
//! background work. A background panic, an `Err` that nobody looked at and work that does not end fail the test, with name,
//! place and message. On a runtime of your own, or under `#[tokio::test]`, a [`Kit`] does the same.
//!
//! The functions here speak of the test they are called in. They name a background function as
//! [`handlers()`](crate::handlers) does or by the end of that: `"refresh"`, `"cache::refresh"`. A name that no function has
//! is a panic that says so, also in [`assert_not_called`].
//!
//! ```standalone_crate
//! use bgtask::{background, testing};
//!
//! #[background]
//! async fn send_mail(to: String) -> Result<(), String> {
//!     if to.contains('@') { Ok(()) } else { Err(format!("`{to}` is no address")) }
//! }
//!
//! fn register(address: &str) { send_mail(address.to_owned()); }
//!
//! # macro_rules! never_run { ($($tokens:tt)*) => {} }
//! # never_run! {
//! #[bgtask::test]
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! async fn registering_sends_a_mail() {
//! #   let kit = testing::Kit::install().unwrap();
//!     register("ada@example.org");
//!     testing::idle().await;
//!     testing::assert_called("send_mail", 1);
//!
//!     testing::expect_error("send_mail"); // without this line, the next one fails the test
//!     register("nobody");
//! #   kit.finish().await;
//! }
//! # registering_sends_a_mail();
//! ```
//!
//! With `start_paused` (and the `test-util` feature of tokio) an hour of `tokio::time` passes in no time, in background
//! work as in the test. The limit of the drain is counted by the real clock.
// Owns what is noted of one test's calls. Works through the hooks, the dispatcher and the manager's report; knows nothing of
// how tasks run.

pub(crate) mod attribute;
mod state;

use state::State;

use crate::context;
use crate::hooks::FailedTask;
use crate::manager::{Manager, shut_down};
use crate::notice::to_stderr;
use crate::report::ShutdownReport;
use crate::{InstallError, handlers};
use std::any::Any;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long the drain at the end of a test may take where nothing else is said.
pub(crate) const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// What [`#[bgtask::test]`](macro@crate::test) does, for tests without it: under `#[tokio::test]`, or on a runtime of your
/// own.
///
/// It installs a manager of its own on the runtime. Dropped without [`finish`](Self::finish) it fails the test for what has
/// failed so far, and does not drain.
///
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
    /// Installs the kit and its manager on the runtime this is called in. The drain may take 5 s.
    ///
    /// # Errors
    /// [`InstallError::NoRuntime`] outside of a runtime, [`InstallError::AlreadyInstalled`] if it has a manager.
    pub fn install() -> Result<Self, InstallError> {
        let state = Arc::new(State::default());
        let (panics, errors, ends, unseen) =
            (state.clone(), state.clone(), state.clone(), state.clone());
        let manager = Manager::builder()
            .grace(DEFAULT_DRAIN)
            .on_panic(move |task| panics.note_panic(task))
            .on_error(move |task| errors.note_error(task))
            .on_finish(move |task| ends.note_end(task))
            .install()?;
        state.belongs_to(manager.ledger());
        let hooks = &manager.ledger().shared.hooks;
        hooks.change(|hooks| {
            let note = move |task: &FailedTask<'_>| unseen.note_unseen(task);
            hooks.on_unseen.push(Arc::new(note));
        });
        hooks.set_dispatcher(state.clone());
        Ok(Self {
            manager,
            state,
            finished: false,
        })
    }

    /// Sets how long the drain at the end may take, by the real clock.
    pub fn drain_within(self, limit: Duration) -> Self {
        self.manager.ledger().shared.set_grace(limit);
        self
    }

    /// The manager of the test.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Drains the background work and gives the verdict. Calls that [`pause_dispatch`] holds back are released first.
    ///
    /// # Panics
    /// If a task panicked, returned an `Err` that nobody looked at, or did not end in time, and that was not declared; or if
    /// something was declared and did not happen. The message names all of it.
    ///
    /// # Cancel safety
    /// Dropped half-way, the drain goes on, and nothing is judged but what failed before.
    pub async fn finish(self) {
        if let Some(verdict) = self.end().await {
            panic!("{verdict}");
        }
    }

    /// Drains; what fails the test, if anything does.
    async fn end(mut self) -> Option<state::Verdict> {
        self.state.resume_all();
        let report = self.manager.shutdown("the test ended").await;
        self.finished = true;
        self.state.verdict(Some(&report))
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        // What is still held back is aborted, and lets go of the manager.
        self.state.abort_held();
        if self.finished {
            return;
        }
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

/// Waits until all background work has ended, also that which other background work calls meanwhile. Called in a background
/// task, it does not wait for that one.
///
/// Waits as long as that takes. Under paused time the clock moves on to what the work waits for.
///
/// # Panics
/// Where there is no test kit, and when nothing is left but calls that [`pause_dispatch`] holds back.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
///
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// refresh();
/// bgtask::testing::idle().await;
/// assert_eq!(bgtask::stats().succeeded, 1);
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn idle() -> impl Future<Output = ()> + Send {
    let state = current("idle()");
    let own = context::task().map(|place| place.identity().id);
    async move { state.idle(own).await }
}

/// Waits until a call of the function has begun. Returns at once if one had before, whether or not it has ended.
///
/// # Panics
/// Where there is no test kit, or no such function.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
///
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn serve(token: bgtask::ShutdownToken) { token.cancelled().await; }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let task = serve();
/// bgtask::testing::started("serve").await;
/// task.cancel();
/// assert_eq!(task.await, Ok(()));
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn started(name: &str) -> impl Future<Output = ()> + Send + use<> {
    let state = current("started()");
    let name = resolve(name);
    async move {
        state.until_begun(name).await;
    }
}

/// How many calls of the function were accepted in this test, whatever has become of them.
///
/// # Panics
/// Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// refresh();
/// assert_eq!(bgtask::testing::calls("refresh"), 1); // at once, although it has not run yet
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn calls(name: &str) -> usize {
    let state = current("calls()");
    let name = resolve(name);
    state.calls(name)
}

/// Asserts that so many calls of the function were accepted in this test.
///
/// # Panics
/// If there were more or fewer: names the places they were made at. Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// refresh();
/// bgtask::testing::assert_called("refresh", 1);
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn assert_called(name: &str, times: usize) {
    let state = current("assert_called()");
    state.assert_called(resolve(name), times);
}

/// Asserts that no call of the function was accepted in this test.
///
/// # Panics
/// If there was one: names the place. Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::assert_not_called("refresh");
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn assert_not_called(name: &str) {
    let state = current("assert_not_called()");
    state.assert_called(resolve(name), 0);
}

/// Declares that one call of the function panics in this test, before or after this line. Say it twice for two.
///
/// The test fails if it does not happen. A declared panic is logged like any other.
///
/// # Panics
/// Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background(log = "off")]
/// # async fn refresh() { panic!("disk full") }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::expect_panic("refresh");
/// refresh();
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn expect_panic(name: &str) {
    let state = current("expect_panic()");
    let name = resolve(name);
    state.expect_panic(name);
}

/// Declares that one call of the function returns an `Err` in this test, before or after this line, whether or not somebody
/// looks at it. Say it twice for two.
///
/// The test fails if it does not happen.
///
/// # Panics
/// Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background(log = "off")]
/// # async fn refresh() -> Result<(), String> { Err("disk full".into()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::expect_error("refresh");
/// refresh();
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn expect_error(name: &str) {
    let state = current("expect_error()");
    let name = resolve(name);
    state.expect_error(name);
}

/// Holds back the calls made from now on: they are accepted and counted, and do not run until they are released.
///
/// The end of the test and [`shutdown`] release them.
///
/// # Panics
/// Where there is no test kit.
///
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh(page: u32) {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let paused = bgtask::testing::pause_dispatch();
/// let (first, second) = (refresh(1), refresh(2));
/// assert_eq!(paused.waiting().len(), 2);
///
/// paused.release_next();
/// assert_eq!(first.await, Ok(()));
/// assert!(!second.is_finished());
///
/// drop(paused); // the rest is released, and calls run at once again
/// assert_eq!(second.await, Ok(()));
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn pause_dispatch() -> PausedDispatch {
    let state = current("pause_dispatch()");
    state.pause();
    PausedDispatch { state }
}

/// Shuts down the background work of the test and tells how it went: every task's token fires, and what has not ended within
/// the limit of the drain is aborted. Later calls are refused.
///
/// What did not finish is in the report, and fails the test no more.
///
/// # Panics
/// Where there is no test kit.
///
/// # Cancel safety
/// The sequence goes on when the future is dropped.
///
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
#[track_caller]
pub fn shutdown() -> impl Future<Output = ShutdownReport> + Send {
    let state = current("shutdown()");
    let ledger = context::current("shutdown()");
    async move {
        let Ok(ledger) = ledger else {
            unreachable!("a test kit has its manager");
        };
        state.report_goes_to_the_test();
        state.resume_all();
        shut_down(&ledger, "the test asked".into()).await
    }
}

/// As long as it lives, calls are held back; see [`pause_dispatch`]. Dropping it releases them, unless there is another one.
#[must_use = "calls are only held back until this is dropped"]
#[derive(Debug)]
pub struct PausedDispatch {
    state: Arc<State>,
}

impl PausedDispatch {
    /// The names of the functions whose calls are held back, the oldest call first.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.state.waiting()
    }

    /// Releases the oldest call that is held back: its function's name, or nothing if there is none.
    pub fn release_next(&self) -> Option<&'static str> {
        self.state.release_next()
    }

    /// Releases all calls that are held back; how many they were. Later calls are held back again.
    pub fn release_all(&self) -> usize {
        // As many as there are now: a released call may make others.
        let waiting = self.waiting().len();
        (0..waiting).map_while(|_| self.release_next()).count()
    }
}

impl Drop for PausedDispatch {
    fn drop(&mut self) {
        self.state.resume();
    }
}

/// The kit of the test that `what` is called in.
#[track_caller]
fn current(what: &str) -> Arc<State> {
    let shared = context::current_shared(what);
    let dispatcher = shared.hooks.dispatcher().cloned();
    let state = dispatcher.and_then(|dispatcher| {
        let any: Arc<dyn Any + Send + Sync> = dispatcher;
        any.downcast().ok()
    });
    state.unwrap_or_else(|| {
        panic!(
            "`{what}` was called where there is no test kit: put `#[bgtask::test]` on the test, or start it with \
             `let kit = bgtask::testing::Kit::install()?;`"
        )
    })
}

/// The whole name of the one background function whose name ends so.
#[track_caller]
fn resolve(written: &str) -> &'static str {
    let ends_so = |name: &str| match name.strip_suffix(written) {
        Some(before) => before.is_empty() || before.ends_with("::"),
        None => false,
    };
    let names: BTreeSet<&'static str> = handlers().iter().map(|handler| handler.name()).collect();
    if let Some(whole) = names.get(written) {
        return whole;
    }
    let found: Vec<_> = names.iter().copied().filter(|name| ends_so(name)).collect();
    match found[..] {
        [only] => only,
        [] => {
            const NAMED: usize = 20;
            let mut listed: Vec<_> = names.iter().copied().take(NAMED).collect();
            if names.len() > NAMED {
                listed.push("…");
            }
            if listed.is_empty() {
                listed.push("none");
            }
            panic!(
                "there is no background function `{written}` in this program; there are: {}",
                listed.join(", ")
            )
        }
        _ => panic!(
            "`{written}` may be any of {}: write more of the name",
            found.join(", ")
        ),
    }
}
