//! The notifications of a call's life: each sent once, and never under the lock.
//! Owns which thread sends one; knows nothing of the observers.

use crate::observe::Ended;
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::tracker::state::Snapshot;
use crate::tracker::task_ref::TaskRef;

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
        Some(self.slot().ended(&entry, before, outcome, self.shared()))
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
                is_waiting: self.has(Snapshot::is_wait_reported),
                fields: self.shared().fields_of(&call),
            });
        }
    }
}
