//! Postgres: the workers and their beats, and the rescue. On a connection of the caller's, which is never one of the pool.

use super::changes::payloads;
use super::{end_channel, insert_channel, limited};
use crate::engine::types::{BATCH, Error, Rescued, SUSPECT_AT, SUSPECTS, Seen};
use riverqueue::sqlx::{self, Connection as _, PgConnection, Row as _};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A connection that is not one of the pool's. Each wait for the server has a limit, because a beat that waits for a server that is
/// gone would never learn that the process was declared dead.
#[derive(Debug)]
pub(crate) struct Connection {
    connection: PgConnection,
    schema: Arc<str>,
}

impl Connection {
    pub(super) fn new(connection: PgConnection, schema: Arc<str>) -> Self {
        Self { connection, schema }
    }

    /// Makes a worker known, with what it declares about itself. It may be repeated when its answer was lost: no other worker has the id.
    pub(in crate::engine) async fn register(&mut self, id: &str, about: &str) -> Result<(), Error> {
        let registered = sqlx::query(
            "INSERT INTO bgtask_worker (id, beat, about) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(about)
        .execute(&mut self.connection);
        limited(registered).await.map(drop)
    }

    pub(in crate::engine) async fn beat(&mut self, id: &str) -> Result<bool, Error> {
        let beaten =
            sqlx::query("UPDATE bgtask_worker SET beat = beat + 1, beat_at = now() WHERE id = $1")
                .bind(id)
                .execute(&mut self.connection);
        Ok(limited(beaten).await?.rows_affected() > 0)
    }

    /// Reads something, to see whether the server answers.
    pub(in crate::engine) async fn probe(&mut self) -> Result<(), Error> {
        let read = sqlx::query("SELECT count(*) FROM bgtask_worker").execute(&mut self.connection);
        limited(read).await.map(drop)
    }

    pub(in crate::engine) async fn unregister(&mut self, id: &str) -> Result<(), Error> {
        let removed = sqlx::query("DELETE FROM bgtask_worker WHERE id = $1")
            .bind(id)
            .execute(&mut self.connection);
        limited(removed).await.map(drop)
    }

    pub(in crate::engine) async fn workers(&mut self) -> Result<Vec<Seen>, Error> {
        let rows = sqlx::query(
            "SELECT id, beat FROM bgtask_worker
             UNION ALL
             SELECT id, NULL FROM (
                 SELECT DISTINCT split_part(attempted_by[array_upper(attempted_by, 1)], '.', 1) AS id
                 FROM river_job
                 WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] LIKE 'bgtask:%.%'
             ) AS named
             WHERE NOT EXISTS (SELECT 1 FROM bgtask_worker WHERE bgtask_worker.id = named.id)",
        )
        .fetch_all(&mut self.connection);
        limited(rows)
            .await?
            .into_iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Rescues one batch. Waits for no lock: what is locked now is found again with the next beat.
    pub(in crate::engine) async fn rescue(
        &mut self,
        worker: &Seen,
        mark: &str,
        crash_limit: u32,
    ) -> Result<Rescued, Error> {
        limited(self.rescue_batch(worker, mark, crash_limit)).await
    }

    async fn rescue_batch(
        &mut self,
        (id, beat): &Seen,
        mark: &str,
        crash_limit: u32,
    ) -> Result<Rescued, Error> {
        let mut transaction = self.connection.begin().await?;
        // One rescuer at a time. It unlocks with the transaction.
        let is_ours: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(format!("bgtask-rescue:{}", self.schema))
                .fetch_one(&mut *transaction)
                .await?;
        if !is_ours {
            return Ok(Rescued::default());
        }
        // Locked, so that a beat that comes late waits, and then finds its row gone.
        let now: Option<i64> =
            sqlx::query_scalar("SELECT beat FROM bgtask_worker WHERE id = $1 FOR UPDATE")
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
        if now != *beat {
            return Ok(Rescued::default());
        }
        let rows = sqlx::query(concat!(
            "WITH dead AS (
                 SELECT id, coalesce((metadata ->> 'bgtask:crashes')::int, 0) + 1 AS crashes
                 FROM river_job
                 WHERE state = 'running' AND starts_with(attempted_by[array_upper(attempted_by, 1)], $1 || '.')
                 LIMIT $2 FOR UPDATE SKIP LOCKED
             )
             UPDATE river_job AS job SET
                 state = CASE WHEN dead.crashes >= $3 THEN 'discarded' ELSE 'available' END::river_job_state,
                 finalized_at = CASE WHEN dead.crashes >= $3 THEN now() END,
                 queue = CASE WHEN dead.crashes >= $3 THEN coalesce(metadata ->> 'bgtask:queue', queue)
                     WHEN dead.crashes >= $4 THEN $5 ELSE queue END,
                 scheduled_at = now(),
                 attempt = greatest(attempt - 1, 0),
                 errors = CASE WHEN dead.crashes >= $3 THEN array_append(errors, jsonb_build_object(
                     'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                     'attempt', attempt, 'error', $6::text, 'trace', '')) ELSE errors END,
                 metadata = ",
            metadata!(
                "" "jsonb_build_object('bgtask:crashes', dead.crashes, 'bgtask:failure', 'crashed', 'bgtask:mark', $7::text,
                     'bgtask:queue', coalesce(metadata ->> 'bgtask:queue', queue))"
            ),
            " FROM dead WHERE job.id = dead.id
             RETURNING job.id, job.finalized_at IS NOT NULL, job.queue, job.kind",
        ))
        .bind(id)
        .bind(BATCH)
        .bind(i32::try_from(crash_limit).unwrap_or(i32::MAX))
        .bind(i32::try_from(SUSPECT_AT).unwrap_or(i32::MAX))
        .bind(SUSPECTS)
        .bind(format!("the process died {crash_limit} times while it ran this job"))
        .bind(mark)
        .fetch_all(&mut *transaction)
        .await?;
        let mut rescued = Rescued {
            has_more: rows.len() as i64 == BATCH,
            ..Rescued::default()
        };
        let mut queues = BTreeSet::new();
        let mut changed = Vec::with_capacity(rows.len());
        for row in &rows {
            changed.push(row.try_get(0)?);
            if row.try_get(1)? {
                rescued.add_dead(row.try_get(0)?, row.try_get(3)?);
            } else {
                rescued.add_available(row.try_get(3)?);
                queues.insert(row.try_get::<&str, _>(2)?);
            }
        }
        if !rescued.has_more {
            // A row that was locked is still the worker's, and so the worker stays to be found.
            sqlx::query(
                "DELETE FROM bgtask_worker WHERE id = $1 AND NOT EXISTS (
                     SELECT 1 FROM river_job
                     WHERE state = 'running' AND starts_with(attempted_by[array_upper(attempted_by, 1)], $1 || '.'))",
            )
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload
             UNION ALL
             SELECT pg_notify($3, json_build_object('queue', queue)::text) FROM unnest($4::text[]) AS queue",
        )
        .bind(end_channel(&self.schema))
        .bind(payloads(&changed))
        .bind(insert_channel(&self.schema))
        .bind(queues.into_iter().collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(rescued)
    }
}
