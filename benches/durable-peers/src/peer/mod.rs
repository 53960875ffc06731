//! The contestants, as the measurements use them. Must never know what is measured.

mod apalis_postgres;
mod apalis_sqlite;
mod durable;
mod every;
mod graphile;
mod river;
pub(crate) mod tables;

pub(crate) use durable::Durable;
pub(crate) use tables::Tables;

use crate::stats::now_us;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A contestant, by the name in the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a>(pub(crate) &'a str);

pub(crate) const BGTASK: Name<'static> = Name("bgtask");
pub(crate) const RIVER: Name<'static> = Name("riverqueue");
pub(crate) const APALIS: Name<'static> = Name("apalis");
pub(crate) const GRAPHILE: Name<'static> = Name("graphile_worker");

/// The argument of a job that does nothing.
pub(crate) const NOTHING: u64 = 0;
/// That of one that runs for longer than any measurement.
pub(crate) const SLEEP: u64 = 1;

/// How many bodies have begun in this process.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// The milliseconds from the call to the start of each body whose argument is a time.
static WAITED: Mutex<Vec<f64>> = Mutex::new(Vec::new());

/// The body of every job. Its argument is one of the above, or the time of its call in microseconds.
pub(crate) async fn body(argument: u64) {
    // Only counted.
    BEGUN.fetch_add(1, Ordering::Relaxed);
    match argument {
        NOTHING => {}
        SLEEP => tokio::time::sleep(Duration::from_secs(3_600)).await,
        called => {
            let waited = now_us().saturating_sub(called) as f64 / 1000.0;
            WAITED.lock().expect("nothing panics").push(waited);
        }
    }
}

/// Waits until so many bodies have begun in this process.
pub(crate) async fn until_begun(count: u64) {
    while BEGUN.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Returns what the bodies have waited since the last call of this, sorted, in milliseconds.
pub(crate) fn take_waited() -> Vec<f64> {
    let mut waited = std::mem::take(&mut *WAITED.lock().expect("nothing panics"));
    waited.sort_by(f64::total_cmp);
    waited
}

/// The queues of a process and how many jobs of each it runs at once.
pub(crate) struct Queues {
    pub(crate) count: usize,
    pub(crate) at_once: usize,
}

impl Queues {
    /// The names: the first is that of a job for which none is named.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| match number {
            0 => "default".to_owned(),
            number => format!("more{number}"),
        })
    }
}

/// What is asked of a contestant. It runs in a process of its own.
pub(crate) trait Peer: Clone + Send + Sync + Sized + 'static {
    /// Opens the database, and makes its tables. Runs no job before `start`.
    fn open(url: &str, queues: Queues) -> impl Future<Output = Self>;

    /// Stores one job.
    fn store(&self, argument: u64) -> impl Future<Output = ()> + Send;

    /// Stores one job in a transaction of the program's, which it begins and commits.
    fn store_within(&self, argument: u64) -> impl Future<Output = ()>;

    /// Stores jobs at once, as the contestant does it.
    fn store_at_once(&self, count: u64) -> impl Future<Output = ()>;

    /// Makes the table contain so many jobs that do nothing.
    fn fill(&self, count: u64) -> impl Future<Output = ()>;

    /// Begins to run jobs.
    fn start(&self) -> impl Future<Output = ()>;

    /// Counts the jobs whose end is in the database.
    fn ended(&self, stored: u64) -> impl Future<Output = u64>;
}

/// Something that is done with a contestant.
pub(crate) trait Measurement {
    fn with<P: Peer>(self, url: &str) -> impl Future<Output = ()>;
}

/// Does something with the contestant of this name.
pub(crate) async fn with(name: &str, url: &str, measurement: impl Measurement) {
    let is_postgres = url.starts_with("postgres");
    match Name(name) {
        BGTASK => measurement.with::<Durable>(url).await,
        RIVER => measurement.with::<river::River>(url).await,
        APALIS if is_postgres => measurement.with::<apalis_postgres::Apalis>(url).await,
        APALIS => measurement.with::<apalis_sqlite::Apalis>(url).await,
        GRAPHILE => measurement.with::<graphile::Graphile>(url).await,
        Name(other) => panic!("no contestant {other}"),
    }
}

/// Stores jobs a thousand at a time.
async fn in_thousands<F: Future<Output = ()>>(count: u64, store: impl Fn(u64) -> F) {
    let mut left = count;
    while left > 0 {
        let next = left.min(1_000);
        store(next).await;
        left -= next;
    }
}
