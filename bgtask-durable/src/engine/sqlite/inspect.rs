//! SQLite: what the pages of the dashboard read, and the audit of their actions. Each statement is bounded and goes by an index: a `+`
//! before a column keeps it from another one.

use super::Sqlite;
use crate::engine::inspect::{arguments_length, error_length};
use crate::engine::reading::reading;
use crate::engine::types::Error;
use bgtask::durable::JobState;
use riverqueue::sqlx::pool::PoolConnection;
use riverqueue::sqlx::sqlite::{SqliteConnection, SqliteRow};
use riverqueue::sqlx::{self, QueryBuilder, Row as _, Transaction};

reading! {
    database: Sqlite,
    sqlx: sqlx::Sqlite,
    connection: SqliteConnection,
    row: SqliteRow
}

/// A time in milliseconds since 1970.
macro_rules! ms {
    ($time:literal) => {
        concat!("CAST(unixepoch(", $time, ", 'subsec') * 1000 AS INTEGER)")
    };
}

/// The error of a row: why it is parked, or the last of its attempts.
macro_rules! error {
    () => {
        "CASE state WHEN 'pending' THEN json_extract(metadata, '$.\"bgtask:parked\"') ELSE json_extract(errors, '$[#-1].error') END"
    };
}

macro_rules! columns {
    () => {
        concat!(
            "id, kind, queue, state, attempt, max_attempts, ",
            ms!(
                "coalesce(finalized_at, CASE state WHEN 'running' THEN attempted_at END, scheduled_at)"
            ),
            ", substr(",
            error!(),
            ", 1, ",
            error_length!(),
            ")"
        )
    };
}

const COLUMNS: &str = concat!("SELECT ", columns!(), " FROM river_job WHERE ");

/// The same with the arguments, unless they are long or no JSON.
const WITH_ARGUMENTS: &str = concat!(
    "SELECT ",
    columns!(),
    ", CASE WHEN length(args) <= ",
    arguments_length!(),
    " AND (typeof(args) <> 'text' OR json_valid(args)) THEN json(args) END FROM river_job WHERE "
);

const COUNTS: &str = "SELECT value,
    (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = wanted.value LIMIT ?1 + 1))
FROM json_each('[\"scheduled\",\"available\",\"running\",\"retryable\",\"pending\",\"completed\",\"discarded\",\"cancelled\"]') AS wanted";

const DETAIL: &str = concat!(
    "SELECT ",
    columns!(),
    ", priority, coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0), ",
    ms!("created_at"),
    ", ",
    ms!("scheduled_at"),
    ", ",
    ms!("attempted_at"),
    ", ",
    ms!("finalized_at"),
    ", json(errors), json(attempted_by), metadata -> '$.\"bgtask:progress\"',
     json_extract(metadata, '$.cancel_attempted_at') IS NOT NULL,
     CASE WHEN ?1 THEN CASE WHEN typeof(args) = 'text' AND NOT json_valid(args) THEN args ELSE json(args) END END,
     CASE WHEN ?1 THEN metadata -> '$.output' END
 FROM river_job WHERE id = ?2"
);

/// From queue to queue through the index by which jobs are claimed, and not from job to job.
const QUEUE_NAMES: &str = "WITH RECURSIVE found (state, queue) AS (
    SELECT value, (SELECT min(queue) FROM river_job WHERE state = value)
    FROM json_each('[\"available\",\"running\",\"retryable\",\"scheduled\"]')
    UNION ALL
    SELECT state, (SELECT min(queue) FROM river_job WHERE river_job.state = found.state AND river_job.queue > found.queue)
    FROM found WHERE queue IS NOT NULL
    LIMIT ?1)
SELECT queue FROM found WHERE queue IS NOT NULL
UNION SELECT name FROM river_queue WHERE paused_at IS NOT NULL";

/// The oldest by priority, so that the index has each of them first, however many wait.
const QUEUE: &str = "SELECT wanted.value,
    EXISTS (SELECT 1 FROM river_queue WHERE name = wanted.value AND paused_at IS NOT NULL),
    (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = 'available' AND queue = wanted.value LIMIT ?2 + 1)),
    (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = 'running' AND queue = wanted.value LIMIT ?2 + 1)),
    (SELECT max(0, CAST((unixepoch('subsec') - unixepoch(min(since), 'subsec')) * 1000 AS INTEGER)) FROM (
        SELECT (SELECT scheduled_at FROM river_job
            WHERE state = 'available' AND queue = wanted.value AND priority = urgency.column1
            ORDER BY scheduled_at LIMIT 1) AS since
        FROM (VALUES (1), (2), (3), (4)) AS urgency))
FROM json_each(?1) AS wanted";

const WAITING: &str = "SELECT DISTINCT kind FROM (
    SELECT kind FROM river_job WHERE state = 'available' AND queue = ? ORDER BY priority, scheduled_at, id LIMIT ?)";

const WORKERS: &str = concat!(
    "SELECT id, about, ",
    ms!("started_at"),
    ", max(0, CAST(unixepoch('subsec') * 1000 AS INTEGER) - beat_at) FROM bgtask_worker ORDER BY started_at, id LIMIT ?"
);

const HELD: &str = "SELECT id, kind, json_extract(attempted_by, '$[#-1]') FROM river_job WHERE state = 'running' LIMIT ?";

const DEAD: &str = concat!(
    "SELECT id, kind, ",
    ms!("finalized_at"),
    ", substr(json_extract(errors, '$[#-1].error'), 1, ",
    error_length!(),
    ") FROM river_job WHERE state = 'discarded' AND finalized_at IS NOT NULL ORDER BY finalized_at DESC LIMIT ?"
);

const SCHEDULES: &str = "SELECT function, definition, last_tick, job,
    (SELECT state FROM river_job WHERE id = bgtask_schedule.job), paused_at, paused_by, resumed_at
FROM bgtask_schedule ORDER BY function LIMIT ?";

/// An entry of the audit before its action.
const BEGUN: &str = "INSERT INTO bgtask_audit (at, actor, action, target)
VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), ?, ?, ?) RETURNING id";

const DIALECT: Dialect = Dialect {
    state_type: "",
    ids: ("id IN (", ")"),
    function: " AND +kind = ",
    queue: " AND +queue = ",
    state: " AND +state = ",
    key: " AND +unique_key = ",
    error: (
        concat!(" AND instr(lower(", error!(), "), lower("),
        ")) > 0",
    ),
};

impl Sqlite {
    /// Takes a connection that reads.
    async fn look(&self) -> Result<PoolConnection<sqlx::Sqlite>, Error> {
        self.pool.acquire().await
    }

    async fn begin_to_write(&self) -> Result<Transaction<'static, sqlx::Sqlite>, Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }
}

/// Returns names as they are bound.
fn bound(names: &[String]) -> Result<String, Error> {
    serde_json::to_string(names).map_err(|error| Error::Encode(error.into()))
}

#[cfg(test)]
mod plans;
