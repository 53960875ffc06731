//! Postgres: reads what operators ask for: the history and content of a job, workers, queues, settings. Must never write.

use super::Postgres;
use super::read::{columns, read, select};
use crate::engine::examine::{ContentRow, Measured, QueueRow, WorkerRow};
use crate::engine::row::{History, Row, history, read_error};
use crate::engine::types::Error;
use crate::operate::Filter;
use bgtask::durable::{JobError, JobId};
use riverqueue::sqlx::{self, QueryBuilder, Row as _};

/// A time in microseconds since 1970.
macro_rules! micros {
    ($time:literal) => {
        concat!("(extract(epoch FROM ", $time, ") * 1000000)::bigint")
    };
}

/// The columns of a job and of its history, without its value.
const DETAILS: &str = concat!(
    columns!(concat!(
        "priority::bigint AS priority, unique_key IS NOT NULL AS is_unique, ",
        micros!("created_at"),
        " AS stored_at, ",
        micros!("scheduled_at"),
        " AS due_at, ",
        micros!("attempted_at"),
        " AS claimed_at, ",
        micros!("finalized_at"),
        " AS ended_at, (metadata ->> 'bgtask:tick')::bigint AS tick, (metadata ->> 'bgtask:keep')::bigint AS keep,
    attempted_by[array_upper(attempted_by, 1)] AS worker, coalesce(to_jsonb(errors), '[]')::text AS errors, NULL::text"
    )),
    "river_job WHERE id = $1"
);

/// The queues of jobs that have not ended, found in the index by which jobs are claimed, a step for each state and queue, and those that
/// a worker or an operator has made known.
const QUEUES: &str = concat!(
    "WITH RECURSIVE live (state) AS (
        SELECT unnest('{available,running,scheduled,retryable,pending}'::river_job_state[])),
    found (state, queue) AS (
        SELECT live.state, (SELECT job.queue FROM river_job AS job WHERE job.state = live.state ORDER BY job.queue LIMIT 1)
        FROM live
        UNION ALL
        SELECT found.state, (SELECT job.queue FROM river_job AS job WHERE job.state = found.state AND job.queue > found.queue
            ORDER BY job.queue LIMIT 1)
        FROM found WHERE found.queue IS NOT NULL)
    SELECT names.name, ",
    micros!("known.paused_at"),
    " FROM (SELECT queue AS name FROM found WHERE queue IS NOT NULL UNION SELECT name FROM river_queue) AS names
      LEFT JOIN river_queue AS known ON known.name = names.name ORDER BY names.name"
);

const WORKERS: &str = concat!(
    "SELECT coalesce(worker.id, running.id), worker.beat, ",
    micros!("worker.started_at"),
    ", worker.about, coalesce(running.jobs, 0)
     FROM bgtask_worker AS worker FULL JOIN (
         SELECT split_part(attempted_by[array_upper(attempted_by, 1)], '.', 1) AS id, count(*) AS jobs FROM river_job
         WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] LIKE 'bgtask:%.%' GROUP BY 1
     ) AS running ON running.id = worker.id
     ORDER BY worker.started_at, 1"
);

/// Settings and the time. The sessions are those of all databases, as the limit is, and each role may count them here.
const MEASURE: &str = concat!(
    "SELECT current_setting('server_version'), current_setting('synchronous_commit'), current_setting('max_connections'),
         current_setting('superuser_reserved_connections'),
         (SELECT sum(numbackends) FROM pg_stat_database)::bigint::text,
         pg_is_in_recovery()::text, ",
    micros!("clock_timestamp()")
);

impl Postgres {
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
        let content = sqlx::query_as(
            "SELECT args::text, CASE state WHEN 'completed' THEN (metadata -> 'output')::text END
             FROM river_job WHERE id = $1",
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
        sqlx::query_as(WORKERS).fetch_all(&self.pool).await
    }

    /// Returns the queues that have jobs to run or are known.
    pub(in crate::engine) async fn queue_rows(&self) -> Result<Vec<QueueRow>, Error> {
        sqlx::query_as(QUEUES).fetch_all(&self.pool).await
    }

    /// Returns settings of the database, and its time in microseconds since 1970.
    pub(in crate::engine) async fn measure(&self) -> Result<Measured, Error> {
        let row = sqlx::query(MEASURE).fetch_one(&self.pool).await?;
        let names = [
            "version",
            "synchronous_commit",
            "max_connections",
            "superuser_reserved_connections",
            "connections",
            "is_in_recovery",
        ];
        let mut settings = Vec::with_capacity(names.len());
        for (index, name) in names.into_iter().enumerate() {
            settings.push((name.to_owned(), row.try_get(index)?));
        }
        Ok((settings, row.try_get(names.len())?))
    }

    pub(in crate::engine) fn connections(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    pub(in crate::engine) fn is_pooled(&self) -> bool {
        self.is_pooled
    }
}
