//! SQLite: the statements by which programs and operators change jobs that they do not hold.
//! Each sets a mark, with which the fence lets it through.

use super::Sqlite;
use crate::engine::types::{Cancelled, Error};
use riverqueue::sqlx;

impl Sqlite {
    /// Cancels a job that does not run, and marks one that does.
    pub(in crate::engine) async fn cancel(&self, id: i64, mark: &str) -> Result<Cancelled, Error> {
        // One statement, so that no claim and no end comes in between. The member is the one that River's own tools set.
        let state: Option<String> = sqlx::query_scalar(
            "UPDATE river_job SET
                 state = CASE state WHEN 'running' THEN state ELSE 'cancelled' END,
                 finalized_at = CASE state WHEN 'running' THEN NULL ELSE datetime('now', 'subsec') END,
                 metadata = jsonb_set(metadata,
                     '$.cancel_attempted_at', coalesce(json_extract(metadata, '$.cancel_attempted_at'),
                         strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
                     '$.\"bgtask:mark\"', ?,
                     '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state NOT IN ('completed', 'cancelled', 'discarded')
             RETURNING state",
        )
        .bind(mark)
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        Ok(match state.as_deref() {
            None => Cancelled::Not,
            Some("running") => Cancelled::Marked,
            Some(_) => Cancelled::Now,
        })
    }

    /// Returns the running jobs of one life of a worker that are asked to end.
    pub(in crate::engine) async fn cancelling(&self, life: &str) -> Result<Vec<i64>, Error> {
        sqlx::query_scalar(
            "SELECT id FROM river_job
             WHERE state = 'running' AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'
                 AND json_extract(metadata, '$.cancel_attempted_at') IS NOT NULL",
        )
        .bind(life)
        .fetch_all(&self.pool)
        .await
    }

    /// Makes a job available that waits for a time, or has ended without a value. Returns whether it was one.
    pub(in crate::engine) async fn retry_now(&self, id: i64, mark: &str) -> Result<bool, Error> {
        let retried = sqlx::query(
            "UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'), finalized_at = NULL,
                 attempt = CASE WHEN state IN ('discarded', 'cancelled') THEN 0 ELSE attempt END,
                 metadata = jsonb_set(
                     CASE WHEN state IN ('discarded', 'cancelled')
                         THEN jsonb_remove(metadata, '$.cancel_attempted_at', '$.\"bgtask:crashes\"', '$.\"bgtask:progress\"')
                         ELSE metadata END,
                     '$.\"bgtask:mark\"', ?,
                     '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state IN ('scheduled', 'retryable', 'discarded', 'cancelled')",
        )
        .bind(mark)
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(retried.rows_affected() > 0)
    }
}
