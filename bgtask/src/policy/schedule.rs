//! `every`, `cron`, `on_start` and their options, and the state of one schedule.
//! Owns plain data; must never know clocks, tasks or who waits.

use super::missed::Missed;
use super::progress::Origin;
use super::restart::Restart;
use crate::state::{StateSpec, States};
use crate::util::fmt::Exact;
#[cfg(feature = "serde")]
use crate::util::serialize::optional_time;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::fmt;
use std::time::{Duration, SystemTime};

/// When a function starts without a caller.
#[derive(Debug)]
pub struct Schedule {
    pub trigger: Trigger,
    /// A tick starts a run although the run before it has not ended.
    pub overlap: bool,
    pub missed: Missed,
    /// Each tick is delayed by a random part of this.
    pub jitter: Duration,
    /// The first run begins at the start of the schedules.
    pub immediately: bool,
    pub restart: Option<Restart>,
    /// Calls the function.
    pub start: fn(Origin),
}

impl Schedule {
    /// The `start` of a durable function: the store makes a job of each tick.
    pub const STORED: fn(Origin) = |_| unreachable!("the store has this schedule");
}

/// The event that starts a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Every(Duration),
    /// The attribute has validated both.
    Cron {
        expression: &'static str,
        timezone: Timezone,
    },
    OnStart,
}

/// A zone of the IANA database.
#[cfg(feature = "cron")]
pub type Timezone = chrono_tz::Tz;
/// Without the feature `cron`, there is no zone.
#[cfg(not(feature = "cron"))]
pub type Timezone = std::convert::Infallible;

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trigger.fmt(f)?;
        if self.immediately {
            f.write_str(", immediately")?;
        }
        if self.overlap {
            f.write_str(", overlap")?;
        }
        match self.missed {
            Missed::Once => {}
            Missed::Skip => f.write_str(", missed = skip")?,
            Missed::All => f.write_str(", missed = all")?,
        }
        if !self.jitter.is_zero() {
            write!(f, ", jitter = {}", Exact(self.jitter))?;
        }
        match &self.restart {
            None => Ok(()),
            Some(restart) => write!(f, ", {restart}"),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Every(period) => write!(f, "every = {}", Exact(*period)),
            #[cfg(feature = "cron")]
            Trigger::Cron {
                expression,
                timezone,
            } => write!(f, "cron = {expression}, timezone = {}", timezone.name()),
            #[cfg(not(feature = "cron"))]
            Trigger::Cron { timezone, .. } => match *timezone {},
            Trigger::OnStart => f.write_str("on_start"),
        }
    }
}

/// One schedule, as [`schedules()`](crate::schedules) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ScheduleInfo {
    /// The name of the function.
    pub name: &'static str,
    /// When the next run is due. `None` while the schedule waits for the end of a run or for state, and after the schedule has
    /// ended.
    #[cfg_attr(feature = "serde", serde(serialize_with = "optional_time"))]
    pub next: Option<SystemTime>,
    /// The runs that were started. Of a durable function, the ticks that this process has stored as jobs.
    pub runs: u64,
    /// The ticks without a run of their own, because the run before them had not ended, the runtime was blocked, the machine
    /// slept, or the clock was set forward. At most 10,000 are counted at once.
    pub missed: u64,
    /// The schedule waits for state that the program has not provided.
    pub waits_for_state: bool,
    /// No further run will start, because a start-up task has ended or the shutdown has been requested.
    pub has_ended: bool,
}

/// A scheduled function that has not run because its state is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeverStarted {
    pub(crate) name: &'static str,
    pub(crate) state: &'static str,
    /// The file and line of the function.
    pub(crate) location: (&'static str, u32),
}

/// The state of one schedule.
#[derive(Debug)]
pub(crate) struct ScheduleState {
    info: Mutex<ScheduleInfo>,
    states: &'static [StateSpec],
    /// The file and line of the function.
    location: (&'static str, u32),
}

impl ScheduleState {
    pub(crate) fn new(
        name: &'static str,
        states: &'static [StateSpec],
        location: (&'static str, u32),
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
            location,
        }
    }

    /// Returns whether both are schedules of one function.
    pub(crate) fn is_same_function(&self, other: &Self) -> bool {
        self.location == other.location && self.info().name == other.info().name
    }

    pub(crate) fn info(&self) -> ScheduleInfo {
        *self.lock()
    }

    /// Returns the function once for each state it waits for.
    pub(crate) fn never_started(&self, states: &States) -> Vec<NeverStarted> {
        let info = self.info();
        if !info.waits_for_state {
            return Vec::new();
        }
        let missing = states.missing(self.states).into_iter();
        missing
            .map(|spec| NeverStarted {
                name: info.name,
                state: spec.name(),
                location: self.location,
            })
            .collect()
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut ScheduleInfo)) {
        update(&mut self.lock());
    }

    /// Held to copy the data or to change a field.
    fn lock(&self) -> MutexGuard<'_, ScheduleInfo> {
        self.info.lock()
    }
}
