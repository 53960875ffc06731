//! How a runtime gets its manager: the program installs one, or the first call does.
//! Owns the managers that calls have installed, until their runtimes end; knows nothing of what they track.

use crate::context::managers::{for_runtime, register, unregister};
use crate::error::InstallError;
use crate::inspect::slow_tasks;
use crate::observe::hooks::Hooks;
use crate::shutdown::dismissal::{Dismissal, Why};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::{mention, report};
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use crate::util::{panic, spawn};
use std::collections::HashMap;
use std::env;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::{Handle, Id};

/// The default grace period of a shutdown.
pub(crate) const GRACE: Duration = Duration::from_secs(25);

/// Creates a manager and makes it that of `runtime`.
///
/// # Errors
/// If the runtime has one.
pub(crate) fn install(
    runtime: &Handle,
    grace: Duration,
    hooks: Hooks,
    is_process_default: bool,
) -> Result<Arc<Tracker>, InstallError> {
    let tracker = make(runtime, grace, hooks, is_process_default);
    register(&tracker)?;
    if is_process_default {
        // Calls on runtimes without a manager belong to this one. Once it is gone, they must not install another one.
        require_manager();
    }
    Ok(tracker)
}

/// Creates a manager that is not registered.
pub(super) fn make(
    runtime: &Handle,
    grace: Duration,
    hooks: Hooks,
    is_process_default: bool,
) -> Arc<Tracker> {
    let shared = Shared::new(runtime.clone(), grace, hooks, is_process_default);
    // Before the first call, so that the metrics count all of them.
    #[cfg(feature = "metrics")]
    shared
        .hooks
        .observe(Arc::new(crate::observe::metrics::Metrics::new()));
    panic::install_hook(spawn::FILE);
    Arc::new(Tracker::new(Arc::new(shared)))
}

/// Whether calls on a runtime without a manager panic.
static REQUIRED: AtomicBool = AtomicBool::new(false);

/// Makes calls on a tokio runtime without a [`Manager`](crate::Manager) panic, instead of installing one.
///
/// Applies to the whole process from now on. Managers that calls have installed before stay.
///
/// A program with [`#[bgtask::main]`](macro@crate::main) does not need this: such calls belong to its manager. A program that
/// installs managers itself calls this first in `main`. For tests, the environment variable `BGTASK_REQUIRE_MANAGER=1` has the same
/// effect. [`#[bgtask::test]`](macro@crate::test) and [`Kit`](crate::testing::Kit) install a manager, so this does not affect them.
///
/// # Examples
///
/// ```
/// # #[bgtask::background]
/// # async fn write_audit_line(line: String) {}
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     bgtask::require_manager();
///     let runtime = tokio::runtime::Runtime::new()?;
///     // Without this line, the call would panic, and name the function.
///     let manager = bgtask::Manager::builder().install_on(runtime.handle())?;
///     runtime.block_on(async {
///         write_audit_line("started".into());
///         manager.shutdown("the example ends").await
///     });
///     Ok(())
/// }
/// ```
pub fn require_manager() {
    // Relaxed: it decides about later calls and publishes nothing.
    REQUIRED.store(true, Ordering::Relaxed);
}

fn is_required() -> bool {
    static BY_ENVIRONMENT: OnceLock<bool> = OnceLock::new();
    let by_environment = || {
        let value = env::var_os("BGTASK_REQUIRE_MANAGER");
        value.is_some_and(|value| !value.is_empty() && value != "0")
    };
    REQUIRED.load(Ordering::Relaxed) || *BY_ENVIRONMENT.get_or_init(by_environment)
}

/// The managers that calls have installed, by runtime. Locked to add or to remove one, before the list of all managers.
fn fallbacks() -> MutexGuard<'static, HashMap<Id, Arc<Tracker>>> {
    static FALLBACKS: OnceLock<Mutex<HashMap<Id, Arc<Tracker>>>> = OnceLock::new();
    FALLBACKS.get_or_init(Mutex::default).lock()
}

