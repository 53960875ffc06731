//! `every`, `cron`, `on_start` and what belongs to them: the values, and what is known of the next tick.
//! Plain data and the arithmetic of ticks; knows nothing of clocks, tasks or who waits.

use super::backoff::Backoff;
use super::progress::Origin;
use crate::state::{StateSpec, States};
use crate::util::sync::unmodelled::Mutex;
use std::time::{Duration, SystemTime};

/// What starts a function without a caller.
#[derive(Debug)]
pub struct Schedule {
    pub trigger: Trigger,
    /// A tick comes although the run before it has not ended.
    pub overlap: bool,
    pub missed: Missed,
    /// Each tick is put off by a random part of this.
    pub jitter: Duration,
    /// The first run comes at the start.
    pub immediately: bool,
    pub restart: Option<Restart>,
    /// Calls the function.
    pub start: fn(Origin),
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Every(Duration),
    /// The expression and the name of the time zone, both found sound by the compiler.
    Cron {
        expression: &'static str,
        timezone: Timezone,
    },
    OnStart,
}

/// A zone of the IANA database, with the feature `cron`.
#[cfg(feature = "cron")]
pub type Timezone = chrono_tz::Tz;
/// Without it there is none.
#[cfg(not(feature = "cron"))]
pub type Timezone = std::convert::Infallible;

/// What happens to missed ticks, whose runs could not begin in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// `"once"`: one run makes up for all of them.
    Once,
    /// `"skip"`: none does.
    Skip,
    /// `"all"`: each gets its run, one after the other.
    All,
}

/// `restart(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How many restarts a window may see.
    pub max: u32,
    pub window: Duration,
    pub backoff: Backoff,
    /// A normal end is a reason too.
    pub always: bool,
}

/// One schedule, as [`schedules()`](crate::schedules) found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ScheduleInfo {
    /// The name of the function.
    pub name: &'static str,
    /// When the next run is due. Absent while one runs that has to end first, while state is missing, and when there will be
    /// none.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::serialize::optional_time")
    )]
    pub next: Option<SystemTime>,
    /// Runs that were started.
    pub runs: u64,
    /// Ticks without a run of their own: the run before them had not ended, the runtime was blocked, the machine slept, or the
    /// clock was put forward. At most 10,000 are counted at once.
    pub missed: u64,
    /// It waits for state that nobody has provided.
    pub waits_for_state: bool,
    /// There will be no further run: a start-up task has ended, or the shutdown has been asked for.
    pub has_ended: bool,
}

/// A function that has not run for the lack of its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeverStarted {
    pub(crate) name: &'static str,
    pub(crate) state: &'static str,
    pub(crate) place: (&'static str, u32),
}

