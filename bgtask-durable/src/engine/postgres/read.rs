//! Postgres: reads jobs, and counts them. Must never write.

use super::Postgres;
use crate::engine::row::{Counted, Row, name_of, not_there, read_error, stats_of};
#[cfg(feature = "metrics")]
use crate::engine::types::Claim;
use crate::engine::types::{ANY_STATE, Error, RECENT};
use crate::operate::{Filter, Stats};
use bgtask::durable::{JobError, JobId};
use riverqueue::sqlx::postgres::PgRow;
use riverqueue::sqlx::{self, QueryBuilder, Row as _};

/// Selects the columns of a [`Row`], with this expression for the output.
macro_rules! columns {
    ($output:expr) => { concat!("
SELECT id, kind, queue, state::text AS state, attempt::int AS attempt, max_attempts::int AS max_attempts,
    coalesce((metadata ->> 'bgtask:crashes')::int, 0) AS crashes,
    metadata ->> 'bgtask:parked' AS parked,
    metadata ->> 'bgtask:failure' AS failure,
    errors[array_upper(errors, 1)] ->> 'error' AS error,
    ", $output, " AS output,
    (metadata -> 'bgtask:progress')::text AS progress,
    coalesce((metadata ->> 'bgtask:version')::bigint, 0) AS version,
    metadata ? 'cancel_attempted_at' AS is_cancelling
FROM ") };
}

pub(super) use columns;

const COLUMNS: &str = concat!(columns!("(metadata -> 'output')::text"), "river_job ");

/// The rows of those who watch, in one statement however many they are. The output, which may be large, only where it is asked for.
const WATCHED: &str = concat!(
    columns!("CASE WHEN with_value THEN (metadata -> 'output')::text END"),
    "(SELECT job.*, with_value FROM unnest($1::bigint[], $2::boolean[]) AS watched (id, with_value)
      JOIN river_job AS job ON job.id = watched.id) AS job"
);

pub(super) fn read(row: &PgRow) -> Result<(JobId, Row), Error> {
    let number = |column| -> Result<u32, Error> {
        let number: i32 = row.try_get(column)?;
        Ok(number.try_into().unwrap_or(0))
    };
    let read = Row {
        function: row.try_get("kind")?,
        queue: row.try_get("queue")?,
        state: row.try_get("state")?,
        attempt: number("attempt")?,
        max_attempts: number("max_attempts")?,
        crashes: number("crashes")?,
        parked: row.try_get("parked")?,
        failure: row.try_get("failure")?,
        error: row.try_get("error")?,
        output: row.try_get("output")?,
        progress: row.try_get("progress")?,
        version: row.try_get::<i64, _>("version")?.unsigned_abs(),
        is_cancelling: row.try_get("is_cancelling")?,
    };
    Ok((JobId::new(row.try_get("id")?), read))
}

/// Adds the conditions of a filter.
pub(super) fn select(query: &mut QueryBuilder<sqlx::Postgres>, filter: &Filter) {
    query.push("WHERE true");
    if let Some(function) = &filter.function {
        query.push(" AND kind = ").push_bind(function.clone());
    }
    if let Some(queue) = &filter.queue {
        query.push(" AND queue = ").push_bind(queue.clone());
    }
    if let Some(state) = filter.state {
        query
            .push(" AND state = ")
            .push_bind(name_of(state))
            .push("::river_job_state");
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before.get());
    }
}

impl Postgres {
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

    /// Returns the greatest id of a job that is gone: one up to it that is not there was deleted.
    pub(in crate::engine) async fn greatest_given(&self) -> Result<i64, Error> {
        // The sequence would not do: it has also counted the ids of transactions that were rolled back or are still open.
        sqlx::query_scalar("SELECT pruned FROM bgtask_instance")
            .fetch_one(&self.pool)
            .await
    }

    /// Returns those of the jobs that are there, with the outputs of those that `with_value` names.
    pub(in crate::engine) async fn watched(
        &self,
        jobs: &[(i64, bool)],
    ) -> Result<Vec<(JobId, Row)>, Error> {
        let (ids, with_value): (Vec<_>, Vec<_>) = jobs.iter().copied().unzip();
        let rows = sqlx::query(WATCHED)
            .bind(ids)
            .bind(with_value)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// Returns those of the jobs that have ended, or are not there.
    pub(in crate::engine) async fn ended_of(&self, ids: &[i64]) -> Result<Vec<i64>, Error> {
        sqlx::query_scalar(
            "SELECT awaited.id FROM unnest($1::bigint[]) AS awaited (id) LEFT JOIN river_job AS job ON job.id = awaited.id
             WHERE job.id IS NULL OR job.finalized_at IS NOT NULL",
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
        select(&mut query, filter);
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
            "SELECT queue, state::text, count(*),
                 CASE state WHEN 'available' THEN extract(epoch FROM now() - min(scheduled_at))::float8 END
             FROM river_job GROUP BY queue, state",
        )
        .fetch_all(&self.pool)
        .await?;
        let count = |row: &PgRow| -> Result<Counted, Error> {
            let count = row.try_get::<i64, _>(2)?.unsigned_abs();
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
        // By priority, so that the index by which jobs are claimed has each of them first, however many wait.
        sqlx::query_as(
            "SELECT queue, extract(epoch FROM now() - min(since))::float8 FROM (
                 SELECT wanted.queue, (
                     SELECT scheduled_at FROM river_job AS job
                     WHERE job.state = 'available' AND job.queue = wanted.queue AND job.priority = urgency.priority
                     ORDER BY scheduled_at LIMIT 1) AS since
                 FROM unnest($1::text[]) AS wanted (queue), generate_series(1, 4) AS urgency (priority)) AS oldest
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
             WHERE id = $1 AND state = 'completed' AND metadata ->> 'bgtask:claim' = $2)",
        )
        .bind(claim.id)
        .bind(claim.value())
        .fetch_one(&self.pool)
        .await
    }
}
