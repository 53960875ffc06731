//! Postgres: what the pages of the dashboard read, and the audit of their actions. Each statement is bounded and goes by an index: an
//! expression in the place of a column keeps it from another one.

use super::{Postgres, limited};
use crate::engine::inspect::{
    AUDIT_KEPT, COUNTED, GROUPED, LISTED, LOOKED_THROUGH, Page, QUEUES, Search, WAITING_READ,
    error_length, page_of, reading,
};
use crate::engine::row::name_of;
use crate::engine::types::Error;
use bgtask::durable::JobState;
use riverqueue::sqlx::postgres::PgRow;
use riverqueue::sqlx::{self, QueryBuilder, Row as _, Transaction};

reading!(PgRow);

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

const COUNTS: &str = "SELECT wanted.state::text,
    (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = wanted.state LIMIT $1 + 1) AS counted)
FROM unnest(enum_range(NULL::river_job_state)) AS wanted (state)";

/// The first and the last job.
const ENDS: &str = "SELECT (SELECT min(id) FROM river_job), (SELECT max(id) FROM river_job)";

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
    (SELECT state::text FROM river_job WHERE id = bgtask_schedule.job)
FROM bgtask_schedule ORDER BY function LIMIT $1";

const AUDIT: &str = "SELECT id, at, actor, action, target, result FROM bgtask_audit WHERE id ";

impl Postgres {
    /// Begins a transaction that reads.
    async fn look(&self) -> Result<Transaction<'static, sqlx::Postgres>, Error> {
        let mut transaction = self.begin().await?;
        limited(sqlx::raw_sql(SETTINGS).execute(&mut *transaction)).await?;
        Ok(transaction)
    }

    pub(in crate::engine) async fn counts(&self) -> Result<Vec<(JobState, Count)>, Error> {
        let mut look = self.look().await?;
        let rows = sqlx::query(COUNTS)
            .bind(COUNTED)
            .fetch_all(&mut *look)
            .await?;
        let count =
            |row: &PgRow| -> Result<_, Error> { Ok((state(row, 0)?, Count::of(row.try_get(1)?))) };
        rows.iter().map(count).collect()
    }

    pub(in crate::engine) async fn page(&self, search: &Search) -> Result<Page, Error> {
        let mut look = self.look().await?;
        let is_indexed = search.state.is_some() || search.function.is_some();
        if is_indexed && count_indexed(&mut look, search).await? <= COUNTED {
            let query = indexed_page(COLUMNS, search);
            return Ok(page_of(matching(&mut look, query).await?, None));
        }
        let (first, last): (Option<i64>, Option<i64>) =
            sqlx::query_as(ENDS).fetch_one(&mut *look).await?;
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(Page::default());
        };
        let before = search
            .before
            .unwrap_or(i64::MAX)
            .min(last.saturating_add(1));
        let low = before.saturating_sub(LOOKED_THROUGH);
        let query = page_between(COLUMNS, search, low, before);
        Ok(page_of(
            matching(&mut look, query).await?,
            (low > first).then_some(low),
        ))
    }

    pub(in crate::engine) async fn count_dead(
        &self,
        function: Option<&str>,
        queue: Option<&str>,
    ) -> Result<Count, Error> {
        let mut look = self.look().await?;
        let dead = Search {
            queue: queue.map(str::to_owned),
            state: Some(JobState::Dead),
            ..Search::default()
        };
        let all = count_indexed(&mut look, &dead).await?;
        let Some(function) = function else {
            return Ok(Count::of(all));
        };
        let mut query = QueryBuilder::new("SELECT count(*) FROM river_job WHERE id = ANY (ARRAY(");
        push_indexed(&mut query, &dead);
        query
            .push(")) AND kind || '' = ")
            .push_bind(function.to_owned());
        let count: i64 = query.build_query_scalar().fetch_one(&mut *look).await?;
        Ok(Count {
            number: count.unsigned_abs(),
            has_more: all > COUNTED,
        })
    }

    pub(in crate::engine) async fn detail(
        &self,
        id: i64,
        with_values: bool,
    ) -> Result<Option<Detail>, Error> {
        let mut look = self.look().await?;
        let row = sqlx::query(DETAIL)
            .bind(with_values)
            .bind(id)
            .fetch_optional(&mut *look)
            .await?;
        row.as_ref().map(detail).transpose()
    }

    pub(in crate::engine) async fn queue_names(&self) -> Result<Vec<String>, Error> {
        let mut look = self.look().await?;
        sqlx::query_scalar(QUEUE_NAMES)
            .bind(QUEUES as i64)
            .fetch_all(&mut *look)
            .await
    }

    pub(in crate::engine) async fn page_of_queues(
        &self,
        names: &[String],
    ) -> Result<Vec<Queue>, Error> {
        let mut look = self.look().await?;
        let rows = sqlx::query(QUEUE)
            .bind(names)
            .bind(COUNTED)
            .fetch_all(&mut *look)
            .await?;
        rows.iter().map(queue).collect()
    }

    pub(in crate::engine) async fn waiting_functions(
        &self,
        queue: &str,
    ) -> Result<Vec<String>, Error> {
        let mut look = self.look().await?;
        sqlx::query_scalar(WAITING)
            .bind(queue)
            .bind(WAITING_READ)
            .fetch_all(&mut *look)
            .await
    }

    pub(in crate::engine) async fn all_workers(&self) -> Result<Vec<Worker>, Error> {
        self.read(WORKERS, worker).await
    }

    pub(in crate::engine) async fn held(&self) -> Result<Vec<Held>, Error> {
        self.read(HELD, held).await
    }

    pub(in crate::engine) async fn latest_dead(&self) -> Result<Vec<Dead>, Error> {
        self.read(DEAD, dead).await
    }

    pub(in crate::engine) async fn all_schedules(&self) -> Result<Vec<Scheduled>, Error> {
        self.read(SCHEDULES, scheduled).await
    }

    /// Reads up to [`GROUPED`] rows.
    async fn read<T>(
        &self,
        statement: &'static str,
        row: fn(&PgRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut look = self.look().await?;
        let rows = sqlx::query(statement).bind(GROUPED).fetch_all(&mut *look);
        rows.await?.iter().map(row).collect()
    }

    pub(in crate::engine) async fn begin_audit(
        &self,
        actor: &str,
        action: &str,
        target: &str,
    ) -> Result<i64, Error> {
        let mut transaction = self.begin().await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO bgtask_audit (at, actor, action, target)
             VALUES ((extract(epoch FROM now()) * 1000)::bigint, $1, $2, $3) RETURNING id",
        )
        .bind(actor)
        .bind(action)
        .bind(target)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM bgtask_audit WHERE id <= $1")
            .bind(id - AUDIT_KEPT)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(id)
    }

    pub(in crate::engine) async fn end_audit(&self, id: i64, result: &str) -> Result<(), Error> {
        sqlx::query("UPDATE bgtask_audit SET result = $1 WHERE id = $2")
            .bind(result)
            .bind(id)
            .execute(&self.pool)
            .await
            .map(drop)
    }

    pub(in crate::engine) async fn audit(
        &self,
        before: Option<i64>,
    ) -> Result<Vec<Audited>, Error> {
        let mut look = self.look().await?;
        let mut query = QueryBuilder::new(AUDIT);
        query.push("< ").push_bind(before.unwrap_or(i64::MAX));
        query.push(" ORDER BY id DESC LIMIT ");
        query.push_bind(LISTED as i64 + 1);
        let rows = query.build().fetch_all(&mut *look).await?;
        rows.iter().map(audited).collect()
    }

    pub(in crate::engine) async fn audit_entry(&self, id: i64) -> Result<Option<Audited>, Error> {
        let mut look = self.look().await?;
        let mut query = QueryBuilder::new(AUDIT);
        query.push("= ").push_bind(id);
        let row = query.build().fetch_optional(&mut *look).await?;
        row.as_ref().map(audited).transpose()
    }
}

