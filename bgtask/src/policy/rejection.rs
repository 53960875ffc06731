//! Calls that a policy rejects, as their log lines need them.
//! Plain data; must never know how the lines are written.

use super::burst::Burst;
use crate::RefusedReason;
use crate::stats::TaskId;
use std::panic::Location;
use tracing::Dispatch;

/// One rejected call.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// The name of the function.
    pub(crate) name: &'static str,
    pub(crate) id: TaskId,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) reason: RefusedReason,
}

/// A rejection whose log line may be held back.
#[derive(Debug)]
pub(crate) struct LoggedRejection {
    pub(crate) rejection: Rejection,
    /// The subscriber of the thread that rejected the call. A held-back line also goes to it.
    pub(crate) subscriber: Dispatch,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum RejectionKind {
    /// The call was not accepted.
    Refused,
    /// The call was accepted, and dropped before it began.
    Dropped,
}

impl RejectionKind {
    pub(crate) const ALL: [Self; 2] = [Self::Refused, Self::Dropped];
}

/// The log lines about rejected calls of one function.
#[derive(Debug, Default)]
pub(crate) struct RejectionLog {
    refused: Burst<LoggedRejection>,
    dropped: Burst<LoggedRejection>,
}

impl RejectionLog {
    pub(crate) fn lines(&self, kind: RejectionKind) -> &Burst<LoggedRejection> {
        match kind {
            RejectionKind::Refused => &self.refused,
            RejectionKind::Dropped => &self.dropped,
        }
    }
}
