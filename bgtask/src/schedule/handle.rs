//! The handle of a schedule, through which a program pauses, changes, runs and stops it; and schedules that a program adds.
//! Changes the plan of a schedule; must never know how its driver waits.

use super::driver::{Driver, Runs};
use crate::call::handle::TaskHandle;
use crate::context;
use crate::policy::{Plan, Policies, ScheduleInfo, ScheduleState, Trigger};
use crate::tracker::shared::Shared;
use crate::util::spawn::spawn;
use crate::util::sync::unmodelled::Mutex;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A handle to one schedule of a manager: a function with `every` or `cron`, or a schedule that [`every()`] has added.
///
/// The changes hold in this process until it ends. Dropping the handle changes nothing.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// #[bgtask::background(every = "1h")]
/// async fn refresh_prices() { /* … */ }
///
/// #[bgtask::main]
/// async fn main() -> Result<(), bgtask::ScheduleError> {
///     for schedule in bgtask::schedules() {
///         if schedule.name().ends_with("refresh_prices") {
///             schedule.set_every(Duration::from_secs(60))?;
///             schedule.run_now()?;
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ScheduleHandle {
    state: Arc<ScheduleState>,
    shared: Arc<Shared>,
}

/// Why a schedule was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// No further run will start: the schedule was stopped, or the shutdown has been requested.
    HasEnded,
    /// The function is `durable`: its ticks are those of all processes, and its store changes them.
    Durable,
    /// The function runs `on_start`, and has no ticks.
    OnStart,
    /// The period must be longer than zero.
    ZeroPeriod,
    /// The cron expression or the time zone is wrong; the text says what is.
    InvalidCron(String),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasEnded => f.pad("the schedule has ended"),
            Self::Durable => f.pad(
                "the schedule of a durable function is that of all processes: pause, resume or run it with `bgtask_durable::Jobs`",
            ),
            Self::OnStart => f.pad("the function runs `on_start`, and has no ticks"),
            Self::ZeroPeriod => f.pad("the period of a schedule must be longer than zero"),
            Self::InvalidCron(wrong) => f.pad(&format!("invalid cron expression: {wrong}")),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl ScheduleHandle {
    pub(crate) fn new(state: Arc<ScheduleState>, shared: Arc<Shared>) -> Self {
        Self { state, shared }
    }

    /// Returns the name of the function, or that of an added schedule.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.state.name()
    }

    /// Returns the schedule's next run and its counts.
    #[must_use]
    pub fn info(&self) -> ScheduleInfo {
        self.state.info()
    }

    /// Pauses the schedule: no tick starts a run. A run in progress goes on. Pausing a paused schedule does nothing.
    ///
    /// # Errors
    ///
    /// If the schedule has ended, or has no ticks of this process.
    pub fn pause(&self) -> Result<(), ScheduleError> {
        self.change(|plan| plan.is_paused = true)
    }

    /// Resumes a paused schedule. The ticks of `every` begin anew: the first comes one period after this. Ticks that have passed
    /// meanwhile are not missed.
    ///
    /// # Errors
    ///
    /// If the schedule has ended, or has no ticks of this process.
    pub fn resume(&self) -> Result<(), ScheduleError> {
        self.change(|plan| plan.is_paused = false)
    }

    /// Starts a run now, whether or not the schedule is paused. If a run is in progress, and the schedule has no `overlap`, it starts
    /// when that has ended. The next tick stays as it is. Several calls before the run starts are one.
    ///
    /// # Errors
    ///
    /// If the schedule has ended, or has no ticks of this process.
    pub fn run_now(&self) -> Result<(), ScheduleError> {
        self.check()?;
        self.state.ask_for_run();
        Ok(())
    }

    /// Sets the period. The ticks begin anew: the first comes one period after this.
    ///
    /// # Errors
    ///
    /// If the period is zero, the schedule has ended, or it has no ticks of this process.
    pub fn set_every(&self, period: Duration) -> Result<(), ScheduleError> {
        if period.is_zero() {
            return Err(ScheduleError::ZeroPeriod);
        }
        self.change(|plan| plan.trigger = Trigger::Every(period))
    }

    /// Sets the cron expression and the time zone of the IANA database in which it is read, such as `"Europe/Berlin"` or `"UTC"`.
    ///
    /// # Errors
    ///
    /// If one of them is wrong, the schedule has ended, or it has no ticks of this process.
    #[cfg(feature = "cron")]
    pub fn set_cron(&self, expression: &str, timezone: &str) -> Result<(), ScheduleError> {
        let trigger = cron_trigger(expression, timezone)?;
        self.change(|plan| plan.trigger = trigger)
    }

    /// Stops the schedule for good: no further run starts. A run in progress goes on.
    ///
    /// # Errors
    ///
    /// If the schedule has ended, or has no ticks of this process.
    pub fn stop(&self) -> Result<(), ScheduleError> {
        self.change(|plan| plan.is_stopped = true)
    }

    fn check(&self) -> Result<(), ScheduleError> {
        if self.state.policies.is_some_and(Policies::are_durable) {
            return Err(ScheduleError::Durable);
        }
        if self.state.plan.borrow().trigger == Trigger::OnStart {
            return Err(ScheduleError::OnStart);
        }
        let is_stopping = self.shared.shutdown.stopping.is_cancelled();
        if is_stopping || self.state.info().has_ended || self.state.plan.borrow().is_stopped {
            return Err(ScheduleError::HasEnded);
        }
        Ok(())
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Plan)) -> Result<(), ScheduleError> {
        self.check()?;
        self.state.plan.send_if_modified(|plan| {
            let before = plan.clone();
            change(plan);
            *plan != before
        });
        Ok(())
    }
}

