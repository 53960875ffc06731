//! Starts functions without a caller: the ticks of `every` and `cron`, `on_start` and its restarts, the check for state; calls later.
//! Owns the waits in between. Each run is an ordinary call; the tracker must never know schedules.

mod clock;
#[cfg(feature = "cron")]
mod cron;
mod every;
pub(crate) mod later;
mod restarts;
#[cfg(feature = "durable")]
mod stored;
mod wall;

use crate::context;
use crate::handler::{DefinedAt, Handler, Log, handlers};
use crate::observe::Observer;
use crate::policy::{
    Ending, Origin, Policies, Schedule, ScheduleState, Timezone, Trigger, WallClock, catch_up,
    is_missed, next_tick,
};
use crate::shutdown::essential;
use crate::state::States;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::fmt::Rounded;
use crate::util::log::report;
use crate::util::spawn::spawn;
use clock::{Clock, Corrected, is_corrected};
use every::Every;
use restarts::Restarts;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a program may take to provide its state, and to open its store, before what is missing is reported.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// Starts every schedule linked into the program, once per manager.
pub(crate) fn start(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    if shared.policies.set_schedules_started() {
        return;
    }
    let functions = handlers();
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
        policies.states,
        (handler.file(), handler.line()),
    ));
    if shared.policies.add_schedule(state.clone()) {
        #[cfg(feature = "durable")]
        if handler.is_durable() {
            stored::start(tracker, handler, schedule, state, STATE_WAIT);
            return true;
        }
        let driver = Driver {
            tracker: tracker.clone(),
            handler,
            schedule,
            state,
        };
        spawn(&shared.runtime, handler.name(), driver.run(policies));
    }
    true
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

/// Runs one schedule to its end.
struct Driver {
    tracker: Arc<Tracker>,
    handler: &'static Handler,
    schedule: &'static Schedule,
    state: Arc<ScheduleState>,
}

/// Whether the run of a tick can begin in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    InTime,
    /// Too late, so the tick is missed: the runtime was blocked, the machine slept, or the clock was set forward.
    Late,
}

impl Driver {
    async fn run(self, policies: &'static Policies) {
        let stopping = self.tracker.shared.shutdown.stopping.clone();
        // A schedule does not delay a shutdown: no further tick starts, and a run in progress is drained like any other call.
        let runs = stopping.run_until_cancelled(async {
            let states = &self.tracker.shared.policies.states;
            states.provided(policies.states).await;
            self.state.update(|info| info.waits_for_state = false);
            match self.schedule.trigger {
                Trigger::Every(period) => self.tick(Every::new(period)).await,
                Trigger::Cron {
                    expression,
                    timezone,
                } => self.tick_by_cron(expression, timezone).await,
                Trigger::OnStart => self.keep_running(policies).await,
            }
        });
        runs.await;
        self.state.update(|info| {
            info.next = None;
            info.has_ended = true;
        });
    }

    async fn tick<C: Clock>(&self, clock: C) {
        let schedule = self.schedule;
        let after = |tick| clock.after(tick);
        let between = |begin, end| clock.between(begin, end);
        let begin = clock.now();
        let mut due = if schedule.immediately {
            Some(begin)
        } else {
            clock.after(begin)
        };
        while let Some(tick) = due {
            match self.wait_for(&clock, tick).await {
                Err(Corrected) => {
                    due = clock.after(clock.now());
                    continue;
                }
                Ok(Begins::Late) => {
                    let next = catch_up(schedule.missed, tick, clock.now(), after, between);
                    due = self.count_missed(next);
                    continue;
                }
                Ok(Begins::InTime) => {}
            }
            let Some(ending) = self.start() else {
                return;
            };
            if !schedule.overlap {
                self.state.update(|info| info.next = None);
                // How the run ended does not matter.
                let _ = ending.await;
            }
            let now = clock.now();
            let tick = if is_corrected(&clock, tick) {
                now
            } else {
                tick
            };
            due = self.count_missed(next_tick(schedule.missed, tick, now, after, between));
        }
    }

