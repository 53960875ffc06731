//! A reference to one call's slot, and the transitions of the call.
//! Owns the step that retires a call, taken once by one thread; knows nothing of who looks for calls, or of how they run.

use crate::handler::{Handler, Kind, Log};
use crate::observe::Ended;
use crate::observe::call_info::{CallInfo, LateTask};
use crate::policy::Doing;
use crate::stats::{Outcome, TaskId};
use crate::task::BoxedTask;
use crate::tracker::chunk::{CHUNK, Chunk, is_warm};
use crate::tracker::group_state::{GroupState, Membership};
use crate::tracker::shared::Shared;
use crate::tracker::slot::{Entry, Slot};
use crate::tracker::state::{AddDrainWait, Snapshot, State, ToDetached, ToDone};
use crate::util::panic::catch_and_ignore;
use crate::util::sync::atomic::Ordering;
use crate::util::sync::{MutexGuard, broken};
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokio_util::sync::CancellationToken;

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
/// | `Supervised::drop_unclaimed` | the drop of a handle after the end | its output is dropped | no, that is done | an error that nobody has seen | no, [`release`](Self::release) follows |
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

/// What follows from the end of a task.
pub(crate) enum Completion {
    /// The output waits for the holder of the handle, and the call is retired.
    Done,
    /// Nobody holds the handle. The caller handles the output and then calls [`TaskRef::end`].
    Detached(BoxedTask),
}

/// The slot and its state.
impl TaskRef {
    #[inline]
    fn slot(&self) -> &Slot {
        &self.chunk.slots[self.slot as usize % CHUNK]
    }

    #[inline]
    fn state(&self) -> &State {
        &self.slot().state
    }

    /// Returns whether the slot is still this call's and in a state that `is` accepts.
    #[inline]
    fn has(&self, is: impl FnOnce(Snapshot) -> bool) -> bool {
        self.state().load_of(self.generation).is_some_and(is)
    }

