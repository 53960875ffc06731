//! Rates as users write them: "100/s", "10/m", "5/30s".

use super::duration;
use std::time::Duration;

/// Parses a number, a slash, and a unit of time or a duration.
pub(crate) fn parse(text: &str) -> Option<(u32, Duration)> {
    let (limit, per) = text.split_once('/')?;
    if !limit.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let limit = limit.parse().ok().filter(|limit| *limit > 0)?;
    let per = match per.as_bytes().first()? {
        b'0'..=b'9' => duration::parse(per)?,
        _ => duration::parse(&format!("1{per}"))?,
    };
    (!per.is_zero()).then_some((limit, per))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn accepts_a_number_a_unit_or_a_duration() {
        for (text, limit, seconds) in [
            ("100/s", 100, 1),
            ("10/m", 10, 60),
            ("1/h", 1, 3600),
            ("5/1m30s", 5, 90),
        ] {
            assert_eq!(
                parse(text),
                Some((limit, Duration::from_secs(seconds))),
                "{text}"
            );
        }
        assert_eq!(parse("3/ms"), Some((3, Duration::from_millis(1))));
    }

    #[test]
    fn rejects_everything_else() {
        for text in [
            "", "100", "100/", "/s", "0/s", "1/0s", "-1/s", "+1/s", "1.5/s", "100 / s", "s/100",
            "1/s/s", "1/day",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
