//! The test kit's store: the jobs of one test, in memory, with the semantics of the databases.
//! Knows no SQL and no lease: there is one process, and it ends with its jobs.

mod memory;
mod operate;
mod row;
mod schedule;

pub use crate::followup::Delivered;
use crate::jobs::Jobs;
use crate::settings::Role;
use bgtask::durable::Host;
pub(crate) use memory::{Claimed, Memory};
use std::any::Any;
use std::sync::Arc;

/// Opens a store in memory for the current test. `#[bgtask::test(durable)]` calls this before the first line of the test.
///
/// Its jobs run on the runtime of the test, and its clock is that of `tokio::time`: with `start_paused`, the pause before an
/// attempt and `after(…)` take no time. [`bgtask::testing::idle()`] waits for the jobs, too, and a job that is dead fails the
/// test unless its outcome was awaited or its failure declared. [`jobs()`] returns the store's jobs, and so does
/// [`open()`](crate::open()) in the code under test.
///
/// `within` and `complete_in` take effect at once, whether or not their transaction commits: for a test of that, open a database
/// in a temporary folder instead.
///
/// # Examples
/// ```
/// # macro_rules! never_run { ($($tokens:tt)*) => {} }
/// #[bgtask::background(durable, retry(max = 3))]
/// async fn send_receipt(order: u64) -> Result<String, std::io::Error> {
///     Ok(format!("receipt of order {order}"))
/// }
///
/// # never_run! {
/// #[bgtask::test(durable, start_paused = true)]
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// async fn a_receipt_is_sent() {
/// #   let kit = bgtask::testing::Kit::install().unwrap();
/// #   bgtask_durable::testing::open();
///     let job = send_receipt(7).await.unwrap();
///     let _ = bgtask::testing::assert_enqueued(send_receipt, 1);
///     assert_eq!(job.outcome().await.unwrap(), "receipt of order 7");
/// #   kit.finish().await;
/// }
/// # a_receipt_is_sent();
/// ```
///
/// # Panics
/// Where no manager can be found, and if it has a store.
#[track_caller]
pub fn open() {
    let host = match Host::current() {
        Ok(host) => host,
        Err(error) => panic!("the store of the test cannot be opened: {error}"),
    };
    if Memory::open(&host).is_err() {
        panic!("the store of the test cannot be opened: its manager has a store already");
    }
}

/// Returns the jobs of the current test.
///
/// # Panics
/// Where no manager can be found, and if the test has no store: put `durable` on `#[bgtask::test(…)]`.
#[must_use]
#[track_caller]
pub fn jobs() -> Jobs {
    match of_test() {
        Some(memory) => Jobs::new(memory.clone(), memory, Role::Both, None),
        None => panic!("this test has no store of durable jobs: write `#[bgtask::test(durable)]`"),
    }
}

/// Returns what the current test has delivered at the ends of its jobs, in the order of the deliveries.
///
/// No webhook and no e-mail leaves a test: each counts as delivered at once, and stands here with its target. The notifiers of the program
/// are called: those that the code under test, or the test, gives to `bgtask_durable::builder().notifier(…).open()`.
/// [`bgtask::testing::idle()`] waits for deliveries, too.
///
/// # Panics
/// Where no manager can be found, and if the test has no store: put `durable` on `#[bgtask::test(…)]`.
#[must_use]
#[track_caller]
pub fn delivered() -> Vec<Delivered> {
    match of_test() {
        Some(memory) => memory.channels.delivered(),
        None => panic!("this test has no store of durable jobs: write `#[bgtask::test(durable)]`"),
    }
}

/// Returns the store of the current test, if there is one.
#[track_caller]
pub(crate) fn of_test() -> Option<Arc<Memory>> {
    let store: Arc<dyn Any + Send + Sync> = Host::current().ok()?.store()?;
    store.downcast().ok()
}
