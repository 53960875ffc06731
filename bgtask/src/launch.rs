//! The call path: from the call of an annotated function to a task that the runtime has and the books know.
//! Owns the order of the steps; generated code calls nothing else. Thin on purpose: what is generic is compiled anew
//! for every annotated function.

use crate::classify::Classify;
use crate::context;
use crate::handle::{Leash, RawHandle};
use crate::handler::{Handler, Kind};
use crate::ledger::Key;
use crate::notice::report;
use crate::panic_site::catch;
use crate::policy::OnShutdown;
use crate::shared::Shared;
use crate::stats::TaskId;
use crate::supervise::{Body, BoxedTask, Call, Record, Supervised, Task};
use crate::{RefusedReason, ShutdownToken, TaskHandle};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

/// A call between its acceptance and its launch.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    id: TaskId,
    /// Absent if the call was refused.
    key: Option<Key>,
}

impl Run {
    /// The token for the function's parameter.
    pub fn token(&self) -> ShutdownToken {
        ShutdownToken::of_task(self.shared.clone(), self.key, self.handler.finishes())
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    pub(crate) fn key(&self) -> Option<Key> {
        self.key
    }
}

/// Writes the call down. From here on it is accounted for.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn begin(handler: &'static Handler) -> Run {
    let called_at = Location::caller();
    accept(context::current(handler.name()), handler, called_at)
}

/// Writes a call down in the books of `shared`.
#[inline]
pub(crate) fn accept(
    shared: Arc<Shared>,
    handler: &'static Handler,
    called_at: &'static Location<'static>,
) -> Run {
    let (id, key) = shared.ledger.accept(handler, called_at);
    if key.is_none() {
        report_refused(handler, id, called_at);
    }
    Run {
        shared,
        handler,
        called_at,
        id,
        key,
    }
}

/// Starts an `async fn`'s future on the runtime.
pub fn launch<T, F>(run: Run, future: F, classify: Classify<T>) -> TaskHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    TaskHandle::new(match run.key {
        Some(key) => {
            let record = Record::new(run.shared, run.handler, run.id, key, run.called_at);
            // Boxed here, at the boundary: spawning each type by itself costs users ten times the compile time.
            spawn(Task::boxed(record, future, classify))
        }
        None => {
            let mut future = Some(future);
            refuse(&run, &mut || drop(future.take()))
        }
    })
}

/// Starts a plain `fn` on the blocking pool.
pub fn launch_blocking<T, F>(run: Run, work: F, classify: Classify<T>) -> TaskHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    launch(run, Call::new(work), classify)
}

/// Starts an accepted call whose body the policies have composed. `leash` is dropped with the handle.
pub(crate) fn launch_body(
    run: Run,
    body: impl Body + 'static,
    needs_owner: bool,
    leash: Option<Leash>,
) -> RawHandle {
    let Some(key) = run.key else {
        unreachable!("the policies launch what was accepted");
    };
    let record = Record::new(run.shared, run.handler, run.id, key, run.called_at);
    let raw = spawn(Task::with_body(record, body, needs_owner));
    match leash {
        Some(leash) => raw.held_by(leash),
        None => raw,
    }
}

fn spawn(mut task: BoxedTask) -> RawHandle {
    let record = task.record();
    let (id, handler) = (record.id, record.handler);
    let (shared, key) = record.place();
    let shared = shared.clone();
    let needs_owner = task.needs_owner();
    if handler.on_shutdown() == OnShutdown::Cancel {
        task.as_mut().stop_when_cancelled();
    }
    let task = Supervised::new(task);
    let join = match handler.runs_as() {
        Kind::Async => shared.runtime.spawn(task),
        Kind::Blocking => shared.runtime.spawn_blocking(move || task.run()),
    };
    RawHandle::accepted(id, handler, join, shared, key, needs_owner)
}

/// Drops the work of a call that was not accepted. A panic in there is not the caller's.
#[cold]
fn refuse(run: &Run, drop_work: &mut dyn FnMut()) -> RawHandle {
    let &Run { id, handler, .. } = run;
    drop_unused(handler, id, drop_work);
    RawHandle::refused(id, handler, RefusedReason::ShutDown)
}

/// Drops the work of a call that does not run. A panic in there is not the caller's.
pub(crate) fn drop_unused(handler: &'static Handler, id: TaskId, drop_work: &mut dyn FnMut()) {
    if let Err(caught) = catch(drop_work) {
        report!(error, "an argument of a refused call panicked while it was dropped";
            name = handler.name(), id = id, panic = caught.message);
    }
}

#[cold]
fn report_refused(handler: &'static Handler, id: TaskId, called_at: &'static Location<'static>) {
    let name = handler.name();
    report!(warn, "call refused: the background work has shut down"; name = name, id = id, called_at = called_at);
}
