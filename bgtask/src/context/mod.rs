//! Who am I: the manager and the task that the code running on this thread belongs to.
//! Owns the thread-locals and the list of installed managers; knows nothing of what a manager does.

mod ended;
mod grouped;
mod install;

pub(crate) use grouped::{
    Entrance, accept_entered, enter_group, group_state, in_group, is_caller, run_as_member,
};
pub use install::require_manager;
pub(crate) use install::{GRACE, has_fallback, install, take_over};

use crate::error::{InstallError, RefusedReason};
use crate::handler::Handler;
use crate::stats::TaskId;
use crate::tracker::group_state::Membership;
use crate::tracker::shared::Shared;
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{self, ShardWriter, Tracker};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use tokio::runtime::{Handle, Id};

thread_local! {
    /// The task whose code this thread runs.
    static TASK: Cell<Option<TaskRef>> = const { Cell::new(None) };
    /// [`HIDDEN`], [`BY_SCOPE`] and [`BY_TASK`]: what stands between that task's code and the calls made here. A task is not
    /// taken out where it is hidden: who runs it counts on finding it, and a guard may be forgotten, or dropped in some other
    /// task.
    static VIEW: Cell<u8> = const { Cell::new(0) };
    /// The manager of the innermost `enter` guard. Stands back where a task is polled within.
    static ENTERED: RefCell<Entered> = const { RefCell::new(Entered { tracker: None, depth: 0 }) };
    /// The writer with which this thread records its calls: that of the manager of its last call.
    static HERE: RefCell<Option<ShardWriter>> = const { RefCell::new(None) };
    /// What [`SOLE_MANAGER`] was when that writer was found to be the only manager's. [`IN_GROUP`] while code runs in a group.
    static KNOWN_ALONE: Cell<u64> = const { Cell::new(0) };
}

/// Stands in [`KNOWN_ALONE`], and is never in [`SOLE_MANAGER`]: every call has to look for its group.
const IN_GROUP: u64 = u64::MAX;

/// An `enter` guard hides the task.
const HIDDEN: u8 = 1;
/// The calls made here belong to the group in [`grouped::SCOPE`].
const BY_SCOPE: u8 = 1 << 1;
/// The task is a member of a group, and the calls made here belong to the same one.
const BY_TASK: u8 = 1 << 2;

#[derive(Debug)]
struct Entered {
    tracker: Option<Arc<Tracker>>,
    /// How many guards this thread has.
    depth: usize,
}

/// Changes whenever a manager comes or goes. Not zero while the only one there is is that of `#[bgtask::main]`: then every
/// call belongs to it, wherever it is made, and nothing has to be looked up.
static SOLE_MANAGER: AtomicU64 = AtomicU64::new(0);

/// What a thread was doing before it entered a manager.
#[derive(Debug)]
pub(crate) struct Before {
    view: u8,
    tracker: Option<Arc<Tracker>>,
    depth: usize,
}

/// Does `work` as `task`, which comes back after it. On a thread that is being torn down `work` is done as nobody's.
///
/// `work` must not panic.
#[inline]
pub(crate) fn run_as<R>(task: &mut Option<TaskRef>, work: impl FnOnce() -> R) -> R {
    let view = VIEW.replace(0);
    swap(task);
    let result = work();
    swap(task);
    VIEW.set(view);
    result
}

/// Swaps `task` with the one this thread runs; the same call again puts both back.
#[inline]
fn swap(task: &mut Option<TaskRef>) {
    // Code run by a drop while the thread is torn down has no place to be noted, and nobody to ask for it.
    let _ = TASK.try_with(|current| *task = current.replace(task.take()));
}

/// Makes `tracker`'s manager this thread's until [`leave`].
pub(crate) fn enter(tracker: Arc<Tracker>) -> Before {
    ENTERED.with_borrow_mut(|entered| {
        entered.depth += 1;
        Before {
            // A call belongs to what was entered last, so to no group any more.
            view: VIEW.replace(HIDDEN),
            tracker: entered.tracker.replace(tracker),
            depth: entered.depth,
        }
    })
}

/// Ends what [`enter`] began.
///
/// # Panics
/// If a guard that was made later is still there, unless the thread is panicking already.
pub(crate) fn leave(before: &mut Before) {
    let entered = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        if entered.depth != before.depth {
            return false;
        }
        entered.depth -= 1;
        std::mem::swap(&mut entered.tracker, &mut before.tracker);
        true
    });
    match entered {
        Ok(true) => VIEW.set(before.view),
        Ok(false) => assert!(
            thread::panicking(),
            "guards of `Manager::enter` have to be dropped in the reverse of the order in which they were made"
        ),
        // The thread is being torn down: there is nothing left to put back.
        Err(_) => {}
    }
}

