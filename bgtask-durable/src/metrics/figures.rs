//! The figures of one store: what has happened to its jobs, and which ends are pending.
//! Owns what is counted under which name. The gauges are those of all stores of the process.

use super::Count;
use super::recorder::{COUNTS, Gauges, add, record, set};
use crate::engine::{Database, Rescued};
use crate::health::Health;
use crate::lock;
use bgtask::durable::{EncodedJob, Enqueued, Function};
use metrics::Recorder;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often the gauges are set.
const SHOW: Duration = Duration::from_secs(1);

/// How often the database is read for them: some index look-ups for each queue.
const READ: Duration = Duration::from_secs(2);

/// The label of functions that this process does not have, so that the labels are bounded.
const OTHER: &str = "other";

/// The open stores of this process.
// Locked for a copy or a change, never while the recorder runs.
static STORES: Mutex<Vec<Weak<Store>>> = Mutex::new(Vec::new());

/// The figures of one store.
#[derive(Clone, Debug)]
pub(crate) struct Figures(Arc<Store>);

#[derive(Debug)]
struct Store {
    /// The names of the functions by those under which their jobs are stored.
    names: HashMap<&'static str, &'static str>,
    pending: Mutex<Ends>,
    health: Arc<Health>,
    /// For how long the oldest job of each queue has waited, when it was last read.
    oldest_waiting: Mutex<BTreeMap<String, Duration>>,
}

/// The ends that are not recorded yet, each with the time since when. Their numbers grow, so the first is the oldest.
#[derive(Debug, Default)]
struct Ends {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// Jobs that are about to be stored: their functions.
pub(crate) struct Storing {
    figures: Figures,
    functions: Vec<&'static str>,
}

/// An end that is not recorded yet.
pub(crate) struct Pending(Arc<Store>, u64);

impl Figures {
    pub(crate) fn new(functions: &HashMap<&'static str, Function>, health: &Arc<Health>) -> Self {
        let names = functions
            .iter()
            .map(|(stored, function)| (*stored, function.name()));
        let store = Arc::new(Store {
            names: names.collect(),
            pending: Mutex::default(),
            health: health.clone(),
            oldest_waiting: Mutex::default(),
        });
        {
            let mut stores = lock(&STORES);
            stores.retain(|store| store.strong_count() > 0);
            stores.push(Arc::downgrade(&store));
        }
        record(introduce, |recorder| store.introduce(recorder));
        Self(store)
    }

    /// Counts something of a job of this function, by the name under which it is stored.
    pub(crate) fn count(&self, count: Count, function: &str) {
        self.add(count, function, 1);
    }

    fn add(&self, count: Count, function: &str, more: u64) {
        let name = self.0.names.get(function).copied().unwrap_or(OTHER);
        record(introduce, |recorder| add(recorder, count, name, more));
    }

    /// Counts the jobs of a process that has died.
    pub(crate) fn count_rescued(&self, rescued: &Rescued) {
        for (function, crashed) in &rescued.functions {
            self.add(Count::Crashed, function, crashed.available + crashed.dead);
            self.add(Count::Rescued, function, crashed.available);
            self.add(Count::Dead, function, crashed.dead);
        }
    }

    /// Notes the functions of jobs that are about to be stored.
    pub(crate) fn storing(&self, jobs: &[EncodedJob]) -> Storing {
        Storing {
            figures: self.clone(),
            functions: jobs.iter().map(|job| job.function).collect(),
        }
    }

    /// Counts an end as pending until this is dropped.
    pub(crate) fn pending(&self) -> Pending {
        let mut ends = lock(&self.0.pending);
        let number = ends.next;
        ends.next += 1;
        ends.since.insert(number, Instant::now());
        Pending(self.0.clone(), number)
    }

    /// Shows the gauges, as long as it is polled.
    pub(crate) async fn show(self, database: Database, queues: Vec<String>) -> Infallible {
        let read = async {
            loop {
                // If the database is away, the last figures stay.
                if let Ok(read) = database.oldest_waiting(&queues).await {
                    *lock(&self.0.oldest_waiting) = read.into_iter().collect();
                }
                sleep(READ).await;
            }
        };
        let show = async {
            loop {
                show_gauges();
                sleep(SHOW).await;
            }
        };
        let (never, _): (Infallible, Infallible) = tokio::join!(read, show);
        match never {}
    }

    /// Takes this store out of the gauges.
    pub(crate) fn close(&self) {
        lock(&STORES).retain(|store| !std::ptr::eq(store.as_ptr(), &*self.0));
        let queues: Vec<_> = lock(&self.0.oldest_waiting).keys().cloned().collect();
        let gone = Gauges {
            oldest_waiting: queues
                .into_iter()
                .map(|queue| (queue, Duration::ZERO))
                .collect(),
            ..Gauges::default()
        };
        record(introduce, |recorder| set(recorder, &gone));
        // Those of the other stores.
        show_gauges();
    }
}

impl Storing {
    /// Counts the jobs that were stored, of which there is one result each.
    pub(crate) fn count(self, stored: &[Enqueued]) {
        let mut counts = BTreeMap::<_, u64>::new();
        for (function, job) in self.functions.into_iter().zip(stored) {
            if !job.is_duplicate {
                *counts.entry(function).or_default() += 1;
            }
        }
        for (function, count) in counts {
            self.figures.add(Count::Stored, function, count);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        lock(&self.0.pending).since.remove(&self.1);
    }
}

impl Store {
    /// Shows the counters at zero before anything is counted: a query for an increase would miss the first one otherwise.
    fn introduce(&self, recorder: &dyn Recorder) {
        for name in self.names.values() {
            for count in COUNTS {
                add(recorder, count, name, 0);
            }
        }
    }
}

fn stores() -> Vec<Arc<Store>> {
    lock(&STORES).iter().filter_map(Weak::upgrade).collect()
}

fn introduce(recorder: &dyn Recorder) {
    for store in stores() {
        store.introduce(recorder);
    }
}

/// Sets the gauges to the figures of all stores of this process.
fn show_gauges() {
    let now = Instant::now();
    let mut gauges = Gauges::default();
    let mut oldest_waiting = BTreeMap::<_, Duration>::new();
    for store in stores() {
        {
            let ends = lock(&store.pending);
            gauges.pending += ends.since.len();
            if let Some((_, since)) = ends.since.first_key_value() {
                gauges.pending_age = gauges
                    .pending_age
                    .max(now.saturating_duration_since(*since));
            }
        }
        gauges.beat_age = gauges.beat_age.max(Some(store.health.silent_for()));
        for (queue, waits) in lock(&store.oldest_waiting).iter() {
            let longest = oldest_waiting.entry(queue.clone()).or_default();
            *longest = waits.max(longest).to_owned();
        }
    }
    gauges.oldest_waiting = oldest_waiting.into_iter().collect();
    record(introduce, |recorder| set(recorder, &gauges));
}
