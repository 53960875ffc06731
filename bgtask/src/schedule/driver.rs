//! One schedule from its start to its end: the ticks of `every` and `cron`, `on_start` and its restarts, and the runs in between.
//! Owns the waits. Must never know who changes a schedule.

use super::clock::{self, Clock, Corrected, is_corrected};
#[cfg(feature = "cron")]
use super::cron;
use super::every::Every;
use super::restarts::Restarts;
use crate::context;
use crate::handler::{Handler, Log};
use crate::observe::Observer;
use crate::policy::{
    Ending, Missed, Origin, Plan, Policies, Restart, Schedule, ScheduleState, Timezone, Trigger,
    WallClock, catch_up, is_missed, next_tick,
};
use crate::shutdown::essential;
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use crate::util::fmt::Rounded;
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::sync::unmodelled::Mutex;
use crate::util::text::Excerpt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// Runs one schedule to its end.
pub(super) struct Driver {
    tracker: Arc<Tracker>,
    state: Arc<ScheduleState>,
    plans: watch::Receiver<Plan>,
    plan: Plan,
    runs: Runs,
}

/// What a schedule runs.
pub(super) enum Runs {
    /// A function with `every`, `cron` or `on_start`.
    Function(&'static Handler, &'static Schedule),
    /// A call that code of the program makes.
    // Locked for the one who has the driver anyway: a driver is shared between threads, and a closure need not be.
    Call(Mutex<MakeCall>),
}

/// Makes a call, and returns what waits for its end.
pub(super) type MakeCall = Box<dyn FnMut() -> EndOfCall + Send>;
pub(super) type EndOfCall = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A run that has been started.
enum Run {
    Function(oneshot::Receiver<Ending>),
    Call(EndOfCall),
}

impl Run {
    /// Waits for the end of the run, however it ends.
    async fn ended(self) {
        match self {
            // A run that was aborted or refused sends nothing.
            Self::Function(ending) => drop(ending.await),
            Self::Call(end) => end.await,
        }
    }
}

/// What ends the wait for a tick.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// The run can begin in time.
    InTime,
    /// Too late, so the tick is missed: the runtime was blocked, the machine slept, or the clock was set forward.
    Late,
    /// The clock was set back.
    Corrected,
    /// A run is to begin now, apart from the ticks.
    Asked,
    /// The schedule was changed.
    Changed,
}

/// What follows the ticks of one plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    NextPlan,
    /// There is no further tick, or the shutdown has been requested.
    End,
}

impl Driver {
    pub(super) fn new(tracker: &Arc<Tracker>, state: Arc<ScheduleState>, runs: Runs) -> Self {
        let plans = state.plan.subscribe();
        let plan = plans.borrow().clone();
        Self {
            tracker: tracker.clone(),
            state,
            plans,
            plan,
            runs,
        }
    }

    pub(super) async fn run(mut self) {
        let stopping = self.tracker.shared.shutdown.stopping.clone();
        // A schedule does not delay a shutdown: no further tick starts, and a run in progress is drained like any other call.
        stopping.run_until_cancelled(self.run_plans()).await;
        self.state.update(|info| {
            info.next = None;
            info.has_ended = true;
        });
        if let Runs::Call(_) = self.runs {
            // A program may add any number of them.
            self.tracker.shared.policies.remove_schedule(&self.state);
        }
    }

    async fn run_plans(&mut self) {
        if let Runs::Function(handler, _) = self.runs {
            let states = &self.tracker.shared.policies.states;
            states.provided(handler.states()).await;
            self.state.update(|info| info.waits_for_state = false);
        }
        let mut immediately = match self.runs {
            Runs::Function(_, schedule) => schedule.immediately,
            Runs::Call(_) => false,
        };
        loop {
            self.plan = self.plans.borrow_and_update().clone();
            if self.plan.is_stopped {
                return;
            }
            let after = if self.plan.is_paused {
                self.pause().await
            } else {
                match self.plan.trigger.clone() {
                    Trigger::Every(period) => self.tick(Every::new(period), immediately).await,
                    Trigger::Cron {
                        expression,
                        timezone,
                    } => self.tick_by_cron(&expression, timezone, immediately).await,
                    Trigger::OnStart => {
                        self.keep_running().await;
                        After::End
                    }
                }
            };
            if after == After::End {
                return;
            }
            immediately = immediately && self.plan.is_paused;
        }
    }

