//! The books: which calls are live, how the others ended, and the gate that lets new ones in.
//! Owns the sharded locks and every count; one call is written down and struck out under one lock.
//! Must never run a user's code under a lock, and knows nothing of runtimes, logs or the shutdown's clock.

use crate::handler::{Handler, Kind};
use crate::stats::{Outcome, Stats, TaskId, TaskInfo, TaskState};
use std::cell::Cell;
use std::collections::HashSet;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many entries of a shard a snapshot copies before it lets the lock go: callers wait microseconds at most,
/// however many tasks are live.
const SNAPSHOT_CHUNK: usize = 256;

/// All shards of one manager's books.
///
/// A call is written into the shard of the thread that makes it and struck out of the same one, wherever it ran. So the
/// totals of each shard add up whenever its lock is free, and with them every sum over all shards.
#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Box<[Shard]>,
    next_id: AtomicU64,
}

/// Aligned so that two shards' locks never share a cache line (128: x86 fetches lines in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    slots: Vec<Slot>,
    /// Index of the first vacant slot; the others follow through [`Slot::Vacant`].
    vacant: Option<u32>,
    totals: Stats,
    /// Live calls that a drain does not wait for, because they wait for the drain.
    exempt: u64,
    gate: Gate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    /// Calls are accepted, and the drain is told when a shard runs empty.
    Draining,
    Closed,
}

#[derive(Debug)]
enum Slot {
    Vacant {
        next: Option<u32>,
        /// Told apart from earlier tenants of the same slot.
        generation: u32,
    },
    Live(Entry),
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    id: TaskId,
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    called: Instant,
    state: TaskState,
    /// Nobody holds the handle any more.
    detached: bool,
    /// See [`Book::exempt`].
    exempt: bool,
    /// Made when somebody first needs one: most calls never do.
    token: Option<CancellationToken>,
    /// How to have the task polled, known once it has waited for the first time.
    waker: Option<Waker>,
}

