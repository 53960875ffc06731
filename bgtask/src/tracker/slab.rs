//! The places of live calls: slots that are made by the chunk, never move, and are used again.
//! Owns what is known of one call from its launch to the drop of its handle, and the step that strikes it out; knows nothing
//! of who looks for calls, or how they are run. Must never run a user's code under a lock.

use crate::handler::Log;
use crate::handler::{Handler, Kind};
use crate::observe::Ended;
use crate::observe::call_info::{CallInfo, LateTask};
use crate::policy::Doing;
use crate::stats::{Outcome, TaskId, TaskInfo, TaskState};
use crate::task::{BoxedTask, Notes};
use crate::tracker::counters::{Counters, NONE};
use crate::tracker::group_state::{GroupState, Membership};
use crate::tracker::shared::Shared;
use crate::util::panic::catch_and_ignore;
use crate::util::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How many slots are made at a time; in a model one, so that slots are soon used again.
const CHUNK: usize = if cfg!(any(bgtask_loom, bgtask_shuttle)) {
    1
} else {
    64
};

/// So many slots of a shard keep their runner when a call has ended, for the next one.
const WARM_SLOTS: u32 = 16_384;

// The lower half of a slot's state; the upper half is its generation, which tells a call from earlier tenants.
/// The slot has a call that has not been struck out of the books.
const LIVE: u64 = 1;
/// It has been struck out, and may still run.
const ABANDONED: u64 = 1 << 1;
/// It has ended, and its output waits for the holder of the handle.
const DONE: u64 = 1 << 2;
/// Nobody holds its handle any more.
const DETACHED: u64 = 1 << 3;
/// The entry holds a joiner or a token, and has to be cleared.
const HAS_EXTRAS: u64 = 1 << 4;
/// The drain does not wait for it, because it waits for the drain.
const NOT_AWAITED: u64 = 1 << 5;
/// It is to be dropped at its next await.
const ABORTED: u64 = 1 << 6;
/// Somebody has been told that it has begun, and the entry says how long it has waited.
const START_REPORTED: u64 = 1 << 7;
/// Somebody has been told that it stands in a line, and is to be told that it does so no more.
const WAIT_REPORTED: u64 = 1 << 8;
/// Its end has been told, or is being told.
const END_REPORTED: u64 = 1 << 9;
/// It has been reported for taking long.
const SLOW_REPORTED: u64 = 1 << 10;
/// It has been reported for running on long after its token fired.
const OVERDUE_REPORTED: u64 = 1 << 11;
/// It has waited for the drain, and so may live on after it.
const MAY_OUTLIVE_DRAIN: u64 = 1 << 12;
/// The call is a member of a group, and the entry holds its membership until it is retired.
const IN_GROUP: u64 = 1 << 13;
/// Somebody has awaited the handle before the call ended. Set with `HAS_EXTRAS`, so it costs nothing.
const HAS_JOINED: u64 = 1 << 14;
/// A policy makes it wait: its body has not begun. Counted in the counters as long as the call is live.
const WAITS: u64 = 1 << 15;
/// Noted past the deadline: its first instruction has not run.
const QUEUED: u64 = 1 << 16;
/// Noted at the deadline: it is asleep between two attempts.
const ASLEEP: u64 = 1 << 17;
/// How many times the task waits for the drain: counted in the bits from here to the generation.
const DRAIN_WAIT: u64 = 1 << 20;
const DRAIN_WAITS: u64 = 0xFFF << 20;

/// Slots that lie side by side. Never moved, so a call's own code finds its slot without asking anybody.
#[derive(Debug)]
pub(crate) struct Chunk {
    counters: Arc<Counters>,
    /// The index of the first slot within the shard.
    first: u32,
    slots: [Slot; CHUNK],
}

/// Room for one call. A million of them are held at times: 128 bytes, and a test that it stays so.
// Aligned to that, so that no two of them share a cache line, or a pair of lines.
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    /// Flags and generation. Changed by compare-and-swap, by whoever has something to say.
    state: AtomicU64,
    /// While the slot is free: the next free one.
    next_free: AtomicU32,
    /// Seconds from the call to its first instruction, if somebody has been told of that, as the bits of an `f32`. For people to
    /// look at: seven digits are enough, and there is no room for more. Read and written under the entry's lock.
    waited: AtomicU32,
    /// Locked for a few loads or stores.
    entry: Mutex<Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Absent until the slot is used for the first time.
    identity: Option<CallInfo>,
    /// Before the call starts, what is to be run; after its end, until the holder of the handle takes it, what is left.
    task: Option<BoxedTask>,
    /// How to have the runner polled: the runtime's task that runs the `async` calls of this slot, one after the other. One that
    /// will be polled for the first time by itself has a waker that does nothing.
    runner: Option<Waker>,
    /// Who waits for the end of the call.
    joiner: Option<Waker>,
    /// The call's own, made when somebody first needs one.
    token: Option<CancellationToken>,
    /// A member's part in the count of its group, until it is retired.
    membership: Option<Membership>,
}

/// What may be of the user's, and so has to be dropped when no lock is held.
type More = (Option<Waker>, Option<CancellationToken>);

/// It may be the last owner of something of the user's, which may panic. That must not reach the runner, which may have the
/// slot's next call by now; and whoever drops a handle is not to blame either.
#[cold]
fn drop_contained(more: More) {
    catch_and_ignore(|| drop(more));
}

impl Entry {
    /// Who has the slot.
    fn identity(&self) -> CallInfo {
        self.identity.expect("written before the call went live")
    }

