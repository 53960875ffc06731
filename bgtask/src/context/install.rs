//! How a runtime comes by its manager: somebody installs one, or the first call does.
//! Owns the managers that calls have installed, from there to the end of their runtimes; knows nothing of what they track.

use super::{of_runtime, register, unregister};
use crate::error::InstallError;
use crate::inspect::slow_tasks;
use crate::observe::hooks::Hooks;
use crate::shutdown::dismissal::{Dismissal, Why};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::{mention, report};
use crate::util::{panic, spawn};
use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::{Handle, Id};

/// The time a shutdown is given where nothing else is set.
pub(crate) const GRACE: Duration = Duration::from_secs(25);

/// Makes a manager, and makes it that of `runtime`.
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
        // Calls on runtimes without a manager belong to this one, and to none once it is gone.
        require_manager();
    }
    Ok(tracker)
}

pub(super) fn make(
    runtime: &Handle,
    grace: Duration,
    hooks: Hooks,
    is_process_default: bool,
) -> Arc<Tracker> {
    let shared = Shared::new(runtime.clone(), grace, hooks, is_process_default);
    // Before its first call, so that it is told of all of them.
    #[cfg(feature = "metrics")]
    shared
        .hooks
        .observe(Arc::new(crate::observe::metrics::Metrics::new()));
    panic::install_hook(spawn::FILE);
    Arc::new(Tracker::new(Arc::new(shared)))
}

/// Calls on a runtime without a manager panic.
static REQUIRED: AtomicBool = AtomicBool::new(false);

/// Has calls panic that are made on a tokio runtime without a [`Manager`](crate::Manager), instead of installing one. Holds for
/// the whole process, from now on; managers that calls have installed before stay.
///
/// A program with [`#[bgtask::main]`](macro@crate::main) does not need it: such calls belong to its manager. A program that
/// installs managers by hand calls it first in `main`. For tests, set the environment variable `BGTASK_REQUIRE_MANAGER` to `1`,
/// which does the same. It does not affect [`#[bgtask::test]`](macro@crate::test) and [`Kit`](crate::testing::Kit), which install
/// a manager.
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
    // Relaxed: it decides about later calls, and publishes nothing.
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

/// The managers that calls have installed, by runtime. Locked to install one or to take one out, before the list of all.
fn fallbacks() -> MutexGuard<'static, HashMap<Id, Arc<Tracker>>> {
    static FALLBACKS: OnceLock<Mutex<HashMap<Id, Arc<Tracker>>>> = OnceLock::new();
    FALLBACKS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Installs a manager on the current runtime, for a call of `what` that has found none; of two threads that come at once, one
/// does. Nothing, where there is no runtime, or no manager is to be installed.
#[cold]
pub(super) fn for_call_of(
    what: &str,
    called_at: &'static Location<'static>,
) -> Option<Arc<Tracker>> {
    let runtime = Handle::try_current().ok().filter(|_| !is_required())?;
    let id = runtime.id();
    // Before the lock: a recorder of metrics may be told of it, which is the user's.
    let tracker = make(&runtime, GRACE, Hooks::default(), false);
    tracker.shared.set_fallback(Some(runtime_ended));
    while !register_fallback(id, &tracker) {
        // Another thread was faster, with a call, or with an installation on purpose. What that installed may be gone again:
        // the runtime drops it when it ends.
        if let Some(other) = of_runtime(id) {
            return Some(other);
        }
    }
    slow_tasks::start(&tracker, None);
    // The runtime drops it when it ends, and at once if it has.
    spawn::spawn(&runtime, "bgtask", Sentinel(tracker.shared.clone()));
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

/// Once a process: what helps against one helps against all.
fn warn(what: &str, called_at: &'static Location<'static>) {
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    // Relaxed: that it is a swap is enough for one of two callers to be the first.
    if HAS_WARNED.swap(true, Ordering::Relaxed) {
        mention!(debug, "a further runtime has no manager: one was installed"; name = what, called_at = called_at);
    } else {
        report!(warn, "a runtime has no manager: one was installed, and nothing drains it; put `#[bgtask::main]` on `main`, `#[bgtask::test]` on a test, or install a `bgtask::Manager`";
            name = what, called_at = called_at);
    }
}

/// Takes the manager that a call has installed on the runtime, for whoever installs one there on purpose. Nothing if there is
/// none, or if it is shutting down.
pub(crate) fn take_over(runtime: &Handle) -> Option<Arc<Tracker>> {
    let mut fallbacks = fallbacks();
    let tracker = fallbacks.get(&runtime.id())?;
    if tracker.shared.shutdown.phase() != Phase::Running {
        return None;
    }
    tracker.shared.set_fallback(None);
    fallbacks.remove(&runtime.id())
}

/// Whether a call has installed the runtime's manager.
pub(crate) fn has_fallback(runtime: &Handle) -> bool {
    fallbacks().contains_key(&runtime.id())
}

/// The runtime drops its tasks: the manager that a call has installed there says what that cuts off, and goes.
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
    // Out here, because it may call anything.
    if let Some((tracker, Some(dismissal))) = begun {
        dismissal.finish(&tracker, Why::RuntimeEnded);
    }
}

/// What the runtime drops when it ends.
struct Sentinel(Arc<Shared>);

impl Future for Sentinel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.0.runtime_ends();
    }
}
