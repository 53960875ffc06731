//! The schedules of durable functions as the database has them, and the transaction that moves one from tick to tick.
//! Knows nothing of triggers: which tick is due is for others to say.

#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{Database, Engine, Error, insert};
#[cfg(test)]
use crate::mechanisms::Mechanism;
use bgtask::durable::EncodedJob;
use insert::InsertError;

/// One schedule. Times are microseconds since 1970, by the clock of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScheduleRow {
    pub(crate) function: String,
    /// The text of the trigger. A row whose text has changed has other ticks.
    pub(crate) definition: String,
    /// The last tick that had a job or was missed.
    pub(crate) last_tick: i64,
    /// When a process that has this schedule last said so.
    pub(crate) seen_at: i64,
    /// The job of the last tick that had one.
    pub(crate) job: Option<i64>,
    /// That job has not ended.
    pub(crate) is_busy: bool,
}

/// A write to one schedule, which has an effect only if the row is as it was read.
#[derive(Clone, Debug)]
pub(crate) enum ScheduleWrite {
    /// There is no row.
    Insert {
        function: String,
        definition: String,
        last_tick: i64,
        job: Option<i64>,
    },
    /// The row has the definition and the last tick that were read.
    Update {
        row: ScheduleRow,
        definition: String,
        last_tick: i64,
    },
}

impl ScheduleWrite {
    fn function(&self) -> &str {
        match self {
            Self::Insert { function, .. } => function,
            Self::Update { row, .. } => &row.function,
        }
    }
}

/// Writes and a job that one transaction stores.
#[derive(Debug)]
pub(crate) struct ScheduleStep {
    /// The job belongs to the schedule of the first.
    pub(crate) writes: Vec<ScheduleWrite>,
    pub(crate) job: Option<EncodedJob>,
}

/// Why a step was not made.
pub(crate) type StepError = Box<dyn std::error::Error + Send + Sync>;

impl From<InsertError> for StepError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Refused(error) => error.into(),
            InsertError::Database(error) => error.into(),
        }
    }
}

/// Makes the statements on the schedules for a database. `now` is its time in microseconds since 1970. SQLite takes the placeholders of
/// Postgres.
macro_rules! statements {
    ($connection:ty, $row:ty, now: $now:literal) => {
        use crate::engine::schedule::{ScheduleRow, ScheduleWrite};
        use crate::engine::types::Error;
        use riverqueue::sqlx::{self, Row as _};

        /// Returns the time, and all schedules.
        pub(in crate::engine) async fn schedules(
            connection: &mut $connection,
        ) -> Result<(i64, Vec<ScheduleRow>), Error> {
            // Before the rows: a tick that they lack is not due earlier than this.
            let now = sqlx::query_scalar(concat!("SELECT ", $now))
                .fetch_one(&mut *connection)
                .await?;
            let rows = sqlx::query(
                "SELECT function, definition, last_tick, seen_at, job,
                     EXISTS (SELECT 1 FROM river_job WHERE id = bgtask_schedule.job
                         AND state NOT IN ('completed', 'cancelled', 'discarded'))
                 FROM bgtask_schedule",
            )
            .fetch_all(connection)
            .await?;
            let row = |row: $row| {
                Ok(ScheduleRow {
                    function: row.try_get(0)?,
                    definition: row.try_get(1)?,
                    last_tick: row.try_get(2)?,
                    seen_at: row.try_get(3)?,
                    job: row.try_get(4)?,
                    is_busy: row.try_get(5)?,
                })
            };
            let rows: Result<_, Error> = rows.into_iter().map(row).collect();
            Ok((now, rows?))
        }

        /// Returns whether the row was as the write expects it, and is changed.
        pub(in crate::engine) async fn write_schedule(
            connection: &mut $connection,
            write: &ScheduleWrite,
        ) -> Result<bool, Error> {
            let query = match write {
                ScheduleWrite::Insert {
                    function,
                    definition,
                    last_tick,
                    job,
                } => sqlx::query(concat!(
                    "INSERT INTO bgtask_schedule (function, definition, last_tick, job, seen_at) VALUES ($1, $2, $3, $4, ",
                    $now,
                    ") ON CONFLICT (function) DO NOTHING"
                ))
                .bind(function)
                .bind(definition)
                .bind(last_tick)
                .bind(job),
                ScheduleWrite::Update {
                    row,
                    definition,
                    last_tick,
                } => sqlx::query(concat!(
                    "UPDATE bgtask_schedule SET definition = $1, last_tick = $2, seen_at = ",
                    $now,
                    " WHERE function = $3 AND definition = $4 AND last_tick = $5"
                ))
                .bind(definition)
                .bind(last_tick)
                .bind(&row.function)
                .bind(&row.definition)
                .bind(row.last_tick),
            };
            let written = query.execute(connection).await?;
            Ok(written.rows_affected() == 1)
        }

        /// Sets the job of the last tick, in the transaction that has stored it.
        pub(in crate::engine) async fn set_schedule_job(
            connection: &mut $connection,
            function: &str,
            job: i64,
        ) -> Result<(), Error> {
            sqlx::query("UPDATE bgtask_schedule SET job = $1 WHERE function = $2")
                .bind(job)
                .bind(function)
                .execute(connection)
                .await
                .map(drop)
        }

        /// Notes that a process has this schedule, unless it has changed.
        pub(in crate::engine) async fn see_schedule(
            connection: &mut $connection,
            function: &str,
            definition: &str,
        ) -> Result<(), Error> {
            sqlx::query(concat!(
                "UPDATE bgtask_schedule SET seen_at = ",
                $now,
                " WHERE function = $1 AND definition = $2"
            ))
            .bind(function)
            .bind(definition)
            .execute(connection)
            .await
            .map(drop)
        }

        /// Deletes the schedules that no process has had for so many microseconds. Returns their number.
        pub(in crate::engine) async fn drop_schedules(
            connection: &mut $connection,
            unseen_for: i64,
        ) -> Result<u64, Error> {
            let dropped = sqlx::query(concat!(
                "DELETE FROM bgtask_schedule WHERE seen_at < ",
                $now,
                " - $1"
            ))
            .bind(unseen_for)
            .execute(connection)
            .await?;
            Ok(dropped.rows_affected())
        }
    };
}
pub(super) use statements;