/// What is known of one schedule.
#[derive(Debug)]
pub(crate) struct Ticks {
    /// Locked for a copy or the change of a field.
    info: Mutex<ScheduleInfo>,
    states: &'static [StateSpec],
    /// Where the function stands.
    place: (&'static str, u32),
}

impl Ticks {
    pub(crate) fn new(
        name: &'static str,
        states: &'static [StateSpec],
        place: (&'static str, u32),
    ) -> Self {
        Self {
            info: Mutex::new(ScheduleInfo {
                name,
                next: None,
                runs: 0,
                missed: 0,
                waits_for_state: !states.is_empty(),
                has_ended: false,
            }),
            states,
            place,
        }
    }

    /// Whether both are of one function.
    pub(crate) fn is_of_function_of(&self, other: &Self) -> bool {
        self.place == other.place && self.info().name == other.info().name
    }

    pub(crate) fn info(&self) -> ScheduleInfo {
        *self.info.lock()
    }

    /// The state it waits for, with what has to be said of the function.
    pub(crate) fn never_started(&self, states: &States) -> Vec<NeverStarted> {
        let info = self.info();
        let missing = match info.waits_for_state {
            true => states.missing(self.states),
            false => Vec::new(),
        };
        let of_state = |spec: &StateSpec| NeverStarted {
            name: info.name,
            state: spec.name(),
            place: self.place,
        };
        missing.into_iter().map(of_state).collect()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut ScheduleInfo)) {
        change(&mut self.info.lock());
    }
}

/// So many ticks at the most are counted as missed at once: a clock that was set from 1970 to today is no reason to count for
/// minutes.
const MOST_MISSED: u64 = 10_000;

/// A tick whose run begins later than this is missed.
const LATE: Duration = Duration::from_secs(1);

/// With a shorter period, a tick is missed as soon as the next one has come, if its delay exceeds what timers and busy workers
/// cause.
const LATE_AT_LEAST: Duration = Duration::from_millis(20);

/// Returns whether a tick is missed if its run could begin only this `late`. `has_next` says whether the next tick has come by
/// then.
pub(crate) fn is_missed(late: Duration, has_next: impl FnOnce() -> bool) -> bool {
    late > LATE || (late > LATE_AT_LEAST && has_next())
}

/// Returns the tick to run after one that was due at `due`, `now` that its run has ended (or has begun, if runs may overlap), and
/// how many ticks get no run of their own. `after` returns the first tick after a point in time, and `between` the time from one
/// point to a later one.
pub(crate) fn next_tick<I: Copy + Ord>(
    missed: Missed,
    due: I,
    now: I,
    after: impl Fn(I) -> Option<I>,
    between: impl Fn(I, I) -> Duration,
) -> Option<(I, u64)> {
    catch_up(missed, after(due)?, now, after, between)
}

/// Does the same, where `tick` is the first that may have been missed. The returned tick may have come already.
pub(crate) fn catch_up<I: Copy + Ord>(
    missed: Missed,
    mut tick: I,
    now: I,
    after: impl Fn(I) -> Option<I>,
    between: impl Fn(I, I) -> Duration,
) -> Option<(I, u64)> {
    if missed == Missed::All {
        return Some((tick, 0));
    }
    let mut passed = 0;
    let mut last = tick;
    // Later ticks are less late, so all missed ticks come before the first that is in time.
    while tick <= now
        && is_missed(between(tick, now), || {
            after(tick).is_some_and(|next| next <= now)
        })
    {
        passed += 1;
        last = tick;
        if passed == MOST_MISSED {
            // The run that is due now stands for all further ticks, whether or not they are in time.
            last = now;
            tick = after(now)?;
            break;
        }
        tick = after(tick)?;
    }
    Some(match missed {
        // No tick is in time, so the last missed one runs for all of them.
        Missed::Once if passed > 0 && tick > now => (last, passed - 1),
        // A tick in time runs also for the missed ones.
        _ => (tick, passed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_ten(missed: Missed, due: u32, now: u32) -> Option<(u32, u64)> {
        next_tick(missed, due, now, |tick| Some((tick / 10 + 1) * 10), seconds)
    }

    fn seconds(begin: u32, end: u32) -> Duration {
        Duration::from_secs((end - begin).into())
    }

    #[test]
    fn a_run_that_ends_in_time_misses_nothing() {
        for missed in [Missed::Once, Missed::Skip, Missed::All] {
            assert_eq!(every_ten(missed, 20, 25), Some((30, 0)));
        }
    }

    #[test]
    fn missed_ticks_are_made_up_for_once_not_at_all_or_one_by_one() {
        assert_eq!(every_ten(Missed::Once, 20, 55), Some((50, 2)));
        assert_eq!(every_ten(Missed::Skip, 20, 55), Some((60, 3)));
        assert_eq!(every_ten(Missed::All, 20, 55), Some((30, 0)));
    }

    #[test]
    fn of_more_ticks_than_anybody_waits_for_some_are_counted() {
        let now = 4_000_000_005;
        assert_eq!(every_ten(Missed::Once, 20, now), Some((now, 9_999)));
        let next = 4_000_000_010;
        assert_eq!(every_ten(Missed::Skip, 20, now), Some((next, 10_000)));
    }

    #[test]
    fn ticks_that_were_late_are_made_up_for_like_those_of_a_run_that_was_long() {
        let after = |tick: u32| Some((tick / 10 + 1) * 10);
        let catch_up = |missed| catch_up(missed, 20, 55, after, seconds);
        assert_eq!(catch_up(Missed::Once), Some((50, 3)));
        assert_eq!(catch_up(Missed::Skip), Some((60, 4)));
        assert_eq!(catch_up(Missed::All), Some((20, 0)));
    }

    #[test]
    fn a_tick_is_late_after_a_second_or_once_the_next_one_has_come() {
        let millis = Duration::from_millis;
        assert!(!is_missed(millis(1000), || false));
        assert!(is_missed(millis(1001), || false));
        assert!(is_missed(millis(21), || true));
        assert!(!is_missed(millis(20), || true));
    }

    #[test]
    fn a_tick_that_is_due_at_this_very_moment_is_due() {
        assert_eq!(every_ten(Missed::Once, 20, 30), Some((30, 0)));
        assert_eq!(every_ten(Missed::Skip, 20, 30), Some((30, 0)));
    }

    #[test]
    fn a_tick_in_time_runs_also_for_those_missed_before_it() {
        for now in [50, 51] {
            assert_eq!(every_ten(Missed::Once, 20, now), Some((50, 2)));
            assert_eq!(every_ten(Missed::Skip, 20, now), Some((50, 2)));
        }
        assert_eq!(every_ten(Missed::Once, 20, 52), Some((50, 2)));
        assert_eq!(every_ten(Missed::Skip, 20, 52), Some((60, 3)));
    }
}
