//! A reference to one call's slot, and the transitions of the call, in one file per part of its life.
//! Owns the check that the slot is still the call's; knows nothing of who visits calls, or of how they run.

mod handle;
mod notify;
mod retire;
mod start;

pub(crate) use retire::Completion;

use crate::handler::{Handler, Kind, Log};
use crate::observe::call_info::CallInfo;
use crate::stats::TaskId;
use crate::tracker::chunk::{CHUNK, Chunk};
use crate::tracker::group_state::GroupState;
use crate::tracker::shared::Shared;
use crate::tracker::slot::{Entry, Slot};
use crate::tracker::state::{Snapshot, State};
use crate::util::sync::MutexGuard;
use crate::util::sync::atomic::Ordering;
use std::fmt;
use std::sync::Arc;

/// A reference to a call: its slot, and the generation that the slot has as long as it is this call's.
///
/// A method called after the slot has gone to another call does nothing.
///
/// # Ends of a call
///
/// | Method | Caller | The task | Retires the call as | Logs | Frees the slot |
/// |---|---|---|---|---|---|
/// | [`discard_reserved`](Self::discard_reserved) | the call path, if it does not launch an accepted call | does not exist | aborted | no | yes |
/// | [`hand_over`](Self::hand_over) | the runner, after the task's end | waits for the holder of the handle | its outcome | no | no |
/// | [`end`](Self::end) | the runner, if the handle was dropped before the end | has been dropped | its outcome | no | yes |
/// | [`abort`](Self::abort) | a handle or a group | queued: returned to the caller; `async`: dropped at its next await; blocking: runs on | no, the runner does | no | no |
/// | `Chunk::expire` | the drain, at the deadline | `async`: polled to be dropped; blocking: runs on | blocking only: abandoned, or aborted if it has not begun | in the shutdown report | no |
/// | `Chunk::abandon` | the drain, a second later | runs on | abandoned, or aborted if it has not begun | in the shutdown report | no |
/// | `Supervised::drop_silently` | the runner, before the task's end | is dropped | no, `hand_over` follows | no | no |
/// | `Supervised::drop_reported` | the same | is dropped | no, `hand_over` follows | unless a shutdown explains it | no |
/// | `Supervised::drop_unclaimed` | the drop of a handle after the end | its output is dropped | no, that is done | an error that the holder has not seen | no, [`release`](Self::release) follows |
#[derive(Clone)]
pub(crate) struct TaskRef {
    chunk: Arc<Chunk>,
    generation: u32,
    slot: u8,
    /// `on_shutdown = "finish"`: the token does not fire with the drain.
    pub(crate) finishes: bool,
    /// The task runs on a worker of the runtime, where blocking the thread is wrong.
    pub(crate) is_async: bool,
    /// The level of the events about the call.
    pub(crate) log: Log,
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskRef({}, {})", self.index(), self.generation)
    }
}

impl TaskRef {
    #[inline]
    pub(in crate::tracker) fn new(
        chunk: &Arc<Chunk>,
        slot: usize,
        generation: u32,
        handler: &'static Handler,
    ) -> Self {
        Self {
            chunk: Arc::clone(chunk),
            generation,
            slot: slot as u8,
            finishes: handler.finishes(),
            is_async: handler.runs_as() == Kind::Async,
            log: handler.log(),
        }
    }

    /// Reserves the free slot `index`, which is in `chunk`, for a call of `handler`. Returns the index of the next free slot too.
    /// The caller has taken the slot from a free list, so no other thread has it.
    #[inline]
    pub(in crate::tracker) fn reserve(
        chunk: &Arc<Chunk>,
        index: u32,
        handler: &'static Handler,
    ) -> (Self, u32) {
        let index = index as usize % CHUNK;
        let slot = &chunk.slots[index];
        // Relaxed: the acquire in `Counters::take_freed` has made the link visible.
        let next = slot.next_free.load(Ordering::Relaxed);
        let generation = slot.state.free_generation();
        (Self::new(chunk, index, generation, handler), next)
    }

    #[inline]
    pub(super) fn slot(&self) -> &Slot {
        &self.chunk.slots[self.slot as usize % CHUNK]
    }

    #[inline]
    pub(super) fn state(&self) -> &State {
        &self.slot().state
    }

    /// Returns whether the slot is still this call's and in a state that `is` accepts.
    #[inline]
    pub(super) fn has(&self, is: impl FnOnce(Snapshot) -> bool) -> bool {
        self.state().load_of(self.generation).is_some_and(is)
    }

    /// Returns whether both refer to the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (own, others) = ((self.slot, self.generation), (other.slot, other.generation));
        own == others && Arc::ptr_eq(&self.chunk, &other.chunk)
    }

    /// Returns the index of the slot in its shard.
    #[inline]
    pub(super) fn index(&self) -> u32 {
        self.chunk.first + u32::from(self.slot)
    }

    /// Returns what identifies the slot among all shards.
    #[cfg(bgtask_shuttle)]
    pub(crate) fn slot_of_shard(&self) -> (usize, u32) {
        (Arc::as_ptr(&self.chunk.counters).addr(), self.index())
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.chunk.counters.shared
    }

    /// Returns whether the call has been launched and not retired.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        self.has(Snapshot::is_live)
    }

    /// Returns whether the call is live and a drain waits for it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.has(Snapshot::is_awaited)
    }

    /// Returns whether the task may run after the shutdown is over.
    pub(crate) fn may_outlive_drain(&self) -> bool {
        self.has(Snapshot::may_outlive_drain)
    }

    /// Returns whether the task is neither aborted nor a member of a group. One load for both.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        !self.has(Snapshot::is_special)
    }

    /// Returns whether the call is a live member of a group and is not aborted.
    #[inline]
    pub(crate) fn is_running_member(&self) -> bool {
        self.has(Snapshot::is_running_member)
    }

    /// Returns whether the call is a live member of a group.
    pub(crate) fn is_member(&self) -> bool {
        self.has(Snapshot::is_in_group)
    }

    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.has(Snapshot::is_aborted)
    }

    /// Returns whether the handle was dropped.
    #[inline]
    pub(crate) fn is_detached(&self) -> bool {
        self.has(Snapshot::is_detached)
    }

    /// Returns whether the call has ended and its handle is still held.
    pub(crate) fn is_done(&self) -> bool {
        self.has(Snapshot::is_done)
    }

    /// Returns the call in the slot. Only for the task before its end and for the handle: after them the slot may be another
    /// call's.
    pub(crate) fn identity(&self) -> CallInfo {
        self.slot().lock().identity()
    }

    /// Returns the id while the call is live.
    pub(crate) fn live_id(&self) -> Option<TaskId> {
        Some(self.lock_live()?.identity().id)
    }

    /// Locks the entry if the call is live. The check is under the lock, under which the slot's next call writes the entry.
    pub(super) fn lock_live(&self) -> Option<MutexGuard<'_, Entry>> {
        let entry = self.slot().lock();
        self.is_live().then_some(entry)
    }

    /// Returns the group of a live member.
    pub(crate) fn group_state(&self) -> Option<Arc<GroupState>> {
        if !self.is_member() {
            return None;
        }
        let entry = self.lock_live()?;
        Some(entry.membership.as_ref()?.group_state().clone())
    }
}
