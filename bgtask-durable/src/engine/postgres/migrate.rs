//! Postgres: the engine's migrations, our tables, and the fence, under a lock. Must never change a row of a job.

use super::follow::{FOLLOW, FOLLOWED};
use super::{Postgres, errors};
use crate::OpenError;
use crate::engine::types::{Error, FoundTables};
use crate::operate::missing_or_other;
use riverqueue::migrate::{Error as MigrateError, POSTGRES_MIGRATIONS, PostgresMigrator};
use riverqueue::sqlx::postgres::PgConnectOptions;
use riverqueue::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use std::time::{Duration, Instant};

/// How long this process waits while another one migrates, and how often it looks. It holds no session of a pooler meanwhile:
/// the one that migrates needs two.
const MIGRATION_WAIT: Duration = Duration::from_secs(60);
const MIGRATION_LOOK: Duration = Duration::from_millis(50);

/// A table may be in use, and the transaction waits for the engine's migrations.
const MIGRATION_SETTINGS: &str =
    "SET LOCAL lock_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = 0";

const TABLES: [&str; 14] = [
    "CREATE TABLE IF NOT EXISTS bgtask_worker (
        id text PRIMARY KEY,
        beat bigint NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now()
    )",
    // What it declares about itself, as JSON.
    "ALTER TABLE bgtask_worker ADD COLUMN IF NOT EXISTS about text",
    // When it has last beaten, for people. No decision is made by it.
    "ALTER TABLE bgtask_worker ADD COLUMN IF NOT EXISTS beat_at timestamptz",
    // The actions of people, each with its result. The times are milliseconds since 1970.
    "CREATE TABLE IF NOT EXISTS bgtask_audit (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at bigint NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        target text NOT NULL,
        result text
    )",
    // The ends of attempts by the minute, counted from 1970.
    "CREATE TABLE IF NOT EXISTS bgtask_minute (
        minute bigint PRIMARY KEY,
        done bigint NOT NULL,
        retried bigint NOT NULL,
        dead bigint NOT NULL
    )",
    // One row: what tells this database from every other.
    "CREATE TABLE IF NOT EXISTS bgtask_instance (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        id text NOT NULL,
        -- The greatest id of a job that was deleted: an id up to it that is not there is gone, one above it was never visible.
        pruned bigint NOT NULL DEFAULT 0
    )",
    // In this row, for which every role of a process has the privileges. Made by the first process that signs tickets.
    "ALTER TABLE bgtask_instance ADD COLUMN IF NOT EXISTS ticket_key text",
    "INSERT INTO bgtask_instance (id) VALUES (gen_random_uuid()::text) ON CONFLICT DO NOTHING",
    // The times are microseconds since 1970.
    "CREATE TABLE IF NOT EXISTS bgtask_schedule (
        function text PRIMARY KEY,
        definition text NOT NULL,
        last_tick bigint NOT NULL,
        job bigint,
        seen_at bigint NOT NULL
    )",
    // The options of its jobs, as JSON, for those who store one at once.
    "ALTER TABLE bgtask_schedule ADD COLUMN IF NOT EXISTS job_options text",
    // Since when it is paused, and by whom.
    "ALTER TABLE bgtask_schedule ADD COLUMN IF NOT EXISTS paused_at bigint",
    "ALTER TABLE bgtask_schedule ADD COLUMN IF NOT EXISTS paused_by text",
    // When it was resumed, until it moves: the ticks of its pause are none.
    "ALTER TABLE bgtask_schedule ADD COLUMN IF NOT EXISTS resumed_at bigint",
    // For the jobs that have become due, ten times a second: River's index has the queue before the time.
    "CREATE INDEX IF NOT EXISTS bgtask_due ON river_job (scheduled_at) WHERE state IN ('scheduled', 'retryable')",
];

/// Drops the write for which it is called: the row stays as it is, and the statement does not count it. To return `OLD` would
/// write the row again and count it.
const DROP: &str = "CREATE OR REPLACE FUNCTION bgtask_fence() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RETURN NULL; END $$";

