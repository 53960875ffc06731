//! The user's callbacks: `on_panic`, `on_error`, `on_finish`; beside them the observers and the dispatcher of the manager.
//! Owns the lists and catches the panics of the hooks; must never know how tasks run.

use crate::error::SourceLocation;
use crate::fields::Fields;
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::observe::dispatch::{Dispatcher, NotStarted};
use crate::observe::{Ended, Observer, Observers};
use crate::stats::{Outcome, TaskId};
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::sync::unmodelled::RwLock;
use crate::util::text::{Excerpt, Message};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A task that panicked, as an [`on_panic`](crate::ManagerBuilder::on_panic) hook receives it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PanickedTask<'a> {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The call site.
    pub called_at: &'static Location<'static>,
    /// The panic's message, complete and not escaped. If the payload was not a string, a note states that. With `retry`, the number
    /// of attempts follows, such as `(after 3 attempts)`.
    pub message: &'a str,
    /// The message as bgtask displays it.
    pub(crate) shown: &'a Message,
    /// The location of the panic, if it is known.
    pub location: Option<&'a SourceLocation>,
    /// The values that the option `fields` names.
    pub fields: &'a Fields,
}

/// A task that returned an `Err`, as an [`on_error`](crate::ManagerBuilder::on_error) hook receives it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FailedTask<'a> {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The call site.
    pub called_at: &'static Location<'static>,
    /// The text of the error and its sources, complete and not escaped.
    pub error: &'a str,
    /// The text as bgtask displays it.
    #[cfg_attr(
        not(feature = "dashboard"),
        allow(dead_code, reason = "only the dashboard reads it here")
    )]
    pub(crate) shown: &'a Message,
    /// The values that the option `fields` names.
    pub fields: &'a Fields,
}

/// A task that ended, as an [`on_finish`](crate::ManagerBuilder::on_finish) hook receives it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FinishedTask<'a> {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The call site.
    pub called_at: &'static Location<'static>,
    /// How it ended.
    pub outcome: Outcome,
    /// Time from the call to the end.
    pub age: Duration,
    /// The values that the option `fields` names.
    pub fields: &'a Fields,
}

type OnPanic = Arc<dyn Fn(&PanickedTask<'_>) + Send + Sync>;
type OnError = Arc<dyn Fn(&FailedTask<'_>) + Send + Sync>;
type OnFinish = Arc<dyn Fn(&FinishedTask<'_>) + Send + Sync>;

/// The user's callbacks.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) on_panic: Vec<OnPanic>,
    pub(crate) on_error: Vec<OnError>,
    pub(crate) on_finish: Vec<OnFinish>,
}

impl Hooks {
    /// Adds the hooks of `more`.
    pub(crate) fn append(&mut self, mut more: Self) {
        self.on_panic.append(&mut more.on_panic);
        self.on_error.append(&mut more.on_error);
        self.on_finish.append(&mut more.on_finish);
    }
}

/// The hooks and observers of one manager. Hooks and observers may be added while tasks run.
#[derive(Default)]
pub(crate) struct HookList {
    hooks: RwLock<Hooks>,
    /// Saves every ending task the lock while there is neither an `on_finish` hook nor an observer.
    any_at_the_end: AtomicBool,
    /// Added to only by [`observe`](Self::observe).
    pub(crate) observers: Observers,
    /// Set before the manager's first call, or never. A pooled runner does not check it: with a dispatcher there is none.
    dispatcher: OnceLock<Arc<dyn Dispatcher>>,
}

impl fmt::Debug for HookList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookList").finish_non_exhaustive()
    }
}

