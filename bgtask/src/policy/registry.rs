//! What one manager keeps for the functions that have policies: lines, permits, windows, counts. Made at their first call.
//! Knows nothing of how they are used; a manager without such calls keeps an empty map.

use super::Policies;
use super::coalesce::KeyGroups;
use super::concurrency::Limiter;
use super::key::Key;
use super::keyed::Keyed;
use super::progress::{Doing, Progress, Tallied};
use super::rate::Window;
use super::rejection::RejectionLog;
use super::schedule::{NeverStarted, ScheduleInfo, Ticks};
use super::wall_clock::WallClock;
use crate::state::States;
use crate::stats::{Stats, TaskId, TaskInfo};
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The map of live calls is not shrunk below this capacity, some 2 MB: if calls come in waves, it would grow again each time.
const SMALL: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct Registry {
    handlers: Mutex<HashMap<usize, Arc<HandlerState>>>,
    pub(crate) states: States,
    pub(crate) wall_clock: Arc<WallClock>,
    schedules: Mutex<Vec<Arc<Ticks>>>,
    schedules_started: AtomicBool,
    gave_up: AtomicU64,
    /// The parent of the tokens of last attempts, created with the first of them.
    pub(crate) last_attempts: OnceLock<CancellationToken>,
}

/// Totals and lengths of one function with policies, as [`handler_stats()`](crate::handler_stats) found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HandlerStats {
    /// The name of the function.
    pub name: &'static str,
    /// Live calls that could begin, and have not come to it.
    pub queued: u64,
    /// Live calls that wait: for an earlier run, for the rate, for a permit. The length of the line.
    pub waiting: u64,
    /// Live calls whose body runs.
    pub running: u64,
    /// Live calls that are asleep between two attempts.
    pub backing_off: u64,
    /// Calls that made no run of their own: they joined one, or were skipped.
    pub coalesced: u64,
    /// Calls that a policy refused.
    pub refused: u64,
    /// Calls that were accepted, and dropped before they began: replaced, dropped from the line, or held back by the rate
    /// when the shutdown came.
    pub dropped: u64,
    /// Attempts beyond the first of each call.
    pub retries: u64,
}

/// The policies of one function under one manager.
#[derive(Debug)]
pub(crate) struct HandlerState {
    name: &'static str,
    pub(crate) policies: &'static Policies,
    pub(crate) runners: Option<Arc<KeyGroups>>,
    limiters: Option<Keyed<Limiter>>,
    windows: Option<Keyed<Window>>,
    live: Mutex<Live>,
    pub(crate) counts: Counts,
    /// The log lines about rejected calls.
    pub(crate) rejections: RejectionLog,
}

#[derive(Debug, Default)]
struct Live {
    calls: HashMap<TaskId, Arc<Progress>>,
    /// Counts of the live calls, so that nobody has to visit all of them while other calls wait for the lock.
    tallied: Arc<Tallied>,
}

/// Relaxed, all of them: each is a total for people to look at, and nothing else is read on its account.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    coalesced: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    retries: AtomicU64,
}