/// Installs a manager on the current runtime, for a call of `what` that has found none. Of several threads, one installs it. Returns
/// `None` without a runtime, and if a manager is required.
#[cold]
pub(super) fn for_call_of(
    what: &str,
    called_at: &'static Location<'static>,
) -> Option<Arc<Tracker>> {
    let runtime = Handle::try_current().ok().filter(|_| !is_required())?;
    let id = runtime.id();
    // Before the lock: this may call the program's metrics recorder.
    let tracker = make(&runtime, GRACE, Hooks::default(), false);
    tracker.shared.set_fallback(Some(runtime_ended));
    while !register_fallback(id, &tracker) {
        // Another thread was faster, with a call or an explicit installation. Its manager may be gone again, if the runtime has
        // ended.
        if let Some(other) = for_runtime(id) {
            return Some(other);
        }
    }
    slow_tasks::start(&tracker, None);
    // The runtime drops it when it ends, and at once if it has.
    spawn::keep_until_end(&runtime, Sentinel(tracker.shared.clone()));
    warn(what, called_at);
    Some(tracker)
}

/// Makes `tracker`'s manager that of its runtime, until the runtime ends. Returns `false` if the runtime has one.
fn register_fallback(id: Id, tracker: &Arc<Tracker>) -> bool {
    let mut fallbacks = fallbacks();
    let is_first = register(tracker).is_ok();
    if is_first {
        fallbacks.insert(id, tracker.clone());
    }
    is_first
}

/// Warns once per process: the cure for one runtime is the cure for all.
fn warn(what: &str, called_at: &'static Location<'static>) {
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    // Relaxed: a swap lets exactly one caller be the first.
    if HAS_WARNED.swap(true, Ordering::Relaxed) {
        mention!(debug, "no manager on another runtime: installed one"; name = what, called_at = called_at);
    } else {
        report!(warn, "no manager on this runtime: installed one that nothing drains; put `#[bgtask::main]` on `main`, `#[bgtask::test]` on a test, or install a `bgtask::Manager`";
            name = what, called_at = called_at);
    }
}

/// Takes the manager that a call has installed on the runtime, for an explicit installation. Returns `None` if there is none, or if
/// it is shutting down.
pub(crate) fn take_over(runtime: &Handle) -> Option<Arc<Tracker>> {
    let mut fallbacks = fallbacks();
    let tracker = fallbacks.get(&runtime.id())?;
    if tracker.shared.shutdown.phase() != Phase::Running {
        return None;
    }
    tracker.shared.set_fallback(None);
    fallbacks.remove(&runtime.id())
}

/// Returns whether a call has installed the runtime's manager.
pub(crate) fn has_fallback(runtime: &Handle) -> bool {
    fallbacks().contains_key(&runtime.id())
}

/// Dismisses the manager that a call has installed on a runtime which drops its tasks: reports the tasks, and unregisters it.
fn runtime_ended(shared: &Shared) {
    let id = shared.runtime_id;
    let is_its = |tracker: &Arc<Tracker>| std::ptr::eq(&*tracker.shared, shared);
    let mut begun = None;
    // Several workers drop tasks at once. Each waits until the remaining tasks are listed and the manager drains: the task that
    // it drops next is then on the list, and needs no log line of its own.
    shared.dismiss_once(|| {
        let Some(tracker) = fallbacks().get(&id).cloned().filter(is_its) else {
            return;
        };
        let dismissal = Dismissal::begin(&tracker);
        // Before the manager is unregistered: after that, the runtime may get another one.
        fallbacks().remove(&id);
        unregister(&tracker);
        begun = Some((tracker, dismissal));
    });
    // Outside of the lock, because it may run any code.
    if let Some((tracker, Some(dismissal))) = begun {
        dismissal.finish(&tracker, Why::RuntimeEnded);
    }
}

/// Dropped by the runtime when it ends.
struct Sentinel(Arc<Shared>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.runtime_ends();
    }
}
