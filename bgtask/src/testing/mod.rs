//! What tests of code with background work need: waits, counts, declared failures, held calls, and a verdict at the end.
//!
//! [`#[bgtask::test]`](macro@crate::test) gives a test a runtime and a manager of its own, and at its end drains the
//! background work. A background panic, an `Err` or a `timeout` that nobody looked at and work that does not end fail the test,
//! with name, place and message; also an `Err` in a handle that something still holds when the drain is over, such as a server
//! that lives on. On a runtime of your own, or under `#[tokio::test]`, a [`Kit`] does the same. In a test with neither, the first
//! call on a runtime installs a manager that fails no test; with `BGTASK_REQUIRE_MANAGER=1` in the environment, or after
//! [`require_manager()`](crate::require_manager), such a call panics instead.
//!
//! The functions here speak of the test they are called in. They take a background function itself, which the compiler
//! checks, or its name; see [`BackgroundFunction`]. A function that is none, and a name that no function has, is a panic that
//! says so, also in [`assert_not_called`].
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
//!     testing::assert_called(send_mail, 1);
//!
//!     testing::expect_error(send_mail); // without this line, the next one fails the test
//!     register("nobody");
//! #   kit.finish().await;
//! }
//! # registering_sends_a_mail();
//! ```
//!
//! With `start_paused` (and the `test-util` feature of tokio) an hour of `tokio::time` passes in no time, in background
//! work as in the test, and `cron` goes by the same clock; see [`set_now`]. The limits of the drain and of the waits are counted
//! by the real one.
// Owns what is noted of one test's calls. Works through the hooks, the dispatcher and the manager's report; knows nothing of
// how tasks run.

pub(crate) mod attribute;
mod function;
mod inline;
mod state;
mod wait;

pub use function::BackgroundFunction;

use function::Function;
use state::{Kind, State};

