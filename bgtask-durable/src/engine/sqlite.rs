//! SQLite: the file, its migrations, and every statement that stands beside the engine's own.
//! Each write for an attempt carries the attempt's claim; the fence drops those that do not. Each change raises the version.

use super::sqlite_operate as operate;
use crate::OpenError;
use bgtask::durable::{EnqueueError, Failure, JobError, JobId, JobState, JobStatus, Progress};
use riverqueue::migrate::{SQLITE_MIGRATIONS, SqliteMigrator};
use riverqueue::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use riverqueue::sqlx::{self, ConnectOptions, Connection as _, Row};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) type Error = sqlx::Error;

pub(crate) type Connection = SqliteConnection;

/// How long a statement waits for the lock of another connection.
const LOCK_WAIT: Duration = Duration::from_secs(4);

/// The prefix of the ids of our workers. No other River client has it.
pub(crate) const WORKER: &str = "bgtask:";

/// The number of crashes at which a job is dead.
pub(crate) const CRASH_LIMIT: u32 = 5;

/// The number of crashes from which a job waits in [`SUSPECTS`].
const SUSPECT_AT: u32 = 2;

/// The queue of jobs that may have killed their process. A process runs one of them at a time: so a job that kills its process
/// takes no other one to the crash limit, as those beside it have crashed less often than [`SUSPECT_AT`].
pub(crate) const SUSPECTS: &str = "bgtask-suspects";

/// The rows that one transaction of the rescue or the pruning changes at most.
const BATCH: i64 = 500;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS bgtask_worker (
    id TEXT PRIMARY KEY NOT NULL,
    beat INTEGER NOT NULL,
    started_at TEXT NOT NULL DEFAULT (datetime('now'))
)";

/// Drops every write that would end an attempt, or change what an attempt writes, without the row's current claim.
///
/// A row's claim is its last `attempted_by`, a slash, and `attempted_at`: both change with each claim. A write names its claim in
/// the metadata. The rescue names none, and sets a mark that no row has had instead. A tool may move a job that does not run to
/// another state, as a cancellation does.
const FENCE: &str = "CREATE TRIGGER bgtask_fence BEFORE UPDATE ON river_job
WHEN OLD.attempted_by IS NOT NULL
    AND coalesce(json_extract(OLD.attempted_by, '$[#-1]'), '') LIKE 'bgtask:%'
    AND (
        (OLD.state = 'running' AND NEW.state <> 'running')
        OR NEW.errors IS NOT OLD.errors
        OR (NEW.metadata -> '$.output') IS NOT (OLD.metadata -> '$.output')
        OR (NEW.metadata IS NOT OLD.metadata AND (OLD.state = 'running' OR NEW.state = OLD.state))
        OR (OLD.state = 'running' AND NEW.attempt <> OLD.attempt)
    )
    AND NOT (
        OLD.state = 'running'
        AND coalesce(
            json_extract(NEW.metadata, '$.\"bgtask:claim\"')
                = json_extract(OLD.attempted_by, '$[#-1]') || '/' || OLD.attempted_at,
            0
        )
    )
    AND NOT (
        json_extract(NEW.metadata, '$.\"bgtask:mark\"') IS NOT NULL
        AND json_extract(NEW.metadata, '$.\"bgtask:mark\"') IS NOT json_extract(OLD.metadata, '$.\"bgtask:mark\"')
    )
BEGIN
    SELECT RAISE(IGNORE);
END";

/// A database, open and migrated.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: SqlitePool,
    options: SqliteConnectOptions,
}

/// The right of one attempt to record its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: i64,
    pub(crate) worker: String,
    pub(crate) attempted_at: String,
}

impl Claim {
    pub(super) fn value(&self) -> String {
        format!("{}/{}", self.worker, self.attempted_at)
    }
}

/// A job that this process has claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) claim: Claim,
    pub(crate) function: String,
    pub(crate) arguments: String,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
}

