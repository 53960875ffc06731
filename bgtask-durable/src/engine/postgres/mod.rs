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

/// Follows a statement that returns the queues of jobs which it made available as `made`: wakes the workers of these queues when it
/// commits, as an insertion does, and counts the jobs.
macro_rules! and_wake {
    ($($made:expr),+ $(,)?) => {
        concat!(
            "WITH made AS (", $($made,)+ " RETURNING job.queue),
             woken AS (SELECT pg_notify($1, json_build_object('queue', queue)::text) FROM (SELECT DISTINCT queue FROM made) AS one)
             SELECT (SELECT count(*) FROM made), (SELECT count(*) FROM woken)"
        )
    };
}

mod attempts;
mod changes;
mod errors;
mod lease;
mod migrate;
mod operate;
mod read;
mod schedule;
mod upkeep;
mod within;

use super::types::{Error, LOCK_WAIT};
use crate::OpenError;
use riverqueue::database::{PostgresDatabase, SchemaName};
use riverqueue::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use riverqueue::sqlx::{self, ConnectOptions as _};
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub(super) use changes::Changes;
pub(super) use errors::{enqueue_error, is_refused};
pub(super) use lease::Connection;
pub(super) use schedule::{schedules, set_schedule_job, write_schedule};

/// The connections of the pool: claims of each queue, reads, ends, and calls that are stored.
const CONNECTIONS: u32 = 10;

/// How long closing waits for connections that are in use.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The statements of a session, whatever the server's own defaults.
const SETTINGS: [(&str, &str); 6] = [
    // No notices of what is there already.
    ("client_min_messages", "warning"),
    // A lock that is held for longer is reported, and the statement tried again.
    ("lock_timeout", "4s"),
    // The server gives up a client whose machine is gone, and with it the row locks. In the other direction sqlx has no
    // keep-alives: there each wait has a limit.
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    // A process that is stopped within a transaction, by a signal or a debugger, keeps the rows of its jobs locked no longer.
    ("idle_in_transaction_session_timeout", "10s"),
];

/// A database, open and migrated.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    options: PgConnectOptions,
    /// The schema of the tables: the first of the connection's search path.
    schema: Arc<str>,
    name: SchemaName,
    /// The id of this database, which a transaction of the program's is compared with.
    instance: Arc<str>,
}

impl Postgres {
    pub(in crate::engine) async fn open(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::Url {
                url: errors::without_password(url),
                message: error.to_string(),
            })?
            .options(SETTINGS);
        let mut connection = connect(&options)
            .await
            .map_err(|error| errors::open_error(error, &options))?;
        let schema = migrate::schema(&mut connection, &options).await?;
        let name =
            SchemaName::new(&*schema).map_err(|error| OpenError::Schema(error.to_string()))?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(LOCK_WAIT)
            .connect_lazy_with(options.clone());
        let mut database = Self {
            pool,
            options,
            schema: schema.into(),
            name,
            instance: Arc::default(),
        };
        database.instance = database.migrate(connection).await?.into();
        Ok(database)
    }

    pub(in crate::engine) fn name(&self) -> String {
        let options = &self.options;
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

    #[cfg(test)]
    pub(in crate::engine) fn pool(&self) -> &PgPool {
        &self.pool
    }

    #[cfg(test)]
    pub(in crate::engine) fn instance(&self) -> &str {
        &self.instance
    }

    /// Opens a connection that is not one of the pool's.
    pub(in crate::engine) async fn connect(&self) -> Result<Connection, Error> {
        let connection = connect(&self.options).await?;
        Ok(Connection::new(connection, self.schema.clone()))
    }

    /// Listens for the ends of jobs, on a connection of its own.
    pub(in crate::engine) async fn changes(&self) -> Result<Changes, Error> {
        Changes::listen(self.options.clone(), &end_channel(&self.schema)).await
    }

    pub(in crate::engine) async fn close(&self) {
        // A connection to a server that is gone may never come back.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.pool.close()).await;
    }
}

async fn connect(options: &PgConnectOptions) -> Result<sqlx::PgConnection, Error> {
    limited(options.connect()).await
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

/// The channel that names the jobs that have ended. Channels belong to the whole database, so the schema is part of the name, as
/// it is of River's own.
fn end_channel(schema: &str) -> String {
    format!("{schema}.bgtask_end")
}

/// The channel on which River's clients wait for jobs that have become available.
fn insert_channel(schema: &str) -> String {
    format!("{schema}.river_insert")
}

/// The channel on which River's clients hear of paused and resumed queues.
fn control_channel(schema: &str) -> String {
    format!("{schema}.river_control")
}
