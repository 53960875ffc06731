//! The interface between bgtask and a store of durable jobs: one trait and plain data.
//! Must never know a database.

use super::error::EnqueueError;
use super::job::{JobError, JobId, JobStatus};
use crate::tracker::attached::Attached;
use serde_json::value::RawValue;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A boxed future, so that [`Store`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A database of jobs. Programs use `bgtask-durable`'s and never call it directly.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Stores a job. It is stored when the future returns its id.
    ///
    /// Once polled, the job may be stored even if the future is dropped.
    fn enqueue(&self, job: EncodedJob) -> BoxFuture<'_, Result<JobId, EnqueueError>>;

    /// Reads what a job is doing.
    fn status(&self, id: JobId) -> BoxFuture<'_, Result<JobStatus, JobError>>;

    /// Waits until a job has ended, and returns its encoded value.
    fn outcome(&self, id: JobId) -> BoxFuture<'_, Result<Box<RawValue>, JobError>>;

    /// Blocks until every attempt that has ended is stored and the others have been returned to their queues, at the latest
    /// until `until`. Called once, by the shutdown, when the drain is over.
    fn close(&self, until: Instant);
}

/// The store that is attached to a manager.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
}

impl Attached for Opened {
    fn close(&self, until: Instant) {
        self.store.close(until);
    }
}

/// When a job may run at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Immediately.
    Now,
    /// This long after it is stored.
    After(Duration),
    /// At this time.
    At(SystemTime),
}

/// A call as it is stored.
#[non_exhaustive]
pub struct EncodedJob {
    /// The name of the function.
    pub function: &'static str,
    /// The arguments: an object with a member for each parameter.
    pub arguments: Box<RawValue>,
    /// The queue.
    pub queue: &'static str,
    /// 1 runs first, 4 last.
    pub priority: u8,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// How long the job stays once it is done or cancelled. `None` is the store's default.
    pub keep: Option<Duration>,
    /// When it may run.
    pub start: Start,
}

impl fmt::Debug for EncodedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedJob")
            .field("function", &self.function)
            // Arguments may be secret, and are never logged.
            .field(
                "arguments",
                &format_args!("{} bytes", self.arguments.get().len()),
            )
            .field("queue", &self.queue)
            .field("priority", &self.priority)
            .field("max_attempts", &self.max_attempts)
            .field("keep", &self.keep)
            .field("start", &self.start)
            .finish()
    }
}
