//! The end of a call: its output, and the step that retires the call, taken once by one thread.
//! Owns the order between the output, the counters and the free slot; knows nothing of why the call ends.

use crate::observe::Ended;
use crate::observe::call_info::{CallInfo, LateTask};
use crate::policy::Activity;
use crate::stats::Outcome;
use crate::task::BoxedTask;
use crate::tracker::chunk::is_warm;
use crate::tracker::group_state::Membership;
use crate::tracker::slot::{Entry, Extras};
use crate::tracker::state::{Snapshot, ToDone};
use crate::tracker::task_ref::TaskRef;
use crate::util::panic::catch_and_ignore;
use crate::util::sync::atomic::Ordering;
use crate::util::sync::{MutexGuard, broken};
use std::task::Waker;

/// The next step of the thread that ended a task.
pub(crate) enum Completion {
    /// The output waits for the holder of the handle, and the call is retired.
    Done,
    /// The handle was dropped. The caller handles the output and then calls [`TaskRef::end`].
    Detached(BoxedTask),
}

impl TaskRef {
    /// Leaves the ended task to the holder of the handle and retires the call, or returns the task if the handle was dropped.
    #[inline]
    pub(crate) fn hand_over(&self, task: BoxedTask, outcome: Outcome) -> Completion {
        if self.is_detached() {
            return Completion::Detached(task);
        }
        self.leave_for_owner(task, outcome)
    }

    fn leave_for_owner(&self, task: BoxedTask, outcome: Outcome) -> Completion {
        let mut entry = self.slot().lock();
        entry.task = Some(task);
        let before = match self.state().transition_to_done(self.generation) {
            ToDone::Done(before) => before,
            // The handle has been dropped since the check.
            ToDone::Detached => {
                return match entry.task.take() {
                    Some(task) => Completion::Detached(task),
                    None => unreachable!("put there under the same lock"),
                };
            }
        };
        let joiner = entry.joiner.take();
        if broken!("output_before_count") {
            let identity = entry.identity();
            drop(entry);
            self.retire(before, outcome, || identity, || {});
            wake(joiner);
            return Completion::Done;
        }
        // Still under the lock, which `join` takes: the holder who receives the output finds the call counted.
        if before.retires_at_once() {
            self.count_end(before, outcome, || entry.identity(), || {});
            drop(entry);
        } else {
            self.retire_locked(entry, before, outcome);
        }
        wake(joiner);
        Completion::Done
    }

    /// Retires a call that needs more than [`count_end`](Self::count_end). Releases the lock.
    fn retire_locked(&self, mut entry: MutexGuard<'_, Entry>, before: Snapshot, outcome: Outcome) {
        self.retire(before, outcome, || entry.identity(), || {});
        let membership = entry.membership.take();
        drop(entry);
        // After the count, and after the lock, because it may wake any task.
        drop(membership);
    }

    /// Ends a call whose handle was dropped: retires it and frees the slot.
    #[inline]
    pub(crate) fn end(&self, outcome: Outcome) {
        let Some(before) = self.state().transition_to_free(self.generation) else {
            return;
        };
        let extras = (before.has_extras()).then(|| self.slot().lock().take_extras());
        if before.retires_at_once() {
            self.count_end(before, outcome, || self.identity(), || self.free_slot());
        } else {
            self.end_special(before, outcome);
        }
        // After all locks, and after the count.
        if let Some(extras) = extras {
            drop_ignoring_panics(extras);
        }
    }

    /// Does the same for a call that was abandoned, waits for the drain or for a policy, or is a member of a group.
    #[inline(never)]
    fn end_special(&self, before: Snapshot, outcome: Outcome) {
        // Taken before the slot is free, under the lock under which the slot's next call writes the entry.
        let membership = if before.is_in_group() {
            self.slot().lock().membership.take()
        } else {
            None
        };
        let membership = membership.filter(|_| !broken!("membership_before_count"));
        self.retire(before, outcome, || self.identity(), || self.free_slot());
        // After the count: a thread that finds the group empty finds the call retired.
        drop(membership);
    }

