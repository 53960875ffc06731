//! `rate = "100/s"`: at most so many starts in any window of that length.
//! Owns the times of the last starts of one key; knows nothing of tasks or of what is started.
//!
//! Not `governor`'s: what it lets through at once comes on top of what it lets through over the window, so that a window may
//! see twice the number; and without a burst it would keep the first two calls apart. This one is exact, and uses tokio's
//! clock, which tests can pause.

use crate::util::sync::{Mutex, broken};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// `rate(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many starts a window may see.
    pub limit: u32,
    /// The length of the window.
    pub per: Duration,
    /// A call past the rate is refused instead of waiting for its turn.
    pub refuses: bool,
}

/// The starts of one key.
#[derive(Debug)]
pub(crate) struct Window {
    rate: Rate,
    /// At most [`Rate::limit`], oldest first. May lie ahead: those are promised to calls that wait for them.
    /// Locked for a few moves of the queue.
    starts: Mutex<VecDeque<Instant>>,
}

impl Window {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            starts: Mutex::default(),
        }
    }

    /// When the next call may start, at the soonest `now`. That time is taken: each call gets one of its own.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        let mut starts = self.starts.lock();
        if broken!("reserved_in_two_steps") {
            let start = self.next(&starts, now);
            drop(starts);
            let mut starts = self.starts.lock();
            if starts.len() >= self.rate.limit as usize {
                starts.pop_front();
            }
            starts.push_back(start);
            return start;
        }
        let start = self.next(&starts, now);
        if starts.len() >= self.rate.limit as usize {
            starts.pop_front();
        }
        starts.push_back(start);
        start
    }

    /// Takes the present moment, if it is free.
    pub(crate) fn reserve_now(&self, now: Instant) -> bool {
        let mut starts = self.starts.lock();
        if self.next(&starts, now) > now {
            return false;
        }
        if starts.len() >= self.rate.limit as usize {
            starts.pop_front();
        }
        starts.push_back(now);
        true
    }

    /// Whether the present moment is free. It is not taken.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        self.next(&self.starts.lock(), now) <= now
    }

    /// Whether nothing that happened still matters.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let starts = self.starts.lock();
        starts
            .back()
            .is_none_or(|last| *last + self.rate.per <= now)
    }

    /// A start may not come before those already promised, nor within one window of the one that is `limit` starts back.
    fn next(&self, starts: &VecDeque<Instant>, now: Instant) -> Instant {
        let after_last = starts.back().copied().unwrap_or(now);
        let window = match starts.front() {
            Some(first) if starts.len() >= self.rate.limit as usize => *first + self.rate.per,
            _ => now,
        };
        now.max(after_last).max(window)
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
    fn what_the_window_holds_starts_at_once_and_the_rest_one_window_later() {
        let window = window(3);
        let now = Instant::now();
        let starts: Vec<_> = (0..7).map(|_| window.reserve(now) - now).collect();
        let seconds = [0, 0, 0, 1, 1, 1, 2].map(Duration::from_secs);
        assert_eq!(starts, seconds);
    }

    #[test]
    fn no_window_wherever_it_begins_sees_more_than_the_limit() {
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
    fn a_moment_that_is_not_free_is_not_taken() {
        let window = window(1);
        let now = Instant::now();
        assert!(window.reserve_now(now));
        assert!(!window.reserve_now(now + Duration::from_millis(999)));
        assert!(!window.is_idle(now + Duration::from_millis(999)));
        assert!(window.is_idle(now + Duration::from_secs(1)));
        assert!(window.reserve_now(now + Duration::from_secs(1)));
    }
}
