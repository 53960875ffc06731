//! The names of the metrics, and the recorder of the program, which it describes them to.
//! Must never know why something is counted.

use super::Count;
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const STORED: &str = "bgtask_jobs_stored_total";
const CLAIMED: &str = "bgtask_jobs_claimed_total";
const ENDED: &str = "bgtask_jobs_ended_total";
const RETRIES: &str = "bgtask_job_retries_total";
const RESCUED: &str = "bgtask_jobs_rescued_total";
const CRASHES: &str = "bgtask_job_crashes_total";
const FENCED: &str = "bgtask_job_ends_fenced_total";
const PARKED: &str = "bgtask_jobs_parked_total";
const OLDEST_WAITING: &str = "bgtask_jobs_oldest_waiting_seconds";
const PENDING: &str = "bgtask_job_ends_pending";
const PENDING_AGE: &str = "bgtask_job_ends_pending_age_seconds";
const BEAT_AGE: &str = "bgtask_worker_beat_age_seconds";

const COUNTERS: &[(&str, &str)] = &[
    (STORED, "Calls that this process has stored as jobs."),
    (CLAIMED, "Claims of jobs by this process."),
    (
        ENDED,
        "Jobs whose end this process has recorded, by outcome.",
    ),
    (
        RETRIES,
        "Failed attempts of this process that another attempt follows.",
    ),
    (
        RESCUED,
        "Jobs of dead processes that this process has made available.",
    ),
    (
        CRASHES,
        "Crashes that this process has counted: one for each job that ran in a process when it died.",
    ),
    (
        FENCED,
        "Ends of attempts of this process that were dropped, because the attempt no longer held its job.",
    ),
    (
        PARKED,
        "Jobs that this process has parked, because their arguments do not decode.",
    ),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    (
        OLDEST_WAITING,
        Unit::Seconds,
        "For how long the oldest waiting job of a queue could have run.",
    ),
    (
        PENDING,
        Unit::Count,
        "Ends of attempts that are not recorded yet.",
    ),
    (
        PENDING_AGE,
        Unit::Seconds,
        "For how long the oldest of the pending ends has been pending.",
    ),
    (
        BEAT_AGE,
        Unit::Seconds,
        "Time since the last beat of this process that the database has taken.",
    ),
];

static METADATA: Metadata<'static> = Metadata::new("bgtask", Level::INFO, None);

/// Everything that is counted.
pub(super) const COUNTS: [Count; 10] = [
    Count::Stored,
    Count::Claimed,
    Count::Done,
    Count::Dead,
    Count::Cancelled,
    Count::Retried,
    Count::Rescued,
    Count::Crashed,
    Count::Fenced,
    Count::Parked,
];

impl Count {
    /// Returns the metric, and the outcome if it has one.
    fn metric(self) -> (&'static str, Option<&'static str>) {
        match self {
            Count::Stored => (STORED, None),
            Count::Claimed => (CLAIMED, None),
            Count::Done => (ENDED, Some("done")),
            Count::Dead => (ENDED, Some("dead")),
            Count::Cancelled => (ENDED, Some("cancelled")),
            Count::Retried => (RETRIES, None),
            Count::Rescued => (RESCUED, None),
            Count::Crashed => (CRASHES, None),
            Count::Fenced => (FENCED, None),
            Count::Parked => (PARKED, None),
        }
    }
}

/// The gauges of all stores of this process.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) pending: usize,
    pub(super) pending_age: Duration,
    /// Absent without a store.
    pub(super) beat_age: Option<Duration>,
    pub(super) oldest_waiting: Vec<(String, Duration)>,
}

/// Runs `work` with the current recorder, to which it first describes the metrics and passes to `introduce` if it is a new one. The
/// recorder is code of the program's: a panic of it is logged.
pub(super) fn record(introduce: impl FnOnce(&dyn Recorder), work: impl FnOnce(&dyn Recorder)) {
    /// The address of the last recorder.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    let recorded = catch_unwind(AssertUnwindSafe(|| {
        metrics::with_recorder(|recorder| {
            let address = std::ptr::from_ref(recorder).cast::<()>().addr();
            // Relaxed: describing twice changes nothing.
            if KNOWN.swap(address, Ordering::Relaxed) != address {
                describe(recorder);
                introduce(recorder);
            }
            work(recorder);
        });
    }));
    if recorded.is_err() {
        tracing::error!(target: "bgtask", "the recorder of metrics panicked");
    }
}

