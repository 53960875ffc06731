//! The jobs of an open store, as the program has them. Must never know whether the store is a database or that of a test.

use crate::followup::Channels;
#[cfg(feature = "dashboard")]
use crate::inspected::Inspected;
use crate::operate::{Filter, Stats};
use crate::settings::Role;
#[cfg(feature = "live")]
use crate::ticket::Tickets;
use crate::watch::States;
use bgtask::durable::{
    BoxFuture, EnqueueError, JobError, JobHandle, JobId, JobState, JobStatus, Store, is_queue_name,
};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a store does for the program, beside what the seam asks of it.
pub(crate) trait Backend: Store {
    fn stats(&self) -> BoxFuture<'_, Result<Stats, JobError>>;
    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<JobStatus>, JobError>>;
    fn set_paused(&self, queue: String, is_paused: bool) -> BoxFuture<'_, Result<(), JobError>>;
    fn retry_dead(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>>;
    fn delete(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>>;
    /// Returns the channels over which the ends of its jobs are delivered.
    fn channels(&self) -> &Channels;
    /// Returns what signs and checks its tickets.
    #[cfg(feature = "live")]
    fn tickets(&self) -> &Tickets;
    /// Returns the database, for the pages about it. `None` for the store of a test.
    #[cfg(feature = "dashboard")]
    fn inspected(&self) -> Option<Inspected> {
        None
    }
    /// Returns the states of a job, with the value or error of its end or without.
    fn states(&self, id: JobId, with_value: bool) -> States;
}

/// The jobs of an open store; see [`open()`](crate::open).
///
/// Dropping it changes nothing: the store stays open until the shutdown.
///
/// # Examples
/// ```no_run
/// use bgtask_durable::Filter;
///
/// # async fn repair(jobs: bgtask_durable::Jobs) -> Result<(), bgtask::durable::JobError> {
/// jobs.pause("mail").await?; // no process claims from it any more
/// let again = jobs.retry_dead(Filter::all().queue("mail")).await?;
/// println!("{again} jobs run again once the queue is resumed");
/// jobs.resume("mail").await
/// # }
/// ```
#[derive(Clone)]
pub struct Jobs {
    store: Arc<dyn Backend>,
    role: Role,
    health_addr: Option<SocketAddr>,
}

impl Jobs {
    pub(crate) fn new(
        store: Arc<dyn Backend>,
        role: Role,
        health_addr: Option<SocketAddr>,
    ) -> Self {
        Self {
            store,
            role,
            health_addr,
        }
    }

    /// Returns what this process does with the jobs: a `main` that is also started as a worker serves no requests then.
    ///
    /// In a test, the one store of the test works whatever the role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the address at which `GET /healthz` is answered, if that is set; with port 0, the one that the system has chosen.
    #[must_use]
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    /// Returns the handle of a job by its id, for example one that was kept across a restart. `T` is the type of its function's
    /// value.
    #[must_use]
    pub fn get<T>(&self, id: JobId) -> JobHandle<T> {
        JobHandle::new(id, self.store.clone())
    }

    /// Returns the database, for the pages about it.
    #[cfg(feature = "dashboard")]
    pub(crate) fn inspected(&self) -> Option<Inspected> {
        self.store.inspected()
    }

    /// Counts the jobs in this state.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn count(&self, state: JobState) -> Result<u64, JobError> {
        Ok(self.stats().await?.count(state))
    }

    /// Counts the jobs by queue and state, exactly.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn stats(&self) -> Result<Stats, JobError> {
        self.store.stats().await
    }

    /// Returns the jobs of the filter, the latest first: up to its limit, and at most 1000.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Vec<JobStatus>, JobError> {
        self.store.list(filter).await
    }

    /// Pauses a queue: no process claims its jobs until it is resumed. Jobs that run go on, and calls are stored.
    ///
    /// # Errors
    /// If no queue can have this name, or the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the queue may or may not be paused.
    pub async fn pause(&self, queue: impl Into<String>) -> Result<(), JobError> {
        self.store.set_paused(named(queue.into())?, true).await
    }

    /// Resumes a paused queue.
    ///
    /// # Errors
    /// If no queue can have this name, or the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the queue may or may not be resumed.
    pub async fn resume(&self, queue: impl Into<String>) -> Result<(), JobError> {
        self.store.set_paused(named(queue.into())?, false).await
    }

    /// Makes all dead jobs of the filter available, with their attempts and crashes counted anew; returns their number. A state
    /// and a limit of the filter are ignored. A job whose key another job has taken meanwhile stays dead; of several dead jobs with one
    /// key, the latest is tried again.
    ///
    /// # Errors
    /// If the database cannot be written. Some of the jobs may be available then.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the jobs may be available.
    pub async fn retry_dead(&self, filter: Filter) -> Result<u64, JobError> {
        self.store.retry_dead(filter).await
    }

    /// Deletes a job that does not run. Returns `false` if it runs: cancel it first.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Gone`], and [`JobError::Store`] if the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job may or may not be deleted.
    pub async fn delete(&self, id: JobId) -> Result<bool, JobError> {
        self.store.delete(id).await
    }
}

/// Checks the name of a queue, as each call does: a wrong one would pause nothing.
fn named(queue: String) -> Result<String, JobError> {
    if is_queue_name(&queue) {
        return Ok(queue);
    }
    Err(JobError::store(EnqueueError::queue(queue).to_string()))
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}
