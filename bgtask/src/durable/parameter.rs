//! The `job: bgtask::Job` parameter of a durable function, and its recognition in others.
//! Knows the claimed job through its interface alone.

use super::claimed::ClaimedJob;
use super::codec::{check_output, encode_output};
use super::progress::Progress;
use super::store::{BoxFuture, Store};
use super::transaction::{CompleteError, Transaction};
use crate::policy::Claimed;
use crate::stats::JobId;
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::SystemTime;

/// The job that an attempt of a durable function runs.
///
/// The worker fills in a parameter of this type, at any position of the signature. The caller does not pass it. The attribute
/// recognizes `Job` and `bgtask::Job`; a type of your own with this name is written with its path, such as `crate::Job`. Clones are the
/// same job.
///
/// # Examples
///
/// ```
/// use bgtask::{Job, background};
///
/// #[background(durable)]
/// async fn render(job: Job, pages: Vec<String>) -> usize {
///     for (done, page) in pages.iter().enumerate() {
///         job.progress(done as f64 / pages.len() as f64, format!("rendering {page}"));
///         // …
///     }
///     pages.len()
/// }
/// ```
#[derive(Clone)]
pub struct Job(Arc<dyn ClaimedJob>);

impl Job {
    /// Returns the id of the job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.0.id()
    }

    /// Returns the store of the job, for the crate that brings it.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        self.0.store()
    }

    /// Returns the number of the attempt that runs, from 1. An attempt that a shutdown or a crash gave back is not counted.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    /// Returns the number of attempts that the job may have: `retry(max = …)` when it was stored.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.0.max_attempts()
    }

    /// Returns the tick of the function's schedule that this is the job of. `None` for a job that was called.
    ///
    /// The tick is a time of the database's clock. The job runs later than its tick if there is `jitter`, if no worker was free, or
    /// if the tick was missed and `missed` gives it a run: with `"all"`, each run has its own tick, and with `"once"`, the one run
    /// has the last.
    #[must_use]
    pub fn tick(&self) -> Option<SystemTime> {
        self.0.tick()
    }

    /// Has the progress stored, for [`JobStatus::progress`](super::JobStatus::progress).
    ///
    /// `fraction` is the part that is done, from 0 to 1, and `note` has at most 200 characters; other values are brought into these
    /// limits. Never blocks. At most 4 are stored per second, and the last always is.
    pub fn progress(&self, fraction: f64, note: impl Into<String>) {
        self.0.progress(Progress::new(fraction, note));
    }

    /// Completes the job with this value in a transaction of the program's: what the transaction writes and the job's end happen
    /// together, exactly once, or not at all.
    ///
    /// `value` is the value of the function, as `Ok` has it. Commit the transaction afterwards, and return. If it is not committed, the
    /// attempt has failed, whatever the function returns; if it is, the job is done, whatever the function returns.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// #[background(durable)]
    /// async fn book(job: Job, State(pool): State<SqlitePool>, order: u64) -> Result<u64, sqlx::Error> {
    ///     let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    ///     sqlx::query("INSERT INTO bookings …").execute(&mut *transaction).await?;
    ///     job.complete_in(&mut transaction, &order).await?;
    ///     transaction.commit().await?;
    ///     Ok(order)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CompleteError::Lost`] if another attempt holds the job, and the other reasons why the value cannot be stored. Roll the
    /// transaction back.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, roll the transaction back.
    #[must_use = "nothing is completed until it is awaited"]
    pub fn complete_in<'t, Via: 't, T: Serialize + ?Sized>(
        &self,
        transaction: impl Transaction<'t, Via>,
        value: &T,
    ) -> BoxFuture<'t, Result<(), CompleteError>> {
        let encoded = encode_output(value);
        let claimed = self.0.clone();
        Box::pin(async move {
            let encoded = encoded?;
            check_output(&encoded, claimed.store().output_limit())?;
            transaction.complete(claimed, encoded).await
        })
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id())
            .field("attempt", &self.attempt())
            .field("max_attempts", &self.max_attempts())
            .finish()
    }
}

/// A parameter that the worker fills in with the job.
#[diagnostic::on_unimplemented(
    message = "a `Job` parameter of a `durable` function is the job that runs, a `bgtask::Job`",
    label = "this is another type named `Job`",
    note = "for a stored argument, write the path of its type, such as `crate::Job`"
)]
pub trait JobParameter: Sized {
    fn of(claimed: &Claimed) -> Self;
}

impl JobParameter for Job {
    fn of(claimed: &Claimed) -> Self {
        match claimed.job.downcast_ref::<Arc<dyn ClaimedJob>>() {
            Some(job) => Self(job.clone()),
            None => unreachable!("`Host::run` puts a claimed job there"),
        }
    }
}

/// Returns the job of an attempt. Generated code calls this.
pub fn job_parameter<T: JobParameter>(claimed: &Claimed) -> T {
    T::of(claimed)
}

/// Whether a type named `Job` is [`Job`]: a constant of the type itself is found before that of a trait.
#[derive(Debug)]
pub struct JobProbe<T>(PhantomData<fn() -> T>);

impl JobProbe<Job> {
    pub const IS_JOB: bool = true;
}

/// The answer for all other types.
pub trait OtherType {
    const IS_JOB: bool = false;
}

impl<T> OtherType for JobProbe<T> {}