/// The task whose code this thread runs, unless a guard hides it.
pub(crate) fn task() -> Option<TaskRef> {
    if VIEW.get() & HIDDEN != 0 {
        return None;
    }
    running()
}

/// The same, also if a guard hides it.
#[inline]
fn running() -> Option<TaskRef> {
    TASK.try_with(|current| {
        let task = current.take();
        current.set(task.clone());
        task
    })
    .ok()
    .flatten()
}

/// The task whose code this thread runs, if it is one of `shared`'s.
pub(crate) fn task_of(shared: &Arc<Shared>) -> Option<TaskRef> {
    task().filter(|place| Arc::ptr_eq(place.shared(), shared))
}

/// A call is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// By whose manager.
    pub(crate) shared: Arc<Shared>,
    pub(crate) reason: RefusedReason,
    /// The call's part in the count of its group, which had let it in.
    membership: Option<Membership>,
}

#[cold]
fn shut_down(shared: &Arc<Shared>) -> Box<Refusal> {
    Box::new(Refusal {
        shared: shared.clone(),
        reason: RefusedReason::ShutDown,
        membership: None,
    })
}

/// Counts a call in the books of the manager it belongs to: its id, and its place there, or, of a call that is refused,
/// whose manager refused it.
///
/// # Panics
/// Where no manager can be found.
#[inline]
#[track_caller]
pub(crate) fn accept(handler: &'static Handler) -> (TaskId, Result<TaskRef, Box<Refusal>>) {
    let alone = KNOWN_ALONE.get();
    // Acquire: pairs with the release in `update_alone`. A thread that goes on with a manager which is no longer the only one
    // has not heard of the other yet, and cannot mean it.
    if alone == 0 || alone != SOLE_MANAGER.load(Ordering::Acquire) {
        return accept_rarely(handler);
    }
    let accepted = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let writer = here.as_mut()?;
        let (id, place) = writer.accept(handler);
        Some((id, place.ok_or_else(|| shut_down(&writer.tracker().shared))))
    });
    match accepted {
        Ok(Some(accepted)) => accepted,
        _ => accept_rarely(handler),
    }
}

#[track_caller]
fn accept_rarely(handler: &'static Handler) -> (TaskId, Result<TaskRef, Box<Refusal>>) {
    if VIEW.get() == 0 {
        accept_by_manager(handler)
    } else {
        accept_in_view(handler)
    }
}

#[inline(never)]
#[track_caller]
fn accept_by_manager(handler: &'static Handler) -> (TaskId, Result<TaskRef, Box<Refusal>>) {
    accept_anywhere(handler, || manager_of(running()))
}

/// Where something stands between the task and the calls made here.
#[inline(never)]
#[track_caller]
fn accept_in_view(handler: &'static Handler) -> (TaskId, Result<TaskRef, Box<Refusal>>) {
    match grouped::accept(handler) {
        Some(accepted) => accepted,
        None => accept_hidden(handler),
    }
}

#[cold]
#[track_caller]
fn accept_hidden(handler: &'static Handler) -> (TaskId, Result<TaskRef, Box<Refusal>>) {
    accept_anywhere(handler, manager_in_view)
}

#[inline(always)]
#[track_caller]
fn accept_anywhere(
    handler: &'static Handler,
    find: impl FnOnce() -> Result<Arc<Tracker>, NotFound>,
) -> (TaskId, Result<TaskRef, Box<Refusal>>) {
    // Read first: if the managers change meanwhile, this is no longer the value then.
    let alone = SOLE_MANAGER.load(Ordering::Acquire);
    let tracker = match or_panic(find(), handler.name()) {
        Ok(tracker) => tracker,
        // Nobody has its books any more, to count in or to ask.
        Err(gone) => return (tracker::one_id(), Err(shut_down(&gone))),
    };
    let mut replaced = None;
    let at_the_desk = |writer: &mut ShardWriter| {
        let (id, place) = writer.accept(handler);
        (id, place.ok_or_else(|| shut_down(&tracker.shared)))
    };
    let accepted = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let is_its = |writer: &ShardWriter| Arc::ptr_eq(writer.tracker(), &tracker);
        if !here.as_ref().is_some_and(is_its) {
            replaced = here.replace(tracker.writer());
            grouped::desk_replaced();
        }
        // Not within a group, even where this call is none of its: others are to come by here.
        if KNOWN_ALONE.get() != IN_GROUP {
            KNOWN_ALONE.set(if tracker.shared.is_process_default {
                alone
            } else {
                0
            });
        }
        here.as_mut().map(at_the_desk)
    });
    // No longer borrowed: it may be the last owner of a manager, whose hooks may do anything when they are dropped.
    drop(replaced);
    match accepted {
        Ok(Some(accepted)) => accepted,
        // The thread is being torn down, or makes this call while it drops another writer.
        _ => at_the_desk(&mut tracker.writer()),
    }
}

