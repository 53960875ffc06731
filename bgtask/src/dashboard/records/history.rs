//! The recent calls of one function: how the last ones ended, why they failed, and which scheduled runs and pauses are open.
//! Owns the bounded lists; must never know the counts, or who reads the lists.

use super::groups::Groups;
use crate::fields::Fields;
use crate::observe::Ended;
use crate::stats::{Outcome, TaskId};
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How many ends are kept of calls that succeeded, and how many of others: so that successes never displace a failure.
pub(crate) const ENDS: usize = 50;

/// Of how many calls that sleep between two attempts the end of the sleep is known.
const PAUSES: usize = 1_000;

/// How many runs of a schedule that have not ended are known. Only with `overlap` is there more than one.
const RUNS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct History {
    /// The newest last, as in each list here.
    succeeded: VecDeque<End>,
    others: VecDeque<End>,
    pub(crate) groups: Groups,
    /// The messages of calls that have failed and not ended yet.
    messages: VecDeque<(TaskId, Arc<str>)>,
    /// When the next attempt of a call is due.
    pauses: HashMap<TaskId, Instant>,
    /// The runs of the schedule that have not ended.
    runs: VecDeque<TaskId>,
    /// The last run of the schedule that has ended.
    pub(crate) last_run: Option<End>,
}

/// The end of one call.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) id: TaskId,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) at: SystemTime,
    pub(crate) called_at: &'static Location<'static>,
    /// Why it did not succeed, if that is known.
    pub(crate) message: Option<Arc<str>>,
    pub(crate) fields: Fields,
}

impl History {
    /// Notes the message of a call that has failed. It is about to end, or has just ended.
    pub(crate) fn failed(&mut self, id: TaskId, message: Arc<str>) {
        let ended = self.others.iter_mut().rev().find(|end| end.id == id);
        match ended {
            Some(end) => {
                // The first message stands.
                end.message.get_or_insert(message);
            }
            None => push(&mut self.messages, (id, message), ENDS),
        }
    }

    /// Notes ends with this outcome. Only the last of them are visited, because there may be a million.
    pub(crate) fn ended(&mut self, outcome: Outcome, ends: &[Ended], at: SystemTime) {
        for end in &ends[ends.len().saturating_sub(ENDS)..] {
            self.one_ended(outcome, end, at);
        }
        if ends.len() > ENDS {
            // The deadline has retired them: none of these calls goes on.
            self.pauses.clear();
            self.runs.clear();
        }
    }

    fn one_ended(&mut self, outcome: Outcome, end: &Ended, at: SystemTime) {
        let id = end.call.id;
        let end = End {
            id,
            outcome,
            took: end.age,
            at,
            called_at: end.call.called_at,
            message: self.take_message(id),
            fields: end.fields.clone(),
        };
        // Most functions have neither retries nor a schedule.
        if !self.pauses.is_empty() {
            self.pauses.remove(&id);
        }
        if let Some(run) = self.runs.iter().position(|run| *run == id) {
            self.runs.remove(run);
            self.last_run = Some(end.clone());
        }
        match outcome {
            Outcome::Succeeded => push(&mut self.succeeded, end, ENDS),
            _ => push(&mut self.others, end, ENDS),
        }
    }

    fn take_message(&mut self, id: TaskId) -> Option<Arc<str>> {
        let mut messages = self.messages.iter();
        let found = messages.rposition(|(failed, _)| *failed == id)?;
        Some(self.messages.remove(found)?.1)
    }

    /// Notes that a call sleeps until `until`.
    pub(crate) fn backs_off(&mut self, id: TaskId, until: Instant) {
        if self.pauses.len() < PAUSES {
            self.pauses.insert(id, until);
        }
    }

    pub(crate) fn retried(&mut self, id: TaskId) {
        self.pauses.remove(&id);
    }

    /// Notes a run of the schedule.
    pub(crate) fn scheduled(&mut self, id: TaskId) {
        push(&mut self.runs, id, RUNS);
    }

    /// Returns when the next attempt of a call is due, if the call sleeps and the time is known.
    pub(crate) fn next_attempt(&self, id: TaskId) -> Option<Instant> {
        self.pauses.get(&id).copied()
    }

