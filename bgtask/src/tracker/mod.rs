//! The books of one manager: a shard for each thread that makes calls, and every sum and list over all of them.
//! Owns the shards and who may write into them; knows nothing of runtimes, logs, threads or the shutdown's clock.

pub(crate) mod counters;
mod gate;
pub(crate) mod group_state;
pub(crate) mod main_polls;
pub(crate) mod shared;
// A model's chunks have one slot.
#[cfg_attr(any(bgtask_loom, bgtask_shuttle), allow(clippy::modulo_one))]
pub(crate) mod slab;
pub(crate) mod stragglers;

use crate::handler::Handler;
use crate::observe::Ended;
use crate::observe::call_info::CallInfo;
use crate::stats::{Stats, TaskId, TaskInfo};
use crate::task::Notes;
use crate::tracker::counters::{Counters, NONE};
use crate::tracker::group_state::GroupState;
use crate::tracker::shared::Shared;
use crate::tracker::slab::{Chunk, Live, ReportKind, TaskRef};
use crate::util::panic::catch_and_ignore;
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How many ids a writer takes at a time from the counter that all share.
const IDS: u64 = 64;

/// How many calls a writer makes before it looks for slots that have come free: that costs a look at what other threads write.
const LOOK_EVERY: u32 = 32;

/// At the deadline: how many calls we have woken, at most, that have not been dropped yet.
const WOKEN: u64 = 4096;

/// At the deadline: how long we sleep before we check again how many have been dropped.
const NAP: Duration = Duration::from_micros(500);

/// How many chunks are copied out of a shard's list at a time.
const CHUNKS: usize = 256;

/// The next block of ids. One counter for all managers: an id is unique in the process. The standard library's, in a model too,
/// which it outlives.
static NEXT_IDS: AtomicU64 = AtomicU64::new(1);

fn next_ids(count: u64) -> Range<u64> {
    // Relaxed: ids need only differ.
    let first = NEXT_IDS.fetch_add(count, Ordering::Relaxed);
    first..first + count
}

/// An id for a call that is refused where there is no writer.
pub(crate) fn one_id() -> TaskId {
    TaskId(next_ids(1).start)
}

/// All shards of one manager's books.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) shared: Arc<Shared>,
    shards: Mutex<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    all: Vec<Arc<Shard>>,
    /// Those among them that no thread writes calls into, with what their last writers knew of free slots.
    idle: Vec<(Arc<Shard>, Free)>,
}

/// The calls that one thread has made. They are struck out on whatever thread they end, by way of their [`TaskRef`].
#[derive(Debug)]
struct Shard {
    counters: Arc<Counters>,
    /// Locked to be copied, and when one is added.
    chunks: Mutex<Vec<Arc<Chunk>>>,
}

/// The right to write calls into one shard: one thread has it at a time, and so needs no lock for what it does.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    tracker: Arc<Tracker>,
    shard: Arc<Shard>,
    counters: Arc<Counters>,
    /// Those of the shard, for which only the writer's owner makes more.
    chunks: Vec<Arc<Chunk>>,
    free: Free,
    ids: Range<u64>,
}

/// The free slots that a writer knows of, as linked lists.
#[derive(Debug)]
struct Free {
    /// The first of those that keep their runners, and are taken first for that.
    near: u32,
    /// Further lists of such, the older the deeper: what has come free last is taken first, since it is still in some cache.
    older: Vec<u32>,
    /// The first of the others.
    far: u32,
    /// How many slots are taken before it is looked for what has come free meanwhile.
    until_look: u32,
}

impl Default for Free {
    fn default() -> Self {
        Self {
            near: NONE,
            older: Vec::new(),
            far: NONE,
            until_look: LOOK_EVERY,
        }
    }
}

