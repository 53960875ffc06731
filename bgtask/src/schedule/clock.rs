//! The clock of a trigger, and sleeping by it although it may be set meanwhile. Must never know schedules.

use std::time::Duration;
use tokio::time::sleep;

/// If a clock was set back by more than this, it was wrong before, and the schedule follows the new time immediately. If it was
/// set back by less, no tick runs twice. The rule and the figure are those of cron(8) on Debian.
const CORRECTION: Duration = Duration::from_secs(3 * 60 * 60);

/// A clock with ticks.
pub(super) trait Clock {
    type Point: Copy + Ord;
    /// A sleep checks the clock at least this often.
    const LONGEST_NAP: Duration;

    fn now(&self) -> Self::Point;
    fn left(&self, until: Self::Point) -> Duration {
        self.between(self.now(), until)
    }
    /// Returns the time from `begin` to `end`, or zero if `end` comes first.
    fn between(&self, begin: Self::Point, end: Self::Point) -> Duration;
    fn later(&self, point: Self::Point, by: Duration) -> Self::Point;
    /// Returns the first tick after a point in time.
    fn after(&self, point: Self::Point) -> Option<Self::Point>;
}

/// The clock was set back by more than [`CORRECTION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrected;

/// Returns whether the clock has been corrected since it showed a point in time.
pub(super) fn is_corrected<C: Clock>(clock: &C, shown: C::Point) -> bool {
    clock.left(shown) > CORRECTION
}

/// Sleeps until a point in time. Calls `checked` with the time that is left, each time it has checked the clock.
pub(super) async fn sleep_until<C: Clock>(
    clock: &C,
    until: C::Point,
    checked: impl Fn(Duration),
) -> Result<(), Corrected> {
    loop {
        let (shown, left) = (clock.now(), clock.left(until));
        checked(left);
        let nap = C::LONGEST_NAP.min(left);
        sleep(nap).await;
        if nap == left {
            return Ok(());
        }
        if is_corrected(clock, shown) {
            return Err(Corrected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Missed, next_tick};
    use std::cell::Cell;
    use tokio::time::Instant;

    /// A wall clock in seconds, which may be set, with a tick every hour.
    struct Wall {
        begin: Instant,
        set_by: Cell<i64>,
    }

    impl Wall {
        fn new() -> Self {
            Self {
                begin: Instant::now(),
                set_by: Cell::new(0),
            }
        }
    }

    impl Clock for Wall {
        type Point = i64;
        const LONGEST_NAP: Duration = Duration::from_secs(30);

        fn now(&self) -> i64 {
            self.begin.elapsed().as_secs() as i64 + self.set_by.get()
        }

        fn between(&self, begin: i64, end: i64) -> Duration {
            Duration::from_secs((end - begin).max(0) as u64)
        }

        fn later(&self, point: i64, by: Duration) -> i64 {
            point + by.as_secs() as i64
        }

        fn after(&self, point: i64) -> Option<i64> {
            Some((point.div_euclid(3600) + 1) * 3600)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_forward_ticks_within_one_nap() {
        let wall = Wall::new();
        let sleeps = sleep_until(&wall, 3600, |_| ());
        let set = async {
            sleep(Duration::from_secs(100)).await;
            wall.set_by.set(7200);
        };
        let (slept, ()) = tokio::join!(sleeps, set);
        assert_eq!(slept, Ok(()));
        let took = wall.begin.elapsed();
        assert!(
            took <= Duration::from_secs(100) + Wall::LONGEST_NAP,
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_delays_the_tick_and_repeats_none() {
        let wall = Wall::new();
        let sleeps = sleep_until(&wall, 3600, |_| ());
        let set = async {
            sleep(Duration::from_secs(100)).await;
            wall.set_by.set(-1800);
        };
        let (slept, ()) = tokio::join!(sleeps, set);
        assert_eq!(slept, Ok(()));
        assert_eq!(wall.now(), 3600);
        assert_eq!(wall.begin.elapsed(), Duration::from_secs(3600 + 1800));
        // After the clock is set back over a tick, the next tick follows, and not that one again.
        wall.set_by.set(-5000);
        assert!(wall.now() < 3600);
        for missed in [Missed::Once, Missed::Skip, Missed::All] {
            let after = |tick| wall.after(tick);
            let between = |begin, end| wall.between(begin, end);
            let next = next_tick(missed, 3600, wall.now(), after, between);
            assert_eq!(next, Some((7200, 0)), "{missed:?}");
        }
    }
}
