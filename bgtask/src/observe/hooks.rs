//! What a user asked to be told of: `on_panic`, `on_error`, `on_finish`; who else is, and what the test kit alone asks for.
//! Owns the lists and contains the panics of what is on them; knows nothing of how tasks run.

use crate::error::{RefusedReason, SourceLocation};
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::observe::{Coalesced, Ended, Observer, Observers};
use crate::stats::{Outcome, TaskId};
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::spawn;
use crate::util::text::Excerpt;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;

/// A task that panicked, as an [`on_panic`](crate::ManagerBuilder::on_panic) hook sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PanickedTask<'a> {
    /// Its identity.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The line that called it.
    pub called_at: &'static Location<'static>,
    /// The panic's message, complete and not escaped. If the payload was not a string, a note says so. With `retry`, the number
    /// of attempts follows, such as `(after 3 attempts)`.
    pub message: &'a str,
    /// Where it panicked, if that is known.
    pub location: Option<&'a SourceLocation>,
}

/// A task that returned an `Err`, as an [`on_error`](crate::ManagerBuilder::on_error) hook sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FailedTask<'a> {
    /// Its identity.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The line that called it.
    pub called_at: &'static Location<'static>,
    /// The text of the error and its sources, complete and not escaped.
    pub error: &'a str,
}

/// A task that ended, as an [`on_finish`](crate::ManagerBuilder::on_finish) hook sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FinishedTask {
    /// Its identity.
    pub id: TaskId,
    /// The name of its function.
    pub name: &'static str,
    /// The line that called it.
    pub called_at: &'static Location<'static>,
    /// How it ended.
    pub outcome: Outcome,
    /// Time from the call to the end.
    pub age: Duration,
}

