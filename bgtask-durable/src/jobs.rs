//! The jobs of an open store, as the program has them. Must never know whether the store is a database or that of a test.

use crate::followup::Channels;
#[cfg(feature = "dashboard")]
use crate::inspected::Inspected;
use crate::operate::{
    Edit, Filter, JobContent, JobDetails, QueueInfo, ScheduleInfo, Stats, Throughput, WorkerInfo,
};
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
use std::time::Duration;

/// The operations on the jobs of a store that [`Jobs`] offers.
pub(crate) trait Operations: Send + Sync {
    /// Returns the name of the database, without a password.
    fn name(&self) -> String;
    fn stats(&self) -> BoxFuture<'_, Result<Stats, JobError>>;
    fn throughput(&self) -> BoxFuture<'_, Result<Throughput, JobError>>;
    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<JobStatus>, JobError>>;
    fn matching(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>>;
    fn details(&self, id: JobId) -> BoxFuture<'_, Result<JobDetails, JobError>>;
    fn content(&self, id: JobId) -> BoxFuture<'_, Result<JobContent, JobError>>;
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, JobError>>;
    /// Watches the workers for at most this time.
    fn workers(&self, within: Duration) -> BoxFuture<'_, Result<Vec<WorkerInfo>, JobError>>;
    fn schedules(&self) -> BoxFuture<'_, Result<Vec<ScheduleInfo>, JobError>>;
    fn set_paused(&self, queue: String, is_paused: bool) -> BoxFuture<'_, Result<(), JobError>>;
    /// Pauses the schedule of a function for somebody, or resumes it. Returns whether that has changed it.
    fn set_schedule_paused(
        &self,
        function: String,
        by: Option<String>,
    ) -> BoxFuture<'_, Result<bool, JobError>>;
    fn run_schedule(&self, function: String) -> BoxFuture<'_, Result<JobId, JobError>>;
    fn retry_dead(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>>;
    fn edit(&self, id: JobId, edit: Edit) -> BoxFuture<'_, Result<bool, JobError>>;
    fn delete(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>>;
    fn prune(&self) -> BoxFuture<'_, Result<u64, JobError>>;
}

/// What an attached store has for the functions of this crate that find it there.
pub(crate) trait Backend: Store {
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
    store: Arc<dyn Store>,
    operations: Arc<dyn Operations>,
    role: Role,
    health_addr: Option<SocketAddr>,
}

impl Jobs {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        operations: Arc<dyn Operations>,
        role: Role,
        health_addr: Option<SocketAddr>,
    ) -> Self {
        Self {
            store,
            operations,
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

    /// Returns the address at which `GET /healthz` and `GET /readyz` are answered, if that is set; with port 0, the one that the system has
    /// chosen.
    #[must_use]
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    /// Returns the name of the database: its file, or its server, database and schema. It has no password.
    #[must_use]
    pub fn database(&self) -> String {
        self.operations.name()
    }

    /// Returns the handle of a job by its id, for example one that was kept across a restart. `T` is the type of its function's
    /// value.
    #[must_use]
    pub fn get<T>(&self, id: JobId) -> JobHandle<T> {
        JobHandle::new(id, self.store.clone())
    }

    /// Returns the store, for the pages about it.
    #[cfg(feature = "dashboard")]
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
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
        self.operations.stats().await
    }

    /// Returns how many attempts ended within the last hour and day, in all processes. Each process counts its own every two seconds, by the
    /// minute, and what a process that dies has not counted is missing. In a test, nothing is counted.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn throughput(&self) -> Result<Throughput, JobError> {
        self.operations.throughput().await
    }

    /// Returns the jobs of the filter, the latest first: up to its limit, and at most 1000.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Vec<JobStatus>, JobError> {
        self.operations.list(filter).await
    }

    /// Counts the jobs of the filter, whose limit is ignored. It reads an entry of an index for each of them, and all jobs if the filter
    /// has neither a function nor a state.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn matching(&self, filter: Filter) -> Result<u64, JobError> {
        self.operations.matching(filter).await
    }

    /// Returns a job with its history: its times, the worker of its last attempt, and the errors of all its attempts.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Gone`], and [`JobError::Store`] if the database cannot be read.
    pub async fn details(&self, id: JobId) -> Result<JobDetails, JobError> {
        self.operations.details(id).await
    }

    /// Returns the arguments and the value of a job. They may be secret: show them only to those who may see them.
    ///
    /// # Errors
    /// Those of [`details`](Self::details).
    pub async fn content(&self, id: JobId) -> Result<JobContent, JobError> {
        self.operations.content(id).await
    }

