//! A stored job as its caller has it.
//! Reads through the store; knows nothing of how a job is run.

use super::codec::ValueOf;
use super::job::{JobError, JobId, JobStatus};
use super::store::Store;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// A stored job whose value is a `T`. Dropping the handle changes nothing: the job runs.
pub struct JobHandle<T> {
    id: JobId,
    store: Arc<dyn Store>,
    value: ValueOf<T>,
}

impl<T> JobHandle<T> {
    /// Returns the handle of a job of this store.
    pub fn new(id: JobId, store: Arc<dyn Store>) -> Self {
        Self {
            id,
            store,
            value: ValueOf::NEW,
        }
    }

    /// The job's id, with which another process, or this one after a restart, finds the job again.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
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
}

impl<T> Clone for JobHandle<T> {
    fn clone(&self) -> Self {
        Self::new(self.id, self.store.clone())
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
