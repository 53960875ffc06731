//! The state that one manager keeps for its functions with policies: wait queues, permits, windows, counts. Created at their first call.
//! Must never know how the policies use it. A manager without such calls keeps an empty map.

use super::coalesce::KeyGroups;
use super::concurrency::{Concurrency, Limiter};
use super::key::Key;
use super::keyed::Keyed;
use super::later::LaterCalls;
use super::policies::Policies;
use super::progress::{Activity, ActivityCounts, Progress};
use super::rate::{RateLimit, Window};
use super::rejected::RejectionEvents;
use super::retry::Retry;
use super::schedule::{NeverStarted, Plan, ScheduleInfo, ScheduleState};
use super::values::Values;
use super::wall_clock::WallClock;
use crate::state::States;
#[cfg(feature = "durable")]
use crate::stats::JobInfo;
use crate::stats::{Stats, TaskId, TaskInfo};
use crate::util::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::util::sync::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The map of live calls is not shrunk below this capacity, some 2 MB: if calls come in waves, it would grow again each time.
const SMALL: usize = 1 << 16;

/// How many jobs of retired calls are kept whatever the number of live calls.
#[cfg(feature = "durable")]
const FEW_JOBS: usize = 64;

#[derive(Debug)]
pub(crate) struct Registry {
    handlers: Mutex<HashMap<usize, Arc<HandlerState>>>,
    /// The plans of schedules whose values the program has changed, by the addresses of their policies. Held while it changes values.
    plans: Mutex<HashMap<usize, Plan>>,
    pub(crate) states: States,
    pub(crate) wall_clock: Arc<WallClock>,
    schedules: Mutex<Vec<Arc<ScheduleState>>>,
    schedules_started: AtomicBool,
    /// The calls of `after` and `at` that wait for their time.
    pub(crate) later: LaterCalls,
    /// The calls whose attempts the shutdown has ended. Each is counted before its end, and the report is written after all
    /// ends.
    pub(crate) gave_up: Count,
    /// The calls that were refused because the value of a `State<_>` parameter was not provided.
    pub(crate) missing_state: Count,
    /// The calls that failed for good and whose failure no code has read.
    pub(crate) unseen_failures: Count,
    /// The parent of the tokens of last attempts, created with the first of them.
    pub(crate) last_attempts: OnceLock<CancellationToken>,
}

/// The counts of one function with policies, as [`handler_stats()`](crate::handler_stats) returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HandlerStats {
    /// The name of the function.
    pub name: &'static str,
    /// The live calls that may begin, and wait for a worker.
    pub queued: u64,
    /// The live calls that wait for an earlier run, for the rate or for a permit.
    pub waiting: u64,
    /// The live calls whose body runs.
    pub running: u64,
    /// The live calls that sleep between two attempts.
    pub backing_off: u64,
    /// The calls that made no run of their own: they joined a run, or were skipped.
    pub coalesced: u64,
    /// The calls that a policy refused.
    pub refused: u64,
    /// The calls that were accepted and dropped before they began: they were replaced, dropped from the wait queue, or waited for
    /// the rate when the shutdown began.
    pub dropped: u64,
    /// The attempts beyond the first of each call.
    pub retries: u64,
}

/// The state of one function's policies under one manager.
#[derive(Debug)]
pub(crate) struct HandlerState {
    name: &'static str,
    pub(crate) policies: &'static Policies,
    pub(crate) key_groups: Option<Arc<KeyGroups>>,
    limiters: Option<Keyed<Limiter>>,
    windows: Option<Keyed<Window>>,
    /// Present once the program has changed a value. Until then those of the attribute apply, and a call pays one load for this.
    changed: OnceLock<Mutex<Values>>,
    live: Mutex<Live>,
    pub(crate) counts: Counts,
    pub(crate) rejections: RejectionEvents,
}

#[derive(Debug, Default)]
struct Live {
    calls: HashMap<TaskId, Arc<Progress>>,
    /// The number of these calls in each activity, so that a snapshot need not visit every call under the lock.
    activities: Arc<ActivityCounts>,
    /// The jobs of these calls, and of some that have been retired: a call that is retired does not look for its job, so that calls
    /// without one pay nothing for jobs.
    #[cfg(feature = "durable")]
    jobs: HashMap<TaskId, Arc<JobInfo>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) coalesced: Count,
    pub(crate) refused: Count,
    pub(crate) dropped: Count,
    pub(crate) retries: Count,
}

