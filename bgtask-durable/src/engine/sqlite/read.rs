//! SQLite: reads jobs, and counts them. Must never write.

use super::Sqlite;
use crate::engine::row::{Row, read_error, state_of};
use crate::engine::types::Error;
use bgtask::durable::{JobError, JobId};
use riverqueue::sqlx::{self, Row as _};
use std::collections::BTreeMap;

impl Sqlite {
    pub(in crate::engine) async fn row(&self, id: JobId) -> Result<Row, JobError> {
        let row = sqlx::query(
            "SELECT kind, queue, state, attempt, max_attempts,
                 coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) AS crashes,
                 json_extract(metadata, '$.\"bgtask:parked\"') AS parked,
                 json_extract(metadata, '$.\"bgtask:failure\"') AS failure,
                 json_extract(errors, '$[#-1].error') AS error,
                 metadata -> '$.output' AS output,
                 metadata -> '$.\"bgtask:progress\"' AS progress,
                 coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) AS version,
                 json_extract(metadata, '$.cancel_attempted_at') IS NOT NULL AS is_cancelling
             FROM river_job WHERE id = ?",
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
                    attempt: row.try_get("attempt")?,
                    crashes: row.try_get("crashes")?,
                    parked: row.try_get("parked")?,
                    failure: row.try_get("failure")?,
                    error: row.try_get("error")?,
                    output: row.try_get("output")?,
                    queue: row.try_get("queue")?,
                    max_attempts: row.try_get("max_attempts")?,
                    progress: row.try_get("progress")?,
                    version: row.try_get("version")?,
                    is_cancelling: row.try_get("is_cancelling")?,
                })
            };
            return read().map_err(|error| read_error(&error));
        }
        // The table gives no id twice, and remembers the greatest.
        let greatest: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'river_job'")
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
        let rows = sqlx::query("SELECT state, count(*) FROM river_job GROUP BY state")
            .fetch_all(&self.pool)
            .await?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let state = state_of(row.try_get(0)?);
            *counts.entry(state.as_str()).or_insert(0) += row.try_get::<u64, _>(1)?;
        }
        Ok(counts)
    }
}
