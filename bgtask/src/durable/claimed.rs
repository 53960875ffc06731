//! A claimed job: the interface between a store and one attempt, and the `job: bgtask::Job` parameter of a durable function.
//! Knows nothing of how the attempt runs, or of a database.

use super::job::JobId;
use super::store::Store;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A claimed job, as the store gives it to an attempt.
pub trait ClaimedJob: Any + fmt::Debug + Send + Sync {
    /// The job.
    fn id(&self) -> JobId;

    /// The number of the attempt, from 1.
    fn attempt(&self) -> u32;

    /// The number of attempts that the job may have.
    fn max_attempts(&self) -> u32;

    /// Takes the progress of the attempt. Never blocks. Only the latest is stored, at most 4 times a second.
    fn progress(&self, progress: Progress);

    /// The store of the job.
    fn store(&self) -> Arc<dyn Store>;
}

/// The longest note of a progress, in characters.
const NOTE_LIMIT: usize = 200;

/// How far a running job is, by its own account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The part that is done, from 0 to 1.
    pub fraction: f64,
    /// What the job is doing, in at most 200 characters.
    pub note: String,
}

impl Progress {
    /// Returns a progress that can be stored: the fraction is brought into 0 to 1, with 0 for a NaN, the note is cut to 200
    /// characters, and its NUL characters are replaced.
    pub fn new(fraction: f64, note: impl Into<String>) -> Self {
        let mut note = note.into();
        if let Some((end, _)) = note.char_indices().nth(NOTE_LIMIT) {
            note.truncate(end);
        }
        // Databases do not store a NUL.
        if note.contains('\0') {
            note = note.replace('\0', "\u{fffd}");
        }
        Self {
            fraction: if fraction.is_nan() {
                0.0
            } else {
                fraction.clamp(0.0, 1.0)
            },
            note,
        }
    }
}
