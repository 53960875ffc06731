//! Counts the ends of attempts until they are stored: a completion costs an addition, and no statement.
//! Must never know a database.

use crate::metrics::Count;
use crate::operate::EndCounts;
use std::sync::atomic::{AtomicU64, Ordering};

/// The ends of this process that are not stored yet.
// Relaxed: each number stands for itself.
#[derive(Debug, Default)]
pub(crate) struct EndCounter {
    done: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
}

impl EndCounter {
    /// Counts an end, if this is one of those that are counted.
    pub(crate) fn count(&self, what: Count) {
        let counter = match what {
            Count::Done => &self.done,
            Count::Retried => &self.retried,
            Count::Dead => &self.dead,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts jobs that are dead with their process.
    pub(crate) fn count_dead(&self, number: u64) {
        self.dead.fetch_add(number, Ordering::Relaxed);
    }

    /// Takes what was counted, to be stored. `None` if nothing was.
    pub(crate) fn take(&self) -> Option<EndCounts> {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let ended = EndCounts::new(take(&self.done), take(&self.retried), take(&self.dead));
        (ended != EndCounts::default()).then_some(ended)
    }

    /// Takes back what could not be stored.
    pub(crate) fn give_back(&self, ended: EndCounts) {
        self.done.fetch_add(ended.done, Ordering::Relaxed);
        self.retried.fetch_add(ended.retried, Ordering::Relaxed);
        self.dead.fetch_add(ended.dead, Ordering::Relaxed);
    }
}
