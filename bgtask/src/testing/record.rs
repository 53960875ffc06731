//! The records of one test: its calls, their failures, the declared failures and the calls that are held back.
//! Written by the manager's hooks and read by the test. Must never know how tasks run.

use super::failure::FailureKind;
use super::function::{Function, last_segment};
#[cfg(feature = "durable")]
use super::stored::{DeadJob, StoredCall};
use crate::context;
use crate::handler::Handler;
use crate::observe::Coalesced;
use crate::observe::call_info::CallInfo;
use crate::observe::dispatch::{Launch, NotStarted};
use crate::observe::hooks::{FinishedTask, PanickedTask};
use crate::stats::{Outcome, TaskId, TaskInfo};
use crate::tracker::Tracker;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use crate::util::text::Message;
use crate::{RefusedReason, SourceLocation};
use std::any::Any;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The state of one kit.
pub(super) struct State {
    /// Weak, because the manager's hooks own this state.
    tracker: OnceLock<Weak<Tracker>>,
    records: Mutex<Records>,
    /// Notified of each change that a wait may depend on.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Records {
    /// In the order of the calls.
    pub(super) calls: Vec<CallRecord>,
    /// The position of each call in `calls`.
    index: HashMap<TaskId, usize>,
    pub(super) failures: Vec<Failure>,
    pub(super) expected: Vec<Expected>,
    pub(super) held: VecDeque<Held>,
    pub(super) pauses: usize,
    /// The number of guards that make calls run inline.
    pub(super) inlines: usize,
    /// How long a wait may take.
    pub(super) limit: Duration,
    /// Values that are dropped after the drain.
    pub(super) kept: Vec<Box<dyn Any + Send>>,
    /// Durable calls that were dropped without being awaited, as the verdict states them.
    #[cfg(feature = "durable")]
    pub(super) not_stored: Vec<String>,
    /// Durable calls that were stored.
    #[cfg(feature = "durable")]
    pub(super) stored: Vec<StoredCall>,
    /// Dead jobs whose outcomes were not awaited.
    #[cfg(feature = "durable")]
    pub(super) dead: Vec<DeadJob>,
    /// The test has received the report, which names the tasks that did not finish.
    pub(super) late_is_reported: bool,
}

/// A call and its state so far.
pub(super) struct CallRecord {
    pub(super) id: TaskId,
    pub(super) handler: &'static Handler,
    pub(super) called_at: &'static Location<'static>,
    pub(super) has_begun: bool,
    /// The holder of its handle has received the refusal.
    pub(super) refusal_is_seen: bool,
    pub(super) state: CallState,
}

#[derive(Clone, Copy)]
pub(super) enum CallState {
    Live,
    Ended(Outcome),
    NotStarted(NotStarted),
}

/// A call that is held back.
pub(super) struct Held {
    pub(super) id: TaskId,
    pub(super) name: &'static str,
    pub(super) called_at: &'static Location<'static>,
    pub(super) launch: Launch,
}

/// A declared failure.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) kind: FailureKind,
    pub(super) function: Function,
}

/// A failure that fails the test unless it is declared.
pub(super) struct Failure {
    pub(super) id: TaskId,
    name: &'static str,
    called_at: &'static Location<'static>,
    pub(super) kind: FailureKind,
    /// The kind of failure, with its message.
    what: String,
}

impl CallRecord {
    fn new(call: CallInfo, state: CallState) -> Self {
        Self {
            id: call.id,
            handler: call.handler,
            called_at: call.called_at,
            has_begun: false,
            refusal_is_seen: false,
            state,
        }
    }

    /// Returns why the call was refused, if its state was missing and its handle was not awaited. Other refusals fail no test: a
    /// policy, a closed group or the shutdown has requested them.
    pub(super) fn unseen_refusal(&self) -> Option<RefusedReason> {
        match self.state {
            CallState::NotStarted(NotStarted::Refused(reason @ RefusedReason::MissingState(_)))
                if !self.refusal_is_seen =>
            {
                Some(reason)
            }
            _ => None,
        }
    }

    /// Returns whether the call counts: refused calls do not.
    fn counts(&self) -> bool {
        !matches!(self.state, CallState::NotStarted(NotStarted::Refused(_)))
    }
}

impl fmt::Display for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} (id {}, ", self.called_at, self.id)?;
        match self.state {
            CallState::Ended(outcome) if self.has_begun => write!(f, "{outcome})"),
            CallState::Ended(outcome) => write!(f, "{outcome} before it began)"),
            CallState::NotStarted(NotStarted::Coalesced(Coalesced::Joined)) => {
                f.write_str("joined a run in flight)")
            }
            CallState::NotStarted(NotStarted::Coalesced(Coalesced::Skipped)) => {
                f.write_str("skipped because of a run in flight)")
            }
            CallState::NotStarted(NotStarted::Refused(reason)) => write!(f, "refused: {reason})"),
            CallState::Live if self.has_begun => f.write_str("running)"),
            CallState::Live => f.write_str("not begun)"),
        }
    }
}

impl Failure {
    fn panic(task: &PanickedTask<'_>) -> Self {
        let at = |location: &SourceLocation| format!(" at {location}");
        let at = task.location.map_or_else(String::new, at);
        Self {
            id: task.id,
            name: task.name,
            called_at: task.called_at,
            kind: FailureKind::Panic,
            what: format!("panicked{at}: {}", task.shown.indented()),
        }
    }

