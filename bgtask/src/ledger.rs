//! The books: which calls are live, how the others ended, and the gate that lets new ones in.
//! Owns the sharded locks and every count; one call is written down and struck out under one lock.
//! Must never run a user's code under a lock, and knows nothing of runtimes, logs or the shutdown's clock.

use crate::handler::{Handler, Kind};
use crate::stats::{Outcome, Stats, TaskId, TaskInfo, TaskState};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How many slots are made at a time. A snapshot copies as many before it lets the lock go, so callers wait microseconds
/// at most, however many tasks are live; and no growth ever moves the slots that there are.
const CHUNK: usize = 64;

/// How long a snapshot leaves the lock alone after each chunk, in turns of a spinning wait: some hundred nanoseconds.
const SNAPSHOT_PAUSE: u32 = 20;

/// How many ids a shard takes at a time from the counter that all shards share.
const IDS: u64 = 16;

/// All shards of one manager's books.
///
/// A call is written into the shard of the thread that makes it and struck out of the same one, wherever it ran. So the
/// totals of each shard add up whenever its lock is free, and with them every sum over all shards.
#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Box<[Shard]>,
}

/// The next block of ids. One counter for all managers, so that an id says which task a thread polls; see [`announce`].
static NEXT_IDS: AtomicU64 = AtomicU64::new(1);

/// An id for a call that is never written down.
pub(crate) fn fresh_id() -> TaskId {
    // Relaxed: ids need only differ. A whole block for one of them; there are enough.
    TaskId(NEXT_IDS.fetch_add(IDS, Ordering::Relaxed))
}

/// The id of the `async` task that one thread polls for the first time; zero if it does not. Only that thread writes it.
/// Aligned so that no two threads write to one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Polling(AtomicU64);

/// A place for each of the first threads; further ones do without.
static POLLING: [Polling; 128] = [const { Polling(AtomicU64::new(0)) }; 128];

/// Says, until it is dropped, which task this thread polls for the first time.
#[derive(Debug)]
pub(crate) struct Announced {
    polling: &'static Polling,
    /// What the thread was polling when it came to poll another runtime's task.
    outer: u64,
}

/// Says that this thread polls a task for the first time; `None` if it has no place to say so.
///
/// Until it has waited once, an `async` task is known to run by this alone: most never wait, and are spared a lock.
pub(crate) fn announce(id: TaskId) -> Option<Announced> {
    let polling = POLLING.get(thread_number())?;
    // Relaxed, here and in the other places: whoever has reason to believe that the task runs has it from the task, and sees
    // this with it. Two loads and stores rather than a swap, since only this thread writes.
    let outer = polling.0.load(Ordering::Relaxed);
    polling.0.store(id.0, Ordering::Relaxed);
    Some(Announced { polling, outer })
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.polling.0.store(self.outer, Ordering::Relaxed);
    }
}

/// Aligned so that two shards' locks never share a cache line (128: x86 fetches lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Each made for [`CHUNK`] slots, and so never moved; all but the last are full.
    chunks: Vec<Vec<Slot>>,
    /// How many slots are vacant, and the first of them; the others follow through [`Slot::next_vacant`].
    vacant: u32,
    first_vacant: u32,
    ids: Range<u64>,
    totals: Stats,
    /// Live calls that a drain does not wait for, because they wait for the drain: how often each of them does, by slot.
    exempt: HashMap<u32, u32>,
    gate: Gate,
    /// When the deadline passed, from then on until the late calls have been collected.
    expired: Option<Instant>,
    /// Calls that ended since.
    late: Vec<LateTask>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    /// Calls are accepted, and the drain is told when a shard runs empty.
    Draining,
    Closed,
}

/// Room for one live call. A million of them are held at times: 80 bytes, and a test that it stays so.
#[derive(Debug)]
struct Slot {
    /// Absent while the slot is vacant.
    call: Option<Call>,
    called: Instant,
    id: TaskId,
    /// Made when somebody first needs one: most calls never do.
    token: Option<CancellationToken>,
    /// How to have the task polled, known once it has waited for the first time.
    waker: Option<Waker>,
    /// Tells a call from earlier tenants of the same slot.
    generation: u32,
    /// Of a vacant slot, the next vacant one.
    next_vacant: u32,
    state: TaskState,
    /// Nobody holds the handle any more.
    detached: bool,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    handler: &'static Handler,
    at: &'static Location<'static>,
}

/// What of a struck out call has to be dropped when no lock is held: it may be the last owner of something of the user's.
type Remains = (Option<CancellationToken>, Option<Waker>);

