//! The thread-locals: the task whose code a thread runs, the manager it has entered, and its writer.
//! Owns how they are set and restored; looks nothing up.

use crate::tracker::shared::Shared;
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{ShardWriter, Tracker};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

thread_local! {
    /// The task whose code this thread runs.
    static TASK: Cell<Option<TaskRef>> = const { Cell::new(None) };
    /// [`HIDDEN`], [`BY_SCOPE`] and [`BY_TASK`]: what stands between the code of that task and the calls made here. A hidden task
    /// stays in [`TASK`]: its runner expects to find it there, and a guard may be forgotten, or dropped in another task.
    pub(super) static VIEW: Cell<u8> = const { Cell::new(0) };
    /// The manager of the innermost `enter` guard. A task that is polled within the guard comes before it.
    static ENTERED: RefCell<Entered> = const { RefCell::new(Entered { tracker: None, depth: 0 }) };
    /// The writer with which this thread records its calls: that of the manager of its last call.
    pub(super) static HERE: RefCell<Option<ShardWriter>> = const { RefCell::new(None) };
    /// The value of [`SOLE_MANAGER`] when that writer was found to belong to the only manager. [`IN_GROUP`] while code runs in a
    /// group.
    pub(super) static KNOWN_SOLE: Cell<u64> = const { Cell::new(0) };
    /// How many times this thread's writer was replaced by another manager's.
    pub(super) static WRITERS: Cell<u32> = const { Cell::new(0) };
}

/// Changes whenever a manager comes or goes. Not zero while the only manager is that of `#[bgtask::main]`: then every call belongs
/// to it, wherever it is made, and nothing has to be looked up.
pub(super) static SOLE_MANAGER: AtomicU64 = AtomicU64::new(0);

/// A value of [`KNOWN_SOLE`] that [`SOLE_MANAGER`] never has: every call has to check for its group.
pub(super) const IN_GROUP: u64 = u64::MAX;

/// An `enter` guard hides the task.
pub(super) const HIDDEN: u8 = 1;
/// The calls made here belong to the group of the innermost `Group::run`.
pub(super) const BY_SCOPE: u8 = 1 << 1;
/// The task is a member of a group, and the calls made here belong to the same one.
pub(super) const BY_TASK: u8 = 1 << 2;

#[derive(Debug)]
struct Entered {
    tracker: Option<Arc<Tracker>>,
    /// How many guards this thread has.
    depth: usize,
}

/// The state of a thread before it entered a manager.
#[derive(Debug)]
pub(crate) struct Before {
    view: u8,
    tracker: Option<Arc<Tracker>>,
    depth: usize,
}

/// Runs `work` as `task`, which is put back after it. On a thread that is being torn down, `work` runs as no task.
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

/// Swaps `task` with the one this thread runs. The same call again puts both back.
#[inline]
pub(super) fn swap(task: &mut Option<TaskRef>) {
    // On a thread that is being torn down, nothing asks for the task.
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
/// If a guard that was created later still exists, unless the thread is panicking already.
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
            "guards of `Manager::enter` must be dropped in the reverse order of their creation"
        ),
        // The thread is being torn down: nothing is left to restore.
        Err(_) => {}
    }
}

/// Returns the manager of the innermost `enter` guard.
#[inline]
pub(super) fn entered() -> Option<Arc<Tracker>> {
    let entered = ENTERED.try_with(|entered| entered.borrow().tracker.clone());
    entered.ok().flatten()
}

/// Returns the task whose code this thread runs, unless a guard hides it.
pub(crate) fn task() -> Option<TaskRef> {
    if VIEW.get() & HIDDEN != 0 {
        return None;
    }
    running()
}

/// Returns the task whose code this thread runs, even if a guard hides it.
#[inline]
pub(super) fn running() -> Option<TaskRef> {
    TASK.try_with(|current| {
        let task = current.take();
        current.set(task.clone());
        task
    })
    .ok()
    .flatten()
}

/// Returns the task whose code this thread runs, if it belongs to the manager with this state.
pub(crate) fn task_of(shared: &Arc<Shared>) -> Option<TaskRef> {
    task().filter(|task| Arc::ptr_eq(task.shared(), shared))
}

/// Notes that this thread's writer was replaced by another manager's.
pub(super) fn note_new_writer() {
    WRITERS.set(WRITERS.get().wrapping_add(1));
}

/// Returns the manager of the last call on this thread, if it `is_meant`.
pub(super) fn for_writer(is_meant: impl FnOnce(&Tracker) -> bool) -> Option<Arc<Tracker>> {
    HERE.try_with(|here| {
        let here = here.try_borrow().ok()?;
        let tracker = here.as_ref()?.tracker();
        is_meant(tracker).then(|| tracker.clone())
    })
    .ok()
    .flatten()
}
