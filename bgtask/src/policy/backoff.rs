//! The pauses between attempts and between restarts: constant, linear or exponential, capped, with full jitter.
//! Owns the arithmetic; must never know who waits or for what.

use crate::util::fmt::Exact;
use std::fmt;
use std::time::Duration;

/// The pause before the next attempt.
///
/// We do not use `backon`: it adds its jitter to the pause, so a pause is never shorter and may exceed the cap, and it has no
/// linear growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub shape: Shape,
    /// The pause after the first failure.
    pub base: Duration,
    /// No pause is longer.
    pub cap: Duration,
    /// Full jitter: a random part of the pause, so that calls that failed together do not retry together.
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

/// Writes the options that follow `max = …`, each after a comma.
impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Exponential => {}
            Shape::Constant => f.write_str(", backoff = constant")?,
            Shape::Linear => f.write_str(", backoff = linear")?,
        }
        if self.base != Duration::from_millis(200) {
            write!(f, ", base = {}", Exact(self.base))?;
        }
        if self.cap != Duration::from_secs(30) {
            write!(f, ", cap = {}", Exact(self.cap))?;
        }
        if self.jitter {
            f.write_str(", jitter")?;
        }
        Ok(())
    }
}

impl Backoff {
    /// Checks the constants of an attribute.
    ///
    /// # Panics
    /// If the first pause is longer than the longest.
    #[track_caller]
    pub const fn checked(self) -> Self {
        assert!(
            self.base.as_nanos() <= self.cap.as_nanos(),
            "`base` is longer than `cap`, and no pause is: raise `cap` or lower `base`"
        );
        self
    }

    /// Returns the pause after the `failures`th failure in a row. The first is 1.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let longest = self.longest(failures);
        if self.jitter {
            longest.mul_f64(fastrand::f64())
        } else {
            longest
        }
    }

    /// Returns the pause without jitter.
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
    fn many_failures_do_not_overflow() {
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
        // A thousand draws all miss one tenth of the range once in 10^45 runs.
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
