//! A claimed job: the interface between a store and one attempt, and the `job: bgtask::Job` parameter of a durable function.
//! Knows nothing of how the attempt runs, or of a database.

use super::progress::Progress;
use super::store::Store;
use crate::stats::JobId;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A claimed job, as the store gives it to an attempt.
pub trait ClaimedJob: Any + fmt::Debug + Send + Sync {
    /// The job.
    fn id(&self) -> JobId;

    /// The queue that it was claimed from.
    fn queue(&self) -> &str;

    /// The number of the attempt, from 1.
    fn attempt(&self) -> u32;

    /// The number of attempts that the job may have.
    fn max_attempts(&self) -> u32;

    /// The tick of a schedule that the job is of.
    fn tick(&self) -> Option<SystemTime>;

    /// Takes the progress of the attempt. Never blocks. Only the latest is stored, at most 4 times a second.
    fn progress(&self, progress: Progress);

    /// The store of the job.
    fn store(&self) -> Arc<dyn Store>;
}