/// Makes a step in a transaction, with the statements of a database. Returns from the function without a commit if another process
/// came first.
macro_rules! step {
    ($engine:ident, $step:ident, $transaction:ident, $statements:ident) => {{
        #[cfg(test)]
        if Mechanism::ComparesTicks.is_off(&$engine.database) {
            let rows = $statements::schedules(&mut $transaction).await?.1;
            $step
                .writes
                .iter_mut()
                .for_each(|write| overwrite(write, &rows));
        }
        for write in &$step.writes {
            // The compare-and-set: of all processes that have read this row, one goes on.
            if !$statements::write_schedule(&mut $transaction, write).await? {
                return Ok(false);
            }
        }
        if let (Some(job), Some(write)) = ($step.job, $step.writes.first()) {
            let stored =
                insert::insert_in(&$engine.client, &mut $transaction, vec![job], None).await?;
            for job in stored {
                $statements::set_schedule_job(&mut $transaction, write.function(), job.id.get())
                    .await?;
            }
        }
        $transaction.commit().await?;
    }};
}

impl Engine {
    /// Makes a step of a schedule. Returns `false` if a row is no longer as it was read: then nothing has happened.
    #[cfg_attr(not(test), expect(unused_mut, reason = "a test overwrites rows"))]
    pub(crate) async fn step(&self, mut step: ScheduleStep) -> Result<bool, StepError> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(database) => {
                // A transaction that began with a read could not write once another process has written.
                let mut transaction = database.pool().begin_with("BEGIN IMMEDIATE").await?;
                step!(self, step, transaction, sqlite);
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(database) => {
                let mut transaction = database.begin().await?;
                step!(self, step, transaction, postgres);
            }
        }
        Ok(true)
    }
}

/// Makes a write have an effect whatever the row is.
#[cfg(test)]
fn overwrite(write: &mut ScheduleWrite, rows: &[ScheduleRow]) {
    if let ScheduleWrite::Update { row, .. } = write
        && let Some(current) = rows.iter().find(|current| current.function == row.function)
    {
        *row = current.clone();
    }
}

/// Runs a statement on a connection of the pool.
macro_rules! on_connection {
    ($own:expr, $statement:ident($($argument:expr),*)) => {
        match $own {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(database) => {
                sqlite::$statement(&mut *database.pool().acquire().await? $(, $argument)*).await
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(database) => {
                postgres::$statement(&mut *database.acquire().await? $(, $argument)*).await
            }
        }
    };
}

impl Database {
    /// Returns all schedules, and a time of the database's clock that is not later than any of them is read.
    pub(crate) async fn schedules(&self) -> Result<(i64, Vec<ScheduleRow>), Error> {
        on_connection!(self, schedules())
    }

    /// Notes that a process has this schedule, unless it has changed.
    pub(crate) async fn see_schedule(&self, function: &str, definition: &str) -> Result<(), Error> {
        on_connection!(self, see_schedule(function, definition))
    }

    /// Deletes the schedules that no process has had for so many microseconds. Returns their number.
    pub(crate) async fn drop_schedules(&self, unseen_for: i64) -> Result<u64, Error> {
        on_connection!(self, drop_schedules(unseen_for))
    }
}
