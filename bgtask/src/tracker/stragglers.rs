//! The calls that were live at the shutdown deadline: the oldest of them, and a count of the others by function and state.
//! Plain data of bounded size, however many calls there are; knows nothing of where calls are kept or why they are late.

use crate::handler::Handler;
use crate::observe::call_info::LateTask;
use crate::report::{Straggler, StragglerGroup};
use crate::stats::{TaskId, TaskState};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

/// How many calls the report names.
const NAMED: usize = 100;

/// Collects late calls, one at a time.
#[derive(Debug, Default)]
pub(crate) struct LateTasks {
    /// A heap with the most recent call on top.
    oldest: BinaryHeap<Kept>,
    /// Counts of all late calls, by the address of the function's static and by state.
    counts: HashMap<(usize, TaskState), (&'static Handler, u64)>,
    /// The function and state of the call added last, and how many such calls `counts` does not have yet. Most calls come in
    /// runs.
    run: Option<(&'static Handler, TaskState, u64)>,
}

#[derive(Debug)]
struct Kept(LateTask);

impl Kept {
    fn key(&self) -> (Instant, TaskId) {
        let identity = &self.0.identity;
        (identity.called(), identity.id)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl LateTasks {
    pub(crate) fn add(&mut self, task: LateTask) {
        let LateTask {
            identity, state, ..
        } = task;
        match &mut self.run {
            Some((handler, same, count))
                if std::ptr::eq(*handler, identity.handler) && *same == state =>
            {
                *count += 1;
            }
            run => {
                let before = run.replace((identity.handler, state, 1));
                self.count(before);
            }
        }
        let task = Kept(task);
        if self.oldest.len() < NAMED {
            self.oldest.push(task);
        } else if let Some(mut latest) = self.oldest.peek_mut()
            && task < *latest
        {
            *latest = task;
        }
    }

    fn count(&mut self, run: Option<(&'static Handler, TaskState, u64)>) {
        if let Some((handler, state, count)) = run {
            let kind = (std::ptr::from_ref(handler) as usize, state);
            self.counts.entry(kind).or_insert((handler, 0)).1 += count;
        }
    }

    /// Returns the named calls, oldest first, and the counts of the others, largest first.
    pub(crate) fn finish(mut self) -> Stragglers {
        let last = self.run.take();
        self.count(last);
        let named = self.oldest.into_sorted_vec();
        // Group by name, because each instance of a generic function has its own static.
        let mut groups: HashMap<(&'static str, TaskState), u64> = HashMap::new();
        for ((_, state), (handler, count)) in self.counts {
            *groups.entry((handler.name(), state)).or_default() += count;
        }
        let count = groups.values().sum();
        for Kept(task) in &named {
            let kind = (task.identity.handler.name(), task.state);
            *groups.entry(kind).or_default() -= 1;
        }
        let mut further: Vec<_> = groups
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|((name, state), count)| StragglerGroup { name, state, count })
            .collect();
        further.sort_unstable_by_key(|group| (Reverse(group.count), group.name, group.state as u8));
        Stragglers {
            named: named
                .into_iter()
                .map(|Kept(task)| straggler(task))
                .collect(),
            further,
            count,
        }
    }
}

/// The late calls as the report shows them.
#[derive(Debug, Default)]
pub(crate) struct Stragglers {
    pub(crate) named: Vec<Straggler>,
    pub(crate) further: Vec<StragglerGroup>,
    /// The number of all late calls.
    pub(crate) count: u64,
}

fn straggler(task: LateTask) -> Straggler {
    let LateTask {
        identity,
        age,
        state,
        outcome,
        fields,
    } = task;
    Straggler {
        id: identity.id,
        name: identity.handler.name(),
        age,
        called_at: identity.called_at,
        takes_token: identity.handler.takes_token(),
        is_job: identity.handler.is_durable(),
        state,
        outcome,
        fields,
    }
}
