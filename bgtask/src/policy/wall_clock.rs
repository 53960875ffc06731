//! What time it is for schedules: the time a test has set, moving with tokio's clock. Where nobody has set any, it is the
//! machine's, and that is the caller's to read. Knows nothing of ticks.

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

    /// The time, if it was set.
    pub(crate) fn set_time(&self) -> Option<SystemTime> {
        // Held for a copy.
        let set = *self.0.lock();
        let set = set?;
        set.time.checked_add(set.at.elapsed())
    }

    /// The time that was set, or the machine's.
    pub(crate) fn now(&self) -> SystemTime {
        self.set_time().unwrap_or_else(SystemTime::now)
    }
}