/// A total.
// Relaxed: the number is for people to read, and orders no other memory.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            handlers: Mutex::default(),
            plans: Mutex::default(),
            states: States::new(),
            wall_clock: Arc::default(),
            schedules: Mutex::default(),
            schedules_started: AtomicBool::new(false),
            later: LaterCalls::default(),
            gave_up: Count::default(),
            missing_state: Count::default(),
            unseen_failures: Count::default(),
            last_attempts: OnceLock::new(),
        }
    }

    /// Returns the state of a function, created on the first use.
    pub(crate) fn handler_state(
        &self,
        name: &'static str,
        policies: &'static Policies,
    ) -> Arc<HandlerState> {
        // Held to look up a state or to create an empty one.
        let mut handlers = lock(&self.handlers);
        let state = handlers
            .entry(address(policies))
            .or_insert_with(|| Arc::new(HandlerState::new(name, policies)));
        state.clone()
    }

    /// Changes the values and the plans of functions: each of those given, and the others back to their attributes'.
    pub(crate) fn set_values(
        &self,
        values: &[(&'static str, &'static Policies, Values)],
        plans: Vec<(&'static Policies, Plan)>,
    ) {
        let mut planned = lock(&self.plans);
        let before = std::mem::take(&mut *planned);
        let plans = plans.into_iter();
        *planned = plans
            .map(|(policies, plan)| (address(policies), plan))
            .collect();
        for schedule in lock(&self.schedules).iter() {
            let Some(policies) = schedule.policies else {
                continue;
            };
            let place = address(policies);
            if let Some(plan) = planned.get(&place) {
                schedule.follow(plan);
            } else if let (true, Some(own)) = (before.contains_key(&place), &policies.schedule) {
                schedule.follow(&Plan::new(own.trigger.clone(), own.jitter));
            }
        }
        for state in self.handler_states() {
            let is_given =
                |given: &(_, &'static Policies, _)| std::ptr::eq(given.1, state.policies);
            if state.changed.get().is_some() && !values.iter().any(is_given) {
                state.set_values(Values::of(state.policies));
            }
        }
        for (name, policies, values) in values {
            self.handler_state(name, policies).set_values(*values);
        }
    }

    /// Returns the progress of a live call, unless the call has just ended.
    pub(crate) fn progress(
        &self,
        policies: &'static Policies,
        id: TaskId,
    ) -> Option<Arc<Progress>> {
        // One lock after the other, each for a look-up.
        let state = self.known_state(policies)?;
        lock(&state.live).calls.get(&id).cloned()
    }

    fn known_state(&self, policies: &'static Policies) -> Option<Arc<HandlerState>> {
        lock(&self.handlers).get(&address(policies)).cloned()
    }

    /// Adds to one live task what the tracker does not record: whether it waits or backs off, its attempt and its job.
    pub(crate) fn describe_one(&self, policies: &'static Policies, task: &mut TaskInfo) {
        let Some(state) = self.known_state(policies) else {
            return;
        };
        // Copied, so that the lock is held for a look-up.
        let progress = lock(&state.live).calls.get(&task.id).cloned();
        if let Some(progress) = progress {
            describe(task, &progress);
            #[cfg(feature = "durable")]
            describe_job(task, state.job(task.id));
        }
    }

    pub(crate) fn handler_states(&self) -> Vec<Arc<HandlerState>> {
        lock(&self.handlers).values().cloned().collect()
    }

    /// Does the same for many tasks.
    pub(crate) fn describe(&self, tasks: &mut [TaskInfo]) {
        let mut live = HashMap::new();
        #[cfg(feature = "durable")]
        let mut jobs = HashMap::new();
        for state in self.handler_states() {
            let state = lock(&state.live);
            live.extend(state.calls.iter().map(|(id, call)| (*id, call.clone())));
            #[cfg(feature = "durable")]
            jobs.extend(state.jobs.iter().map(|(id, job)| (*id, job.clone())));
        }
        if live.is_empty() {
            return;
        }
        for task in tasks {
            if let Some(progress) = live.get(&task.id) {
                describe(task, progress);
                #[cfg(feature = "durable")]
                describe_job(task, jobs.get(&task.id).cloned());
            }
        }
    }

    /// Adds the counts of the policies to those of the tracker. The tracker itself counts the calls that wait.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        for state in self.handler_states() {
            let counts = &state.counts;
            stats.coalesced += counts.coalesced.get();
            stats.refused += counts.refused.get();
            stats.retries += counts.retries.get();
        }
    }

    /// Resets the numbers of live calls, because the deadline has retired all of them.
    pub(crate) fn forget_retired(&self) {
        for state in self.handler_states() {
            // Those calls continue to use the old counts, which are not read any more. Visiting each of a million calls would
            // take too long.
            lock(&state.live).activities = Arc::default();
        }
    }

    pub(crate) fn handler_stats(&self) -> Vec<HandlerStats> {
        let states = self.handler_states();
        let mut stats: Vec<_> = states.iter().map(|state| state.stats()).collect();
        stats.sort_by_key(|stats| stats.name);
        stats
    }

    /// Notes that the schedules are started. Returns whether they already were.
    pub(crate) fn set_schedules_started(&self) -> bool {
        // Relaxed: the swap alone makes one of two callers the first.
        self.schedules_started.swap(true, Ordering::Relaxed)
    }

    /// Adds a schedule. Returns `false` if the function's schedule was added before.
    pub(crate) fn add_schedule(&self, schedule: Arc<ScheduleState>) -> bool {
        let planned = lock(&self.plans);
        let plan = schedule
            .policies
            .and_then(|policies| planned.get(&address(policies)));
        if let Some(plan) = plan {
            schedule.follow(plan);
        }
        let mut schedules = lock(&self.schedules);
        let is_new = !schedules
            .iter()
            .any(|other| other.is_same_function(&schedule));
        if is_new {
            schedules.push(schedule);
        }
        is_new
    }

    /// Adds a schedule that is not the only one of its name and place.
    pub(crate) fn add_another_schedule(&self, schedule: Arc<ScheduleState>) {
        lock(&self.schedules).push(schedule);
    }

    pub(crate) fn remove_schedule(&self, schedule: &Arc<ScheduleState>) {
        lock(&self.schedules).retain(|other| !Arc::ptr_eq(other, schedule));
    }

    /// Returns the scheduled functions that have not run because their state is missing.
    pub(crate) fn never_started(&self) -> Vec<NeverStarted> {
        let schedules = self.schedules();
        let each = schedules
            .iter()
            .map(|schedule| schedule.never_started(&self.states));
        each.flatten().collect()
    }

    /// Returns the schedules, sorted by name.
    pub(crate) fn schedules(&self) -> Vec<Arc<ScheduleState>> {
        let mut schedules = lock(&self.schedules).clone();
        schedules.sort_by_key(|schedule| schedule.name());
        schedules
    }

    /// Returns all schedules, sorted by name.
    pub(crate) fn schedule_infos(&self) -> Vec<ScheduleInfo> {
        let schedules = self.schedules();
        schedules.iter().map(|schedule| schedule.info()).collect()
    }
}