impl Tracker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            shards: Mutex::default(),
        }
    }

    /// The right to write into a shard that no other writer writes into.
    pub(crate) fn writer(self: &Arc<Self>) -> ShardWriter {
        let mut shards = self.lock();
        let taken = if broken!("writer_shared") {
            let shard = shards.all.last().cloned();
            shard.map(|shard| (shard, Free::default()))
        } else {
            shards.idle.pop()
        };
        let (shard, free) = taken.unwrap_or_else(|| {
            let shard = Arc::new(Shard {
                counters: Arc::new(Counters::new(self.shared.clone())),
                chunks: Mutex::default(),
            });
            shards.all.push(shard.clone());
            (shard, Free::default())
        });
        drop(shards);
        ShardWriter {
            tracker: self.clone(),
            counters: shard.counters.clone(),
            chunks: shard.chunks(),
            free,
            shard,
            ids: 0..0,
        }
    }

    pub(crate) fn totals(&self) -> Stats {
        let mut totals = Stats::default();
        for shard in self.shards() {
            shard.counters.add_to(&mut totals);
        }
        self.shared.policies.add_to(&mut totals);
        totals
    }

    pub(crate) fn live_tasks(&self) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        let now = Instant::now();
        self.for_each_live(None, |live| tasks.push(live.info(now)));
        self.shared.policies.describe(&mut tasks);
        tasks.sort_unstable_by_key(|task| (Reverse(task.age), task.id));
        tasks
    }

    /// Goes through the live calls, see [`Chunk::live`]. No lock is held while one is looked at, and none for longer than a few
    /// loads before, however many there are.
    pub(crate) fn for_each_live(&self, of: Option<ReportKind>, mut visit: impl FnMut(Live<'_>)) {
        self.for_each_chunk(|chunk| chunk.live(of).for_each(&mut visit));
    }

    /// Visits the ended calls whose outcome nobody has taken; see [`Chunk::for_each_unclaimed`].
    pub(crate) fn for_each_unclaimed(&self, visit: &mut dyn FnMut(CallInfo, &mut Notes, bool)) {
        self.for_each_chunk(|chunk| chunk.for_each_unclaimed(visit));
    }

    /// From now on, and after the gate has closed, the drain is told when a shard runs empty.
    pub(crate) fn start_draining(&self) {
        self.shared.gate.start_draining();
    }

    /// Closes the gate if nothing is live that a drain waits for, as one step.
    pub(crate) fn close_if_drained(&self) -> bool {
        self.shared.gate.close_if(|| self.is_drained())
    }

    /// Closes the gate whatever is live.
    pub(crate) fn close(&self) {
        self.shared.gate.close();
    }

    /// Whether nothing is live that a drain waits for. Only final once the gate has closed.
    pub(crate) fn is_drained(&self) -> bool {
        let running = self.running();
        // SeqCst, as the counts: see `Gate`. After them, and a call is exempt no longer when its end is counted: so one that
        // ends in between is not taken for one that is still exempt, in place of one that runs.
        running <= self.shared.not_awaited.load(Ordering::SeqCst)
    }

    /// Returns whether at most `own` calls are live, as one step. Ends notify waiters while a caller of `idle()` waits; see
    /// [`Shared::watch_idle`].
    pub(crate) fn is_idle(&self, own: u64) -> bool {
        let gate = &self.shared.gate;
        // Once the gate has closed, only accepted calls count. A call that is about to be refused also counts as running for a
        // moment, and nothing notifies the waiters when it no longer does.
        gate.ask(|| self.running() <= own) || gate.is_closed() && self.accepted() <= own
    }

    /// The deadline: closes the gate. Whatever is live now is late, however it ends.
    pub(crate) fn close_late(&self) {
        // In this order: what ends after the gate has closed is noted.
        self.shared.start_noting_late();
        self.shared.gate.close();
    }

    /// Retires the calls that run on the blocking pool, because they cannot be stopped, and wakes the others, so that they are
    /// polled and dropped. Stops at `until`. Adds to `ends` what the observers are to be notified of.
    pub(crate) fn expire(&self, until: Instant, ends: &mut Vec<Ended>) {
        let mut wakers = Vec::new();
        // Goes chunk by chunk, no faster than calls are dropped: there may be a million of them, and after `until` the workers
        // must not contend with the thread that abandons the rest.
        let (live, mut woken) = (self.running(), 0);
        self.for_each_chunk(|chunk| {
            while Instant::now() < until && self.running() + woken > live + WOKEN {
                std::thread::sleep(NAP);
            }
            if Instant::now() < until {
                chunk.expire(&mut wakers, ends);
                woken += wakers.len() as u64;
                wakers
                    .drain(..)
                    .for_each(|waker| catch_and_ignore(|| waker.wake()));
            }
        });
    }

    /// Returns the number of calls that have not ended. Exact once the gate has closed.
    fn running(&self) -> u64 {
        self.shards()
            .iter()
            .map(|shard| shard.counters.running())
            .sum()
    }

    /// Returns the number of accepted calls that have not ended.
    fn accepted(&self) -> u64 {
        let shards = self.shards();
        shards.iter().map(|shard| shard.counters.accepted()).sum()
    }

    /// Strikes out what has not ended since [`expire`](Self::expire), but for what waits for the drain itself. What is to be told
    /// of those struck out goes into `ends`.
    pub(crate) fn abandon(&self, ends: &mut Vec<Ended>) {
        self.for_each_chunk(|chunk| chunk.abandon(ends));
    }

    /// Returns the live members of a group and of the groups within it.
    pub(crate) fn members(&self, group: &GroupState) -> Vec<TaskRef> {
        let mut members = Vec::new();
        self.for_each_chunk(|chunk| members.append(&mut chunk.members(group)));
        members
    }

    /// Has the idle runners end. Only once the gate has closed.
    pub(crate) fn dismiss_lanes(&self) {
        self.for_each_chunk(|chunk| chunk.runners().into_iter().for_each(Waker::wake));
    }

    fn for_each_chunk(&self, mut visit: impl FnMut(&Arc<Chunk>)) {
        for shard in self.shards() {
            // Copies of parts of the list, which only ever grows: calls go on being written down meanwhile.
            let all = shard.lock().len();
            for from in (0..all).step_by(CHUNKS) {
                let part = shard.lock()[from..all.min(from + CHUNKS)].to_vec();
                part.iter().for_each(&mut visit);
            }
        }
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        self.lock().all.clone()
    }

    /// Held to read or change the lists, and for nothing else.
    fn lock(&self) -> MutexGuard<'_, Shards> {
        self.shards.lock()
    }
}