    /// Waits until the plan changes. Runs that are asked for begin all the same.
    async fn pause(&mut self) -> After {
        self.state.update(|info| info.next = None);
        while self.changed_or_asked().await == Waited::Asked {
            let Some(run) = self.start() else {
                return After::End;
            };
            if !self.overlaps() {
                run.ended().await;
            }
        }
        After::NextPlan
    }

    async fn tick<C: Clock>(&mut self, clock: C, immediately: bool) -> After {
        let missed = self.missed();
        let after = |tick| clock.after(tick);
        let between = |begin, end| clock.between(begin, end);
        let begin = clock.now();
        let mut due = if immediately {
            Some(begin)
        } else {
            clock.after(begin)
        };
        while let Some(tick) = due {
            let waited = self.wait_for(&clock, tick).await;
            match waited {
                Waited::Changed => return After::NextPlan,
                Waited::Corrected => {
                    due = clock.after(clock.now());
                    continue;
                }
                Waited::Late => {
                    let next = catch_up(missed, tick, clock.now(), after, between);
                    due = self.count_missed(next);
                    continue;
                }
                Waited::InTime | Waited::Asked => {}
            }
            let Some(run) = self.start() else {
                return After::End;
            };
            if !self.overlaps() {
                self.state.update(|info| info.next = None);
                run.ended().await;
            }
            let now = clock.now();
            let next = if waited == Waited::Asked {
                // The tick itself is still to come, unless its time has passed meanwhile.
                catch_up(missed, tick, now, after, between)
            } else if is_corrected(&clock, tick) {
                next_tick(missed, now, now, after, between)
            } else {
                next_tick(missed, tick, now, after, between)
            };
            due = self.count_missed(next);
        }
        After::End
    }

    /// Counts the ticks without a run of their own, and returns the next tick that gets a run.
    fn count_missed<P>(&self, next: Option<(P, u64)>) -> Option<P> {
        let (next, missed) = next?;
        self.state.update(|info| info.missed += missed);
        if missed > 0
            && let Runs::Function(handler, _) = self.runs
        {
            self.notify(|observer| observer.missed(handler, missed));
        }
        Some(next)
    }

    async fn wait_for<C: Clock>(&self, clock: &C, tick: C::Point) -> Waited {
        let left = clock.left(tick);
        let jitter = self.plan.jitter.mul_f64(fastrand::f64());
        // A tick that is already due is not delayed any further.
        let until = if left.is_zero() {
            tick
        } else {
            clock.later(tick, jitter)
        };
        let slept = {
            let mut asked = pin!(self.changed_or_asked());
            let mut slept = pin!(clock::sleep_until(clock, until, |left| self.set_next(left)));
            poll_fn(|cx| match asked.as_mut().poll(cx) {
                Poll::Ready(waited) => Poll::Ready(Err(waited)),
                Poll::Pending => slept.as_mut().poll(cx).map(Ok),
            })
            .await
        };
        match slept {
            Err(waited) => return waited,
            Ok(Err(Corrected)) => return Waited::Corrected,
            Ok(Ok(())) => {}
        }
        // A tick that was already due has been judged before, or replaces missed ticks, so it runs however late it is.
        let now = clock.now();
        let has_next = || clock.after(until).is_some_and(|next| next <= now);
        let is_late = left > Duration::ZERO && is_missed(clock.between(until, now), has_next);
        if is_late {
            Waited::Late
        } else {
            Waited::InTime
        }
    }

