//! `rate = "100/s"`: at most so many starts in any window of that length.
//! Owns the recent starts of one key; must never know tasks or what starts.

use super::postponed::Postponed;
use crate::util::fmt::Exact;
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// `rate(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many starts a window may contain.
    pub limit: u32,
    /// The length of the window.
    pub per: Duration,
    /// A call that exceeds the rate is refused instead of waiting.
    pub refuses: bool,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = Exact(self.per).to_string();
        // "100/s" rather than "100/1s".
        let per = match per.strip_prefix('1') {
            Some(unit @ ("h" | "m" | "s" | "ms")) => unit,
            _ => &per,
        };
        if self.refuses {
            write!(f, "rate(limit = {}/{per}, overflow = refuse)", self.limit)
        } else {
            write!(f, "rate = {}/{per}", self.limit)
        }
    }
}

/// A window with less capacity than this is not shrunk.
const SMALL: usize = 64;

/// The starts of one key.
///
/// We do not use `governor`: the burst it allows comes on top of its steady rate, so a window may contain twice the limit, and
/// without a burst it would space out the first two calls. This window is exact, and uses tokio's clock, which tests can pause.
#[derive(Debug)]
pub(crate) struct Window {
    rate: Rate,
    /// The starts of the last window, at most [`Rate::limit`], oldest first. Those that waiting calls have reserved lie in the
    /// future.
    starts: Mutex<VecDeque<Instant>>,
    /// The attempts of durable jobs that found no free start.
    postponed: Mutex<Option<Box<Postponed>>>,
}

impl Window {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            starts: Mutex::default(),
            postponed: Mutex::default(),
        }
    }

    /// Reserves the next free start, at `now` or later, and returns it.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        let mut starts = self.lock();
        let start = self.next(&starts, now);
        if broken!("reserved_in_two_steps") {
            drop(starts);
            starts = self.lock();
        }
        self.push(&mut starts, start);
        start
    }

    /// Reserves `now`, if it is free. Returns whether it was.
    pub(crate) fn try_reserve(&self, now: Instant) -> bool {
        let mut starts = self.lock();
        let is_free = self.next(&starts, now) <= now;
        if is_free {
            self.push(&mut starts, now);
        }
        is_free
    }

    /// Reserves `now`, if it is free: for the attempt of a durable job, which waits in its queue.
    ///
    /// # Errors
    /// The pause before the next try, if it is not free.
    pub(crate) fn try_reserve_or_postpone(&self, now: Instant) -> Result<(), Duration> {
        let next = {
            let mut starts = self.lock();
            let next = self.next(&starts, now);
            if next <= now {
                self.push(&mut starts, now);
            }
            next
        };
        let mut postponed = self.postponed.lock();
        let postponed = postponed.get_or_insert_default();
        if next > now {
            return Err(postponed.pause(now, next - now));
        }
        postponed.start(now);
        Ok(())
    }

    /// Returns whether `now` is free, without reserving it.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        self.next(&self.lock(), now) <= now
    }

    /// Returns whether no start matters any more.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let starts = self.lock();
        starts
            .back()
            .is_none_or(|last| *last + self.rate.per <= now)
    }

    /// Returns the next free start: not before one that is already reserved, and at least one window after the start that is
    /// `limit` starts back.
    fn next(&self, starts: &VecDeque<Instant>, now: Instant) -> Instant {
        let after_last = starts.back().copied().unwrap_or(now);
        let window = match starts.front() {
            Some(first) if starts.len() >= self.rate.limit as usize => *first + self.rate.per,
            _ => now,
        };
        now.max(after_last).max(window)
    }

    /// Adds a start. Removes starts that are a window older: no later start comes before this one, so they limit none.
    fn push(&self, starts: &mut VecDeque<Instant>, start: Instant) {
        if let Some(newest_old) = start.checked_sub(self.rate.per) {
            // Two at a time, so that the queue shrinks although each call adds one, and no call has to remove many. The first is
            // always old enough if there are `limit` starts.
            for _ in 0..2 {
                if starts.front().is_some_and(|first| *first <= newest_old) {
                    starts.pop_front();
                }
            }
        }
        starts.push_back(start);
        if starts.capacity() > SMALL && starts.len() < starts.capacity() / 8 {
            starts.shrink_to(2 * starts.len());
        }
    }

    /// Held for a few moves of the queue. Nothing panics under it.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.starts.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: u32) -> Window {
        Window::new(Rate {
            limit,
            per: Duration::from_secs(1),
            refuses: false,
        })
    }

    #[test]
    fn starts_within_the_limit_are_immediate_and_the_rest_one_window_later() {
        let window = window(3);
        let now = Instant::now();
        let starts: Vec<_> = (0..7).map(|_| window.reserve(now) - now).collect();
        let seconds = [0, 0, 0, 1, 1, 1, 2].map(Duration::from_secs);
        assert_eq!(starts, seconds);
    }

    #[test]
    fn no_window_wherever_it_begins_contains_more_than_the_limit() {
        let window = window(5);
        let begin = Instant::now();
        let mut random = fastrand::Rng::with_seed(7);
        let mut now = begin;
        let mut starts = Vec::new();
        for _ in 0..500 {
            now += Duration::from_millis(random.u64(0..400));
            starts.push(window.reserve(now));
        }
        for (index, start) in starts.iter().enumerate() {
            let within = starts[index..]
                .iter()
                .take_while(|later| **later < *start + Duration::from_secs(1));
            assert!(within.count() <= 5);
        }
    }

    #[test]
    fn a_moment_that_is_not_free_is_not_reserved() {
        let window = window(1);
        let now = Instant::now();
        assert!(window.try_reserve(now));
        assert!(!window.try_reserve(now + Duration::from_millis(999)));
        assert!(!window.is_idle(now + Duration::from_millis(999)));
        assert!(window.is_idle(now + Duration::from_secs(1)));
        assert!(window.try_reserve(now + Duration::from_secs(1)));
    }
    #[test]
    fn only_the_starts_of_the_last_window_are_kept() {
        let window = window(10_000);
        let begin = Instant::now();
        for _ in 0..10_000 {
            assert!(window.try_reserve(begin));
        }
        let mut now = begin + Duration::from_secs(1);
        for _ in 0..20_000 {
            now += Duration::from_millis(10);
            assert!(window.try_reserve(now));
        }
        let starts = window.lock();
        assert!(starts.len() <= 101, "{}", starts.len());
        assert!(starts.capacity() <= 1024, "{}", starts.capacity());
    }
}