    /// Returns whether both refer to the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (own, others) = ((self.slot, self.generation), (other.slot, other.generation));
        own == others && Arc::ptr_eq(&self.chunk, &other.chunk)
    }

    /// Returns the index of the slot in its shard.
    #[inline]
    fn index(&self) -> u32 {
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
        self.has(Snapshot::is_ordinary)
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

    /// Returns whether nobody holds the handle.
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
    fn lock_live(&self) -> Option<MutexGuard<'_, Entry>> {
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

/// From the reserved slot to the first instruction.
impl TaskRef {
    #[inline]
    pub(super) fn new(
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
    pub(super) fn reserve(
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

    /// Makes the reserved call a member of a group.
    #[inline]
    pub(crate) fn join_group(&self, membership: Membership) {
        self.slot().lock().membership = Some(membership);
        self.state().set_in_group();
    }

    /// Makes the reserved call wait for one of its policies. The launch notifies the observers.
    pub(crate) fn set_waits(&self) {
        self.chunk.counters.starts_waiting();
        let is_reported = self.shared().hooks.observers.any();
        self.state().set_waits(is_reported);
    }

    /// Frees a reserved slot whose call is not launched, and counts the call as aborted.
    #[cold]
    pub(crate) fn discard_reserved(&self) {
        let membership = self.slot().lock().membership.take();
        let before = self.state().discard_reserved(self.generation);
        if before.waits() {
            self.chunk.counters.stops_waiting();
        }
        self.free_slot();
        self.chunk.counters.end(Outcome::Aborted);
        // After the count: a member is retired before it leaves its group.
        drop(membership);
    }

    /// Launches the call. Returns whether the slot has a runner for it; if not, the caller spawns one, or finds a thread.
    #[inline]
    pub(crate) fn fill(&self, identity: CallInfo, task: BoxedTask) -> bool {
        let slot = self.slot();
        let mut entry = slot.lock();
        entry.identity = Some(identity);
        entry.task = Some(task);
        slot.state.transition_to_live();
        if !self.is_async {
            return false;
        }
        match &entry.runner {
            // Under the lock: this is the runtime's own waker, and runs no user code.
            Some(runner) => {
                runner.wake_by_ref();
                true
            }
            None => {
                entry.runner = Some(Waker::noop().clone());
                false
            }
        }
    }

    /// Takes the task to run it: the call begins. Returns `None` if the task was taken before, or the slot is another call's.
    pub(crate) fn start(&self) -> Option<BoxedTask> {
        let mut entry = self.slot().lock();
        let state = self.state().load_of(self.generation)?;
        if state.starts_at_once() {
            entry.task.take()
        } else {
            self.slot().take_task(state, &mut entry)
        }
    }

    /// Does the same for the slot's runner: begins whatever call the slot has, and makes this reference that call's. The slot
    /// keeps the waker `runner`; with `None` the runner leaves.
    #[inline]
    pub(crate) fn start_next(
        &mut self,
        runner: Option<&Waker>,
    ) -> Option<(BoxedTask, &'static Handler)> {
        let mut replaced = None;
        let slot = &self.chunk.slots[self.slot as usize % CHUNK];
        let mut entry = slot.lock();
        // A task's waker stays the same for as long as the task lives.
        let is_known = match (&entry.runner, runner) {
            (Some(known), Some(runner)) => known.will_wake(runner),
            _ => false,
        };
        if !is_known {
            replaced = std::mem::replace(&mut entry.runner, runner.cloned());
        }
        let state = slot.state.load();
        let handler = entry.identity?.handler;
        if handler.runs_as() != Kind::Async {
            return None;
        }
        let task = if state.starts_at_once() {
            entry.task.take()?
        } else {
            slot.take_task(state, &mut entry)?
        };
        drop(entry);
        // After the lock: dropping a waker may drop the runtime's task.
        drop(replaced);
        self.generation = state.generation();
        self.finishes = handler.finishes();
        self.log = handler.log();
        Some((task, handler))
    }

    /// Does the same as [`start`](Self::start) for a runtime's task that runs only this call, and is woken by `runner`.
    pub(crate) fn start_alone(&self, runner: &Waker) -> Option<BoxedTask> {
        let mut entry = self.slot().lock();
        let state = self.state().load_of(self.generation)?;
        let task = self.slot().take_task(state, &mut entry)?;
        let replaced = entry.runner.replace(runner.clone());
        drop(entry);
        // After the lock: dropping a waker may drop the runtime's task.
        drop(replaced);
        Some(task)
    }

    /// Stops the wait for a policy, so that the body may begin. Returns `false` if the call has been abandoned.
    pub(crate) fn stop_waiting(&self) -> bool {
        if self.has(Snapshot::waits) {
            // Under the lock, under which the deadline retires the call: the thread that retires it then finds it counted as
            // one that no longer waits.
            let entry = (!broken!("counted_while_waiting")).then(|| self.slot().lock());
            if self.state().transition_to_admitted(self.generation) {
                self.chunk.counters.stops_waiting();
                return true;
            }
            drop(entry);
        }
        !self.has(Snapshot::is_abandoned) || broken!("begins_though_abandoned")
    }
}

/// The slot's runner.
impl TaskRef {
    /// Returns whether the runner stays for the slot's next call. The caller acts on it before the present call ends.
    #[inline]
    pub(crate) fn keeps_runner(&self) -> bool {
        // During a drain all runners stay, because dismissing them takes time. They end after the report.
        let gate = &self.shared().gate;
        (is_warm(self.index()) || !gate.is_open()) && !gate.is_closed()
    }

    /// Removes the runner: the slot's next call needs another one.
    #[cold]
    pub(crate) fn dismiss_runner(&self) {
        let runner = self.slot().lock().runner.take();
        // After the lock: dropping a waker may drop the runtime's task.
        drop(runner);
    }
}

/// The handle, the tokens and the drain.
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
            ToDetached::Done => Some(self.slot().lock().task.take()),
        }
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
    pub(crate) fn note_cancelled(&self) {
        // Not under the lock, because `cancel` wakes the call.
        let Some(CallInfo { handler, id, .. }) = self.lock_live().map(|entry| entry.identity())
        else {
            return;
        };
        if let Some(policies) = handler.policies()
            && let Some(progress) = self.shared().policies.progress(policies, id)
        {
            progress.cancel();
        }
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

/// The end of the call.
impl TaskRef {
    /// Leaves the ended task to the holder of the handle and retires the call, or returns the task if nobody holds the handle.
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
        let membership = (before.is_in_group()).then(|| self.slot().lock().membership.take());
        let membership = membership.filter(|_| !broken!("membership_before_count"));
        self.retire(before, outcome, || self.identity(), || self.free_slot());
        // After the count: a thread that finds the group empty finds the call retired.
        drop(membership);
    }

    /// Retires a call that may still run, or that has not begun and never will. Adds to `ends` what observers are notified of after
    /// the lock. Returns the membership, which the caller drops after the lock, because it may wake any task.
    pub(super) fn abandon_locked(
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
            ends.push(self.slot().ended(entry, before, outcome));
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
        if before.is_not_awaited() {
            self.leave_counts(before);
            free();
            self.chunk.counters.end(outcome);
            return;
        }
        if before.waits() {
            self.leave_counts(before);
        }
        self.count_end(before, outcome, identity, free);
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
    fn free_slot(&self) {
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

    /// Notes for the report what the call is doing, as far as the state does not tell. The caller holds the lock of the entry.
    pub(super) fn note_doing(&self, entry: &Entry) {
        if entry.task.is_some() {
            self.set_queued();
            return;
        }
        let CallInfo { id, handler, .. } = entry.identity();
        let policies = (handler.policies()).filter(|policies| policies.retry.is_some());
        // The look-up takes two more locks under that of the entry. No entry is ever locked under those.
        let progress = policies.and_then(|own| self.shared().policies.progress(own, id));
        if progress.is_some_and(|progress| progress.doing() == Doing::Asleep) {
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
        });
    }
}

/// The notifications, each sent once and never under the lock.
impl TaskRef {
    /// Notifies observers of a call that is accepted and about to be launched.
    #[cold]
    pub(crate) fn notify_accepted(&self, call: &CallInfo) {
        let waits = self.has(Snapshot::is_wait_reported);
        self.shared().hooks.observers.notify_accepted(call, waits);
    }

    /// Notifies observers that the call no longer waits, if they know that it waits.
    pub(crate) fn notify_wait_over(&self) {
        if !self.has(Snapshot::is_wait_reported) {
            return;
        }
        let entry = self.slot().lock();
        // Under the lock, as long as the entry is this call's.
        let is_claimed = self.state().claim_wait_end(self.generation);
        let call = is_claimed.then(|| entry.identity());
        drop(entry);
        if let Some(call) = call {
            self.shared().hooks.observers.notify_wait_over(&call);
        }
    }

    /// Notifies observers that the first instruction is about to run, unless they know.
    #[cold]
    pub(crate) fn notify_started(&self) {
        let entry = self.slot().lock();
        // Under the lock, as long as the entry is this call's.
        if !self.state().claim_start(self.generation) {
            return;
        }
        let call = entry.identity();
        let waited = call.age();
        self.slot().set_waited(waited);
        drop(entry);
        self.shared().hooks.observers.notify_started(&call, waited);
    }

    /// Claims the right to notify observers of the end: for one thread, and not once the call has been retired.
    #[cold]
    pub(crate) fn claim_end(&self, outcome: Outcome) -> Option<Ended> {
        let entry = self.slot().lock();
        // Under the lock, as long as the entry is this call's.
        let before = self.state().claim_end(self.generation)?;
        Some(self.slot().ended(&entry, before, outcome))
    }

    /// Notifies observers and hooks of a call that was accepted and is not launched.
    #[cold]
    pub(crate) fn notify_discarded(&self, call: CallInfo) {
        let hooks = &self.shared().hooks;
        if hooks.any_at_the_end() {
            self.notify_accepted(&call);
            hooks.ended(&Ended {
                call,
                outcome: Outcome::Aborted,
                age: call.age(),
                waited: None,
                in_line: self.has(Snapshot::is_wait_reported),
            });
        }
    }
}

/// Wakes the task that awaits a handle. Its waker may run user code.
#[inline]
fn wake(joiner: Option<Waker>) {
    if let Some(joiner) = joiner {
        catch_and_ignore(|| joiner.wake());
    }
}

/// Dropping these may run user code that panics. The panic must reach neither the slot's next call nor the code that drops a
/// handle.
#[cold]
fn drop_ignoring_panics(extras: crate::tracker::slot::Extras) {
    catch_and_ignore(|| drop(extras));
}
