//! SQLite: the claim of a job as it is read, and the ends of attempts. Each write names its claim, for the fence, and
//! raises the version.

use super::Sqlite;
use crate::engine::types::{Claim, Error, Record, Recorded};
use riverqueue::sqlx::sqlite::SqliteConnection;
use riverqueue::sqlx::{self, Row as _};
use std::time::Duration;

impl Sqlite {
    /// Reads the claim of a job. `None` if it is no longer running.
    pub(in crate::engine) async fn claim_of(&self, id: i64) -> Result<Option<Claim>, Error> {
        let row = sqlx::query(
            "SELECT json_extract(attempted_by, '$[#-1]'), attempted_at || ''
             FROM river_job WHERE id = ? AND state = 'running'",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Claim {
                id,
                worker: row.try_get(0)?,
                attempted_at: row.try_get(1)?,
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

/// Changes the row of a job that an attempt holds, which binds its id, worker and time last.
macro_rules! held {
    ($set:literal $($more:expr)?, $members:literal) => {
        concat!(
            "UPDATE river_job SET ", $set, $($more, )? "metadata = jsonb_set(metadata, ", $members, ", ", raised!(), ")
             WHERE id = ? AND state = 'running' AND json_extract(attempted_by, '$[#-1]') = ? AND attempted_at = ?"
        )
    };
}

/// Adds an error, whose text is bound.
macro_rules! with_error {
    () => {
        "errors = jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
             'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', ''))), "
    };
}

/// Writes a record. Returns whether the attempt holds its job.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    claim: &Claim,
    record: &Record,
) -> Result<bool, Error> {
    let after = |pause: &Duration| format!("+{:.3} seconds", pause.as_secs_f64());
    // Each names its claim twice: in `WHERE`, and in the metadata for the fence. A progress sets a mark; see
    // `Claim::progress_mark`.
    let query = match record {
        Record::Done { output } => sqlx::query(held!(
            "state = 'completed', finalized_at = datetime('now', 'subsec'), ",
            "'$.\"bgtask:claim\"', ?, '$.output', jsonb(?)"
        ))
        .bind(claim.value())
        .bind(output),
        Record::Retry {
            failure,
            message,
            pause,
        } => sqlx::query(held!(
            "state = 'retryable', scheduled_at = datetime('now', 'subsec', ?), " with_error!(),
            "'$.\"bgtask:failure\"', ?, '$.\"bgtask:claim\"', ?"
        ))
        .bind(after(pause))
        .bind(message)
        .bind(failure.as_str())
        .bind(claim.value()),
        Record::Dead { failure, message } => sqlx::query(held!(
            "state = 'discarded', finalized_at = datetime('now', 'subsec'), " with_error!(),
            "'$.\"bgtask:failure\"', ?, '$.\"bgtask:claim\"', ?"
        ))
        .bind(message)
        .bind(failure.as_str())
        .bind(claim.value()),
        Record::Returned => sqlx::query(held!(
            "state = 'available', scheduled_at = datetime('now', 'subsec'), attempt = max(attempt - 1, 0), ",
            "'$.\"bgtask:claim\"', ?"
        ))
        .bind(claim.value()),
        Record::Postponed { pause } => sqlx::query(held!(
            "state = 'scheduled', scheduled_at = datetime('now', 'subsec', ?), attempt = max(attempt - 1, 0), ",
            "'$.\"bgtask:claim\"', ?"
        ))
        .bind(after(pause))
        .bind(claim.value()),
        Record::Cancelled => sqlx::query(held!(
            "state = 'cancelled', finalized_at = datetime('now', 'subsec'), ",
            "'$.\"bgtask:claim\"', ?"
        ))
        .bind(claim.value()),
        Record::Progress(progress) => sqlx::query(held!(
            "",
            "'$.\"bgtask:progress\"', jsonb(?), '$.\"bgtask:mark\"', ?"
        ))
        .bind(serde_json::to_string(progress).map_err(|error| Error::Encode(error.into()))?)
        .bind(Claim::progress_mark()),
        Record::Parked { reason } => sqlx::query(held!(
            "state = 'pending', attempt = max(attempt - 1, 0), ",
            "'$.\"bgtask:parked\"', ?, '$.\"bgtask:claim\"', ?"
        ))
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
