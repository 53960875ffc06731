//! What the statements write, observed in the tables, on each database.

mod complete;
mod fence;
mod follow;
#[cfg(feature = "dashboard")]
mod inspect;
mod lease;
mod operate;
mod pending;
mod rows;
mod schedule;

use crate::engine::{
    Access, CRASH_LIMIT, Cancelled, Claim, Claims, Database, Engine, Record, Recorded, Rescued,
    SUSPECTS, Within,
};
use bgtask::durable::{CompleteError, Failure, JobError, JobId, JobState, JobStatus, Progress};
use riverqueue::sqlx;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

#[path = "../tests/support/mod.rs"]
mod support;

use crate::mechanisms::Mechanism;
use support::{Scratch, http, on_each_database, transactions};

impl Scratch {
    async fn open(&self) -> Database {
        Database::open(self.url(), Access::default())
            .await
            .expect("the database opens")
    }
}

/// Runs a test in a runtime of its own.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(300), test).await;
        ended.expect("all that is awaited comes");
    });
}

/// A statement as another program may write it, for each database.
#[derive(Clone, Copy)]
struct Statement {
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "never run"))]
    sqlite: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "never run"))]
    postgres: &'static str,
}

impl Statement {
    const fn same(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }

    /// Returns the number of rows that it has changed.
    async fn run(self, database: &Database) -> u64 {
        #[cfg(feature = "sqlite")]
        if let Some(pool) = database.sqlite() {
            let changed = sqlx::query(self.sqlite).execute(pool).await;
            return changed.expect("it is tried").rows_affected();
        }
        #[cfg(feature = "postgres")]
        if let Some(pool) = database.postgres() {
            let changed = sqlx::query(self.postgres).execute(pool).await;
            return changed.expect("it is tried").rows_affected();
        }
        unreachable!("a database of another kind")
    }

    /// Returns its one value, as text.
    async fn read(self, database: &Database) -> Option<String> {
        #[cfg(feature = "sqlite")]
        if let Some(pool) = database.sqlite() {
            let value = sqlx::query_scalar(self.sqlite).fetch_optional(pool).await;
            return value.expect("it is read");
        }
        #[cfg(feature = "postgres")]
        if let Some(pool) = database.postgres() {
            let value = sqlx::query_scalar(self.postgres).fetch_optional(pool).await;
            return value.expect("it is read");
        }
        unreachable!("a database of another kind")
    }
}

const DROP_FENCE: Statement = Statement {
    sqlite: "DROP TRIGGER bgtask_fence",
    postgres: "DROP TRIGGER bgtask_fence ON river_job",
};

