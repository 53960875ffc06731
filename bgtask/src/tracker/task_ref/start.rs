//! A call from its reserved slot to its first instruction, and the slot's runner.
//! Owns the launch and the start; knows nothing of how a task is polled.

use crate::handler::{Handler, Kind};
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::task::BoxedTask;
use crate::tracker::chunk::{CHUNK, is_warm};
use crate::tracker::group_state::Membership;
use crate::tracker::state::Snapshot;
use crate::tracker::task_ref::TaskRef;
use crate::util::sync::broken;
use std::task::Waker;

impl TaskRef {
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