    /// Counts the ticks without a run of their own, and returns the next tick that gets a run.
    fn count_missed<P>(&self, next: Option<(P, u64)>) -> Option<P> {
        let (next, missed) = next?;
        self.state.update(|info| info.missed += missed);
        if missed > 0 {
            self.notify(|observer| observer.missed(self.handler, missed));
        }
        Some(next)
    }

    async fn wait_for<C: Clock>(&self, clock: &C, tick: C::Point) -> Result<Begins, Corrected> {
        let left = clock.left(tick);
        let jitter = self.schedule.jitter.mul_f64(fastrand::f64());
        // A tick that is already due is not delayed any further.
        let until = if left.is_zero() {
            tick
        } else {
            clock.later(tick, jitter)
        };
        clock::sleep_until(clock, until, |left| self.set_next(left)).await?;
        // A tick that was already due has been judged before, or replaces missed ticks, so it runs however late it is.
        let now = clock.now();
        let has_next = || clock.after(until).is_some_and(|next| next <= now);
        let is_late = left > Duration::ZERO && is_missed(clock.between(until, now), has_next);
        Ok(if is_late {
            Begins::Late
        } else {
            Begins::InTime
        })
    }

    /// Runs `on_start` once, and again while `restart` allows it.
    async fn keep_running(&self, policies: &'static Policies) {
        let mut restarts = Restarts::default();
        loop {
            let Some(ending) = self.start() else {
                return;
            };
            // A run that was aborted or refused sends nothing.
            let ended = ending.await;
            let has_succeeded = ended == Ok(Ending::Succeeded);
            if self.tracker.shared.shutdown.phase() != Phase::Running {
                return;
            }
            let Some(restart) = self.schedule.restart else {
                break;
            };
            if has_succeeded && !restart.always {
                break;
            }
            let name = self.handler.name();
            let is_logged = self.handler.log() != Log::Off;
            let Some(pause) = restarts.next(&restart, Instant::now()) else {
                if ended == Ok(Ending::Failed) {
                    self.tracker.shared.policies.unseen_failures.add_one();
                }
                if is_logged {
                    report!(error, "background function not restarted: its restart limit is reached"; name = name,
                        restarts: restart.max, window = Rounded(restart.window));
                }
                break;
            };
            let until = Instant::now() + pause;
            if is_logged {
                report!(warn, "background function ended, restarting"; name = name,
                    pause = Rounded(pause));
            }
            self.set_next(pause);
            sleep_until(until).await;
            self.notify(|observer| observer.restarted(self.handler));
        }
        if policies.essential {
            essential::ended(&self.tracker, self.handler);
        }
    }

    fn notify(&self, event: impl Fn(&dyn Observer)) {
        self.tracker.shared.hooks.observers.notify(event);
    }

    fn wall_clock(&self) -> &Arc<WallClock> {
        &self.tracker.shared.policies.wall_clock
    }

    fn set_next(&self, left: Duration) {
        let next = self.wall_clock().now().checked_add(left);
        self.state.update(|info| info.next = next);
    }

    /// Calls the function, unless the shutdown has been requested. The driver's own token is checked only between polls.
    fn start(&self) -> Option<oneshot::Receiver<Ending>> {
        {
            // Held until the run is counted: once a shutdown request has returned, that count no longer changes. The call checks
            // again.
            let _tick = self.tracker.shared.shutdown.start_tick()?;
            self.state.update(|info| {
                info.runs += 1;
                info.next = None;
            });
        }
        let (sender, ending) = oneshot::channel();
        // A call finds its manager by the thread it is made on.
        let mut before = context::enter(self.tracker.clone());
        (self.schedule.start)(Origin::Schedule(sender));
        context::leave(&mut before);
        Some(ending)
    }

    #[cfg(not(feature = "cron"))]
    async fn tick_by_cron(&self, _: &'static str, timezone: Timezone) {
        // The attribute rejects `cron` without the feature.
        match timezone {}
    }

    #[cfg(feature = "cron")]
    async fn tick_by_cron(&self, expression: &'static str, timezone: Timezone) {
        match cron::Cron::new(expression, timezone, self.wall_clock().clone()) {
            Ok(clock) => self.tick(clock).await,
            Err(error) => {
                report!(error, "invalid cron expression"; name = self.handler.name(),
                    expression = expression, error = error);
            }
        }
    }
}