/// Where a live call stands in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    shard: u32,
    slot: u32,
    generation: u32,
}

/// What came of striking out a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Struck out. The drain must look again if `drained`.
    Ended { drained: bool },
    /// Not struck out: the handle is gone, so the caller has to see to the output first and call again.
    OwnerLeft,
    /// It had been struck out already: the deadline had passed.
    Gone,
}

/// A call that was live when the deadline passed.
#[derive(Clone, Debug)]
pub(crate) struct LateTask {
    pub(crate) id: TaskId,
    pub(crate) handler: &'static Handler,
    pub(crate) called_at: &'static Location<'static>,
    /// At the deadline.
    pub(crate) age: Duration,
    pub(crate) outcome: Outcome,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(4, usize::from);
        // More than there are processors, so that few threads share a shard, and the one that holds a lock while it is not
        // running holds up few others; a power of two, so that choosing one is a mask.
        let shards = (threads * 4).next_power_of_two().clamp(16, 64);
        Self {
            shards: (0..shards)
                .map(|_| Shard {
                    book: Mutex::default(),
                })
                .collect(),
        }
    }

    /// Writes a call down, or counts it as refused if the gate has closed: no key then.
    pub(crate) fn accept(
        &self,
        handler: &'static Handler,
        called_at: &'static Location<'static>,
    ) -> (TaskId, Option<Key>) {
        let called = Instant::now();
        let shard = thread_number() & (self.shards.len() - 1);
        let mut book = self.shards[shard].lock();
        let id = book.next_id();
        let call = Call {
            handler,
            at: called_at,
        };
        let place = match book.gate {
            Gate::Closed => None,
            Gate::Open | Gate::Draining => book.enter(call, called, id),
        };
        let Some((slot, generation)) = place else {
            book.totals.refused += 1;
            return (id, None);
        };
        book.totals.accepted += 1;
        book.totals.running += 1;
        let key = Key {
            shard: shard as u32,
            slot,
            generation,
        };
        (id, Some(key))
    }

    /// The first instruction is about to run. `false` if the call was struck out before it came to that.
    pub(crate) fn start(&self, key: Key) -> bool {
        self.entry(key, |slot| slot.state = TaskState::Running)
            .is_some()
    }

    /// Remembers how to wake a task that waits. `false` if it was struck out meanwhile.
    pub(crate) fn park(&self, key: Key, waker: Waker) -> bool {
        // A replaced waker would be handed out and dropped after the lock: dropping one may drop a task.
        self.entry(key, |slot| {
            slot.state = TaskState::Running;
            slot.waker.replace(waker)
        })
        .is_some()
    }

    /// Nobody holds the handle any more.
    pub(crate) fn detach(&self, key: Key) {
        self.entry(key, |entry| entry.detached = true);
    }

    /// The drain shall not wait for this call; as often as that is said, [`unset_exempt`](Self::unset_exempt) has to follow.
    pub(crate) fn set_exempt(&self, key: Key) {
        let mut book = self.book(key);
        if book.live(key).is_some() {
            *book.exempt.entry(key.slot).or_default() += 1;
        }
    }

    /// The drain shall wait for this call again.
    pub(crate) fn unset_exempt(&self, key: Key) {
        let mut book = self.book(key);
        if book.live(key).is_some()
            && let Some(times) = book.exempt.get_mut(&key.slot)
        {
            *times -= 1;
            if *times == 0 {
                book.exempt.remove(&key.slot);
            }
        }
    }

    /// Whether the call is live and a drain has to wait for it.
    pub(crate) fn is_awaited(&self, key: Key) -> bool {
        let mut book = self.book(key);
        book.live(key).is_some() && !book.exempt.contains_key(&key.slot)
    }

    /// Time since the call; nothing once it was struck out.
    pub(crate) fn age(&self, key: Key) -> Option<Duration> {
        self.entry(key, |slot| slot.called.elapsed())
    }

    /// Whether the call is live.
    pub(crate) fn is_live(&self, key: Key) -> bool {
        self.entry(key, |_| ()).is_some()
    }

    /// The call's own token, made by `make` if there is none yet. `None` once the call was struck out.
    pub(crate) fn token(
        &self,
        key: Key,
        make: impl FnOnce() -> CancellationToken,
    ) -> Option<CancellationToken> {
        self.entry(key, |entry| entry.token.get_or_insert_with(make).clone())
    }

    /// The call's own token, if somebody has needed it.
    pub(crate) fn existing_token(&self, key: Key) -> Option<CancellationToken> {
        self.entry(key, |entry| entry.token.clone()).flatten()
    }

    /// Strikes a call out, unless `expect_owner` and its handle is gone.
    pub(crate) fn end(&self, key: Key, outcome: Outcome, expect_owner: bool) -> Ending {
        let mut book = self.book(key);
        match book.live(key) {
            None => return Ending::Gone,
            Some(entry) if expect_owner && entry.detached => return Ending::OwnerLeft,
            Some(_) => {}
        }
        let remains = book.strike_out(key.slot, outcome);
        // Closed counts too: after the deadline the aborts are awaited.
        let drained = book.gate != Gate::Open && book.is_drained();
        drop(book);
        drop(remains);
        Ending::Ended { drained }
    }

    pub(crate) fn totals(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.shards {
            sum.add(&shard.lock().totals);
        }
        sum
    }

    pub(crate) fn live_tasks(&self) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        let now = Instant::now();
        // Before the slots: whoever has waited by the time its slot is looked at has that written there.
        let polling = POLLING.iter().map(|Polling(id)| id.load(Ordering::Relaxed));
        let polling: HashSet<_> = polling.map(TaskId).collect();
        for shard in &self.shards {
            // The lock is held for one chunk at a time.
            for chunk in 0.. {
                let book = shard.lock();
                let Some(slots) = book.chunks.get(chunk) else {
                    break;
                };
                tasks.extend(slots.iter().filter_map(|slot| {
                    let call = slot.call?;
                    Some(TaskInfo {
                        id: slot.id,
                        name: call.handler.name(),
                        state: match slot.state {
                            TaskState::Queued if polling.contains(&slot.id) => TaskState::Running,
                            state => state,
                        },
                        age: now.saturating_duration_since(slot.called),
                        called_at: call.at,
                        attempt: 1,
                    })
                }));
                drop(book);
                // A caller that waits spins for a moment before it sleeps: this lets it in while it does. Without it the lock
                // would be taken again before anybody else saw it free.
                (0..SNAPSHOT_PAUSE).for_each(|_| std::hint::spin_loop());
            }
        }
        tasks.sort_unstable_by_key(|task| (Reverse(task.age), task.id));
        tasks
    }

    /// From now on, and after the gate has closed, [`end`](Self::end) tells when a shard runs empty.
    pub(crate) fn start_draining(&self) {
        for shard in &self.shards {
            let mut book = shard.lock();
            if book.gate == Gate::Open {
                book.gate = Gate::Draining;
            }
        }
    }

    /// Closes the gate if nothing is live that a drain waits for, as one step: all locks are held at once, so a call is
    /// either counted before it or refused after it.
    pub(crate) fn close_if_drained(&self) -> bool {
        // No deadlock: every other path holds one of these locks at a time, and this one takes them in order.
        let mut books: Vec<_> = self.shards.iter().map(Shard::lock).collect();
        if !books.iter().all(|book| book.is_drained()) {
            return false;
        }
        for book in &mut books {
            book.gate = Gate::Closed;
        }
        true
    }

    /// Closes the gate whatever is live.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            shard.lock().gate = Gate::Closed;
        }
    }

    /// Whether nothing is live that a drain waits for. Only final once the gate has closed.
    pub(crate) fn is_drained(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().is_drained())
    }

    /// The deadline: closes the gate, and strikes out what runs on the blocking pool, for it cannot be stopped. The wakers
    /// have the rest polled, so that it can be dropped.
    pub(crate) fn expire(&self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut struck_out = Vec::new();
        let now = Instant::now();
        for shard in &self.shards {
            let mut book = shard.lock();
            book.gate = Gate::Closed;
            book.expired = Some(now);
            for slot in 0..book.slots() {
                if book.exempt.contains_key(&slot) {
                    continue;
                }
                let live = book.slot(slot);
                let Some(call) = live.call else {
                    continue;
                };
                match (call.handler.runs_as(), live.state) {
                    (Kind::Async, _) => wakers.extend(live.waker.take()),
                    // One that is still queued never begins: it finds itself struck out.
                    (Kind::Blocking, TaskState::Queued) => {
                        struck_out.push(book.strike_out(slot, Outcome::Aborted));
                    }
                    (Kind::Blocking, _) => {
                        struck_out.push(book.strike_out(slot, Outcome::Abandoned));
                    }
                }
            }
        }
        // After the locks: dropping a token or a waker may run code of the user's.
        drop(struck_out);
        wakers
    }

    /// Strikes out what has not ended since [`expire`](Self::expire), and collects all that was live then, but for what
    /// waits for the drain itself.
    pub(crate) fn abandon(&self) -> Vec<LateTask> {
        let mut late = Vec::new();
        let mut struck_out = Vec::new();
        for shard in &self.shards {
            let mut book = shard.lock();
            for slot in 0..book.slots() {
                if book.slot(slot).call.is_some() && !book.exempt.contains_key(&slot) {
                    struck_out.push(book.strike_out(slot, Outcome::Abandoned));
                }
            }
            late.append(&mut book.late);
            book.expired = None;
        }
        drop(struck_out);
        late.sort_unstable_by_key(|task| (Reverse(task.age), task.id));
        late
    }

    fn book(&self, key: Key) -> MutexGuard<'_, Book> {
        self.shards[key.shard as usize].lock()
    }

    /// Runs `change` on a live call's slot under its lock; the result is handed out after the lock is free.
    fn entry<R>(&self, key: Key, change: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.book(key).live(key).map(change)
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Book> {
        // Nothing under these locks can panic half-way through a change, so a poisoned book is still a true one.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Ids are given out in blocks, so that threads do not meet at the counter for every call.
    fn next_id(&mut self) -> TaskId {
        if self.ids.is_empty() {
            // Relaxed: ids need only differ.
            let first = NEXT_IDS.fetch_add(IDS, Ordering::Relaxed);
            self.ids = first..first + IDS;
        }
        let id = self.ids.start;
        self.ids.start += 1;
        TaskId(id)
    }

    fn slots(&self) -> u32 {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len()) as u32
    }

    #[inline]
    fn slot(&mut self, index: u32) -> &mut Slot {
        let index = index as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    /// Writes a call down: the index and the generation of its slot. `None` only when four thousand million calls are live
    /// in one shard.
    #[inline]
    fn enter(&mut self, call: Call, called: Instant, id: TaskId) -> Option<(u32, u32)> {
        if self.vacant == 0 {
            return self.append(call, called, id);
        }
        let index = self.first_vacant;
        let slot = self.slot(index);
        let next = slot.next_vacant;
        slot.call = Some(call);
        slot.called = called;
        slot.id = id;
        slot.state = TaskState::Queued;
        slot.detached = false;
        let generation = slot.generation;
        self.first_vacant = next;
        self.vacant -= 1;
        Some((index, generation))
    }

    /// As many calls are live as never before.
    fn append(&mut self, call: Call, called: Instant, id: TaskId) -> Option<(u32, u32)> {
        let index = self.slots();
        index.checked_add(1)?;
        if index as usize == self.chunks.len() * CHUNK {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let generation = 0;
        self.chunks.last_mut()?.push(Slot {
            call: Some(call),
            called,
            id,
            token: None,
            waker: None,
            generation,
            next_vacant: 0,
            state: TaskState::Queued,
            detached: false,
        });
        Some((index, generation))
    }

    #[inline]
    fn live(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slot(key.slot);
        (slot.generation == key.generation && slot.call.is_some()).then_some(slot)
    }

    /// Takes a live call out and counts its outcome.
    #[inline]
    fn strike_out(&mut self, index: u32, outcome: Outcome) -> Remains {
        if self.gate == Gate::Closed {
            self.note_late(index, outcome);
        }
        let next = self.first_vacant;
        let slot = self.slot(index);
        slot.call = None;
        slot.next_vacant = next;
        slot.generation = slot.generation.wrapping_add(1);
        let remains = (slot.token.take(), slot.waker.take());
        self.first_vacant = index;
        self.vacant += 1;
        self.totals.running -= 1;
        self.totals.count(outcome);
        if !self.exempt.is_empty() {
            self.exempt.remove(&index);
        }
        remains
    }

    /// Keeps what the report has to say of a call that was live at the deadline.
    #[cold]
    fn note_late(&mut self, index: u32, outcome: Outcome) {
        let slot = self.slot(index);
        let (call, called, id) = (slot.call, slot.called, slot.id);
        if let (Some(expired), Some(call)) = (self.expired, call)
            && !self.exempt.contains_key(&index)
        {
            self.late.push(LateTask {
                id,
                handler: call.handler,
                called_at: call.at,
                age: expired.saturating_duration_since(called),
                outcome,
            });
        }
    }

    fn is_drained(&self) -> bool {
        self.totals.running == self.exempt.len() as u64
    }
}

/// A number of this thread's own, given out in turn: the shards fill evenly whatever the threads are.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    // A thread that is being torn down may have lost its number: any shard will do.
    NUMBER
        .try_with(|number| {
            if number.get() == usize::MAX {
                // Relaxed: the numbers need only differ.
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_call_takes_80_bytes_of_the_books() {
        assert_eq!(size_of::<Slot>(), 80);
    }
}