impl Entry {
    fn late(&self, outcome: Outcome) -> LateTask {
        LateTask {
            id: self.id,
            handler: self.handler,
            called_at: self.called_at,
            called: self.called,
            outcome,
        }
    }
}

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
    pub(crate) called: Instant,
    pub(crate) outcome: Outcome,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(4, usize::from);
        // Twice the processors, so that few threads share a shard; a power of two, so that choosing one is a mask.
        let shards = (threads * 2).next_power_of_two().min(64);
        Self {
            shards: (0..shards)
                .map(|_| Shard {
                    book: Mutex::default(),
                })
                .collect(),
            next_id: AtomicU64::new(1),
        }
    }

    /// An id for a call that is about to be made. Relaxed: ids need only differ.
    pub(crate) fn next_id(&self) -> TaskId {
        TaskId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes a call down, or counts it as refused if the gate has closed.
    pub(crate) fn accept(
        &self,
        id: TaskId,
        handler: &'static Handler,
        called_at: &'static Location<'static>,
        called: Instant,
    ) -> Option<Key> {
        let shard = thread_number() & (self.shards.len() - 1);
        let mut book = self.shards[shard].lock();
        if book.gate == Gate::Closed {
            book.totals.refused += 1;
            return None;
        }
        let entry = Entry {
            generation: 0,
            id,
            handler,
            called_at,
            called,
            state: TaskState::Queued,
            detached: false,
            exempt: false,
            token: None,
            waker: None,
        };
        let Some((slot, generation)) = book.enter(entry) else {
            book.totals.refused += 1;
            return None;
        };
        book.totals.accepted += 1;
        book.totals.running += 1;
        Some(Key {
            shard: shard as u32,
            slot,
            generation,
        })
    }

    /// The first instruction is about to run. `false` if the call was struck out before it came to that.
    pub(crate) fn start(&self, key: Key) -> bool {
        self.entry(key, |entry| entry.state = TaskState::Running)
            .is_some()
    }

    /// Remembers how to wake a task that waits. `false` if it was struck out meanwhile.
    pub(crate) fn park(&self, key: Key, waker: Waker) -> bool {
        // The replaced waker is dropped by the closure's caller, after the lock: dropping one may drop a task.
        self.entry(key, |entry| entry.waker.replace(waker))
            .is_some()
    }

    /// Nobody holds the handle any more.
    pub(crate) fn detach(&self, key: Key) {
        self.entry(key, |entry| entry.detached = true);
    }

    /// The drain shall not wait for this call, or shall again.
    pub(crate) fn set_exempt(&self, key: Key, exempt: bool) {
        let mut book = self.book(key);
        let Some(entry) = book.live(key) else { return };
        if std::mem::replace(&mut entry.exempt, exempt) != exempt {
            if exempt {
                book.exempt += 1;
            } else {
                book.exempt -= 1;
            }
        }
    }

    /// Whether the call is live and a drain has to wait for it.
    pub(crate) fn is_awaited(&self, key: Key) -> bool {
        self.entry(key, |entry| !entry.exempt).unwrap_or(false)
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
        let entry = book.strike_out(key.slot, outcome);
        // Closed counts too: after the deadline the aborts are awaited.
        let drained = book.gate != Gate::Open && book.is_drained();
        drop(book);
        // After the lock: its waker or token may be the last owner of something of the user's.
        drop(entry);
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
        for shard in &self.shards {
            let mut next = 0;
            loop {
                let book = shard.lock();
                let Some(rest) = book.slots.get(next..).filter(|rest| !rest.is_empty()) else {
                    break;
                };
                tasks.extend(rest.iter().take(SNAPSHOT_CHUNK).filter_map(|slot| {
                    let Slot::Live(entry) = slot else { return None };
                    Some(TaskInfo {
                        id: entry.id,
                        name: entry.handler.name(),
                        state: entry.state,
                        age: now.saturating_duration_since(entry.called),
                        called_at: entry.called_at,
                        attempt: 1,
                    })
                }));
                next += SNAPSHOT_CHUNK;
            }
        }
        tasks.sort_unstable_by_key(|task| task.id);
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

    /// The deadline: closes the gate, names everything that is still live, strikes out what runs on the blocking pool
    /// (it cannot be stopped), and wakes the rest so that it can be dropped.
    pub(crate) fn expire(&self) -> Vec<LateTask> {
        let mut late = Vec::new();
        let mut wakers = Vec::new();
        let mut struck_out = Vec::new();
        for shard in &self.shards {
            let mut book = shard.lock();
            book.gate = Gate::Closed;
            for slot in 0..book.slots.len() {
                let Slot::Live(entry) = &mut book.slots[slot] else {
                    continue;
                };
                if entry.exempt {
                    continue;
                }
                match (entry.handler.kind(), entry.state) {
                    (Kind::Async, _) => {
                        late.push(entry.late(Outcome::Aborted));
                        wakers.extend(entry.waker.take());
                    }
                    (Kind::Blocking, state) => {
                        // One that is still queued never begins: it finds itself struck out.
                        let outcome = match state {
                            TaskState::Queued => Outcome::Aborted,
                            TaskState::Running => Outcome::Abandoned,
                        };
                        late.push(entry.late(outcome));
                        struck_out.push(book.strike_out(slot as u32, outcome));
                    }
                }
            }
        }
        // After the locks: waking and dropping may run code of the user's.
        drop(struck_out);
        wakers.into_iter().for_each(Waker::wake);
        late
    }

    /// Strikes out what [`expire`](Self::expire) woke and what still did not end; returns their ids.
    pub(crate) fn abandon(&self) -> HashSet<TaskId> {
        let mut ids = HashSet::new();
        let mut struck_out = Vec::new();
        for shard in &self.shards {
            let mut book = shard.lock();
            for slot in 0..book.slots.len() {
                let id = match &book.slots[slot] {
                    Slot::Live(entry) if !entry.exempt => entry.id,
                    _ => continue,
                };
                ids.insert(id);
                struck_out.push(book.strike_out(slot as u32, Outcome::Abandoned));
            }
        }
        drop(struck_out);
        ids
    }

    fn book(&self, key: Key) -> MutexGuard<'_, Book> {
        self.shards[key.shard as usize].lock()
    }

    /// Runs `change` on a live entry under its lock; the result is handed out after the lock is free.
    fn entry<R>(&self, key: Key, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
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
    /// `None` only when four thousand million calls are live in one shard.
    fn enter(&mut self, mut entry: Entry) -> Option<(u32, u32)> {
        if let Some(index) = self.vacant {
            let slot = &mut self.slots[index as usize];
            if let Slot::Vacant { next, generation } = *slot {
                self.vacant = next;
                entry.generation = generation;
                *slot = Slot::Live(entry);
                return Some((index, generation));
            }
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot::Live(entry));
        Some((index, 0))
    }

    fn live(&mut self, key: Key) -> Option<&mut Entry> {
        match self.slots.get_mut(key.slot as usize) {
            Some(Slot::Live(entry)) if entry.generation == key.generation => Some(entry),
            _ => None,
        }
    }

    /// Takes a live entry out and counts its outcome. The entry is returned so that it is dropped outside of the lock.
    fn strike_out(&mut self, index: u32, outcome: Outcome) -> Option<Entry> {
        let slot = &mut self.slots[index as usize];
        let Slot::Live(entry) = slot else { return None };
        let vacant = Slot::Vacant {
            next: self.vacant,
            generation: entry.generation.wrapping_add(1),
        };
        let Slot::Live(entry) = std::mem::replace(slot, vacant) else {
            return None;
        };
        self.vacant = Some(index);
        self.totals.running -= 1;
        self.totals.count(outcome);
        if entry.exempt {
            self.exempt -= 1;
        }
        Some(entry)
    }

    fn is_drained(&self) -> bool {
        self.totals.running == self.exempt
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