/// Drops every write that would end an attempt, or change what an attempt writes, without the row's current claim.
///
/// A row's claim is its last `attempted_by`, a slash, and `attempted_at` in microseconds since 1970, which no setting of a session
/// changes: both change with each claim. A write names its claim in the metadata. The rescue names none, and sets a mark that no
/// row has had instead. A tool may move a job that does not run to another state, as a cancellation does.
///
/// The names are resolved when the trigger is made, so no session's search path changes what it does.
const FENCE: &str = "CREATE TRIGGER bgtask_fence BEFORE UPDATE ON river_job FOR EACH ROW
WHEN (
    coalesce(OLD.attempted_by[array_upper(OLD.attempted_by, 1)], '') LIKE 'bgtask:%'
    AND (
        (OLD.state = 'running' AND NEW.state <> 'running')
        OR NEW.errors IS DISTINCT FROM OLD.errors
        OR (NEW.metadata -> 'output') IS DISTINCT FROM (OLD.metadata -> 'output')
        OR (NEW.metadata IS DISTINCT FROM OLD.metadata AND (OLD.state = 'running' OR NEW.state = OLD.state))
        OR (OLD.state = 'running' AND NEW.attempt <> OLD.attempt)
        OR (NEW.metadata ->> 'bgtask:claim') IS DISTINCT FROM (OLD.metadata ->> 'bgtask:claim')
    )
    AND NOT (
        OLD.state = 'running'
        AND coalesce(
            NEW.metadata ->> 'bgtask:claim'
                = OLD.attempted_by[array_upper(OLD.attempted_by, 1)] || '/'
                    || (extract(epoch FROM OLD.attempted_at) * 1000000)::bigint::text,
            false
        )
    )
    AND NOT (
        (NEW.metadata ->> 'bgtask:mark') IS NOT NULL
        AND (NEW.metadata ->> 'bgtask:mark') IS DISTINCT FROM (OLD.metadata ->> 'bgtask:mark')
    )
)
EXECUTE FUNCTION bgtask_fence()";

/// Makes a job cancelled that leaves `running` without a value after it was asked to end, whoever writes that: the attempt, the
/// shutdown, or the rescue. It comes before the fence, in the order of their names.
const CANCEL: &str = "CREATE OR REPLACE FUNCTION bgtask_cancel() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN NEW.state := 'cancelled'; NEW.finalized_at := now(); RETURN NEW; END $$";

const CANCELLED: &str = "CREATE TRIGGER bgtask_cancelled BEFORE UPDATE ON river_job FOR EACH ROW
WHEN (
    OLD.state = 'running'
    AND NEW.state IN ('available', 'scheduled', 'retryable', 'pending', 'discarded')
    AND NEW.metadata ? 'cancel_attempted_at'
)
EXECUTE FUNCTION bgtask_cancel()";

/// Whether our tables and the fence, made from this text and enabled, are in the schema.
const IS_CURRENT: &str = "SELECT EXISTS (SELECT 1 FROM pg_attribute
        WHERE attrelid = to_regclass(format('%I.bgtask_instance', $1)) AND attname = 'ticket_key' AND NOT attisdropped)
    AND EXISTS (SELECT 1 FROM pg_attribute
        WHERE attrelid = to_regclass(format('%I.bgtask_worker', $1)) AND attname = 'beat_at' AND NOT attisdropped)
    AND to_regclass(format('%I.bgtask_audit', $1)) IS NOT NULL
    AND to_regclass(format('%I.bgtask_minute', $1)) IS NOT NULL
    AND EXISTS (SELECT 1 FROM pg_attribute
        WHERE attrelid = to_regclass(format('%I.bgtask_schedule', $1)) AND attname = 'resumed_at' AND NOT attisdropped)
    AND to_regclass(format('%I.bgtask_due', $1)) IS NOT NULL
    AND 3 = (
        SELECT count(*) FROM pg_trigger
        WHERE (tgname, obj_description(oid, 'pg_trigger')) IN (('bgtask_fence', $2), ('bgtask_cancelled', $3), ('bgtask_followed', $4))
            AND tgrelid = to_regclass(format('%I.river_job', $1)) AND tgenabled IN ('O', 'A')
    )";

