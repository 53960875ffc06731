//! `every`, `cron`, `on_start` and their options.
//! Owns plain data; must never know clocks, tasks or who waits.

use super::missed::Missed;
use super::progress::Origin;
use super::restart::Restart;
use crate::util::fmt::Exact;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    Every(Duration),
    Cron {
        expression: Cow<'static, str>,
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
