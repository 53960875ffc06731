//! Postgres: what the pages of the dashboard read, and the audit of their actions. Each statement is bounded and goes by an index: an
//! expression in the place of a column keeps it from another one.

use super::{Postgres, limited};
use crate::engine::inspect::{arguments_length, error_length};
use crate::engine::reading::reading;
use crate::engine::types::Error;
use bgtask::durable::JobState;
use riverqueue::sqlx::postgres::{PgConnection, PgRow};
use riverqueue::sqlx::{self, QueryBuilder, Row as _, Transaction};

reading! {
    database: Postgres,
    sqlx: sqlx::Postgres,
    connection: PgConnection,
    row: PgRow
}

/// The settings of a reading transaction. The planner would rather scan a table than trust that a limit is reached soon, and after the
/// statistics have changed, no test would notice.
const SETTINGS: &str = "SET TRANSACTION READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = '4s'";

/// A time in milliseconds since 1970.
macro_rules! ms {
    ($time:literal) => {
        concat!("(extract(epoch FROM ", $time, ") * 1000)::bigint")
    };
}

/// The error of a row: why it is parked, or the last of its attempts.
macro_rules! error {
    () => {
        "CASE state WHEN 'pending' THEN metadata ->> 'bgtask:parked' ELSE errors[array_upper(errors, 1)] ->> 'error' END"
    };
}

macro_rules! columns {
    () => {
        concat!(
            "id, kind, queue, state::text, attempt::bigint, max_attempts::bigint, ",
            ms!(
                "coalesce(finalized_at, CASE state WHEN 'running' THEN attempted_at END, scheduled_at)"
            ),
            ", left(",
            error!(),
            ", ",
            error_length!(),
            ")"
        )
    };
}

const COLUMNS: &str = concat!("SELECT ", columns!(), " FROM river_job WHERE ");

/// The same with the arguments, unless they are long.
const WITH_ARGUMENTS: &str = concat!(
    "SELECT ",
    columns!(),
    ", CASE WHEN octet_length(args::text) <= ",
    arguments_length!(),
    " THEN args::text END FROM river_job WHERE "
);

const COUNTS: &str = "SELECT wanted.state::text,
    (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = wanted.state LIMIT $1 + 1) AS counted)
FROM unnest(enum_range(NULL::river_job_state)) AS wanted (state)";

const DETAIL: &str = concat!(
    "SELECT ",
    columns!(),
    ", priority::bigint, coalesce((metadata ->> 'bgtask:crashes')::bigint, 0), ",
    ms!("created_at"),
    ", ",
    ms!("scheduled_at"),
    ", ",
    ms!("attempted_at"),
    ", ",
    ms!("finalized_at"),
    ", to_jsonb(errors)::text, to_jsonb(attempted_by)::text, (metadata -> 'bgtask:progress')::text,
     metadata ? 'cancel_attempted_at',
     CASE WHEN $1 THEN args::text END, CASE WHEN $1 THEN (metadata -> 'output')::text END
 FROM river_job WHERE id = $2"
);

/// From queue to queue through the index by which jobs are claimed, and not from job to job.
const QUEUE_NAMES: &str = "WITH RECURSIVE found (state, queue) AS (
    SELECT wanted.state, (SELECT min(queue) FROM river_job WHERE river_job.state = wanted.state)
    FROM unnest('{available,running,retryable,scheduled}'::river_job_state[]) AS wanted (state)
    UNION ALL
    SELECT found.state,
        (SELECT min(queue) FROM river_job WHERE river_job.state = found.state AND river_job.queue > found.queue)
    FROM found WHERE found.queue IS NOT NULL)
SELECT queue FROM (SELECT queue FROM found LIMIT $1) AS counted WHERE queue IS NOT NULL
UNION SELECT name FROM river_queue WHERE paused_at IS NOT NULL";

/// The oldest by priority, so that the index has each of them first, however many wait.
const QUEUE: &str = "SELECT wanted.queue,
    EXISTS (SELECT 1 FROM river_queue WHERE name = wanted.queue AND paused_at IS NOT NULL),
    (SELECT count(*) FROM (SELECT 1 FROM river_job AS job
        WHERE job.state = 'available' AND job.queue = wanted.queue LIMIT $2 + 1) AS counted),
    (SELECT count(*) FROM (SELECT 1 FROM river_job AS job
        WHERE job.state = 'running' AND job.queue = wanted.queue LIMIT $2 + 1) AS counted),
    (SELECT greatest(0, (extract(epoch FROM now() - min(since)) * 1000)::bigint) FROM (
        SELECT (SELECT scheduled_at FROM river_job AS job
            WHERE job.state = 'available' AND job.queue = wanted.queue AND job.priority = urgency
            ORDER BY scheduled_at LIMIT 1) AS since
        FROM unnest('{1,2,3,4}'::smallint[]) AS urgency) AS oldest HAVING min(since) IS NOT NULL)
FROM unnest($1::text[]) AS wanted (queue)";

const WAITING: &str = "SELECT DISTINCT kind FROM (
    SELECT kind FROM river_job WHERE state = 'available' AND queue = $1 ORDER BY priority, scheduled_at, id LIMIT $2) AS first";

const WORKERS: &str = concat!(
    "SELECT id, about, ",
    ms!("started_at"),
    ", greatest(0, ",
    ms!("now() - beat_at"),
    ") FROM bgtask_worker ORDER BY started_at, id LIMIT $1"
);

const HELD: &str = "SELECT id, kind, attempted_by[array_upper(attempted_by, 1)] FROM river_job WHERE state = 'running' LIMIT $1";

const DEAD: &str = concat!(
    "SELECT id, kind, ",
    ms!("finalized_at"),
    ", left(errors[array_upper(errors, 1)] ->> 'error', ",
    error_length!(),
    ") FROM river_job WHERE state = 'discarded' AND finalized_at IS NOT NULL ORDER BY finalized_at DESC LIMIT $1"
);

const SCHEDULES: &str = "SELECT function, definition, last_tick, job,
    (SELECT state::text FROM river_job WHERE id = bgtask_schedule.job), paused_at, paused_by, resumed_at
FROM bgtask_schedule ORDER BY function LIMIT $1";

/// An entry of the audit before its action.
const BEGUN: &str = "INSERT INTO bgtask_audit (at, actor, action, target)
VALUES ((extract(epoch FROM now()) * 1000)::bigint, $1, $2, $3) RETURNING id";

const DIALECT: Dialect = Dialect {
    state_type: "::river_job_state",
    // An array, so that each job is read by its id: a join might read the table.
    ids: ("id = ANY (ARRAY(", "))"),
    function: " AND kind || '' = ",
    queue: " AND queue || '' = ",
    state: " AND state::text = ",
    key: " AND unique_key = ",
    error: (
        " AND position(lower(",
        concat!(") IN lower(", error!(), ")) > 0"),
    ),
};

impl Postgres {
    /// Begins a transaction that reads.
    async fn look(&self) -> Result<Transaction<'static, sqlx::Postgres>, Error> {
        let mut transaction = self.begin().await?;
        limited(sqlx::raw_sql(SETTINGS).execute(&mut *transaction)).await?;
        Ok(transaction)
    }

    async fn begin_to_write(&self) -> Result<Transaction<'static, sqlx::Postgres>, Error> {
        self.begin().await
    }
}

/// Returns names as they are bound.
fn bound(names: &[String]) -> Result<&[String], Error> {
    Ok(names)
}

#[cfg(test)]
mod plans;
