//! The fields of a manager's live calls, for code that finds a call by its id: snapshots, reports, the shutdown.
//! Only calls with fields are here; must never know tasks. Nothing of the user's runs under its locks.

use crate::fields::Fields;
use crate::stats::TaskId;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls of different threads rarely meet at one lock.
const SHARDS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct LiveFields {
    shards: [Mutex<HashMap<TaskId, Fields>>; SHARDS],
    /// Whether ended calls stay: from the deadline of the shutdown until its report is written, because the report names calls
    /// whose tasks are gone.
    keeps_ended: AtomicBool,
}

impl LiveFields {
    /// Records the fields of a call, until the result is dropped.
    pub(crate) fn keep(self: &Arc<Self>, id: TaskId, fields: Fields) -> Kept {
        self.shard(id).insert(id, fields.clone());
        Kept {
            live: self.clone(),
            id,
            fields,
        }
    }

    /// Returns the fields of a live call, or no fields if there are none.
    pub(crate) fn get(&self, id: TaskId) -> Fields {
        self.shard(id).get(&id).cloned().unwrap_or_default()
    }

    /// Keeps the fields of calls that end from now on.
    pub(crate) fn keep_ended(&self) {
        // Relaxed: a call that ends concurrently has either ended before the deadline, or is still named without its fields.
        self.keeps_ended.store(true, Ordering::Relaxed);
    }

    /// Drops the fields of all calls.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            // Dropped after the lock.
            let dropped = std::mem::take(&mut *shard.lock());
            drop(dropped);
        }
    }

    /// Held for one operation on the map.
    fn shard(&self, id: TaskId) -> MutexGuard<'_, HashMap<TaskId, Fields>> {
        // A thread takes 64 ids at a time.
        let index = (id.0 / 64) as usize % SHARDS;
        self.shards[index].lock()
    }
}

/// The fields of one task. Dropped with the task.
#[derive(Debug)]
pub(crate) struct Kept {
    live: Arc<LiveFields>,
    id: TaskId,
    pub(crate) fields: Fields,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Relaxed: see `keep_ended`.
        if !self.live.keeps_ended.load(Ordering::Relaxed) {
            self.live.shard(self.id).remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_dropped_with_their_task_except_between_a_deadline_and_its_report() {
        let live = Arc::new(LiveFields::default());
        let count = || {
            live.shards
                .iter()
                .map(|shard| shard.lock().len())
                .sum::<usize>()
        };
        let kept: Vec<_> = (0..1_000)
            .map(|id| live.keep(TaskId(id), Fields::default()))
            .collect();
        assert_eq!(count(), 1_000);
        drop(kept);
        assert_eq!(count(), 0);
        live.keep_ended();
        drop(live.keep(TaskId(7), Fields::default()));
        assert_eq!(count(), 1);
        live.clear();
        assert_eq!(count(), 0);
    }
}
