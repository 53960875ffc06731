//! `every`, `cron`, `on_start` and their options, and the state of one schedule.
//! Owns plain data; must never know clocks, tasks or who waits.

use super::missed::Missed;
use super::policies::Policies;
use super::progress::Origin;
use super::restart::Restart;
use crate::state::States;
use crate::util::fmt::Exact;
#[cfg(feature = "serde")]
use crate::util::serialize::optional_time;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, watch};

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
    /// No run starts until the schedule is resumed; see [`ScheduleHandle::pause`](crate::ScheduleHandle::pause).
    pub is_paused: bool,
    /// No further run will start: a start-up task has ended, the schedule was stopped, or the shutdown has been requested.
    pub has_ended: bool,
}

/// What a schedule does at this moment: as its attribute has it, or as the program has changed it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) trigger: Trigger,
    pub(crate) jitter: Duration,
    pub(crate) is_paused: bool,
    pub(crate) is_stopped: bool,
}

impl Plan {
    /// The plan of a function whose attribute has this trigger.
    pub(crate) fn new(trigger: Trigger, jitter: Duration) -> Self {
        Self {
            trigger,
            jitter,
            is_paused: false,
            is_stopped: false,
        }
    }
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
    pub(crate) plan: watch::Sender<Plan>,
    /// A run is due apart from the ticks.
    is_asked: AtomicBool,
    /// Notified when it becomes so.
    asked: Notify,
    /// Those of the function; absent for a schedule that code has added.
    pub(crate) policies: Option<&'static Policies>,
    /// The file and line of the function, or of that code.
    location: (&'static str, u32),
}

impl ScheduleState {
    pub(crate) fn new(
        name: &'static str,
        policies: Option<&'static Policies>,
        location: (&'static str, u32),
        plan: Plan,
    ) -> Self {
        let waits_for_state = policies.is_some_and(|policies| !policies.states.is_empty());
        Self {
            plan: watch::Sender::new(plan),
            is_asked: AtomicBool::new(false),
            asked: Notify::new(),
            info: Mutex::new(ScheduleInfo {
                name,
                next: None,
                runs: 0,
                missed: 0,
                waits_for_state,
                is_paused: false,
                has_ended: false,
            }),
            policies,
            location,
        }
    }

    /// Returns whether both are schedules of one function.
    pub(crate) fn is_same_function(&self, other: &Self) -> bool {
        self.location == other.location && self.info().name == other.info().name
    }

    pub(crate) fn info(&self) -> ScheduleInfo {
        ScheduleInfo {
            is_paused: self.plan.borrow().is_paused,
            ..*self.lock()
        }
    }

    /// Asks for a run apart from the ticks.
    pub(crate) fn ask_for_run(&self) {
        // Release, and acquire where it is taken: what the caller did before is visible to the run.
        self.is_asked.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// Notes that a run begins, which is what all have asked for until now. Returns whether somebody has.
    pub(crate) fn take_asked(&self) -> bool {
        self.is_asked.swap(false, Ordering::AcqRel)
    }

    /// Completes when somebody asks for a run, and takes that.
    pub(crate) async fn asked(&self) {
        while !self.take_asked() {
            self.asked.notified().await;
        }
    }

    /// Takes over the ticks of a plan. A schedule that is paused stays so.
    pub(crate) fn follow(&self, new: &Plan) {
        self.plan.send_if_modified(|plan| {
            let before = plan.clone();
            plan.trigger = new.trigger.clone();
            plan.jitter = new.jitter;
            *plan != before
        });
    }

    pub(crate) fn name(&self) -> &'static str {
        self.lock().name
    }

    /// Returns the function once for each state it waits for.
    pub(crate) fn never_started(&self, states: &States) -> Vec<NeverStarted> {
        let info = self.info();
        if !info.waits_for_state {
            return Vec::new();
        }
        let own = self.policies.map_or(&[][..], |policies| policies.states);
        let missing = states.missing(own).into_iter();
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