/// A column of each table by which the table is found, the latest, and the index.
const FOUND_NAMES: [&str; 6] = [
    "bgtask_audit.result",
    "bgtask_instance.ticket_key",
    "bgtask_minute.dead",
    "bgtask_schedule.resumed_at",
    "bgtask_worker.beat_at",
    "bgtask_due",
];

/// From the catalogue, which every role may read.
const FOUND: &str = "SELECT class.relname::text || '.' || attribute.attname::text
    FROM pg_class AS class JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
    WHERE class.oid IN (to_regclass(format('%I.bgtask_audit', $1)), to_regclass(format('%I.bgtask_instance', $1)),
        to_regclass(format('%I.bgtask_minute', $1)), to_regclass(format('%I.bgtask_schedule', $1)), to_regclass(format('%I.bgtask_worker', $1))) AND attribute.attnum > 0 AND NOT attribute.attisdropped
    UNION ALL SELECT 'bgtask_due' WHERE to_regclass(format('%I.bgtask_due', $1)) IS NOT NULL";

const FOUND_TRIGGERS: &str =
    "SELECT tgname::text, coalesce(obj_description(oid, 'pg_trigger'), '') FROM pg_trigger
    WHERE tgrelid = to_regclass(format('%I.river_job', $1)) AND tgenabled IN ('O', 'A')";