impl fmt::Debug for ScheduleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScheduleHandle").field(&self.info()).finish()
    }
}

/// Checks an expression and a zone.
#[cfg(feature = "cron")]
pub(crate) fn cron_trigger(expression: &str, timezone: &str) -> Result<Trigger, ScheduleError> {
    let zone: crate::policy::Timezone = timezone.parse().map_err(|_| {
        ScheduleError::InvalidCron(format!(
            "{timezone:?} is no time zone of the IANA database, such as \"Europe/Berlin\" or \"UTC\""
        ))
    })?;
    super::cron::check(expression)
        .map_err(|wrong| ScheduleError::InvalidCron(wrong.to_string()))?;
    Ok(Trigger::Cron {
        expression: expression.to_owned().into(),
        timezone: zone,
    })
}

/// Makes a call each time a period has passed, until the schedule is stopped or the shutdown is requested. For periods that are known when
/// the program is written, put `every = "…"` on the function.
///
/// A tick waits for the end of the run before it; the ticks that have passed by then are missed, and one run replaces them. `call` runs on
/// a worker of the manager's runtime, so it should only make the call. The calls belong to no group and have no parent span. The period
/// follows the clock of `tokio::time`, which a test may pause, and needs the runtime's timer.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// #[bgtask::background]
/// async fn poll_feed(url: String) { /* … */ }
///
/// #[bgtask::main]
/// async fn main() {
///     for url in ["https://a.example/feed", "https://b.example/feed"] {
///         bgtask::every("poll_feed", Duration::from_secs(60), move || poll_feed(url.into()));
///     }
///     assert_eq!(bgtask::schedules().len(), 2);
/// }
/// ```
///
/// # Panics
///
/// Panics if the period is zero, or if no manager can be found.
#[track_caller]
pub fn every<T, F>(name: &'static str, period: Duration, call: F) -> ScheduleHandle
where
    T: Send + 'static,
    F: FnMut() -> TaskHandle<T> + Send + 'static,
{
    assert!(!period.is_zero(), "{}", ScheduleError::ZeroPeriod);
    add("every()", name, Trigger::Every(period), call)
}

/// Makes a call at the times of a cron expression, in a time zone of the IANA database such as `"Europe/Berlin"` or `"UTC"`. Otherwise as
/// [`every()`]. For expressions that are known when the program is written, put `cron = "…"` on the function.
///
/// # Examples
///
/// ```
/// #[bgtask::background]
/// async fn report(tenant: u64) { /* … */ }
///
/// # fn tenants() -> [(u64, &'static str); 1] { [(7, "0 6 * * MON-FRI")] }
/// #[bgtask::main]
/// async fn main() -> Result<(), bgtask::ScheduleError> {
///     for (tenant, expression) in tenants() {
///         bgtask::cron("report", expression, "Europe/Berlin", move || report(tenant))?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`ScheduleError::InvalidCron`] if the expression or the zone is wrong.
///
/// # Panics
///
/// Panics if no manager can be found.
#[cfg(feature = "cron")]
#[track_caller]
pub fn cron<T, F>(
    name: &'static str,
    expression: &str,
    timezone: &str,
    call: F,
) -> Result<ScheduleHandle, ScheduleError>
where
    T: Send + 'static,
    F: FnMut() -> TaskHandle<T> + Send + 'static,
{
    let trigger = cron_trigger(expression, timezone)?;
    Ok(add("cron()", name, trigger, call))
}

#[track_caller]
fn add<T, F>(caller: &str, name: &'static str, trigger: Trigger, mut call: F) -> ScheduleHandle
where
    T: Send + 'static,
    F: FnMut() -> TaskHandle<T> + Send + 'static,
{
    let at = Location::caller();
    let plan = Plan::new(trigger, Duration::ZERO);
    let state = Arc::new(ScheduleState::new(name, None, (at.file(), at.line()), plan));
    let tracker = match context::current(caller) {
        Ok(tracker) => tracker,
        Err(shared) => {
            // A manager that no longer exists starts no run.
            state.update(|info| info.has_ended = true);
            return ScheduleHandle::new(state, shared);
        }
    };
    let shared = tracker.shared.clone();
    shared.policies.add_another_schedule(state.clone());
    let runs = Runs::Call(Mutex::new(Box::new(move || Box::pin(call().ended()))));
    let driver = Driver::new(&tracker, state.clone(), runs);
    spawn(&shared.runtime, name, driver.run());
    ScheduleHandle::new(state, shared)
}
