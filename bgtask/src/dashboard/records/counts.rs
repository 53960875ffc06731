//! The counts of one function: its outcomes, the calls it did not accept, and how long its calls waited and took.
//! Owns the atomics, so that counting takes no lock; must never know which function it is.

use super::histogram::{Histogram, Percentiles};
use crate::observe::Ended;
use crate::stats::Outcome;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

// Relaxed, all of them: each is a total for people to read, and orders no other memory.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    refused: AtomicU64,
    coalesced: AtomicU64,
    retries: AtomicU64,
    /// From the call to the end, over all calls that ended.
    took: Times,
    /// From the call to the first instruction, over all calls that began and ended.
    waited: Times,
}

/// A total.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Refused,
    Coalesced,
    Retries,
}

#[derive(Debug, Default)]
struct Times {
    count: AtomicU64,
    /// In nanoseconds, the sum for a hundred thousand connections would overflow after two days.
    total_micros: AtomicU64,
    longest_micros: AtomicU64,
    /// Some kilobytes, so only a function that was called has one.
    histogram: OnceLock<Box<Histogram>>,
}

/// The totals of one function.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    /// In the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    pub(crate) refused: u64,
    pub(crate) coalesced: u64,
    pub(crate) retries: u64,
    /// From the call to the end. `None` if no call has ended.
    pub(crate) took: Option<Spread>,
    /// From the call to the first instruction. `None` if no call has begun and ended.
    pub(crate) waited: Option<Spread>,
}

/// How some durations are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) mean: Duration,
    pub(crate) percentiles: Percentiles,
    pub(crate) longest: Duration,
}

impl Counts {
    pub(crate) fn add_one(&self, count: Count) {
        let count = match count {
            Count::Refused => &self.refused,
            Count::Coalesced => &self.coalesced,
            Count::Retries => &self.retries,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds calls that have ended with this outcome.
    pub(crate) fn add(&self, outcome: Outcome, ends: &[Ended]) {
        self.outcomes[outcome as usize].fetch_add(ends.len() as u64, Ordering::Relaxed);
        self.took.add(ends.iter().map(|end| end.age));
        self.waited.add(ends.iter().filter_map(|end| end.waited));
    }

    pub(crate) fn sums(&self) -> Sums {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Sums {
            outcomes: self.outcomes.each_ref().map(load),
            refused: load(&self.refused),
            coalesced: load(&self.coalesced),
            retries: load(&self.retries),
            took: self.took.spread(),
            waited: self.waited.spread(),
        }
    }
}

impl Times {
    fn add(&self, durations: impl Iterator<Item = Duration>) {
        // Add them up first, because there may be a million.
        let (mut count, mut total, mut longest) = (0, 0, 0);
        for duration in durations {
            let micros = micros(duration);
            self.histogram.get_or_init(Box::default).add(micros);
            count += 1;
            total += micros;
            longest = longest.max(micros);
        }
        if count > 0 {
            self.longest_micros.fetch_max(longest, Ordering::Relaxed);
            self.total_micros.fetch_add(total, Ordering::Relaxed);
            self.count.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn spread(&self) -> Option<Spread> {
        let load = |count: &AtomicU64| Duration::from_micros(count.load(Ordering::Relaxed));
        let mean = self.total_micros.load(Ordering::Relaxed);
        let mean = mean.checked_div(self.count.load(Ordering::Relaxed))?;
        let longest = load(&self.longest_micros);
        Some(Spread {
            mean: Duration::from_micros(mean),
            percentiles: self.histogram.get()?.percentiles(longest)?,
            longest,
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
