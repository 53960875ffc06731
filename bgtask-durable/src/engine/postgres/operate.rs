//! Postgres: the statements by which programs and operators change jobs that they do not hold.
//! Each sets a mark, with which the fence lets it through, and notifies those who wait for what it changes.

use super::read::select;
use super::{Postgres, end_channel};
use crate::engine::types::{BATCH, Cancelled, Error, micros};
use crate::operate::{Edit, Filter};
use bgtask::durable::JobState;
use riverqueue::sqlx::{self, QueryBuilder};

impl Postgres {
    /// Cancels a job that does not run, and marks one that does.
    pub(in crate::engine) async fn cancel(&self, id: i64, mark: &str) -> Result<Cancelled, Error> {
        // One statement, so that no claim and no end comes in between. The member is the one that River's own tools set.
        let mut transaction = self.pool.begin().await?;
        let state: Option<String> = sqlx::query_scalar(concat!(
            "UPDATE river_job SET
                 state = CASE state WHEN 'running' THEN state ELSE 'cancelled' END,
                 finalized_at = CASE state WHEN 'running' THEN NULL ELSE now() END,
                 metadata = ",
            metadata!(
                "" "jsonb_build_object('bgtask:mark', $1::text, 'cancel_attempted_at', coalesce(metadata ->> 'cancel_attempted_at',
                     to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')))"
            ),
            " WHERE id = $2 AND state NOT IN ('completed', 'cancelled', 'discarded')
             RETURNING state::text",
        ))
        .bind(mark)
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
        let cancelled = match state.as_deref() {
            None => Cancelled::Not,
            Some("running") => Cancelled::Marked,
            Some(_) => Cancelled::Now,
        };
        if cancelled == Cancelled::Now {
            self.notify_changed(&mut transaction, &[id]).await?;
        }
        transaction.commit().await?;
        Ok(cancelled)
    }

    /// Returns the running jobs of one life of a worker that are asked to end.
    pub(in crate::engine) async fn cancelling(&self, life: &str) -> Result<Vec<i64>, Error> {
        sqlx::query_scalar(
            "SELECT id FROM river_job
             WHERE state = 'running' AND starts_with(attempted_by[array_upper(attempted_by, 1)], $1 || '.')
                 AND metadata ? 'cancel_attempted_at'",
        )
        .bind(life)
        .fetch_all(&self.pool)
        .await
    }

    /// Makes a job available that waits for a time, or has ended without a value. Returns whether it was one.
    pub(in crate::engine) async fn retry_now(&self, id: i64, mark: &str) -> Result<bool, Error> {
        let retried: i64 = sqlx::query_scalar(and_wake!(
            "UPDATE river_job AS job SET state = 'available', scheduled_at = now(), finalized_at = NULL,
                 attempt = CASE WHEN state IN ('discarded', 'cancelled') THEN 0 ELSE attempt END,
                 queue = CASE WHEN state IN ('discarded', 'cancelled')
                     THEN coalesce(metadata ->> 'bgtask:queue', queue) ELSE queue END,
                 metadata = CASE WHEN state IN ('discarded', 'cancelled')
                     THEN metadata - '{cancel_attempted_at,bgtask:crashes,bgtask:progress}'::text[] ELSE metadata END
                     || jsonb_build_object('bgtask:mark', $2::text,
                         'bgtask:version', coalesce((metadata ->> 'bgtask:version')::bigint, 0) + 1)
             WHERE id = $3 AND state IN ('scheduled', 'retryable', 'discarded', 'cancelled')"
        ))
        .bind(&*self.schema)
        .bind(mark)
        .bind(id)
        .fetch_one(&self.pool)
        .await?;
        Ok(retried > 0)
    }