/// The end of an attempt, as it is recorded.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Done {
        output: String,
    },
    Retry {
        failure: Failure,
        message: String,
        pause: Duration,
    },
    Dead {
        failure: Failure,
        message: String,
    },
    /// Back to the queue, and the attempt is not counted.
    Returned,
    /// Back to the queue after a pause, and the attempt is not counted: it has not begun.
    Postponed {
        pause: Duration,
    },
    /// The job was cancelled while it ran.
    Cancelled,
    /// The attempt runs on, and is this far.
    Progress(Progress),
    /// The arguments do not decode.
    Parked {
        reason: String,
    },
}

/// A job that has ended, with its encoded value.
pub(crate) type Ended = Result<Box<RawValue>, JobError>;

impl Database {
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| OpenError::Url {
                url: url.to_owned(),
                message: error.to_string(),
            })?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(LOCK_WAIT);
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(OpenError::InMemory);
        }
        // Held while the schema is made: of five processes that migrate at once, most would fail.
        let _lock = lock_beside(&options).map_err(|error| OpenError::Lock(error.to_string()))?;
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(LOCK_WAIT)
            .connect_with(options.clone())
            .await?;
        let database = Self { pool, options };
        database.migrate().await?;
        Ok(database)
    }

    async fn migrate(&self) -> Result<(), OpenError> {
        let migrator = SqliteMigrator::new(self.pool.clone());
        let failed = |error: &dyn std::fmt::Display| OpenError::Migrate(error.to_string());
        let known = SQLITE_MIGRATIONS.iter().map(|known| known.version).max();
        let existing = migrator
            .existing_versions()
            .await
            .map_err(|error| failed(&error))?;
        if let (Some(known), Some(newest)) = (known, existing.into_iter().max())
            && newest > known
        {
            return Err(OpenError::NewerSchema { newest, known });
        }
        migrator
            .migrate_up()
            .await
            .map_err(|error| failed(&error))?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(TABLES).execute(&mut *transaction).await?;
        for (name, drop, trigger) in [
            ("bgtask_fence", "DROP TRIGGER IF EXISTS bgtask_fence", FENCE),
            (
                "bgtask_cancelled",
                "DROP TRIGGER IF EXISTS bgtask_cancelled",
                operate::CANCELLED,
            ),
        ] {
            let existing: Option<String> =
                sqlx::query_scalar("SELECT sql FROM sqlite_master WHERE name = ?")
                    .bind(name)
                    .fetch_optional(&mut *transaction)
                    .await?;
            if existing.as_deref() != Some(trigger) {
                sqlx::query(drop).execute(&mut *transaction).await?;
                sqlx::query(trigger).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Opens a connection that is not one of the pool's.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, Error> {
        self.options.connect().await
    }

    /// Returns the connection, which it opens if there is none.
    pub(crate) async fn connected<'a>(
        &self,
        connection: &'a mut Option<SqliteConnection>,
    ) -> Result<&'a mut SqliteConnection, Error> {
        match connection {
            Some(connection) => Ok(connection),
            none => Ok(none.insert(self.connect().await?)),
        }
    }

    /// Cancels a job, or marks it for the worker that runs it.
    pub(crate) async fn cancel(
        &self,
        id: JobId,
        mark: &str,
    ) -> Result<operate::Cancelled, JobError> {
        match operate::cancel(&self.pool, id.get(), mark).await {
            // It has ended, or there is none.
            Ok(operate::Cancelled::Not) => self.row(id).await.map(|_| operate::Cancelled::Not),
            Ok(cancelled) => Ok(cancelled),
            Err(error) => Err(read_error(&error)),
        }
    }

    /// Returns the running jobs of one life of a worker that are asked to end.
    pub(crate) async fn cancelling(&self, life: &str) -> Result<Vec<i64>, Error> {
        operate::cancelling(&self.pool, life).await
    }

    /// Makes a job available that waits for a time, or has ended without a value.
    pub(crate) async fn retry_now(&self, id: JobId, mark: &str) -> Result<bool, JobError> {
        match operate::retry_now(&self.pool, id.get(), mark).await {
            Ok(true) => Ok(true),
            Ok(false) => self.row(id).await.map(|_| false),
            Err(Error::Database(error)) if error.is_unique_violation() => Err(JobError::store(
                "another job with the key of this one is there".to_owned(),
            )),
            Err(error) => Err(read_error(&error)),
        }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Reads a job that a worker of this process has claimed. `None` if it is no longer running.
    pub(crate) async fn claimed(&self, id: i64) -> Result<Option<Claimed>, Error> {
        let row = sqlx::query(
            "SELECT json_extract(attempted_by, '$[#-1]'), attempted_at || '', kind, json(args), attempt, max_attempts
             FROM river_job WHERE id = ? AND state = 'running'",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Claimed {
                claim: Claim {
                    id,
                    worker: row.try_get(0)?,
                    attempted_at: row.try_get(1)?,
                },
                function: row.try_get(2)?,
                arguments: row.try_get(3)?,
                attempt: row.try_get::<u32, _>(4)?,
                max_attempts: row.try_get::<u32, _>(5)?,
            })
        })
        .transpose()
    }

    /// Records the ends of attempts in one transaction. Returns for each whether it was recorded: if not, the attempt no longer
    /// holds its job.
    pub(crate) async fn record(&self, ends: &[(Claim, Record)]) -> Result<Vec<bool>, Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut recorded = Vec::with_capacity(ends.len());
        for (claim, record) in ends {
            recorded.push(write(&mut transaction, claim, record).await?);
        }
        transaction.commit().await?;
        Ok(recorded)
    }

    /// Makes jobs available whose time has come. Returns their number.
    pub(crate) async fn promote(&self) -> Result<u64, Error> {
        let is_due: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM river_job
             WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= datetime('now', 'subsec'))",
        )
        .fetch_one(&self.pool)
        .await?;
        if !is_due {
            // A write transaction, even an empty one, takes the lock.
            return Ok(0);
        }
        let promoted = sqlx::query(
            "UPDATE river_job SET state = 'available', metadata = jsonb_set(metadata, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= datetime('now', 'subsec')",
        )
        .execute(&self.pool)
        .await?;
        Ok(promoted.rows_affected())
    }

    /// Has jobs tried again whose arguments did not decode.
    pub(crate) async fn unpark(&self, mark: &str) -> Result<u64, Error> {
        let unparked = sqlx::query(
            "UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'),
                 metadata = jsonb_set(jsonb_remove(metadata, '$.\"bgtask:parked\"'), '$.\"bgtask:mark\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE state = 'pending' AND json_extract(metadata, '$.\"bgtask:parked\"') IS NOT NULL",
        )
        .bind(mark)
        .execute(&self.pool)
        .await?;
        Ok(unparked.rows_affected())
    }

    /// Returns the jobs that run in one life of a worker, each with the time of its claim.
    pub(crate) async fn running_in(&self, life: &str) -> Result<Vec<(i64, String)>, Error> {
        let rows = sqlx::query(
            "SELECT id, attempted_at || '' FROM river_job
             WHERE state = 'running' AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'",
        )
        .bind(life)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Makes jobs available that this life has claimed and nobody runs. Their attempts are not counted. Returns their number.
    pub(crate) async fn put_back(
        &self,
        life: &str,
        jobs: &[(i64, String)],
        mark: &str,
    ) -> Result<u64, Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut count = 0;
        for (id, attempted_at) in jobs {
            let put_back = sqlx::query(
                "UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'),
                     attempt = max(attempt - 1, 0), metadata = jsonb_set(metadata, '$.\"bgtask:mark\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
                 WHERE id = ? AND state = 'running' AND attempted_at = ?
                     AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'",
            )
            .bind(mark)
            .bind(id)
            .bind(attempted_at)
            .bind(life)
            .execute(&mut *transaction)
            .await?;
            count += put_back.rows_affected();
        }
        transaction.commit().await?;
        Ok(count)
    }

    /// Deletes jobs whose time in the database is over. Returns their number; call it again until it is 0.
    pub(crate) async fn prune(&self) -> Result<u64, Error> {
        let pruned = sqlx::query(
            "DELETE FROM river_job WHERE id IN (
                 SELECT id FROM river_job
                 WHERE state IN ('completed', 'cancelled', 'discarded') AND finalized_at IS NOT NULL
                     AND finalized_at < datetime('now', 'subsec', '-' || CASE state
                         WHEN 'discarded' THEN 2592000
                         ELSE coalesce(json_extract(metadata, '$.\"bgtask:keep\"'), 86400)
                     END || ' seconds')
                 LIMIT ?)",
        )
        .bind(BATCH)
        .execute(&self.pool)
        .await?;
        Ok(pruned.rows_affected())
    }

    pub(crate) async fn status(&self, id: JobId) -> Result<JobStatus, JobError> {
        let row = self.row(id).await?;
        let read = || -> Result<JobStatus, Error> {
            let reason: Option<String> = row.try_get("parked")?;
            let error: Option<String> = row.try_get("error")?;
            let state = state_of(row.try_get::<&str, _>("state")?);
            let mut status = JobStatus::new(id, row.try_get("kind")?, row.try_get("queue")?, state);
            status.attempts = row.try_get("attempt")?;
            status.max_attempts = row.try_get("max_attempts")?;
            status.crashes = row.try_get("crashes")?;
            status.last_error = reason.filter(|_| state == JobState::Parked).or(error);
            status.progress = row
                .try_get::<Option<&str>, _>("progress")?
                .and_then(|progress| serde_json::from_str(progress).ok());
            // The engine's claim changes the state and no metadata: so a running job counts as one more.
            let is_running = state == JobState::Running;
            status.version = 2 * row.try_get::<u64, _>("version")? + u64::from(is_running);
            status.is_cancelling = is_running && row.try_get("is_cancelling")?;
            Ok(status)
        };
        read().map_err(|error| read_error(&error))
    }

    /// Returns the end of a job, or `None` if it has not ended.
    pub(crate) async fn ended(&self, id: JobId) -> Result<Option<Ended>, JobError> {
        let row = self.row(id).await?;
        let read = || -> Result<Option<Ended>, Error> {
            let attempts: u32 = row.try_get("attempt")?;
            Ok(Some(match state_of(row.try_get("state")?) {
                JobState::Done => {
                    // A job that another client completed may have no output.
                    let output: Option<String> = row.try_get("output")?;
                    let output = output.unwrap_or_else(|| "null".to_owned());
                    Ok(RawValue::from_string(output)
                        .map_err(|error| Error::Decode(error.into()))?)
                }
                JobState::Cancelled => Err(JobError::cancelled(attempts)),
                JobState::Dead => {
                    let message: Option<String> = row.try_get("error")?;
                    let message = message.unwrap_or_default();
                    let failure: Option<&str> = row.try_get("failure")?;
                    Err(match failure {
                        Some("panicked") => JobError::panicked(message, attempts),
                        Some("timed_out") => JobError::timed_out(attempts),
                        _ => JobError::failed(message, attempts),
                    })
                }
                _ => return Ok(None),
            }))
        };
        read().map_err(|error| read_error(&error))
    }

    async fn row(&self, id: JobId) -> Result<SqliteRow, JobError> {
        let row = sqlx::query(
            "SELECT kind, queue, state, attempt, max_attempts,
                 coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) AS crashes,
                 json_extract(metadata, '$.\"bgtask:parked\"') AS parked,
                 json_extract(metadata, '$.\"bgtask:failure\"') AS failure,
                 json_extract(errors, '$[#-1].error') AS error,
                 metadata -> '$.output' AS output,
                 metadata -> '$.\"bgtask:progress\"' AS progress,
                 coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) AS version,
                 json_extract(metadata, '$.cancel_attempted_at') IS NOT NULL AS is_cancelling
             FROM river_job WHERE id = ?",
        )
        .bind(id.get())
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| read_error(&error))?;
        if let Some(row) = row {
            return Ok(row);
        }
        // The table gives no id twice, and remembers the greatest.
        let greatest: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'river_job'")
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| read_error(&error))?;
        let was_given = id.get() > 0 && greatest.is_some_and(|greatest| id.get() <= greatest);
        Err(if was_given {
            JobError::Gone
        } else {
            JobError::NotFound
        })
    }

    /// Returns the number of jobs in each state.
    pub(crate) async fn counts(&self) -> Result<BTreeMap<&'static str, u64>, Error> {
        let rows = sqlx::query("SELECT state, count(*) FROM river_job GROUP BY state")
            .fetch_all(&self.pool)
            .await?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let state = state_of(row.try_get(0)?);
            *counts.entry(state.as_str()).or_insert(0) += row.try_get::<u64, _>(1)?;
        }
        Ok(counts)
    }
}

