//! The visits of all slots of a chunk: for snapshots, reports, groups and the deadline.
//! Owns how a slot is checked and locked on the way; knows nothing of who visits, or what for.

use crate::fields::Fields;
use crate::observe::Ended;
use crate::observe::call_info::CallInfo;
use crate::stats::{TaskInfo, TaskState};
use crate::task::Notes;
use crate::tracker::chunk::Chunk;
use crate::tracker::group_state::{GroupState, Membership};
use crate::tracker::slot::{Entry, Slot};
use crate::tracker::state::{ReportKind, Snapshot};
use crate::tracker::task_ref::TaskRef;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

impl Chunk {
    /// Iterates over the live calls of this chunk, each in its state at that moment. With a `report`, leaves out the calls for
    /// which it must not be logged (again).
    pub(crate) fn live(&self, report: Option<ReportKind>) -> impl Iterator<Item = Live<'_>> {
        let is_included =
            move |state: &Snapshot| report.is_none_or(|report| state.is_reportable(report));
        self.slots.iter().filter_map(move |slot| {
            slot.live().filter(is_included)?;
            let entry = slot.lock();
            // Check again under the lock, under which the slot's next call writes the entry.
            let state = slot.live()?;
            Some(Live {
                slot,
                generation: state.generation(),
                identity: entry.identity?,
                is_queued: entry.task.is_some(),
            })
        })
    }

    /// Visits each ended call whose output the holder of the handle has not received: the call, the notes of its task, and whether
    /// the holder awaited the call before it ended. Each visit is under the lock of a slot.
    pub(crate) fn for_each_unclaimed(&self, visit: &mut dyn FnMut(CallInfo, &mut Notes, bool)) {
        for slot in &self.slots {
            let mut entry = slot.lock();
            // Load under the lock, under which the output is put into the entry and taken from it.
            let state = slot.state.load();
            let call = entry.identity;
            if state.is_unclaimed()
                && let (Some(call), Some(task)) = (call, &mut entry.task)
            {
                visit(call, task.as_mut().notes(), state.has_joined());
            }
        }
    }

    /// Retires the calls on the blocking pool at the deadline, because they cannot be stopped, and notes what each call was
    /// doing. Adds to `wakers` the runners of the others: a task is dropped when it is polled.
    pub(crate) fn expire(self: &Arc<Self>, wakers: &mut Vec<Waker>, ends: &mut Vec<Ended>) {
        self.for_each_awaited(|task_ref, entry| {
            if task_ref.is_async {
                task_ref.note_doing(entry);
                // Cloned under the lock, woken after it. The runtime will poll a new runner by itself.
                wakers.extend(entry.runner.clone());
                None
            } else {
                task_ref.abandon_locked(entry, ends)
            }
        });
    }

    /// Retires the remaining calls, except those that wait for the drain.
    pub(crate) fn abandon(self: &Arc<Self>, ends: &mut Vec<Ended>) {
        self.for_each_awaited(|task_ref, entry| task_ref.abandon_locked(entry, ends));
    }

    /// Returns the live calls of this chunk that are members of `group` or of a group nested in it.
    pub(crate) fn members(self: &Arc<Self>, group: &GroupState) -> Vec<TaskRef> {
        let slots = self.slots.iter().enumerate();
        let members = slots.filter_map(|(index, slot)| {
            // Most calls are no members, and cost no lock.
            slot.live().filter(|state| state.is_in_group())?;
            let entry = slot.lock();
            // Check again under the lock, under which the slot's next call writes the entry.
            let state = slot.live()?;
            let is_member = entry.membership.as_ref()?.group_state().is_within(group);
            let handler = entry.identity?.handler;
            is_member.then(|| TaskRef::new(self, index, state.generation(), handler))
        });
        members.collect()
    }

    /// Returns the wakers of this chunk's runners. Once the gate has closed, an idle runner that is woken ends.
    pub(crate) fn runners(&self) -> Vec<Waker> {
        let runners = self.slots.iter().map(|slot| slot.lock().runner.clone());
        runners.flatten().collect()
    }

    /// Visits the live calls that the drain waits for. Locks each entry once, because there may be a million of them. Drops the
    /// membership that a visit returns after the lock.
    fn for_each_awaited(
        self: &Arc<Self>,
        mut visit: impl FnMut(&TaskRef, &mut Entry) -> Option<Membership>,
    ) {
        let awaited = |slot: &Slot| slot.live().filter(|state| state.is_awaited());
        for (index, slot) in self.slots.iter().enumerate() {
            if awaited(slot).is_none() {
                continue;
            }
            let mut entry = slot.lock();
            // Check again under the lock, under which the slot's next call writes the entry.
            if let (Some(state), Some(identity)) = (awaited(slot), entry.identity) {
                let task_ref = TaskRef::new(self, index, state.generation(), identity.handler);
                let membership = visit(&task_ref, &mut entry);
                drop(entry);
                drop(membership);
            }
        }
    }
}

/// A live call, as a visit of all calls finds it.
pub(crate) struct Live<'a> {
    slot: &'a Slot,
    generation: u32,
    pub(crate) identity: CallInfo,
    /// The task has not begun.
    pub(crate) is_queued: bool,
}

impl Live<'_> {
    /// Returns what the tracker knows of the call.
    pub(crate) fn info(&self, now: Instant) -> TaskInfo {
        let CallInfo {
            id,
            handler,
            called_at,
            ..
        } = self.identity;
        TaskInfo {
            id,
            name: handler.name(),
            state: if self.is_queued {
                TaskState::Queued
            } else {
                TaskState::Running
            },
            age: self.identity.age_at(now),
            called_at,
            attempt: 1,
            file: handler.file(),
            line: handler.line(),
            fields: Fields::default(),
            #[cfg(feature = "durable")]
            job: None,
        }
    }

    /// Claims the right to log a report of the call. Returns `false` if it was logged before, or the call has ended since.
    pub(crate) fn claim(&self, report: ReportKind) -> bool {
        self.slot.state.claim_report(self.generation, report)
    }
}
