//! SQLite: claims waiting jobs for a worker. Must never end one.

use super::Sqlite;
use crate::engine::types::{Claim, Claimed, Claims, Error, arguments};
use riverqueue::jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use riverqueue::sqlx;
use riverqueue::sqlx::Row as _;
use riverqueue::sqlx::sqlite::SqliteRow;

/// The jobs that may run, by priority. The index by which River claims has them in this order. A job of a function that this program
/// does not have is left for those that do.
macro_rules! waiting {
    () => {
        "FROM river_job WHERE state = 'available' AND queue = ? AND scheduled_at <= ?
             AND kind IN (SELECT value FROM json_each(?))
             AND NOT EXISTS (SELECT 1 FROM river_queue WHERE name = river_job.queue AND paused_at IS NOT NULL)"
    };
}

const IS_ANY_WAITING: &str = concat!("SELECT EXISTS (SELECT 1 ", waiting!(), ")");

/// As River claims: the worker is added to those that have tried the job, of which a hundred are kept, and the attempt is counted.
/// The fence compares what this writes with the claim that each later write names. Arguments that are no JSON are handed over as they
/// are, and parked: an error here would keep all jobs of the queue from being claimed.
const CLAIM: &str = concat!(
    "UPDATE river_job SET state = 'running', attempt = attempt + 1, attempted_at = datetime('now', 'subsec'),
         attempted_by = jsonb_insert(
             CASE WHEN json_array_length(attempted_by) >= 100 THEN jsonb_remove(attempted_by, '$[0]')
                 ELSE coalesce(attempted_by, jsonb('[]')) END, '$[#]', ?)
     WHERE id IN (SELECT id ",
    waiting!(),
    " ORDER BY priority, scheduled_at, id LIMIT ?)
     RETURNING id, attempted_at || '', kind, queue, attempt, max_attempts,
         CASE WHEN typeof(args) = 'text' AND NOT json_valid(args) THEN args ELSE json(args) END,
         json_extract(metadata, '$.\"bgtask:trace\"'), json_extract(metadata, '$.\"bgtask:tick\"')"
);

impl Sqlite {
    /// Claims jobs of one queue.
    pub(in crate::engine) async fn claim(
        &self,
        claims: &Claims<'_>,
    ) -> Result<Vec<Claimed>, Error> {
        let functions = serde_json::to_string(claims.functions);
        let functions = functions.map_err(|error| Error::Encode(error.into()))?;
        let now = now();
        // A write takes the lock of the database and is synced to the disk, even if it finds nothing.
        let is_any_waiting: bool = sqlx::query_scalar(IS_ANY_WAITING)
            .bind(claims.queue)
            .bind(&now)
            .bind(&functions)
            .fetch_one(&self.pool)
            .await?;
        if !is_any_waiting {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(CLAIM)
            .bind(claims.worker)
            .bind(claims.queue)
            .bind(now)
            .bind(functions)
            .bind(i64::try_from(claims.limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| read(row, claims.worker)).collect()
    }
}

fn read(row: &SqliteRow, worker: &str) -> Result<Claimed, Error> {
    Ok(Claimed {
        claim: Claim {
            id: row.try_get(0)?,
            worker: worker.to_owned(),
            attempted_at: row.try_get(1)?,
        },
        function: row.try_get(2)?,
        queue: row.try_get(3)?,
        attempt: row.try_get(4)?,
        max_attempts: row.try_get(5)?,
        arguments: arguments(row.try_get(6)?)?,
        // A member of another type is none of ours.
        trace: row.try_get(7).ok().flatten(),
        tick: row.try_get(8).ok().flatten(),
    })
}

/// Returns the time of this process as River writes it, to the next millisecond: a job that it has just stored may run.
fn now() -> String {
    let to_millisecond = TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(RoundMode::Ceil);
    let now = Timestamp::now();
    // Only a time at the end of the range cannot be rounded.
    let now = now.round(to_millisecond).unwrap_or(now);
    now.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
