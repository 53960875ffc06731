//! What is kept of calls that a policy turns away, for the lines about them.
//! Plain data; knows nothing of how the lines are written.

use super::burst::Burst;
use crate::RefusedReason;
use crate::stats::TaskId;
use std::panic::Location;
use tracing::Dispatch;

/// One call, with all that its line says but the count.
#[derive(Debug)]
pub(crate) struct TurnedAway {
    /// Of its function.
    pub(crate) name: &'static str,
    pub(crate) id: TaskId,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) reason: RefusedReason,
}

/// A line that may be held back.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) call: TurnedAway,
    /// Of the thread that turned it away: held back, the line goes there too.
    pub(crate) subscriber: Dispatch,
}

/// What became of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It was not accepted.
    Refused,
    /// It was accepted, and dropped before it began.
    Dropped,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Refused, Self::Dropped];
}

/// The lines about the calls of one function.
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
