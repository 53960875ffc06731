//! The operations of the holder of a handle, the call's tokens, and its waits for the drain.
//! Owns the order between a request and the call's end; knows nothing of how the task reacts.

use crate::observe::call_info::CallInfo;
use crate::policy::Progress;
use crate::report::StopReason;
use crate::task::BoxedTask;
use crate::tracker::group_state::Membership;
use crate::tracker::slot::Entry;
use crate::tracker::state::{AddDrainWait, ToDetached};
use crate::tracker::task_ref::TaskRef;
use crate::tracker::task_ref::retire::{drop_ignoring_panics, wake};
use crate::util::sync::atomic::Ordering;
use crate::util::sync::broken;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokio_util::sync::CancellationToken;

impl TaskRef {
    /// Returns the ended task, once. Before the end, keeps `joiner` to wake it then.
    pub(crate) fn join(&self, joiner: &Waker) -> Poll<Option<BoxedTask>> {
        // Cloned before the lock and dropped after it, because either may run user code.
        let mut waker = (!self.is_done()).then(|| joiner.clone());
        let mut entry = self.slot().lock();
        // Check again under the lock, under which the end takes the joiner.
        if self.is_done() && !broken!("end_not_checked_again") {
            return Poll::Ready(entry.task.take());
        }
        let known = &mut entry.joiner;
        if !known.as_ref().is_some_and(|known| known.will_wake(joiner)) {
            std::mem::swap(known, &mut waker);
            self.state().set_joined(self.generation);
        }
        drop(entry);
        drop(waker);
        Poll::Pending
    }

    /// Wakes the task that awaits the handle, which then polls the handle again.
    pub(crate) fn wake_joiner(&self) {
        let joiner = self.slot().lock().joiner.take();
        wake(joiner);
    }

    /// Notes that the handle was dropped. If the call has ended, returns the task unless the holder took it; the caller then
    /// calls [`release`](Self::release).
    #[inline]
    pub(crate) fn detach(&self) -> Option<Option<BoxedTask>> {
        match self.state().transition_to_detached(self.generation) {
            ToDetached::Running => None,
            ToDetached::Done => Some(self.take_left()),
        }
    }

    // Not inlined, because the drop of most handles does not need it and would save registers for it.
    #[inline(never)]
    fn take_left(&self) -> Option<BoxedTask> {
        self.slot().lock().task.take()
    }

    /// Frees the slot after the end of the call and the drop of its handle.
    pub(crate) fn release(&self) {
        let extras = self.slot().lock().take_extras();
        if broken!("slot_freed_before_state") {
            self.free_slot();
            self.state().free_done(self.generation);
            return;
        }
        self.state().free_done(self.generation);
        self.free_slot();
        drop_ignoring_panics(extras);
    }

    /// Aborts the call. Returns a task that has not begun, which the caller ends. An `async` task that has begun is polled, and
    /// then dropped.
    pub(crate) fn abort(&self) -> Option<BoxedTask> {
        let mut entry = self.lock_live()?;
        if let Some(queued) = entry.task.take() {
            return Some(queued);
        }
        if self.is_async && self.state().transition_to_aborted(self.generation) {
            let runner = entry.runner.clone();
            drop(entry);
            if let Some(runner) = runner.filter(|_| !broken!("abort_without_waking")) {
                runner.wake();
            }
        }
        None
    }

    /// Notes in the call's policies that it is cancelled: this ends its wait for one of them, makes the present attempt the last,
    /// and cancels the attempt that the drain leaves it.
    pub(crate) fn note_cancelled(&self, reason: StopReason) {
        // Not under the lock, because `cancel` wakes the call.
        if let Some(progress) = self.progress() {
            progress.cancel(reason);
        }
    }

    /// Returns why the call alone was cancelled, if its policies know.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.progress()?.stop_reason()
    }

    /// Returns the progress of a live call with policies.
    fn progress(&self) -> Option<Arc<Progress>> {
        let CallInfo { handler, id, .. } = self.lock_live().map(|entry| entry.identity())?;
        self.shared().policies.progress(handler.policies()?, id)
    }

    /// Returns the call's own token, which the first caller creates. Returns `None` once the call has been retired.
    pub(crate) fn token(&self) -> Option<CancellationToken> {
        let mut entry = self.slot().lock();
        // Under the lock, under which the slot's next call writes the entry.
        if !self.state().set_has_token(self.generation) {
            return None;
        }
        if broken!("token_made_twice") {
            entry.token = None;
        }
        let Entry {
            token, membership, ..
        } = &mut *entry;
        let create = || match membership {
            None => self.shared().shutdown.task_token(self.finishes),
            Some(membership) => membership.group_state().token(self.finishes).child_token(),
        };
        Some(token.get_or_insert_with(create).clone())
    }

    /// Returns the call's own token if it has been created, else the group's token for a member.
    pub(crate) fn existing_token(&self) -> Option<CancellationToken> {
        let entry = self.lock_live()?;
        let group = || entry.membership.as_ref().map(Membership::group_state);
        let token = entry.token.as_ref();
        token
            .or_else(|| group().map(|group| group.token(self.finishes)))
            .cloned()
    }

    /// Has the drain not wait for this call, which waits for the drain. Each call needs a later
    /// [`stop_waiting_for_drain`](Self::stop_waiting_for_drain).
    pub(crate) fn wait_for_drain(&self) {
        // Held while the count and the flag change, so that of two concurrent waits one finds the flag set.
        let _entry = self.slot().lock();
        match self.state().add_drain_wait(self.generation) {
            AddDrainWait::Added | AddDrainWait::Retired => {}
            AddDrainWait::IsAwaited => {
                // SeqCst: `Tracker::is_drained` loads it. Counted before the flag is set: a drain that checks in between waits for
                // one call too few, which is this one.
                let not_awaited = &self.shared().not_awaited;
                not_awaited.fetch_add(1, Ordering::SeqCst);
                if !self.state().transition_to_not_awaited(self.generation) {
                    not_awaited.fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    }

    /// Ends one [`wait_for_drain`](Self::wait_for_drain). After the last one the drain waits for the call again.
    pub(crate) fn stop_waiting_for_drain(&self) {
        let _entry = self.slot().lock();
        if self.state().remove_drain_wait(self.generation) {
            self.shared().not_awaited.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
