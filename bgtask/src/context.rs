//! Who am I: the manager and the task that the code running on this thread belongs to.
//! Owns the thread-locals and the list of installed managers; knows nothing of what a manager does.

use crate::error::InstallError;
use crate::ledger::Key;
use crate::shared::{Shared, same};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use tokio::runtime::{Handle, Id};

thread_local! {
    /// Set while a task is polled, while a blocking task runs, and between `enter` and the end of its guard.
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
    /// The manager of the runtime this thread was last found in, with that runtime's id: checked against the current
    /// runtime before each use, so a thread that moves on to another runtime never finds the old manager.
    static FOUND: RefCell<Option<(Id, Weak<Shared>)>> = const { RefCell::new(None) };
}

/// Whose code this thread runs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) task: Option<CurrentTask>,
}

/// The task whose code this thread runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentTask {
    pub(crate) key: Key,
    /// `on_shutdown = "finish"`: its token does not fire with the drain.
    pub(crate) finishes: bool,
    /// On a worker of the runtime, where blocking the thread is wrong.
    pub(crate) is_async: bool,
}

/// Swaps `context` with what this thread has; the same call again puts both back. On a thread that is being torn down it
/// changes nothing.
pub(crate) fn swap(context: &mut Option<Context>) {
    let _ = CURRENT.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), context));
}

/// The task whose code this thread runs, if it is one of `shared`'s.
pub(crate) fn current_task_of(shared: &Arc<Shared>) -> Option<CurrentTask> {
    with(|context| context.task.filter(|_| same(&context.shared, shared))).flatten()
}

/// Whose code this thread runs, where that was set.
pub(crate) fn with<R>(read: impl FnOnce(&Context) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.try_borrow().ok()?.as_ref().map(read))
        .ok()
        .flatten()
}

/// The manager that work called from here belongs to, for `what`.
///
/// # Panics
/// Where there is none to be found: says what to do.
#[track_caller]
pub(crate) fn current(what: &str) -> Arc<Shared> {
    match manager() {
        Ok(shared) => shared,
        Err(NotFound::None) => panic!(
            "`{what}` was called where there is no bgtask manager: put `#[bgtask::main]` on `main`, or install a \
             `bgtask::Manager` on the runtime first"
        ),
        Err(NotFound::Ambiguous) => panic!(
            "`{what}` was called on a thread that belongs to no runtime, and there are several bgtask managers: say \
             which one with `let _entered = manager.enter();`"
        ),
    }
}

/// Why no manager was found.
#[derive(Clone, Copy, Debug)]
enum NotFound {
    /// None is installed anywhere.
    None,
    /// Several are, and nothing says which is meant.
    Ambiguous,
}

/// That of the task or the `enter` guard, else that of the runtime, else, on a thread that belongs to neither, the only one
/// there is.
fn manager() -> Result<Arc<Shared>, NotFound> {
    if let Some(shared) = with(|context| context.shared.clone()) {
        return Ok(shared);
    }
    if let Ok(runtime) = Handle::try_current() {
        let id = runtime.id();
        if let Some(shared) = found_before(id) {
            return Ok(shared);
        }
        let shared = managers().by_runtime.get(&id).and_then(Weak::upgrade);
        if let Some(shared) = shared {
            let _ = FOUND.try_with(|found| {
                found.replace(Some((id, Arc::downgrade(&shared))));
            });
            return Ok(shared);
        }
    }
    let managers = managers();
    let mut live = managers.by_runtime.values().filter_map(Weak::upgrade);
    match (live.next(), live.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(NotFound::None),
        (Some(_), Some(_)) => Err(NotFound::Ambiguous),
    }
}

fn found_before(id: Id) -> Option<Arc<Shared>> {
    FOUND
        .try_with(|found| match &*found.borrow() {
            Some((of, shared)) if *of == id => shared.upgrade(),
            _ => None,
        })
        .ok()
        .flatten()
}

#[derive(Default)]
struct Managers {
    by_runtime: HashMap<Id, Weak<Shared>>,
}

/// The one process-wide thing: which runtime has which manager. Weak, so that it keeps none of them alive.
fn managers() -> MutexGuard<'static, Managers> {
    static MANAGERS: OnceLock<Mutex<Managers>> = OnceLock::new();
    MANAGERS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Makes `shared` the manager of its runtime.
pub(crate) fn register(shared: &Arc<Shared>) -> Result<(), InstallError> {
    let mut managers = managers();
    managers
        .by_runtime
        .retain(|_, manager| manager.strong_count() > 0);
    let id = shared.runtime.id();
    if managers.by_runtime.contains_key(&id) {
        return Err(InstallError::AlreadyInstalled);
    }
    managers.by_runtime.insert(id, Arc::downgrade(shared));
    Ok(())
}

/// Ends what [`register`] began: the runtime may have another manager.
pub(crate) fn unregister(shared: &Arc<Shared>) {
    managers().by_runtime.remove(&shared.runtime.id());
}