fn describe(recorder: &dyn Recorder) {
    let name = KeyName::from_const_str;
    let text = SharedString::const_str;
    for (metric, description) in COUNTERS {
        recorder.describe_counter(name(metric), Some(Unit::Count), text(description));
    }
    for (metric, unit, description) in GAUGES {
        recorder.describe_gauge(name(metric), Some(*unit), text(description));
    }
}

/// Adds to a counter of one function. `more` may be 0: the counter is there then, so that its first increase is seen.
pub(super) fn add(recorder: &dyn Recorder, count: Count, function: &'static str, more: u64) {
    let (metric, outcome) = count.metric();
    let mut labels = vec![Label::from_static_parts("name", function)];
    labels.extend(outcome.map(|outcome| Label::from_static_parts("outcome", outcome)));
    let key = Key::from_parts(metric, labels);
    recorder.register_counter(&key, &METADATA).increment(more);
}

pub(super) fn set(recorder: &dyn Recorder, gauges: &Gauges) {
    let set = |key: Key, value: f64| recorder.register_gauge(&key, &METADATA).set(value);
    set(Key::from_static_name(PENDING), gauges.pending as f64);
    let age = gauges.pending_age.as_secs_f64();
    set(Key::from_static_name(PENDING_AGE), age);
    let age = gauges.beat_age.unwrap_or_default().as_secs_f64();
    set(Key::from_static_name(BEAT_AGE), age);
    for (queue, age) in &gauges.oldest_waiting {
        let label = Label::new("queue", queue.clone());
        let key = Key::from_parts(OLDEST_WAITING, vec![label]);
        set(key, age.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{Counter, Gauge, Histogram};
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    /// The descriptions of metrics: by name, the kind and the unit.
    #[derive(Default)]
    struct Described(Mutex<BTreeMap<String, [String; 3]>>);

    impl Described {
        fn add(&self, kind: &str, name: &KeyName, unit: Option<Unit>, text: &str) {
            let unit = match unit {
                Some(Unit::Count) => "",
                Some(unit) => unit.as_str(),
                None => panic!("{name:?} has no unit"),
            };
            let row = [kind, unit, text].map(str::to_owned);
            let before = crate::lock(&self.0).insert(name.as_str().to_owned(), row);
            assert_eq!(before, None, "{name:?} is described twice");
        }
    }

    impl Recorder for Described {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.add("counter", &name, unit, &text);
        }

        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.add("gauge", &name, unit, &text);
        }

        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            panic!("there is no histogram {name:?}");
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.check(key);
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.check(key);
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            panic!("there is no histogram {key:?}");
        }
    }

    impl Described {
        /// Notes the labels in place of the text.
        fn check(&self, key: &Key) {
            let labels: Vec<_> = key
                .labels()
                .map(|label| format!("`{}`", label.key()))
                .collect();
            let mut rows = crate::lock(&self.0);
            let row = rows.get_mut(key.name()).expect("it is described");
            row[2] = labels.join(", ");
        }
    }

    /// Returns the rows of the page's table: kind, unit and labels by the name of the metric.
    fn documented() -> BTreeMap<String, [String; 3]> {
        let page = include_str!("../../../docs/durable.md");
        let section = page
            .split("\n## ")
            .find(|part| part.starts_with("Metrics\n"));
        let rows = section
            .expect("the section")
            .lines()
            .filter_map(|line| line.strip_prefix("| `bgtask_")?.strip_suffix(" |"));
        let rows = rows.map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let [name, kind, unit, labels, _] = cells[..] else {
                panic!("{row} has other columns");
            };
            let name = format!("bgtask_{}", name.trim_end_matches('`'));
            (name, [kind, unit, labels].map(str::to_owned))
        });
        rows.collect()
    }

    #[test]
    fn the_page_lists_each_metric_with_its_kind_unit_and_labels() {
        let described = Described::default();
        describe(&described);
        for (name, [_, unit, text]) in crate::lock(&described.0).iter() {
            assert!(text.ends_with('.'), "{name}: {text}");
            assert_eq!(name.ends_with("_seconds"), unit == "seconds", "{name}");
        }
        for count in COUNTS {
            add(&described, count, "function", 0);
        }
        let gauges = Gauges {
            oldest_waiting: vec![("mail".to_owned(), Duration::ZERO)],
            ..Gauges::default()
        };
        set(&described, &gauges);
        assert_eq!(*crate::lock(&described.0), documented());
    }
}
