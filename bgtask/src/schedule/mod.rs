//! What starts functions without a caller: the ticks of `every` and `cron`, `on_start` and its restarts, the check for state.
//! Owns the waiting in between; each run is an ordinary call, and the books know nothing of schedules.

use crate::context;
use crate::handler::Log;
use crate::handler::self_check::TaskRef;
use crate::handler::{Handler, handlers};
use crate::observe::Observer;
use crate::policy::{
    Ending, Origin, Policies, Restart, Schedule, Ticks, Trigger, WallClock, catch_up, is_missed,
    next_tick,
};
use crate::shutdown::essential;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::{Time, report};
use crate::util::spawn::spawn;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a program may take to provide its state before the lack of it is reported.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// A clock that was put back further than this was wrong before, and what is due goes by the new time at once. Less, and nothing
/// comes twice. The rule, and the figure, are those of cron(8) on Debian.
const CORRECTION: Duration = Duration::from_secs(3 * 60 * 60);

/// Starts every schedule linked into the program, once a manager.
pub(crate) fn start(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    if shared.policies.set_started() {
        return;
    }
    let functions: Vec<_> = handlers()
        .into_iter()
        .filter_map(|handler| Some((handler, handler.policies()?)))
        .collect();
    if functions.iter().any(|(_, own)| !own.states.is_empty()) {
        let checked = shared.clone();
        let functions = functions.clone();
        spawn(&shared.runtime, "bgtask: state check", async move {
            let stopping = checked.shutdown.stopping.clone();
            if stopping
                .run_until_cancelled(sleep(STATE_WAIT))
                .await
                .is_some()
            {
                report_missing_state(&checked, &functions);
            }
        });
    }
    for (handler, _) in functions {
        start_one(tracker, handler);
    }
}

/// Starts the schedule of one function, unless it has been started; `false` if it has none.
pub(crate) fn start_one(tracker: &Arc<Tracker>, handler: &'static Handler) -> bool {
    let shared = &tracker.shared;
    let policies = handler.policies().unwrap_or(&Policies::NONE);
    let Some(schedule) = &policies.schedule else {
        return false;
    };
    let ticks = Arc::new(Ticks::new(
        handler.name(),
        policies.states,
        (handler.file(), handler.line()),
    ));
    if shared.policies.add_schedule(ticks.clone()) {
        let driver = Driver {
            tracker: tracker.clone(),
            handler,
            schedule,
            ticks,
        };
        spawn(&shared.runtime, handler.name(), driver.run(policies));
    }
    true
}

/// Names the functions whose state nobody has provided.
fn report_missing_state(shared: &Shared, functions: &[(&'static Handler, &'static Policies)]) {
    for (handler, policies) in functions {
        for missing in shared.policies.states.missing(policies.states) {
            report!(error, "a background function needs state that nobody has provided: call `bgtask::provide(…)`";
                name = handler.name(), state = missing.name(), place = TaskRef(handler));
        }
    }
}

/// Runs one schedule to its end.
struct Driver {
    tracker: Arc<Tracker>,
    handler: &'static Handler,
    schedule: &'static Schedule,
    ticks: Arc<Ticks>,
}

/// How a run ended, as far as its schedule is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Normally,
    /// It failed, panicked, ran out of time, was aborted or refused.
    Badly,
}

impl Driver {
    async fn run(self, policies: &'static Policies) {
        let stopping = self.tracker.shared.shutdown.stopping.clone();
        // Nothing of this holds a shutdown: no further tick comes, and a run under way is drained as any other call.
        let in_time = stopping.run_until_cancelled(async {
            self.tracker
                .shared
                .policies
                .states
                .provided(policies.states)
                .await;
            self.ticks.change(|info| info.waits_for_state = false);
            match self.schedule.trigger {
                Trigger::Every(period) => self.tick(Every::new(period)).await,
                Trigger::Cron {
                    expression,
                    timezone,
                } => self.tick_by_cron(expression, timezone).await,
                Trigger::OnStart => self.keep_running(policies).await,
            }
        });
        in_time.await;
        self.ticks.change(|info| {
            info.next = None;
            info.has_ended = true;
        });
    }

