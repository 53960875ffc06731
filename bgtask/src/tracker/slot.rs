//! A slot: room for one call at a time, from its launch to the drop of its handle.
//! Owns what is recorded of a call; knows nothing of other slots, or of how calls run. Must not run user code under its lock.

use crate::observe::Ended;
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::task::BoxedTask;
use crate::tracker::group_state::Membership;
use crate::tracker::shared::Shared;
use crate::tracker::state::{Snapshot, State};
use crate::util::sync::atomic::{AtomicU32, Ordering};
use crate::util::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Room for one call. A program may hold a million of them, so a slot takes 128 bytes, and a test keeps it so.
// Aligned, so that no two slots share a cache line, or the pair of lines that x86 fetches at once.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Slot {
    pub(super) state: State,
    /// While the slot is free: the index of the next free one.
    pub(super) next_free: AtomicU32,
    /// The seconds from the call to its first instruction, as the bits of an `f32`, once observers were notified of the start.
    /// Seven digits are enough for people, and there is no room for more. Accessed under the lock of the entry.
    waited: AtomicU32,
    /// Locked for a few loads or stores.
    entry: Mutex<Entry>,
}

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Absent until the slot is used for the first time.
    pub(super) identity: Option<CallInfo>,
    /// Before the call starts, the task to run. After its end, what is left for the holder of the handle.
    pub(super) task: Option<BoxedTask>,
    /// Wakes the slot's runner: the runtime's task that runs the `async` calls of this slot one after the other. While the
    /// runtime is about to poll the runner for the first time, a waker that does nothing.
    pub(super) runner: Option<Waker>,
    /// Wakes the task that awaits the handle.
    pub(super) joiner: Option<Waker>,
    /// The call's own token, created on first use.
    pub(super) token: Option<CancellationToken>,
    /// The membership of a call in a group, until the call is retired.
    pub(super) membership: Option<Membership>,
}

/// A joiner and a token. Both may own user data, so they must be dropped while no lock is held.
pub(super) type Extras = (Option<Waker>, Option<CancellationToken>);

impl Slot {
    /// Returns a free slot that is linked to `next_free`.
    pub(super) fn new(next_free: u32) -> Self {
        Self {
            state: State::new(),
            next_free: AtomicU32::new(next_free),
            waited: AtomicU32::new(0),
            entry: Mutex::default(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Entry> {
        // Nothing under this lock can panic half-way through a change, so a poisoned entry is intact.
        self.entry.lock()
    }

    /// Returns the state if the slot has a live call.
    pub(super) fn live(&self) -> Option<Snapshot> {
        Some(self.state.load()).filter(|state| state.is_live())
    }

    /// Stores how long the call waited before its first instruction. The caller holds the lock of the entry.
    pub(super) fn set_waited(&self, waited: Duration) {
        // Relaxed: the lock orders it before `ended`.
        self.waited
            .store(waited.as_secs_f32().to_bits(), Ordering::Relaxed);
    }

    /// Returns the notification of the end of a call that was in this `state` and has this `entry`.
    pub(super) fn ended(
        &self,
        entry: &Entry,
        state: Snapshot,
        outcome: Outcome,
        shared: &Shared,
    ) -> Ended {
        let call = entry.identity();
        // Relaxed: stored under the lock that `entry` was taken from.
        let waited = f32::from_bits(self.waited.load(Ordering::Relaxed));
        Ended {
            call,
            outcome,
            age: call.age(),
            waited: (state.is_start_reported()).then(|| Duration::from_secs_f32(waited)),
            is_waiting: state.is_wait_reported(),
            // The look-up takes a lock under that of the entry. No entry is ever locked under that one.
            fields: shared.fields_of(&call),
        }
    }

    /// Takes the task of a call that is about to begin and may have been abandoned or be a member of a group. The caller holds the
    /// lock of the entry, so no other thread retires or begins the call.
    pub(super) fn take_task(&self, state: Snapshot, entry: &mut Entry) -> Option<BoxedTask> {
        if !state.may_start() {
            return None;
        }
        let task = entry.task.take()?;
        if let Some(membership) = &entry.membership
            && membership.group_state().stops()
        {
            self.state.abort_at_start();
        }
        Some(task)
    }
}

impl Entry {
    pub(super) fn identity(&self) -> CallInfo {
        self.identity.expect("written before the call was launched")
    }

    pub(super) fn take_extras(&mut self) -> Extras {
        (self.joiner.take(), self.token.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_128_bytes() {
        assert_eq!(size_of::<Slot>(), 128);
    }
}