async fn write(
    connection: &mut SqliteConnection,
    claim: &Claim,
    record: &Record,
) -> Result<bool, Error> {
    // Each names its claim twice: in `WHERE`, and in the metadata for the fence.
    let query = match record {
        Record::Done { output } => sqlx::query(
            "UPDATE river_job SET state = 'completed', finalized_at = datetime('now', 'subsec'),
                 metadata = jsonb_set(metadata, '$.\"bgtask:claim\"', ?, '$.output', jsonb(?), '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(claim.value())
        .bind(output),
        Record::Retry {
            failure,
            message,
            pause,
        } => sqlx::query(
            "UPDATE river_job SET state = 'retryable', scheduled_at = datetime('now', 'subsec', ?),
                 errors = jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
                     'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', ''))),
                 metadata = jsonb_set(metadata, '$.\"bgtask:failure\"', ?, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(format!("+{:.3} seconds", pause.as_secs_f64()))
        .bind(message)
        .bind(failure.as_str())
        .bind(claim.value()),
        Record::Dead { failure, message } => sqlx::query(
            "UPDATE river_job SET state = 'discarded', finalized_at = datetime('now', 'subsec'),
                 errors = jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
                     'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', ''))),
                 metadata = jsonb_set(metadata, '$.\"bgtask:failure\"', ?, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(message)
        .bind(failure.as_str())
        .bind(claim.value()),
        Record::Returned => sqlx::query(
            "UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'),
                 attempt = max(attempt - 1, 0), metadata = jsonb_set(metadata, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(claim.value()),
        Record::Postponed { pause } => return operate::postpone(connection, claim, *pause).await,
        Record::Cancelled => return operate::end_cancelled(connection, claim).await,
        Record::Progress(progress) => return operate::progress(connection, claim, progress).await,
        Record::Parked { reason } => sqlx::query(
            "UPDATE river_job SET state = 'pending', attempt = max(attempt - 1, 0),
                 metadata = jsonb_set(metadata, '$.\"bgtask:parked\"', ?, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(reason)
        .bind(claim.value()),
    };
    let written = query
        .bind(claim.id)
        .bind(&claim.worker)
        .bind(&claim.attempted_at)
        .execute(connection)
        .await?;
    Ok(written.rows_affected() > 0)
}

/// A worker as the database shows it: its id, and its beat, or `None` if its row is gone and jobs still name it.
pub(crate) type Seen = (String, Option<i64>);

/// Makes a worker known.
pub(crate) async fn register(connection: &mut SqliteConnection, id: &str) -> Result<(), Error> {
    sqlx::query("INSERT INTO bgtask_worker (id, beat) VALUES (?, 0)")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
}

/// Shows that a worker lives. Returns `false` if it has been declared dead.
pub(crate) async fn beat(connection: &mut SqliteConnection, id: &str) -> Result<bool, Error> {
    let beaten = sqlx::query("UPDATE bgtask_worker SET beat = beat + 1 WHERE id = ?")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(beaten.rows_affected() > 0)
}

/// Removes a worker that has returned all its jobs.
pub(crate) async fn unregister(connection: &mut SqliteConnection, id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM bgtask_worker WHERE id = ?")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
}

/// Returns all workers, and those that only jobs still name.
pub(crate) async fn workers(connection: &mut SqliteConnection) -> Result<Vec<Seen>, Error> {
    let rows = sqlx::query(
        "SELECT id, beat FROM bgtask_worker
         UNION ALL
         SELECT DISTINCT substr(worker, 1, instr(worker, '.') - 1), NULL
         FROM (SELECT json_extract(attempted_by, '$[#-1]') AS worker FROM river_job WHERE state = 'running')
         WHERE worker LIKE 'bgtask:%.%'
             AND substr(worker, 1, instr(worker, '.') - 1) NOT IN (SELECT id FROM bgtask_worker)",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// How many jobs of a dead worker became available, and how many are dead with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rescued {
    pub(crate) available: u64,
    pub(crate) dead: u64,
    /// Jobs of the worker may be left.
    pub(crate) has_more: bool,
}

/// Makes the jobs of a dead worker available, a batch at a time, and removes the worker after the last. Does nothing if its beat
/// is no longer `beat`: it lives.
pub(crate) async fn rescue(
    connection: &mut SqliteConnection,
    (id, beat): &Seen,
    mark: &str,
) -> Result<Rescued, Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let now: Option<i64> = sqlx::query_scalar("SELECT beat FROM bgtask_worker WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    if now != *beat {
        return Ok(Rescued::default());
    }
    let rows = sqlx::query(
        "UPDATE river_job SET
             state = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                 THEN 'discarded' ELSE 'available' END,
             finalized_at = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                 THEN datetime('now', 'subsec') END,
             queue = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ? THEN ? ELSE queue END,
             scheduled_at = datetime('now', 'subsec'),
             attempt = max(attempt - 1, 0),
             errors = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                 THEN jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
                     'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', '')))
                 ELSE errors END,
             metadata = jsonb_set(metadata,
                 '$.\"bgtask:crashes\"', coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1,
                 '$.\"bgtask:failure\"', 'crashed',
                 '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1,
                 '$.\"bgtask:mark\"', ?)
         WHERE id IN (
             SELECT id FROM river_job
             WHERE state = 'running' AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'
             LIMIT ?)
         RETURNING state",
    )
    .bind(CRASH_LIMIT)
    .bind(CRASH_LIMIT)
    .bind(SUSPECT_AT)
    .bind(SUSPECTS)
    .bind(CRASH_LIMIT)
    .bind(format!("the process died {CRASH_LIMIT} times while it ran this job"))
    .bind(mark)
    .bind(id)
    .bind(BATCH)
    .fetch_all(&mut *transaction)
    .await?;
    let mut rescued = Rescued {
        has_more: rows.len() as i64 == BATCH,
        ..Rescued::default()
    };
    for row in &rows {
        match row.try_get(0)? {
            "discarded" => rescued.dead += 1,
            _ => rescued.available += 1,
        }
    }
    if !rescued.has_more {
        sqlx::query("DELETE FROM bgtask_worker WHERE id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(rescued)
}

/// Returns a number that changes with each write of another connection.
pub(crate) async fn version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(connection)
        .await
}

fn state_of(state: &str) -> JobState {
    match state {
        "scheduled" => JobState::Scheduled,
        "running" => JobState::Running,
        "retryable" => JobState::Retrying,
        "pending" => JobState::Parked,
        "completed" => JobState::Done,
        "discarded" => JobState::Dead,
        "cancelled" => JobState::Cancelled,
        _ => JobState::Waiting,
    }
}

fn read_error(error: &Error) -> JobError {
    JobError::store(error.to_string())
}

/// Returns what is known of a job whose insertion failed.
pub(crate) fn enqueue_error(error: &Error) -> EnqueueError {
    match error {
        // Before anything was written.
        Error::PoolTimedOut => EnqueueError::Busy,
        Error::PoolClosed => EnqueueError::Closed,
        // SQLITE_BUSY and SQLITE_LOCKED, with their extended codes.
        Error::Database(error)
            if error
                .code()
                .and_then(|code| code.parse::<u32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6)) =>
        {
            EnqueueError::Busy
        }
        error => EnqueueError::unknown(error.to_string()),
    }
}

/// Locks a file beside the database, which the operating system unlocks however this process ends.
fn lock_beside(options: &SqliteConnectOptions) -> std::io::Result<File> {
    let mut path = PathBuf::from(options.get_filename()).into_os_string();
    path.push("-bgtask.lock");
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)?;
    file.lock()?;
    Ok(file)
}
