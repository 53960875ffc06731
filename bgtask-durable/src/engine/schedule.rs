//! The schedules of durable functions as the database has them, and the transaction that moves one from tick to tick.
//! Knows nothing of triggers: which tick is due is for others to say.

#[cfg(feature = "postgres")]
use super::postgres;
use super::row::read_error;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{Database, Engine, Error, JobOptions, insert};
#[cfg(test)]
use crate::mechanisms::Mechanism;
use bgtask::durable::{EncodedJob, JobError, JobId};
use insert::InsertError;

/// The beginning of the definition in the row of a former name. Such a row has no ticks.
macro_rules! renamed {
    () => {
        "renamed to "
    };
}
pub(crate) const RENAMED: &str = renamed!();

/// One schedule. Times are microseconds since 1970, by the clock of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub(crate) pause: Pause,
}

/// Whether a schedule is paused, or was since its last tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Since when, if it is.
    pub(crate) since: Option<i64>,
    pub(crate) by: Option<String>,
    /// When it was resumed. The ticks up to this time are none.
    pub(crate) until: Option<i64>,
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
        options: JobOptions,
        /// That of the row of the former name.
        pause: Pause,
    },
    /// The row has the definition, the last tick and the pause that were read.
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
        use crate::engine::schedule::{Pause, ScheduleRow, ScheduleWrite, renamed};
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
                         AND state NOT IN ('completed', 'cancelled', 'discarded')),
                     paused_at, paused_by, resumed_at
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
                    pause: Pause {
                        since: row.try_get(6)?,
                        by: row.try_get(7)?,
                        until: row.try_get(8)?,
                    },
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
                    options,
                    pause,
                } => sqlx::query(concat!(
                    "INSERT INTO bgtask_schedule (function, definition, last_tick, job, job_options, paused_at, paused_by, resumed_at, seen_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ",
                    $now,
                    ") ON CONFLICT (function) DO NOTHING"
                ))
                .bind(function)
                .bind(definition)
                .bind(last_tick)
                .bind(job)
                .bind(options.text())
                .bind(pause.since)
                .bind(pause.by.as_deref())
                .bind(pause.until),
                ScheduleWrite::Update {
                    row,
                    definition,
                    last_tick,
                } => sqlx::query(concat!(
                    // A schedule that was paused meanwhile, or resumed, gets no tick of the time before.
                    "UPDATE bgtask_schedule SET definition = $1, last_tick = $2, resumed_at = NULL, seen_at = ",
                    $now,
                    " WHERE function = $3 AND definition = $4 AND last_tick = $5
                         AND paused_at IS NOT DISTINCT FROM $6 AND resumed_at IS NOT DISTINCT FROM $7"
                ))
                .bind(definition)
                .bind(last_tick)
                .bind(&row.function)
                .bind(&row.definition)
                .bind(row.last_tick)
                .bind(row.pause.since)
                .bind(row.pause.until),
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

        /// Notes that a process has this schedule, and the options of its jobs, unless it has changed.
        pub(in crate::engine) async fn see_schedule(
            connection: &mut $connection,
            function: &str,
            definition: &str,
            options: Option<&str>,
        ) -> Result<(), Error> {
            sqlx::query(concat!(
                "UPDATE bgtask_schedule SET job_options = coalesce($3, job_options), seen_at = ",
                $now,
                " WHERE function = $1 AND definition = $2"
            ))
            .bind(function)
            .bind(definition)
            .bind(options)
            .execute(connection)
            .await
            .map(drop)
        }

        /// Pauses a schedule. Returns whether there is one that was not paused.
        pub(in crate::engine) async fn pause_schedule(
            connection: &mut $connection,
            function: &str,
            by: &str,
        ) -> Result<bool, Error> {
            let paused = sqlx::query(concat!(
                "UPDATE bgtask_schedule SET paused_by = $2, paused_at = ",
                $now,
                " WHERE function = $1 AND paused_at IS NULL AND definition NOT LIKE '", renamed!(), "%'"
            ))
            .bind(function)
            .bind(by)
            .execute(connection)
            .await?;
            Ok(paused.rows_affected() == 1)
        }

        /// Resumes a schedule. Returns whether there is one that was paused.
        pub(in crate::engine) async fn resume_schedule(
            connection: &mut $connection,
            function: &str,
        ) -> Result<bool, Error> {
            let resumed = sqlx::query(concat!(
                "UPDATE bgtask_schedule SET paused_at = NULL, paused_by = NULL, resumed_at = ",
                $now,
                " WHERE function = $1 AND paused_at IS NOT NULL"
            ))
            .bind(function)
            .execute(connection)
            .await?;
            Ok(resumed.rows_affected() == 1)
        }

        /// Returns the time, and the options of the jobs of a schedule, as far as they are known. `None` if there is no such schedule.
        pub(in crate::engine) async fn schedule_options(
            connection: &mut $connection,
            function: &str,
        ) -> Result<Option<(i64, Option<String>)>, Error> {
            sqlx::query_as(concat!(
                "SELECT ", $now, ", job_options FROM bgtask_schedule
                 WHERE function = $1 AND definition NOT LIKE '", renamed!(), "%'"
            ))
            .bind(function)
            .fetch_optional(connection)
            .await
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
pub(super) use {renamed, statements};

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

    /// Stores a job of a schedule at once. The schedule stays as it is: its next tick has a job of its own.
    pub(crate) async fn run_schedule(&self, function: &str) -> Result<JobId, JobError> {
        let (now, options) = self.database.options_of(function).await?;
        let options = options.and_then(|text| serde_json::from_str::<JobOptions>(&text).ok());
        let options = options.ok_or_else(|| {
            JobError::store(format!(
                "no process has declared the jobs of the schedule of {function} yet: start a program that has it, and try again"
            ))
        })?;
        match insert::insert_tick(&self.client, function, &options, now).await {
            Ok(id) => Ok(id),
            Err(InsertError::Refused(error)) => Err(JobError::store(error.to_string())),
            Err(InsertError::Database(error)) => Err(read_error(&error)),
        }
    }
}

