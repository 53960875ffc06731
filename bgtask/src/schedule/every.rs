//! `every`: ticks at whole periods from the start on, however long the runs take.

use super::clock::Clock;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Every {
    begin: Instant,
    period: Duration,
}

impl Every {
    pub(super) fn new(period: Duration) -> Self {
        Self {
            begin: Instant::now(),
            period,
        }
    }
}

impl Clock for Every {
    type Point = Instant;
    const LONGEST_NAP: Duration = Duration::MAX;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn between(&self, begin: Instant, end: Instant) -> Duration {
        end.saturating_duration_since(begin)
    }

    fn later(&self, point: Instant, by: Duration) -> Instant {
        point.checked_add(by).unwrap_or(point)
    }

    fn after(&self, point: Instant) -> Option<Instant> {
        let passed = point.saturating_duration_since(self.begin).as_nanos();
        let ticks = passed / self.period.as_nanos() + 1;
        let nanos = u64::try_from(ticks.checked_mul(self.period.as_nanos())?).ok()?;
        self.begin.checked_add(Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ticks_stay_on_their_grid() {
        let every = Every::new(Duration::from_secs(10));
        let at = |seconds| every.begin + Duration::from_secs(seconds);
        assert_eq!(every.after(at(0)), Some(at(10)));
        assert_eq!(every.after(at(9)), Some(at(10)));
        assert_eq!(every.after(at(10)), Some(at(20)));
        assert_eq!(every.after(at(57)), Some(at(60)));
    }
}