    /// Returns the failure of a call whose handle was not awaited. `is_held` is whether something still holds the handle.
    pub(super) fn unseen(
        call: CallInfo,
        outcome: Outcome,
        message: &Message,
        is_held: bool,
    ) -> Self {
        let held = if is_held {
            "; its handle is still held"
        } else {
            ""
        };
        let limit = call
            .handler
            .policies()
            .and_then(|policies| policies.timeout);
        let (kind, what) = match (outcome, limit) {
            (Outcome::TimedOut, Some(limit)) => (
                FailureKind::Timeout,
                format!("timed out after {limit:?} and was not awaited{held}"),
            ),
            _ => (
                FailureKind::Error,
                format!(
                    "returned an `Err` that was not awaited{held}: {}",
                    message.indented()
                ),
            ),
        };
        Self {
            id: call.id,
            name: call.handler.name(),
            called_at: call.called_at,
            kind,
            what,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            called_at,
            kind,
            what,
        } = self;
        let (cure, declaration) = match kind {
            FailureKind::Panic => ("", "expect_panic"),
            FailureKind::Error => ("await its handle, or ", "expect_error"),
            FailureKind::Timeout => ("await its handle, or ", "expect_timeout"),
        };
        write!(
            f,
            "`{name}` {what}\n      called at {called_at} (id {id}); if this is intended: {cure}call \
             `bgtask::testing::{declaration}(\"{}\")`",
            last_segment(name)
        )
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Records {
    pub(super) fn record(&mut self, call: CallInfo, state: CallState) {
        self.index.insert(call.id, self.calls.len());
        self.calls.push(CallRecord::new(call, state));
    }

    pub(super) fn handler(&self, id: TaskId) -> Option<&'static Handler> {
        self.index.get(&id).map(|&at| self.calls[at].handler)
    }

    /// Returns the calls of a function, including refused ones.
    fn calls_of(&self, function: Function) -> impl Iterator<Item = &CallRecord> {
        self.calls
            .iter()
            .filter(move |call| function.is(call.handler))
    }
}

impl State {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            tracker: OnceLock::new(),
            records: Mutex::new(Records {
                limit,
                ..Records::default()
            }),
            changed: Notify::new(),
        }
    }

    /// Returns the state of the test that calls `what`.
    #[track_caller]
    pub(super) fn current(what: &str) -> Arc<Self> {
        let dispatcher = context::shared_if_any(what).and_then(|shared| {
            let dispatcher = shared.hooks.dispatcher();
            dispatcher.cloned()
        });
        let state = dispatcher.and_then(|dispatcher| {
            let any: Arc<dyn Any + Send + Sync> = dispatcher;
            any.downcast().ok()
        });
        let Some(state) = state else {
            panic!(
                "`{what}` was called where there is no test kit: put `#[bgtask::test]` on the test, or start it with \
                 `let kit = bgtask::testing::Kit::install()?;` and call `{what}` before `kit.finish().await`"
            );
        };
        state
    }

    /// Returns the tracker of the test that calls `what`.
    #[track_caller]
    pub(super) fn current_tracker(what: &str) -> Arc<Tracker> {
        // Panics with its own message if there is no test kit.
        let _state = Self::current(what);
        match context::current(what) {
            Ok(tracker) => tracker,
            Err(_) => panic!("`{what}` was called after the test kit was dropped"),
        }
    }

    /// Held for a few reads or writes. No user code runs under it.
    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock()
    }

    pub(super) fn set_tracker(&self, tracker: &Arc<Tracker>) {
        // Set once, before the first call.
        let _ = self.tracker.set(Arc::downgrade(tracker));
    }

    pub(super) fn tracker(&self) -> Option<Arc<Tracker>> {
        self.tracker.get().and_then(Weak::upgrade)
    }

    /// Returns the tasks that the tracker has not retired.
    pub(super) fn live_tasks(&self) -> Vec<TaskInfo> {
        let tasks = self.tracker().map(|tracker| tracker.live_tasks());
        tasks.unwrap_or_default()
    }

    /// Describes the jobs of the test's store that are still to run.
    pub(super) fn unfinished_jobs(&self) -> Vec<String> {
        #[cfg(feature = "durable")]
        if let Some(tracker) = self.tracker()
            && let Some(store) = tracker.shared.attached.get()
        {
            return store.unfinished();
        }
        Vec::new()
    }

    pub(super) fn live_ids(&self) -> BTreeSet<TaskId> {
        self.live_tasks().iter().map(|task| task.id).collect()
    }

    pub(super) fn record_panic(&self, task: &PanickedTask<'_>) {
        self.records().failures.push(Failure::panic(task));
    }

    pub(super) fn record_end(&self, task: &FinishedTask<'_>) {
        self.update(task.id, |call| call.state = CallState::Ended(task.outcome));
    }

    pub(super) fn update(&self, id: TaskId, update: impl FnOnce(&mut CallRecord)) {
        let mut records = self.records();
        if let Some(&at) = records.index.get(&id) {
            update(&mut records.calls[at]);
        }
        drop(records);
        self.changed.notify_waiters();
    }

    pub(super) fn calls(&self, function: Function) -> usize {
        self.count(function, CallRecord::counts)
    }

    pub(super) fn runs(&self, function: Function) -> usize {
        self.count(function, |call| call.has_begun)
    }

    fn count(&self, function: Function, counts: impl Fn(&CallRecord) -> bool) -> usize {
        let records = self.records();
        let calls = records.calls_of(function);
        calls.filter(|call| counts(call)).count()
    }

    /// Returns the calls of a function, one per line.
    pub(super) fn list(&self, function: Function) -> String {
        let records = self.records();
        let calls = records.calls_of(function);
        calls.map(|call| format!("\n  {call}")).collect()
    }
}