    /// Retires a call that may still run, or that has not begun and never will. Adds to `ends` what observers are notified of after
    /// the lock. Returns the membership, which the caller drops after the lock, because it may wake any task.
    pub(in crate::tracker) fn abandon_locked(
        &self,
        entry: &mut Entry,
        ends: &mut Vec<Ended>,
    ) -> Option<Membership> {
        let is_queued = entry.task.is_some();
        let before = self
            .state()
            .transition_to_abandoned(self.generation, is_queued)?;
        // A call that has not begun never will: a queued task is taken under this lock, and a waiting call finds itself abandoned
        // in `stop_waiting`.
        let outcome = if before.has_not_begun() {
            Outcome::Aborted
        } else {
            Outcome::Abandoned
        };
        self.retire(before, outcome, || entry.identity(), || {});
        if !before.is_end_reported() && self.shared().hooks.any_at_the_end() {
            ends.push(self.slot().ended(entry, before, outcome, self.shared()));
        }
        // After the count: a thread that finds the group empty finds the call retired.
        entry.membership.take()
    }

    /// Counts the end of a call that was in the state `before`, which is all that retires it. Calls `free` right before.
    #[inline]
    fn count_end(
        &self,
        before: Snapshot,
        outcome: Outcome,
        identity: impl FnOnce() -> CallInfo,
        free: impl FnOnce(),
    ) {
        if self.shared().gate.is_closed() {
            self.note_late(identity(), outcome, before);
        }
        free();
        self.chunk.counters.end(outcome);
    }

    /// Retires a call that was in the state `before`: counts its end, unless it was retired before. Calls `free` right before.
    fn retire(
        &self,
        before: Snapshot,
        outcome: Outcome,
        identity: impl FnOnce() -> CallInfo,
        free: impl FnOnce(),
    ) {
        if before.is_running() {
            return self.count_end(before, outcome, identity, free);
        }
        if !before.is_live() && !broken!("counted_again") {
            // Abandoned and counted before; it has ended after all.
            free();
            return;
        }
        if before.is_not_awaited() && broken!("counted_while_not_awaited") {
            free();
            self.chunk.counters.end(outcome);
            self.shared().not_awaited.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        if before.waits() && broken!("waits_after_end") {
            self.chunk.counters.end(outcome);
            self.chunk.counters.stops_waiting();
            return;
        }
        self.leave_counts(before);
        // A call that waits for the drain is never late.
        if !before.is_not_awaited() && self.shared().gate.is_closed() {
            self.note_late(identity(), outcome, before);
        }
        free();
        self.chunk.counters.end(outcome);
    }

    /// Removes an ending call from the counts of special calls, before its end is counted; `Tracker::is_drained` and
    /// `Counters::add_to` give the reasons.
    #[cold]
    fn leave_counts(&self, before: Snapshot) {
        if before.is_not_awaited() {
            self.shared().not_awaited.fetch_sub(1, Ordering::SeqCst);
        }
        if before.waits() {
            self.chunk.counters.stops_waiting();
        }
    }

    #[inline]
    pub(super) fn free_slot(&self) {
        let link = &self.slot().next_free;
        let index = self.index();
        self.chunk.counters.give_back(is_warm(index), index, link);
    }
}

/// The shutdown report.
impl TaskRef {
    /// Notes for the report that the first instruction has not run.
    #[cold]
    pub(crate) fn set_queued(&self) {
        self.state().set_queued(self.generation);
    }

    /// Notes for the report what the call is doing, if the state does not have it. The caller holds the lock of the entry.
    pub(in crate::tracker) fn note_doing(&self, entry: &Entry) {
        if entry.task.is_some() {
            self.set_queued();
            return;
        }
        let CallInfo { id, handler, .. } = entry.identity();
        let policies = (handler.policies()).filter(|policies| policies.retry.is_some());
        // The look-up takes two more locks under that of the entry. No entry is ever locked under those.
        let progress = policies.and_then(|policies| self.shared().policies.progress(policies, id));
        if progress.is_some_and(|progress| progress.activity() == Activity::BackingOff) {
            self.state().set_asleep(self.generation);
        }
    }

    /// Keeps a call that was live at the deadline for the report.
    #[cold]
    fn note_late(&self, identity: CallInfo, outcome: Outcome, before: Snapshot) {
        self.shared().shutdown.note_late(|expired| LateTask {
            identity,
            age: identity.age_at(expired),
            state: before.state_at_deadline(),
            outcome,
            fields: self.shared().fields_of(&identity),
        });
    }
}

/// Wakes the task that awaits a handle. Its waker may run user code.
#[inline]
pub(super) fn wake(joiner: Option<Waker>) {
    if let Some(joiner) = joiner {
        catch_and_ignore(|| joiner.wake());
    }
}

/// Dropping these may run user code that panics. The panic must reach neither the slot's next call nor the code that drops a
/// handle.
#[cold]
pub(super) fn drop_ignoring_panics(extras: Extras) {
    catch_and_ignore(|| drop(extras));
}
