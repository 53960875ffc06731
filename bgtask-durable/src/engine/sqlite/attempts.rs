//! SQLite: a claimed job as it is read, and the ends of attempts. Each write names its claim, for the fence, and
//! raises the version.

use super::{Sqlite, operate};
use crate::engine::types::{Claim, Claimed, Error, Record, Recorded};
use riverqueue::sqlx::sqlite::SqliteConnection;
use riverqueue::sqlx::{self, Row as _};

impl Sqlite {
    /// Reads a job that a worker of this process has claimed. `None` if it is no longer running.
    pub(in crate::engine) async fn claimed(&self, id: i64) -> Result<Option<Claimed>, Error> {
        let row = sqlx::query(
            "SELECT json_extract(attempted_by, '$[#-1]'), attempted_at || '', kind, json(args), attempt, max_attempts,
                 json_extract(metadata, '$.\"bgtask:trace\"'), queue
             FROM river_job WHERE id = ? AND state = 'running'",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Claimed {
                claim: Claim {
                    id,
                    worker: row.try_get(0)?,
                    attempted_at: row.try_get(1)?,
                },
                function: row.try_get(2)?,
                arguments: row.try_get(3)?,
                attempt: row.try_get::<u32, _>(4)?,
                max_attempts: row.try_get::<u32, _>(5)?,
                trace: row.try_get(6)?,
                queue: row.try_get(7)?,
            })
        })
        .transpose()
    }

    /// Records the ends of attempts in one transaction.
    pub(in crate::engine) async fn record(
        &self,
        ends: &[(Claim, Record)],
    ) -> Result<Vec<Recorded>, Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut recorded = Vec::with_capacity(ends.len());
        for (claim, record) in ends {
            let is_recorded = write(&mut transaction, claim, record).await?
                || was_written(&mut transaction, claim).await?;
            recorded.push(Recorded::of(is_recorded));
        }
        transaction.commit().await?;
        Ok(recorded)
    }
}

/// Returns whether the end of an attempt is in the database: the answer to an earlier try may have been lost.
async fn was_written(connection: &mut SqliteConnection, claim: &Claim) -> Result<bool, Error> {
    // Only a write of this attempt has left its claim there.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM river_job
         WHERE id = ? AND json_extract(metadata, '$.\"bgtask:claim\"') = ?)",
    )
    .bind(claim.id)
    .bind(claim.value())
    .fetch_one(connection)
    .await
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    claim: &Claim,
    record: &Record,
) -> Result<bool, Error> {
    // Each names its claim twice: in `WHERE`, and in the metadata for the fence.
    let query = match record {
        Record::Done { output } => sqlx::query(
            "UPDATE river_job SET state = 'completed', finalized_at = datetime('now', 'subsec'),
                 metadata = jsonb_set(metadata, '$.\"bgtask:claim\"', ?, '$.output', jsonb(?), '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(claim.value())
        .bind(output),
        Record::Retry {
            failure,
            message,
            pause,
        } => sqlx::query(
            "UPDATE river_job SET state = 'retryable', scheduled_at = datetime('now', 'subsec', ?),
                 errors = jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
                     'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', ''))),
                 metadata = jsonb_set(metadata, '$.\"bgtask:failure\"', ?, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(format!("+{:.3} seconds", pause.as_secs_f64()))
        .bind(message)
        .bind(failure.as_str())
        .bind(claim.value()),
        Record::Dead { failure, message } => sqlx::query(
            "UPDATE river_job SET state = 'discarded', finalized_at = datetime('now', 'subsec'),
                 errors = jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
                     'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', ''))),
                 metadata = jsonb_set(metadata, '$.\"bgtask:failure\"', ?, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(message)
        .bind(failure.as_str())
        .bind(claim.value()),
        Record::Returned => sqlx::query(
            "UPDATE river_job SET state = 'available', scheduled_at = datetime('now', 'subsec'),
                 attempt = max(attempt - 1, 0), metadata = jsonb_set(metadata, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(claim.value()),
        Record::Postponed { pause } => return operate::postpone(connection, claim, *pause).await,
        Record::Cancelled => return operate::end_cancelled(connection, claim).await,
        Record::Progress(progress) => return operate::progress(connection, claim, progress).await,
        Record::Parked { reason } => sqlx::query(
            "UPDATE river_job SET state = 'pending', attempt = max(attempt - 1, 0),
                 metadata = jsonb_set(metadata, '$.\"bgtask:parked\"', ?, '$.\"bgtask:claim\"', ?, '$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1)
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?",
        )
        .bind(reason)
        .bind(claim.value()),
    };
    let written = query
        .bind(claim.id)
        .bind(&claim.worker)
        .bind(&claim.attempted_at)
        .execute(connection)
        .await?;
    Ok(written.rows_affected() > 0)
}
