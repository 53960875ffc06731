//! Postgres: what keeps the tables in order, beside the attempts: due jobs, expired jobs, claimed jobs that nobody runs.

use super::Postgres;
use crate::engine::types::{BATCH, Error};
use riverqueue::sqlx::{self, Row as _};

impl Postgres {
    /// Makes jobs available whose time has come. Returns their number.
    pub(in crate::engine) async fn promote(&self) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            // Skips what another process promotes at this moment.
            let promoted: i64 = sqlx::query_scalar(and_wake!(
                "UPDATE river_job AS job SET state = 'available', metadata = ",
                metadata!("" "'{}'::jsonb"),
                " WHERE id IN (
                     SELECT id FROM river_job
                     WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= now()
                     ORDER BY scheduled_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
            ))
            .bind(&*self.schema)
            .bind(BATCH)
            .fetch_one(&self.pool)
            .await?;
            total += promoted.unsigned_abs();
            if promoted < BATCH {
                return Ok(total);
            }
        }
    }

    /// Has jobs tried again whose arguments did not decode.
    pub(in crate::engine) async fn unpark(&self, mark: &str) -> Result<u64, Error> {
        let unparked: i64 = sqlx::query_scalar(and_wake!(
            "UPDATE river_job AS job SET state = 'available', scheduled_at = now(), metadata = ",
            metadata!("" "jsonb_build_object('bgtask:mark', $2::text)"),
            " - 'bgtask:parked'
             WHERE state = 'pending' AND metadata ? 'bgtask:parked'"
        ))
        .bind(&*self.schema)
        .bind(mark)
        .fetch_one(&self.pool)
        .await?;
        Ok(unparked.unsigned_abs())
    }

    /// Returns the jobs that run in one life of a worker, each with the time of its claim.
    pub(in crate::engine) async fn running_in(
        &self,
        life: &str,
    ) -> Result<Vec<(i64, String)>, Error> {
        let rows = sqlx::query(
            "SELECT id, coalesce((extract(epoch FROM attempted_at) * 1000000)::bigint::text, '') FROM river_job
             WHERE state = 'running' AND starts_with(attempted_by[array_upper(attempted_by, 1)], $1 || '.')",
        )
        .bind(life)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Makes jobs available that this life has claimed and nobody runs. Their attempts are not counted. Returns their number.
    pub(in crate::engine) async fn put_back(
        &self,
        life: &str,
        jobs: &[(i64, String)],
        mark: &str,
    ) -> Result<u64, Error> {
        let (ids, claims): (Vec<i64>, Vec<&str>) =
            jobs.iter().map(|(id, at)| (*id, at.as_str())).unzip();
        let put_back: i64 = sqlx::query_scalar(and_wake!(
            "UPDATE river_job AS job SET state = 'available', scheduled_at = now(),
                 attempt = greatest(attempt - 1, 0), metadata = ",
            metadata!("" "jsonb_build_object('bgtask:mark', $2::text)"),
            " FROM unnest($3::bigint[], $4::text[]) AS lost (id, attempted_at)
             WHERE job.id = lost.id AND job.state = 'running'
                 AND (extract(epoch FROM job.attempted_at) * 1000000)::bigint::text = lost.attempted_at
                 AND starts_with(job.attempted_by[array_upper(job.attempted_by, 1)], $5 || '.')"
        ))
        .bind(&*self.schema)
        .bind(mark)
        .bind(ids)
        .bind(claims)
        .bind(life)
        .fetch_one(&self.pool)
        .await?;
        Ok(put_back.unsigned_abs())
    }

    /// Deletes jobs whose time in the database is over. Returns their number; call it again until it is 0.
    pub(in crate::engine) async fn prune(&self) -> Result<u64, Error> {
        let pruned: i64 = sqlx::query_scalar(
            "WITH pruned AS (
                 DELETE FROM river_job WHERE id IN (
                     SELECT id FROM river_job
                     WHERE state IN ('completed', 'cancelled', 'discarded') AND finalized_at IS NOT NULL
                         AND finalized_at < now() - interval '1 second' * CASE state
                             WHEN 'discarded' THEN 2592000
                             ELSE coalesce((metadata ->> 'bgtask:keep')::float8, 86400)
                         END
                     LIMIT $1 FOR UPDATE SKIP LOCKED)
                 RETURNING id),
             noted AS (UPDATE bgtask_instance SET pruned = greatest(pruned, (SELECT max(id) FROM pruned))
                 WHERE EXISTS (SELECT 1 FROM pruned))
             SELECT count(*) FROM pruned",
        )
        .bind(BATCH)
        .fetch_one(&self.pool)
        .await?;
        Ok(pruned.unsigned_abs())
    }
}