/// The manager that work called from here belongs to, for `what`. In a task that has outlived its manager it is what is
/// left of that.
///
/// # Panics
/// Where there is none to be found: says what to do.
#[track_caller]
pub(crate) fn current(what: &str) -> Result<Arc<Tracker>, Arc<Shared>> {
    or_panic(manager(), what)
}

#[track_caller]
fn or_panic(
    found: Result<Arc<Tracker>, NotFound>,
    what: &str,
) -> Result<Arc<Tracker>, Arc<Shared>> {
    match found.map_err(ended::or_gone) {
        Ok(tracker) => Ok(tracker),
        Err(NotFound::Gone(shared)) => Err(shared),
        Err(NotFound::None) => match install::for_call_of(what, Location::caller()) {
            Some(tracker) => Ok(tracker),
            None => panic_without(what),
        },
        Err(NotFound::Ambiguous) => panic!(
            "`{what}` was called on a thread that belongs to no runtime, and there are several bgtask managers: say \
             which one with `let _entered = manager.enter();`"
        ),
    }
}

#[cold]
#[track_caller]
fn panic_without(what: &str) -> ! {
    panic!(
        "`{what}` was called where there is no bgtask manager: put `#[bgtask::main]` on `main`, or install a \
             `bgtask::Manager` on the runtime first (for a test: `#[bgtask::test]`)"
    )
}

/// Returns what the tasks of the manager here share, if there is a manager. Installs none.
///
/// # Panics
/// Where several managers are to be found: says what to do.
#[track_caller]
pub(crate) fn shared_if_any(what: &str) -> Option<Arc<Shared>> {
    match manager() {
        Err(NotFound::None) => None,
        found => {
            Some(or_panic(found, what).map_or_else(|gone| gone, |tracker| tracker.shared.clone()))
        }
    }
}

/// As [`current`], for those who only need what its tasks share.
#[track_caller]
pub(crate) fn current_shared(what: &str) -> Arc<Shared> {
    current(what).map_or_else(|gone| gone, |tracker| tracker.shared.clone())
}

/// Why no manager was found.
#[derive(Debug)]
enum NotFound {
    /// That of the task, or of the runtime, has been dropped.
    Gone(Arc<Shared>),
    /// None is installed here.
    None,
    /// Several are, and nothing says which is meant.
    Ambiguous,
}

/// That of the group, and where there is none, what [`manager_of`] finds.
fn manager() -> Result<Arc<Tracker>, NotFound> {
    match VIEW.get() {
        0 => manager_of(running()),
        _ => match group_state() {
            Some(group_state) => {
                known(&group_state.shared).ok_or(NotFound::Gone(group_state.shared.clone()))
            }
            None => manager_in_view(),
        },
    }
}

/// The same where something stands between the task and the calls made here, and no group's manager is meant.
#[inline(never)]
fn manager_in_view() -> Result<Arc<Tracker>, NotFound> {
    manager_of(task())
}

/// That of the task, if it runs on its own runtime; else that of the `enter` guard; else that of the runtime, else that of
/// the task whatever it runs on; else, on a thread that belongs to neither, the only one there is. A runtime without one
/// has that of `#[bgtask::main]`, which is the program's, and never that of some other runtime.
// Always inlined: a call that has to look its manager up does it here.
#[inline(always)]
fn manager_of(task: Option<TaskRef>) -> Result<Arc<Tracker>, NotFound> {
    let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
    if let Some(task) = &task
        // In a task whose body runs another runtime, that one's manager comes first.
        && runtime.is_none_or(|id| id == task.shared().runtime_id)
    {
        return of_task(task);
    }
    if task.is_none()
        && let Ok(Some(tracker)) = ENTERED.try_with(|entered| entered.borrow().tracker.clone())
    {
        return Ok(tracker);
    }
    if let Some(tracker) = runtime.and_then(of_runtime) {
        return Ok(tracker);
    }
    if let Some(task) = &task {
        return of_task(task);
    }
    let mut live = upgraded(managers().installed.values());
    // Those that calls have installed are nobody's but their runtimes'.
    live.retain(|tracker| !tracker.shared.is_fallback());
    if let Some(of_program) = live
        .iter()
        .find(|tracker| tracker.shared.is_process_default)
    {
        return Ok(of_program.clone());
    }
    match &live[..] {
        [only] if runtime.is_none() => Ok(only.clone()),
        [_, _, ..] if runtime.is_none() => Err(NotFound::Ambiguous),
        _ => Err(NotFound::None),
    }
}

/// The manager of a task.
fn of_task(task: &TaskRef) -> Result<Arc<Tracker>, NotFound> {
    known(task.shared()).ok_or_else(|| NotFound::Gone(task.shared().clone()))
}

