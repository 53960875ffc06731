//! SQLite: the engine's migrations, our tables, and the triggers. Must never change a row.

use super::{Sqlite, follow, operate, within};
use crate::OpenError;
use crate::engine::types::FoundTables;
use crate::operate::missing_or_other;
use riverqueue::migrate::{Error as MigrateError, SQLITE_MIGRATIONS, SqliteMigrator};
use riverqueue::sqlx;

const TABLES: &str = "
-- `about` is what a worker declares about itself, as JSON.
CREATE TABLE IF NOT EXISTS bgtask_worker (
    id TEXT PRIMARY KEY NOT NULL,
    beat INTEGER NOT NULL,
    started_at TEXT NOT NULL DEFAULT (datetime('now')),
    about TEXT,
    beat_at INTEGER
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
-- The ends of attempts by the minute, counted from 1970.
CREATE TABLE IF NOT EXISTS bgtask_minute (
    minute INTEGER PRIMARY KEY,
    done INTEGER NOT NULL,
    retried INTEGER NOT NULL,
    dead INTEGER NOT NULL
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

fn newest_known() -> Option<i64> {
    SQLITE_MIGRATIONS.iter().map(|known| known.version).max()
}

fn failed(error: MigrateError) -> OpenError {
    match error {
        MigrateError::Database(error) => error.into(),
        error => OpenError::Migrate(error.to_string()),
    }
}

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

/// The triggers with their texts.
const TRIGGERS: [(&str, &str); 3] = [
    ("bgtask_fence", FENCE),
    ("bgtask_cancelled", operate::CANCELLED),
    ("bgtask_followed", follow::FOLLOWED),
];

/// The columns that tables of an earlier version lack, each with the statement that adds it.
const LATER_COLUMNS: [(&str, &str, &str); 7] = [
    // Set by the first process that signs tickets.
    (
        "bgtask_instance",
        "ticket_key",
        "ALTER TABLE bgtask_instance ADD COLUMN ticket_key TEXT",
    ),
    (
        "bgtask_worker",
        "about",
        "ALTER TABLE bgtask_worker ADD COLUMN about TEXT",
    ),
    // When it has last beaten, in milliseconds since 1970, for people. No decision is made by it.
    (
        "bgtask_worker",
        "beat_at",
        "ALTER TABLE bgtask_worker ADD COLUMN beat_at INTEGER",
    ),
    // The options of its jobs, as JSON, for those who store one at once.
    (
        "bgtask_schedule",
        "job_options",
        "ALTER TABLE bgtask_schedule ADD COLUMN job_options TEXT",
    ),
    // Since when it is paused, and by whom.
    (
        "bgtask_schedule",
        "paused_at",
        "ALTER TABLE bgtask_schedule ADD COLUMN paused_at INTEGER",
    ),
    (
        "bgtask_schedule",
        "paused_by",
        "ALTER TABLE bgtask_schedule ADD COLUMN paused_by TEXT",
    ),
    // When it was resumed, until it moves: the ticks of its pause are none.
    (
        "bgtask_schedule",
        "resumed_at",
        "ALTER TABLE bgtask_schedule ADD COLUMN resumed_at INTEGER",
    ),
];

/// A column of each table by which the table is found: the latest.
const COLUMNS: [&str; 5] = [
    "bgtask_audit.result",
    "bgtask_instance.ticket_key",
    "bgtask_minute.dead",
    "bgtask_schedule.resumed_at",
    "bgtask_worker.beat_at",
];

impl Sqlite {
    /// Returns which tables and triggers are there. Changes nothing.
    pub(in crate::engine) async fn found_tables(&self) -> Result<FoundTables, OpenError> {
        let migrator = SqliteMigrator::new(self.pool.clone());
        let versions = migrator.existing_versions().await.map_err(failed)?;
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT tables.name || '.' || columns.name
             FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table' AND tables.name IN ('bgtask_audit', 'bgtask_instance', 'bgtask_minute', 'bgtask_schedule', 'bgtask_worker')",
        )
        .fetch_all(&self.pool)
        .await?;
        let triggers: Vec<(String, String)> = sqlx::query_as(
            "SELECT name, coalesce(sql, '') FROM sqlite_master WHERE type = 'trigger'",
        )
        .fetch_all(&self.pool)
        .await?;
        let is_missing = |name: &&&str| !columns.iter().any(|found| found == **name);
        let missing = COLUMNS.iter().filter(is_missing);
        Ok(FoundTables {
            version: versions.into_iter().max(),
            known: newest_known().unwrap_or_default(),
            missing: missing.map(|name| (*name).to_owned()).collect(),
            triggers: missing_or_other(&TRIGGERS, &triggers),
        })
    }

    /// Checks that the tables are those that this program needs, and returns the id of the database.
    pub(super) async fn check_tables(&self) -> Result<String, OpenError> {
        self.found_tables().await?.check()?;
        let mut connection = self.pool.acquire().await?;
        Ok(within::instance(&mut connection).await?)
    }

    /// Brings the tables up to date, and returns the id of the database.
    pub(super) async fn migrate(&self) -> Result<String, OpenError> {
        let migrator = SqliteMigrator::new(self.pool.clone());
        let known = newest_known();
        let existing = migrator.existing_versions().await.map_err(failed)?;
        if let (Some(known), Some(newest)) = (known, existing.into_iter().max())
            && newest > known
        {
            return Err(OpenError::NewerSchema { newest, known });
        }
        migrator.migrate_up().await.map_err(failed)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
        for (table, column, add) in LATER_COLUMNS {
            let is_there: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE name = ?)",
            )
            .bind(table)
            .bind(column)
            .fetch_one(&mut *transaction)
            .await?;
            if !is_there {
                sqlx::query(add).execute(&mut *transaction).await?;
            }
        }
        let instance = within::instance(&mut transaction).await?;
        for ((name, trigger), drop) in TRIGGERS.into_iter().zip([
            "DROP TRIGGER IF EXISTS bgtask_fence",
            "DROP TRIGGER IF EXISTS bgtask_cancelled",
            "DROP TRIGGER IF EXISTS bgtask_followed",
        ]) {
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
