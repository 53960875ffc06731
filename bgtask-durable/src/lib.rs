//! The store and the workers of bgtask's `durable` functions: calls that survive the process.
//!
//! ```no_run
//! use bgtask::background;
//!
//! #[background(durable, timeout = "2m")]
//! async fn send_receipt(order: u64) -> std::io::Result<String> {
//!     Ok(format!("receipt of order {order}"))
//! }
//!
//! #[bgtask::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     bgtask_durable::open().await?;
//!     let job = send_receipt(7).await?; // stored: it runs, also if this process dies now
//!     println!("{}", job.outcome().await?);
//!     Ok(())
//! }
//! ```
//!
//! [`open()`] uses the database in `BGTASK_DATABASE_URL`, or `sqlite://bgtask.db`, which it creates. The process then stores jobs
//! and works on them. Several processes on one machine may share the file. With the feature `postgres` the URL may be that of a
//! Postgres database, which any number of machines may share.
//!
//! **What is promised.** Once a call is stored, its end is recorded exactly once, whatever happens to any one process. The body
//! runs at least once. It may run twice, and only the attempt that holds the job can record anything.
//!
//! [docs/durable.md] has every option, what is not promised, and what is not there yet, and [docs/durable-notify.md] what may follow the
//! end of a job: webhooks, e-mails, channels of the program.
//!
//! [docs/durable-notify.md]: https://github.com/bgtask/bgtask/blob/main/docs/durable-notify.md
//! [docs/durable.md]: https://github.com/bgtask/bgtask/blob/main/docs/durable.md
// On docs.rs, each item shows the feature that its `#[cfg]` names.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!(
    "bgtask-durable needs a database: leave its default feature `sqlite` on, or turn `postgres` on"
);

// The fixtures of the tests name the crate as other programs do.
#[cfg(test)]
extern crate self as bgtask_durable;

mod backend;
mod builder;
#[cfg(feature = "dashboard")]
pub mod dashboard;
mod deliver;
mod ended;
mod engine;
mod error;
mod followup;
mod health;
mod holding;
#[cfg(feature = "dashboard")]
mod inspected;
mod jobs;
mod lease;
#[cfg(test)]
mod mechanisms;
mod metrics;
#[cfg(feature = "live")]
pub mod notify;
mod operate;
mod operator;
mod schedule;
pub mod service;
mod settings;
mod stored;
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(feature = "live")]
mod ticket;
mod trace;
mod transaction;
mod unattached;
mod watch;
mod worker;

/// The sqlx whose transactions are those of `within` and `complete_in`.
pub use engine::sqlx;
pub use error::OpenError;
pub use followup::{Custom, JobEnd, Notification, Notifier, NotifyError, Undeliverable};
#[cfg(feature = "email")]
pub use followup::{Email, email};
#[cfg(feature = "webhook")]
pub use followup::{Webhook, webhook};
pub use jobs::Jobs;
pub use operate::{
    AttemptError, Diagnosis, Edit, EndCounts, Filter, JobContent, JobDetails, Migrated, QueueInfo,
    QueueStats, ScheduleInfo, Stats, Throughput, WorkerInfo,
};
pub use settings::{Builder, Role, Synchronous};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Opens the database in `BGTASK_DATABASE_URL`, or `sqlite://bgtask.db`, makes it the store of the current manager, and starts
/// to work on its jobs.
///
/// # Errors
/// If the database cannot be opened, or the manager has a store or is shutting down.
///
/// # Panics
/// Where no manager can be found: outside of a tokio runtime.
pub async fn open() -> Result<Jobs, OpenError> {
    builder().open().await
}

/// Opens the database at this URL, whatever `BGTASK_DATABASE_URL` is; see [`open()`].
///
/// # Errors
/// Those of [`open()`].
///
/// # Panics
/// Where no manager can be found: outside of a tokio runtime.
pub async fn open_at(url: impl Into<String>) -> Result<Jobs, OpenError> {
    builder().url(url).open().await
}

/// Works on the jobs of the database in `BGTASK_DATABASE_URL`, or `sqlite://bgtask.db`, until the shutdown: the whole `main` of a
/// worker. Provide what the durable functions take as `State<_>` before.
///
/// # Examples
/// ```no_run
/// # #[derive(Clone)]
/// # struct Mailer;
/// #[bgtask::main]
/// async fn main() -> Result<(), bgtask_durable::OpenError> {
///     bgtask::provide(Mailer);
///     bgtask_durable::work().await
/// }
/// ```
///
/// # Errors
/// Those of [`open()`], and [`OpenError::NothingToWork`] if no durable function is linked into the program.
///
/// # Panics
/// Where no manager can be found: outside of a tokio runtime.
pub async fn work() -> Result<(), OpenError> {
    builder().work().await
}

/// The pause after a failed statement.
const PAUSE: Duration = Duration::from_millis(200);

/// Locks a mutex and ignores poisoning, because nothing panics under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the settings to open a database with.
pub fn builder() -> Builder {
    Builder::default()
}
