//! The events about calls that a policy rejects, at most one a second per function.
//! Owns plain data; must never know how an event is logged.

use super::throttle::Throttle;
use crate::RefusedReason;
use crate::stats::TaskId;
use std::panic::Location;
use tracing::Dispatch;

/// A rejected call, with all fields of its event except the count.
#[derive(Debug)]
pub(crate) struct RejectedCall {
    /// The name of the function.
    pub(crate) name: &'static str,
    pub(crate) id: TaskId,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) reason: RefusedReason,
}

/// An event that may be held back.
#[derive(Debug)]
pub(crate) struct RejectionEvent {
    pub(crate) call: RejectedCall,
    /// The subscriber of the thread that rejected the call. It receives the event even if the event is held back.
    pub(crate) subscriber: Dispatch,
}

/// How a call was rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rejection {
    /// The call was not accepted.
    Refused,
    /// The call was accepted, and dropped before it began.
    Dropped,
}

impl Rejection {
    pub(crate) const ALL: [Self; 2] = [Self::Refused, Self::Dropped];
}

/// The throttled events about the rejected calls of one function.
#[derive(Debug, Default)]
pub(crate) struct RejectionEvents {
    refused: Throttle<RejectionEvent>,
    dropped: Throttle<RejectionEvent>,
}

impl RejectionEvents {
    pub(crate) fn throttle(&self, rejection: Rejection) -> &Throttle<RejectionEvent> {
        match rejection {
            Rejection::Refused => &self.refused,
            Rejection::Dropped => &self.dropped,
        }
    }
}
