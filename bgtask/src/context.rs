//! Who am I: the manager and the task that the code running on this thread belongs to.
//! Owns the thread-locals and the list of installed managers; knows nothing of what a manager does.

use crate::error::InstallError;
use crate::ledger::Key;
use crate::shared::{Shared, same};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use tokio::runtime::{Handle, Id};

thread_local! {
    /// Set while a task is polled, while a blocking task runs, and between `enter` and the end of its guard.
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
    /// The manager of the runtime this thread was last found in, with that runtime's id: checked against the current
    /// runtime before each use, so a thread that moves on to another runtime never finds the old manager.
    static FOUND: RefCell<Option<(Id, Weak<Shared>)>> = const { RefCell::new(None) };
    /// How many `enter` guards this thread has.
    static ENTERED: Cell<usize> = const { Cell::new(0) };
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

/// Makes `shared` this thread's manager until [`leave`]: what was there before, and how many guards there are now.
pub(crate) fn enter(shared: Arc<Shared>) -> (Option<Context>, usize) {
    let mut context = Some(Context { shared, task: None });
    swap(&mut context);
    let depth = ENTERED.get() + 1;
    ENTERED.set(depth);
    (context, depth)
}

/// Ends what [`enter`] began.
///
/// # Panics
/// If a guard that was made later is still there, unless the thread is panicking already.
pub(crate) fn leave(previous: &mut Option<Context>, depth: usize) {
    if ENTERED.get() != depth {
        assert!(
            thread::panicking(),
            "guards of `Manager::enter` have to be dropped in the reverse of the order in which they were made"
        );
        return;
    }
    ENTERED.set(depth - 1);
    swap(previous);
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
             `bgtask::Manager` on the runtime first (in a test: `let _manager = bgtask::Manager::install()?;`)"
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
    /// None is installed here.
    None,
    /// Several are, and nothing says which is meant.
    Ambiguous,
}

/// That of the `enter` guard; else that of the runtime, else that of the task; else, on a thread that belongs to neither,
/// the only one there is. A runtime without one has that of `#[bgtask::main]`, which is the program's, and never that of
/// some other runtime.
fn manager() -> Result<Arc<Shared>, NotFound> {
    let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
    let is_meant = |context: &Context| {
        // In a task whose body runs another runtime, that one's manager comes first.
        context.task.is_none() || runtime.is_none_or(|id| id == context.shared.runtime.id())
    };
    let here = with(|context| is_meant(context).then(|| context.shared.clone()));
    if let Some(Some(shared)) = here {
        return Ok(shared);
    }
    if let Some(shared) = runtime.and_then(of_runtime) {
        return Ok(shared);
    }
    if let Some(shared) = with(|context| context.shared.clone()) {
        return Ok(shared);
    }
    // Collected, so that the lock is free again before one of them is dropped: that may run a hook's drop.
    let live: Vec<_> = managers().values().filter_map(Weak::upgrade).collect();
    if let Some(of_program) = live.iter().find(|shared| shared.is_of_program) {
        return Ok(of_program.clone());
    }
    match &live[..] {
        [only] if runtime.is_none() => Ok(only.clone()),
        [_, _, ..] if runtime.is_none() => Err(NotFound::Ambiguous),
        _ => Err(NotFound::None),
    }
}

/// The manager of one runtime.
fn of_runtime(id: Id) -> Option<Arc<Shared>> {
    let found_before = FOUND.try_with(|found| match &*found.borrow() {
        // Something may keep a manager alive that has been dropped, and the runtime may have another one.
        Some((of, shared)) if *of == id => shared.upgrade().filter(|shared| shared.is_installed()),
        _ => None,
    });
    if let Ok(Some(shared)) = found_before {
        return Some(shared);
    }
    let shared = managers().get(&id).and_then(Weak::upgrade)?;
    let _ = FOUND.try_with(|found| {
        found.replace(Some((id, Arc::downgrade(&shared))));
    });
    Some(shared)
}

/// The one process-wide thing: which runtime has which manager. Weak, so that it keeps none of them alive.
fn managers() -> MutexGuard<'static, HashMap<Id, Weak<Shared>>> {
    static MANAGERS: OnceLock<Mutex<HashMap<Id, Weak<Shared>>>> = OnceLock::new();
    MANAGERS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Makes `shared` the manager of its runtime.
pub(crate) fn register(shared: &Arc<Shared>) -> Result<(), InstallError> {
    let mut managers = managers();
    managers.retain(|_, manager| manager.strong_count() > 0);
    let id = shared.runtime.id();
    if managers.contains_key(&id) {
        return Err(InstallError::AlreadyInstalled);
    }
    managers.insert(id, Arc::downgrade(shared));
    Ok(())
}

/// Ends what [`register`] began: the runtime may have another manager.
pub(crate) fn unregister(shared: &Arc<Shared>) {
    shared.set_uninstalled();
    managers().remove(&shared.runtime.id());
}
