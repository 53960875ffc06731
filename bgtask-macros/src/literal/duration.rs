//! Durations as users write them: "500ms", "25s", "1m30s", "7d".

use std::time::Duration;

// Largest first, which is the order of the units within one duration.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses one or more numbers with a unit each, larger units first.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*milliseconds)?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

fn split_where(text: &str, boundary: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(boundary).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn accepts_numbers_with_units() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("25s", 25_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h30m5s250ms", 5_405_250),
            ("7d", 604_800_000),
            ("1d12h", 129_600_000),
        ] {
            assert_eq!(
                parse(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn rejects_everything_else() {
        for text in [
            "",
            "30",
            "s",
            "30 s",
            " 30s",
            "30s ",
            "30sec",
            "-1s",
            "1.5s",
            "1s1m",
            "1s1s",
            "5M",
            "3０s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