    async fn tick<C: Clock>(&self, clock: C) {
        let schedule = self.schedule;
        let begin = clock.now();
        let mut due = match schedule.immediately {
            true => Some(begin),
            false => clock.after(begin),
        };
        while let Some(tick) = due {
            match self.wait_for(&clock, tick).await {
                Err(Corrected) => {
                    due = clock.after(clock.now());
                    continue;
                }
                Ok(Begins::Late) => {
                    let now = clock.now();
                    let next = catch_up(
                        schedule.missed,
                        tick,
                        now,
                        |tick| clock.after(tick),
                        |begin, end| clock.between(begin, end),
                    );
                    due = self.pass(next);
                    continue;
                }
                Ok(Begins::InTime) => {}
            }
            let Some(ended) = self.start() else {
                return;
            };
            if !schedule.overlap {
                self.ticks.change(|info| info.next = None);
                ended_of(ended).await;
            }
            let now = clock.now();
            let tick = match is_corrected(&clock, tick) {
                true => now,
                false => tick,
            };
            let next = next_tick(
                schedule.missed,
                tick,
                now,
                |tick| clock.after(tick),
                |begin, end| clock.between(begin, end),
            );
            due = self.pass(next);
        }
    }

    /// Counts the ticks that get no run, and returns the one that gets a run.
    fn pass<P>(&self, next: Option<(P, u64)>) -> Option<P> {
        let (next, passed) = next?;
        self.ticks.change(|info| info.missed += passed);
        if passed > 0 {
            self.tell(|observer| observer.missed(self.handler, passed));
        }
        Some(next)
    }

    async fn wait_for<C: Clock>(&self, clock: &C, tick: C::Point) -> Result<Begins, Corrected> {
        let left = clock.left(tick);
        let jitter = self.schedule.jitter.mul_f64(fastrand::f64());
        // A tick that is already due is not delayed any further.
        let until = match left {
            Duration::ZERO => tick,
            _ => clock.later(tick, jitter),
        };
        sleep_until_it_is(clock, until, |left| {
            let next = self.wall_clock().now().checked_add(left);
            self.ticks.change(|info| info.next = next);
        })
        .await?;
        // A tick that was already due has been judged, or stands for missed ticks, so it runs however late it is.
        let now = clock.now();
        let has_next = || clock.after(until).is_some_and(|next| next <= now);
        let is_late = left > Duration::ZERO && is_missed(clock.between(until, now), has_next);
        Ok(if is_late {
            Begins::Late
        } else {
            Begins::InTime
        })
    }

    /// `on_start`: one run, and as many more as its restarts allow.
    async fn keep_running(&self, policies: &'static Policies) {
        let mut restarts = Restarts::default();
        loop {
            let Some(ended) = self.start() else {
                return;
            };
            let ended = ended_of(ended).await;
            if self.tracker.shared.shutdown.phase() != Phase::Running {
                return;
            }
            let Some(restart) = self.schedule.restart else {
                break;
            };
            if ended == Ended::Normally && !restart.always {
                break;
            }
            let name = self.handler.name();
            let tells = self.handler.log() != Log::Off;
            let Some(pause) = restarts.next(&restart, Instant::now()) else {
                if tells {
                    report!(error, "a background function is not started again: it ended too often"; name = name,
                        restarts: restart.max, window = Time(restart.window));
                }
                break;
            };
            let until = Instant::now() + pause;
            if tells {
                report!(warn, "a background function has ended and is started again"; name = name,
                    pause = Time(pause));
            }
            let next = self.wall_clock().now().checked_add(pause);
            self.ticks.change(|info| info.next = next);
            sleep_until(until).await;
            self.tell(|observer| observer.restarted(self.handler));
        }
        if policies.essential {
            essential::ended(&self.tracker, self.handler);
        }
    }

    fn tell(&self, what: impl Fn(&dyn Observer)) {
        self.tracker.shared.hooks.observers.notify(what);
    }

    fn wall_clock(&self) -> &Arc<WallClock> {
        &self.tracker.shared.policies.wall_clock
    }

