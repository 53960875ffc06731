//! SQLite: the claim of a job as it is read, and the ends of attempts. Each write names its claim, for the fence, and
//! raises the version.

use super::Sqlite;
use crate::engine::entry::Entry;
use crate::engine::types::{Claim, Error, Record, Recorded, of_different_jobs};
use riverqueue::sqlx::sqlite::SqliteConnection;
use riverqueue::sqlx::{self, Row as _};
use std::collections::HashSet;

/// The metadata of a row with the members of a record.
macro_rules! with_members {
    () => {
        concat!(
            "jsonb_set(jsonb_patch(metadata, ended.members), ",
            raised!(),
            ")"
        )
    };
}

/// One statement for many records: each statement is a way to the thread of the connection and back. They are of different jobs, because
/// a statement changes a row once. Each names its claim twice: in `WHERE`, and in the metadata for the fence. A progress sets a mark; see
/// `Claim::progress_mark`.
const RECORD: &str = concat!(
    "WITH ended AS MATERIALIZED (
         SELECT value ->> 'id' AS id, value ->> 'worker' AS worker, value ->> 'attempted_at' AS attempted_at,
             value ->> 'state' AS state, value ->> 'pause' AS pause, value ->> 'error' AS error, value ->> 'output' AS output,
             value -> 'progress' AS progress, value -> 'members' AS members
         FROM json_each(?))
     UPDATE river_job SET
         state = ended.state,
         finalized_at = CASE WHEN ended.state IN ('completed', 'discarded', 'cancelled') THEN datetime('now', 'subsec') END,
         scheduled_at = CASE WHEN ended.state IN ('retryable', 'scheduled', 'available')
             THEN datetime('now', 'subsec', format('+%.3f seconds', ended.pause)) ELSE scheduled_at END,
         attempt = CASE WHEN ended.state IN ('available', 'scheduled', 'pending') THEN max(attempt - 1, 0) ELSE attempt END,
         errors = CASE WHEN ended.error IS NULL THEN errors ELSE jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]',
             jsonb(json_object('at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ended.error, 'trace', ''))) END,
         metadata = CASE
             WHEN ended.output IS NOT NULL THEN jsonb_set(", with_members!(), ", '$.output', jsonb(ended.output))
             WHEN ended.progress IS NOT NULL THEN jsonb_set(", with_members!(), ", '$.\"bgtask:progress\"', jsonb(ended.progress))
             ELSE ", with_members!(), " END
     FROM ended
     WHERE river_job.id = ended.id AND river_job.state = 'running'
         AND json_extract(river_job.attempted_by, '$[#-1]') = ended.worker AND river_job.attempted_at = ended.attempted_at
     RETURNING id"
);

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
        let mut rest = ends;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(of_different_jobs(rest));
            let written = write(&mut transaction, now).await?;
            for (claim, _) in now {
                let is_recorded =
                    written.contains(&claim.id) || was_written(&mut transaction, claim).await?;
                recorded.push(Recorded::of(is_recorded));
            }
            rest = later;
        }
        transaction.commit().await?;
        Ok(recorded)
    }
}

/// Writes records of different jobs. Returns the jobs that their attempts hold.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    records: &[(Claim, Record)],
) -> Result<HashSet<i64>, Error> {
    let entries: Vec<_> = records
        .iter()
        .map(|(claim, record)| Entry::new(claim, record))
        .collect();
    let entries = serde_json::to_string(&entries);
    let rows = sqlx::query_scalar(RECORD)
        .bind(entries.map_err(|error| Error::Encode(error.into()))?)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().collect())
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