impl Shard {
    fn chunks(&self) -> Vec<Arc<Chunk>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Chunk>>> {
        self.chunks.lock()
    }
}

impl ShardWriter {
    /// Counts a call and finds it a place, or counts it as refused if the gate has closed: no place then.
    // Always inlined, which the compiler does not see by itself: it is most of what a call does before it returns.
    #[inline(always)]
    pub(crate) fn accept(&mut self, handler: &'static Handler) -> (TaskId, Option<TaskRef>) {
        let id = self.next_id();
        if !self.counters.accept() {
            return (id, None);
        }
        self.free.until_look -= 1;
        if self.free.until_look == 0 || self.free.near == NONE {
            self.look_for_free();
        }
        let (index, list) = match &mut self.free {
            Free { near, .. } if *near != NONE => (*near, near),
            Free { far, .. } => (*far, far),
        };
        let (place, next) = Chunk::of(&self.chunks, index).reserve(index, handler);
        *list = next;
        (id, Some(place))
    }

    /// Counts a call as refused, whatever the state of the gate.
    #[cold]
    pub(crate) fn refuse(&mut self) -> TaskId {
        self.counters.refuse();
        self.next_id()
    }

    #[inline]
    fn next_id(&mut self) -> TaskId {
        if self.ids.is_empty() {
            self.ids = next_ids(IDS);
        }
        let id = self.ids.start;
        self.ids.start += 1;
        TaskId(id)
    }

