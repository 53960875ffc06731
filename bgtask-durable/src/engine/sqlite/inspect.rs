//! SQLite: what the pages of the dashboard read, and the audit of their actions. Each statement is bounded and goes by an index: a `+`
//! before a column keeps it from another one.

use super::Sqlite;
use crate::engine::inspect::{
    AUDIT_KEPT, COUNTED, GROUPED, LISTED, LOOKED_THROUGH, Page, QUEUES, Search, WAITING_READ,
    error_length, page_of, reading,
};
use crate::engine::row::name_of;
use crate::engine::types::Error;
use bgtask::durable::JobState;
use riverqueue::sqlx::sqlite::SqliteRow;
use riverqueue::sqlx::{self, QueryBuilder, Row as _};

reading!(SqliteRow);

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

const COUNTS: &str = "SELECT value,
    (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE state = wanted.value LIMIT ?1 + 1))
FROM json_each('[\"scheduled\",\"available\",\"running\",\"retryable\",\"pending\",\"completed\",\"discarded\",\"cancelled\"]') AS wanted";

/// The first and the last job.
const ENDS: &str = "SELECT (SELECT min(id) FROM river_job), (SELECT max(id) FROM river_job)";

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
    (SELECT state FROM river_job WHERE id = bgtask_schedule.job)
FROM bgtask_schedule ORDER BY function LIMIT ?";

const AUDIT: &str = "SELECT id, at, actor, action, target, result FROM bgtask_audit WHERE id ";

impl Sqlite {
    pub(in crate::engine) async fn counts(&self) -> Result<Vec<(JobState, Count)>, Error> {
        let rows = sqlx::query(COUNTS)
            .bind(COUNTED)
            .fetch_all(&self.pool)
            .await?;
        let count = |row: &SqliteRow| -> Result<_, Error> {
            Ok((state(row, 0)?, Count::of(row.try_get(1)?)))
        };
        rows.iter().map(count).collect()
    }

    /// Counts up to one more than [`COUNTED`] of the jobs that an index has: those of a state, or of a function.
    async fn count_indexed(&self, search: &Search) -> Result<i64, Error> {
        let mut query = QueryBuilder::new("SELECT count(*) FROM (");
        push_indexed(&mut query, search);
        query.push(")");
        query.build_query_scalar().fetch_one(&self.pool).await
    }

