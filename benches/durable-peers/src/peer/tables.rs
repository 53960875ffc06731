//! River's tables, which bgtask and riverqueue share: filled, counted and measured by the same statements for both.

use super::NOTHING;
use bgtask_durable::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use bgtask_durable::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use bgtask_durable::sqlx::{self, AssertSqlSafe, ConnectOptions as _, Row as _, SqlitePool};
use std::str::FromStr as _;
use std::time::Duration;

/// The connections of bgtask's own pools.
const SQLITE_CONNECTIONS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 10;

/// The name of the connections of these pools, which are not those of the store.
pub(crate) const APPLICATION: &str = "tables";

/// A pool on a database, with the settings that bgtask has.
#[derive(Clone)]
pub(crate) enum Tables {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The size of the table in MiB.
pub(crate) struct Size {
    pub(crate) rows: f64,
    pub(crate) table: f64,
    pub(crate) indexes: f64,
    /// The age of the oldest row, in seconds.
    pub(crate) oldest: f64,
}

impl Tables {
    pub(crate) async fn open(url: &str) -> Self {
        if url.starts_with("postgres") {
            let options = PgConnectOptions::from_str(url).expect("a URL");
            let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS);
            let pool = pool.connect_with(options.application_name(APPLICATION));
            return Self::Postgres(pool.await.expect("it connects"));
        }
        let options = SqliteConnectOptions::from_str(url)
            .expect("a URL")
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(4));
        let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS);
        Self::Sqlite(pool.connect_with(options).await.expect("it opens"))
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(pool) => sqlx::raw_sql(statement).execute(pool).await.map(drop),
            Self::Postgres(pool) => sqlx::raw_sql(statement).execute(pool).await.map(drop),
        }
        .expect("the statement");
    }

    pub(crate) async fn number(&self, query: &str) -> f64 {
        match self {
            Self::Sqlite(pool) => {
                let query = AssertSqlSafe(format!("SELECT CAST(({query}) AS REAL)"));
                sqlx::query_scalar(query).fetch_one(pool).await
            }
            Self::Postgres(pool) => {
                let query = AssertSqlSafe(format!("SELECT ({query})::float8"));
                sqlx::query_scalar(query).fetch_one(pool).await
            }
        }
        .expect("a number")
    }

    pub(crate) async fn ended(&self) -> u64 {
        self.number("SELECT count(*) FROM river_job WHERE state = 'completed'")
            .await as u64
    }

    /// Copies the only waiting job until there are so many.
    pub(crate) async fn fill(&self, count: u64) {
        // A stored job is the pattern, so that each engine runs rows of its own kind.
        const COLUMNS: &str =
            "args, kind, max_attempts, metadata, priority, queue, state, tags, scheduled_at";
        let copies = count - 1;
        if copies == 0 {
            return;
        }
        let numbers = match self {
            Self::Sqlite(_) => format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {copies}) SELECT i FROM n)"
            ),
            Self::Postgres(_) => format!("generate_series(1, {copies})"),
        };
        self.execute(&format!(
            "INSERT INTO river_job ({COLUMNS})
             SELECT {COLUMNS} FROM river_job, {numbers} AS numbers WHERE state = 'available'"
        ))
        .await;
    }

    pub(crate) async fn size(&self, url: &str) -> Size {
        let rows = self.number("SELECT count(*) FROM river_job").await;
        match self {
            Self::Sqlite(_) => {
                let path = url.trim_start_matches("sqlite://");
                let of = |path: String| std::fs::metadata(path).map_or(0.0, |file| file.len() as f64);
                let page = self.number("SELECT page_size FROM pragma_page_size").await;
                let free = self
                    .number("SELECT freelist_count FROM pragma_freelist_count")
                    .await;
                Size {
                    rows,
                    // SQLite uses free pages again, and never shrinks the file.
                    table: (of(path.to_owned()) - free * page) / MIB,
                    indexes: (of(path.to_owned()) + of(format!("{path}-wal"))) / MIB,
                    oldest: self
                        .number("SELECT coalesce((julianday('now') - julianday(min(created_at))) * 86400, 0) FROM river_job")
                        .await,
                }
            }
            Self::Postgres(_) => Size {
                rows,
                table: self.number("SELECT pg_table_size('river_job')").await / MIB,
                indexes: self.number("SELECT pg_indexes_size('river_job')").await / MIB,
                oldest: self
                    .number("SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM river_job")
                    .await,
            },
        }
    }
}

const MIB: f64 = 1024.0 * 1024.0;

/// The arguments of jobs that are stored at once.
pub(super) fn nothings(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|_| NOTHING)
}

/// Returns SQLite's plan for a claim. The statement is that of riverqueue 0.5.0 (`claim` in `database/sqlite.rs`).
pub(crate) fn sqlite_plan(url: &str) -> String {
    const CLAIM: &str = "EXPLAIN QUERY PLAN UPDATE river_job SET state = 'running' WHERE id IN (
        SELECT river_job.id FROM river_job
        WHERE queue = 'default' AND scheduled_at <= '2100-01-01' AND state = 'available'
            AND NOT EXISTS (SELECT 1 FROM river_queue WHERE river_queue.name = river_job.queue AND river_queue.paused_at IS NOT NULL)
            AND kind IN (SELECT value FROM json_each('[\"job\"]'))
        ORDER BY priority ASC, scheduled_at ASC, id ASC LIMIT 200)";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let options = SqliteConnectOptions::from_str(url).expect("a URL");
        let mut connection = options.connect().await.expect("it opens");
        let rows = sqlx::query(CLAIM).fetch_all(&mut connection).await;
        let lines = rows
            .expect("a plan")
            .iter()
            .map(|row| row.get(3))
            .collect::<Vec<String>>();
        lines.join("\n")
    })
}
