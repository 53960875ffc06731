//! The schedule of a durable function, as a store has it: the tick that is due, its job, and the figures that the program sees.
//! Knows no database; a clock of the scheduler's has the ticks.

use super::encoded::{EncodedJob, Start};
use crate::handler::Handler;
use crate::policy::{Durable, Missed, Schedule, ScheduleState, catch_up, is_missed};
use crate::tracker::Tracker;
use serde_json::value::RawValue;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

/// If a clock was set back by more than this, it was wrong before, and the schedule follows the new time, as one in memory does.
const CORRECTION: Duration = Duration::from_secs(3 * 60 * 60);

/// The ticks of a trigger. Points are times of whichever clock the store goes by.
pub(crate) trait TickClock: fmt::Debug + Send + Sync {
    /// Returns the first tick after `point`, where `last` was a tick.
    fn after(&self, last: SystemTime, point: SystemTime) -> Option<SystemTime>;

    /// Returns the last tick up to `point`, where `last` was a tick.
    fn up_to(&self, last: SystemTime, point: SystemTime) -> SystemTime;

    /// Returns the wall clock of the manager, which a test may have set or advanced.
    fn now(&self) -> SystemTime;
}

/// The schedule of a durable function, which a store turns into jobs.
pub struct Ticks {
    pub(super) handler: &'static Handler,
    pub(super) durable: &'static Durable,
    pub(super) schedule: &'static Schedule,
    pub(super) state: Arc<ScheduleState>,
    pub(super) clock: Arc<dyn TickClock>,
    /// Weak, because the manager owns the store that has this.
    pub(super) tracker: Weak<Tracker>,
}

/// The next step of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextTick {
    /// A tick has come, and gets a job.
    Due {
        /// The tick.
        tick: SystemTime,
        /// How many ticks before it get none.
        missed: u64,
    },
    /// Ticks were missed, and none of them gets a job.
    Skipped {
        /// The last of them.
        until: SystemTime,
        /// Their number.
        missed: u64,
    },
    /// The next tick comes at this time.
    At(SystemTime),
    /// The clock was set back by hours: the ticks after now are next.
    Corrected,
    /// There is no further tick.
    Never,
}

impl Ticks {
    /// Returns the text of the trigger: a schedule whose text has changed has other ticks.
    #[must_use]
    pub fn definition(&self) -> String {
        self.schedule.trigger.to_string()
    }

    /// Whether the schedule has a tick at its beginning.
    #[must_use]
    pub fn begins_immediately(&self) -> bool {
        self.schedule.immediately
    }

    /// Whether a tick gets a job although the job of an earlier one has not ended.
    #[must_use]
    pub fn overlaps(&self) -> bool {
        self.schedule.overlap
    }

    /// Returns the wall clock of the manager, for a store without a clock of its own.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns the next step, where `last` is the last tick that had a job or was missed.
    #[must_use]
    pub fn next(&self, last: SystemTime, now: SystemTime) -> NextTick {
        next_step(self.schedule.missed, &*self.clock, last, now)
    }

    /// Returns the last tick up to `point`, or `last`, which is a tick, if none came since.
    #[must_use]
    pub fn last_up_to(&self, last: SystemTime, point: SystemTime) -> SystemTime {
        match self.clock.after(last, last) {
            Some(first) if first <= point => self.clock.up_to(last, point),
            _ => last,
        }
    }

    /// Returns the job of the tick at the beginning, which `jitter` does not delay.
    #[must_use]
    pub fn first_job(&self, tick: SystemTime) -> EncodedJob {
        self.starting(tick, Start::Now)
    }

    /// Returns the job of a tick that is stored now.
    #[must_use]
    pub fn job(&self, tick: SystemTime, now: SystemTime) -> EncodedJob {
        let jitter = self.schedule.jitter.mul_f64(fastrand::f64());
        let late = now.duration_since(tick).unwrap_or_default();
        let start = match tick.checked_add(jitter) {
            // A tick that is late is not delayed any further.
            Some(at) if !jitter.is_zero() && !is_missed(late, || false) => Start::At(at),
            _ => Start::Now,
        };
        self.starting(tick, start)
    }

    fn starting(&self, tick: SystemTime, start: Start) -> EncodedJob {
        let durable = self.durable;
        EncodedJob {
            function: self.handler.name(),
            arguments: no_arguments(),
            queue: durable.queue.into(),
            priority: durable.priority,
            max_attempts: durable.max,
            keep: durable.keep,
            start,
            // The attribute refuses `unique` here.
            unique: None,
            tick: Some(tick),
            // And `notify`.
            notify: Vec::new(),
        }
    }