/// Claims a job as `worker`.
async fn claimed_by(database: &Database, worker: &str) -> Claim {
    let worker = format!("{worker}.1");
    loop {
        for queue in ["default", SUSPECTS] {
            let claims = Claims {
                worker: &worker,
                queue,
                functions: &["tests::job"],
                limit: 1,
            };
            let claimed = database.claim(&claims).await.expect("it is claimed");
            let Some(claimed) = claimed.into_iter().next() else {
                continue;
            };
            let in_the_row = database.claim_of(claimed.claim.id).await;
            let in_the_row = in_the_row.expect("it is read").expect("it runs");
            assert_eq!(
                claimed.claim, in_the_row,
                "the fence compares the claim in the row"
            );
            return claimed.claim;
        }
        // On SQLite a claim is told from the next one of the same worker by the millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Stores a job as any insert-only client of River does.
async fn store(database: &Database) -> i64 {
    let stored = Statement {
        sqlite:
            "INSERT INTO river_job (kind, args, max_attempts) VALUES ('tests::job', jsonb('{}'), 10)
            RETURNING id || ''",
        postgres: "INSERT INTO river_job (kind, args, max_attempts) VALUES ('tests::job', '{}', 10)
            RETURNING id::text",
    };
    let id = stored.read(database).await.expect("a job");
    id.parse().expect("a number")
}

/// Makes the jobs of a worker available, as if it had died.
async fn rescue(database: &Database, worker: &str, mark: &str) -> Rescued {
    let mut connection = database.connect().await.expect("a connection");
    connection
        .rescue(&(worker.to_owned(), None), mark, CRASH_LIMIT)
        .await
        .expect("the rescue is written")
}

fn done(output: &str) -> Record {
    Record::Done {
        output: output.to_owned(),
    }
}

fn failed() -> Record {
    Record::Retry {
        failure: Failure::Failed,
        message: "stale".to_owned(),
        pause: Duration::ZERO,
    }
}

async fn recorded(database: &Database, claim: &Claim, record: Record) -> bool {
    let ends = [(claim.clone(), record)];
    database.record(&ends).await.expect("it is written")[0] == Recorded::Yes
}

/// What the engine writes on its own account, which carries no claim. Each is one of its statements, shortened.
const ENGINE_WRITES: [Statement; 7] = [
    Statement::same(
        "UPDATE river_job SET state = 'completed', finalized_at = CURRENT_TIMESTAMP WHERE state = 'running'",
    ),
    Statement::same(
        "UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP WHERE state = 'running'",
    ),
    Statement::same(
        "UPDATE river_job SET state = 'available', attempt = 0 WHERE state = 'running'",
    ),
    // A snooze.
    Statement {
        sqlite: "UPDATE river_job SET state = 'scheduled', attempt = attempt - 1,
            metadata = jsonb_set(metadata, '$.snoozes', 1) WHERE state = 'running'",
        postgres: "UPDATE river_job SET state = 'scheduled', attempt = attempt - 1,
            metadata = metadata || '{\"snoozes\": 1}' WHERE state = 'running'",
    },
    Statement {
        sqlite: "UPDATE river_job SET metadata = jsonb_set(metadata, '$.output', 'stale')",
        postgres: "UPDATE river_job SET metadata = metadata || '{\"output\": \"stale\"}'",
    },
    Statement {
        sqlite: "UPDATE river_job SET errors = jsonb('[{\"error\":\"stale\"}]')",
        postgres: "UPDATE river_job SET errors = array_append(errors, '{\"error\": \"stale\"}')",
    },
    Statement::same("UPDATE river_job SET attempt = 0 WHERE state = 'running'"),
];

async fn engine_writes(database: &Database) -> u64 {
    let mut changed = 0;
    for write in ENGINE_WRITES {
        changed += write.run(database).await;
    }
    changed
}

async fn state(database: &Database, id: i64) -> JobState {
    let status = database.status(JobId::new(id)).await;
    status.expect("the job is there").state
}

async fn status(database: &Database, id: i64) -> JobStatus {
    let status = database.status(JobId::new(id)).await;
    status.expect("the job is there")
}

/// The encoded value of a job that is done.
async fn output(database: &Database, id: i64) -> String {
    let output = database.ended(JobId::new(id)).await.expect("it is read");
    let output = output.expect("it has ended").expect("a value");
    output.get().to_owned()
}

/// Completes the job of an attempt in a transaction of the program's, which commits.
async fn complete(
    database: &Database,
    claim: &Claim,
    output: &str,
    progress: Option<Progress>,
) -> Result<(), CompleteError> {
    #[cfg(feature = "sqlite")]
    if let Some(pool) = database.sqlite() {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.expect("it begins");
        let within = Within::Sqlite(&mut transaction);
        let completed = database.complete_in(within, claim, output, progress).await;
        transaction.commit().await.expect("it commits");
        return completed;
    }
    #[cfg(feature = "postgres")]
    if let Some(pool) = database.postgres() {
        let mut transaction = pool.begin().await.expect("it begins");
        let within = Within::Postgres(&mut transaction);
        let completed = database.complete_in(within, claim, output, progress).await;
        transaction.commit().await.expect("it commits");
        return completed;
    }
    unreachable!("a database of another kind")
}

/// A manager with a store, as a process has.
async fn opened(scratch: &Scratch, time_to_live: Duration) -> (bgtask::Manager, crate::Jobs) {
    let manager = bgtask::Manager::builder()
        .install()
        .expect("the first manager");
    let builder = crate::builder().url(scratch.url());
    let opened = builder.time_to_live(time_to_live).open().await;
    (manager, opened.expect("the store opens"))
}

/// The number of beats of the one worker that has this prefix, once it is known.
async fn beats(database: &Database, other_than: &'static str) -> u64 {
    let beats = format!("SELECT beat || '' FROM bgtask_worker WHERE id <> '{other_than}'").leak();
    loop {
        if let Some(beats) = Statement::same(beats).read(database).await {
            return beats.parse().expect("a number");
        }
        tokio::task::yield_now().await;
    }
}
