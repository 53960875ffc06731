//! The engine: riverqueue's tables, its insertion, and our statements on its jobs. The only folder that names riverqueue.
//! Knows nothing of functions, leases or watchers.

/// The function whose jobs the triggers store, its queue and its attempts, for the texts of the triggers; see `followup`.
macro_rules! follow_function {
    () => {
        "bgtask_durable::deliver"
    };
}
macro_rules! follow_queue {
    () => {
        "bgtask-notify"
    };
}
macro_rules! follow_attempts {
    () => {
        20
    };
}

mod database;
mod entry;
mod examine;
mod insert;
#[cfg(feature = "dashboard")]
mod inspect;
mod minutes;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "dashboard")]
mod reading;
mod row;
mod schedule;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "live", feature = "dashboard"))]
mod ticket;
mod types;
mod url;
mod within;

use database::each;
pub(crate) use database::{Changes, Connection, Database};
#[cfg(feature = "dashboard")]
pub(crate) use inspect::{
    COUNTED, Candidates, Count, Dead, Detail, Held, LISTED, Listed, Page, QUEUES, Queue, Scheduled,
    Search, Worker, stored_key,
};
pub use riverqueue::sqlx;
pub(crate) use schedule::{
    RENAMED, ScheduleRow, ScheduleStep, ScheduleWrite, StepError, no_schedule,
};
pub(crate) use types::{
    Access, CRASH_LIMIT, Cancelled, Change, Claim, Claimed, Claims, DELIVERS, DELIVERY_ATTEMPTS,
    Ended, Error, JobOptions, NOTIFY, Record, Recorded, Rescued, SUSPECTS, Seen, Shown, Tables,
    WORKER, length, micros, time,
};
pub(crate) use url::without_password;
pub(crate) use within::Within;

use bgtask::durable::{CompleteError, EncodedJob, EnqueueError, Enqueued, JobError};
use insert::{InsertError, SetKind};
use riverqueue::{Client, JobArgs};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// The most jobs of one queue that a process may be set to run at once: as many as River allows.
pub(crate) const AT_ONCE_LIMIT: usize = riverqueue::QUEUE_NUM_WORKERS_MAX;

/// How often a queue is polled where the claims are woken by each write to the database: in case that fails.
#[cfg(feature = "sqlite")]
const POLL: Duration = Duration::from_millis(500);

/// The same where the database notifies of both. A notification may be missing: an insertion sends none if its process has just
/// sent one for the same queue, and that one may have been heard before this insertion was committed. Behind a pooler all are.
#[cfg(feature = "postgres")]
const POLL_BESIDE_NOTIFICATIONS: Duration = Duration::from_millis(200);

/// The shortest time between two notifications of one queue by a client that only stores. What comes sooner is found by the poll.
const NOTIFY_COOLDOWN: Duration = Duration::from_millis(1);

/// The one argument type of the engine: the encoded arguments of whichever function.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Arguments(Box<RawValue>);

impl JobArgs for Arguments {
    // No job has it: the hook sets the name of the function.
    const KIND: &'static str = "bgtask";
}

/// A client of the engine, which stores jobs.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    client: Client,
    database: Database,
}

impl Engine {
    pub(crate) fn storing(database: &Database) -> Result<Self, String> {
        let client = database
            .client()
            .hook(SetKind)
            .allow_unregistered_job_kinds()
            .fetch_cooldown(NOTIFY_COOLDOWN)
            .without_leader_election()
            .without_notifications()
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            database: database.clone(),
        })
    }

    /// Pauses a queue, or resumes it. The statement that claims reads this, and clients that wait are notified.
    pub(crate) async fn set_paused(&self, queue: &str, is_paused: bool) -> Result<(), JobError> {
        let failed = |error: &dyn std::fmt::Display| JobError::store(error.to_string());
        // Without it, the engine does not know a queue that no process has worked yet.
        let made = self.database.make_queue(queue).await;
        made.map_err(|error| failed(&error))?;
        let queues = self.client.queues();
        let set = if is_paused {
            queues.pause(queue).await
        } else {
            queues.resume(queue).await
        };
        set.map(drop).map_err(|error| failed(&error))
    }

    /// Stores jobs in a transaction of the program's.
    pub(crate) async fn insert_in(
        &self,
        mut transaction: Within<'_, '_>,
        jobs: Vec<EncodedJob>,
        trace: Option<&str>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        if let Err(error) = self.database.check(&mut transaction).await {
            return Err(match error {
                CompleteError::OtherDatabase => EnqueueError::OtherDatabase,
                error => EnqueueError::store(error.to_string()),
            });
        }
        let inserted = match transaction {
            #[cfg(feature = "sqlite")]
            Within::Sqlite(transaction) => {
                insert::insert_in(&self.client, transaction, jobs, trace).await
            }
            #[cfg(feature = "postgres")]
            Within::Postgres(transaction) => {
                insert::insert_in(&self.client, transaction, jobs, trace).await
            }
        };
        inserted.map_err(|error| match error {
            InsertError::Refused(error) => error,
            InsertError::Database(error) => self.database.error_within(&error),
        })
    }

    /// Stores jobs in one transaction.
    pub(crate) async fn insert(
        &self,
        jobs: Vec<EncodedJob>,
        trace: Option<&str>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        insert::insert(&self.client, jobs, trace)
            .await
            .map_err(|error| match error {
                InsertError::Refused(error) => error,
                InsertError::Database(error) => self.database.enqueue_error(&error),
            })
    }
}
