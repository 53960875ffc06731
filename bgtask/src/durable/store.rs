//! The interface between bgtask and a store of durable jobs: one trait and plain data.
//! Must never know a database.

use super::encoded::{ARGUMENT_LIMIT, OUTPUT_LIMIT};
pub use super::encoded::{EncodedJob, Start, Unique};
use super::error::EnqueueError;
use super::event::JobEvents;
use super::job::{JobError, JobStatus};
use super::notify::NotifyTarget;
#[cfg(feature = "live")]
use super::ticket::Ticket;
use super::ticks::Ticks;
use crate::stats::JobId;
use crate::tracker::attached::Attached;
use serde_json::value::RawValue;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "live")]
use std::time::Duration;
use std::time::Instant;

/// A boxed future, so that [`Store`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A database of jobs. Programs use `bgtask-durable`'s and never call it directly.
pub trait Store: Any + fmt::Debug + Send + Sync + 'static {
    /// Stores jobs in one transaction, and returns one result per job, in their order. They are stored when the future returns.
    ///
    /// Once polled, the jobs may be stored even if the future is dropped.
    fn enqueue(&self, jobs: Vec<EncodedJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError>>;

    /// Reads what a job is doing.
    fn status(&self, id: JobId) -> BoxFuture<'_, Result<JobStatus, JobError>>;

    /// Waits until a job has ended, and returns its encoded value.
    fn outcome(&self, id: JobId) -> BoxFuture<'_, Result<Box<RawValue>, JobError>>;

    /// Returns the events of a job: its present state if its version is greater than `after`, each newer one, and always its end.
    fn watch(&self, id: JobId, after: Option<u64>) -> JobEvents;

    /// Signs a ticket for a job. With `with_value`, its holder also sees the value or the error of the job.
    #[cfg(feature = "live")]
    fn ticket(&self, id: JobId, ttl: Duration, with_value: bool) -> Result<Ticket, JobError> {
        let _ = (id, ttl, with_value);
        let cure = "this store signs no tickets: turn the feature `live` of bgtask-durable on";
        Err(JobError::store(cure.to_owned()))
    }

    /// Cancels a job: one that does not run is cancelled at once, and the token of one that runs fires. Returns `false` if the job
    /// had ended.
    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>>;

    /// Makes a scheduled or retrying job available at once, and a dead or cancelled one with its attempts counted anew. Returns
    /// `false` if there is nothing to do: the job waits, runs or is done.
    fn retry_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>>;

    /// Stores a job for each tick of this schedule from now on, until the shutdown is requested. Called once per schedule.
    fn schedule(&self, ticks: Ticks);

    /// Blocks until every attempt that has ended is stored and the others have been returned to their queues, at the latest
    /// until `until`. Called once, by the shutdown, when the drain is over.
    fn close(&self, until: Instant);

    /// Returns the size that the encoded arguments of one job may have, in bytes.
    fn argument_limit(&self) -> usize {
        ARGUMENT_LIMIT
    }

    /// Returns the size that the encoded output of one job may have, in bytes.
    fn output_limit(&self) -> usize {
        OUTPUT_LIMIT
    }

    /// Checks what is to follow the end of a job, as far as this process knows the target's channel.
    ///
    /// # Errors
    /// With the reason why it cannot be delivered, and the cure.
    fn check_target(&self, target: &NotifyTarget) -> Result<(), String> {
        let _ = target;
        Ok(())
    }

    /// Checks whether the store works as it should, for the health of the process.
    ///
    /// # Errors
    /// With the reason why not.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Describes the jobs that are still to run: the `idle()` of a test waits for them. Only the test kit's own store has any,
    /// and calls [`Host::jobs_changed`](super::Host::jobs_changed) when they change.
    fn unfinished(&self) -> Vec<String> {
        Vec::new()
    }
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

    fn check(&self) -> Result<(), String> {
        self.store.check()
    }

    fn unfinished(&self) -> Vec<String> {
        self.store.unfinished()
    }
}

/// A job that was stored, or was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// The job.
    pub id: JobId,
    /// The call was not stored, because this job has the same key.
    pub is_duplicate: bool,
}

impl Enqueued {
    /// Returns the result of one call, for a store.
    #[must_use]
    pub fn new(id: JobId, is_duplicate: bool) -> Self {
        Self { id, is_duplicate }
    }
}
