//! A chunk of slots, allocated together. Slots never move, so a call's own code reaches its slot without a lookup.
//! Owns the numbering of the slots of a shard; knows nothing of calls, or of which slots are free.

use crate::tracker::counters::{Counters, NONE};
use crate::tracker::slot::Slot;
use std::sync::Arc;

/// The number of slots in a chunk. One in a model, so that slots are soon reused.
pub(super) const CHUNK: usize = if cfg!(any(bgtask_loom, bgtask_shuttle)) {
    1
} else {
    64
};

/// How many slots of a shard are warm: they keep their runner for the next call.
const WARM_SLOTS: u32 = 16_384;

/// Returns whether the slot with this index in its shard is warm.
#[inline]
pub(super) fn is_warm(index: u32) -> bool {
    index < WARM_SLOTS
}

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(super) counters: Arc<Counters>,
    /// The index of the first slot in the shard.
    pub(super) first: u32,
    pub(super) slots: [Slot; CHUNK],
}

impl Chunk {
    /// Returns the chunk that follows `before` other chunks of the shard. Its slots are free and linked in order; the last one
    /// ends the list.
    pub(crate) fn new(counters: Arc<Counters>, before: usize) -> Arc<Self> {
        let first = u32::try_from(before * CHUNK).expect("a shard has fewer than 2^32 slots");
        let slots = std::array::from_fn(|index| {
            Slot::new(match index + 1 {
                CHUNK => NONE,
                next => first + next as u32,
            })
        });
        Arc::new(Self {
            counters,
            first,
            slots,
        })
    }

    /// Returns the index of the first slot.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    pub(crate) fn is_warm(&self) -> bool {
        is_warm(self.first)
    }

    /// Returns the chunk among `chunks` that has the slot `index`.
    #[inline]
    pub(crate) fn find(chunks: &[Arc<Self>], index: u32) -> &Arc<Self> {
        &chunks[index as usize / CHUNK]
    }
}