    /// Looks for slots that have come free, and makes some if there are none at all.
    #[cold]
    fn look_for_free(&mut self) {
        let free = &mut self.free;
        free.until_look = LOOK_EVERY;
        let freed = self.counters.take_freed(true);
        if freed != NONE {
            if free.near != NONE {
                free.older.push(free.near);
            }
            free.near = freed;
        }
        if free.near == NONE {
            free.near = free.older.pop().unwrap_or(NONE);
        }
        if free.near != NONE || free.far != NONE {
            return;
        }
        free.far = self.counters.take_freed(false);
        if free.far != NONE {
            return;
        }
        // As many calls are live as never before.
        let chunk = Chunk::new(self.counters.clone(), self.chunks.len());
        if chunk.is_near() {
            free.near = chunk.first();
        } else {
            free.far = chunk.first();
        }
        self.chunks.push(chunk.clone());
        self.shard.lock().push(chunk);
    }

    pub(crate) fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }
}

impl Drop for ShardWriter {
    fn drop(&mut self) {
        let free = std::mem::take(&mut self.free);
        self.tracker.lock().idle.push((self.shard.clone(), free));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::{HandlerSpec, Kind};
    use crate::handler::{Log, OnShutdown};
    use crate::observe::call_info::CallInfo;
    use crate::observe::hooks::Hooks;
    use crate::stats::Outcome;
    use crate::task::Task;
    use crate::task::judge::Always;
    use crate::tracker::slab::Completion;
    use std::collections::VecDeque;
    use std::panic::Location;
    use tokio::runtime::{Builder, Runtime};

    static HANDLER: Handler = Handler::new(HandlerSpec {
        name: "tested",
        path: || "tracker",
        module_path: module_path!(),
        file: file!(),
        line: line!(),
        kind: Kind::Async,
        takes_token: false,
        on_shutdown: OnShutdown::Drain,
        log: Log::Off,
        warn_after: crate::handler::WarnAfter::Default,
        policies: None,
    });

    fn books() -> (Runtime, Arc<Tracker>) {
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let shared = Shared::new(handle, Duration::ZERO, Hooks::default(), false);
        (runtime, Arc::new(Tracker::new(Arc::new(shared))))
    }

    /// What no behaviour shows: the books of a program that runs for months do not grow.
    #[test]
    fn slots_that_have_come_free_are_used_again() {
        let (_runtime, tracker) = books();
        let mut writer = tracker.writer();
        // Many at once and one after another, by turns: each way of coming by a free slot follows upon each other.
        for (calls, most) in [(60, 60), (100, 1), (100, 10)].repeat(200) {
            let mut live = VecDeque::new();
            for _ in 0..calls {
                let (_, place) = writer.accept(&HANDLER);
                live.push_back(place.unwrap());
                if live.len() > most {
                    live.pop_front().unwrap().discard_reserved();
                }
            }
            live.into_iter().for_each(|place| place.discard_reserved());
        }
        assert!(writer.chunks.len() <= 3, "{}", writer.chunks.len());
    }

    #[test]
    fn slots_of_calls_whose_handles_were_dropped_after_the_end_are_used_again() {
        let (_runtime, tracker) = books();
        let mut writer = tracker.writer();
        // Far more than a chunk has slots, and no more than Miri gets through.
        for _ in 0..1_000 {
            let (id, place) = writer.accept(&HANDLER);
            let place = place.unwrap();
            let identity = CallInfo::new(id, &HANDLER, Location::caller());
            place.fill(identity, Task::boxed(std::future::pending::<()>(), Always));
            let task = place.start().unwrap();
            let handover = place.hand_over(task, Outcome::Succeeded);
            assert!(matches!(handover, Completion::Done));
            assert!(place.detach().is_some());
            place.release();
        }
        assert_eq!(writer.chunks.len(), 1);
    }

    #[test]
    fn a_shard_whose_thread_has_gone_is_used_by_the_next() {
        let (_runtime, tracker) = books();
        for _ in 0..1_000 {
            let (_, place) = tracker.writer().accept(&HANDLER);
            place.unwrap().discard_reserved();
        }
        let shards = tracker.shards();
        assert_eq!(shards.len(), 1);
        assert_eq!(shards[0].chunks().len(), 1);
    }
}
