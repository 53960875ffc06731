//! The oldest of many calls, and the number of the others by function: output of bounded size for any number of calls.
//! Plain data; must never know where calls are kept or how they are shown.

use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::stats::TaskId;
use crate::util::fmt::Grouped;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::time::Instant;

/// How many functions a summary names.
const NAMED: usize = 8;

/// A collection of calls that keeps the oldest of them, each with a value.
pub(crate) struct Oldest<T> {
    limit: usize,
    /// The most recent of them is on top.
    kept: BinaryHeap<Kept<T>>,
    /// The number of calls of each function, by the address of its handler.
    counts: HashMap<usize, (&'static Handler, u64)>,
    /// The function of the last call, and how many of its calls are not in `counts` yet. Bursts are usually of one function.
    run: Option<(&'static Handler, u64)>,
}

struct Kept<T> {
    key: (Instant, TaskId),
    handler: &'static Handler,
    value: T,
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Kept<T> {}

impl<T> PartialOrd for Kept<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Kept<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<T> Oldest<T> {
    /// Keeps at most `limit` calls.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: BinaryHeap::with_capacity(limit),
            counts: HashMap::new(),
            run: None,
        }
    }

    /// Adds a call. Creates its value only if the call is among the oldest so far.
    pub(crate) fn add(&mut self, identity: &CallInfo, value: impl FnOnce() -> T) {
        let handler = identity.handler;
        match &mut self.run {
            Some((last, count)) if std::ptr::eq(*last, handler) => *count += 1,
            run => {
                let before = run.replace((handler, 1));
                self.count(before);
            }
        }
        let key = (identity.called(), identity.id);
        let kept = |value| Kept {
            key,
            handler,
            value,
        };
        if self.kept.len() < self.limit {
            self.kept.push(kept(value()));
        } else if let Some(mut latest) = self.kept.peek_mut()
            && key < latest.key
        {
            *latest = kept(value());
        }
    }

    fn count(&mut self, run: Option<(&'static Handler, u64)>) {
        if let Some((handler, count)) = run {
            let address = std::ptr::from_ref(handler) as usize;
            self.counts.entry(address).or_insert((handler, 0)).1 += count;
        }
    }

    /// Returns the kept values, oldest call first, each with its function, and a summary of the others.
    pub(crate) fn finish(mut self) -> (Vec<(&'static Handler, T)>, Others) {
        let last = self.run.take();
        self.count(last);
        let mut by_name: HashMap<_, u64> = HashMap::new();
        for (handler, count) in self.counts.values() {
            *by_name.entry(handler.name()).or_default() += count;
        }
        let kept = self.kept.into_sorted_vec();
        for call in &kept {
            if let Some(count) = by_name.get_mut(call.handler.name()) {
                *count -= 1;
            }
        }
        let mut others: Vec<_> = by_name
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        others.sort_unstable_by_key(|(name, count)| (Reverse(*count), *name));
        let kept = kept.into_iter().map(|call| (call.handler, call.value));
        (kept.collect(), Others(others))
    }
}

/// The number of unnamed calls of each function, the largest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others(pub(crate) Vec<(&'static str, u64)>);

impl Others {
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Others {
    /// `60 000 × refresh_cache, 39 950 × deliver`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        for (index, (name, count)) in all.iter().take(NAMED).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} × {name}", Grouped(*count))?;
        }
        match all.get(NAMED..) {
            Some(rest @ [_, ..]) => {
                let count = rest.iter().map(|(_, count)| count).sum();
                let (count, functions) = (Grouped(count), rest.len());
                write!(f, ", {count} calls of {functions} other functions")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_the_most_frequent_functions_and_counts_the_rest() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let counts = names.into_iter().zip([5_000, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
        let others = Others(counts.collect());
        assert_eq!(others.count(), 5_045);
        assert_eq!(
            others.to_string(),
            "5 000 × a, 9 × b, 8 × c, 7 × d, 6 × e, 5 × f, 4 × g, 3 × h, 3 calls of 2 other functions"
        );
    }
}
