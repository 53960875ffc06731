//! `cron`: the ticks of an expression in a time zone, by the wall clock.
//! Owns how that clock is read. The croner crate decides what an expression means, including at changes of daylight saving.

use super::clock::Clock;
use super::wall::{self, Wall};
use crate::policy::{Timezone, WallClock};
use chrono::{DateTime, TimeDelta, Utc};
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Cron {
    pattern: croner::Cron,
    timezone: Timezone,
    wall: Wall,
}

/// Checks an expression.
pub(super) fn check(expression: &str) -> Result<(), CronError> {
    parse(expression).map(drop)
}

fn parse(expression: &str) -> Result<croner::Cron, CronError> {
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    parser.parse(expression)
}

impl Cron {
    pub(super) fn new(
        expression: &str,
        timezone: Timezone,
        wall_clock: Arc<WallClock>,
    ) -> Result<Self, CronError> {
        Self::with_wall(expression, timezone, Wall::new(wall_clock))
    }

    pub(super) fn with_wall(
        expression: &str,
        timezone: Timezone,
        wall: Wall,
    ) -> Result<Self, CronError> {
        Ok(Self {
            pattern: parse(expression)?,
            timezone,
            wall,
        })
    }

    /// Returns the first tick after a point in time.
    pub(super) fn next_after(&self, point: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let point = point.with_timezone(&self.timezone);
        let next = self.pattern.find_next_occurrence(&point, false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// Returns the last tick up to a point in time.
    #[cfg(feature = "durable")]
    pub(super) fn last_up_to(&self, point: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let point = point.with_timezone(&self.timezone);
        let last = self.pattern.find_previous_occurrence(&point, true).ok()?;
        Some(last.with_timezone(&Utc))
    }

    #[cfg(feature = "durable")]
    pub(super) fn wall(&self) -> &Wall {
        &self.wall
    }
}

impl Clock for Cron {
    type Point = DateTime<Utc>;
    /// The wall clock may be set, and it advances while the machine sleeps, unlike timers.
    const LONGEST_NAP: Duration = wall::LONGEST_NAP;

    fn now(&self) -> DateTime<Utc> {
        DateTime::from(self.wall.now())
    }

    fn between(&self, begin: DateTime<Utc>, end: DateTime<Utc>) -> Duration {
        (end - begin).to_std().unwrap_or_default()
    }

    fn later(&self, point: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
        let by = TimeDelta::from_std(by).unwrap_or_default();
        point.checked_add_signed(by).unwrap_or(point)
    }

    fn after(&self, point: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_after(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use chrono_tz::Europe::Berlin;
    use std::time::SystemTime;

    /// Returns the ticks after a moment in Berlin, in UTC.
    fn ticks(expression: &str, (month, day, hour): (u32, u32, u32), count: usize) -> Vec<String> {
        let cron = Cron::new(expression, Berlin, Arc::default()).unwrap();
        let begin = Berlin.with_ymd_and_hms(2026, month, day, hour, 0, 0);
        let mut tick = begin.unwrap().with_timezone(&Utc);
        (0..count)
            .map(|_| {
                tick = cron.after(tick).unwrap();
                tick.format("%m-%d %H:%M").to_string()
            })
            .collect()
    }

    #[test]
    fn ticks_follow_their_time_zone() {
        assert_eq!(
            ticks("0 3 * * *", (7, 1, 0), 2),
            ["07-01 01:00", "07-02 01:00"]
        );
        assert_eq!(ticks("0 3 * * *", (12, 1, 0), 1), ["12-01 02:00"]);
        assert_eq!(ticks("0 0 9 * * MON", (7, 1, 0), 1), ["07-06 07:00"]);
    }

    #[test]
    fn a_fixed_time_that_spring_skips_ticks_right_after_the_gap() {
        // On 29 March 2026 at 2:00 the clocks of Berlin go to 3:00, which is 1:00 UTC.
        assert_eq!(
            ticks("30 2 * * *", (3, 28, 12), 2),
            ["03-29 01:00", "03-30 00:30"]
        );
    }

    #[test]
    fn a_fixed_time_that_autumn_repeats_ticks_once() {
        // On 25 October 2026 at 3:00 the clocks of Berlin go back to 2:00, which is 1:00 UTC.
        assert_eq!(
            ticks("30 2 * * *", (10, 24, 12), 2),
            ["10-25 00:30", "10-26 01:30"]
        );
    }

    #[test]
    fn intervals_continue_through_both() {
        assert_eq!(
            ticks("*/30 * * * *", (10, 25, 1), 6),
            [
                "10-24 23:30",
                "10-25 00:00",
                "10-25 00:30",
                "10-25 01:00",
                "10-25 01:30",
                "10-25 02:00"
            ]
        );
        assert_eq!(
            ticks("*/30 * * * *", (3, 29, 1), 3),
            ["03-29 00:30", "03-29 01:00", "03-29 01:30"]
        );
    }

    #[test]
    fn expressions_that_the_attribute_accepts_are_valid() {
        for expression in [
            "* * * * *",
            "0 3 * * *",
            "*/15 9-17 * * mon-fri",
            "0 0 1,15 * *",
            "30 0 3 * * *",
            "0 0 29 2 *",
            "0 0 31 2 fri",
            "0 0 L * *",
            "0 0 * * 5L",
            "0 0 * * MON#1",
            "0 0 1 JAN,Jul 7",
            "0 0 1-7/2 */3 *",
        ] {
            let cron = Cron::new(expression, chrono_tz::UTC, Arc::default());
            let cron = cron.unwrap_or_else(|error| panic!("{expression}: {error}"));
            assert!(cron.after(cron.now()).is_some(), "{expression}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn advancing_the_paused_clock_advances_the_wall_clock() {
        let cron = Cron::new("* * * * *", chrono_tz::UTC, Arc::default()).unwrap();
        let before = cron.now();
        tokio::time::advance(Duration::from_secs(3600)).await;
        let moved = cron.now() - before;
        assert!((moved.num_seconds() - 3600).abs() <= 60, "{moved}");
    }

    #[tokio::test]
    async fn unless_a_test_moves_a_clock_it_is_the_wall_clock() {
        let cron = Cron::new("* * * * *", chrono_tz::UTC, Arc::default()).unwrap();
        // So that both clocks have advanced.
        std::thread::sleep(Duration::from_millis(20));
        // Often enough to read two clocks once without being descheduled in between.
        let is_between = |_| {
            let before = DateTime::from(SystemTime::now());
            let now = cron.now();
            before <= now && now <= DateTime::from(SystemTime::now())
        };
        assert!((0..100_000).any(is_between));
    }
}