    fn take_more(&mut self) -> More {
        (self.joiner.take(), self.token.take())
    }
}

/// Where a call stands in the books.
#[derive(Clone)]
pub(crate) struct TaskRef {
    chunk: Arc<Chunk>,
    generation: u32,
    slot: u8,
    /// `on_shutdown = "finish"`: its token does not fire with the drain.
    pub(crate) finishes: bool,
    /// On a worker of the runtime, where blocking the thread is wrong.
    pub(crate) is_async: bool,
    /// How loudly its life is told.
    pub(crate) log: Log,
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskRef({}, {})", self.index(), self.generation)
    }
}

impl Chunk {
    /// Free slots that are linked in order, after so many other chunks of the same shard. The last one's link says that no
    /// more are free.
    pub(crate) fn new(counters: Arc<Counters>, before: usize) -> Arc<Self> {
        let first =
            u32::try_from(before * CHUNK).expect("four thousand million live calls are too many");
        let slots = std::array::from_fn(|index| Slot {
            state: AtomicU64::new(0),
            next_free: AtomicU32::new(match index + 1 {
                CHUNK => NONE,
                next => first + next as u32,
            }),
            waited: AtomicU32::new(0),
            entry: Mutex::default(),
        });
        Arc::new(Self {
            counters,
            first,
            slots,
        })
    }

    /// The index of the first slot.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Whether its slots are among those that keep their runners.
    pub(crate) fn is_near(&self) -> bool {
        self.first < WARM_SLOTS
    }

    /// The chunk among `chunks` that slot `index` is in.
    #[inline]
    pub(crate) fn of(chunks: &[Arc<Self>], index: u32) -> &Arc<Self> {
        &chunks[index as usize / CHUNK]
    }

    /// Gives a free slot to a call: its place, and the next free slot. Nobody else may have the slot.
    #[inline]
    pub(crate) fn reserve(
        self: &Arc<Self>,
        index: u32,
        handler: &'static Handler,
    ) -> (TaskRef, u32) {
        let slot_index = index as usize % CHUNK;
        let slot = &self.slots[slot_index];
        // Relaxed: the slots that come back were taken with an acquire.
        let next = slot.next_free.load(Ordering::Relaxed);
        let generation = generation(slot.state.load(Ordering::Relaxed));
        (self.place(slot_index, generation, handler), next)
    }

    #[inline]
    fn place(self: &Arc<Self>, slot: usize, generation: u32, handler: &'static Handler) -> TaskRef {
        TaskRef {
            chunk: Arc::clone(self),
            generation,
            slot: slot as u8,
            finishes: handler.finishes(),
            is_async: handler.runs_as() == Kind::Async,
            log: handler.log(),
        }
    }

