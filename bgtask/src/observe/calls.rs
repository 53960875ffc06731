//! The notifications of a call's life that the observers receive together.
//! Owns their order; knows nothing of how a thread claims the right to send one.

use crate::observe::call_info::CallInfo;
use crate::observe::{Ended, Observers};
use std::ptr;
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

    /// Notifies of the ends of calls, once per function and outcome. Sorts `ends` by these two.
    pub(crate) fn notify_all_ended(&self, ends: &mut [Ended]) {
        let kind = |end: &Ended| (ptr::from_ref(end.call.handler).addr(), end.outcome as u8);
        ends.sort_unstable_by_key(kind);
        for group in ends.chunk_by(|one, next| kind(one) == kind(next)) {
            // Separately: an observer that panics at one group is notified of the others.
            if let [first, ..] = group {
                let (handler, outcome) = (first.call.handler, first.outcome);
                self.notify(|observer| observer.all_ended(handler, outcome, group));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;
    use crate::handler::Handler;
    use crate::observe::Observer;
    use crate::stats::{Outcome, TaskId};
    use crate::util::sync::unmodelled::Mutex;
    use std::panic::Location;
    use std::sync::Arc;

    static ONE: Handler = Handler::for_tests("one");
    static OTHER: Handler = Handler::for_tests("other");

    /// Records each group, and panics at the first.
    #[derive(Default)]
    struct Groups(Mutex<Vec<(&'static str, Outcome, usize)>>);

    impl Observer for Groups {
        fn name(&self) -> &'static str {
            "groups"
        }

        fn all_ended(&self, handler: &'static Handler, outcome: Outcome, ends: &[Ended]) {
            for end in ends {
                assert_eq!(
                    (end.call.handler.name(), end.outcome),
                    (handler.name(), outcome)
                );
            }
            let mut groups = self.0.lock();
            groups.push((handler.name(), outcome, ends.len()));
            assert!(groups.len() > 1, "the first group");
        }
    }

    #[test]
    fn observers_are_notified_of_retired_calls_once_per_function_and_outcome() {
        let end = |id: u64| Ended {
            call: CallInfo::new(
                TaskId(id),
                if id.is_multiple_of(2) { &ONE } else { &OTHER },
                Location::caller(),
            ),
            outcome: match id % 4 {
                3 => Outcome::Abandoned,
                _ => Outcome::Aborted,
            },
            age: Duration::ZERO,
            waited: None,
            is_waiting: false,
            fields: Fields::default(),
        };
        let (observers, groups) = (Observers::default(), Arc::new(Groups::default()));
        observers.add(groups.clone());
        let mut ends: Vec<_> = (0..4_000).map(end).collect();
        observers.notify_all_ended(&mut ends);
        let mut groups = groups.0.lock().clone();
        groups.sort_unstable_by_key(|(name, outcome, _)| (*name, *outcome as u8));
        let expected = [
            ("one", Outcome::Aborted, 2_000),
            ("other", Outcome::Aborted, 1_000),
            ("other", Outcome::Abandoned, 1_000),
        ];
        assert_eq!(groups, expected);
    }
}