impl HookList {
    pub(crate) fn new(hooks: Hooks) -> Self {
        let list = Self::default();
        list.change(|all| *all = hooks);
        list
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Hooks)) {
        let mut hooks = self.hooks.write();
        change(&mut hooks);
        self.update_any_at_the_end(&hooks);
    }

    /// Adds an observer.
    #[cfg_attr(not(any(feature = "metrics", feature = "dashboard")), allow(dead_code))]
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        self.observers.add(observer);
        // Under the lock, so that of two concurrent additions neither overwrites the other's flag.
        let hooks = self.hooks.write();
        self.update_any_at_the_end(&hooks);
    }

    fn update_any_at_the_end(&self, hooks: &Hooks) {
        let any = !hooks.on_finish.is_empty() || self.observers.any();
        // Relaxed: the flag publishes nothing. The hooks are read under the lock, and the observers synchronise themselves. A
        // task that ends concurrently may miss the new hook.
        self.any_at_the_end.store(any, Ordering::Relaxed);
    }

    pub(crate) fn panicked(&self, task: &PanickedTask<'_>) {
        for hook in self.copy(|hooks| &hooks.on_panic) {
            call("on_panic", task.name, || hook(task));
        }
    }

    pub(crate) fn failed(&self, task: &FailedTask<'_>) {
        for hook in self.copy(|hooks| &hooks.on_error) {
            call("on_error", task.name, || hook(task));
        }
    }

    pub(crate) fn set_dispatcher(&self, dispatcher: Arc<dyn Dispatcher>) {
        // A manager has at most one test kit, which installs it.
        let _ = self.dispatcher.set(dispatcher);
    }

    pub(crate) fn dispatcher(&self) -> Option<&Arc<dyn Dispatcher>> {
        self.dispatcher.get()
    }

    /// Returns whether anything is notified of the ends of calls.
    #[inline]
    pub(crate) fn any_at_the_end(&self) -> bool {
        // Relaxed: see `update_any_at_the_end`.
        self.any_at_the_end.load(Ordering::Relaxed)
    }

    /// Notifies the dispatcher and the observers of a call that has no run of its own.
    #[cold]
    pub(crate) fn makes_no_run(
        &self,
        handler: &'static Handler,
        id: TaskId,
        called_at: &'static Location<'static>,
        why: NotStarted,
    ) {
        if let Some(dispatcher) = self.dispatcher() {
            // Created only here, because it reads the clock.
            dispatcher.makes_no_run(CallInfo::new(id, handler, called_at), why);
        }
        self.observers.notify(|observer| match why {
            NotStarted::Coalesced(how) => observer.coalesced(handler, how),
            NotStarted::Refused(reason) => observer.refused(handler, reason),
        });
    }

    /// Notifies the hooks and the observers of the end of a call.
    pub(crate) fn ended(&self, end: &Ended) {
        self.call_on_finish(end);
        self.observers.notify_end(end);
    }

    /// Notifies of the ends of calls that the deadline has retired. The observers come first, because a hook may get stuck.
    pub(crate) fn all_ended(&self, ends: &mut [Ended]) {
        if self.observers.any() {
            self.observers.notify_all_ended(ends);
        }
        if !self.copy(|hooks| &hooks.on_finish).is_empty() {
            // In the order of the calls.
            ends.sort_unstable_by_key(|end| end.call.id);
            ends.iter().for_each(|end| self.call_on_finish(end));
        }
    }

    fn call_on_finish(&self, end: &Ended) {
        // To a user, an abandoned task has not ended.
        if end.outcome != Outcome::Abandoned {
            let task = FinishedTask {
                id: end.call.id,
                name: end.call.handler.name(),
                called_at: end.call.called_at,
                outcome: end.outcome,
                age: end.age,
                fields: &end.fields,
            };
            for hook in self.copy(|hooks| &hooks.on_finish) {
                call("on_finish", task.name, || hook(&task));
            }
        }
    }

    /// Copies a list, so that no lock is held while a hook runs: a hook may add another one.
    fn copy<T: Clone>(&self, list: impl FnOnce(&Hooks) -> &Vec<T>) -> Vec<T> {
        list(&self.hooks.read()).clone()
    }
}

/// Calls a hook, and reports its panic.
fn call(hook: &'static str, name: &'static str, call: impl FnOnce()) {
    if let Err(caught) = catch(call) {
        report!(error, "hook panicked"; hook = hook, name = name, panic = Excerpt(&caught.message));
    }
}