    /// The live calls of this chunk, each as it is when it comes to it. With an `of`, those that are not to be spoken of for
    /// it (any more) are left out.
    pub(crate) fn live(&self, of: Option<ReportKind>) -> impl Iterator<Item = Live<'_>> {
        let left_out = of.map_or(0, ReportKind::leaves_out);
        self.slots.iter().filter_map(move |slot| {
            slot.live().filter(|state| state & left_out == 0)?;
            let entry = slot.lock();
            // Asked once more under the lock, under which the next tenant would write its entry.
            let state = slot.live()?;
            Some(Live {
                slot,
                generation: generation(state),
                identity: entry.identity?,
                is_queued: entry.task.is_some(),
            })
        })
    }

    /// Visits each ended call whose handle is still held and has not been given the output: the call, the notes of its task, and
    /// whether somebody awaited the handle before the call ended. Each visit is under the lock of a slot.
    pub(crate) fn for_each_unclaimed(&self, visit: &mut dyn FnMut(CallInfo, &mut Notes, bool)) {
        for slot in &self.slots {
            let mut entry = slot.lock();
            // Under the lock, under which the output is left and taken.
            let state = slot.state();
            let call = entry.identity;
            if state & (DONE | DETACHED) == DONE
                && let (Some(call), Some(task)) = (call, &mut entry.task)
            {
                visit(call, task.as_mut().notes(), state & HAS_JOINED != 0);
            }
        }
    }

    /// The deadline: strikes out what runs on the blocking pool, for it cannot be stopped. The wakers have the rest polled,
    /// so that it can be dropped. What each call was doing is noted for the report.
    pub(crate) fn expire(self: &Arc<Self>, wakers: &mut Vec<Waker>, ends: &mut Vec<Ended>) {
        self.for_each_awaited(|place, entry| {
            if place.is_async {
                place.note_doing(entry);
                // Cloned under the lock, woken after it. One that has not been polled yet will be.
                wakers.extend(entry.runner.clone());
                None
            } else {
                place.abandon_under_lock(entry, ends)
            }
        });
    }

    /// Strikes out what is left, but for what waits for the drain itself.
    pub(crate) fn abandon(self: &Arc<Self>, ends: &mut Vec<Ended>) {
        self.for_each_awaited(|place, entry| place.abandon_under_lock(entry, ends));
    }

    /// The live calls of this chunk that are members of `group`, or of a group within it.
    pub(crate) fn members(self: &Arc<Self>, group: &GroupState) -> Vec<TaskRef> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter_map(|(index, slot)| {
                // Most are none, and cost no lock.
                slot.live().filter(|state| state & IN_GROUP != 0)?;
                let entry = slot.lock();
                // Asked once more under the lock, under which the next tenant would write its entry.
                let state = slot.live()?;
                let is_member = entry.membership.as_ref()?.group_state().is_within(group);
                let handler = entry.identity?.handler;
                is_member.then(|| self.place(index, generation(state), handler))
            })
            .collect()
    }

    /// The runners of this chunk's slots: woken when no calls are accepted any more, the idle ones end.
    pub(crate) fn runners(&self) -> Vec<Waker> {
        let runners = self.slots.iter().map(|slot| slot.lock().runner.clone());
        runners.flatten().collect()
    }

    /// Visits the live calls that a drain waits for, each under its lock, which is taken once: there may be a million of them.
    /// Drops the memberships that the visits return, each after the lock.
    fn for_each_awaited(
        self: &Arc<Self>,
        mut visit: impl FnMut(&TaskRef, &mut Entry) -> Option<Membership>,
    ) {
        let is_awaited = |slot: &Slot| slot.live().filter(|state| state & NOT_AWAITED == 0);
        for (index, slot) in self.slots.iter().enumerate() {
            if is_awaited(slot).is_none() {
                continue;
            }
            let mut entry = slot.lock();
            // Once more under the lock, under which the next tenant would write its entry.
            if let (Some(state), Some(identity)) = (is_awaited(slot), entry.identity) {
                let place = self.place(index, generation(state), identity.handler);
                let membership = visit(&place, &mut entry);
                drop(entry);
                drop(membership);
            }
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Entry> {
        // Nothing under these locks can panic half-way through a change, so a poisoned entry is still a true one.
        self.entry.lock()
    }

    #[inline]
    fn state(&self) -> u64 {
        // Acquire: pairs with the release of whoever changed it, so that what led to it is seen.
        self.state.load(Ordering::Acquire)
    }

    /// The state, if a call has the slot that has not been struck out.
    fn live(&self) -> Option<u64> {
        let state = self.state();
        (state & LIVE != 0).then_some(state)
    }

    /// Returns the notification of the end of a call that was in this state and has this entry.
    fn ended(&self, entry: &Entry, state: u64, outcome: Outcome) -> Ended {
        let call = entry.identity();
        let begun = state & START_REPORTED != 0;
        // Relaxed: written under the lock that the entry was taken from.
        let waited = f32::from_bits(self.waited.load(Ordering::Relaxed));
        Ended {
            call,
            outcome,
            age: call.age(),
            waited: begun.then(|| Duration::from_secs_f32(waited)),
            is_waiting: state & WAIT_REPORTED != 0,
        }
    }

    /// Takes the task of a call that is about to begin and is more than live: it has been abandoned, or is a member of a group.
    /// Under the lock of its entry, under which it is neither retired nor begun by anybody else.
    fn take_rarely(&self, state: u64, entry: &mut Entry) -> Option<BoxedTask> {
        if state & (LIVE | ABANDONED) == 0 {
            return None;
        }
        let task = entry.task.take()?;
        let Some(membership) = &entry.membership else {
            return Some(task);
        };
        if membership.group_state().stops() {
            // AcqRel, as every change of the state.
            self.state.fetch_or(ABORTED, Ordering::AcqRel);
        }
        Some(task)
    }
}

#[inline]
fn generation(state: u64) -> u32 {
    (state >> 32) as u32
}

#[inline]
fn state(generation: u32) -> u64 {
    u64::from(generation) << 32
}

/// What a live call is spoken of for, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportKind {
    /// It takes long.
    Slow,
    /// It runs on long after its token fired.
    Overdue,
}

impl ReportKind {
    fn mark(self) -> u64 {
        match self {
            ReportKind::Slow => SLOW_REPORTED,
            ReportKind::Overdue => OVERDUE_REPORTED,
        }
    }

    /// The flags of calls that it does not concern.
    fn leaves_out(self) -> u64 {
        match self {
            ReportKind::Slow => SLOW_REPORTED,
            // What waits for the drain cannot end before it.
            ReportKind::Overdue => OVERDUE_REPORTED | NOT_AWAITED,
        }
    }
}

/// A live call, as whoever goes through the books finds it.
pub(crate) struct Live<'a> {
    slot: &'a Slot,
    generation: u32,
    pub(crate) identity: CallInfo,
    /// It has not begun.
    pub(crate) is_queued: bool,
}

impl Live<'_> {
    /// What the books know of it.
    pub(crate) fn info(&self, now: Instant) -> TaskInfo {
        let CallInfo {
            id,
            handler,
            called_at,
            ..
        } = self.identity;
        TaskInfo {
            id,
            name: handler.name(),
            state: match self.is_queued {
                true => TaskState::Queued,
                false => TaskState::Running,
            },
            age: self.identity.age_at(now),
            called_at,
            attempt: 1,
            file: handler.file(),
            line: handler.line(),
        }
    }

    /// Notes that it is spoken of; `false` if it has been before, or has ended meanwhile.
    pub(crate) fn mark(&self, of: ReportKind) -> bool {
        let is_the_same = |state: u64| generation(state) == self.generation && state & LIVE != 0;
        let marked = |state| {
            (is_the_same(state) && state & of.leaves_out() == 0).then_some(state | of.mark())
        };
        // Relaxed: a mark is only read by whoever sets it, and leads to nothing; what others publish with the state stays
        // published, since this is a read-modify-write.
        let state = &self.slot.state;
        state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, marked)
            .is_ok()
    }
}

/// What came of handing over an ended call.
pub(crate) enum Completion {
    /// Its output waits for the holder of the handle, and it is accounted for.
    Done,
    /// Nobody holds the handle: the caller has to see to the task, and then to [`end`](TaskRef::end) the call.
    Detached(BoxedTask),
}

impl TaskRef {
    #[inline]
    fn slot(&self) -> &Slot {
        &self.chunk.slots[self.slot as usize % CHUNK]
    }

