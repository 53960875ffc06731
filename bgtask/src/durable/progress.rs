//! How far a running job is. Plain data: knows nothing of jobs or stores.

use serde::{Deserialize, Serialize};

/// The longest note of a progress, in characters.
const NOTE_LIMIT: usize = 200;

/// How far a running job is, by its own account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The part that is done, from 0 to 1.
    pub fraction: f64,
    /// A description of the current step, in at most 200 characters.
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
