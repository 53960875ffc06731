//! The engine: riverqueue's tables, insertion and claims. The only folder that names riverqueue.
//! Knows nothing of functions, leases or watchers: it hands each claimed job over and lets others record its end.

/// The function whose jobs the triggers store, its queue and its attempts, for the texts of the triggers; see `followup`.
macro_rules! follow_function {
    () => {
        "bgtask_durable::followup::deliver"
    };
}
macro_rules! follow_queue {
    () => {
        "bgtask-notify"
    };
}
macro_rules! follow_attempts {
    () => {
        "20"
    };
}

mod database;
mod insert;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod schedule;
#[cfg(feature = "sqlite")]
mod sqlite;
mod types;
mod url;
mod within;

pub(crate) use database::{Changes, Connection, Database};
pub use riverqueue::sqlx;
pub(crate) use schedule::{ScheduleRow, ScheduleStep, ScheduleWrite, StepError};
pub(crate) use types::{
    Access, CRASH_LIMIT, Cancelled, Change, Claim, Claimed, DELIVERS, Ended, Error, NOTIFY, Record,
    Recorded, Rescued, SUSPECTS, Seen, WORKER, length, micros, time,
};
pub(crate) use url::without_password;
pub(crate) use within::Within;

use bgtask::durable::{CompleteError, EncodedJob, EnqueueError, Enqueued, JobError};
use insert::{InsertError, SetKind};
use riverqueue::{
    Client, Job, JobArgs, JobRow, QueueConfig, RunHandle, WorkContext, WorkOutcome, Worker, Workers,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The number of jobs of one queue that the engine runs at once, at most.
pub(crate) const AT_ONCE_LIMIT: usize = riverqueue::QUEUE_NUM_WORKERS_MAX;

/// How often a queue is polled where the claims are woken by each write to the database: in case that fails.
#[cfg(feature = "sqlite")]
const POLL: Duration = Duration::from_millis(500);

/// The same where the database notifies of both. A notification may be missing: an insertion sends none if its process has just
/// sent one for the same queue, and that one may have been heard before this insertion was committed. Behind a pooler all are.
#[cfg(feature = "postgres")]
const POLL_BESIDE_NOTIFICATIONS: Duration = Duration::from_millis(200);

/// The shortest time between two claims of one queue.
const COOLDOWN: Duration = Duration::from_millis(5);

/// The shortest time between two notifications of one queue by a client that only stores. What comes sooner is found by the poll.
const NOTIFY_COOLDOWN: Duration = Duration::from_millis(1);

/// Longer than any process runs.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The members of a job's metadata.
const FUNCTION: &str = "bgtask:function";
const KEEP: &str = "bgtask:keep";
const NOTIFY_TARGETS: &str = "bgtask:notify";
const TICK: &str = "bgtask:tick";
const TRACE: &str = "bgtask:trace";

/// The one argument type of the engine: the encoded arguments of whichever function.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Arguments(Box<RawValue>);

thread_local! {
    /// The functions of the client that is being built on this thread.
    static FUNCTIONS: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
}

impl JobArgs for Arguments {
    // No job has it: the hook sets the name of the function.
    const KIND: &'static str = "bgtask";

    fn kind_aliases() -> &'static [&'static str] {
        FUNCTIONS.get()
    }
}

pub(crate) type HandedOver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes a job that this process has claimed, and returns when the attempt's end is recorded or given up.
pub(crate) type HandOver = Arc<dyn Fn(Claimed) -> HandedOver + Send + Sync>;

struct Claims {
    database: Database,
    hand_over: HandOver,
}

impl Worker<Arguments> for Claims {
    type Error = Infallible;

    async fn work(&self, _: WorkContext, job: Job<Arguments>) -> Result<WorkOutcome, Infallible> {
        // As the statement of the claim returned it: to read it again would cost each job a statement.
        if let Some(claimed) = claimed(job.row, &self.database) {
            (self.hand_over)(claimed).await;
        }
        // The row has left `running` by now, or its fence drops what the engine writes on account of this.
        Ok(WorkOutcome::Complete)
    }
}

/// Returns what was claimed. `None` for a row that no claim returns: the lease gives it back.
fn claimed(mut row: JobRow, database: &Database) -> Option<Claimed> {
    Some(Claimed {
        claim: Claim {
            id: row.id,
            worker: row.attempted_by.pop()?,
            attempted_at: database.time_of_claim(row.attempted_at?),
        },
        function: row.kind,
        arguments: row.encoded_args,
        attempt: row.attempt.unsigned_abs(),
        max_attempts: row.max_attempts.unsigned_abs(),
        trace: row.metadata.get(TRACE).ok().flatten(),
        queue: row.queue,
        tick: row.metadata.get(TICK).ok().flatten(),
    })
}