    /// Returns whether both are the same task's.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (own, others) = ((self.slot, self.generation), (other.slot, other.generation));
        own == others && Arc::ptr_eq(&self.chunk, &other.chunk)
    }

    #[inline]
    fn index(&self) -> u32 {
        self.chunk.first + u32::from(self.slot)
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.chunk.counters.shared
    }

    /// The state, as long as the slot is this call's.
    #[inline]
    fn state(&self) -> Option<u64> {
        let state = self.slot().state();
        (generation(state) == self.generation || broken!("any_generation")).then_some(state)
    }

    fn has(&self, flags: u64) -> bool {
        self.state().is_some_and(|state| state & flags != 0)
    }

    /// Whether the call has been launched and not been struck out.
    pub(crate) fn is_live(&self) -> bool {
        self.has(LIVE)
    }

    /// Whether the call is live and a drain has to wait for it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state()
            .is_some_and(|state| state & (LIVE | NOT_AWAITED) == LIVE)
    }

    /// Whether it may run when the shutdown is over.
    pub(crate) fn outlives_drain(&self) -> bool {
        self.has(MAY_OUTLIVE_DRAIN)
    }

    /// Whether it is neither to be dropped nor a member of a group: one look for both.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        !self.has(ABORTED | IN_GROUP)
    }

    /// Whether it is a live member of a group that is not to be dropped.
    #[inline]
    pub(crate) fn is_running_member(&self) -> bool {
        self.state()
            .is_some_and(|state| state & (ABORTED | IN_GROUP) == IN_GROUP)
    }

    /// Whether it is a live member of a group.
    pub(crate) fn is_member(&self) -> bool {
        self.has(IN_GROUP)
    }

    /// Whether it is to be dropped.
    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.has(ABORTED)
    }

    /// Whether nobody holds its handle any more.
    pub(crate) fn is_detached(&self) -> bool {
        self.has(DETACHED)
    }

    /// Whether it has ended, and its handle is still there.
    pub(crate) fn is_done(&self) -> bool {
        self.has(DONE)
    }

    /// Changes the state as long as the slot is this call's; `None` if it is not, or if `change` does not want to. The state
    /// before.
    #[inline]
    fn change(&self, mut change: impl FnMut(u64) -> Option<u64>) -> Option<u64> {
        let mut before = self.state()?;
        loop {
            let after = change(before)?;
            // AcqRel: whoever acts upon the new state sees what led to it, and this sees what led to the old one.
            match self.slot().state.compare_exchange_weak(
                before,
                after,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(before),
                Err(_) => before = self.state()?,
            }
        }
    }

    /// Sets flags of a call that has not been struck out; whether it did.
    fn set(&self, flags: u64) -> bool {
        let set = |state| (state & LIVE != 0).then_some(state | flags);
        self.change(set).is_some()
    }

    /// The state of the slot once this call is gone.
    #[inline]
    fn vacated(&self) -> u64 {
        state(self.generation.wrapping_add(1))
    }

    /// The call goes live. `true` if its runner is there to run it; if not, it waits for a runner, or for a thread.
    #[inline]
    pub(crate) fn fill(&self, identity: CallInfo, task: BoxedTask) -> bool {
        let slot = self.slot();
        let mut entry = slot.lock();
        entry.identity = Some(identity);
        entry.task = Some(task);
        // Nobody else changes the state of a slot that is reserved. Release: whoever finds it live finds the entry written.
        let reserved = slot.state.load(Ordering::Relaxed);
        slot.state.store(reserved | LIVE, Ordering::Release);
        if !self.is_async {
            return false;
        }
        match &entry.runner {
            // Under the lock: it is the runtime's own waker, and runs no code of the user's.
            Some(runner) => {
                runner.wake_by_ref();
                true
            }
            None => {
                entry.runner = Some(Waker::noop().clone());
                false
            }
        }
    }

    /// The reserved slot is not needed after all: what was counted as accepted ends before it began.
    #[cold]
    pub(crate) fn discard_reserved(&self) {
        let membership = self.slot().lock().membership.take();
        // A swap, since the call may have been counted as one that waits.
        let before = self.slot().state.swap(self.vacated(), Ordering::AcqRel);
        if before & WAITS != 0 {
            self.chunk.counters.stops_waiting();
        }
        self.give_back();
        self.chunk.counters.end(Outcome::Aborted);
        // After the count: a member is retired before it leaves its group.
        drop(membership);
    }

    /// A call that has a place, and is not live yet, is a member of the group whose membership this is.
    #[inline]
    pub(crate) fn join_group(&self, membership: Membership) {
        self.slot().lock().membership = Some(membership);
        // Relaxed: it goes live with a release.
        self.slot().state.fetch_or(IN_GROUP, Ordering::Relaxed);
    }

    /// Its id, as long as it is live.
    pub(crate) fn live_id(&self) -> Option<TaskId> {
        let entry = self.slot().lock();
        // Asked under the lock: the next tenant of the slot writes its entry under it.
        self.is_live().then(|| entry.identity().id)
    }

    /// Notes for the policies of the call that the call is cancelled: that ends its wait for one of them, makes its present attempt
    /// the last, and cancels the last attempt that the drain leaves it.
    pub(crate) fn note_cancelled(&self) {
        let identity = {
            let entry = self.slot().lock();
            // Under the lock: the next tenant of the slot writes its entry under it.
            if !self.is_live() {
                return;
            }
            entry.identity()
        };
        if let Some(policies) = identity.handler.policies()
            && let Some(progress) = self.shared().policies.progress(policies, identity.id)
        {
            progress.cancel();
        }
    }

    /// The group that the call is a member of, as long as it is live.
    pub(crate) fn group_state(&self) -> Option<Arc<GroupState>> {
        if !self.has(IN_GROUP) {
            return None;
        }
        let entry = self.slot().lock();
        // Asked under the lock: the next tenant of the slot writes its entry under it.
        let membership = entry.membership.as_ref().filter(|_| self.is_live())?;
        Some(membership.group_state().clone())
    }

    /// Takes what is to be run: the call begins. Nothing if there is nothing, or if it has been taken from here before.
    pub(crate) fn start(&self) -> Option<BoxedTask> {
        let mut entry = self.slot().lock();
        let state = self.state()?;
        if state & (LIVE | ABANDONED | IN_GROUP) == LIVE {
            entry.task.take()
        } else {
            self.slot().take_rarely(state, &mut entry)
        }
    }

    /// The same for the slot's runner: whatever call has the slot begins, and this place becomes that call's. With a waker the
    /// runner stays; without one it leaves.
    #[inline]
    pub(crate) fn start_next(
        &mut self,
        runner: Option<&Waker>,
    ) -> Option<(BoxedTask, &'static Handler)> {
        let mut replaced = None;
        let mut entry = self.chunk.slots[self.slot as usize % CHUNK].lock();
        // The runtime's waker for a task stays the same for life.
        let is_known = match (&entry.runner, runner) {
            (Some(known), Some(runner)) => known.will_wake(runner),
            _ => false,
        };
        if !is_known {
            replaced = std::mem::replace(&mut entry.runner, runner.cloned());
        }
        let state = self.slot().state();
        let handler = entry.identity?.handler;
        if handler.runs_as() != Kind::Async {
            return None;
        }
        let task = if state & (LIVE | ABANDONED | IN_GROUP) == LIVE {
            entry.task.take()?
        } else {
            self.slot().take_rarely(state, &mut entry)?
        };
        drop(entry);
        // After the lock: dropping a waker may drop the runtime's task.
        drop(replaced);
        self.generation = generation(state);
        self.finishes = handler.finishes();
        self.log = handler.log();
        Some((task, handler))
    }

    /// The same as [`start`](Self::start) for a runtime's task that runs this call alone, and is woken by `runner`.
    pub(crate) fn start_alone(&self, runner: &Waker) -> Option<BoxedTask> {
        let mut entry = self.slot().lock();
        let task = self.slot().take_rarely(self.state()?, &mut entry)?;
        let replaced = entry.runner.replace(runner.clone());
        drop(entry);
        // After the lock: dropping a waker may drop the runtime's task.
        drop(replaced);
        Some(task)
    }

    /// Which slot of which shard it is.
    #[cfg(bgtask_shuttle)]
    pub(crate) fn slot_of_shard(&self) -> (usize, u32) {
        (Arc::as_ptr(&self.chunk.counters).addr(), self.index())
    }

    /// Whether the slot is one of those that keep their runners.
    #[inline]
    pub(crate) fn is_near(&self) -> bool {
        self.index() < WARM_SLOTS
    }

    /// Whether the runner stays for the slot's next call. To be asked, and heeded, before the present one ends.
    #[inline]
    pub(crate) fn keeps_lane(&self) -> bool {
        // While it drains all of them stay, for it is in a hurry: they leave when the report is there.
        let gate = &self.shared().gate;
        (self.is_near() || !gate.is_open()) && !gate.is_closed()
    }

    /// The runner leaves: the slot's next call needs another one.
    #[cold]
    pub(crate) fn dismiss_lane(&self) {
        let runner = self.slot().lock().runner.take();
        // After the lock: dropping a waker may drop the runtime's task.
        drop(runner);
    }

    /// Who it is. Only as long as the slot is this call's: for the task itself before it ends, and for the handle.
    pub(crate) fn identity(&self) -> CallInfo {
        self.slot().lock().identity()
    }

    /// Hands the ended task over to the holder of the handle, and accounts for it.
    #[inline]
    pub(crate) fn hand_over(&self, task: BoxedTask, outcome: Outcome) -> Completion {
        if self.has(DETACHED) {
            return Completion::Detached(task);
        }
        self.leave_for_owner(task, outcome)
    }

    fn leave_for_owner(&self, task: BoxedTask, outcome: Outcome) -> Completion {
        let mut entry = self.slot().lock();
        entry.task = Some(task);
        // What the task waits for is nobody's business any more, even if the wait itself outlives it.
        let done = |state: u64| {
            (state & DETACHED == 0 || broken!("done_though_detached"))
                .then_some(state & !(LIVE | ABANDONED | NOT_AWAITED | IN_GROUP | WAITS) | DONE)
        };
        let Some(before) = self.change(done) else {
            // The handle has been dropped in between.
            return match entry.task.take() {
                Some(task) => Completion::Detached(task),
                None => unreachable!("put there under the same lock"),
            };
        };
        let joiner = entry.joiner.take();
        if broken!("output_before_count") {
            let identity = entry.identity();
            drop(entry);
            self.struck_out(before, outcome, || identity);
            joiner.into_iter().for_each(Waker::wake);
            return Completion::Done;
        }
        // Still under the lock, under which the holder of the handle looks: whoever is given the output finds the call counted.
        if before & (LIVE | NOT_AWAITED | IN_GROUP | WAITS) == LIVE {
            self.count_end(before, outcome, || entry.identity(), || {});
            drop(entry);
        } else {
            self.strike_out_rarely(entry, before, outcome);
        }
        if let Some(joiner) = joiner {
            // It may be anybody's.
            catch_and_ignore(|| joiner.wake());
        }
        Completion::Done
    }

    /// The end of a call that nobody holds the handle of: strikes it out, and gives the slot back.
    #[inline]
    pub(crate) fn end(&self, outcome: Outcome) {
        if let Some(before) = self.change(|_| Some(self.vacated())) {
            let more = (before & HAS_EXTRAS != 0).then(|| self.slot().lock().take_more());
            if before & (LIVE | NOT_AWAITED | IN_GROUP | WAITS) == LIVE {
                self.count_end(before, outcome, || self.identity(), || self.give_back());
            } else {
                self.end_rarely(before, outcome);
            }
            // After all locks, and after the count.
            if let Some(more) = more {
                drop_contained(more);
            }
        }
    }

    /// The same for a call that was abandoned before, waits for the drain, or is a member of a group.
    #[inline(never)]
    fn end_rarely(&self, before: u64, outcome: Outcome) {
        if before & IN_GROUP == 0 {
            return self.struck_out_and(before, outcome, || self.identity(), || self.give_back());
        }
        // Taken before the slot is given back, under the lock under which the next tenant writes its own.
        let membership = self.slot().lock().membership.take();
        let membership = membership.filter(|_| !broken!("ticket_before_count"));
        if before & (LIVE | NOT_AWAITED | WAITS) == LIVE {
            self.count_end(before, outcome, || self.identity(), || self.give_back());
        } else {
            self.struck_out_and(before, outcome, || self.identity(), || self.give_back());
        }
        // After the count: whoever finds the group empty finds the call retired.
        drop(membership);
    }

    /// The same as [`count_end`](Self::count_end), under the lock of the entry, which it lets go of.
    fn strike_out_rarely(&self, mut entry: MutexGuard<'_, Entry>, before: u64, outcome: Outcome) {
        self.struck_out(before, outcome, || entry.identity());
        let membership = entry.membership.take();
        drop(entry);
        // After the count, and after the lock: it may wake anybody.
        drop(membership);
    }

    /// Nobody holds the handle any more. What is left of the task if it has ended and nobody has taken it; then
    /// [`release`](Self::release) has to follow.
    #[inline]
    pub(crate) fn detach(&self) -> Option<Option<BoxedTask>> {
        let before = self.change(|state| Some(state | DETACHED))?;
        (before & DONE != 0).then(|| self.slot().lock().task.take())
    }

    /// Gives the slot back after the end and the drop of the handle.
    pub(crate) fn release(&self) {
        let more = self.slot().lock().take_more();
        if broken!("slot_back_before_vacated") {
            self.give_back();
            self.slot().state.store(self.vacated(), Ordering::Release);
            return;
        }
        // Release: pairs with the acquire of whoever has the slot next.
        self.slot().state.store(self.vacated(), Ordering::Release);
        self.give_back();
        drop_contained(more);
    }

    /// What the task has come to, once it has ended. Until then `joiner` is told of the end.
    pub(crate) fn join(&self, joiner: &Waker) -> Poll<Option<BoxedTask>> {
        // Cloned before the lock, and dropped after it: either may run anybody's code.
        let mut own = (!self.is_done()).then(|| joiner.clone());
        let mut entry = self.slot().lock();
        // Under the lock, under which the end looks for whom to tell.
        if self.is_done() && !broken!("end_not_looked_for_again") {
            return Poll::Ready(entry.task.take());
        }
        let waiting = &mut entry.joiner;
        if !waiting.as_ref().is_some_and(|old| old.will_wake(joiner)) {
            std::mem::swap(waiting, &mut own);
            self.change(|state| Some(state | HAS_EXTRAS | HAS_JOINED));
        }
        drop(entry);
        drop(own);
        Poll::Pending
    }

    /// Has the holder of the handle look again.
    pub(crate) fn wake_joiner(&self) {
        let joiner = self.slot().lock().joiner.take();
        if let Some(joiner) = joiner {
            // It may be anybody's.
            catch_and_ignore(|| joiner.wake());
        }
    }

    /// Has the task dropped: what has not begun is handed out to be seen to; an `async` task that has begun is polled for
    /// it.
    pub(crate) fn abort(&self) -> Option<BoxedTask> {
        let mut entry = self.slot().lock();
        if !self.is_live() {
            return None;
        }
        if let Some(queued) = entry.task.take() {
            return Some(queued);
        }
        if self.is_async && self.set(ABORTED) {
            let runner = entry.runner.clone();
            drop(entry);
            if let Some(runner) = runner.filter(|_| !broken!("abort_without_waking")) {
                runner.wake();
            }
        }
        None
    }

    /// The call's own token, made if there is none yet. `None` once the call was struck out.
    pub(crate) fn token(&self) -> Option<CancellationToken> {
        let mut entry = self.slot().lock();
        // Asked under the lock: the next tenant of the slot writes its entry under it.
        if !self.set(HAS_EXTRAS) {
            return None;
        }
        if broken!("token_made_twice") {
            entry.token = None;
        }
        let Entry {
            token, membership, ..
        } = &mut *entry;
        let make = || match membership {
            None => self.shared().task_token(self.finishes),
            Some(membership) => membership.group_state().token(self.finishes).child_token(),
        };
        Some(token.get_or_insert_with(make).clone())
    }

    /// The call's own token, if somebody has needed it; if nobody has, a member's is its group's.
    pub(crate) fn existing_token(&self) -> Option<CancellationToken> {
        let entry = self.slot().lock();
        // See `token`.
        if !self.is_live() {
            return None;
        }
        let of_group = || {
            Some(
                entry
                    .membership
                    .as_ref()?
                    .group_state()
                    .token(self.finishes)
                    .clone(),
            )
        };
        entry.token.clone().or_else(of_group)
    }

    /// The drain shall not wait for this call; as often as that is said, [`unset_exempt`](Self::unset_exempt) has to follow.
    pub(crate) fn set_exempt(&self) {
        // Held while the count and the flag are changed, so that of two that come at once one finds what the other did.
        let _entry = self.slot().lock();
        if self.has(NOT_AWAITED) {
            // So many waits of one task at once do not happen; they would stay, rather than run over into the generation.
            self.change(|state| (state & DRAIN_WAITS != DRAIN_WAITS).then_some(state + DRAIN_WAIT));
            return;
        }
        // SeqCst, as all that a drain looks at. Counted first: a drain that looks in between waits for one call too few, and
        // that one waits for the drain.
        let not_awaited = &self.shared().not_awaited;
        not_awaited.fetch_add(1, Ordering::SeqCst);
        let waits = |state| {
            (state & LIVE != 0)
                .then_some(state & !DRAIN_WAITS | DRAIN_WAIT | NOT_AWAITED | MAY_OUTLIVE_DRAIN)
        };
        if self.change(waits).is_none() {
            not_awaited.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The drain shall wait for this call again.
    pub(crate) fn unset_exempt(&self) {
        let _entry = self.slot().lock();
        let again = |state| {
            (state & NOT_AWAITED != 0).then(|| match (state & DRAIN_WAITS) / DRAIN_WAIT {
                0 | 1 => state & !(DRAIN_WAITS | NOT_AWAITED),
                _ => state - DRAIN_WAIT,
            })
        };
        if self
            .change(again)
            .is_some_and(|before| before & DRAIN_WAITS <= DRAIN_WAIT)
        {
            self.shared().not_awaited.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Strikes out a call that may still run, or that has not begun and never will. What is to be told of it, once the lock is
    /// free. Returns the membership of a group's member, to be dropped after the lock: that may wake anybody.
    fn abandon_under_lock(&self, entry: &mut Entry, ends: &mut Vec<Ended>) -> Option<Membership> {
        let is_queued = entry.task.is_some();
        // Asked once more: it may wait for the drain by now, and so be as good as ended.
        let abandoned = |state: u64| {
            (state & (LIVE | NOT_AWAITED) == LIVE)
                .then_some(state & !(LIVE | IN_GROUP | WAITS) | ABANDONED | END_REPORTED)
        };
        let mut before = self.change(abandoned)?;
        if is_queued {
            before |= QUEUED;
        }
        // It cannot begin any more: from the queue it is taken under the lock, and one that waits finds itself struck out; see
        // `stop_waiting`.
        let outcome = if before & (QUEUED | WAITS) != 0 {
            Outcome::Aborted
        } else {
            Outcome::Abandoned
        };
        self.struck_out(before, outcome, || entry.identity());
        if before & END_REPORTED == 0 && self.shared().hooks.any_at_the_end() {
            ends.push(self.slot().ended(entry, before, outcome));
        }
        // After the count: whoever finds the group empty finds the call retired.
        entry.membership.take()
    }

    /// A call that has a place, and is not live yet, is going to wait for one of its policies. The launch notifies the observers.
    pub(crate) fn set_waits(&self) {
        self.chunk.counters.starts_waiting();
        let in_line = if self.shared().hooks.observers.any() {
            WAIT_REPORTED
        } else {
            0
        };
        // Relaxed: it goes live with a release.
        self.slot()
            .state
            .fetch_or(WAITS | in_line, Ordering::Relaxed);
    }

    /// The policies let the call through: its body may begin. `false` if the call was struck out before.
    pub(crate) fn stop_waiting(&self) -> bool {
        if self.has(WAITS) {
            // Under the lock, under which the deadline strikes the call out: whoever counts its end finds it counted as one that
            // does not wait any more.
            let entry = (!broken!("counted_while_waiting")).then(|| self.slot().lock());
            let stops = |state| (state & WAITS != 0).then_some(state & !WAITS);
            if self.change(stops).is_some() {
                self.chunk.counters.stops_waiting();
                return true;
            }
            drop(entry);
        }
        !self.has(ABANDONED) || broken!("begins_though_struck_out")
    }

    /// Notes for the report that the first instruction has not run.
    #[cold]
    pub(crate) fn set_queued(&self) {
        self.set(QUEUED);
    }

    /// Notes what the call is doing, as far as the state does not say so by itself.
    fn note_doing(&self, entry: &Entry) {
        if entry.task.is_some() {
            self.set_queued();
            return;
        }
        let CallInfo { id, handler, .. } = entry.identity();
        let sleeps = handler.policies().filter(|own| own.retry.is_some());
        // Under the lock of the entry, and two more for a look-up each, which are never held while an entry is locked.
        let progress = sleeps.and_then(|own| self.shared().policies.progress(own, id));
        if progress.is_some_and(|own| own.doing() == Doing::Asleep) {
            self.set(ASLEEP);
        }
    }

    /// Tells that a call has been accepted which is about to go live.
    #[cold]
    pub(crate) fn tell_accepted(&self, call: &CallInfo) {
        let in_line = self.has(WAIT_REPORTED);
        let observers = &self.shared().hooks.observers;
        observers.notify(|observer| observer.accepted(call));
        // By itself: an observer that has panicked is told all the same, since it will be told that the waiting is over.
        if in_line {
            observers.notify(|observer| observer.starts_waiting(call));
        }
    }

    /// Tells that the call stands in no line any more, if somebody was told that it does.
    pub(crate) fn tell_no_longer_in_line(&self) {
        if !self.has(WAIT_REPORTED) {
            return;
        }
        let entry = self.slot().lock();
        // Under the lock, as long as the entry is this call's.
        let leaves = |state| {
            (state & (LIVE | WAIT_REPORTED) == LIVE | WAIT_REPORTED)
                .then_some(state & !WAIT_REPORTED)
        };
        let call = self.change(leaves).map(|_| entry.identity());
        drop(entry);
        if let Some(call) = call {
            self.shared()
                .hooks
                .observers
                .notify(|observer| observer.stops_waiting(&call));
        }
    }

    /// Tells that the call's first instruction is about to run, unless that has been told.
    #[cold]
    pub(crate) fn tell_began(&self) {
        let entry = self.slot().lock();
        let begins = |state| {
            (state & (LIVE | START_REPORTED | END_REPORTED) == LIVE)
                .then_some(state | START_REPORTED)
        };
        // Under the lock, as long as the entry is this call's.
        if self.change(begins).is_none() {
            return;
        }
        let call = entry.identity();
        let waited = call.age();
        let seconds = waited.as_secs_f32().to_bits();
        // Relaxed: see `Slot::ended`.
        self.slot().waited.store(seconds, Ordering::Relaxed);
        drop(entry);
        self.shared()
            .hooks
            .observers
            .notify(|observer| observer.began(&call, waited));
    }

    /// The right to tell the end of the call, and what there is to tell: for one alone, and for none once it was struck out.
    #[cold]
    pub(crate) fn claim_end(&self, outcome: Outcome) -> Option<Ended> {
        let entry = self.slot().lock();
        let claims = |state| {
            (state & (LIVE | END_REPORTED) == LIVE).then_some(state & !WAIT_REPORTED | END_REPORTED)
        };
        // Under the lock, as long as the entry is this call's.
        let before = self.change(claims)?;
        Some(self.slot().ended(&entry, before, outcome))
    }

    /// Tells the beginning and the end of a call that was counted and is not launched.
    #[cold]
    pub(crate) fn tell_given_up(&self, call: CallInfo) {
        let hooks = &self.shared().hooks;
        if hooks.any_at_the_end() {
            self.tell_accepted(&call);
            hooks.ended(&Ended {
                call,
                outcome: Outcome::Aborted,
                age: call.age(),
                waited: None,
                is_waiting: self.has(WAIT_REPORTED),
            });
        }
    }

    fn struck_out(&self, before: u64, outcome: Outcome, identity: impl FnOnce() -> CallInfo) {
        self.struck_out_and(before, outcome, identity, || {});
    }

    /// Counts the end of a call that was live and no more than that. `then` comes last before that.
    #[inline]
    fn count_end(
        &self,
        before: u64,
        outcome: Outcome,
        identity: impl FnOnce() -> CallInfo,
        then: impl FnOnce(),
    ) {
        if self.shared().gate.is_closed() {
            self.note_late(identity(), outcome, before);
        }
        then();
        self.chunk.counters.end(outcome);
    }

    /// What follows upon a call's end, or its being abandoned: once, and by one thread alone, it is counted. `then` comes
    /// last before that.
    fn struck_out_and(
        &self,
        before: u64,
        outcome: Outcome,
        identity: impl FnOnce() -> CallInfo,
        then: impl FnOnce(),
    ) {
        if before & LIVE == 0 && !broken!("counted_again") {
            // Abandoned and counted before: it has ended after all.
            then();
            return;
        }
        if before & NOT_AWAITED != 0 && broken!("counted_while_exempt") {
            then();
            self.chunk.counters.end(outcome);
            self.shared().not_awaited.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        if before & WAITS != 0 && broken!("waits_after_end") {
            self.chunk.counters.end(outcome);
            self.chunk.counters.stops_waiting();
            return;
        }
        if before & (NOT_AWAITED | WAITS) != 0 {
            self.leaves_counts(before);
        }
        if before & NOT_AWAITED == 0 && self.shared().gate.is_closed() {
            self.note_late(identity(), outcome, before);
        }
        then();
        self.chunk.counters.end(outcome);
    }

    /// Takes a call that ends out of the counts of calls in a certain state. Before its end is counted: see `Tracker::is_drained`
    /// and `Counters::add_to`.
    #[cold]
    fn leaves_counts(&self, before: u64) {
        if before & NOT_AWAITED != 0 {
            self.shared().not_awaited.fetch_sub(1, Ordering::SeqCst);
        }
        if before & WAITS != 0 {
            self.chunk.counters.stops_waiting();
        }
    }

    /// Keeps what the report has to say of a call that was live at the deadline.
    #[cold]
    fn note_late(&self, identity: CallInfo, outcome: Outcome, before: u64) {
        let state = if before & WAITS != 0 {
            TaskState::Waiting
        } else if before & QUEUED != 0 {
            TaskState::Queued
        } else if before & ASLEEP != 0 {
            TaskState::BackingOff
        } else {
            TaskState::Running
        };
        self.shared().note_late(|expired| LateTask {
            identity,
            age: identity.age_at(expired),
            state,
            outcome,
        });
    }

    #[inline]
    fn give_back(&self) {
        let link = &self.slot().next_free;
        self.chunk
            .counters
            .give_back(self.is_near(), self.index(), link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_128_bytes_of_the_books() {
        assert_eq!(size_of::<Slot>(), 128);
    }
}
