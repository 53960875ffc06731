//! The call path: from the call of an annotated function to a task that the runtime has and the books know.
//! Owns the order of the steps; generated code calls nothing else. Thin on purpose: what is generic is compiled anew
//! for every annotated function.

use crate::classify::Classify;
use crate::context;
use crate::handler::Handler;
use crate::notice::report;
use crate::policy::OnShutdown;
use crate::shared::Shared;
use crate::stats::TaskId;
use crate::supervise::{
    self, BoxedClosure, BoxedFuture, Delivery, Record, SupervisedClosure, SupervisedFuture,
};
use crate::{RefusedReason, ShutdownToken, TaskHandle};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

/// A call between its acceptance and its launch. Dropped before the launch, it is accounted for as aborted.
#[derive(Debug)]
pub struct Run(RunState);

#[derive(Debug)]
enum RunState {
    Accepted(Record),
    Refused {
        shared: Arc<Shared>,
        handler: &'static Handler,
        id: TaskId,
    },
}

impl Run {
    /// The token for the function's parameter.
    pub fn token(&self) -> ShutdownToken {
        let (shared, handler, key) = match &self.0 {
            RunState::Accepted(record) => (&record.shared, record.handler, Some(record.key)),
            RunState::Refused {
                shared, handler, ..
            } => (shared, *handler, None),
        };
        ShutdownToken::of_task(shared.clone(), key, finishes(handler))
    }

    /// Hands an accepted call to `spawn`; `work` of a refused one is dropped by the caller.
    fn launch<T>(
        self,
        classify: Classify<T>,
        spawn: impl FnOnce(Arc<Shared>, Record) -> JoinHandle<Delivery>,
    ) -> TaskHandle<T> {
        match self.0 {
            RunState::Refused { handler, id, .. } => {
                TaskHandle::refused(id, handler.name(), RefusedReason::ShutDown)
            }
            RunState::Accepted(record) => {
                let shared = record.shared.clone();
                let (id, key, handler) = (record.id, record.key, record.handler);
                let join = spawn(shared.clone(), record);
                TaskHandle::accepted(
                    id,
                    handler.name(),
                    join,
                    shared,
                    key,
                    finishes(handler),
                    supervise::needs_owner(classify),
                )
            }
        }
    }
}

fn finishes(handler: &Handler) -> bool {
    handler.on_shutdown() == OnShutdown::Finish
}

/// Writes the call down. From here on it is accounted for.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn begin(handler: &'static Handler) -> Run {
    let called_at = Location::caller();
    let shared = context::current(handler.name());
    let id = shared.ledger.next_id();
    let called = Instant::now();
    Run(match shared.ledger.accept(id, handler, called_at, called) {
        Some(key) => RunState::Accepted(Record::new(shared, handler, id, key, called_at, called)),
        None => {
            report_refused(handler, id, called_at);
            RunState::Refused {
                shared,
                handler,
                id,
            }
        }
    })
}

/// Starts an `async fn`'s future on the runtime.
pub fn launch<T, F>(run: Run, future: F, classify: Classify<T>) -> TaskHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    // Boxed here, at the boundary: spawning each type by itself costs users ten times the compile time.
    let future = supervise::erase(future, classify);
    run.launch(classify, |shared, record| spawn(&shared, record, future))
}

/// Starts a plain `fn` on the blocking pool.
pub fn launch_blocking<T, F>(run: Run, work: F, classify: Classify<T>) -> TaskHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let work = supervise::erase_closure(work, classify);
    run.launch(classify, |shared, record| {
        spawn_blocking(&shared, record, work)
    })
}

fn spawn(shared: &Shared, record: Record, future: BoxedFuture) -> JoinHandle<Delivery> {
    shared.runtime.spawn(SupervisedFuture::new(record, future))
}

fn spawn_blocking(shared: &Shared, record: Record, work: BoxedClosure) -> JoinHandle<Delivery> {
    let supervised = SupervisedClosure::new(record, work);
    shared.runtime.spawn_blocking(move || supervised.run())
}

#[cold]
fn report_refused(handler: &'static Handler, id: TaskId, called_at: &'static Location<'static>) {
    let name = handler.name();
    report!(warn, "call refused: the background work has shut down"; name = name, id = id, called_at = called_at);
}
