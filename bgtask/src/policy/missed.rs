//! `missed = "…"`: the ticks that are missed, and the tick that runs next.
//! Owns the arithmetic of ticks; must never know clocks or who waits.

use std::time::Duration;

/// The treatment of missed ticks, whose runs could not begin in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// `"once"`: one run replaces all of them.
    Once,
    /// `"skip"`: none of them runs.
    Skip,
    /// `"all"`: each gets its own run, one after the other.
    All,
}

/// At most this many ticks are counted as missed at once. After a clock was set from 1970 to today, counting all would take
/// minutes.
const MOST_MISSED: u64 = 10_000;

/// A tick whose run begins later than this is missed.
const LATE: Duration = Duration::from_secs(1);

/// With a shorter period, a tick is missed as soon as the next one has come, if its delay exceeds what timers and busy workers
/// cause.
const LATE_AT_LEAST: Duration = Duration::from_millis(20);

/// Returns whether a tick is missed if its run could begin only this `late`. `has_next` returns whether the next tick has come
/// by then.
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

/// Does the same as [`next_tick`], where `tick` is the first that may have been missed. The returned tick may have come already.
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
            // The run that is due now replaces all further ticks, whether or not they are in time.
            last = now;
            tick = after(now)?;
            break;
        }
        tick = after(tick)?;
    }
    Some(match missed {
        // No tick is in time, so the last missed one replaces all of them.
        Missed::Once if passed > 0 && tick > now => (last, passed - 1),
        // A tick in time also replaces the missed ones.
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
    fn missed_ticks_run_once_not_at_all_or_one_by_one() {
        assert_eq!(every_ten(Missed::Once, 20, 55), Some((50, 2)));
        assert_eq!(every_ten(Missed::Skip, 20, 55), Some((60, 3)));
        assert_eq!(every_ten(Missed::All, 20, 55), Some((30, 0)));
    }

    #[test]
    fn at_most_ten_thousand_missed_ticks_are_counted() {
        let now = 4_000_000_005;
        assert_eq!(every_ten(Missed::Once, 20, now), Some((now, 9_999)));
        let next = 4_000_000_010;
        assert_eq!(every_ten(Missed::Skip, 20, now), Some((next, 10_000)));
    }

    #[test]
    fn late_ticks_are_handled_like_those_that_a_long_run_missed() {
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
    fn a_tick_at_this_moment_is_due() {
        assert_eq!(every_ten(Missed::Once, 20, 30), Some((30, 0)));
        assert_eq!(every_ten(Missed::Skip, 20, 30), Some((30, 0)));
    }

    #[test]
    fn a_tick_in_time_replaces_the_missed_ticks_before_it() {
        for now in [50, 51] {
            assert_eq!(every_ten(Missed::Once, 20, now), Some((50, 2)));
            assert_eq!(every_ten(Missed::Skip, 20, now), Some((50, 2)));
        }
        assert_eq!(every_ten(Missed::Once, 20, 52), Some((50, 2)));
        assert_eq!(every_ten(Missed::Skip, 20, 52), Some((60, 3)));
    }
}