/// One client of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    client: Client,
    database: Database,
}

/// The jobs that a worker claims.
pub(crate) struct Work<'a> {
    /// The worker id in the rows that it claims.
    pub(crate) id: String,
    pub(crate) functions: &'static [&'static str],
    /// Each queue, with the number of jobs that run at once.
    pub(crate) queues: &'a BTreeMap<String, usize>,
    pub(crate) hand_over: HandOver,
}

impl Engine {
    /// Returns a client that stores jobs and claims none.
    pub(crate) fn storing(database: &Database) -> Result<Self, String> {
        let client = database
            .client()
            .hook(SetKind)
            .allow_unregistered_job_kinds()
            .fetch_cooldown(NOTIFY_COOLDOWN)
            .without_leader_election()
            .without_notifications()
            .build();
        Self::of(client, database).map_err(|error| error.to_string())
    }

    /// Returns a client that stores jobs, and claims those of these functions once it is started.
    pub(crate) fn working(database: &Database, work: Work<'_>) -> Result<Self, String> {
        Self::build(database, work).map_err(|error| error.to_string())
    }

    fn build(database: &Database, work: Work<'_>) -> Result<Self, riverqueue::Error> {
        let mut workers = Workers::new();
        FUNCTIONS.set(work.functions);
        let added = workers
            .add::<Arguments, _>(Claims {
                database: database.clone(),
                hand_over: work.hand_over,
            })
            .map(drop);
        FUNCTIONS.set(&[]);
        added?;
        let mut builder = database
            .claiming_client()
            .id(work.id)
            .hook(SetKind)
            .allow_unregistered_job_kinds()
            .fetch_only_known_kinds(true)
            .fetch_cooldown(COOLDOWN)
            .without_job_timeout()
            // An attempt is a task of ours, which ends when its body does: nothing to report, and nothing to abort.
            .job_stuck_threshold(NEVER)
            // River's leader rescues by age, discards jobs of unknown functions and deletes by its own retention.
            .without_leader_election()
            .workers(workers);
        if !database.notifies() {
            builder = builder.without_notifications();
        }
        for (queue, limit) in work.queues {
            let config = QueueConfig::new(*limit).with_fetch_poll_interval(database.poll());
            builder = builder.queue(queue, config);
        }
        Self::of(builder.build(), database)
    }

    fn of(
        client: Result<Client, riverqueue::Error>,
        database: &Database,
    ) -> Result<Self, riverqueue::Error> {
        Ok(Self {
            client: client?,
            database: database.clone(),
        })
    }

    pub(crate) fn start(&self) -> Result<Claiming, String> {
        let started = self.client.start();
        let run = started.map_err(|error| error.to_string())?;
        Ok(Claiming {
            run,
            engine: self.clone(),
        })
    }

    /// Has each queue of a started client claimed from, as soon as the shortest time between two claims has passed.
    pub(crate) fn wake_claims(&self) {
        let poll = self.database.poll();
        let queues = self.client.local_queues();
        for (name, config) in queues.configs() {
            // The engine claims when the settings of a queue change, and its interface has no other way to ask for a claim. So they
            // change, by as little as possible.
            let changed = if config.fetch_poll_interval() == poll {
                poll + Duration::from_millis(1)
            } else {
                poll
            };
            // An error says that the queue is gone.
            let _ = queues.update(&name, config.with_fetch_poll_interval(changed));
        }
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

/// A client that claims jobs, until this is stopped.
#[derive(Debug)]
pub(crate) struct Claiming {
    run: RunHandle,
    pub(crate) engine: Engine,
}
impl Claiming {
    /// Ends the claims. Jobs that were claimed run on.
    pub(crate) fn stop_claims(&self) {
        self.run.stopper().stop();
    }

    /// Ends the client, whatever it still holds.
    pub(crate) fn give_up(self) {
        self.run.stopper().stop_and_cancel();
        self.run.detach();
    }

    /// Waits until the client has ended, which it does by itself only if it fails.
    pub(crate) async fn ended(&mut self) -> Result<(), String> {
        self.run.wait().await.map_err(|error| error.to_string())
    }
}
