//! The data of calls that a policy turns away, for the log lines about them.
//! Plain data; knows nothing of how the lines are written.

use super::burst::Burst;
use crate::RefusedReason;
use crate::stats::TaskId;
use std::panic::Location;
use tracing::Dispatch;

/// One call, with everything its log line says except the count.
#[derive(Debug)]
pub(crate) struct TurnedAway {
    /// The name of the function.
    pub(crate) name: &'static str,
    pub(crate) id: TaskId,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) reason: RefusedReason,
}

/// A log line that may be held back.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) call: TurnedAway,
    /// The subscriber of the thread that turned the call away. A held-back line also goes to it.
    pub(crate) subscriber: Dispatch,
}

/// How the call was turned away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The call was not accepted.
    Refused,
    /// The call was accepted, and dropped before it began.
    Dropped,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Refused, Self::Dropped];
}

/// The log lines about the calls of one function.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    refused: Burst<Line>,
    dropped: Burst<Line>,
}

impl Lines {
    pub(crate) fn of(&self, kind: Kind) -> &Burst<Line> {
        match kind {
            Kind::Refused => &self.refused,
            Kind::Dropped => &self.dropped,
        }
    }
}
