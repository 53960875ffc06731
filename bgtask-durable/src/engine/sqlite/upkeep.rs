//! SQLite: what keeps the tables in order, beside the attempts: due jobs, expired jobs, claimed jobs that nobody runs.

use super::Sqlite;
use crate::engine::types::{BATCH, Error};
use riverqueue::sqlx::{self, Row as _};

impl Sqlite {
    /// Makes jobs available whose time has come. Returns their number.
    pub(in crate::engine) async fn promote(&self) -> Result<u64, Error> {
        let is_due: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM river_job
             WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= datetime('now', 'subsec'))",
        )
        .fetch_one(&self.pool)
        .await?;
        if !is_due {
            // A write transaction, even an empty one, takes the lock.
            return Ok(0);
        }
        let promoted = sqlx::query(
            concat!("UPDATE river_job SET state = 'available', metadata = jsonb_set(metadata, ", raised!(), ")
             WHERE state IN ('scheduled', 'retryable') AND scheduled_at <= datetime('now', 'subsec')"),
        )
        .execute(&self.pool)
        .await?;
        Ok(promoted.rows_affected())
    }

    /// Has jobs tried again whose arguments did not decode.
    pub(in crate::engine) async fn unpark(&self, mark: &str) -> Result<u64, Error> {
        let unparked = sqlx::query(
            concat!("UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'),
                 metadata = jsonb_set(jsonb_remove(metadata, '$.\"bgtask:parked\"'), '$.\"bgtask:mark\"', ?, ", raised!(), ")
             WHERE state = 'pending' AND json_extract(metadata, '$.\"bgtask:parked\"') IS NOT NULL"),
        )
        .bind(mark)
        .execute(&self.pool)
        .await?;
        Ok(unparked.rows_affected())
    }

    /// Returns the jobs that run in one life of a worker, each with the time of its claim.
    pub(in crate::engine) async fn running_in(
        &self,
        life: &str,
    ) -> Result<Vec<(i64, String)>, Error> {
        let rows = sqlx::query(
            "SELECT id, attempted_at || '' FROM river_job
             WHERE state = 'running' AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'",
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
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut count = 0;
        for (id, attempted_at) in jobs {
            let put_back = sqlx::query(
                concat!("UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'),
                     attempt = max(attempt - 1, 0), metadata = jsonb_set(metadata, '$.\"bgtask:mark\"', ?, ", raised!(), ")
                 WHERE id = ? AND state = 'running' AND attempted_at = ?
                     AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'"),
            )
            .bind(mark)
            .bind(id)
            .bind(attempted_at)
            .bind(life)
            .execute(&mut *transaction)
            .await?;
            count += put_back.rows_affected();
        }
        transaction.commit().await?;
        Ok(count)
    }

    /// Deletes jobs whose time in the database is over. Returns their number; call it again until it is 0.
    pub(in crate::engine) async fn prune(&self) -> Result<u64, Error> {
        let pruned = sqlx::query(
            "DELETE FROM river_job WHERE id IN (
                 SELECT id FROM river_job
                 WHERE state IN ('completed', 'cancelled', 'discarded') AND finalized_at IS NOT NULL
                     AND finalized_at < datetime('now', 'subsec', '-' || CASE state
                         WHEN 'discarded' THEN 2592000
                         ELSE coalesce(json_extract(metadata, '$.\"bgtask:keep\"'), 86400)
                     END || ' seconds')
                 LIMIT ?)",
        )
        .bind(BATCH)
        .execute(&self.pool)
        .await?;
        Ok(pruned.rows_affected())
    }
}
