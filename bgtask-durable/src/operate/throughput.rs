//! How many attempts ended within the last hour and day. Plain data.
//! Must never know who counts.

use serde::Serialize;

/// How many minutes an hour and a day have.
pub(crate) const HOUR: i64 = 60;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The ends of attempts within some time; see [`Jobs::throughput`](crate::Jobs::throughput).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EndCounts {
    /// Jobs that are done.
    pub done: u64,
    /// Failed attempts that another attempt follows.
    pub retried: u64,
    /// Jobs that are dead.
    pub dead: u64,
}

impl EndCounts {
    pub(crate) fn new(done: u64, retried: u64, dead: u64) -> Self {
        Self {
            done,
            retried,
            dead,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.done += other.done;
        self.retried += other.retried;
        self.dead += other.dead;
    }
}

/// The ends of attempts in all processes; see [`Jobs::throughput`](crate::Jobs::throughput).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Throughput {
    /// Those of the last 60 minutes.
    pub last_hour: EndCounts,
    /// Those of the last 24 hours.
    pub last_day: EndCounts,
}

/// The ends of the last day by the minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minutes {
    /// The minute now, counted from 1970.
    pub(crate) now: i64,
    /// The minutes in which attempts ended, the earliest first.
    pub(crate) ended: Vec<(i64, EndCounts)>,
}

impl Minutes {
    /// Returns the ends of so many spans of so many minutes, the last of which ends with the minute now.
    pub(crate) fn spans(&self, number: usize, minutes: i64) -> Vec<EndCounts> {
        let mut spans = vec![EndCounts::default(); number];
        for (minute, ended) in &self.ended {
            // A clock that was set back leaves minutes to come.
            let age = self.now.saturating_sub(*minute).max(0) / minutes;
            let place = usize::try_from(age)
                .ok()
                .and_then(|age| number.checked_sub(age + 1));
            if let Some(span) = place.and_then(|place| spans.get_mut(place)) {
                span.add(*ended);
            }
        }
        spans
    }

    pub(crate) fn throughput(&self) -> Throughput {
        let within = |minutes| self.spans(1, minutes).first().copied().unwrap_or_default();
        Throughput {
            last_hour: within(HOUR),
            last_day: within(DAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, EndCounts, HOUR, Minutes};

    #[test]
    fn minutes_belong_to_the_spans_in_which_they_are() {
        let one = EndCounts::new(1, 0, 0);
        let minutes = Minutes {
            now: 10_000,
            ended: [10_000 - DAY, 10_001 - DAY, 9_940, 9_941, 10_000, 10_003]
                .map(|minute| (minute, one))
                .into(),
        };
        let of_hour = minutes.spans(60, 1);
        assert_eq!((of_hour[0].done, of_hour[59].done), (1, 2));
        let of_day = minutes.spans(24, HOUR);
        assert_eq!(
            (of_day[0].done, of_day[22].done, of_day[23].done),
            (1, 1, 3)
        );
        let throughput = minutes.throughput();
        assert_eq!(
            (throughput.last_hour.done, throughput.last_day.done),
            (3, 5)
        );
    }
}
