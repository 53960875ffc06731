//! SQLite: the statements on the schedules of durable functions. Knows nothing of jobs but whether one has ended.

use super::Sqlite;
use crate::engine::schedule::{ScheduleRow, ScheduleWrite};
use crate::engine::types::Error;
use riverqueue::sqlx::{self, Row as _, SqliteConnection};

/// The time in microseconds since 1970: the clock of the machine, in milliseconds.
macro_rules! now {
    () => {
        "(CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER) * 1000)"
    };
}

/// Returns the time, and all schedules.
pub(in crate::engine) async fn schedules(
    connection: &mut SqliteConnection,
) -> Result<(i64, Vec<ScheduleRow>), Error> {
    // Before the rows: a tick that they lack is not due earlier than this.
    let now = sqlx::query_scalar(concat!("SELECT ", now!()))
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
    let row = |row: sqlx::sqlite::SqliteRow| {
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
    connection: &mut SqliteConnection,
    write: &ScheduleWrite,
) -> Result<bool, Error> {
    let written = match write {
        ScheduleWrite::Insert {
            function,
            definition,
            last_tick,
            job,
        } => {
            sqlx::query(concat!(
                "INSERT INTO bgtask_schedule (function, definition, last_tick, job, seen_at) VALUES (?, ?, ?, ?, ",
                now!(),
                ") ON CONFLICT (function) DO NOTHING"
            ))
            .bind(function)
            .bind(definition)
            .bind(last_tick)
            .bind(job)
            .execute(connection)
            .await?
        }
        ScheduleWrite::Update {
            row,
            definition,
            last_tick,
        } => {
            sqlx::query(concat!(
                "UPDATE bgtask_schedule SET definition = ?, last_tick = ?, seen_at = ",
                now!(),
                " WHERE function = ? AND definition = ? AND last_tick = ?"
            ))
            .bind(definition)
            .bind(last_tick)
            .bind(&row.function)
            .bind(&row.definition)
            .bind(row.last_tick)
            .execute(connection)
            .await?
        }
    };
    Ok(written.rows_affected() == 1)
}

/// Sets the job of the last tick, in the transaction that has stored it.
pub(in crate::engine) async fn set_schedule_job(
    connection: &mut SqliteConnection,
    function: &str,
    job: i64,
) -> Result<(), Error> {
    sqlx::query("UPDATE bgtask_schedule SET job = ? WHERE function = ?")
        .bind(job)
        .bind(function)
        .execute(connection)
        .await
        .map(drop)
}

impl Sqlite {
    /// Notes that a process has this schedule, unless it has changed.
    pub(in crate::engine) async fn see_schedule(
        &self,
        function: &str,
        definition: &str,
    ) -> Result<(), Error> {
        sqlx::query(concat!(
            "UPDATE bgtask_schedule SET seen_at = ",
            now!(),
            " WHERE function = ? AND definition = ?"
        ))
        .bind(function)
        .bind(definition)
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Deletes the schedules that no process has had since this time.
    pub(in crate::engine) async fn drop_schedules(&self, unseen_since: i64) -> Result<u64, Error> {
        let dropped = sqlx::query("DELETE FROM bgtask_schedule WHERE seen_at < ?")
            .bind(unseen_since)
            .execute(&self.pool)
            .await?;
        Ok(dropped.rows_affected())
    }
}
