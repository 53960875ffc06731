//! The identity of a call: its id, its function, its call site and time.
//! Plain data; must never know where it is kept.

use crate::fields::Fields;
use crate::handler::Handler;
use crate::stats::{Outcome, TaskId, TaskState};
use std::panic::Location;
use std::time::{Duration, Instant};

/// The identity of a call, as logs, hooks and observers use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallInfo {
    pub(crate) id: TaskId,
    pub(crate) handler: &'static Handler,
    pub(crate) called_at: &'static Location<'static>,
    called: Instant,
}

impl CallInfo {
    pub(crate) fn new(
        id: TaskId,
        handler: &'static Handler,
        called_at: &'static Location<'static>,
    ) -> Self {
        Self {
            id,
            handler,
            called_at,
            called: Instant::now(),
        }
    }

    /// Returns the time of the call.
    pub(crate) fn called(&self) -> Instant {
        self.called
    }

    /// Returns the time since the call.
    pub(crate) fn age(&self) -> Duration {
        self.called.elapsed()
    }

    /// Returns the time from the call to `moment`.
    pub(crate) fn age_at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.called)
    }
}

/// A call that was live when the deadline passed.
#[derive(Clone, Debug)]
pub(crate) struct LateTask {
    pub(crate) identity: CallInfo,
    /// The age at the deadline.
    pub(crate) age: Duration,
    /// The state at the deadline.
    pub(crate) state: TaskState,
    pub(crate) outcome: Outcome,
    pub(crate) fields: Fields,
}
