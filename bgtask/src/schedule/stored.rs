//! The schedules of durable functions: their ticks, for the store that makes a job of each. Owns the report about a missing store.
//! Must never know how a tick is stored.

#[cfg(feature = "cron")]
use super::cron::Cron;
use super::wall::Wall;
use crate::durable::{self, TickClock};
use crate::handler::{DefinedAt, Handler};
use crate::policy::{Schedule, ScheduleState, Trigger};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::util::log::report;
use crate::util::spawn::spawn;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Passes the schedule on to the store of the manager, and reports it if there is none after `patience`.
pub(super) fn start(
    tracker: &Arc<Tracker>,
    handler: &'static Handler,
    schedule: &'static Schedule,
    state: Arc<ScheduleState>,
    patience: Duration,
) {
    let wall = Wall::new(tracker.shared.policies.wall_clock.clone());
    let clock: Arc<dyn TickClock> = match schedule.trigger.clone() {
        Trigger::Every(period) => Arc::new(Every { period, wall }),
        #[cfg(feature = "cron")]
        Trigger::Cron {
            expression,
            timezone,
        } => match Cron::with_wall(&expression, timezone, wall) {
            Ok(cron) => Arc::new(cron),
            Err(error) => {
                report!(error, "invalid cron expression"; name = handler.name(), expression = &*expression, error = error);
                return;
            }
        },
        #[cfg(not(feature = "cron"))]
        // The attribute rejects `cron` without the feature.
        Trigger::Cron { timezone, .. } => match timezone {},
        Trigger::OnStart => unreachable!("the attribute rejects `on_start` with `durable`"),
    };
    spawn(
        &tracker.shared.runtime,
        handler.name(),
        until_stopped(tracker.shared.clone(), handler, state.clone(), patience),
    );
    durable::start_ticks(tracker, handler, schedule, state, clock);
}

/// Reports a store that the program has not opened in time, and notes the end of the schedule.
async fn until_stopped(
    shared: Arc<Shared>,
    handler: &'static Handler,
    state: Arc<ScheduleState>,
    patience: Duration,
) {
    let stopping = shared.shutdown.stopping.clone();
    if timeout(patience, stopping.cancelled()).await.is_err() {
        if shared.attached.get().is_none() {
            report!(error, "the schedule of a durable function is waiting for a store: call `bgtask_durable::open()`";
                name = handler.name(), location = DefinedAt(handler));
        }
        stopping.cancelled().await;
    }
    state.update(|info| {
        info.next = None;
        info.has_ended = true;
    });
}

/// `every`: whole periods from one tick to the next.
#[derive(Debug)]
struct Every {
    period: Duration,
    wall: Wall,
}

impl Every {
    /// Returns how many whole periods after `last` the point is.
    fn periods(&self, last: SystemTime, point: SystemTime) -> u128 {
        let passed = point.duration_since(last).unwrap_or_default();
        passed.as_nanos() / self.period.as_nanos().max(1)
    }

    fn tick(&self, last: SystemTime, periods: u128) -> Option<SystemTime> {
        let nanos = self.period.as_nanos().checked_mul(periods)?;
        last.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

impl TickClock for Every {
    fn after(&self, last: SystemTime, point: SystemTime) -> Option<SystemTime> {
        self.tick(last, self.periods(last, point) + 1)
    }

    fn up_to(&self, last: SystemTime, point: SystemTime) -> SystemTime {
        self.tick(last, self.periods(last, point)).unwrap_or(point)
    }

    fn now(&self) -> SystemTime {
        self.wall.now()
    }
}

#[cfg(feature = "cron")]
impl TickClock for Cron {
    fn after(&self, _: SystemTime, point: SystemTime) -> Option<SystemTime> {
        self.next_after(point.into()).map(SystemTime::from)
    }

    fn up_to(&self, last: SystemTime, point: SystemTime) -> SystemTime {
        // There is one: the caller has found a tick between the two.
        self.last_up_to(point.into())
            .map_or(last, SystemTime::from)
            .max(last)
    }

    fn now(&self) -> SystemTime {
        self.wall().now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_of_every_stay_on_the_grid_of_the_last() {
        let every = Every {
            period: Duration::from_secs(10),
            wall: Wall::new(Arc::default()),
        };
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_003);
        let at = |second| last + Duration::from_secs(second);
        assert_eq!(every.after(last, at(0)), Some(at(10)));
        assert_eq!(every.after(last, at(9)), Some(at(10)));
        assert_eq!(every.after(last, at(10)), Some(at(20)));
        assert_eq!(every.up_to(last, at(57)), at(50));
        assert_eq!(every.up_to(last, at(60)), at(60));
        // A clock that was set back.
        assert_eq!(
            every.after(last, last - Duration::from_secs(5)),
            Some(at(10))
        );
    }

    #[cfg(feature = "cron")]
    #[test]
    fn the_ticks_of_cron_are_those_of_its_expression() {
        let wall = Wall::new(Arc::default());
        let cron = Cron::with_wall("0 * * * *", chrono_tz::UTC, wall).expect("it is valid");
        let hour = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
        let half = Duration::from_secs(1800);
        assert_eq!(cron.after(hour(0), hour(7) + half), Some(hour(8)));
        assert_eq!(cron.up_to(hour(0), hour(7) + half), hour(7));
        assert_eq!(cron.up_to(hour(0), hour(7)), hour(7));
    }
}
