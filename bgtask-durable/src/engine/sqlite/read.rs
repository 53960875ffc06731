//! SQLite: reads jobs, and counts them. Must never write.

use super::Sqlite;
use crate::engine::row::{Counted, Row, name_of, not_there, read_error, stats_of};
#[cfg(feature = "metrics")]
use crate::engine::types::Claim;
use crate::engine::types::{ANY_STATE, Error, RECENT};
use crate::operate::{Filter, Stats};
use bgtask::durable::{JobError, JobId};
use riverqueue::sqlx::sqlite::SqliteRow;
use riverqueue::sqlx::{self, QueryBuilder, Row as _};

/// Selects the columns of a [`Row`], with this expression for the output.
macro_rules! columns {
    ($output:expr) => {
        concat!(
            "
SELECT id, kind, queue, state, attempt, max_attempts,
    coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) AS crashes,
    json_extract(metadata, '$.\"bgtask:parked\"') AS parked,
    json_extract(metadata, '$.\"bgtask:failure\"') AS failure,
    json_extract(errors, '$[#-1].error') AS error,
    ",
            $output,
            " AS output,
    metadata -> '$.\"bgtask:progress\"' AS progress,
    coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) AS version,
    json_extract(metadata, '$.cancel_attempted_at') IS NOT NULL AS is_cancelling
FROM river_job "
        )
    };
}

pub(super) use columns;

const COLUMNS: &str = columns!("metadata -> '$.output'");

/// The rows of those who watch, in one statement however many they are. The output, which may be large, only where it is asked for.
const WATCHED: &str = concat!(
    columns!("CASE WHEN id IN (SELECT value FROM json_each(?1)) THEN metadata -> '$.output' END"),
    "WHERE id IN (SELECT value FROM json_each(?2))"
);

pub(super) fn read(row: &SqliteRow) -> Result<(JobId, Row), Error> {
    let read = Row {
        function: row.try_get("kind")?,
        state: row.try_get("state")?,
        attempt: row.try_get("attempt")?,
        crashes: row.try_get("crashes")?,
        parked: row.try_get("parked")?,
        failure: row.try_get("failure")?,
        error: row.try_get("error")?,
        output: row.try_get("output")?,
        queue: row.try_get("queue")?,
        max_attempts: row.try_get("max_attempts")?,
        progress: row.try_get("progress")?,
        version: row.try_get("version")?,
        is_cancelling: row.try_get("is_cancelling")?,
    };
    Ok((JobId::new(row.try_get("id")?), read))
}

/// Adds the conditions of a filter.
pub(super) fn select(query: &mut QueryBuilder<sqlx::Sqlite>, filter: &Filter) {
    select_by(query, filter, "");
}

/// The same, with a sign before each column but the id.
fn select_by(query: &mut QueryBuilder<sqlx::Sqlite>, filter: &Filter, sign: &str) {
    query.push("WHERE true");
    for (column, value) in [
        ("kind", filter.function.as_deref()),
        ("queue", filter.queue.as_deref()),
        ("state", filter.state.map(name_of)),
    ] {
        if let Some(value) = value {
            query
                .push(format!(" AND {sign}{column} = "))
                .push_bind(value.to_owned());
        }
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before.get());
    }
}

impl Sqlite {
    pub(in crate::engine) async fn row(&self, id: JobId) -> Result<Row, JobError> {
        let mut query = QueryBuilder::new(COLUMNS);
        query.push("WHERE id = ").push_bind(id.get());
        let row = query.build().fetch_optional(&self.pool).await;
        let row = row.map_err(|error| read_error(&error))?;
        if let Some(row) = row {
            let (_, row) = read(&row).map_err(|error| read_error(&error))?;
            return Ok(row);
        }
        Err(self.why_not_there(id).await)
    }

    /// Returns why a job is not there.
    pub(super) async fn why_not_there(&self, id: JobId) -> JobError {
        match self.greatest_given().await {
            Ok(given) => not_there(id, given),
            Err(error) => read_error(&error),
        }
    }

    /// Returns the greatest id of a job that was there: one up to it that is not there was deleted.
    pub(in crate::engine) async fn greatest_given(&self) -> Result<i64, Error> {
        // The table gives no id twice, and remembers the greatest.
        let greatest: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'river_job'")
                .fetch_optional(&self.pool)
                .await?;
        Ok(greatest.unwrap_or(0))
    }

