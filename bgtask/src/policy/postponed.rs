//! When the attempts of jobs that found no permit, or no free start, try again.
//! Owns the times that are taken; must never know permits, starts or jobs.

use std::time::Duration;
use tokio::time::Instant;

/// No attempt tries again earlier, because another process may have a permit for the job.
const EARLIEST: Duration = Duration::from_millis(100);

/// The times at which the postponed attempts of one key try again: one after another. However many wait, few try per second, and each
/// try costs two statements.
///
/// While attempts start in quick succession, the tries follow as quickly, so that a permit that becomes free finds the next attempt.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    last_start: Option<Instant>,
    last_try: Option<Instant>,
}

impl Postponed {
    /// The shortest and the longest time between two tries.
    const GAPS: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

    /// Notes that an attempt starts.
    pub(super) fn start(&mut self, now: Instant) {
        self.last_start = Some(now);
    }

    /// Returns the pause of an attempt that could not start and cannot start before `earliest`.
    pub(super) fn pause(&mut self, now: Instant, earliest: Duration) -> Duration {
        let (shortest, longest) = Self::GAPS;
        // Half of the time without a start: some two tries for each start.
        let gap = self.last_start.map_or(longest, |start| {
            (now.duration_since(start) / 2).clamp(shortest, longest)
        });
        let next = now + earliest.max(EARLIEST);
        let next = self.last_try.map_or(next, |last| next.max(last + gap));
        self.last_try = Some(next);
        next - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(postponed: &mut Postponed, now: Instant, count: usize) -> Vec<Duration> {
        (0..count)
            .map(|_| postponed.pause(now, Duration::ZERO))
            .collect()
    }

    #[test]
    fn behind_a_long_run_few_attempts_try_per_second() {
        let now = Instant::now();
        let mut postponed = Postponed::default();
        postponed.start(now);
        let pauses = pauses(&mut postponed, now + Duration::from_secs(10), 3_000);
        assert_eq!(pauses[0], EARLIEST);
        let (_, longest) = Postponed::GAPS;
        assert!(pauses.windows(2).all(|two| two[1] - two[0] == longest));
    }

    #[test]
    fn behind_short_runs_the_attempts_try_as_quickly() {
        let now = Instant::now();
        let mut postponed = Postponed::default();
        postponed.start(now);
        let pauses = pauses(&mut postponed, now + Duration::from_millis(4), 100);
        let gap = Duration::from_millis(2);
        assert!(pauses.windows(2).all(|two| two[1] - two[0] == gap));
    }

    #[test]
    fn nothing_tries_before_it_can_start() {
        let now = Instant::now();
        let mut postponed = Postponed::default();
        let wait = Duration::from_secs(5);
        assert_eq!(postponed.pause(now, wait), wait);
        assert!(postponed.pause(now, Duration::ZERO) > wait);
    }

    #[test]
    fn after_a_time_without_tries_the_next_one_comes_early() {
        let now = Instant::now();
        let mut postponed = Postponed::default();
        pauses(&mut postponed, now, 3_000);
        let later = now + Duration::from_secs(3_600);
        assert_eq!(postponed.pause(later, Duration::ZERO), EARLIEST);
    }
}
