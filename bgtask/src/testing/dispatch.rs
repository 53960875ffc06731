//! How a test's calls are started: immediately, held back until the test releases them, or inline.
//! Owns the guards of `pause_dispatch()` and `inline()`, and records each call.

use super::inline::run;
use super::record::{CallState, Failure, Held, State};
use crate::observe::call_info::CallInfo;
use crate::observe::dispatch::{Dispatcher, Launch, NotStarted};
use crate::stats::{Outcome, TaskId};
use crate::util::log::to_stderr;
use crate::util::panic::catch_and_ignore;
use crate::util::text::Message;
use std::sync::Arc;
use std::thread;

/// Holds back the calls made from now on: they are accepted and counted, and do not run until they are released.
///
/// The end of the test and [`shutdown`](super::shutdown) release them.
///
/// # Examples
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
/// drop(paused); // releases the rest, and later calls run immediately again
/// assert_eq!(second.await, Ok(()));
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit.
#[track_caller]
pub fn pause_dispatch() -> PausedDispatch {
    let state = State::current("pause_dispatch()");
    state.records().pauses += 1;
    PausedDispatch { state }
}

/// Runs the calls made from now on inline, in the order of the code, so that their work is done when the call returns.
///
/// A plain function runs to its end. So does an `async` function with `flavor = "multi_thread"`, or if it is called on a plain
/// thread. On a runtime of one thread, which is the default of a test, waiting for the function would block what it waits for.
/// There it runs to the first point at which it waits or yields, and the rest follows when the test awaits something. A body
/// without such a point runs to its end.
///
/// A plain function runs on the caller's thread. On a runtime of one thread it panics if it calls `block_on`, and its `timeout`
/// does not fire while it runs. Calls that [`pause_dispatch`] holds back run where they are released.
///
/// # Examples
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
/// drop(inline); // later calls run in the background again
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit. A call panics if its work takes longer than 10 s by the real clock, or than the `wait` of the
/// attribute or of [`Kit::wait_within`](super::Kit::wait_within): for example, work that waits for something that happens only
/// after the call.
#[track_caller]
pub fn inline() -> Inline {
    let state = State::current("inline()");
    state.records().inlines += 1;
    Inline { state }
}

/// A guard of [`inline`]: calls run inline while it lives.
#[must_use = "calls only run inline until this is dropped"]
#[derive(Debug)]
pub struct Inline {
    state: Arc<State>,
}

impl Drop for Inline {
    fn drop(&mut self) {
        self.state.records().inlines -= 1;
    }
}

/// A guard of [`pause_dispatch`]: calls are held back while it lives. Dropping the last such guard releases them.
#[must_use = "calls are only held back until this is dropped"]
#[derive(Debug)]
pub struct PausedDispatch {
    state: Arc<State>,
}

impl PausedDispatch {
    /// Returns the names of the functions whose calls are held back, in the order of the calls.
    #[must_use]
    pub fn waiting(&self) -> Vec<&'static str> {
        let live = self.state.live_ids();
        let records = self.state.records();
        let waiting = records.held.iter().filter(|held| live.contains(&held.id));
        waiting.map(|held| held.name).collect()
    }

    /// Releases the oldest call that is held back. Returns the name of its function, or `None` if no call is held back.
    pub fn release_next(&self) -> Option<&'static str> {
        loop {
            let held = self.state.records().held.pop_front()?;
            let is_waiting = self.state.live_ids().contains(&held.id);
            let name = held.name;
            self.state.run(held);
            // A call that was aborted meanwhile has nothing left to run.
            if is_waiting {
                return Some(name);
            }
        }
    }

    /// Releases all calls that are held back, and returns how many they were. Later calls are held back again.
    pub fn release_all(&self) -> usize {
        // At most as many as there are now, because a released call may make others.
        let waiting = self.waiting().len();
        (0..waiting).map_while(|_| self.release_next()).count()
    }
}

impl Drop for PausedDispatch {
    fn drop(&mut self) {
        let mut records = self.state.records();
        // The end of the test may have set it to zero before.
        records.pauses = records.pauses.saturating_sub(1);
        let is_last = records.pauses == 0;
        drop(records);
        if is_last {
            self.state.resume_all();
        }
    }
}

impl State {
    /// Ends every pause and releases all calls. Calls that the released ones make are not held back.
    pub(super) fn resume_all(&self) {
        self.records().pauses = 0;
        while let Some(held) = { self.records().held.pop_front() } {
            self.run(held);
        }
    }

    /// Drops the calls that are held back.
    pub(super) fn abort_held(&self) {
        // After the lock: a call drops its arguments, which may run user code.
        let held = std::mem::take(&mut self.records().held);
        for Held { launch, .. } in held {
            catch_and_ignore(|| drop(launch));
        }
    }

    /// Runs a call inline or in the background.
    fn run(&self, held: Held) {
        let Held {
            name,
            called_at,
            launch,
            ..
        } = held;
        let (is_inline, limit) = {
            let records = self.records();
            (records.inlines > 0, records.limit)
        };
        if !is_inline {
            launch.run();
            return;
        }
        let message = move || {
            format!(
                "`{name}`, called at {called_at}, runs inline and has not ended within {limit:?}. It may wait for something \
                 that happens only after the call; under the guard of `testing::inline()`, nothing does until the call has ended"
            )
        };
        if run(launch, limit, message).is_err() {
            if thread::panicking() {
                to_stderr(format_args!("{}", message()));
            } else {
                panic!("{}", message());
            }
        }
    }
}

impl Dispatcher for State {
    fn dispatch(&self, call: CallInfo, launch: Launch) {
        let held = Held {
            id: call.id,
            name: call.handler.name(),
            called_at: call.called_at,
            launch,
        };
        let mut records = self.records();
        records.record(call, CallState::Live);
        if records.pauses > 0 {
            records.held.push_back(held);
            drop(records);
        } else {
            drop(records);
            self.run(held);
        }
        self.changed.notify_waiters();
    }

    fn makes_no_run(&self, call: CallInfo, why: NotStarted) {
        self.records().record(call, CallState::NotStarted(why));
    }

    fn begun(&self, id: TaskId) {
        self.update(id, |call| call.has_begun = true);
    }

    fn unseen(&self, call: CallInfo, outcome: Outcome, message: &Message) {
        let failure = Failure::unseen(call, outcome, message, false);
        self.records().failures.push(failure);
    }

    fn refusal_seen(&self, id: TaskId) {
        self.update(id, |call| call.refusal_is_seen = true);
    }

    fn is_inline(&self) -> bool {
        self.records().inlines > 0
    }

    #[cfg(feature = "durable")]
    fn not_stored(
        &self,
        handler: &'static crate::handler::Handler,
        called_at: &'static std::panic::Location<'static>,
    ) {
        let line = format!(
            "`{}` was called and not awaited, so nothing was stored: add `.await`\n      called at {called_at}",
            handler.name()
        );
        self.records().not_stored.push(line);
    }

    #[cfg(feature = "durable")]
    fn stored(
        &self,
        handler: &'static crate::handler::Handler,
        called_at: &'static std::panic::Location<'static>,
        arguments: &str,
    ) {
        self.record_stored(handler, called_at, arguments);
    }

    #[cfg(feature = "durable")]
    fn jobs_changed(&self) {
        self.changed.notify_waiters();
    }

    #[cfg(feature = "durable")]
    fn dead(&self, handler: &'static crate::handler::Handler, outcome: Outcome, message: &str) {
        self.record_dead(handler, outcome, message);
    }
}