/// Counts up to one more than [`COUNTED`] of the jobs that an index has: those of a state, or of a function.
async fn count_indexed(
    look: &mut Transaction<'static, sqlx::Postgres>,
    search: &Search,
) -> Result<i64, Error> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (");
    push_indexed(&mut query, search);
    query.push(") AS counted");
    query.build_query_scalar().fetch_one(&mut **look).await
}

/// Reads jobs of a list.
async fn matching(
    look: &mut Transaction<'static, sqlx::Postgres>,
    mut query: QueryBuilder<sqlx::Postgres>,
) -> Result<Vec<Listed>, Error> {
    let rows = query.build().fetch_all(&mut **look).await?;
    rows.iter().map(listed).collect()
}

/// Adds the selection of the jobs of a state, perhaps in a queue, or of a function: up to one more than [`COUNTED`], by an index.
fn push_indexed(query: &mut QueryBuilder<sqlx::Postgres>, search: &Search) {
    query.push("SELECT id FROM river_job WHERE ");
    if let Some(state) = search.state {
        query
            .push("state = ")
            .push_bind(name_of(state))
            .push("::river_job_state");
        if let Some(queue) = &search.queue {
            query.push(" AND queue = ").push_bind(queue.clone());
        }
    } else {
        query
            .push("kind = ")
            .push_bind(search.function.clone().unwrap_or_default());
    }
    query.push(" LIMIT ").push_bind(COUNTED + 1);
}

/// Returns the query of a page whose jobs an index has.
fn indexed_page(columns: &str, search: &Search) -> QueryBuilder<sqlx::Postgres> {
    let mut query = QueryBuilder::new(columns);
    // An array, so that each job is read by its id: a join might read the table.
    query.push("id = ANY (ARRAY(");
    push_indexed(&mut query, search);
    query.push("))");
    if let Some(before) = search.before {
        query.push(" AND id < ").push_bind(before);
    }
    push_conditions(&mut query, search);
    query
}

/// Returns the query of a page whose jobs are looked through by their ids: from `low` on, and below `before`.
fn page_between(
    columns: &str,
    search: &Search,
    low: i64,
    before: i64,
) -> QueryBuilder<sqlx::Postgres> {
    let mut query = QueryBuilder::new(columns);
    query.push("id < ").push_bind(before);
    query.push(" AND id >= ").push_bind(low);
    push_conditions(&mut query, search);
    query
}

/// Adds the conditions of a search, the order and the limit.
fn push_conditions(query: &mut QueryBuilder<sqlx::Postgres>, search: &Search) {
    if let Some(function) = &search.function {
        query.push(" AND kind || '' = ").push_bind(function.clone());
    }
    if let Some(queue) = &search.queue {
        query.push(" AND queue || '' = ").push_bind(queue.clone());
    }
    if let Some(state) = search.state {
        query.push(" AND state::text = ").push_bind(name_of(state));
    }
    if let Some(key) = &search.key {
        query.push(" AND unique_key = ").push_bind(key.clone());
    }
    if let Some(error) = &search.error {
        query
            .push(" AND position(lower(")
            .push_bind(error.clone())
            .push(concat!(") IN lower(", error!(), ")) > 0"));
    }
    query.push(" ORDER BY id DESC LIMIT ");
    query.push_bind(LISTED as i64 + 1);
}

#[cfg(test)]
mod plans;