    /// Returns those of the jobs that are there, with the outputs of those that `with_value` names.
    pub(in crate::engine) async fn watched(
        &self,
        jobs: &[(i64, bool)],
    ) -> Result<Vec<(JobId, Row)>, Error> {
        let list = |ids: Vec<i64>| {
            serde_json::to_string(&ids).map_err(|error| Error::Encode(error.into()))
        };
        let all = jobs.iter().map(|(id, _)| *id).collect();
        let with_value = jobs.iter().filter(|(_, with_value)| *with_value);
        let rows = sqlx::query(WATCHED)
            .bind(list(with_value.map(|(id, _)| *id).collect())?)
            .bind(list(all)?)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// Returns those of the jobs that have ended, or are not there.
    pub(in crate::engine) async fn ended_of(&self, ids: &[i64]) -> Result<Vec<i64>, Error> {
        let ids = serde_json::to_string(ids).map_err(|error| Error::Encode(error.into()))?;
        sqlx::query_scalar(
            "SELECT awaited.value FROM json_each(?) AS awaited LEFT JOIN river_job ON river_job.id = awaited.value
             WHERE river_job.id IS NULL OR river_job.state IN ('completed', 'cancelled', 'discarded')",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await
    }

    /// Returns the jobs of a filter, the latest first, among all jobs or among the recent ones. The ids are found in an index, and only the
    /// rows of the list are read.
    pub(in crate::engine) async fn listed(
        &self,
        filter: &Filter,
        among_recent: bool,
    ) -> Result<Vec<(JobId, Row)>, Error> {
        let mut query = QueryBuilder::new(COLUMNS);
        query.push("WHERE id IN (SELECT id FROM river_job ");
        if among_recent {
            // The sign keeps the database from another index than that of the ids.
            select_by(&mut query, filter, "+");
        } else {
            select(&mut query, filter);
        }
        if among_recent {
            query.push(" AND id >= ");
            match filter.before {
                Some(before) => query.push_bind(before.get()),
                None => query.push("(SELECT max(id) FROM river_job)"),
            };
            query.push(" - ").push_bind(RECENT);
        } else if filter.needs_any_state() {
            query.push(ANY_STATE);
        }
        query
            .push(" ORDER BY id DESC LIMIT ")
            .push_bind(i64::from(filter.limit))
            .push(") ORDER BY id DESC");
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// Returns the number of jobs by queue and state, and the paused queues.
    pub(in crate::engine) async fn stats(&self) -> Result<Stats, Error> {
        // The index by which jobs are claimed begins with state and queue.
        let rows = sqlx::query(
            "SELECT queue, state, count(*),
                 CASE state WHEN 'available' THEN (julianday('now') - julianday(min(scheduled_at))) * 86400.0 END
             FROM river_job GROUP BY queue, state",
        )
        .fetch_all(&self.pool)
        .await?;
        let count = |row: &SqliteRow| -> Result<Counted, Error> {
            let count = row.try_get(2)?;
            Ok((row.try_get(0)?, row.try_get(1)?, count, row.try_get(3)?))
        };
        let counted: Result<_, _> = rows.iter().map(count).collect();
        let paused = sqlx::query_scalar("SELECT name FROM river_queue WHERE paused_at IS NOT NULL")
            .fetch_all(&self.pool)
            .await?;
        Ok(stats_of(counted?, paused))
    }

    /// Returns for how many seconds the oldest waiting job of each of these queues could have run.
    pub(in crate::engine) async fn oldest_waiting(
        &self,
        queues: &[String],
    ) -> Result<Vec<(String, Option<f64>)>, Error> {
        let queues = serde_json::to_string(queues).map_err(|error| Error::Encode(error.into()))?;
        // By priority, so that the index by which jobs are claimed has each of them first, however many wait.
        sqlx::query_as(
            "SELECT queue, (julianday('now') - julianday(min(since))) * 86400.0 FROM (
                 SELECT wanted.value AS queue, (
                     SELECT scheduled_at FROM river_job
                     WHERE state = 'available' AND queue = wanted.value AND priority = urgency.column1
                     ORDER BY scheduled_at LIMIT 1) AS since
                 FROM json_each(?) AS wanted, (VALUES (1), (2), (3), (4)) AS urgency)
             GROUP BY queue",
        )
        .bind(queues)
        .fetch_all(&self.pool)
        .await
    }

    /// Returns whether the job of an attempt is done, and by this attempt: only a write of it has left its claim there.
    #[cfg(feature = "metrics")]
    pub(in crate::engine) async fn is_done_by(&self, claim: &Claim) -> Result<bool, Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM river_job
             WHERE id = ? AND state = 'completed' AND json_extract(metadata, '$.\"bgtask:claim\"') = ?)",
        )
        .bind(claim.id)
        .bind(claim.value())
        .fetch_one(&self.pool)
        .await
    }
}