impl HandlerState {
    fn new(name: &'static str, policies: &'static Policies) -> Self {
        Self {
            name,
            policies,
            key_groups: policies.coalesce.map(KeyGroups::new),
            limiters: policies.concurrency.map(|_| Keyed::default()),
            windows: policies.rate.map(|_| Keyed::default()),
            changed: OnceLock::new(),
            live: Mutex::default(),
            counts: Counts::default(),
            rejections: RejectionEvents::default(),
        }
    }

    /// Returns the values that apply now.
    pub(crate) fn values(&self) -> Values {
        match self.changed.get() {
            None => Values::of(self.policies),
            // Held for a copy.
            Some(values) => *lock(values),
        }
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.changed.get() {
            None => self.policies.timeout,
            Some(_) => self.values().timeout,
        }
    }

    pub(crate) fn retry(&self) -> Option<Retry> {
        match self.changed.get() {
            None => self.policies.retry,
            Some(_) => self.values().retry,
        }
    }

    /// Changes the values, for the calls that come and for those that wait. Two threads must not do so at the same time: the registry
    /// has a lock for that.
    fn set_values(&self, values: Values) {
        // Before the visits: a key that is added meanwhile begins with the new values.
        *lock(self.changed.get_or_init(|| Mutex::new(values))) = values;
        if let (Some(limiters), Some(limits)) = (&self.limiters, values.concurrency) {
            limiters.for_each(|limiter| limiter.set_limits(limits));
        }
        if let (Some(windows), Some(limit)) = (&self.windows, values.rate) {
            let now = Instant::now();
            windows.for_each(|window| window.set_rate(limit.rate, now));
        }
    }