    /// Notes the time of the next tick, for [`schedules()`](crate::schedules). `None` while a tick waits for the end of a job.
    pub fn note_next(&self, next: Option<SystemTime>) {
        self.state.update(|info| info.next = next);
    }

    /// Notes that this process has stored the job of a tick.
    pub fn note_run(&self) {
        self.state.update(|info| info.runs += 1);
    }

    /// Notes that this process has found ticks that get no job.
    pub fn note_missed(&self, missed: u64) {
        self.state.update(|info| info.missed += missed);
        if let Some(tracker) = self.tracker.upgrade()
            && missed > 0
        {
            let observers = &tracker.shared.hooks.observers;
            observers.notify(|observer| observer.missed(self.handler, missed));
        }
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticks")
            .field("function", &self.handler.name())
            .field("schedule", &self.schedule.to_string())
            .finish_non_exhaustive()
    }
}

fn next_step(missed: Missed, clock: &dyn TickClock, last: SystemTime, now: SystemTime) -> NextTick {
    if last
        .duration_since(now)
        .is_ok_and(|ahead| ahead > CORRECTION)
    {
        return NextTick::Corrected;
    }
    let after = |point| clock.after(last, point);
    let between = |begin, end: SystemTime| end.duration_since(begin).unwrap_or_default();
    let Some(first) = after(last) else {
        return NextTick::Never;
    };
    if first > now {
        return NextTick::At(first);
    }
    match catch_up(missed, first, now, after, between) {
        // After very many missed ticks, this is the time of now.
        Some((tick, missed)) if tick <= now => NextTick::Due {
            tick: clock.up_to(last, tick),
            missed,
        },
        Some((_, missed)) if missed > 0 => NextTick::Skipped {
            until: clock.up_to(last, now),
            missed,
        },
        Some((tick, _)) => NextTick::At(tick),
        None => NextTick::Never,
    }
}

fn no_arguments() -> Box<RawValue> {
    match RawValue::from_string("{}".to_owned()) {
        Ok(none) => none,
        Err(_) => unreachable!("this is JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks every ten seconds.
    #[derive(Debug)]
    struct Ten;

    impl TickClock for Ten {
        fn after(&self, last: SystemTime, point: SystemTime) -> Option<SystemTime> {
            Some(self.up_to(last, point) + Duration::from_secs(10))
        }

        fn up_to(&self, last: SystemTime, point: SystemTime) -> SystemTime {
            let passed = point.duration_since(last).unwrap_or_default().as_secs();
            last + Duration::from_secs(passed / 10 * 10)
        }

        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + second)
    }

    fn next(missed: Missed, last: u64, now: u64) -> NextTick {
        next_step(missed, &Ten, at(last), at(now))
    }

    #[test]
    fn a_tick_is_due_once_it_has_come() {
        for missed in [Missed::Once, Missed::Skip, Missed::All] {
            assert_eq!(next(missed, 0, 9), NextTick::At(at(10)));
            let due = NextTick::Due {
                tick: at(10),
                missed: 0,
            };
            assert_eq!(next(missed, 0, 10), due);
            assert_eq!(next(missed, 0, 11), due);
        }
    }

    #[test]
    fn missed_ticks_get_one_job_or_none_or_one_each() {
        let due = |tick, missed| NextTick::Due {
            tick: at(tick),
            missed,
        };
        assert_eq!(next(Missed::Once, 0, 3605), due(3600, 359));
        assert_eq!(next(Missed::All, 0, 3605), due(10, 0));
        let until = at(3600);
        assert_eq!(
            next(Missed::Skip, 0, 3605),
            NextTick::Skipped { until, missed: 360 }
        );
        // One that is in time gets its own.
        assert_eq!(next(Missed::Once, 0, 3600), due(3600, 359));
        assert_eq!(next(Missed::Skip, 0, 3600), due(3600, 359));
    }

    #[test]
    fn very_many_missed_ticks_leave_the_schedule_on_its_grid() {
        let year = 365 * 24 * 3600;
        let last = year / 10 * 10;
        assert_eq!(
            next(Missed::Once, 0, year + 5),
            NextTick::Due {
                tick: at(last),
                missed: 9_999
            }
        );
        assert_eq!(
            next(Missed::Skip, 0, year + 5),
            NextTick::Skipped {
                until: at(last),
                missed: 10_000
            }
        );
    }

    #[test]
    fn a_clock_that_was_set_back_repeats_no_tick_and_by_hours_is_followed() {
        assert_eq!(next(Missed::Once, 600, 300), NextTick::At(at(610)));
        assert_eq!(next(Missed::Once, 10_800, 0), NextTick::At(at(10_810)));
        assert_eq!(next(Missed::Once, 10_801, 0), NextTick::Corrected);
    }
}
