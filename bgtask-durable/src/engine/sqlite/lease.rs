//! SQLite: the workers and their beats, and the rescue. On a connection of the caller's, which is never one of the pool.

use crate::engine::types::{BATCH, Error, Rescued, SUSPECT_AT, SUSPECTS, Seen};
use riverqueue::sqlx::sqlite::SqliteConnection;
use riverqueue::sqlx::{self, Connection as _, Row as _};

/// Makes a worker known, with what it declares about itself. It may be repeated when its answer was lost: no other worker has the id.
pub(in crate::engine) async fn register(
    connection: &mut SqliteConnection,
    id: &str,
    about: &str,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO bgtask_worker (id, beat, about) VALUES (?, 0, ?) ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(about)
    .execute(connection)
    .await
    .map(drop)
}

/// Shows that a worker lives. Returns `false` if it has been declared dead.
pub(in crate::engine) async fn beat(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<bool, Error> {
    let beaten = sqlx::query(
        "UPDATE bgtask_worker SET beat = beat + 1, beat_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE id = ?",
    )
        .bind(id)
        .execute(connection)
        .await?;
    Ok(beaten.rows_affected() > 0)
}

/// Reads something, to see whether the database answers.
pub(in crate::engine) async fn probe(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("SELECT count(*) FROM bgtask_worker")
        .execute(connection)
        .await
        .map(drop)
}

/// Removes a worker that has returned all its jobs.
pub(in crate::engine) async fn unregister(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM bgtask_worker WHERE id = ?")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
}

/// Returns all workers, and those that only jobs still name.
pub(in crate::engine) async fn workers(
    connection: &mut SqliteConnection,
) -> Result<Vec<Seen>, Error> {
    let rows = sqlx::query(
        "SELECT id, beat FROM bgtask_worker
         UNION ALL
         SELECT DISTINCT substr(worker, 1, instr(worker, '.') - 1), NULL
         FROM (SELECT json_extract(attempted_by, '$[#-1]') AS worker FROM river_job WHERE state = 'running')
         WHERE worker LIKE 'bgtask:%.%'
             AND substr(worker, 1, instr(worker, '.') - 1) NOT IN (SELECT id FROM bgtask_worker)",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Makes the jobs of a dead worker available, a batch at a time, and removes the worker after the last. Does nothing if its beat
/// is no longer `beat`: it lives.
pub(in crate::engine) async fn rescue(
    connection: &mut SqliteConnection,
    (id, beat): &Seen,
    mark: &str,
    crash_limit: u32,
) -> Result<Rescued, Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let now: Option<i64> = sqlx::query_scalar("SELECT beat FROM bgtask_worker WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    if now != *beat {
        return Ok(Rescued::default());
    }
    let rows = sqlx::query(
        concat!("UPDATE river_job SET
             state = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                 THEN 'discarded' ELSE 'available' END,
             finalized_at = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                 THEN datetime('now', 'subsec') END,
             queue = CASE
                 WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                     THEN coalesce(json_extract(metadata, '$.\"bgtask:queue\"'), queue)
                 WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ? THEN ?
                 ELSE queue END,
             scheduled_at = datetime('now', 'subsec'),
             attempt = max(attempt - 1, 0),
             errors = CASE WHEN coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1 >= ?
                 THEN jsonb_insert(coalesce(errors, jsonb('[]')), '$[#]', jsonb(json_object(
                     'at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', ?, 'trace', '')))
                 ELSE errors END,
             metadata = jsonb_set(metadata,
                 '$.\"bgtask:crashes\"', coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) + 1,
                 '$.\"bgtask:failure\"', 'crashed',
                 '$.\"bgtask:queue\"', coalesce(json_extract(metadata, '$.\"bgtask:queue\"'), queue),
                 ", raised!(), ",
                 '$.\"bgtask:mark\"', ?)
         WHERE id IN (
             SELECT id FROM river_job
             WHERE state = 'running' AND json_extract(attempted_by, '$[#-1]') LIKE ? || '.%'
             LIMIT ?)
         RETURNING state, id, kind"),
    )
    .bind(crash_limit)
    .bind(crash_limit)
    .bind(crash_limit)
    .bind(SUSPECT_AT)
    .bind(SUSPECTS)
    .bind(crash_limit)
    .bind(format!("the process died {crash_limit} times while it ran this job"))
    .bind(mark)
    .bind(id)
    .bind(BATCH)
    .fetch_all(&mut *transaction)
    .await?;
    let mut rescued = Rescued {
        has_more: rows.len() as i64 == BATCH,
        ..Rescued::default()
    };
    for row in &rows {
        match row.try_get(0)? {
            "discarded" => rescued.add_dead(row.try_get(1)?, row.try_get(2)?),
            _ => rescued.add_available(row.try_get(2)?),
        }
    }
    if !rescued.has_more {
        sqlx::query("DELETE FROM bgtask_worker WHERE id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(rescued)
}
