//! Postgres: the claim of a job as it is read, and the ends of attempts. Each write names its claim, for the fence.

use super::Postgres;
use crate::engine::entry::{Entry, Members};
use crate::engine::types::{Claim, Error, Record, Recorded, of_different_jobs};
use bgtask::durable::Progress;
use riverqueue::sqlx::{self, PgConnection, Row as _};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};

/// All that a record adds to the metadata of its row.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(flatten)]
    members: &'a Members<'a>,
    #[serde(rename = "bgtask:progress", skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
}

fn metadata(entry: &Entry<'_>) -> Result<String, Error> {
    let output = entry.output.map(serde_json::from_str).transpose();
    let metadata = output.and_then(|output| {
        serde_json::to_string(&Metadata {
            members: &entry.members,
            progress: entry.progress,
            output,
        })
    });
    metadata.map_err(|error| Error::Encode(error.into()))
}

/// Returns one column of the statement that records ends.
fn column<'a, T>(entries: &[Entry<'a>], of: impl Fn(&Entry<'a>) -> T) -> Vec<T> {
    entries.iter().map(of).collect()
}

/// One statement for many records: a round trip for each would bound the rate. They are of different jobs, because a statement
/// changes a row once. It leaves a row out that another transaction holds, for which the other jobs must not wait.
///
/// It also returns whether those who wait for the job or watch it are to be notified: not of one that goes back for a moment because
/// it got no permit, which happens many times a second.
const RECORD: &str = concat!(
    "WITH free AS (SELECT id FROM river_job WHERE id = ANY ($1::bigint[]) FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE river_job AS job SET
        state = ended.state::river_job_state,
        finalized_at = CASE WHEN ended.state IN ('completed', 'discarded', 'cancelled') THEN now() END,
        scheduled_at = CASE ended.state
            WHEN 'retryable' THEN now() + ended.pause * interval '1 second'
            WHEN 'scheduled' THEN now() + ended.pause * interval '1 second'
            WHEN 'available' THEN now()
            ELSE job.scheduled_at END,
        attempt = CASE WHEN ended.state IN ('available', 'scheduled', 'pending') THEN greatest(job.attempt - 1, 0) ELSE job.attempt END,
        errors = CASE WHEN ended.error IS NULL THEN job.errors ELSE array_append(job.errors, jsonb_build_object(
            'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
            'attempt', job.attempt, 'error', ended.error, 'trace', '')) END,
        metadata = ",
    metadata!("job." "ended.metadata::jsonb"),
    " FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::text[])
        AS ended (id, worker, attempted_at, state, pause, error, metadata)
        JOIN free ON free.id = ended.id
    WHERE job.id = ended.id AND job.state = 'running'
        AND job.attempted_by[array_upper(job.attempted_by, 1)] = ended.worker
        AND (extract(epoch FROM job.attempted_at) * 1000000)::bigint = ended.attempted_at::bigint
    RETURNING job.id, ended.worker, ended.attempted_at, ended.state <> 'scheduled'",
);

impl Postgres {
    /// Reads the claim of a job. `None` if it is no longer running.
    pub(in crate::engine) async fn claim_of(&self, id: i64) -> Result<Option<Claim>, Error> {
        let row = sqlx::query(
            "SELECT coalesce(attempted_by[array_upper(attempted_by, 1)], ''),
                 coalesce((extract(epoch FROM attempted_at) * 1000000)::bigint::text, '')
             FROM river_job WHERE id = $1 AND state = 'running'",
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
        let mut transaction = self.pool.begin().await?;
        match self.record_in(&mut transaction, ends).await {
            Ok(recorded) => transaction.commit().await.map(|()| recorded),
            Err(error) => {
                // At once, as the next try would find its rows locked.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }

    async fn record_in(
        &self,
        connection: &mut PgConnection,
        ends: &[(Claim, Record)],
    ) -> Result<Vec<Recorded>, Error> {
        let (mut recorded, mut changed) = (Vec::with_capacity(ends.len()), Vec::new());
        let mut rest = ends;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(of_different_jobs(rest));
            let written = write(&mut *connection, now, &mut changed).await?;
            let found = not_written(&mut *connection, now, &written).await?;
            let results = written.iter().zip(now).map(|(is_written, (claim, _))| {
                if *is_written {
                    return Recorded::Yes;
                }
                found
                    .get(&claim.id)
                    .map_or(Recorded::No, |found| found.of(claim))
            });
            recorded.extend(results);
            rest = later;
        }
        self.notify_changed(connection, &changed).await?;
        Ok(recorded)
    }
}

/// The row of a job whose record was not written.
struct Found {
    /// Whose write it shows.
    ended: Option<String>,
    /// Who holds the job, if it runs.
    holds: Option<String>,
}

impl Found {
    fn of(&self, claim: &Claim) -> Recorded {
        let value = Some(claim.value());
        if self.ended == value {
            // The answer to an earlier try was lost: only a write of this attempt has left its claim there.
            Recorded::Yes
        } else if self.holds == value {
            Recorded::Locked
        } else {
            Recorded::No
        }
    }
}

/// Reads the rows of the records that were not written, which are few.
async fn not_written(
    connection: &mut PgConnection,
    records: &[(Claim, Record)],
    written: &[bool],
) -> Result<HashMap<i64, Found>, Error> {
    let missing = records
        .iter()
        .zip(written)
        .filter(|(_, is_written)| !**is_written);
    let missing: Vec<_> = missing.map(|((claim, _), _)| claim.id).collect();
    if missing.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT id, metadata ->> 'bgtask:claim', CASE state WHEN 'running' THEN
             attempted_by[array_upper(attempted_by, 1)] || '/' || (extract(epoch FROM attempted_at) * 1000000)::bigint::text END
         FROM river_job WHERE id = ANY ($1)",
    )
    .bind(missing)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let found = Found {
                ended: row.try_get(1)?,
                holds: row.try_get(2)?,
            };
            Ok((row.try_get(0)?, found))
        })
        .collect()
}

/// Writes records of different jobs, and adds the jobs whose waiters are to look.
pub(super) async fn write(
    connection: &mut PgConnection,
    records: &[(Claim, Record)],
    changed: &mut Vec<i64>,
) -> Result<Vec<bool>, Error> {
    let entries: Vec<_> = records
        .iter()
        .map(|(claim, record)| Entry::new(claim, record))
        .collect();
    let metadata: Vec<_> = entries.iter().map(metadata).collect::<Result<_, _>>()?;
    let rows = sqlx::query(RECORD)
        .bind(column(&entries, |entry| entry.id))
        .bind(column(&entries, |entry| entry.worker))
        .bind(column(&entries, |entry| entry.attempted_at))
        .bind(column(&entries, |entry| entry.state))
        .bind(column(&entries, |entry| entry.pause))
        .bind(column(&entries, |entry| entry.error))
        .bind(metadata)
        .fetch_all(connection)
        .await?;
    let mut written = HashSet::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        written.insert((id, row.try_get::<&str, _>(1)?, row.try_get::<&str, _>(2)?));
        if row.try_get(3)? {
            changed.push(id);
        }
    }
    let is_written = |claim: &Claim| {
        written.contains(&(claim.id, claim.worker.as_str(), claim.attempted_at.as_str()))
    };
    Ok(records.iter().map(|(claim, _)| is_written(claim)).collect())
}