    /// Completes when the plan is changed, or a run is asked for.
    async fn changed_or_asked(&self) -> Waited {
        // A copy, which begins with what the driver has seen.
        let mut plans = self.plans.clone();
        let mut changed = pin!(plans.changed());
        let mut asked = pin!(self.state.asked());
        poll_fn(|cx| {
            if changed.as_mut().poll(cx).is_ready() {
                Poll::Ready(Waited::Changed)
            } else {
                asked.as_mut().poll(cx).map(|()| Waited::Asked)
            }
        })
        .await
    }

    /// Runs `on_start` once, and again while `restart` allows it.
    async fn keep_running(&mut self) {
        let mut restarts = Restarts::default();
        let Runs::Function(handler, _) = self.runs else {
            unreachable!("only a function has `on_start`");
        };
        loop {
            let Some(Run::Function(ending)) = self.start() else {
                return;
            };
            // A run that was aborted or refused sends nothing.
            let ended = ending.await;
            let has_succeeded = ended == Ok(Ending::Succeeded);
            if self.tracker.shared.shutdown.phase() != Phase::Running {
                return;
            }
            let Some(restart) = self.restart() else {
                break;
            };
            if has_succeeded && !restart.always {
                break;
            }
            let name = handler.name();
            let is_logged = handler.log() != Log::Off;
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
            self.notify(|observer| observer.restarted(handler));
        }
        if handler.policies().unwrap_or(&Policies::NONE).essential {
            essential::ended(&self.tracker, handler);
        }
    }

    fn overlaps(&self) -> bool {
        match self.runs {
            Runs::Function(_, schedule) => schedule.overlap,
            Runs::Call(_) => false,
        }
    }

    fn missed(&self) -> Missed {
        match self.runs {
            Runs::Function(_, schedule) => schedule.missed,
            Runs::Call(_) => Missed::Once,
        }
    }

    fn restart(&self) -> Option<Restart> {
        match self.runs {
            Runs::Function(_, schedule) => schedule.restart,
            Runs::Call(_) => None,
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

    /// Makes the call, unless the shutdown has been requested. The driver's own token is checked only between polls.
    fn start(&mut self) -> Option<Run> {
        {
            // Held until the run is counted: once a shutdown request has returned, that count no longer changes. The call checks
            // again.
            let _tick = self.tracker.shared.shutdown.start_tick()?;
            self.state.take_asked();
            self.state.update(|info| {
                info.runs += 1;
                info.next = None;
            });
        }
        // A call finds its manager by the thread it is made on.
        let mut before = context::enter(self.tracker.clone());
        let run = match &self.runs {
            Runs::Function(_, schedule) => {
                let (sender, ending) = oneshot::channel();
                (schedule.start)(Origin::Schedule(sender));
                Run::Function(ending)
            }
            Runs::Call(call) => Run::Call(match catch(|| call.lock()()) {
                Ok(end) => end,
                Err(caught) => {
                    report!(error, "the closure of a schedule panicked"; name = self.state.name(),
                        panic = Excerpt(&caught.message));
                    Box::pin(async {})
                }
            }),
        };
        context::leave(&mut before);
        Some(run)
    }

    #[cfg(not(feature = "cron"))]
    async fn tick_by_cron(&mut self, _: &str, timezone: Timezone, _: bool) -> After {
        // The attribute rejects `cron` without the feature.
        match timezone {}
    }

    #[cfg(feature = "cron")]
    async fn tick_by_cron(
        &mut self,
        expression: &str,
        timezone: Timezone,
        immediately: bool,
    ) -> After {
        match cron::Cron::new(expression, timezone, self.wall_clock().clone()) {
            Ok(clock) => self.tick(clock, immediately).await,
            // Those who make a plan check it.
            Err(error) => {
                report!(error, "invalid cron expression"; name = self.state.name(),
                    expression = expression, error = error);
                After::End
            }
        }
    }
}
