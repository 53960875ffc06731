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

/// What happens together, or not at all.
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

impl Database {
    /// Returns all schedules, and a time of the database's clock that is not later than any of them is read.
    pub(crate) async fn schedules(&self) -> Result<(i64, Vec<ScheduleRow>), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => {
                sqlite::schedules(&mut *database.pool().acquire().await?).await
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => postgres::schedules(&mut *database.acquire().await?).await,
        }
    }

    /// Notes that a process has this schedule, unless it has changed.
    pub(crate) async fn see_schedule(&self, function: &str, definition: &str) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.see_schedule(function, definition).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.see_schedule(function, definition).await,
        }
    }

    /// Deletes the schedules that no process has had since this time.
    pub(crate) async fn drop_schedules(&self, unseen_since: i64) -> Result<u64, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.drop_schedules(unseen_since).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.drop_schedules(unseen_since).await,
        }
    }
}