    /// Calls the function, unless the shutdown has been requested. The driver's own token is checked only between polls.
    fn start(&self) -> Option<oneshot::Receiver<Ending>> {
        {
            // Held until the run is counted: once a shutdown request has returned, that count no longer changes. The call checks
            // again.
            let _tick = self.tracker.shared.shutdown.start_tick()?;
            self.ticks.change(|info| {
                info.runs += 1;
                info.next = None;
            });
        }
        let (tell, ended) = oneshot::channel();
        // A call finds its manager by the thread it is made on.
        let mut before = context::enter(self.tracker.clone());
        (self.schedule.start)(Origin::Schedule(tell));
        context::leave(&mut before);
        Some(ended)
    }
}

async fn ended_of(ended: oneshot::Receiver<Ending>) -> Ended {
    match ended.await {
        Ok(Ending::Succeeded) => Ended::Normally,
        Ok(Ending::Failed) | Err(_) => Ended::Badly,
    }
}

/// The restarts of one function within their window.
#[derive(Default)]
struct Restarts {
    at: VecDeque<Instant>,
}

impl Restarts {
    /// The pause before the next one; `None` if there have been enough.
    fn next(&mut self, restart: &Restart, now: Instant) -> Option<Duration> {
        while self
            .at
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) >= restart.window)
        {
            self.at.pop_front();
        }
        if self.at.len() >= restart.max as usize {
            return None;
        }
        self.at.push_back(now);
        Some(restart.backoff.pause(self.at.len() as u32))
    }
}

/// Whether the run of a tick can begin in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    InTime,
    /// Too late, so that the tick is missed: the runtime was blocked, the machine slept, or the clock was put forward.
    Late,
}

/// Where ticks come from.
trait Clock {
    type Point: Copy + Ord;
    /// After that long the clock is looked at again.
    const LONGEST_NAP: Duration;

    fn now(&self) -> Self::Point;
    fn left(&self, until: Self::Point) -> Duration {
        self.between(self.now(), until)
    }
    /// Returns the time from `begin` to `end`, or zero if `end` comes first.
    fn between(&self, begin: Self::Point, end: Self::Point) -> Duration;
    fn later(&self, point: Self::Point, by: Duration) -> Self::Point;
    /// The first tick after a point in time.
    fn after(&self, point: Self::Point) -> Option<Self::Point>;
}

/// The clock was put back by more than [`CORRECTION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corrected;

/// Whether the clock is so far before a point that it has shown before.
fn is_corrected<C: Clock>(clock: &C, shown: C::Point) -> bool {
    clock.left(shown) > CORRECTION
}

/// Sleeps by a clock that may be set meanwhile; `tell` is told how much is left, each time it has looked.
async fn sleep_until_it_is<C: Clock>(
    clock: &C,
    until: C::Point,
    tell: impl Fn(Duration),
) -> Result<(), Corrected> {
    loop {
        let (shown, left) = (clock.now(), clock.left(until));
        tell(left);
        let nap = C::LONGEST_NAP.min(left);
        sleep(nap).await;
        if nap == left {
            return Ok(());
        }
        if is_corrected(clock, shown) {
            return Err(Corrected);
        }
    }
}

/// `every`: at whole periods from the start on, however long the runs take.
struct Every {
    begin: Instant,
    period: Duration,
}

impl Every {
    fn new(period: Duration) -> Self {
        Self {
            begin: Instant::now(),
            period,
        }
    }
}

impl Clock for Every {
    type Point = Instant;
    const LONGEST_NAP: Duration = Duration::MAX;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn between(&self, begin: Instant, end: Instant) -> Duration {
        end.saturating_duration_since(begin)
    }

    fn later(&self, point: Instant, by: Duration) -> Instant {
        point.checked_add(by).unwrap_or(point)
    }

    fn after(&self, point: Instant) -> Option<Instant> {
        let passed = point.saturating_duration_since(self.begin).as_nanos();
        let ticks = passed / self.period.as_nanos() + 1;
        let nanos = u64::try_from(ticks.checked_mul(self.period.as_nanos())?).ok()?;
        self.begin.checked_add(Duration::from_nanos(nanos))
    }
}

#[cfg(not(feature = "cron"))]
impl Driver {
    async fn tick_by_cron(&self, _: &'static str, timezone: crate::policy::Timezone) {
        // The attribute refuses `cron` without the feature.
        match timezone {}
    }
}

