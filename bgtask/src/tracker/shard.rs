//! A shard: the chunks and the counters of the calls that one thread makes.
//! Owns the list of chunks and the free lists; knows nothing of what is in a slot.
//!
//! The design is that of the `sharded-slab` crate, with its words: shard, slot, generation; its pages are our chunks. Unlike there,
//! a shard passes to another thread when its own ends, and a slot keeps its runner from call to call.

use crate::tracker::chunk::Chunk;
use crate::tracker::counters::{Counters, NONE};
use crate::util::sync::{Mutex, MutexGuard};
use std::sync::Arc;

/// How many calls a writer makes before it checks for freed slots, which costs a load of what other threads write.
const CALLS_PER_CHECK: u32 = 32;

/// The calls that one thread has made. They end on any thread, through their [`TaskRef`].
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) counters: Arc<Counters>,
    /// Locked to copy the list or add a chunk.
    chunks: Mutex<Vec<Arc<Chunk>>>,
}

impl Shard {
    pub(super) fn new(counters: Counters) -> Arc<Self> {
        Arc::new(Self {
            counters: Arc::new(counters),
            chunks: Mutex::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Arc<Chunk>>> {
        self.chunks.lock()
    }
}

/// The free slots that a writer knows: for each list, the index of its first slot.
#[derive(Debug)]
pub(super) struct FreeLists {
    /// Slots that keep their runners. They are used first.
    pub(super) warm: u32,
    /// Further warm lists, the most recently freed last. That one is used next, because its slots are still in a cache.
    spilled: Vec<u32>,
    /// Slots that do not keep their runners.
    pub(super) cold: u32,
    /// How many calls are made before the next check for freed slots.
    pub(super) calls_to_check: u32,
}

impl Default for FreeLists {
    fn default() -> Self {
        Self {
            warm: NONE,
            spilled: Vec::new(),
            cold: NONE,
            calls_to_check: CALLS_PER_CHECK,
        }
    }
}

impl FreeLists {
    /// Takes the slots that have been freed. Returns whether there is a free slot.
    pub(super) fn refill(&mut self, counters: &Counters) -> bool {
        self.calls_to_check = CALLS_PER_CHECK;
        let freed = counters.take_freed(true);
        if freed != NONE {
            if self.warm != NONE {
                self.spilled.push(self.warm);
            }
            self.warm = freed;
        }
        if self.warm == NONE {
            self.warm = self.spilled.pop().unwrap_or(NONE);
        }
        if self.warm == NONE && self.cold == NONE {
            self.cold = counters.take_freed(false);
        }
        self.warm != NONE || self.cold != NONE
    }

    /// Adds a new chunk, whose slots are all free.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        let list = if chunk.is_warm() {
            &mut self.warm
        } else {
            &mut self.cold
        };
        *list = chunk.first();
    }
}
