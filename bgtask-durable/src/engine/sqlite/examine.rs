//! SQLite: reads what operators ask for: the history and content of a job, workers, queues, settings. Must never write.

use super::Sqlite;
use super::read::{columns, read, select};
use crate::engine::examine::{ContentRow, Measured, QueueRow, WorkerRow};
use crate::engine::row::{History, Row, history, read_error};
use crate::engine::types::Error;
use crate::operate::Filter;
use bgtask::durable::{JobError, JobId};
use riverqueue::sqlx::{self, QueryBuilder, Row as _};

/// The time of a text, in microseconds since 1970.
macro_rules! micros {
    ($text:literal) => {
        concat!(
            "CAST(round(unixepoch(",
            $text,
            ", 'subsec') * 1000) AS INTEGER) * 1000"
        )
    };
}

/// The columns of a job and of its history, without its value.
const DETAILS: &str = concat!(
    columns!(concat!(
        "priority, unique_key IS NOT NULL AS is_unique, ",
        micros!("created_at"),
        " AS stored_at, ",
        micros!("scheduled_at"),
        " AS due_at, ",
        micros!("attempted_at"),
        " AS claimed_at, ",
        micros!("finalized_at"),
        " AS ended_at, json_extract(metadata, '$.\"bgtask:tick\"') AS tick,
    json_extract(metadata, '$.\"bgtask:keep\"') AS keep, json_extract(attempted_by, '$[#-1]') AS worker,
    coalesce(json(errors), '[]') AS errors, NULL"
    )),
    "WHERE id = ?"
);

/// The queues of jobs that have not ended, found in the index by which jobs are claimed, a step for each state and queue, and those that
/// a worker or an operator has made known.
macro_rules! queues {
    () => {
        "
    WITH RECURSIVE live (state) AS (VALUES ('available'), ('running'), ('scheduled'), ('retryable'), ('pending')),
    found (state, queue) AS (
        SELECT state, (SELECT queue FROM river_job WHERE river_job.state = live.state ORDER BY queue LIMIT 1) FROM live
        UNION ALL
        SELECT state, (SELECT queue FROM river_job WHERE river_job.state = found.state AND river_job.queue > found.queue
            ORDER BY queue LIMIT 1)
        FROM found WHERE queue IS NOT NULL)
    SELECT names.name, "
    };
}

impl Sqlite {
    pub(in crate::engine) async fn details(&self, id: JobId) -> Result<(Row, History), JobError> {
        let row = sqlx::query(DETAILS)
            .bind(id.get())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| read_error(&error))?;
        let Some(row) = row else {
            return Err(self.why_not_there(id).await);
        };
        let read = || Ok((read(&row)?.1, history!(row)));
        read().map_err(|error: Error| read_error(&error))
    }

    /// Returns the arguments and the value of a job, as JSON.
    pub(in crate::engine) async fn content(&self, id: JobId) -> Result<ContentRow, JobError> {
        // Arguments that are no JSON are returned as they are: a job with such is parked.
        let content = sqlx::query_as(
            "SELECT CASE WHEN typeof(args) = 'text' AND NOT json_valid(args) THEN args ELSE json(args) END,
                 CASE state WHEN 'completed' THEN metadata -> '$.output' END
             FROM river_job WHERE id = ?",
        )
        .bind(id.get())
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| read_error(&error))?;
        match content {
            Some(content) => Ok(content),
            None => Err(self.why_not_there(id).await),
        }
    }

    /// Counts the jobs of a filter.
    pub(in crate::engine) async fn matching(&self, filter: &Filter) -> Result<u64, Error> {
        let mut query = QueryBuilder::new("SELECT count(*) FROM river_job ");
        select(&mut query, filter);
        let count: i64 = query.build_query_scalar().fetch_one(&self.pool).await?;
        Ok(count.unsigned_abs())
    }

    /// Returns the workers, and those that only jobs still name, each with the number of its jobs.
    pub(in crate::engine) async fn worker_rows(&self) -> Result<Vec<WorkerRow>, Error> {
        sqlx::query_as(concat!(
            "SELECT coalesce(worker.id, running.id), worker.beat, ",
            micros!("worker.started_at"),
            ", worker.about, coalesce(running.jobs, 0)
             FROM bgtask_worker AS worker FULL JOIN (
                 SELECT substr(name, 1, instr(name, '.') - 1) AS id, count(*) AS jobs
                 FROM (SELECT json_extract(attempted_by, '$[#-1]') AS name FROM river_job WHERE state = 'running')
                 WHERE name LIKE 'bgtask:%.%' GROUP BY 1) AS running ON running.id = worker.id
             ORDER BY worker.started_at, 1",
        ))
        .fetch_all(&self.pool)
        .await
    }

    /// Returns the queues that have jobs to run or are known.
    pub(in crate::engine) async fn queue_rows(&self) -> Result<Vec<QueueRow>, Error> {
        sqlx::query_as(concat!(
            queues!(),
            micros!("known.paused_at"),
            " FROM (SELECT queue AS name FROM found WHERE queue IS NOT NULL UNION SELECT name FROM river_queue) AS names
              LEFT JOIN river_queue AS known ON known.name = names.name ORDER BY names.name"
        ))
        .fetch_all(&self.pool)
        .await
    }

    /// Returns settings of the database, and its time in microseconds since 1970.
    pub(in crate::engine) async fn measure(&self) -> Result<Measured, Error> {
        let mut connection = self.pool.acquire().await?;
        let mut settings = Vec::new();
        for (name, query) in [
            ("version", "SELECT sqlite_version()"),
            (
                "journal_mode",
                "SELECT journal_mode FROM pragma_journal_mode",
            ),
            (
                "synchronous",
                "SELECT CASE synchronous WHEN 0 THEN 'off' WHEN 1 THEN 'normal' WHEN 2 THEN 'full' ELSE 'extra' END
                 FROM pragma_synchronous",
            ),
            ("page_count", "SELECT page_count || '' FROM pragma_page_count"),
            ("page_size", "SELECT page_size || '' FROM pragma_page_size"),
        ] {
            let value: String = sqlx::query_scalar(query)
                .fetch_one(&mut *connection)
                .await?;
            settings.push((name.to_owned(), value));
        }
        let now = sqlx::query_scalar(concat!("SELECT ", micros!("'now'")))
            .fetch_one(&mut *connection)
            .await?;
        Ok((settings, now))
    }

    pub(in crate::engine) fn connections(&self) -> u32 {
        self.pool.options().get_max_connections()
    }
}