#[cfg(feature = "cron")]
impl Driver {
    async fn tick_by_cron(&self, expression: &'static str, timezone: crate::policy::Timezone) {
        match cron::Cron::new(expression, timezone, self.wall_clock().clone()) {
            Ok(clock) => self.tick(clock).await,
            Err(error) => {
                report!(error, "a cron expression cannot be used"; name = self.handler.name(),
                    expression = expression, error = error);
            }
        }
    }
}

#[cfg(feature = "cron")]
mod cron;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Backoff, Missed, Shape};
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn ticks_stay_on_their_grid() {
        let every = Every::new(Duration::from_secs(10));
        let at = |seconds| every.begin + Duration::from_secs(seconds);
        assert_eq!(every.after(at(0)), Some(at(10)));
        assert_eq!(every.after(at(9)), Some(at(10)));
        assert_eq!(every.after(at(10)), Some(at(20)));
        assert_eq!(every.after(at(57)), Some(at(60)));
    }

    /// A clock on the wall, which may be set. Seconds; a tick every hour.
    struct Wall {
        begin: Instant,
        set_by: Cell<i64>,
    }

    impl Wall {
        fn new() -> Self {
            Self {
                begin: Instant::now(),
                set_by: Cell::new(0),
            }
        }
    }

    impl Clock for Wall {
        type Point = i64;
        const LONGEST_NAP: Duration = Duration::from_secs(30);

        fn now(&self) -> i64 {
            self.begin.elapsed().as_secs() as i64 + self.set_by.get()
        }

        fn between(&self, begin: i64, end: i64) -> Duration {
            Duration::from_secs((end - begin).max(0) as u64)
        }

        fn later(&self, point: i64, by: Duration) -> i64 {
            point + by.as_secs() as i64
        }

        fn after(&self, point: i64) -> Option<i64> {
            Some((point.div_euclid(3600) + 1) * 3600)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_put_forward_brings_the_tick_within_one_nap() {
        let wall = Wall::new();
        let ticks = sleep_until_it_is(&wall, 3600, |_| ());
        let is_set = async {
            sleep(Duration::from_secs(100)).await;
            wall.set_by.set(7200);
        };
        let (slept, ()) = tokio::join!(ticks, is_set);
        assert_eq!(slept, Ok(()));
        let took = wall.begin.elapsed();
        assert!(
            took <= Duration::from_secs(100) + Wall::LONGEST_NAP,
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_put_back_puts_the_tick_off_and_brings_none_twice() {
        let wall = Wall::new();
        let ticks = sleep_until_it_is(&wall, 3600, |_| ());
        let is_set = async {
            sleep(Duration::from_secs(100)).await;
            wall.set_by.set(-1800);
        };
        let (slept, ()) = tokio::join!(ticks, is_set);
        assert_eq!(slept, Ok(()));
        assert_eq!(wall.now(), 3600);
        assert_eq!(wall.begin.elapsed(), Duration::from_secs(3600 + 1800));
        // Put back over a tick that has come, it comes to the next one and not to that one again.
        wall.set_by.set(-5000);
        assert!(wall.now() < 3600);
        for missed in [Missed::Once, Missed::Skip, Missed::All] {
            let after = |tick| wall.after(tick);
            let between = |begin, end| wall.between(begin, end);
            let next = next_tick(missed, 3600, wall.now(), after, between);
            assert_eq!(next, Some((7200, 0)), "{missed:?}");
        }
    }

    #[test]
    fn restarts_are_counted_within_their_window() {
        let restart = Restart {
            max: 2,
            window: Duration::from_secs(60),
            backoff: Backoff {
                shape: Shape::Linear,
                base: Duration::from_secs(1),
                cap: Duration::from_secs(10),
                jitter: false,
            },
            always: false,
        };
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        let mut next = |second| {
            let pause = restarts.next(&restart, begin + Duration::from_secs(second));
            pause.map(|pause| pause.as_secs())
        };
        assert_eq!(next(0), Some(1));
        assert_eq!(next(10), Some(2));
        assert_eq!(next(59), None);
        assert_eq!(next(60), Some(2), "the first is out of the window");
        assert_eq!(next(200), Some(1));
    }
}