impl Counts {
    pub(crate) fn coalesced(&self) {
        self.coalesced.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_so_far(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped_so_far(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            handlers: Mutex::default(),
            states: States::new(),
            wall_clock: Arc::default(),
            schedules: Mutex::default(),
            schedules_started: AtomicBool::new(false),
            gave_up: AtomicU64::new(0),
            last_attempts: OnceLock::new(),
        }
    }

    /// What is kept for a function.
    pub(crate) fn of(&self, name: &'static str, policies: &'static Policies) -> Arc<HandlerState> {
        // Its static stands in one place for the life of the program, and tells it from every other.
        let place = std::ptr::from_ref(policies) as usize;
        // Held for the look-up, or for making an empty state.
        let mut handlers = self.handlers.lock();
        let state = handlers
            .entry(place)
            .or_insert_with(|| Arc::new(HandlerState::new(name, policies)));
        state.clone()
    }

    /// How far one live call of a function has come; nothing if the function has no policies, or the call has just ended.
    pub(crate) fn progress(
        &self,
        policies: &'static Policies,
        id: TaskId,
    ) -> Option<Arc<Progress>> {
        let place = std::ptr::from_ref(policies) as usize;
        // One lock after the other, each for a look-up.
        let state = self.handlers.lock().get(&place).cloned()?;
        state.live.lock().calls.get(&id).cloned()
    }

    /// Returns the state of every function that has one.
    pub(crate) fn all(&self) -> Vec<Arc<HandlerState>> {
        self.handlers.lock().values().cloned().collect()
    }

    /// What the books do not know of live tasks: that one waits or is asleep, and which attempt it is at.
    pub(crate) fn describe(&self, tasks: &mut [TaskInfo]) {
        let mut live = HashMap::new();
        for state in self.all() {
            let own = state.live.lock();
            live.extend(own.calls.iter().map(|(id, own)| (*id, own.clone())));
        }
        if live.is_empty() {
            return;
        }
        for task in tasks {
            if let Some(progress) = live.get(&task.id) {
                task.state = progress.state();
                task.attempt = progress.attempt();
            }
        }
    }

    /// Adds the counts of the policies to those of the tracker. The tracker itself knows which calls wait.
    pub(crate) fn add_to(&self, stats: &mut Stats) {
        for state in self.all() {
            let own = state.stats();
            stats.coalesced += own.coalesced;
            stats.refused += own.refused;
            stats.retries += own.retries;
        }
    }

    /// Forgets the counts of the calls that the deadline has retired: what their code still does is in no count any more.
    pub(crate) fn forget_struck_out(&self) {
        for state in self.all() {
            // Those calls go on counting in the old counters, which nobody reads. Visiting each of a million calls would take too
            // long.
            state.live.lock().tallied = Arc::default();
        }
    }

    pub(crate) fn handler_stats(&self) -> Vec<HandlerStats> {
        let mut all: Vec<_> = self.all().iter().map(|state| state.stats()).collect();
        all.sort_by_key(|stats| stats.name);
        all
    }

    /// Whether it had been called before.
    pub(crate) fn set_started(&self) -> bool {
        // Relaxed: that it is a swap is enough for one of two callers to be the first.
        self.schedules_started.swap(true, Ordering::Relaxed)
    }

    /// Counts a call whose attempts the shutdown has ended.
    pub(crate) fn give_up(&self) {
        // Relaxed: a total. The report reads it after the call has ended, and that end is counted after this.
        self.gave_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gave_up(&self) -> u64 {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// `false` if the function's schedule is among them already.
    pub(crate) fn add_schedule(&self, ticks: Arc<Ticks>) -> bool {
        let mut schedules = self.schedules.lock();
        let is_new = !schedules.iter().any(|own| own.is_of_function_of(&ticks));
        if is_new {
            schedules.push(ticks);
        }
        is_new
    }

    /// Every function that has not run for the lack of its state.
    pub(crate) fn never_started(&self) -> Vec<NeverStarted> {
        let schedules = self.schedules();
        let each = schedules
            .iter()
            .map(|ticks| ticks.never_started(&self.states));
        each.flatten().collect()
    }

    fn schedules(&self) -> Vec<Arc<Ticks>> {
        self.schedules.lock().clone()
    }

    /// All schedules, by name.
    pub(crate) fn schedule_infos(&self) -> Vec<ScheduleInfo> {
        let mut infos: Vec<_> = self.schedules().iter().map(|ticks| ticks.info()).collect();
        infos.sort_by_key(|info| info.name);
        infos
    }
}

impl HandlerState {
    fn new(name: &'static str, policies: &'static Policies) -> Self {
        Self {
            name,
            policies,
            runners: policies.coalesce.map(KeyGroups::new),
            limiters: policies.concurrency.map(|_| Keyed::default()),
            windows: policies.rate.map(|_| Keyed::default()),
            live: Mutex::default(),
            counts: Counts::default(),
            rejections: RejectionLog::default(),
        }
    }

    /// The permits of one key.
    pub(crate) fn limiter(&self, key: &Key) -> Option<Arc<Limiter>> {
        let limits = self.policies.concurrency?;
        Some(self.limiters.as_ref()?.get(
            key,
            || Limiter::new(limits),
            // Each permit that is out holds it, and nobody waits where none is.
            |_| true,
        ))
    }

    /// The window of one key.
    pub(crate) fn window(&self, key: &Key) -> Option<Arc<Window>> {
        let rate = self.policies.rate?;
        let now = Instant::now();
        Some(self.windows.as_ref()?.get(
            key,
            || Arc::new(Window::new(rate)),
            |window| window.is_idle(now),
        ))
    }

    pub(crate) fn enlist(&self, id: TaskId, doing: Doing) -> Arc<Progress> {
        let mut live = self.live.lock();
        let progress = Arc::new(Progress::new(doing, live.tallied.clone()));
        live.tallied.add(doing);
        live.calls.insert(id, progress.clone());
        progress
    }

    pub(crate) fn strike_out(&self, id: TaskId) {
        let gone = {
            let mut live = self.live.lock();
            let gone = live.calls.remove(&id);
            // After a flood of calls, return the memory; only the few remaining entries have to move.
            if live.calls.capacity() > SMALL && live.calls.len() < live.calls.capacity() / 8 {
                let room = 2 * live.calls.len();
                live.calls.shrink_to(room);
            }
            gone
        };
        if let Some(progress) = gone {
            progress.leaves();
        }
    }

    fn tallied(&self) -> Arc<Tallied> {
        self.live.lock().tallied.clone()
    }

    fn stats(&self) -> HandlerStats {
        let tallied = self.tallied();
        HandlerStats {
            name: self.name,
            queued: tallied.of(Doing::Queued),
            waiting: tallied.of(Doing::Waiting),
            running: tallied.of(Doing::Running),
            backing_off: tallied.of(Doing::Asleep),
            coalesced: self.counts.coalesced.load(Ordering::Relaxed),
            refused: self.counts.refused.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
            retries: self.counts.retries.load(Ordering::Relaxed),
        }
    }
}
