//! Durations and counts as lines, tables and options show them.
//! Must never know what is measured.

use std::fmt;
use std::time::Duration;

/// A duration as an option is written, exact to the millisecond: `1m30s`.
pub(crate) struct Exact(pub(crate) Duration);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, milliseconds) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let count = left / milliseconds;
            left %= milliseconds;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A duration as event fields show it, in the largest unit that fits: `1.5s`, `230.0ms`.
#[derive(Debug)]
pub(crate) struct Rounded(pub(crate) Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?}", self.0)
    }
}

/// A duration to a tenth of a second: `59.9 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// A duration for people, coarser the longer it is: `59.9 s`, `59m 59s`, `1day 1h`.
pub(crate) struct Coarse(pub(crate) Duration);

impl fmt::Display for Coarse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = self.0.as_secs();
        let rounded = match seconds {
            ..MINUTE => return Seconds(self.0).fmt(f),
            MINUTE..HOUR => seconds,
            HOUR..DAY => seconds - seconds % MINUTE,
            _ => seconds - seconds % HOUR,
        };
        humantime::format_duration(Duration::from_secs(rounded)).fmt(f)
    }
}

/// A number with its digits in groups of three: `1 234 567`.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(' ');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1 000"),
            (99_950, "99 950"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }

    #[test]
    fn longer_durations_are_coarser() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.94, "59.9 s"),
            (60.5, "1m"),
            (3_599.0, "59m 59s"),
            (3_661.0, "1h 1m"),
            (90_061.0, "1day 1h"),
        ] {
            assert_eq!(Coarse(Duration::from_secs_f64(seconds)).to_string(), text);
        }
    }
}
