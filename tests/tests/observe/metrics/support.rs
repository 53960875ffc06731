//! The recorder of the process, and what one scrape of it shows.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub(crate) const SHORT: Duration = Duration::from_millis(100);

/// The labels of the outcomes.
pub(crate) const OUTCOMES: [&str; 7] = [
    "succeeded",
    "failed",
    "panicked",
    "timed_out",
    "cancelled",
    "aborted",
    "abandoned",
];

pub(crate) fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets(&[0.01, 1.0, 60.0])
        .unwrap()
}

/// Installs the recorder of the process.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| builder().install_recorder().unwrap())
}

/// One scrape: the name, the labels and the value of each series.
pub(crate) struct Scrape(pub(crate) Vec<(String, BTreeMap<String, String>, f64)>);

impl Scrape {
    pub(crate) fn of(handle: &PrometheusHandle) -> Self {
        let text = handle.render();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
                let (key, value) = label.split_once('=')?;
                Some((key.to_owned(), value.trim_matches('"').to_owned()))
            });
            Some((name.to_owned(), labels.collect(), value.parse().unwrap()))
        });
        Self(series.collect())
    }

    pub(crate) fn now() -> Self {
        Self::of(recorder())
    }

    pub(crate) fn find(&self, metric: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let fits = move |series: &BTreeMap<String, String>| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| series.get(*key).is_some_and(|label| label == value))
        };
        let found = self.0.iter();
        found.filter_map(move |(name, series, value)| {
            (name == metric && fits(series)).then_some(*value)
        })
    }

    /// Returns the sum over all series with these labels; there must be one at least.
    pub(crate) fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        assert!(
            self.has(metric, labels),
            "there is no {metric} with {labels:?}"
        );
        self.find(metric, labels).sum()
    }

    pub(crate) fn has(&self, metric: &str, labels: &[(&str, &str)]) -> bool {
        self.find(metric, labels).next().is_some()
    }

    pub(crate) fn started(&self, name: &str) -> f64 {
        self.sum("bgtask_tasks_started_total", &[("name", name)])
    }

    pub(crate) fn running(&self, name: &str) -> f64 {
        self.sum("bgtask_tasks_running", &[("name", name)])
    }

    pub(crate) fn waiting(&self, name: &str) -> f64 {
        self.sum("bgtask_tasks_waiting", &[("name", name)])
    }

    /// Returns the number of calls per outcome, without the outcomes that none has.
    pub(crate) fn finished(&self, name: &str) -> Vec<(&'static str, f64)> {
        let each = OUTCOMES.iter().map(|&outcome| {
            let labels = [("name", name), ("outcome", outcome)];
            (outcome, self.sum("bgtask_tasks_finished_total", &labels))
        });
        each.filter(|(_, count)| *count > 0.0).collect()
    }

    /// Returns how many calls have started, and how many of those have ended.
    pub(crate) fn started_and_ended(&self, name: &str) -> (f64, f64) {
        let count = |metric| self.find(metric, &[("name", name)]).sum();
        (
            count("bgtask_task_wait_seconds_count"),
            count("bgtask_task_duration_seconds_count"),
        )
    }

    pub(crate) fn managers(&self, state: &str) -> f64 {
        self.sum("bgtask_managers", &[("state", state)])
    }

    /// Asserts that every call has ended, and that the metrics show it.
    pub(crate) fn assert_all_ended(&self, name: &str, began: f64) {
        let finished: f64 = self.finished(name).iter().map(|(_, count)| count).sum();
        assert_eq!(finished, self.started(name), "{name}");
        assert_eq!(self.running(name), 0.0, "{name}");
        assert_eq!(self.started_and_ended(name), (began, began), "{name}");
    }
}

/// Excludes the other tests: each has a manager, and some tests count the managers.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    recorder();
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
