//! Whether a process is alive and ready, for those who watch it.
//! Owns both checks; must never know the server that answers a probe.

use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use std::fmt;

/// The health of a process; see [`health`](crate::health()).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Health {
    /// Whether the process works as it should. If not, restart it.
    ///
    /// Also `ok` during a shutdown, because a restart would cut off the drain, which has a deadline of its own.
    pub liveness: Check,
    /// Whether the process should receive requests. If not, send them elsewhere.
    pub readiness: Check,
}

/// The answer of one health check. Displays `ok`, or the reason why not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Check {
    /// Why the answer is no.
    reason: Option<String>,
}

impl Check {
    const OK: Self = Self { reason: None };

    /// Returns whether the answer is yes.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.reason.is_none()
    }

    /// Returns the reason, if the answer is no.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns the status code of HTTP that says the same: 200, or 503.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.is_ok() { 200 } else { 503 }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.reason().unwrap_or("ok"))
    }
}

pub(crate) fn check(shared: &Shared) -> Health {
    if shared.shutdown.phase() != Phase::Running {
        return Health {
            liveness: Check::OK,
            readiness: Check {
                reason: Some("shutting down".to_owned()),
            },
        };
    }
    let work = Check {
        reason: store_fails(shared),
    };
    Health {
        liveness: work.clone(),
        readiness: work,
    }
}

/// Returns why the store of durable jobs, if one is open, does not work as it should.
#[cfg(feature = "durable")]
fn store_fails(shared: &Shared) -> Option<String> {
    shared.attached.get()?.check().err()
}

#[cfg(not(feature = "durable"))]
fn store_fails(_shared: &Shared) -> Option<String> {
    None
}
