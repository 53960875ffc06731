//! The pauses between attempts and between restarts: constant, linear or exponential, capped, with full jitter.
//! Arithmetic and a random number; knows nothing of who waits or for what.
//!
//! Not `backon`'s: its jitter is added to the pause, so that a pause is never shorter than without it, and may pass the cap;
//! and it has no linear growth.

use std::time::Duration;

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub shape: Shape,
    /// The pause after the first failure.
    pub base: Duration,
    /// No pause is longer.
    pub cap: Duration,
    /// Full jitter: anything from nothing to the whole pause, so that those who failed together do not come back together.
    pub jitter: bool,
}

/// How the pauses grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `base`, `base`, `base` …
    Constant,
    /// `base`, 2 × `base`, 3 × `base` …
    Linear,
    /// `base`, 2 × `base`, 4 × `base` …
    Exponential,
}

impl Backoff {
    /// The pause after the `failures`th failure in a row; the first is 1.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let longest = self.longest(failures);
        if self.jitter {
            longest.mul_f64(fastrand::f64())
        } else {
            longest
        }
    }

    /// The pause without jitter.
    fn longest(&self, failures: u32) -> Duration {
        let earlier = failures.saturating_sub(1);
        let factor = match self.shape {
            Shape::Constant => 1,
            Shape::Linear => earlier.saturating_add(1),
            Shape::Exponential => 1_u32.checked_shl(earlier).unwrap_or(u32::MAX),
        };
        self.base.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(shape: Shape) -> Vec<u64> {
        let backoff = Backoff {
            shape,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(1),
            jitter: false,
        };
        (1..=5)
            .map(|failures| backoff.pause(failures).as_millis() as u64)
            .collect()
    }

    #[test]
    fn pauses_grow_by_their_shape_up_to_the_cap() {
        assert_eq!(pauses(Shape::Constant), [200, 200, 200, 200, 200]);
        assert_eq!(pauses(Shape::Linear), [200, 400, 600, 800, 1000]);
        assert_eq!(pauses(Shape::Exponential), [200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn the_hundredth_failure_overflows_nothing() {
        let backoff = Backoff {
            shape: Shape::Exponential,
            base: Duration::MAX,
            cap: Duration::MAX,
            jitter: false,
        };
        assert_eq!(backoff.pause(100), Duration::MAX);
        assert_eq!(backoff.pause(u32::MAX), Duration::MAX);
    }

    #[test]
    fn full_jitter_uses_the_whole_pause_and_no_more() {
        let backoff = Backoff {
            shape: Shape::Constant,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(1),
            jitter: true,
        };
        let pauses: Vec<_> = (0..1000).map(|_| backoff.pause(1)).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)));
        // A thousand draws that all miss a tenth: once in 10^45 runs.
        assert!(
            pauses
                .iter()
                .any(|pause| *pause < Duration::from_millis(100))
        );
        assert!(
            pauses
                .iter()
                .any(|pause| *pause > Duration::from_millis(900))
        );
    }
}
