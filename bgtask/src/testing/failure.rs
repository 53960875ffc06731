//! The kinds of failure that fail a test.
//! Knows nothing of calls or jobs.

use crate::stats::Outcome;

/// The failures that fail a test unless they are declared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    Panic,
    Error,
    Timeout,
}

impl FailureKind {
    /// Returns the kind of a failure whose handle was awaited.
    pub(super) fn from_outcome(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Failed => Some(Self::Error),
            Outcome::TimedOut => Some(Self::Timeout),
            _ => None,
        }
    }
}
