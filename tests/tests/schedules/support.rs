//! The diary in which a scheduled run notes its start. Each function takes a state of its own type, so that it runs only where a
//! test provides that.

use bgtask::{Manager, ScheduleHandle, ScheduleInfo, ShutdownReport};
use bgtask_tests::record_events;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Records the events: each test lacks the state of all the others, and the manager reports that.
pub(crate) fn in_paused_time(test: impl AsyncFn(&Manager)) -> ShutdownReport {
    record_events();
    bgtask_tests::in_paused_time(test)
}

pub(crate) fn on_both_flavors(test: impl AsyncFn(&Manager)) {
    record_events();
    bgtask_tests::on_both_flavors(test);
}

/// Records the starts of the runs.
#[derive(Clone)]
pub(crate) struct Diary {
    pub(crate) begin: Instant,
    pub(crate) starts: Arc<Mutex<Vec<Instant>>>,
}

impl Diary {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            starts: Arc::default(),
        }
    }

    pub(crate) fn note(&self) -> usize {
        let mut starts = self.starts.lock().unwrap();
        starts.push(Instant::now());
        starts.len()
    }

    /// Returns the starts in whole seconds from the creation of the diary.
    pub(crate) fn seconds(&self) -> Vec<u64> {
        let starts = self.starts.lock().unwrap();
        starts
            .iter()
            .map(|start| (*start - self.begin).as_secs())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.lock().unwrap().len()
    }
}

/// Declares a type of state for each schedule: a schedule runs only where a test provides its type.
macro_rules! diaries {
    ($($name:ident),* $(,)?) => {$(
        #[derive(Clone)]
        struct $name($crate::support::Diary);
    )*};
}

pub(crate) use diaries;

pub(crate) fn info(manager: &Manager, name: &str) -> ScheduleInfo {
    let schedules = manager.schedules();
    assert_eq!(bgtask::schedules().len(), schedules.len());
    schedules
        .iter()
        .map(ScheduleHandle::info)
        .find(|info| info.name.ends_with(name))
        .unwrap_or_else(|| panic!("{name} in {schedules:?}"))
}
