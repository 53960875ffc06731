//! A stored job as its caller has it.
//! Reads through the store; knows nothing of how a job is run.

use super::codec::ValueOf;
use super::event::JobEvents;
use super::job::{JobError, JobStatus};
use super::store::{Enqueued, Store};
#[cfg(feature = "live")]
use super::ticket::Ticket;
use crate::stats::JobId;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "live")]
use std::time::Duration;

/// A stored job whose value is a `T`. Dropping the handle changes nothing: the job runs.
pub struct JobHandle<T> {
    id: JobId,
    store: Arc<dyn Store>,
    is_duplicate: bool,
    value: ValueOf<T>,
}

impl<T> JobHandle<T> {
    /// Returns the handle of a job of this store.
    pub fn new(id: JobId, store: Arc<dyn Store>) -> Self {
        Self {
            id,
            store,
            is_duplicate: false,
            value: ValueOf::NEW,
        }
    }

    /// Returns the handle of the job that a call stored, or that kept it from being stored.
    pub(super) fn of(enqueued: Enqueued, store: Arc<dyn Store>) -> Self {
        Self {
            is_duplicate: enqueued.is_duplicate,
            ..Self::new(enqueued.id, store)
        }
    }

    /// The job's id, with which another process, or this one after a restart, finds the job again.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Returns whether the call stored nothing, because this job, with the same key, was there: `unique`, or
    /// [`Enqueue::key`](super::Enqueue::key).
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// Reads what the job is doing.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Gone`], and [`JobError::Store`] if the database cannot be read.
    pub async fn status(&self) -> Result<JobStatus, JobError> {
        self.store.status(self.id).await
    }

    /// Waits until the job has ended, in whichever process, and returns its value.
    ///
    /// It waits as long as the job takes, also for a job whose function no worker knows; for a limit, use
    /// `tokio::time::timeout`.
    ///
    /// # Errors
    /// If the job ended without a value, is not there, or cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing, and `outcome` may be called again.
    pub async fn outcome(&self) -> Result<T, JobError>
    where
        T: DeserializeOwned,
    {
        let value = self.store.outcome(self.id).await?;
        serde_json::from_str(value.get()).map_err(|error| JobError::Undecodable {
            message: error.to_string(),
        })
    }

    /// Watches the job: its present state, each newer one, and its end, in whichever process it runs. The last item is the end, or
    /// the reason why there is none: [`JobError::NotFound`], [`JobError::Gone`], or [`JobError::Store`] once the store is closed.
    ///
    /// A slow reader gets the present state and not those in between; it never misses the end. While the database cannot be read,
    /// the stream waits.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn show(job: bgtask::durable::JobHandle<String>) -> Result<(), bgtask::durable::JobError> {
    /// let mut events = job.watch();
    /// while let Some(event) = events.next().await {
    ///     let event = event?;
    ///     println!("{} {:?}", event.state, event.progress);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self) -> JobEvents {
        self.store.watch(self.id, None)
    }

    /// The same for one who has seen this version: leaves the present state out unless it is newer. The end is always there.
    pub fn watch_after(&self, version: u64) -> JobEvents {
        self.store.watch(self.id, Some(version))
    }

    /// Returns a ticket, with which a page or another program may see the state and the progress of this one job for this time,
    /// without any other right. The feature `live` of `bgtask-durable` has the routes that take it.
    ///
    /// The time is counted by the clocks of the machines that sign and check, in whole seconds, rounded up. A ticket cannot be
    /// revoked, so let it live no longer than it is needed.
    ///
    /// # Examples
    /// ```no_run
    /// # fn link(job: bgtask::durable::JobHandle<String>) -> Result<String, bgtask::durable::JobError> {
    /// let ticket = job.ticket(std::time::Duration::from_secs(3600))?;
    /// let events = format!("/jobs/{ticket}/events");
    /// # Ok(events)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`JobError::Store`] if the time is zero, or the store signs no tickets.
    #[cfg(feature = "live")]
    pub fn ticket(&self, ttl: Duration) -> Result<Ticket, JobError> {
        self.store.ticket(self.id, ttl, false)
    }

    /// The same, and its holder also sees the value of the job, or the text of its error, once it has ended.
    ///
    /// # Errors
    /// Those of [`ticket`](Self::ticket).
    #[cfg(feature = "live")]
    pub fn ticket_with_value(&self, ttl: Duration) -> Result<Ticket, JobError> {
        self.store.ticket(self.id, ttl, true)
    }

    /// Cancels the job, from any process. Returns `false` if it had ended.
    ///
    /// A job that does not run is cancelled at once. The [`ShutdownToken`](crate::ShutdownToken) of one that runs fires at
    /// once if it runs in this process, otherwise within a quarter of the time to live. If the attempt then ends with a value, the job is done; otherwise it is
    /// cancelled, and no other attempt follows.
    ///
    /// # Errors
    /// Those of [`status`](Self::status).
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the job may or may not be cancelled.
    pub async fn cancel(&self) -> Result<bool, JobError> {
        self.store.cancel(self.id).await
    }

    /// Makes the job run as soon as a worker is free: a scheduled or retrying one does not wait for its time, and a dead or cancelled
    /// one starts again, with its attempts counted anew. Returns `false` if there is nothing to do, because the job waits, runs, is
    /// parked or is done.
    ///
    /// # Errors
    /// Those of [`status`](Self::status), and [`JobError::Store`] for a dead or cancelled job if there is another one with its key.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the job may or may not start again.
    pub async fn retry_now(&self) -> Result<bool, JobError> {
        self.store.retry_now(self.id).await
    }
}

impl<T> Clone for JobHandle<T> {
    fn clone(&self) -> Self {
        Self {
            is_duplicate: self.is_duplicate,
            ..Self::new(self.id, self.store.clone())
        }
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("id", &self.id)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
