//! Postgres: opens the pool, and connections beside it. The statements are in the files of this folder, by subject.
//! Each write for an attempt carries the attempt's claim; the fence drops those that do not.

/// Adds members to the metadata of a row, and raises its version.
macro_rules! metadata {
    ($row:literal $($(,)? $added:literal)+) => {
        concat!(
            $row, "metadata" $(, " || ", $added)+,
            " || jsonb_build_object('bgtask:version', coalesce((", $row, "metadata ->> 'bgtask:version')::bigint, 0) + 1)"
        )
    };
}

/// Follows a statement that returns jobs which it made available as `made`: when it commits, it wakes the workers of their queues, as an
/// insertion does, and notifies those who watch the jobs. Counts the jobs. The first parameter is the schema.
macro_rules! and_wake {
    ($($made:expr),+ $(,)?) => {
        concat!("WITH made AS (", $($made,)+ " RETURNING job.id, job.queue)", woken!("$1::text"))
    };
}

/// The end of such a statement, for this expression of the schema. A notification names up to 350 jobs, because the server accepts less
/// than 8000 bytes in one.
macro_rules! woken {
    ($schema:literal) => {
        concat!(
            ",
             woken AS (SELECT pg_notify(", $schema, " || '.river_insert', json_build_object('queue', queue)::text)
                 FROM (SELECT DISTINCT queue FROM made) AS one),
             notified AS (SELECT pg_notify(", $schema, " || '.bgtask_end', string_agg(id::text, ','))
                 FROM (SELECT id, (row_number() OVER () - 1) / 350 AS part FROM made) AS numbered GROUP BY part)
             SELECT (SELECT count(*) FROM made), (SELECT count(*) FROM woken), (SELECT count(*) FROM notified)"
        )
    };
}

mod attempts;
mod changes;
mod claim;
mod errors;
mod examine;
mod follow;
#[cfg(feature = "dashboard")]
mod inspect;
mod lease;
mod migrate;
mod operate;
mod read;
mod schedule;
mod session;
mod upkeep;
mod within;

use super::types::{Access, Error, LOCK_WAIT, Tables};
use crate::OpenError;
use riverqueue::database::{PostgresDatabase, SchemaName};
use riverqueue::sqlx::pool::PoolConnection;
use riverqueue::sqlx::postgres::{PgPool, PgPoolOptions};
use riverqueue::sqlx::{self, Transaction};
use session::Sessions;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(super) use changes::Changes;
pub(super) use errors::{enqueue_error, is_refused};
pub(super) use lease::Connection;
pub(super) use schedule::{
    drop_schedules, pause_schedule, resume_schedule, schedule_options, schedules, see_schedule,
    set_schedule_job, write_schedule,
};

/// The connections of the pool unless the program says otherwise: claims of each queue, reads, ends, and calls that are stored.
const CONNECTIONS: u32 = 10;

/// How long closing waits for connections that are in use.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A database, open and migrated.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    /// The sessions of beats, rescues and listeners: those at the `listen_url`, if there is one.
    sessions: Sessions,
    /// The schema of the tables: the first of the connection's search path.
    schema: Arc<str>,
    name: SchemaName,
    /// A pooler lends the sessions of the pool.
    is_pooled: bool,
    /// The id of this database, which a transaction of the program's is compared with.
    instance: Arc<str>,
}

impl Postgres {
    pub(in crate::engine) async fn open(url: &str, access: Access) -> Result<Self, OpenError> {
        let connections = access.connections.unwrap_or(CONNECTIONS);
        let listen_url = access.listen_url.as_deref();
        let (pooled, connection) = Sessions::examine(url).await?;
        let (sessions, mut connection) = match listen_url {
            Some(url) => Sessions::examine(url).await?,
            None => (pooled.clone(), connection),
        };
        if listen_url.is_some() && sessions.are_lent {
            return Err(OpenError::Database(errors::NOT_DIRECT.into()));
        }
        if access.tables == Tables::Make {
            warn(&pooled, &sessions);
        }
        let schema = migrate::schema(&mut connection, &sessions.options).await?;
        let name =
            SchemaName::new(&*schema).map_err(|error| OpenError::Schema(error.to_string()))?;
        let mut database = Self {
            pool: pool(&pooled, connections),
            is_pooled: pooled.are_lent,
            sessions,
            schema: schema.into(),
            name,
            instance: Arc::default(),
        };
        database.instance = match access.tables {
            Tables::Make => database.migrate(connection).await?.into(),
            Tables::Require => database.check_tables().await?.into(),
            Tables::Leave => Arc::default(),
        };
        if listen_url.is_some() && access.tables != Tables::Leave {
            database.check_pool().await?;
        }
        Ok(database)
    }

