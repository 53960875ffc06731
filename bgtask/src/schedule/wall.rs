//! The wall clock of a schedule: the machine's, or that of a test, which advances with tokio's clock. Must never know ticks.

use crate::policy::WallClock;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How often a sleep by the wall clock checks it at least: it may be set meanwhile.
pub(super) const LONGEST_NAP: Duration = Duration::from_secs(30);

/// The wall clock since a schedule began.
#[derive(Debug)]
pub(super) struct Wall {
    clock: Arc<WallClock>,
    /// Both were read at the same moment.
    tokio: Instant,
    std: std::time::Instant,
}

impl Wall {
    pub(super) fn new(clock: Arc<WallClock>) -> Self {
        Self {
            clock,
            tokio: Instant::now(),
            std: std::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        if let Some(time) = self.clock.set_time() {
            return time;
        }
        // If a test has paused or advanced tokio's clock, we assume the same of the wall clock.
        let ahead = self.tokio.elapsed().as_nanos() as i128 - self.std.elapsed().as_nanos() as i128;
        let difference = match ahead.unsigned_abs() {
            // At most the time it takes to read two clocks.
            0..1_000_000 => Duration::ZERO,
            nanos => Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
        };
        let now = SystemTime::now();
        let shown = if ahead < 0 {
            now.checked_sub(difference)
        } else {
            now.checked_add(difference)
        };
        shown.unwrap_or(now)
    }
}