    /// Returns the limiter of one key.
    pub(crate) fn limiter(&self, key: &Key) -> Option<Arc<Limiter>> {
        let of_attribute = self.policies.concurrency?;
        // Called under the lock of the key's shard, which a change takes after it has changed the values.
        let limits = || -> Concurrency { self.values().concurrency.unwrap_or(of_attribute) };
        Some(self.limiters.as_ref()?.get(
            key,
            || Limiter::new(limits()),
            // Each permit holds its limiter, and no call waits while no permit is taken.
            |_| true,
        ))
    }

    /// Returns the window of one key.
    pub(crate) fn window(&self, key: &Key) -> Option<Arc<Window>> {
        let of_attribute = self.policies.rate?;
        // As above.
        let limit = || -> RateLimit { self.values().rate.unwrap_or(of_attribute) };
        let now = Instant::now();
        Some(self.windows.as_ref()?.get(
            key,
            || Arc::new(Window::new(limit().rate)),
            |window| window.is_idle(now),
        ))
    }

    /// Records a live call.
    pub(crate) fn record(&self, id: TaskId, activity: Activity) -> Arc<Progress> {
        let mut live = lock(&self.live);
        let progress = Arc::new(Progress::new(activity, live.activities.clone()));
        live.activities.add(activity);
        live.calls.insert(id, progress.clone());
        progress
    }

    /// Notes the job that a call runs an attempt of, before the call is recorded.
    #[cfg(feature = "durable")]
    pub(crate) fn note_job(&self, id: TaskId, job: Arc<JobInfo>) {
        let mut live = lock(&self.live);
        let Live { calls, jobs, .. } = &mut *live;
        // At most as many jobs of retired calls as live calls, and a few: so a removal costs each call a constant time.
        if jobs.len() > 2 * calls.len() + FEW_JOBS {
            jobs.retain(|id, _| calls.contains_key(id));
        }
        jobs.insert(id, job);
    }

    /// Returns the job that a live call runs an attempt of.
    #[cfg(feature = "durable")]
    fn job(&self, id: TaskId) -> Option<Arc<JobInfo>> {
        lock(&self.live).jobs.get(&id).cloned()
    }

    /// Retires a call.
    pub(crate) fn retire(&self, id: TaskId) {
        let retired = {
            let mut live = lock(&self.live);
            let retired = live.calls.remove(&id);
            // After a flood of calls, return the memory; only the few remaining entries have to move.
            if live.calls.capacity() > SMALL && live.calls.len() < live.calls.capacity() / 8 {
                let room = 2 * live.calls.len();
                live.calls.shrink_to(room);
            }
            retired
        };
        if let Some(progress) = retired {
            progress.retire();
        }
    }

    fn stats(&self) -> HandlerStats {
        let live = lock(&self.live).activities.clone();
        HandlerStats {
            name: self.name,
            queued: live.get(Activity::Queued),
            waiting: live.get(Activity::Waiting),
            running: live.get(Activity::Running),
            backing_off: live.get(Activity::BackingOff),
            coalesced: self.counts.coalesced.get(),
            refused: self.counts.refused.get(),
            dropped: self.counts.dropped.get(),
            retries: self.counts.retries.get(),
        }
    }
}

fn describe(task: &mut TaskInfo, progress: &Progress) {
    task.state = progress.state();
    task.attempt = progress.attempt();
}

#[cfg(feature = "durable")]
fn describe_job(task: &mut TaskInfo, job: Option<Arc<JobInfo>>) {
    if let Some(job) = job {
        // Each attempt of a job is a call, and the first attempt of that call.
        task.attempt = job.attempt;
        task.job = Some(JobInfo::clone(&job));
    }
}

/// Returns the address of the policies, which identifies their function: they are a static of their own.
fn address(policies: &'static Policies) -> usize {
    std::ptr::from_ref(policies) as usize
}

/// Nothing panics under these locks, so the data behind a poisoned one is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