    /// Returns the kept ends, in no order.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &End> {
        self.succeeded.iter().chain(&self.others)
    }
}

/// Adds to a list of at most `limit` items.
fn push<T>(list: &mut VecDeque<T>, item: T, limit: usize) {
    if list.len() == limit {
        list.pop_front();
    }
    list.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Handler;
    use crate::observe::call_info::CallInfo;

    static HANDLER: Handler = Handler::for_tests("remembered");

    fn end(id: u64, outcome: Outcome) -> Ended {
        Ended {
            call: CallInfo::new(TaskId(id), &HANDLER, Location::caller()),
            outcome,
            age: Duration::from_millis(id),
            waited: None,
            is_waiting: false,
            fields: Fields::default(),
        }
    }

    fn ended(history: &mut History, id: u64, outcome: Outcome) {
        history.ended(outcome, &[end(id, outcome)], SystemTime::now());
    }

    fn messages(history: &History) -> Vec<Option<&str>> {
        let ends = history.ends();
        ends.map(|end| end.message.as_deref()).collect()
    }

    #[test]
    fn successes_do_not_displace_failures_and_both_are_bounded() {
        let mut history = History::default();
        ended(&mut history, 0, Outcome::Failed);
        (1..=1_000).for_each(|id| ended(&mut history, id, Outcome::Succeeded));
        let ids: Vec<_> = history.ends().map(|end| end.id.0).collect();
        assert_eq!(ids.len(), ENDS + 1);
        assert_eq!((ids[0], ids[ENDS - 1], ids[ENDS]), (951, 1_000, 0));
        (1_001..=2_000).for_each(|id| ended(&mut history, id, Outcome::Cancelled));
        assert_eq!(history.ends().count(), 2 * ENDS);
    }

    #[test]
    fn an_end_has_its_message_whichever_comes_first() {
        let mut history = History::default();
        history.failed(TaskId(1), "first".into());
        history.failed(TaskId(2), "second".into());
        ended(&mut history, 2, Outcome::Panicked);
        ended(&mut history, 1, Outcome::Failed);
        ended(&mut history, 3, Outcome::Aborted);
        history.failed(TaskId(3), "while it was dropped".into());
        history.failed(TaskId(3), "later".into());
        let expected = [Some("second"), Some("first"), Some("while it was dropped")];
        assert_eq!(messages(&history), expected);
        // Messages of calls that never end do not pile up.
        (10..1_000).for_each(|id| history.failed(TaskId(id), "lost".into()));
        assert_eq!(history.messages.len(), ENDS);
    }

    #[test]
    fn pauses_end_with_the_next_attempt_or_with_the_call() {
        let mut history = History::default();
        let due = Instant::now() + Duration::from_secs(4);
        (0..2_000).for_each(|id| history.backs_off(TaskId(id), due));
        assert_eq!(history.pauses.len(), PAUSES);
        assert_eq!(history.next_attempt(TaskId(7)), Some(due));
        history.retried(TaskId(7));
        ended(&mut history, 8, Outcome::Cancelled);
        for id in [7, 8, 1_500] {
            assert_eq!(history.next_attempt(TaskId(id)), None);
        }
    }

    #[test]
    fn a_million_calls_that_end_together_leave_nothing_behind() {
        let mut history = History::default();
        let ends: Vec<_> = (0..1_000).map(|id| end(id, Outcome::Aborted)).collect();
        (0..1_000).for_each(|id| history.backs_off(TaskId(id), Instant::now()));
        history.ended(Outcome::Aborted, &ends, SystemTime::now());
        assert_eq!(history.ends().count(), ENDS);
        assert!(history.pauses.is_empty());
    }

    #[test]
    fn the_last_run_of_a_schedule_is_the_one_that_ended_last() {
        let mut history = History::default();
        (1..=3).for_each(|id| history.scheduled(TaskId(id)));
        ended(&mut history, 2, Outcome::Succeeded);
        ended(&mut history, 1, Outcome::Failed);
        // A call by the program.
        ended(&mut history, 9, Outcome::Succeeded);
        let last = history.last_run.as_ref().unwrap();
        assert_eq!((last.id, last.outcome), (TaskId(1), Outcome::Failed));
        assert_eq!(history.runs, [TaskId(3)]);
    }
}
