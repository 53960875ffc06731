//! Postgres: reads jobs, and counts them. Must never write.

use super::Postgres;
use crate::engine::row::{Row, read_error, state_of};
use crate::engine::types::Error;
use bgtask::durable::{JobError, JobId};
use riverqueue::sqlx::{self, Row as _};
use std::collections::BTreeMap;

impl Postgres {
    pub(in crate::engine) async fn row(&self, id: JobId) -> Result<Row, JobError> {
        let row = sqlx::query(
            "SELECT kind, state::text AS state, attempt::int AS attempt,
                 coalesce((metadata ->> 'bgtask:crashes')::int, 0) AS crashes,
                 metadata ->> 'bgtask:parked' AS parked,
                 metadata ->> 'bgtask:failure' AS failure,
                 errors[array_upper(errors, 1)] ->> 'error' AS error,
                 (metadata -> 'output')::text AS output
             FROM river_job WHERE id = $1",
        )
        .bind(id.get())
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| read_error(&error))?;
        if let Some(row) = row {
            let read = || -> Result<Row, Error> {
                Ok(Row {
                    function: row.try_get("kind")?,
                    state: row.try_get("state")?,
                    attempt: row.try_get::<i32, _>("attempt")?.try_into().unwrap_or(0),
                    crashes: row.try_get::<i32, _>("crashes")?.try_into().unwrap_or(0),
                    parked: row.try_get("parked")?,
                    failure: row.try_get("failure")?,
                    error: row.try_get("error")?,
                    output: row.try_get("output")?,
                })
            };
            return read().map_err(|error| read_error(&error));
        }
        // The sequence gives no id twice. It also counts the ids of transactions that were rolled back or are still open.
        let greatest: Option<i64> =
            sqlx::query_scalar("SELECT last_value FROM river_job_id_seq WHERE is_called")
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| read_error(&error))?;
        let was_given = id.get() > 0 && greatest.is_some_and(|greatest| id.get() <= greatest);
        Err(if was_given {
            JobError::Gone
        } else {
            JobError::NotFound
        })
    }

    /// Returns the number of jobs in each state.
    pub(in crate::engine) async fn counts(&self) -> Result<BTreeMap<&'static str, u64>, Error> {
        let rows = sqlx::query("SELECT state::text, count(*) FROM river_job GROUP BY state")
            .fetch_all(&self.pool)
            .await?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let state = state_of(row.try_get(0)?);
            *counts.entry(state.as_str()).or_insert(0) += row.try_get::<i64, _>(1)?.unsigned_abs();
        }
        Ok(counts)
    }
}