    pub(in crate::engine) async fn page(&self, search: &Search) -> Result<Page, Error> {
        let is_indexed = search.state.is_some() || search.function.is_some();
        if is_indexed && self.count_indexed(search).await? <= COUNTED {
            let query = indexed_page(COLUMNS, search);
            return Ok(page_of(self.list_of(query).await?, None));
        }
        let (first, last): (Option<i64>, Option<i64>) =
            sqlx::query_as(ENDS).fetch_one(&self.pool).await?;
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
            self.list_of(query).await?,
            (low > first).then_some(low),
        ))
    }

    /// Reads jobs of a list.
    async fn list_of(&self, mut query: QueryBuilder<sqlx::Sqlite>) -> Result<Vec<Listed>, Error> {
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(listed).collect()
    }

    pub(in crate::engine) async fn count_dead(
        &self,
        function: Option<&str>,
        queue: Option<&str>,
    ) -> Result<Count, Error> {
        let dead = Search {
            queue: queue.map(str::to_owned),
            state: Some(JobState::Dead),
            ..Search::default()
        };
        let Some(function) = function else {
            return Ok(Count::of(self.count_indexed(&dead).await?));
        };
        let all = self.count_indexed(&dead).await?;
        let mut query = QueryBuilder::new("SELECT count(*) FROM river_job WHERE id IN (");
        push_indexed(&mut query, &dead);
        query.push(") AND +kind = ").push_bind(function.to_owned());
        let count: i64 = query.build_query_scalar().fetch_one(&self.pool).await?;
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
        let row = sqlx::query(DETAIL)
            .bind(with_values)
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(detail).transpose()
    }

    pub(in crate::engine) async fn queue_names(&self) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(QUEUE_NAMES)
            .bind(QUEUES as i64)
            .fetch_all(&self.pool)
            .await
    }

    pub(in crate::engine) async fn page_of_queues(
        &self,
        names: &[String],
    ) -> Result<Vec<Queue>, Error> {
        let names = serde_json::to_string(names).map_err(|error| Error::Encode(error.into()))?;
        let rows = sqlx::query(QUEUE)
            .bind(names)
            .bind(COUNTED)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(queue).collect()
    }

    pub(in crate::engine) async fn waiting_functions(
        &self,
        queue: &str,
    ) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(WAITING)
            .bind(queue)
            .bind(WAITING_READ)
            .fetch_all(&self.pool)
            .await
    }

    pub(in crate::engine) async fn all_workers(&self) -> Result<Vec<Worker>, Error> {
        let rows = sqlx::query(WORKERS).bind(GROUPED).fetch_all(&self.pool);
        rows.await?.iter().map(worker).collect()
    }

    pub(in crate::engine) async fn held(&self) -> Result<Vec<Held>, Error> {
        let rows = sqlx::query(HELD).bind(GROUPED).fetch_all(&self.pool);
        rows.await?.iter().map(held).collect()
    }

    pub(in crate::engine) async fn latest_dead(&self) -> Result<Vec<Dead>, Error> {
        let rows = sqlx::query(DEAD).bind(GROUPED).fetch_all(&self.pool);
        rows.await?.iter().map(dead).collect()
    }

    pub(in crate::engine) async fn all_schedules(&self) -> Result<Vec<Scheduled>, Error> {
        let rows = sqlx::query(SCHEDULES).bind(GROUPED).fetch_all(&self.pool);
        rows.await?.iter().map(scheduled).collect()
    }

    pub(in crate::engine) async fn begin_audit(
        &self,
        actor: &str,
        action: &str,
        target: &str,
    ) -> Result<i64, Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO bgtask_audit (at, actor, action, target)
             VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), ?, ?, ?) RETURNING id",
        )
        .bind(actor)
        .bind(action)
        .bind(target)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM bgtask_audit WHERE id <= ?")
            .bind(id - AUDIT_KEPT)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(id)
    }

    pub(in crate::engine) async fn end_audit(&self, id: i64, result: &str) -> Result<(), Error> {
        sqlx::query("UPDATE bgtask_audit SET result = ? WHERE id = ?")
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
        let mut query = QueryBuilder::new(AUDIT);
        query.push("< ").push_bind(before.unwrap_or(i64::MAX));
        query.push(" ORDER BY id DESC LIMIT ");
        query.push_bind(LISTED as i64 + 1);
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(audited).collect()
    }

    pub(in crate::engine) async fn audit_entry(&self, id: i64) -> Result<Option<Audited>, Error> {
        let mut query = QueryBuilder::new(AUDIT);
        query.push("= ").push_bind(id);
        let row = query.build().fetch_optional(&self.pool).await?;
        row.as_ref().map(audited).transpose()
    }
}

/// Adds the selection of the jobs of a state, perhaps in a queue, or of a function: up to one more than [`COUNTED`], by an index alone.
fn push_indexed(query: &mut QueryBuilder<sqlx::Sqlite>, search: &Search) {
    query.push("SELECT id FROM river_job WHERE ");
    if let Some(state) = search.state {
        query.push("state = ").push_bind(name_of(state));
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
fn indexed_page(columns: &str, search: &Search) -> QueryBuilder<sqlx::Sqlite> {
    let mut query = QueryBuilder::new(columns);
    query.push("id IN (");
    push_indexed(&mut query, search);
    query.push(")");
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
) -> QueryBuilder<sqlx::Sqlite> {
    let mut query = QueryBuilder::new(columns);
    query.push("id < ").push_bind(before);
    query.push(" AND id >= ").push_bind(low);
    push_conditions(&mut query, search);
    query
}

/// Adds the conditions of a search, the order and the limit.
fn push_conditions(query: &mut QueryBuilder<sqlx::Sqlite>, search: &Search) {
    if let Some(function) = &search.function {
        query.push(" AND +kind = ").push_bind(function.clone());
    }
    if let Some(queue) = &search.queue {
        query.push(" AND +queue = ").push_bind(queue.clone());
    }
    if let Some(state) = search.state {
        query.push(" AND +state = ").push_bind(name_of(state));
    }
    if let Some(key) = &search.key {
        query.push(" AND +unique_key = ").push_bind(key.clone());
    }
    if let Some(error) = &search.error {
        query
            .push(concat!(" AND instr(lower(", error!(), "), lower("))
            .push_bind(error.clone())
            .push(")) > 0");
    }
    query.push(" ORDER BY id DESC LIMIT ");
    query.push_bind(LISTED as i64 + 1);
}

#[cfg(test)]
mod plans;
