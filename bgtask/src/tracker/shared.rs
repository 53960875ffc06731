//! The state that all code of one manager shares: the gate, the counts beside the shards, the hooks, the policies, the runtime.
//! Owns whether the manager is installed, and who waits in `idle()`; knows nothing of the shards, or of how a shutdown proceeds.

use crate::fields::Fields;
use crate::observe::Stage;
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{HookList, Hooks};
use crate::policy::Registry;
use crate::report::ShutdownReport;
use crate::task::attempt::Wrappers;
use crate::task::live_fields::LiveFields;
use crate::tracker::gate::Gate;
use crate::tracker::main_polls::MainPolls;
use crate::tracker::shutdown_state::{Phase, ShutdownState};
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::SideThread;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(feature = "dashboard")]
use std::sync::OnceLock;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

/// Handles the end of a runtime.
pub(crate) type RuntimeEnded = fn(&Shared);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gate: Gate,
    pub(crate) shutdown: ShutdownState,
    /// The number of live calls that the drain does not wait for, because they wait for the drain.
    pub(crate) not_awaited: AtomicU64,
    pub(crate) runtime: Handle,
    pub(crate) runtime_id: Id,
    pub(crate) hooks: HookList,
    /// The state of functions with policies.
    pub(crate) policies: Registry,
    /// The code around each attempt.
    pub(crate) wrappers: Wrappers,
    /// The fields of live calls that have some.
    pub(crate) fields: Arc<LiveFields>,
    /// The manager belongs to `#[bgtask::main]`, and so to the process.
    pub(crate) is_process_default: bool,
    /// The polls of `main` under `#[bgtask::main]`.
    pub(crate) main_polls: MainPolls,
    uninstalled: AtomicBool,
    /// Handles the end of the runtime, for a manager that a call has installed.
    fallback: Mutex<Option<RuntimeEnded>>,
    /// See [`dismiss_once`](Self::dismiss_once). The standard library's, in a model too: no model has a runtime that ends.
    dismissed: Once,
    /// How many times a task or a group was cancelled on its own. As long as it is zero, no token checks for that.
    pub(crate) cancelled_alone: AtomicUsize,
    /// The number of callers that wait in `idle()`, and what notifies them.
    idle_watchers: Mutex<usize>,
    pub(crate) idle: Notify,
    /// The data of the dashboard, if there is one.
    #[cfg(feature = "dashboard")]
    pub(crate) board: OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    /// The store of durable jobs, if there is one.
    #[cfg(feature = "durable")]
    pub(crate) attached: super::attached::AttachedStore,
}

impl Shared {
    pub(crate) fn new(
        runtime: Handle,
        grace: Duration,
        hooks: Hooks,
        is_process_default: bool,
    ) -> Self {
        Self {
            gate: Gate::default(),
            shutdown: ShutdownState::new(grace),
            not_awaited: AtomicU64::new(0),
            runtime_id: runtime.id(),
            runtime,
            hooks: HookList::new(hooks),
            policies: Registry::new(),
            wrappers: Wrappers::default(),
            fields: Arc::default(),
            is_process_default,
            main_polls: MainPolls::default(),
            uninstalled: AtomicBool::new(false),
            fallback: Mutex::default(),
            dismissed: Once::new(),
            cancelled_alone: AtomicUsize::new(0),
            idle_watchers: Mutex::default(),
            idle: Notify::new(),
            #[cfg(feature = "dashboard")]
            board: OnceLock::new(),
            #[cfg(feature = "durable")]
            attached: super::attached::AttachedStore::default(),
        }
    }

    /// Returns the fields of a live call, or no fields if its function names none.
    pub(crate) fn fields_of(&self, call: &CallInfo) -> Fields {
        match call.handler.fields() {
            None => Fields::default(),
            Some(_) => self.fields.get(call.id),
        }
    }

    /// Fires the tokens of all phases up to the current one.
    pub(crate) fn fire(self: &Arc<Self>, side_thread: &mut SideThread) {
        let phase = self.shutdown.phase();
        let stage = match phase {
            Phase::Running => None,
            Phase::Stopping => Some(Stage::Stopping),
            Phase::Draining | Phase::Expired => Some(Stage::Draining),
            Phase::Over => Some(Stage::Over),
        };
        if let Some(stage) = stage
            && self.hooks.observers.any()
        {
            // Notifies the observers first, because a task that a token wakes may read the metrics. On the side thread, because a
            // metrics recorder may be stuck and must not hold up the shutdown.
            let shared = Arc::clone(self);
            side_thread.run(move || {
                let observers = &shared.hooks.observers;
                observers.notify(|observer| observer.shutdown(stage));
            });
        }
        self.shutdown.fire_tokens(phase);
    }

    /// Publishes the report: the shutdown is over.
    pub(crate) fn conclude(self: &Arc<Self>, report: ShutdownReport, side_thread: &mut SideThread) {
        self.shutdown.conclude(report);
        self.fire(side_thread);
    }

    /// Returns whether this is still the manager of its runtime.
    pub(crate) fn is_installed(&self) -> bool {
        // Acquire: pairs with the release in `set_uninstalled`. A thread that drops a manager and then calls finds it gone.
        !self.uninstalled.load(Ordering::Acquire)
    }

    pub(crate) fn set_uninstalled(&self) {
        // Release: pairs with the acquire in `is_installed`.
        self.uninstalled.store(true, Ordering::Release);
    }

    pub(crate) fn set_fallback(&self, ended: Option<RuntimeEnded>) {
        *self.fallback.lock() = ended;
    }

    /// Returns whether a call installed this manager and no `Manager` has taken it over.
    pub(crate) fn is_fallback(&self) -> bool {
        self.fallback.lock().is_some()
    }

    /// Handles the end of the runtime. Called when the runtime drops a task that has not ended.
    #[cold]
    pub(crate) fn runtime_ends(&self) {
        let ended = *self.fallback.lock();
        if let Some(ended) = ended {
            ended(self);
        }
    }

    /// Calls `begin` unless it was called before. Of two callers, one calls it and both return after it.
    ///
    /// `begin` must run no user code, because the other caller waits for it.
    pub(crate) fn dismiss_once(&self, begin: impl FnOnce()) {
        self.dismissed.call_once(begin);
    }

    /// Adds a caller that waits in `idle()`, or removes one.
    pub(crate) fn watch_idle(&self, waits: bool) {
        let mut watchers = self.idle_watchers.lock();
        *watchers = if waits { *watchers + 1 } else { *watchers - 1 };
        // Still under the lock, so that of two concurrent changes the gate keeps the later one.
        self.gate.watch(*watchers > 0);
    }

    /// Wakes the callers that wait in `idle()`, which then check again.
    pub(crate) fn notify_idle(&self) {
        // Wakers may run user code.
        catch_and_ignore(|| self.idle.notify_waiters());
    }
}
