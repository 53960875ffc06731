//! Starts functions without a caller: the schedules of a manager, the check for their state, and calls that are made later.
//! Owns when a schedule exists. Each run is an ordinary call; the tracker must never know schedules.

mod clock;
#[cfg(feature = "cron")]
mod cron;
mod driver;
mod every;
pub(crate) mod handle;
pub(crate) mod later;
mod restarts;
#[cfg(feature = "durable")]
mod stored;
mod wall;

use crate::handler::{DefinedAt, Handler, handlers};
#[cfg(feature = "cron")]
use crate::policy::Trigger;
use crate::policy::{Plan, Policies, ScheduleState};
use crate::state::States;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::util::log::report;
use crate::util::spawn::spawn;
use driver::{Driver, Runs};
pub(crate) use handle::ScheduleHandle;
#[cfg(feature = "cron")]
pub(crate) use handle::cron_trigger;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a program may take to provide its state, and to open its store, before what is missing is reported.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// Starts every schedule linked into the program, once per manager.
///
/// # Panics
/// If a cron expression is invalid. The attribute has checked those that are literals.
pub(crate) fn start(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    if shared.policies.set_schedules_started() {
        return;
    }
    let functions = handlers();
    functions.iter().for_each(|handler| check(handler));
    let stateful: Vec<_> = functions
        .iter()
        .copied()
        .filter(|handler| !handler.states().is_empty() && !is_checked_by_store(handler))
        .collect();
    if !stateful.is_empty() {
        let checked = shared.clone();
        spawn(&shared.runtime, "bgtask: state check", async move {
            let late = checked
                .shutdown
                .stopping
                .run_until_cancelled(is_state_late(&checked.policies.states, &stateful));
            if late.await == Some(true) {
                report_missing_state(&checked, &stateful);
            }
        });
    }
    for handler in functions {
        start_one(tracker, handler);
    }
}

/// Checks the cron expression of a function, which may be a constant.
#[cfg(feature = "cron")]
fn check(handler: &'static Handler) {
    let policies = handler.policies().unwrap_or(&Policies::NONE);
    if let Some(schedule) = &policies.schedule
        && let Trigger::Cron { expression, .. } = &schedule.trigger
        && let Err(wrong) = cron::check(expression)
    {
        panic!(
            "the cron expression {expression:?} of `{}` at {} is invalid: {wrong}",
            handler.name(),
            DefinedAt(handler)
        );
    }
}

#[cfg(not(feature = "cron"))]
fn check(_: &'static Handler) {}

/// Whether the state of a function is for those processes to provide that work on its jobs: their store logs what is missing.
#[cfg(feature = "durable")]
fn is_checked_by_store(handler: &Handler) -> bool {
    handler.is_durable()
}

#[cfg(not(feature = "durable"))]
fn is_checked_by_store(_: &Handler) -> bool {
    false
}

/// Starts the schedule of one function, unless it was started before. Returns `false` if the function has none.
pub(crate) fn start_one(tracker: &Arc<Tracker>, handler: &'static Handler) -> bool {
    let shared = &tracker.shared;
    let policies = handler.policies().unwrap_or(&Policies::NONE);
    let Some(schedule) = &policies.schedule else {
        return false;
    };
    let state = Arc::new(ScheduleState::new(
        handler.name(),
        Some(policies),
        (handler.file(), handler.line()),
        Plan::new(schedule.trigger.clone(), schedule.jitter),
    ));
    if shared.policies.add_schedule(state.clone()) {
        #[cfg(feature = "durable")]
        if handler.is_durable() {
            stored::start(tracker, handler, schedule, state, STATE_WAIT);
            return true;
        }
        let driver = Driver::new(tracker, state, Runs::Function(handler, schedule));
        spawn(&shared.runtime, handler.name(), driver.run());
    }
    true
}

/// Returns handles to the schedules of a manager.
pub(crate) fn handles(shared: &Arc<Shared>) -> Vec<ScheduleHandle> {
    let schedules = shared.policies.schedules().into_iter();
    schedules
        .map(|state| ScheduleHandle::new(state, shared.clone()))
        .collect()
}

/// Waits until all state has been provided or [`STATE_WAIT`] has passed; returns whether it has passed. Ends early, because a
/// pending timer adds to the cost of each park of the runtime.
async fn is_state_late(states: &States, functions: &[&'static Handler]) -> bool {
    let provided = async {
        for handler in functions {
            states.provided(handler.states()).await;
        }
    };
    timeout(STATE_WAIT, provided).await.is_err()
}

/// Reports the functions whose state is missing.
fn report_missing_state(shared: &Shared, functions: &[&'static Handler]) {
    for handler in functions {
        for missing in shared.policies.states.missing(handler.states()) {
            report!(error, "background function is waiting for state: call `bgtask::provide(…)`";
                name = handler.name(), state = missing.name(), location = DefinedAt(handler));
        }
    }
}
