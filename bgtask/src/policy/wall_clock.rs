//! The wall clock of the schedules: the machine's, or the time that a test has set, which advances with tokio's clock.
//! Must never know ticks.

use crate::util::sync::unmodelled::Mutex;
use std::time::SystemTime;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct WallClock(Mutex<Option<SetTime>>);

#[derive(Clone, Copy, Debug)]
struct SetTime {
    time: SystemTime,
    at: Instant,
}

impl WallClock {
    pub(crate) fn set(&self, time: SystemTime) {
        let at = Instant::now();
        *self.0.lock() = Some(SetTime { time, at });
    }

    /// Returns the time, if a test has set it.
    pub(crate) fn set_time(&self) -> Option<SystemTime> {
        // Held for a copy.
        let set = *self.0.lock();
        let set = set?;
        set.time.checked_add(set.at.elapsed())
    }

    /// Returns the time that a test has set, or the machine's.
    pub(crate) fn now(&self) -> SystemTime {
        self.set_time().unwrap_or_else(SystemTime::now)
    }
}