use crate::context;
use crate::manager::{Manager, shut_down};
use crate::report::ShutdownReport;
use crate::tracker::Tracker;
use crate::util::log::to_stderr;
use crate::{InstallError, schedule};
use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// How long the drain at the end of a test may take where nothing else is said.
pub(crate) const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// How long one of its waits may take where nothing else is said. It is only there so that no test hangs: a machine that is
/// busy with other tests must not come near it.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(10);

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
    /// [`InstallError::NoRuntime`] outside of a runtime, [`InstallError::AlreadyInstalled`] if it has a manager,
    /// [`InstallError::CalledBefore`] if a background function was called there before.
    pub fn install() -> Result<Self, InstallError> {
        // What was called before is not noted, and runs as the kit's calls do not.
        if Handle::try_current().is_ok_and(|runtime| context::has_fallback(&runtime)) {
            return Err(InstallError::CalledBefore);
        }
        let state = Arc::new(State::new(DEFAULT_WAIT));
        let (panics, ends) = (state.clone(), state.clone());
        let manager = Manager::builder()
            .grace(DEFAULT_DRAIN)
            .on_panic(move |task| panics.note_panic(task))
            .on_finish(move |task| ends.note_end(task))
            .install()?;
        state.belongs_to(manager.tracker());
        let hooks = &manager.tracker().shared.hooks;
        hooks.set_dispatcher(state.clone());
        Ok(Self {
            manager,
            state,
            finished: false,
        })
    }

    /// Sets how long the drain at the end may take, by the real clock.
    pub fn drain_within(self, limit: Duration) -> Self {
        self.manager.tracker().shared.shutdown.set_grace(limit);
        self
    }

    /// Sets how long one [`idle`], one [`started`] and one call under [`inline`] may take, by the real clock. 10 s if not set.
    pub fn wait_within(self, limit: Duration) -> Self {
        self.state.set_limit(limit);
        self
    }

    /// The manager of the test.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Drains the background work and gives the verdict. The kit ends with it: call [`assert_called`] and the like before. Calls that [`pause_dispatch`] holds back are released first.
    ///
    /// # Panics
    /// If a task panicked, returned an `Err`, ran out of its `timeout` or was refused for lack of its [`State`](crate::State) and
    /// nobody looked at that, or did not end in time, and it was not declared; or if something was declared and did not happen. The message names all of it.
    ///
    /// # Cancel safety
    /// Dropped half-way, the drain goes on, and nothing is judged but what failed before.
    pub fn finish(self) -> impl Future<Output = ()> {
        Judged(Box::pin(async move {
            match self.end().await {
                Some(verdict) => Err(verdict.to_string()),
                None => Ok(()),
            }
        }))
    }

    /// Drains; what fails the test, if anything does.
    async fn end(mut self) -> Option<state::Verdict> {
        self.state.resume_all();
        let report = drain(self.manager.tracker(), "the test ended").await;
        self.finished = true;
        self.state.note_unclaimed().await;
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
        // What is still held back is aborted, and lets go of the manager.
        self.state.abort_held();
        if self.finished {
            return;
        }
        // No drain follows. The panic hook has reported those that panic.
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

/// Waits until all background work has ended, also that which other background work calls meanwhile. Called in a background
/// task, it does not wait for that one.
///
/// Under paused time the clock moves on to what the work waits for. Schedules that were started are no work, their runs are.
///
/// # Panics
/// Where there is no test kit, and when nothing is left but calls that [`pause_dispatch`] holds back. If it takes longer than
/// 10 s by the real clock, or than `wait` of the attribute or [`Kit::wait_within`] say: names what has not ended.
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
pub fn idle() -> Wait {
    let state = current("idle()");
    let own = context::task().map(|place| place.identity().id);
    Wait::new(state.idle(own, Location::caller()))
}

/// Waits until a call of the function has begun its body. Returns at once if one had before, whether or not it has ended.
///
/// # Panics
/// Where there is no test kit, or no such function. If it takes longer than 10 s by the real clock, or than `wait` of the
/// attribute or [`Kit::wait_within`] say: names the calls that have not begun.
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
/// bgtask::testing::started(serve).await;
/// task.cancel();
/// assert_eq!(task.await, Ok(()));
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn started<M>(function: impl BackgroundFunction<M>) -> Wait {
    let state = current("started()");
    Wait::new(state.started(Function::of(&function), Location::caller()))
}

/// How many calls of the function were made in this test, whatever has become of them: also those that have joined another
/// call or were skipped or replaced for one, and those that wait. Refused ones are none.
///
/// How many runs came of them is told by [`runs`].
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
/// assert_eq!(bgtask::testing::calls(refresh), 1); // at once, although it has not run yet
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn calls<M>(function: impl BackgroundFunction<M>) -> usize {
    let state = current("calls()");
    state.calls(Function::of(&function))
}

/// How many calls of the function have begun their body in this test. A call that is tried again is one run; further attempts
/// are in [`stats()`](crate::stats).
///
/// # Panics
/// Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background(coalesce)]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// // #[background(coalesce)]
/// refresh();
/// refresh(); // joins the first one
/// bgtask::testing::idle().await;
/// assert_eq!(bgtask::testing::calls(refresh), 2);
/// assert_eq!(bgtask::testing::runs(refresh), 1);
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn runs<M>(function: impl BackgroundFunction<M>) -> usize {
    let state = current("runs()");
    state.runs(Function::of(&function))
}

/// Asserts that so many [`calls`] of the function were made in this test.
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
/// bgtask::testing::assert_called(refresh, 1);
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn assert_called<M>(function: impl BackgroundFunction<M>, times: usize) {
    let state = current("assert_called()");
    state.assert_called(Function::of(&function), times);
}

/// Asserts that no call of the function was made in this test.
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
/// bgtask::testing::assert_not_called(refresh);
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn assert_not_called<M>(function: impl BackgroundFunction<M>) {
    let state = current("assert_not_called()");
    state.assert_called(Function::of(&function), 0);
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
/// bgtask::testing::expect_panic(refresh);
/// refresh();
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn expect_panic<M>(function: impl BackgroundFunction<M>) {
    let state = current("expect_panic()");
    state.expect(Kind::Panic, Function::of(&function));
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
/// bgtask::testing::expect_error(refresh);
/// refresh();
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn expect_error<M>(function: impl BackgroundFunction<M>) {
    let state = current("expect_error()");
    state.expect(Kind::Error, Function::of(&function));
}

/// Declares that one call of the function runs out of its `timeout` in this test, before or after this line, whether or not
/// somebody looks at that. Say it twice for two.
///
/// The test fails if it does not happen.
///
/// # Panics
/// Where there is no test kit, or no such function.
///
/// ```standalone_crate
/// # #[bgtask::background(log = "off", timeout = "10ms")]
/// # async fn refresh() { std::future::pending().await }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::expect_timeout(refresh); // #[background(timeout = "10ms")]
/// refresh();
/// # bgtask::testing::idle().await;
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn expect_timeout<M>(function: impl BackgroundFunction<M>) {
    let state = current("expect_timeout()");
    state.expect(Kind::Timeout, Function::of(&function));
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

/// Has the calls made from now on run where they are made, so that their work is done when the call returns, in the order of
/// the code.
///
/// A plain function runs to its end. So does an `async` one with `flavor = "multi_thread"`, or called on a thread of its own.
/// On a runtime of one thread, which is what a test has if nothing else is said, waiting for it would hold up what it waits
/// for: there it runs to the first point at which it has to wait, or yields, and the rest follows when the test awaits
/// something. A body without such a point is done.
///
/// A plain function runs on the caller's thread: on a runtime of one thread it cannot `block_on`, which is then its own panic, and
/// its `timeout` does not fire while it runs. Calls that [`pause_dispatch`] holds back run where they are released.
///
/// # Panics
/// Where there is no test kit. The call does, if it has waited for its work longer than 10 s by the real clock, or than `wait`
/// of the attribute or [`Kit::wait_within`] say, as it would for work that waits for what comes after the call.
///
/// ```standalone_crate
/// # use std::sync::atomic::{AtomicU32, Ordering};
/// static SAVED: AtomicU32 = AtomicU32::new(0);
///
/// #[bgtask::background]
/// async fn save(page: u32) { SAVED.fetch_add(page, Ordering::Relaxed); }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let inline = bgtask::testing::inline();
/// save(7);
/// assert_eq!(SAVED.load(Ordering::Relaxed), 7);
/// drop(inline); // from here on calls run in the background again
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn inline() -> Inline {
    let state = current("inline()");
    state.inline();
    Inline { state }
}

/// Starts every function linked into the program that says `every`, `cron` or `on_start`, as `#[bgtask::main]` does by itself and
/// `#[bgtask::test(schedules)]` before the test's first line. In a test none is started otherwise.
///
/// A scheduled function is a function: to run it once, call it.
///
/// # Panics
/// Where there is no test kit.
///
/// ```standalone_crate
/// # use std::time::Duration;
/// # #[bgtask::background(every = "1m")]
/// # async fn purge_expired() {}
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::start_schedules();
/// tokio::time::sleep(Duration::from_secs(3630)).await; // with `start_paused`, no time at all
/// assert_eq!(bgtask::testing::runs(purge_expired), 60); // #[background(every = "1m")]
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn start_schedules() {
    schedule::start(&tracker("start_schedules()"));
}

/// Starts the schedule of one function, whatever others are linked into the program. A second time it does nothing.
///
/// # Panics
/// Where there is no test kit, or no such function, and if nothing starts it but its callers.
///
/// ```standalone_crate
/// # #[bgtask::background(every = "1m", immediately)]
/// # async fn purge_expired() {}
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::start_schedule(purge_expired);
/// bgtask::testing::started(purge_expired).await;
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn start_schedule<M>(function: impl BackgroundFunction<M>) {
    let tracker = tracker("start_schedule()");
    let function = Function::of(&function);
    let mut started = false;
    for handler in function.handlers() {
        started |= schedule::start_one(&tracker, handler);
    }
    assert!(
        started,
        "`{}` has no schedule: it says neither `every` nor `cron` nor `on_start`",
        function.name
    );
}

/// Sets the clock that `cron` goes by, and in which [`schedules()`](crate::schedules) says when what is due, for this test. From there it
/// moves with the clock of `tokio::time`: under paused time a day of ticks passes in no time.
///
/// Set it before the schedules are started. Set later, it is to them a clock that was put forward or back. A test that does not
/// set it has the machine's; what `tokio::time` is ahead of that is added.
///
/// Takes a [`SystemTime`], and what becomes one: a `DateTime` of chrono, a `Timestamp` of jiff. `SystemTime::now()` in your own code
/// stays what it is.
///
/// # Panics
/// Where there is no test kit.
///
/// ```standalone_crate
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # use std::time::{Duration, SystemTime};
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000); // 2030-01-01T00:00:00Z
/// bgtask::testing::set_now(new_year);
/// bgtask::testing::start_schedules();
/// # kit.finish().await;
/// # }
/// ```
#[track_caller]
pub fn set_now(time: impl Into<SystemTime>) {
    let shared = tracker("set_now()").shared.clone();
    // Whose clock counts, wherever this is called.
    let _entered = shared.runtime.enter();
    shared.policies.wall_clock.set(time.into());
}

/// Keeps a value until the drain at the end of the test is over, and drops it then. Of several, the one that came last goes first.
///
/// A test's own variables are dropped when its body ends, *before* the drain: the background work still runs while a guard that
/// keeps other tests away, a temporary folder or a server of the test's is gone. The values are dropped before the verdict, also
/// where the test has panicked. A plain function that the drain has given up may still run then.
///
/// For a value that the test goes on using, pass a clone of an [`Arc`]. A guard of `std::sync::Mutex` is not [`Send`] and is
/// refused; one of `tokio::sync::Mutex` is.
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
///     bgtask::testing::until_drained(PORT.lock().await); // `let _port = …` would be free before `serve` has ended
///     serve();
/// #   kit.finish().await;
/// }
/// # serves();
/// ```
///
/// # Panics
/// Where there is no test kit. A value that panics while it is dropped fails the test.
#[track_caller]
pub fn until_drained(value: impl Send + 'static) {
    let state = current("until_drained()");
    state.keep(Box::new(value));
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
    let tracker = tracker("shutdown()");
    async move {
        state.report_goes_to_the_test();
        state.resume_all();
        drain(&tracker, "the test asked").await
    }
}

/// Shuts down. The tokens fire on another thread, and paused time moves on as soon as this one has nothing to do: so that
/// neither a tick nor a timer comes first, it waits for them here.
async fn drain(tracker: &Arc<Tracker>, reason: &'static str) -> ShutdownReport {
    let mut report = pin!(shut_down(tracker, reason.into()));
    let begun = poll_fn(|cx| Poll::Ready(report.as_mut().poll(cx))).await;
    if let Poll::Ready(report) = begun {
        return report;
    }
    // A token shows that it has fired before it wakes anybody, so it is not enough to look at that.
    if let Some(request) = tracker.shared.shutdown.request() {
        tracker
            .shared
            .shutdown
            .wait_until(request.deadline, |progress| progress.tasks_notified);
    }
    report.await
}

/// What [`idle`] and [`started`] return, to be awaited.
#[must_use = "nothing is waited for until this is awaited"]
pub struct Wait(Judged<dyn Future<Output = Result<(), String>> + Send>);

impl Wait {
    fn new(work: impl Future<Output = Result<(), String>> + Send + 'static) -> Self {
        Self(Judged(Box::pin(work)))
    }
}

impl Future for Wait {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Panics with what the future says went wrong: at the line that awaits this, since that is what polls it.
struct Judged<F: ?Sized>(Pin<Box<F>>);

impl<F: Future<Output = Result<(), String>> + ?Sized> Future for Judged<F> {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.0.as_mut().poll(cx)) {
            Ok(()) => Poll::Ready(()),
            Err(says) => panic!("{says}"),
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// As long as it lives, calls run where they are made; see [`inline`].
#[must_use = "calls only run inline until this is dropped"]
#[derive(Debug)]
pub struct Inline {
    state: Arc<State>,
}

impl Drop for Inline {
    fn drop(&mut self) {
        self.state.end_inline();
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
    let dispatcher = context::shared_if_any(what).and_then(|shared| {
        let dispatcher = shared.hooks.dispatcher();
        dispatcher.cloned()
    });
    let state = dispatcher.and_then(|dispatcher| {
        let any: Arc<dyn Any + Send + Sync> = dispatcher;
        any.downcast().ok()
    });
    match state {
        Some(state) => state,
        None => panic!(
            "`{what}` was called where there is no test kit: put `#[bgtask::test]` on the test, or start it with \
             `let kit = bgtask::testing::Kit::install()?;` and ask before `kit.finish().await`"
        ),
    }
}

/// The manager of the test that `what` is called in.
#[track_caller]
fn tracker(what: &str) -> Arc<Tracker> {
    // For its words, where there is none.
    let _state = current(what);
    match context::current(what) {
        Ok(tracker) => tracker,
        Err(_) => panic!("`{what}` was called after the test kit had gone"),
    }
}
