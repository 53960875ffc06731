//! SQLite: the statements by which programs and operators change jobs that they do not hold.
//! Each sets a mark, with which the fence lets it through.

use super::Sqlite;
use super::read::select;
use crate::engine::types::{BATCH, Cancelled, Error, micros};
use crate::operate::{Edit, Filter};
use bgtask::durable::JobState;
use riverqueue::sqlx::{self, QueryBuilder};

/// Makes a job cancelled that leaves `running` without a value after it was asked to end, whoever writes that: the attempt, the
/// shutdown, or the rescue.
pub(super) const CANCELLED: &str = "CREATE TRIGGER bgtask_cancelled AFTER UPDATE ON river_job
WHEN OLD.state = 'running'
    AND NEW.state IN ('available', 'scheduled', 'retryable', 'pending', 'discarded')
    AND json_extract(NEW.metadata, '$.cancel_attempted_at') IS NOT NULL
BEGIN
    UPDATE river_job SET state = 'cancelled', finalized_at = datetime('now', 'subsec') WHERE id = NEW.id;
END";

impl Sqlite {
    /// Cancels a job that does not run, and marks one that does.
    pub(in crate::engine) async fn cancel(&self, id: i64, mark: &str) -> Result<Cancelled, Error> {
        // One statement, so that no claim and no end comes in between. The member is the one that River's own tools set.
        let state: Option<String> = sqlx::query_scalar(
            concat!("UPDATE river_job SET
                 state = CASE state WHEN 'running' THEN state ELSE 'cancelled' END,
                 finalized_at = CASE state WHEN 'running' THEN NULL ELSE datetime('now', 'subsec') END,
                 metadata = jsonb_set(metadata,
                     '$.cancel_attempted_at', coalesce(json_extract(metadata, '$.cancel_attempted_at'),
                         strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
                     '$.\"bgtask:mark\"', ?,
                     ", raised!(), ")
             WHERE id = ? AND state NOT IN ('completed', 'cancelled', 'discarded')
             RETURNING state"),
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
            concat!("UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'), finalized_at = NULL,
                 attempt = CASE WHEN state IN ('discarded', 'cancelled') THEN 0 ELSE attempt END,
                 queue = CASE WHEN state IN ('discarded', 'cancelled')
                     THEN coalesce(json_extract(metadata, '$.\"bgtask:queue\"'), queue) ELSE queue END,
                 metadata = jsonb_set(
                     CASE WHEN state IN ('discarded', 'cancelled')
                         THEN jsonb_remove(metadata, '$.cancel_attempted_at', '$.\"bgtask:crashes\"', '$.\"bgtask:progress\"')
                         ELSE metadata END,
                     '$.\"bgtask:mark\"', ?,
                     ", raised!(), ")
             WHERE id = ? AND state IN ('scheduled', 'retryable', 'discarded', 'cancelled')"),
        )
        .bind(mark)
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(retried.rows_affected() > 0)
    }

    /// Changes a job that waits for its turn or for a time. Returns whether it was one.
    pub(in crate::engine) async fn edit(
        &self,
        id: i64,
        edit: Edit,
        mark: &str,
    ) -> Result<bool, Error> {
        // A job that waits keeps its place if its time has passed. One whose time is to come is promoted by those who promote all others.
        let edited = sqlx::query(
            concat!("UPDATE river_job SET priority = coalesce($1, priority),
                 scheduled_at = CASE
                     WHEN wanted.at IS NULL OR (wanted.has_come AND state = 'available') THEN scheduled_at
                     WHEN wanted.has_come THEN datetime('now', 'subsec')
                     ELSE wanted.at END,
                 state = CASE
                     WHEN wanted.at IS NULL THEN state
                     WHEN wanted.has_come THEN 'available'
                     WHEN state <> 'available' THEN state
                     WHEN attempt > 0 THEN 'retryable'
                     ELSE 'scheduled' END,
                 metadata = jsonb_set(metadata, '$.\"bgtask:mark\"', $2, ", raised!(), ")
             FROM (SELECT datetime($3 / 1000000.0, 'unixepoch', 'subsec') AS at,
                 datetime($3 / 1000000.0, 'unixepoch', 'subsec') <= datetime('now', 'subsec') AS has_come) AS wanted
             WHERE id = $4 AND state IN ('available', 'scheduled', 'retryable')"),
        )
        .bind(edit.priority)
        .bind(mark)
        .bind(edit.at.map(micros))
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(edited.rows_affected() > 0)
    }

    /// Has dead jobs of a filter tried again, a batch at a time, and each job once for one mark. Returns their number.
    pub(in crate::engine) async fn retry_dead(
        &self,
        filter: &Filter,
        mark: &str,
    ) -> Result<u64, Error> {
        let mut query = QueryBuilder::new(
            concat!("UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'), finalized_at = NULL, attempt = 0,
                 queue = coalesce(json_extract(metadata, '$.\"bgtask:queue\"'), queue),
                 metadata = jsonb_set(
                     jsonb_remove(metadata, '$.\"bgtask:crashes\"', '$.\"bgtask:progress\"'),
                     ", raised!(), ",
                     '$.\"bgtask:mark\"', "),
        );
        query
            .push_bind(mark)
            .push(") WHERE id IN (SELECT id FROM river_job ");
        let dead = filter.clone().state(JobState::Dead);
        select(&mut query, &dead);
        query
            .push(" AND json_extract(metadata, '$.\"bgtask:mark\"') IS NOT ")
            .push_bind(mark);
        // Another job with its key has taken its place, or will: of several dead jobs with one key, the latest.
        query
            .push(
                " AND NOT EXISTS (SELECT 1 FROM river_job AS other
                     WHERE other.unique_key = river_job.unique_key AND other.id <> river_job.id
                         AND (other.state NOT IN ('completed', 'cancelled', 'discarded')
                             OR (other.state = 'discarded' AND other.id > river_job.id)))
                 LIMIT ",
            )
            .push_bind(BATCH)
            .push(")");
        let retried = query.build().execute(&self.pool).await?;
        Ok(retried.rows_affected())
    }

    /// Deletes a job that does not run. Returns whether it was there and did not.
    pub(in crate::engine) async fn delete(&self, id: i64) -> Result<bool, Error> {
        let deleted = sqlx::query("DELETE FROM river_job WHERE id = ? AND state <> 'running'")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Makes the record of a queue, which a worker of it would make.
    pub(in crate::engine) async fn make_queue(&self, queue: &str) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO river_queue (name, created_at, updated_at, metadata)
             VALUES (?, datetime('now', 'subsec'), datetime('now', 'subsec'), jsonb('{}')) ON CONFLICT (name) DO NOTHING",
        )
        .bind(queue)
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
