//! Durations in buckets of bounded number and bounded relative width, and their percentiles.
//! Owns the buckets; must never know what the durations are of.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each power of two is divided into this many buckets, so that a percentile is at most an eighth too high.
const PARTS: u64 = 8;

/// The logarithm of [`PARTS`].
const PART_BITS: u32 = PARTS.trailing_zeros();

/// The powers of two above the exact values: the last bucket begins at some 52 days.
const POWERS: usize = 40;

const BUCKETS: usize = PARTS as usize * (POWERS + 1);

// Relaxed, all of them: each is a count for people to read, and orders no other memory.
#[derive(Debug)]
pub(crate) struct Histogram([AtomicU64; BUCKETS]);

/// The durations that a half, nine tenths and 99 of a hundred do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percentiles {
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
    pub(crate) p99: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Histogram {
    pub(crate) fn add(&self, micros: u64) {
        self.0[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the percentiles of all durations, of which none is longer than `longest`. Returns `None` if there are none.
    pub(crate) fn percentiles(&self, longest: Duration) -> Option<Percentiles> {
        let counts = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        let all: u64 = counts.iter().sum();
        let at = |percent: u64| {
            // The rank of the duration, starting at 1.
            let rank = (u128::from(all) * u128::from(percent)).div_ceil(100);
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += u128::from(*count);
                seen >= rank
            });
            let upper = found.map_or(longest, |bucket| Duration::from_micros(upper(bucket)));
            upper.min(longest)
        };
        (all > 0).then(|| Percentiles {
            p50: at(50),
            p90: at(90),
            p99: at(99),
        })
    }
}

/// Returns the bucket of a value. Those below [`PARTS`] have one each.
fn bucket(value: u64) -> usize {
    let Some(power) = value.checked_ilog2().filter(|power| *power >= PART_BITS) else {
        return value as usize;
    };
    let shift = power - PART_BITS;
    let part = (value >> shift) - PARTS;
    let index = PARTS * u64::from(shift + 1) + part;
    (index as usize).min(BUCKETS - 1)
}

/// Returns the largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match power {
        0 => part,
        _ if bucket == BUCKETS - 1 => u64::MAX,
        power => ((PARTS + part + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_follow_each_other_and_are_at_most_an_eighth_wide() {
        let mut from = 0;
        for index in 0..BUCKETS - 1 {
            let to = upper(index);
            assert_eq!((bucket(from), bucket(to)), (index, index), "{from} to {to}");
            assert!(to - from <= from / PARTS, "{from} to {to}");
            from = to + 1;
        }
        assert!(Duration::from_micros(from) > Duration::from_secs(50 * 24 * 3600));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_percentiles_of_a_thousand_durations_are_at_most_an_eighth_too_high() {
        let histogram = Histogram::default();
        let longest = Duration::from_micros(1000);
        assert_eq!(histogram.percentiles(longest), None);
        (1..=1000).for_each(|micros| histogram.add(micros));
        let percentiles = histogram.percentiles(longest).unwrap();
        for (percentile, exact) in [
            (percentiles.p50, 500),
            (percentiles.p90, 900),
            (percentiles.p99, 990),
        ] {
            let micros = percentile.as_micros();
            assert!((exact..=exact + exact / 8).contains(&micros), "{micros}");
        }
    }

    #[test]
    fn no_percentile_exceeds_the_longest_duration() {
        let histogram = Histogram::default();
        histogram.add(1_000_000);
        let second = Duration::from_secs(1);
        let all = histogram.percentiles(second).unwrap();
        assert_eq!((all.p50, all.p90, all.p99), (second, second, second));
        // Longer than the last bucket begins.
        let year = Duration::from_secs(365 * 24 * 3600);
        histogram.add(year.as_micros() as u64);
        assert_eq!(histogram.percentiles(year).unwrap().p99, year);
    }
}