    /// Changes a job that waits for its turn or for a time. Returns whether it was one.
    pub(in crate::engine) async fn edit(
        &self,
        id: i64,
        edit: Edit,
        mark: &str,
    ) -> Result<bool, Error> {
        // A job that waits keeps its place if its time has passed. One whose time is to come is promoted by those who promote all others.
        let edited: i64 = sqlx::query_scalar(and_wake!(
            "UPDATE river_job AS job SET priority = coalesce($4, priority),
                 scheduled_at = CASE
                     WHEN wanted.at IS NULL OR (wanted.at <= now() AND state = 'available') THEN scheduled_at
                     ELSE greatest(wanted.at, now()) END,
                 state = CASE
                     WHEN wanted.at IS NULL THEN state
                     WHEN wanted.at <= now() THEN 'available'
                     WHEN state <> 'available' THEN state
                     WHEN attempt > 0 THEN 'retryable'
                     ELSE 'scheduled' END,
                 metadata = ",
            metadata!("" "jsonb_build_object('bgtask:mark', $2::text)"),
            " FROM (SELECT to_timestamp($5::bigint / 1000000.0) AS at) AS wanted
             WHERE id = $3 AND state IN ('available', 'scheduled', 'retryable')"
        ))
        .bind(&*self.schema)
        .bind(mark)
        .bind(id)
        .bind(edit.priority.map(i16::from))
        .bind(edit.at.map(micros))
        .fetch_one(&self.pool)
        .await?;
        Ok(edited > 0)
    }

    /// Has dead jobs of a filter tried again, a batch at a time, and each job once for one mark. Returns their number.
    pub(in crate::engine) async fn retry_dead(
        &self,
        filter: &Filter,
        mark: &str,
    ) -> Result<u64, Error> {
        let mut query = QueryBuilder::new("WITH dead AS (SELECT id FROM river_job ");
        select(&mut query, &filter.clone().state(JobState::Dead));
        query
            .push(" AND metadata ->> 'bgtask:mark' IS DISTINCT FROM ")
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
            .push(
                " FOR UPDATE SKIP LOCKED),
             made AS (UPDATE river_job AS job SET state = 'available', scheduled_at = now(), finalized_at = NULL, attempt = 0,
                 queue = coalesce(metadata ->> 'bgtask:queue', queue),
                 metadata = metadata - '{bgtask:crashes,bgtask:progress}'::text[] || jsonb_build_object(
                     'bgtask:version', coalesce((metadata ->> 'bgtask:version')::bigint, 0) + 1, 'bgtask:mark', ",
            )
            .push_bind(mark)
            .push(
                "::text) FROM dead WHERE job.id = dead.id RETURNING job.id, job.queue),
             schema AS (SELECT ",
            )
            .push_bind(&*self.schema)
            .push(concat!("::text AS name)", woken!("(SELECT name FROM schema)")));
        let retried: i64 = query.build_query_scalar().fetch_one(&self.pool).await?;
        Ok(retried.unsigned_abs())
    }

    /// Deletes a job that does not run. Returns whether it was there and did not.
    pub(in crate::engine) async fn delete(&self, id: i64) -> Result<bool, Error> {
        let deleted: i64 = sqlx::query_scalar(
            "WITH deleted AS (DELETE FROM river_job WHERE id = $1 AND state <> 'running' RETURNING id),
             noted AS (UPDATE bgtask_instance SET pruned = greatest(pruned, $1) WHERE EXISTS (SELECT 1 FROM deleted)),
             -- Nothing else follows for those who wait for the job or watch it.
             notified AS (SELECT pg_notify($2, id::text) FROM deleted)
             SELECT (SELECT count(*) FROM deleted), (SELECT count(*) FROM notified)",
        )
        .bind(id)
        .bind(end_channel(&self.schema))
        .fetch_one(&self.pool)
        .await?;
        Ok(deleted > 0)
    }

    /// Makes the record of a queue, which a worker of it would make.
    pub(in crate::engine) async fn make_queue(&self, queue: &str) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO river_queue (name, created_at, updated_at, metadata)
             VALUES ($1, now(), now(), '{}') ON CONFLICT (name) DO NOTHING",
        )
        .bind(queue)
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
