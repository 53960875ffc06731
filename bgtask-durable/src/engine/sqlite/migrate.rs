//! SQLite: the engine's migrations, our tables, and the triggers. Must never change a row.

use super::{Sqlite, follow, operate, within};
use crate::OpenError;
use riverqueue::migrate::{Error as MigrateError, SQLITE_MIGRATIONS, SqliteMigrator};
use riverqueue::sqlx;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS bgtask_worker (
    id TEXT PRIMARY KEY NOT NULL,
    beat INTEGER NOT NULL,
    started_at TEXT NOT NULL DEFAULT (datetime('now'))
);
-- The actions of people, each with its result. The times are milliseconds since 1970.
CREATE TABLE IF NOT EXISTS bgtask_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    result TEXT
);
-- One row: what tells this database from every other.
CREATE TABLE IF NOT EXISTS bgtask_instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL
);
-- The times are microseconds since 1970.
CREATE TABLE IF NOT EXISTS bgtask_schedule (
    function TEXT PRIMARY KEY NOT NULL,
    definition TEXT NOT NULL,
    last_tick INTEGER NOT NULL,
    job INTEGER,
    seen_at INTEGER NOT NULL
);
INSERT INTO bgtask_instance (one, id) VALUES (1, lower(hex(randomblob(16)))) ON CONFLICT DO NOTHING;";

/// What people see of a worker. No decision is made by it. `beat_at` is in milliseconds since 1970.
const DESCRIBED: &str = "
ALTER TABLE bgtask_worker ADD COLUMN host TEXT;
ALTER TABLE bgtask_worker ADD COLUMN queues TEXT;
ALTER TABLE bgtask_worker ADD COLUMN beat_at INTEGER;";

/// Drops every write that would end an attempt, or change what an attempt writes, without the row's current claim.
///
/// A row's claim is its last `attempted_by`, a slash, and `attempted_at`: both change with each claim. A write names its claim in
/// the metadata. The rescue names none, and sets a mark that no row has had instead. A tool may move a job that does not run to
/// another state, as a cancellation does.
const FENCE: &str = "CREATE TRIGGER bgtask_fence BEFORE UPDATE ON river_job
WHEN OLD.attempted_by IS NOT NULL
    AND coalesce(json_extract(OLD.attempted_by, '$[#-1]'), '') LIKE 'bgtask:%'
    AND (
        (OLD.state = 'running' AND NEW.state <> 'running')
        OR NEW.errors IS NOT OLD.errors
        OR (NEW.metadata -> '$.output') IS NOT (OLD.metadata -> '$.output')
        OR (NEW.metadata IS NOT OLD.metadata AND (OLD.state = 'running' OR NEW.state = OLD.state))
        OR (OLD.state = 'running' AND NEW.attempt <> OLD.attempt)
        OR json_extract(NEW.metadata, '$.\"bgtask:claim\"') IS NOT json_extract(OLD.metadata, '$.\"bgtask:claim\"')
    )
    AND NOT (
        OLD.state = 'running'
        AND coalesce(
            json_extract(NEW.metadata, '$.\"bgtask:claim\"')
                = json_extract(OLD.attempted_by, '$[#-1]') || '/' || OLD.attempted_at,
            0
        )
    )
    AND NOT (
        json_extract(NEW.metadata, '$.\"bgtask:mark\"') IS NOT NULL
        AND json_extract(NEW.metadata, '$.\"bgtask:mark\"') IS NOT json_extract(OLD.metadata, '$.\"bgtask:mark\"')
    )
BEGIN
    SELECT RAISE(IGNORE);
END";

impl Sqlite {
    /// Brings the tables up to date, and returns the id of the database.
    pub(super) async fn migrate(&self) -> Result<String, OpenError> {
        let migrator = SqliteMigrator::new(self.pool.clone());
        let failed = |error| match error {
            MigrateError::Database(error) => error.into(),
            error => OpenError::Migrate(error.to_string()),
        };
        let known = SQLITE_MIGRATIONS.iter().map(|known| known.version).max();
        let existing = migrator.existing_versions().await.map_err(failed)?;
        if let (Some(known), Some(newest)) = (known, existing.into_iter().max())
            && newest > known
        {
            return Err(OpenError::NewerSchema { newest, known });
        }
        migrator.migrate_up().await.map_err(failed)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
        let has_key: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('bgtask_instance') WHERE name = 'ticket_key')",
        )
        .fetch_one(&mut *transaction)
        .await?;
        if !has_key {
            // Made by the first process that signs tickets.
            sqlx::query("ALTER TABLE bgtask_instance ADD COLUMN ticket_key TEXT")
                .execute(&mut *transaction)
                .await?;
        }
        let is_described: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('bgtask_worker') WHERE name = 'beat_at')",
        )
        .fetch_one(&mut *transaction)
        .await?;
        if !is_described {
            sqlx::raw_sql(DESCRIBED).execute(&mut *transaction).await?;
        }
        let instance = within::instance(&mut transaction).await?;
        for (name, drop, trigger) in [
            ("bgtask_fence", "DROP TRIGGER IF EXISTS bgtask_fence", FENCE),
            (
                "bgtask_cancelled",
                "DROP TRIGGER IF EXISTS bgtask_cancelled",
                operate::CANCELLED,
            ),
            (
                "bgtask_followed",
                "DROP TRIGGER IF EXISTS bgtask_followed",
                follow::FOLLOWED,
            ),
        ] {
            let existing: Option<String> =
                sqlx::query_scalar("SELECT sql FROM sqlite_master WHERE name = ?")
                    .bind(name)
                    .fetch_optional(&mut *transaction)
                    .await?;
            if existing.as_deref() != Some(trigger) {
                sqlx::query(drop).execute(&mut *transaction).await?;
                sqlx::query(trigger).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(instance)
    }
}
