//! The bodies and counters that tests of several policies share.

use bgtask::{HandlerStats, Manager, background};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Sets its flag when it is dropped.
pub(crate) struct OnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[background(timeout = "5s", log = "off")]
pub(crate) async fn sleeps_within_five_seconds(seconds: u64, on_drop: OnDrop) -> u64 {
    sleep(Duration::from_secs(seconds)).await;
    drop(on_drop);
    seconds
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ScriptError {
    Passing,
    Lasting,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ScriptError {}

/// The result and the time of each attempt.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) results: Arc<Mutex<Vec<Result<u32, ScriptError>>>>,
    pub(crate) at: Arc<Mutex<Vec<Instant>>>,
}

impl Script {
    pub(crate) fn new(results: impl IntoIterator<Item = Result<u32, ScriptError>>) -> Self {
        let mut results: Vec<_> = results.into_iter().collect();
        results.reverse();
        Self {
            results: Arc::new(Mutex::new(results)),
            at: Arc::default(),
        }
    }

    pub(crate) fn next(&self) -> Result<u32, ScriptError> {
        self.at.lock().unwrap().push(Instant::now());
        self.results
            .lock()
            .unwrap()
            .pop()
            .expect("one attempt more")
    }

    pub(crate) fn attempts(&self) -> usize {
        self.at.lock().unwrap().len()
    }

    pub(crate) fn pauses(&self) -> Vec<u128> {
        let at = self.at.lock().unwrap();
        at.windows(2)
            .map(|pair| (pair[1] - pair[0]).as_millis())
            .collect()
    }
}

pub(crate) const PASSING: Result<u32, ScriptError> = Err(ScriptError::Passing);

/// The number of running bodies, and its maximum.
#[derive(Clone, Default)]
pub(crate) struct Gauge(pub(crate) Arc<(AtomicUsize, AtomicUsize)>);

pub(crate) struct Inside(pub(crate) Gauge);

impl Gauge {
    pub(crate) fn enter(&self) -> Inside {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Inside(self.clone())
    }

    pub(crate) fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns the statistics of one function.
pub(crate) fn stats_of(function: &str) -> HandlerStats {
    let all = bgtask::handler_stats();
    let own = all.iter().find(|stats| stats.name.ends_with(function));
    *own.unwrap()
}

pub(crate) fn adds_up(manager: &Manager) {
    let stats = manager.stats();
    assert_eq!(stats.accepted, stats.running + stats.ended());
}

/// Counts the runs; each waits at the gate.
#[derive(Clone, Default)]
pub(crate) struct Runs {
    pub(crate) count: Arc<AtomicU32>,
    pub(crate) gate: Arc<Notify>,
}

impl Runs {
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) async fn run(&self) -> u32 {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.notified().await;
        number
    }
}

#[background(coalesce(key = key), log = "off")]
pub(crate) async fn joins(key: String, runs: Runs) -> u32 {
    drop(key);
    runs.run().await
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings(pub(crate) u32);