    /// Checks that both addresses are those of one database and schema.
    async fn check_pool(&self) -> Result<(), OpenError> {
        let instance: Result<String, Error> = sqlx::query_scalar("SELECT id FROM bgtask_instance")
            .fetch_one(&self.pool)
            .await;
        match instance {
            Ok(instance) if *instance == *self.instance => Ok(()),
            Err(error) if !errors::is_missing_table(&error) => {
                Err(errors::open_error(error, &self.pool.connect_options()))
            }
            _ => Err(OpenError::Database(errors::OTHER_DATABASE.into())),
        }
    }

    pub(in crate::engine) fn name(&self) -> String {
        let options = self.pool.connect_options();
        format!(
            "postgres://{}:{}/{}, schema {}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username()),
            self.schema
        )
    }

    pub(in crate::engine) fn source(&self) -> PostgresDatabase {
        PostgresDatabase::new(self.pool.clone()).with_schema(self.name.clone())
    }

    /// Whether a session that listens is notified.
    pub(in crate::engine) fn notifies(&self) -> bool {
        !self.sessions.are_lent
    }

    pub(in crate::engine) fn pool(&self) -> &PgPool {
        &self.pool
    }

    #[cfg(any(test, feature = "live", feature = "dashboard"))]
    pub(in crate::engine) fn instance(&self) -> &str {
        &self.instance
    }

    /// Takes a connection of the pool.
    pub(in crate::engine) async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, Error> {
        limited(self.pool.acquire()).await
    }

    pub(in crate::engine) async fn begin(
        &self,
    ) -> Result<Transaction<'static, sqlx::Postgres>, Error> {
        limited(self.pool.begin()).await
    }

    /// Opens a connection that is not one of the pool's.
    pub(in crate::engine) async fn connect(&self) -> Result<Connection, Error> {
        let connection = self.sessions.connect().await?;
        Ok(Connection::new(connection, self.schema.clone()))
    }

    /// Listens for the ends of jobs, and for jobs to claim if `works`, on a connection of its own, or polls for ends.
    pub(in crate::engine) async fn changes(&self, works: bool) -> Result<Changes, Error> {
        if !self.notifies() {
            return Ok(Changes::polled());
        }
        let options = self.sessions.options.clone();
        Changes::listen(options, &self.schema, works).await
    }

    pub(in crate::engine) async fn close(&self) {
        // A connection to a server that is gone may never come back.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.pool.close()).await;
    }
}

fn pool(sessions: &Sessions, connections: u32) -> PgPool {
    let own = sessions.clone();
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(LOCK_WAIT)
        .after_connect(move |connection, _| {
            let sessions = own.clone();
            Box::pin(async move { sessions.set(connection).await })
        })
        .connect_lazy_with(sessions.options.clone())
}

/// Logs what the store has to do without, each with the cure.
fn warn(pooled: &Sessions, sessions: &Sessions) {
    if sessions.are_lent {
        tracing::warn!(target: "bgtask", poll = ?super::POLL_BESIDE_NOTIFICATIONS,
            "a pooler lends its sessions to the store: it polls for jobs and their ends, unless listen_url or BGTASK_LISTEN_URL is the address of the server itself");
    }
    if pooled.are_lent && pooled.have_no_limits {
        tracing::warn!(target: "bgtask", role = pooled.options.get_username(),
            "a pooler keeps the settings of sessions from the server: set lock_timeout = '4s' and idle_in_transaction_session_timeout = '10s' for the role with ALTER ROLE");
    }
}

/// Ends a wait for a server that does not answer. The connection must not be used again.
async fn limited<T>(statement: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answered = tokio::time::timeout(LOCK_WAIT, statement).await;
    answered.unwrap_or_else(|_| {
        let message = format!("the server did not answer within {LOCK_WAIT:?}");
        Err(Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            message,
        )))
    })
}

/// The channel that names the jobs that have ended, or have another state or progress. Channels belong to the whole database, so the schema is part of the name, as
/// it is of River's own.
fn end_channel(schema: &str) -> String {
    format!("{schema}.bgtask_end")
}

/// The channel on which River's clients wait for jobs that have become available.
fn insert_channel(schema: &str) -> String {
    format!("{schema}.river_insert")
}

/// The channel on which River's clients receive that a queue is paused or resumed.
fn control_channel(schema: &str) -> String {
    format!("{schema}.river_control")
}
