//! The database of a store: hands each request on to the statements of the database that it is.
//! Must never have a statement of its own.

use super::row::read_error;
#[cfg(feature = "sqlite")]
use super::sqlite::{self, Sqlite};
use super::types::{Cancelled, Claim, Claimed, Ended, Error, Record, Rescued, Seen};
use crate::OpenError;
use bgtask::durable::{CompleteError, EnqueueError, JobError, JobId, JobStatus, Progress};
#[cfg(feature = "sqlite")]
use riverqueue::sqlx;
#[cfg(feature = "sqlite")]
use riverqueue::sqlx::sqlite::SqliteConnection;
use riverqueue::{Client, ClientBuilder};
use std::collections::BTreeMap;

/// A database, open and migrated.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
}

/// A connection that is not one of the pool's.
#[derive(Debug)]
pub(crate) enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteConnection),
}

/// Evaluates an expression with the value of whichever database it is.
macro_rules! each {
    ($of:ident, $value:expr, $name:ident => $body:expr) => {
        match $value {
            #[cfg(feature = "sqlite")]
            $of::Sqlite($name) => $body,
        }
    };
}

impl Database {
    /// Opens the database at this URL, and brings its tables up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            return Sqlite::open(url).await.map(Self::Sqlite);
        }
        Err(OpenError::Url {
            url: url.to_owned(),
            message: "expected `sqlite://path`; other databases are not supported yet".to_owned(),
        })
    }

    /// Opens a connection that is not one of the pool's.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.connect().await.map(Connection::Sqlite),
        }
    }

    /// Returns the connection, which it opens if there is none.
    pub(crate) async fn connected<'a>(
        &self,
        connection: &'a mut Option<Connection>,
    ) -> Result<&'a mut Connection, Error> {
        match connection {
            Some(connection) => Ok(connection),
            none => Ok(none.insert(self.connect().await?)),
        }
    }

    /// Returns the settings of a client of the engine.
    pub(super) fn client(&self) -> ClientBuilder {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => Client::builder(database.pool().clone()),
        }
    }

    /// Returns the pool, for the tests that write as other programs do.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn sqlite(&self) -> &sqlx::SqlitePool {
        match self {
            Self::Sqlite(database) => database.pool(),
        }
    }

    pub(crate) async fn close(&self) {
        each!(Self, self, database => database.close().await);
    }

    /// Reads a job that a worker of this process has claimed. `None` if it is no longer running.
    pub(crate) async fn claimed(&self, id: i64) -> Result<Option<Claimed>, Error> {
        each!(Self, self, database => database.claimed(id).await)
    }

    /// Records the ends of attempts in one transaction. Returns for each whether it was recorded: if not, the attempt no longer
    /// holds its job.
    pub(crate) async fn record(&self, ends: &[(Claim, Record)]) -> Result<Vec<bool>, Error> {
        each!(Self, self, database => database.record(ends).await)
    }

    /// Makes jobs available whose time has come. Returns their number.
    pub(crate) async fn promote(&self) -> Result<u64, Error> {
        each!(Self, self, database => database.promote().await)
    }

    /// Has jobs tried again whose arguments did not decode.
    pub(crate) async fn unpark(&self, mark: &str) -> Result<u64, Error> {
        each!(Self, self, database => database.unpark(mark).await)
    }

    /// Returns the jobs that run in one life of a worker, each with the time of its claim.
    pub(crate) async fn running_in(&self, life: &str) -> Result<Vec<(i64, String)>, Error> {
        each!(Self, self, database => database.running_in(life).await)
    }

    /// Makes jobs available that this life has claimed and nobody runs. Their attempts are not counted. Returns their number.
    pub(crate) async fn put_back(
        &self,
        life: &str,
        jobs: &[(i64, String)],
        mark: &str,
    ) -> Result<u64, Error> {
        each!(Self, self, database => database.put_back(life, jobs, mark).await)
    }

    /// Deletes jobs whose time in the database is over. Returns their number; call it again until it is 0.
    pub(crate) async fn prune(&self) -> Result<u64, Error> {
        each!(Self, self, database => database.prune().await)
    }

    pub(crate) async fn status(&self, id: JobId) -> Result<JobStatus, JobError> {
        let row = each!(Self, self, database => database.row(id).await)?;
        Ok(row.status(id))
    }

    /// Returns the end of a job, or `None` if it has not ended.
    pub(crate) async fn ended(&self, id: JobId) -> Result<Option<Ended>, JobError> {
        each!(Self, self, database => database.row(id).await)?.ended()
    }

    /// Returns the number of jobs in each state.
    pub(crate) async fn counts(&self) -> Result<BTreeMap<&'static str, u64>, JobError> {
        let counts = each!(Self, self, database => database.counts().await);
        counts.map_err(|error| read_error(&error))
    }

    /// Checks that a transaction of the program's belongs to this database.
    #[cfg(feature = "sqlite")]
    pub(super) async fn check_sqlite(
        &self,
        transaction: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
    ) -> Result<(), EnqueueError> {
        let Self::Sqlite(database) = self;
        match database.is_that_of(transaction).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(EnqueueError::OtherDatabase),
            Err(error) => Err(EnqueueError::store(error.to_string())),
        }
    }

    /// Completes the job of an attempt in a transaction of the program's.
    #[cfg(feature = "sqlite")]
    pub(crate) async fn complete_in_sqlite(
        &self,
        transaction: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
        claim: &Claim,
        output: &str,
        progress: Option<Progress>,
    ) -> Result<(), CompleteError> {
        let Self::Sqlite(database) = self;
        match database.is_that_of(transaction).await {
            Ok(true) => {}
            Ok(false) => return Err(CompleteError::OtherDatabase),
            Err(error) => return Err(CompleteError::store(error.to_string())),
        }
        sqlite::complete(transaction, claim, output, progress)
            .await
            .unwrap_or_else(|error| Err(CompleteError::store(error.to_string())))
    }

    /// Cancels a job that does not run, and marks one that does for the worker that holds it.
    pub(crate) async fn cancel(&self, id: JobId, mark: &str) -> Result<Cancelled, JobError> {
        let cancelled = each!(Self, self, database => database.cancel(id.get(), mark).await);
        match cancelled.map_err(|error| read_error(&error))? {
            // It has ended, or there is none.
            Cancelled::Not => self.status(id).await.map(|_| Cancelled::Not),
            cancelled => Ok(cancelled),
        }
    }

    /// Returns the running jobs of one life of a worker that are asked to end.
    pub(crate) async fn cancelling(&self, life: &str) -> Result<Vec<i64>, Error> {
        each!(Self, self, database => database.cancelling(life).await)
    }

    /// Makes a job available that waits for a time, or has ended without a value. Returns whether it was one.
    pub(crate) async fn retry_now(&self, id: JobId, mark: &str) -> Result<bool, JobError> {
        match each!(Self, self, database => database.retry_now(id.get(), mark).await) {
            Ok(true) => Ok(true),
            Ok(false) => self.status(id).await.map(|_| false),
            Err(Error::Database(error)) if error.is_unique_violation() => Err(JobError::store(
                "another job with the key of this one is there".to_owned(),
            )),
            Err(error) => Err(read_error(&error)),
        }
    }

    /// Returns what is known of a job whose insertion failed.
    pub(super) fn enqueue_error(&self, error: &Error) -> EnqueueError {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => sqlite::enqueue_error(error),
        }
    }
}

impl Connection {
    /// Makes a worker known.
    pub(crate) async fn register(&mut self, id: &str) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::register(connection, id).await,
        }
    }

    /// Shows that a worker lives. Returns `false` if it has been declared dead.
    pub(crate) async fn beat(&mut self, id: &str) -> Result<bool, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::beat(connection, id).await,
        }
    }

    /// Removes a worker that has returned all its jobs.
    pub(crate) async fn unregister(&mut self, id: &str) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::unregister(connection, id).await,
        }
    }

    /// Returns all workers, and those that only jobs still name.
    pub(crate) async fn workers(&mut self) -> Result<Vec<Seen>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::workers(connection).await,
        }
    }

    /// Makes the jobs of a dead worker available, a batch at a time, and removes the worker after the last. Does nothing if its
    /// beat is no longer the one seen: it lives.
    pub(crate) async fn rescue(&mut self, worker: &Seen, mark: &str) -> Result<Rescued, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::rescue(connection, worker, mark).await,
        }
    }

    /// Returns a number that changes with each write of another connection.
    pub(crate) async fn version(&mut self) -> Result<i64, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::version(connection).await,
        }
    }
}