/// Returns the schema of the tables: the first of the search path, in which unqualified names are made.
pub(super) async fn schema(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<String, OpenError> {
    let schema: Option<String> = sqlx::query_scalar("SELECT current_schema()::text")
        .fetch_one(connection)
        .await
        .map_err(|error| errors::open_error(error, options))?;
    schema.ok_or_else(|| {
        OpenError::Schema(
            "no schema of the connection's search path exists: create it, or name another one in the URL with `?options=-csearch_path=NAME`"
                .to_owned(),
        )
    })
}

fn newest_known() -> Option<i64> {
    POSTGRES_MIGRATIONS.iter().map(|known| known.version).max()
}

/// The texts of the last trigger and of its function, which both may change.
fn follow_text() -> String {
    format!("{FOLLOWED}; {FOLLOW}")
}

impl Postgres {
    /// Returns which tables and triggers are there. Changes nothing.
    pub(in crate::engine) async fn found_tables(&self) -> Result<FoundTables, OpenError> {
        let failed = |error| errors::open_error(error, &self.sessions.options);
        let migrator = PostgresMigrator::new(self.pool.clone()).with_schema(self.name.clone());
        let versions = migrator.existing_versions().await;
        let versions = versions.map_err(|error| self.migrate_error(error))?;
        let found: Vec<String> = sqlx::query_scalar(FOUND)
            .bind(&*self.schema)
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let triggers: Vec<(String, String)> = sqlx::query_as(FOUND_TRIGGERS)
            .bind(&*self.schema)
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let follow = follow_text();
        let wanted = [
            ("bgtask_fence", FENCE),
            ("bgtask_cancelled", CANCELLED),
            ("bgtask_followed", &follow),
        ];
        let is_missing = |name: &&&str| !found.iter().any(|found| found == **name);
        let missing = FOUND_NAMES.iter().filter(is_missing);
        Ok(FoundTables {
            version: versions.into_iter().max(),
            known: newest_known().unwrap_or_default(),
            missing: missing.map(|name| (*name).to_owned()).collect(),
            triggers: missing_or_other(&wanted, &triggers),
        })
    }

    /// Checks that the tables are those that this program needs, and returns the id of the database.
    pub(super) async fn check_tables(&self) -> Result<String, OpenError> {
        self.found_tables().await?.check()?;
        sqlx::query_scalar("SELECT id FROM bgtask_instance")
            .fetch_one(&self.pool)
            .await
            .map_err(|error| errors::open_error(error, &self.sessions.options))
    }

    fn migrate_error(&self, error: MigrateError) -> OpenError {
        match error {
            MigrateError::Database(error) => errors::open_error(error, &self.sessions.options),
            error => OpenError::Migrate(error.to_string()),
        }
    }

    /// Brings the tables up to date, on a connection that is closed afterwards. Returns the id of the database.
    pub(super) async fn migrate(&self, mut connection: PgConnection) -> Result<String, OpenError> {
        let failed = |error| errors::open_error(error, &self.sessions.options);
        let begin = Instant::now();
        // Of five processes that migrate at once, most would fail.
        let mut transaction = loop {
            let mut transaction = connection.begin().await.map_err(failed)?;
            if self.lock(&mut transaction).await.map_err(failed)? {
                break transaction;
            }
            transaction.rollback().await.map_err(failed)?;
            if begin.elapsed() >= MIGRATION_WAIT {
                return Err(OpenError::Lock(format!(
                    "another process has been making the tables for {MIGRATION_WAIT:?}"
                )));
            }
            tokio::time::sleep(MIGRATION_LOOK).await;
        };
        sqlx::raw_sql(MIGRATION_SETTINGS)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        self.migrate_engine().await?;
        self.migrate_own(&mut transaction).await.map_err(failed)?;
        let instance = sqlx::query_scalar("SELECT id FROM bgtask_instance")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        // Nobody waits for the answer.
        let _ = connection.close().await;
        Ok(instance)
    }

    /// Locks the migration of this schema, unless another process has. The lock is the transaction's: behind a pooler, one of the
    /// session would stay in a session that others use.
    async fn lock(&self, connection: &mut PgConnection) -> Result<bool, Error> {
        sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("bgtask-migrate:{}", self.schema))
            .fetch_one(connection)
            .await
    }

    async fn migrate_engine(&self) -> Result<(), OpenError> {
        let failed = |error| self.migrate_error(error);
        // Not through a pooler: the engine locks its migrations in the session.
        let direct = super::pool(&self.sessions, 1);
        let migrator = PostgresMigrator::new(direct).with_schema(self.name.clone());
        let known = newest_known();
        let existing = migrator.existing_versions().await.map_err(failed)?;
        if let (Some(known), Some(newest)) = (known, existing.into_iter().max())
            && newest > known
        {
            return Err(OpenError::NewerSchema { newest, known });
        }
        migrator.migrate_up().await.map_err(failed)?;
        Ok(())
    }

    /// Makes what is missing, in the transaction of the caller.
    async fn migrate_own(&self, connection: &mut PgConnection) -> Result<(), Error> {
        // Without it, a role that may only read and write rows could not open the store: even `IF NOT EXISTS` takes the right to
        // create.
        let is_current: bool = sqlx::query_scalar(IS_CURRENT)
            .bind(&*self.schema)
            .bind(FENCE)
            .bind(CANCELLED)
            .bind(follow_text())
            .fetch_one(&mut *connection)
            .await?;
        if is_current {
            return Ok(());
        }
        for table in TABLES {
            sqlx::query(table).execute(&mut *connection).await?;
        }
        for statement in [
            "DROP TRIGGER IF EXISTS bgtask_fence ON river_job",
            "DROP TRIGGER IF EXISTS bgtask_cancelled ON river_job",
            "DROP TRIGGER IF EXISTS bgtask_followed ON river_job",
            DROP,
            FENCE,
            CANCEL,
            CANCELLED,
            FOLLOW,
            FOLLOWED,
        ] {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        for (name, trigger) in [
            ("bgtask_fence", FENCE.to_owned()),
            ("bgtask_cancelled", CANCELLED.to_owned()),
            ("bgtask_followed", follow_text()),
        ] {
            // The text that it was made from, to be compared at the next start.
            let text = trigger.replace('\'', "''");
            let comment = format!("COMMENT ON TRIGGER {name} ON river_job IS '{text}'");
            // Nothing in it is of the user's.
            sqlx::query(AssertSqlSafe(comment))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}