    /// Returns the queues that have jobs to run, are or were worked, or are paused, by their names and without the number of their jobs: it reads a few rows,
    /// however many jobs there are.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, JobError> {
        self.operations.queues().await
    }

    /// Returns the workers, the oldest first, and watches for at most this time which of them live: until each has shown a sign of life.
    /// A worker shows one four times in its time to live, so one that shows none within a time to live counts as dead. With zero, nothing
    /// is known of that. In a test there are none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn workers(&self, within: Duration) -> Result<Vec<WorkerInfo>, JobError> {
        self.operations.workers(within).await
    }

    /// Returns the schedules that the store keeps, by the names of their functions. In a test there are none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn schedules(&self) -> Result<Vec<ScheduleInfo>, JobError> {
        self.operations.schedules().await
    }

    /// Pauses a queue: no process claims its jobs until it is resumed. Jobs that run go on, and calls are stored.
    ///
    /// # Errors
    /// If no queue can have this name, or the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the queue may or may not be paused.
    pub async fn pause(&self, queue: impl Into<String>) -> Result<(), JobError> {
        self.operations.set_paused(named(queue.into())?, true).await
    }

    /// Resumes a paused queue.
    ///
    /// # Errors
    /// If no queue can have this name, or the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the queue may or may not be resumed.
    pub async fn resume(&self, queue: impl Into<String>) -> Result<(), JobError> {
        self.operations
            .set_paused(named(queue.into())?, false)
            .await
    }

    /// Pauses the schedule of a function, for all processes and through restarts: it has no ticks until it is resumed. `by` is whoever
    /// pauses it, for those who look at it. Returns `false` if it is paused already, and leaves it as it is.
    ///
    /// The function is the name under which its jobs are stored. Jobs that are stored run.
    ///
    /// # Errors
    /// If the database has no schedule of the function, or cannot be written. A test has none.
    ///
    /// # Cancel safety
    /// If the future is dropped, the schedule may or may not be paused.
    pub async fn pause_schedule(
        &self,
        function: impl Into<String>,
        by: impl Into<String>,
    ) -> Result<bool, JobError> {
        let paused = self
            .operations
            .set_schedule_paused(function.into(), Some(by.into()));
        paused.await
    }

    /// Resumes the schedule of a function: its next tick is the first after now, on the grid that it had. The ticks up to now are none, and
    /// `missed` does not apply to them. Returns `false` if it is not paused.
    ///
    /// # Errors
    /// Those of [`pause_schedule`](Self::pause_schedule).
    ///
    /// # Cancel safety
    /// If the future is dropped, the schedule may or may not be resumed.
    pub async fn resume_schedule(&self, function: impl Into<String>) -> Result<bool, JobError> {
        self.operations
            .set_schedule_paused(function.into(), None)
            .await
    }

    /// Stores a job of the schedule of a function at once, and returns its id. The schedule stays as it is, paused or not: its next tick
    /// comes when it would have come, and does not wait for this job. [`Job::tick`](bgtask::Job::tick) is the time of this call, by the
    /// clock of the database.
    ///
    /// # Errors
    /// Those of [`pause_schedule`](Self::pause_schedule), and if no process of this version has had the schedule yet.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job may or may not be stored.
    pub async fn run_schedule(&self, function: impl Into<String>) -> Result<JobId, JobError> {
        self.operations.run_schedule(function.into()).await
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
        self.operations.retry_dead(filter).await
    }

    /// Changes the priority and the time of a job that waits, is scheduled, or waits for its next attempt. Returns `false` if it runs, is
    /// parked, or has ended. A job whose time has come is waiting then, and one whose time is to come is scheduled or retrying.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Gone`], and [`JobError::Store`] if the priority is none of 1 to 4, the time is after the year
    /// 9999, or the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job may or may not be changed.
    pub async fn edit(&self, id: JobId, edit: Edit) -> Result<bool, JobError> {
        edit.check()?;
        self.operations.edit(id, edit).await
    }

    /// Deletes a job that does not run. Returns `false` if it runs: cancel it first.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Gone`], and [`JobError::Store`] if the database cannot be written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job may or may not be deleted.
    pub async fn delete(&self, id: JobId) -> Result<bool, JobError> {
        self.operations.delete(id).await
    }

    /// Deletes the jobs whose time in the database is over, and returns their number. Each worker does this once per minute: it is for a
    /// store without one.
    ///
    /// # Errors
    /// If the database cannot be written. Some of the jobs may be deleted then.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the jobs may be deleted.
    pub async fn prune(&self) -> Result<u64, JobError> {
        self.operations.prune().await
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
