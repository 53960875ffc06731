//! The writer of a shard: the right to make calls in it, which one thread has at a time.
//! Owns how a call gets its id and its slot; knows nothing of which thread has the writer.

use crate::handler::Handler;
use crate::stats::TaskId;
use crate::tracker::Tracker;
use crate::tracker::chunk::Chunk;
use crate::tracker::counters::{Counters, NONE};
use crate::tracker::shard::{FreeLists, Shard};
use crate::tracker::task_ref::TaskRef;
use crate::util::sync::broken;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many ids a writer takes at a time from the counter that all writers share.
const IDS: u64 = 64;

/// The next ids, for all managers: an id is unique in the process. The standard library's atomic, because it outlives a model.
static NEXT_IDS: AtomicU64 = AtomicU64::new(1);

fn next_ids(count: u64) -> Range<u64> {
    // Relaxed: ids need only differ.
    let first = NEXT_IDS.fetch_add(count, Ordering::Relaxed);
    first..first + count
}

/// Returns an id for a call that is refused where there is no writer.
pub(crate) fn one_id() -> TaskId {
    TaskId(next_ids(1).start)
}

/// The exclusive right to make calls in one shard. A thread has it without sharing it, and so needs no lock.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    tracker: Arc<Tracker>,
    shard: Arc<Shard>,
    counters: Arc<Counters>,
    /// A copy of the shard's list, which only this writer extends.
    chunks: Vec<Arc<Chunk>>,
    free: FreeLists,
    ids: Range<u64>,
}

impl Tracker {
    /// Returns the writer of a shard that has no other one.
    pub(crate) fn writer(self: &Arc<Self>) -> ShardWriter {
        let mut shards = self.lock();
        let idle = if broken!("writer_shared") {
            let shard = shards.all.last().cloned();
            shard.map(|shard| (shard, FreeLists::default()))
        } else {
            shards.idle.pop()
        };
        let (shard, free) = idle.unwrap_or_else(|| {
            let shard = Shard::new(Counters::new(self.shared.clone()));
            shards.all.push(shard.clone());
            (shard, FreeLists::default())
        });
        drop(shards);
        let chunks = shard.lock().clone();
        ShardWriter {
            tracker: self.clone(),
            counters: shard.counters.clone(),
            chunks,
            free,
            shard,
            ids: 0..0,
        }
    }
}

impl ShardWriter {
    /// Counts a call and reserves a slot for it. Returns no slot if the gate has closed; the call is then counted as refused.
    // Always inlined, which the compiler would not choose: it is most of what a call does before it returns.
    #[inline(always)]
    pub(crate) fn accept(&mut self, handler: &'static Handler) -> (TaskId, Option<TaskRef>) {
        let id = self.next_id();
        if !self.counters.accept() {
            return (id, None);
        }
        self.free.calls_to_check -= 1;
        if self.free.calls_to_check == 0 || self.free.warm == NONE {
            self.find_free();
        }
        let (index, list) = match &mut self.free {
            FreeLists { warm, .. } if *warm != NONE => (*warm, warm),
            FreeLists { cold, .. } => (*cold, cold),
        };
        let chunk = Chunk::find(&self.chunks, index);
        let (task_ref, next) = TaskRef::reserve(chunk, index, handler);
        *list = next;
        (id, Some(task_ref))
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

    /// Takes the freed slots, and adds a chunk if no slot is free: more calls are live than ever before.
    #[cold]
    fn find_free(&mut self) {
        if !self.free.refill(&self.counters) {
            let chunk = Chunk::new(self.counters.clone(), self.chunks.len());
            self.free.add(&chunk);
            self.chunks.push(chunk.clone());
            self.shard.lock().push(chunk);
        }
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
    use crate::observe::call_info::CallInfo;
    use crate::observe::hooks::Hooks;
    use crate::stats::Outcome;
    use crate::task::Task;
    use crate::task::judge::Always;
    use crate::tracker::shared::Shared;
    use crate::tracker::task_ref::Completion;
    use std::collections::VecDeque;
    use std::panic::Location;
    use std::time::Duration;
    use tokio::runtime::{Builder, Runtime};

    static HANDLER: Handler = Handler::for_tests("tested");

    fn tracker() -> (Runtime, Arc<Tracker>) {
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let shared = Shared::new(handle, Duration::ZERO, Hooks::default(), false);
        (runtime, Arc::new(Tracker::new(Arc::new(shared))))
    }

    /// No behaviour shows this: the memory of a program that runs for months does not grow.
    #[test]
    fn freed_slots_are_reused() {
        let (_runtime, tracker) = tracker();
        let mut writer = tracker.writer();
        // Many at once and one after another, in turns: each way to find a free slot follows each other.
        for (calls, most) in [(60, 60), (100, 1), (100, 10)].repeat(200) {
            let mut live = VecDeque::new();
            for _ in 0..calls {
                let (_, task_ref) = writer.accept(&HANDLER);
                live.push_back(task_ref.unwrap());
                if live.len() > most {
                    live.pop_front().unwrap().discard_reserved();
                }
            }
            live.into_iter()
                .for_each(|task_ref| task_ref.discard_reserved());
        }
        assert!(writer.chunks.len() <= 3, "{}", writer.chunks.len());
    }

    #[test]
    fn slots_whose_handles_were_dropped_after_the_end_are_reused() {
        let (_runtime, tracker) = tracker();
        let mut writer = tracker.writer();
        // Many more than a chunk has slots, and few enough for Miri.
        for _ in 0..1_000 {
            let (id, task_ref) = writer.accept(&HANDLER);
            let task_ref = task_ref.unwrap();
            let identity = CallInfo::new(id, &HANDLER, Location::caller());
            task_ref.fill(identity, Task::boxed(std::future::pending::<()>(), Always));
            let task = task_ref.start().unwrap();
            let completion = task_ref.hand_over(task, Outcome::Succeeded);
            assert!(matches!(completion, Completion::Done));
            assert!(task_ref.detach().is_some());
            task_ref.release();
        }
        assert_eq!(writer.chunks.len(), 1);
    }

    #[test]
    fn the_shard_of_a_thread_that_has_ended_is_reused() {
        let (_runtime, tracker) = tracker();
        for _ in 0..1_000 {
            let (_, task_ref) = tracker.writer().accept(&HANDLER);
            task_ref.unwrap().discard_reserved();
        }
        let shards = tracker.shards();
        assert_eq!(shards.len(), 1);
        assert_eq!(shards[0].lock().len(), 1);
    }
}