/// Returns the error of a function that has no schedule in the database.
pub(crate) fn no_schedule(function: &str) -> JobError {
    JobError::store(format!("there is no schedule of {function}"))
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

    /// Notes that a process has this schedule, and the options of its jobs, unless it has changed.
    pub(crate) async fn see_schedule(
        &self,
        function: &str,
        definition: &str,
        options: Option<&str>,
    ) -> Result<(), Error> {
        on_connection!(self, see_schedule(function, definition, options))
    }

    /// Pauses a schedule for somebody, or resumes it. Returns whether that has changed it.
    pub(crate) async fn set_schedule_paused(
        &self,
        function: &str,
        by: Option<&str>,
    ) -> Result<bool, JobError> {
        let changed = async {
            match by {
                Some(by) => on_connection!(self, pause_schedule(function, by)),
                None => on_connection!(self, resume_schedule(function)),
            }
        };
        let has_changed = changed.await.map_err(|error| read_error(&error))?;
        if !has_changed {
            // Otherwise there is no such schedule.
            self.options_of(function).await?;
        }
        Ok(has_changed)
    }

    /// Returns the time, and the options of the jobs of a schedule.
    async fn options_of(&self, function: &str) -> Result<(i64, Option<String>), JobError> {
        let options = async { on_connection!(self, schedule_options(function)) };
        let options = options.await.map_err(|error| read_error(&error))?;
        options.ok_or_else(|| no_schedule(function))
    }

    /// Deletes the schedules that no process has had for so many microseconds. Returns their number.
    pub(crate) async fn drop_schedules(&self, unseen_for: i64) -> Result<u64, Error> {
        on_connection!(self, drop_schedules(unseen_for))
    }
}