pub(crate) type OnPanic = Arc<dyn Fn(&PanickedTask<'_>) + Send + Sync>;
pub(crate) type OnError = Arc<dyn Fn(&FailedTask<'_>) + Send + Sync>;
pub(crate) type OnFinish = Arc<dyn Fn(&FinishedTask) + Send + Sync>;

/// One accepted call that is still to be run. Dropped instead, it aborts the call.
pub(crate) struct Launch {
    pub(crate) runtime: Handle,
    pub(crate) name: &'static str,
    pub(crate) work: LaunchWork,
}

pub(crate) enum LaunchWork {
    Async(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// With what becomes of the call where there is no thread for it.
    Blocking(Box<dyn FnOnce() + Send>, LacksThread),
}

pub(crate) type LacksThread = Box<dyn FnOnce(&io::Error) + Send>;

impl Launch {
    /// Hands it to the runtime.
    pub(crate) fn run(self) {
        match self.work {
            LaunchWork::Async(call) => spawn::spawn(&self.runtime, self.name, call),
            LaunchWork::Blocking(call, lacks_thread) => {
                let spawned = spawn::spawn_blocking(&self.runtime, self.name, call);
                if let Err(error) = spawned {
                    lacks_thread(&error);
                }
            }
        }
    }
}

/// Why a call makes no run of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotStarted {
    /// One in flight does its work.
    Coalesced(Coalesced),
    Refused(RefusedReason),
}

/// The test kit, where there is one: it decides when each call is run, and is told what nobody else has to know.
pub(crate) trait Dispatcher: Any + Send + Sync {
    /// A call was accepted. It is queued until `launch` is run.
    fn dispatch(&self, call: CallInfo, launch: Launch);
    /// A call was made, and nothing of its own comes of it.
    fn makes_no_run(&self, call: CallInfo, why: NotStarted);
    /// The first instruction of a call's body is about to run, also once more for a further attempt.
    fn begun(&self, id: TaskId);
    /// Nobody has looked at the end of a call: it returned an `Err` that says `message`, or ran out of time.
    fn unseen(&self, call: CallInfo, outcome: Outcome, message: &str);
    /// The holder of the handle of a call that lacks a state has received the refusal.
    fn refusal_seen(&self, id: TaskId);
    /// Whether what would run on the blocking pool is to run where it is asked for.
    fn is_inline(&self) -> bool;
    /// A durable call was dropped without being awaited.
    #[cfg(feature = "durable")]
    fn not_stored(&self, handler: &'static Handler, called_at: &'static Location<'static>);
}

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

/// The hooks of one manager. They may be added while tasks run.
#[derive(Default)]
pub(crate) struct HookList {
    hooks: RwLock<Hooks>,
    /// Spares every ending task the lock as long as nobody asked to be told: no hook, and no observer.
    any_at_the_end: AtomicBool,
    /// Added to by [`observe`](Self::observe) alone.
    pub(crate) observers: Observers,
    /// Set before the manager's first call, or never. Calls that use a runner do not look at it: under a dispatcher none does.
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
        list.change(|own| *own = hooks);
        list
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Hooks)) {
        let mut hooks = self.hooks.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut hooks);
        self.note_whether_any(&hooks);
    }

    /// From now on `observer` is told what becomes of calls.
    #[cfg_attr(not(any(feature = "metrics", feature = "dashboard")), allow(dead_code))]
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        self.observers.add(observer);
        // Under the lock, so that of two that come at once neither overlooks the other.
        let hooks = self.hooks.write().unwrap_or_else(PoisonError::into_inner);
        self.note_whether_any(&hooks);
    }

    fn note_whether_any(&self, hooks: &Hooks) {
        let any = !hooks.on_finish.is_empty() || self.observers.any();
        // Relaxed: the lists themselves are read under the lock, or are their own; a task that ends at this very moment may
        // miss the hook.
        self.any_at_the_end.store(any, Ordering::Relaxed);
    }

    pub(crate) fn panicked(&self, task: &PanickedTask<'_>) {
        for hook in self.copy(|hooks| &hooks.on_panic) {
            contain("on_panic", task.name, || hook(task));
        }
    }

    pub(crate) fn failed(&self, task: &FailedTask<'_>) {
        for hook in self.copy(|hooks| &hooks.on_error) {
            contain("on_error", task.name, || hook(task));
        }
    }

    pub(crate) fn set_dispatcher(&self, dispatcher: Arc<dyn Dispatcher>) {
        // A manager has one test kit: it is installed with it.
        let _ = self.dispatcher.set(dispatcher);
    }

    pub(crate) fn dispatcher(&self) -> Option<&Arc<dyn Dispatcher>> {
        self.dispatcher.get()
    }

    /// Whether anybody is to be told of the ends of calls.
    #[inline]
    pub(crate) fn any_at_the_end(&self) -> bool {
        // Relaxed: see `note_whether_any`.
        self.any_at_the_end.load(Ordering::Relaxed)
    }

    /// Tells of a call of which nothing of its own comes.
    #[cold]
    pub(crate) fn makes_no_run(
        &self,
        handler: &'static Handler,
        id: TaskId,
        called_at: &'static Location<'static>,
        why: NotStarted,
    ) {
        if let Some(dispatcher) = self.dispatcher() {
            // Made here, since it looks at the clock.
            dispatcher.makes_no_run(CallInfo::new(id, handler, called_at), why);
        }
        self.observers.notify(|observer| match why {
            NotStarted::Coalesced(how) => observer.coalesced(handler, how),
            NotStarted::Refused(reason) => observer.refused(handler, reason),
        });
    }

    /// Tells the end of a call.
    pub(crate) fn ended(&self, end: &Ended) {
        self.call_on_finish(end);
        self.observers.notify_end(end);
    }

    /// Tells the ends of calls that the deadline has struck out. First the observers, so that a hook of the user's that is stuck
    /// keeps none from them.
    pub(crate) fn all_ended(&self, ends: &[Ended]) {
        ends.iter().for_each(|end| self.observers.notify_end(end));
        ends.iter().for_each(|end| self.call_on_finish(end));
    }

    fn call_on_finish(&self, end: &Ended) {
        // What is abandoned has not ended, as far as a user is concerned.
        if end.outcome != Outcome::Abandoned {
            let task = FinishedTask {
                id: end.call.id,
                name: end.call.handler.name(),
                called_at: end.call.called_at,
                outcome: end.outcome,
                age: end.age,
            };
            for hook in self.copy(|hooks| &hooks.on_finish) {
                contain("on_finish", task.name, || hook(&task));
            }
        }
    }

    /// A copy, so that no lock is held while a hook runs: it may add another one.
    fn copy<T: Clone>(&self, list: impl FnOnce(&Hooks) -> &Vec<T>) -> Vec<T> {
        let hooks = self.hooks.read().unwrap_or_else(PoisonError::into_inner);
        list(&hooks).clone()
    }
}

fn contain(hook: &'static str, name: &'static str, call: impl FnOnce()) {
    if let Err(caught) = catch(call) {
        report!(error, "a hook panicked"; hook = hook, name = name, panic = Excerpt(&caught.message));
    }
}
