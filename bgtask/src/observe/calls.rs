//! The notifications of one call's life that the observers receive together.
//! Owns their order; knows nothing of how a thread claims the right to send one.

use crate::observe::call_info::CallInfo;
use crate::observe::{Ended, Observers};
use std::time::Duration;

impl Observers {
    /// Notifies of a call that is accepted and about to be launched. `waits`: one of its policies makes it wait.
    pub(crate) fn notify_accepted(&self, call: &CallInfo, waits: bool) {
        self.notify(|observer| observer.accepted(call));
        // Separately: an observer that panicked is notified too, because it will be notified of the end of the wait.
        if waits {
            self.notify(|observer| observer.starts_waiting(call));
        }
    }

    /// Notifies that the call no longer waits for a policy.
    pub(crate) fn notify_wait_over(&self, call: &CallInfo) {
        self.notify(|observer| observer.stops_waiting(call));
    }

    /// Notifies that the first instruction is about to run, and how long the call `waited` for it.
    pub(crate) fn notify_started(&self, call: &CallInfo, waited: Duration) {
        self.notify(|observer| observer.began(call, waited));
    }

    /// Notifies of the end of a call, after the end of its wait if it still waited.
    pub(crate) fn notify_end(&self, end: &Ended) {
        // Separately: an observer that panics at the one is notified of the other.
        if end.is_waiting {
            self.notify_wait_over(&end.call);
        }
        self.notify(|observer| observer.ended(end));
    }
}