/// The manager whose tasks share this, if it is still there.
pub(crate) fn known(shared: &Arc<Shared>) -> Option<Arc<Tracker>> {
    let is_its = |tracker: &Tracker| Arc::ptr_eq(&tracker.shared, shared);
    if let Some(tracker) = of_desk(is_its) {
        return Some(tracker);
    }
    let known = upgraded(managers().known.iter());
    known.into_iter().find(|tracker| is_its(tracker))
}

/// The manager of one runtime.
fn of_runtime(id: Id) -> Option<Arc<Tracker>> {
    // Something may keep a manager alive that has been dropped, and the runtime may have another one.
    of_desk(|tracker| tracker.shared.runtime_id == id && tracker.shared.is_installed())
        .or_else(|| managers().installed.get(&id)?.upgrade())
}

/// The manager that the last call on this thread belonged to, if it `is_meant`.
fn of_desk(is_meant: impl FnOnce(&Tracker) -> bool) -> Option<Arc<Tracker>> {
    HERE.try_with(|here| {
        let here = here.try_borrow().ok()?;
        let tracker = here.as_ref()?.tracker();
        is_meant(tracker).then(|| tracker.clone())
    })
    .ok()
    .flatten()
}

/// The managers of the process. Weak, so that this keeps none of them alive.
#[derive(Debug, Default)]
struct Managers {
    /// By runtime.
    installed: HashMap<Id, Weak<Tracker>>,
    /// These, and those that have been dropped but still drain.
    known: Vec<Weak<Tracker>>,
    /// The runtimes whose manager was dropped.
    ended: ended::Notes,
}

/// The one process-wide thing.
fn managers() -> MutexGuard<'static, Managers> {
    static MANAGERS: OnceLock<Mutex<Managers>> = OnceLock::new();
    MANAGERS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// All that are still there. Collected, so that the lock is free again before one of them is dropped: that may run a hook's
/// drop.
fn upgraded<'a>(managers: impl Iterator<Item = &'a Weak<Tracker>>) -> Vec<Arc<Tracker>> {
    managers.filter_map(Weak::upgrade).collect()
}

/// Makes `tracker`'s manager that of its runtime.
pub(crate) fn register(tracker: &Arc<Tracker>) -> Result<(), InstallError> {
    let mut managers = managers();
    managers.known.retain(|manager| manager.strong_count() > 0);
    let id = tracker.shared.runtime_id;
    let installed = managers.installed.get(&id);
    // One that is gone without having been unregistered holds no place.
    if installed.is_some_and(|manager| manager.strong_count() > 0) {
        return Err(InstallError::AlreadyInstalled);
    }
    let manager = Arc::downgrade(tracker);
    managers.known.push(manager.clone());
    managers.installed.insert(id, manager);
    let refused_calls = ended::replace(&mut managers.ended, id);
    managers.update_alone(tracker);
    drop(managers);
    drop(refused_calls);
    Ok(())
}

/// Ends what [`register`] began: the runtime may have another manager.
pub(crate) fn unregister(tracker: &Arc<Tracker>) {
    tracker.shared.set_uninstalled();
    // A manager that a call has installed goes with its runtime.
    let was_explicit = !tracker.shared.is_fallback();
    let mut managers = managers();
    managers.installed.remove(&tracker.shared.runtime_id);
    // In one step with the removal: no call finds neither the manager nor the note.
    let is_first_note = was_explicit && ended::note(&mut managers.ended, &tracker.shared);
    managers.update_alone(tracker);
    drop(managers);
    if is_first_note {
        ended::forget_with_runtime(&tracker.shared.runtime);
    }
    // This thread writes nothing into its books any more, and need not keep it and its runtime alive.
    let writer = HERE.try_with(|here| {
        let mut here = here.try_borrow_mut().ok()?;
        let is_its = |writer: &mut ShardWriter| Arc::ptr_eq(writer.tracker(), tracker);
        here.take_if(is_its)
    });
    drop(writer);
}

impl Managers {
    /// Notes in [`SOLE_MANAGER`] whether `tracker`'s manager, which has just come or gone, is the only one there is. One that
    /// becomes the only one again since others have gone does with looking itself up.
    fn update_alone(&self, tracker: &Arc<Tracker>) {
        static CHANGES: AtomicU64 = AtomicU64::new(0);
        let is_alone = self.installed.len() == 1
            && self.installed.contains_key(&tracker.shared.runtime_id)
            && tracker.shared.is_process_default;
        // Relaxed: written under the lock alone.
        let change = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
        // Release: whoever sees the change sees the managers as they are now.
        SOLE_MANAGER.store(if is_alone { change } else { 0 }, Ordering::Release);
    }
}
