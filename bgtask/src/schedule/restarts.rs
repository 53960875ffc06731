//! The restarts of one start-up task within their window. Must never know tasks.

use crate::policy::Restart;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Restarts {
    at: VecDeque<Instant>,
}

impl Restarts {
    /// Returns the pause before the next restart, or `None` if the window contains no further one.
    pub(super) fn next(&mut self, restart: &Restart, now: Instant) -> Option<Duration> {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= restart.window;
        while self.at.front().is_some_and(is_old) {
            self.at.pop_front();
        }
        if self.at.len() >= restart.max as usize {
            return None;
        }
        self.at.push_back(now);
        Some(restart.backoff.pause(self.at.len() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Backoff, Shape};

    #[test]
    fn restarts_are_counted_within_their_window() {
        let restart = Restart {
            max: 2,
            window: Duration::from_secs(60),
            backoff: Backoff {
                shape: Shape::Linear,
                base: Duration::from_secs(1),
                cap: Duration::from_secs(10),
                jitter: false,
            },
            always: false,
        };
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        let mut next = |second| {
            let pause = restarts.next(&restart, begin + Duration::from_secs(second));
            pause.map(|pause| pause.as_secs())
        };
        assert_eq!(next(0), Some(1));
        assert_eq!(next(10), Some(2));
        assert_eq!(next(59), None);
        assert_eq!(next(60), Some(2), "the first has left the window");
        assert_eq!(next(200), Some(1));
    }
}
