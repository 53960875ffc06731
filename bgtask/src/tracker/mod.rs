//! The tracker: the records of one manager's calls, in one shard per thread that makes calls.
//! Owns the shards, and every sum and list over all of them; knows nothing of runtimes, logs, or the shutdown's clock.

#[cfg(feature = "durable")]
pub(crate) mod attached;
// A model's chunks have one slot.
#[cfg_attr(any(bgtask_loom, bgtask_shuttle), allow(clippy::modulo_one))]
pub(crate) mod chunk;
pub(crate) mod counters;
mod gate;
pub(crate) mod group_state;
pub(crate) mod main_polls;
mod shard;
pub(crate) mod shared;
pub(crate) mod shutdown_state;
mod slot;
pub(crate) mod state;
pub(crate) mod stragglers;
#[cfg_attr(any(bgtask_loom, bgtask_shuttle), allow(clippy::modulo_one))]
pub(crate) mod task_ref;
pub(crate) mod visit;
mod writer;

pub(crate) use writer::{ShardWriter, one_id};

use crate::observe::Ended;
use crate::observe::call_info::CallInfo;
use crate::stats::{Stats, TaskInfo};
use crate::task::Notes;
use crate::tracker::chunk::Chunk;
use crate::tracker::group_state::GroupState;
use crate::tracker::shard::{FreeLists, Shard};
use crate::tracker::shared::Shared;
use crate::tracker::state::ReportKind;
use crate::tracker::task_ref::TaskRef;
use crate::tracker::visit::Live;
use crate::util::panic::catch_and_ignore;
use crate::util::sync::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

/// At the deadline: the maximum number of calls that have been woken and not dropped yet.
const WOKEN: u64 = 4096;

/// At the deadline: how long to sleep before checking again how many calls have been dropped.
const NAP: Duration = Duration::from_micros(500);

/// How many chunks are copied from a shard's list at a time.
const CHUNKS: usize = 256;

/// All shards of one manager.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) shared: Arc<Shared>,
    shards: Mutex<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    all: Vec<Arc<Shard>>,
    /// The shards without a writer, and what their last writers knew of free slots.
    idle: Vec<(Arc<Shard>, FreeLists)>,
}

impl Tracker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            shards: Mutex::default(),
        }
    }

    /// Returns the totals over all shards.
    pub(crate) fn totals(&self) -> Stats {
        let mut totals = Stats::default();
        for shard in self.shards() {
            shard.counters.add_to(&mut totals);
        }
        self.shared.policies.add_to(&mut totals);
        totals
    }

    /// Returns the live calls, the oldest first.
    pub(crate) fn live_tasks(&self) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        let now = Instant::now();
        self.for_each_live(None, |live| {
            let mut task = live.info(now);
            task.fields = self.shared.fields_of(&live.identity);
            tasks.push(task);
        });
        self.shared.policies.describe(&mut tasks);
        tasks.sort_unstable_by_key(|task| (Reverse(task.age), task.id));
        tasks
    }

    /// Visits the live calls; see [`Chunk::live`]. No lock is held during a visit, and before it only for a few loads, however many
    /// calls there are.
    pub(crate) fn for_each_live(
        &self,
        report: Option<ReportKind>,
        mut visit: impl FnMut(Live<'_>),
    ) {
        self.for_each_chunk(|chunk| chunk.live(report).for_each(&mut visit));
    }

    /// Visits the ended calls whose output was not taken; see [`Chunk::for_each_unclaimed`].
    pub(crate) fn for_each_unclaimed(&self, visit: &mut dyn FnMut(CallInfo, &mut Notes, bool)) {
        self.for_each_chunk(|chunk| chunk.for_each_unclaimed(visit));
    }

    /// Has the drain notified of ends from now on, even after the gate has closed.
    pub(crate) fn start_draining(&self) {
        self.shared.gate.start_draining();
    }

    /// Closes the gate if no call is live that a drain waits for, as one step.
    pub(crate) fn close_if_drained(&self) -> bool {
        self.shared.gate.close_if(|| self.is_drained())
    }

    /// Closes the gate, whatever is live.
    pub(crate) fn close(&self) {
        self.shared.gate.close();
    }

    /// Returns whether no call is live that a drain waits for. Final only once the gate has closed.
    pub(crate) fn is_drained(&self) -> bool {
        let running = self.running();
        // SeqCst, like the counters; `Gate` gives the reason. Load `not_awaited` after them: a call leaves `not_awaited` before
        // its end is counted, so a call that ends between the two loads can only make this return `false`, never `true` too
        // early.
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

    /// Closes the gate at the deadline. A call that is live now is late, however it ends.
    pub(crate) fn close_late(&self) {
        // In this order: a call that ends after the gate has closed is noted.
        self.shared.shutdown.start_noting_late();
        self.shared.gate.close();
    }

    /// Retires the calls that run on the blocking pool, because they cannot be stopped, and wakes the others, so that they are
    /// polled and dropped. Stops at `until`. Adds to `ends` what the caller reports to the observers.
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
        let shards = self.shards();
        shards.iter().map(|shard| shard.counters.running()).sum()
    }

    /// Returns the number of accepted calls that have not ended.
    fn accepted(&self) -> u64 {
        let shards = self.shards();
        shards.iter().map(|shard| shard.counters.accepted()).sum()
    }

    /// Retires the calls that have not ended since [`expire`](Self::expire), except those that wait for the drain. Adds to `ends`
    /// what the caller reports to the observers.
    pub(crate) fn abandon(&self, ends: &mut Vec<Ended>) {
        self.for_each_chunk(|chunk| chunk.abandon(ends));
    }

    /// Returns the live members of a group and of the groups within it.
    pub(crate) fn members(&self, group: &GroupState) -> Vec<TaskRef> {
        let mut members = Vec::new();
        self.for_each_chunk(|chunk| members.append(&mut chunk.members(group)));
        members
    }

    /// Ends the idle runners. Call it after the gate has closed.
    pub(crate) fn dismiss_runners(&self) {
        self.for_each_chunk(|chunk| chunk.runners().into_iter().for_each(Waker::wake));
    }

    fn for_each_chunk(&self, mut visit: impl FnMut(&Arc<Chunk>)) {
        for shard in self.shards() {
            // Copies parts of the list, which only ever grows: calls continue to be recorded meanwhile.
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
