//! Postgres: claims waiting jobs for a worker. Must never end one.

use super::Postgres;
use crate::engine::types::{Claim, Claimed, Claims, Error, arguments};
use riverqueue::sqlx::postgres::PgRow;
use riverqueue::sqlx::{self, Row as _};

/// As River claims: in the order of its index, without the rows that others claim at this moment; the worker is added to those that
/// have tried the job, of which a hundred are kept, and the attempt is counted. The fence compares what this writes with the claim that
/// each later write names. A job of a function that this program does not have is left for those that do.
const CLAIM: &str = "
    WITH free AS (
        SELECT id FROM river_job
        WHERE state = 'available' AND queue = $1 AND scheduled_at <= now() AND kind = ANY ($2)
            AND NOT EXISTS (SELECT 1 FROM river_queue WHERE name = $1 AND paused_at IS NOT NULL)
        ORDER BY priority, scheduled_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)
    UPDATE river_job AS job SET state = 'running', attempt = job.attempt + 1, attempted_at = now(),
        attempted_by = array_append(
            CASE WHEN array_length(job.attempted_by, 1) >= 100 THEN job.attempted_by[2:] ELSE job.attempted_by END, $4)
    FROM free WHERE job.id = free.id
    RETURNING job.id, (extract(epoch FROM job.attempted_at) * 1000000)::bigint::text, job.kind, job.queue,
        job.attempt::integer, job.max_attempts::integer, job.args::text,
        job.metadata ->> 'bgtask:trace', job.metadata ->> 'bgtask:tick'";

impl Postgres {
    /// Claims jobs of one queue.
    pub(in crate::engine) async fn claim(
        &self,
        claims: &Claims<'_>,
    ) -> Result<Vec<Claimed>, Error> {
        let rows = sqlx::query(CLAIM)
            .bind(claims.queue)
            .bind(claims.functions)
            .bind(i64::try_from(claims.limit).unwrap_or(i64::MAX))
            .bind(claims.worker)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| read(row, claims.worker)).collect()
    }
}

fn read(row: &PgRow, worker: &str) -> Result<Claimed, Error> {
    let (attempt, max_attempts): (i32, i32) = (row.try_get(4)?, row.try_get(5)?);
    let tick: Option<&str> = row.try_get(8)?;
    Ok(Claimed {
        claim: Claim {
            id: row.try_get(0)?,
            worker: worker.to_owned(),
            attempted_at: row.try_get(1)?,
        },
        function: row.try_get(2)?,
        queue: row.try_get(3)?,
        attempt: attempt.unsigned_abs(),
        max_attempts: max_attempts.unsigned_abs(),
        arguments: arguments(row.try_get(6)?)?,
        trace: row.try_get(7)?,
        tick: tick.and_then(|tick| tick.parse().ok()),
    })
}
