//! The database of a store: hands each request on to the statements of the database that it is.
//! Must never have a statement of its own.

#[cfg(feature = "postgres")]
use super::postgres::{self, Postgres};
use super::row::{not_there, read_error};
#[cfg(feature = "sqlite")]
use super::sqlite::{self, Sqlite};
use super::types::{
    Access, Cancelled, Change, Claim, Claimed, Claims, Ended, Error, Record, Recorded, Rescued,
    Seen, Shown,
};
use super::within::Within;
use crate::OpenError;
use crate::operate::{ANOTHER_HAS_THE_KEY, Edit, Filter, Stats};
use bgtask::durable::{CompleteError, EnqueueError, Failure, JobError, JobId, JobStatus, Progress};
#[cfg(test)]
use riverqueue::sqlx;
#[cfg(feature = "sqlite")]
use riverqueue::sqlx::sqlite::SqliteConnection;
use riverqueue::{Client, ClientBuilder};
use std::collections::HashMap;
use std::time::Duration;

/// A database, open and migrated.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
}

/// A connection that is not one of the pool's.
#[derive(Debug)]
pub(crate) enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Connection),
}

/// What tells this process that jobs have changed.
#[derive(Debug)]
pub(crate) enum Changes {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Changes),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Changes),
}

/// Evaluates an expression with the value of whichever database it is.
macro_rules! each {
    ($of:ident, $value:expr, $name:ident => $body:expr) => {
        match $value {
            #[cfg(feature = "sqlite")]
            $of::Sqlite($name) => $body,
            #[cfg(feature = "postgres")]
            $of::Postgres($name) => $body,
        }
    };
}
pub(super) use each;

impl Database {
    /// Opens the database at this URL, and brings its tables up to date, unless the access says otherwise.
    pub(crate) async fn open(url: &str, access: Access) -> Result<Self, OpenError> {
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            if access.listen_url.is_some() {
                return Err(OpenError::ListenUrl);
            }
            return Sqlite::open(url, access).await.map(Self::Sqlite);
        }
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Postgres::open(url, access).await.map(Self::Postgres);
        }
        let (scheme, shown) = match url.split_once(':') {
            // The rest may contain a password.
            Some((scheme, _)) => (scheme, format!("{scheme}:…")),
            None => (url, url.to_owned()),
        };
        Err(OpenError::Url {
            url: shown,
            message: match scheme {
                "sqlite" => {
                    "the feature `sqlite` of bgtask-durable is off: turn it on, or set `BGTASK_DATABASE_URL` to that of a Postgres database"
                }
                "postgres" | "postgresql" => {
                    "the feature `postgres` of bgtask-durable is off: turn it on in Cargo.toml"
                }
                _ => "expected `sqlite://path` or `postgres://user@host/database`",
            }
            .to_owned(),
        })
    }

    /// Returns the name of the database for the log: without a password, and without the working directory.
    pub(crate) fn name(&self) -> String {
        each!(Self, self, database => database.name())
    }

    /// Opens a connection that is not one of the pool's.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.connect().await.map(Connection::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.connect().await.map(Connection::Postgres),
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

    /// Begins to look for changed jobs, and for jobs to claim if `works`. What changed before is the first change.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file notifies of all writes alike")
    )]
    pub(crate) async fn changes(&self, works: bool) -> Result<Changes, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => database.changes().await.map(Changes::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.changes(works).await.map(Changes::Postgres),
        }
    }

    /// Returns the settings of a client of the engine.
    pub(super) fn client(&self) -> ClientBuilder {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => Client::builder(database.pool().clone()),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => Client::builder(database.source()),
        }
    }

    /// Returns the pool, for the tests that write as other programs do. `None` for another database.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn sqlite(&self) -> Option<&sqlx::SqlitePool> {
        match self {
            Self::Sqlite(database) => Some(database.pool()),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }

    /// As `sqlite`.
    #[cfg(all(test, feature = "postgres"))]
    pub(crate) fn postgres(&self) -> Option<&sqlx::PgPool> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => None,
            Self::Postgres(database) => Some(database.pool()),
        }
    }

    /// Whether a cheap poll tells that something was written, though not what.
    pub(crate) fn counts_writes(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => true,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
        }
    }

    /// How often a queue is polled for jobs that another process stored or that have become due.
    pub(crate) fn poll(&self) -> Duration {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => super::POLL,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => super::POLL_BESIDE_NOTIFICATIONS,
        }
    }

    /// Returns the id that no other database has.
    #[cfg(any(test, feature = "live", feature = "dashboard"))]
    pub(crate) fn instance(&self) -> &str {
        each!(Self, self, database => database.instance())
    }

    /// Whether each process hears at once of jobs that others store.
    pub(crate) fn notifies(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.notifies(),
        }
    }

    pub(crate) async fn close(&self) {
        each!(Self, self, database => database.close().await);
    }

    /// Claims jobs. If the answer is lost, they run in the row and nowhere else.
    pub(crate) async fn claim(&self, claims: &Claims<'_>) -> Result<Vec<Claimed>, Error> {
        each!(Self, self, database => database.claim(claims).await)
    }

    /// Reads the claim of a job. `None` if it is no longer running.
    pub(crate) async fn claim_of(&self, id: i64) -> Result<Option<Claim>, Error> {
        each!(Self, self, database => database.claim_of(id).await)
    }

    /// Records the ends of attempts in one transaction, each once: it may be repeated when its answer was lost.
    ///
    /// If the database refuses a value, that job is dead, and the others are recorded: tried again, all would be pending for ever.
    pub(crate) async fn record(&self, ends: &[(Claim, Record)]) -> Result<Vec<Recorded>, Error> {
        match each!(Self, self, database => database.record(ends).await) {
            Err(error) if self.is_refused(&error) => {}
            recorded => return recorded,
        }
        let mut recorded = Vec::with_capacity(ends.len());
        for end in ends {
            let one =
                each!(Self, self, database => database.record(std::slice::from_ref(end)).await);
            recorded.extend(match one {
                Err(error) if self.is_refused(&error) => {
                    let dead = Record::Dead {
                        failure: Failure::Failed,
                        message: format!(
                            "the database does not accept the end of the attempt: {error}"
                        ),
                    };
                    let dead = [(end.0.clone(), dead)];
                    let mut one = each!(Self, self, database => database.record(&dead).await)?;
                    for recorded in &mut one {
                        if *recorded == Recorded::Yes {
                            *recorded = Recorded::Dead;
                        }
                    }
                    one
                }
                one => one?,
            });
        }
        Ok(recorded)
    }

    fn is_refused(&self, error: &Error) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => sqlite::is_refused(error),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => postgres::is_refused(error),
        }
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

    /// Returns what those who watch these jobs see, in one statement; for a job that is not there, why. With the values of those that
    /// are so marked.
    pub(crate) async fn watched(
        &self,
        jobs: &[(i64, bool)],
    ) -> Result<Vec<(i64, Result<Shown, JobError>)>, Error> {
        let mut missing: HashMap<i64, bool> = jobs.iter().copied().collect();
        let rows = each!(Self, self, database => database.watched(jobs).await)?;
        let mut shown = Vec::with_capacity(jobs.len());
        for (id, row) in rows {
            let with_value = missing.remove(&id.get()).unwrap_or(false);
            shown.push((id.get(), row.shown(id, with_value)));
        }
        if !missing.is_empty() {
            let given = each!(Self, self, database => database.greatest_given().await)?;
            let why = |id: i64| (id, Err(not_there(JobId::new(id), given)));
            shown.extend(missing.into_keys().map(why));
        }
        Ok(shown)
    }

    /// Notifies the other processes that jobs have changed, on databases where processes are notified.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file notifies of all writes alike")
    )]
    pub(crate) async fn notify_changed(&self, ids: &[i64]) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.notify_all_changed(ids).await,
        }
    }

    /// Returns those of the jobs that have ended, or are not there.
    pub(crate) async fn ended_of(&self, ids: &[i64]) -> Result<Vec<i64>, Error> {
        each!(Self, self, database => database.ended_of(ids).await)
    }

    /// Checks that a transaction of the program's belongs to this database.
    pub(super) async fn check(
        &self,
        transaction: &mut Within<'_, '_>,
    ) -> Result<(), CompleteError> {
        let is_ours = match (self, transaction) {
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(database), Within::Sqlite(transaction)) => {
                database.is_that_of(transaction).await
            }
            #[cfg(feature = "postgres")]
            (Self::Postgres(database), Within::Postgres(transaction)) => {
                database.is_that_of(transaction).await
            }
            #[cfg(all(feature = "sqlite", feature = "postgres"))]
            _ => Ok(false),
        };
        match is_ours {
            Ok(true) => Ok(()),
            Ok(false) => Err(CompleteError::OtherDatabase),
            Err(error) => Err(CompleteError::store(error.to_string())),
        }
    }

    /// Completes the job of an attempt in a transaction of the program's, with the progress that is not recorded yet.
    pub(crate) async fn complete_in(
        &self,
        mut transaction: Within<'_, '_>,
        claim: &Claim,
        output: &str,
        progress: Option<Progress>,
    ) -> Result<(), CompleteError> {
        self.check(&mut transaction).await?;
        let completed = match (self, transaction) {
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(_), Within::Sqlite(transaction)) => {
                sqlite::complete(transaction, claim, output, progress).await
            }
            #[cfg(feature = "postgres")]
            (Self::Postgres(database), Within::Postgres(transaction)) => {
                database
                    .complete(transaction, claim, output, progress)
                    .await
            }
            #[cfg(all(feature = "sqlite", feature = "postgres"))]
            _ => return Err(CompleteError::OtherDatabase),
        };
        completed.unwrap_or_else(|error| Err(CompleteError::store(error.to_string())))
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
            Err(Error::Database(error)) if error.is_unique_violation() => {
                Err(JobError::store(ANOTHER_HAS_THE_KEY.to_owned()))
            }
            Err(error) => Err(read_error(&error)),
        }
    }

    /// Returns the jobs of a filter, the latest first.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Vec<JobStatus>, JobError> {
        let listed = async |among_recent| {
            let rows = each!(Self, self, database => database.listed(filter, among_recent).await);
            rows.map_err(|error| read_error(&error))
        };
        let among_recent = !filter.means_all();
        let mut rows = listed(among_recent).await?;
        if among_recent && rows.len() as u64 != u64::from(filter.limit) {
            rows = listed(false).await?;
        }
        Ok(rows.into_iter().map(|(id, row)| row.status(id)).collect())
    }

    /// Returns the number of jobs by queue and state, and the paused queues.
    pub(crate) async fn stats(&self) -> Result<Stats, JobError> {
        each!(Self, self, database => database.stats().await).map_err(|error| read_error(&error))
    }

    /// Returns for how long the oldest waiting job of each of these queues could have run.
    #[cfg(feature = "metrics")]
    pub(crate) async fn oldest_waiting(
        &self,
        queues: &[String],
    ) -> Result<Vec<(String, Duration)>, Error> {
        let read = each!(Self, self, database => database.oldest_waiting(queues).await)?;
        let waits = |seconds: Option<f64>| {
            // Below zero if its time has just come, by a clock that is set back.
            Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default()
        };
        let read = read
            .into_iter()
            .map(|(queue, seconds)| (queue, waits(seconds)));
        Ok(read.collect())
    }

    /// Returns whether the job of an attempt is done, and by this attempt.
    #[cfg(feature = "metrics")]
    pub(crate) async fn is_done_by(&self, claim: &Claim) -> Result<bool, Error> {
        each!(Self, self, database => database.is_done_by(claim).await)
    }

    /// Has dead jobs of a filter tried again, a batch at a time, and each job once for one mark. Returns their number; call it
    /// again until it is 0.
    pub(crate) async fn retry_dead(&self, filter: &Filter, mark: &str) -> Result<u64, JobError> {
        each!(Self, self, database => database.retry_dead(filter, mark).await)
            .map_err(|error| read_error(&error))
    }

    /// Changes a job that waits. Returns whether it was one.
    pub(crate) async fn edit(&self, id: JobId, edit: Edit, mark: &str) -> Result<bool, JobError> {
        match each!(Self, self, database => database.edit(id.get(), edit, mark).await) {
            Ok(true) => Ok(true),
            // It runs, has ended, or there is none.
            Ok(false) => self.status(id).await.map(|_| false),
            Err(error) => Err(read_error(&error)),
        }
    }

    /// Deletes a job. Returns `false` if it runs.
    pub(crate) async fn delete(&self, id: JobId) -> Result<bool, JobError> {
        match each!(Self, self, database => database.delete(id.get()).await) {
            Ok(true) => Ok(true),
            // It runs, or there is none.
            Ok(false) => self.status(id).await.map(|_| false),
            Err(error) => Err(read_error(&error)),
        }
    }

    /// Makes the record of a queue, which a worker of it would make.
    pub(crate) async fn make_queue(&self, queue: &str) -> Result<(), Error> {
        each!(Self, self, database => database.make_queue(queue).await)
    }

    /// Returns why a job could not be stored in a transaction of the program's, of which nothing is stored before it commits.
    pub(super) fn error_within(&self, error: &Error) -> EnqueueError {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => sqlite::error_within(error),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => EnqueueError::store(error.to_string()),
        }
    }

    /// Returns what is known of a job whose insertion failed.
    pub(super) fn enqueue_error(&self, error: &Error) -> EnqueueError {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => sqlite::enqueue_error(error),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => postgres::enqueue_error(error),
        }
    }
}

impl Connection {
    /// Makes a worker known, with what it declares about itself.
    pub(crate) async fn register(&mut self, id: &str, about: &str) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::register(connection, id, about).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.register(id, about).await,
        }
    }

    /// Shows that a worker lives. Returns `false` if it has been declared dead.
    pub(crate) async fn beat(&mut self, id: &str) -> Result<bool, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::beat(connection, id).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.beat(id).await,
        }
    }

    /// Returns whether the database answers.
    pub(crate) async fn probe(&mut self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::probe(connection).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.probe().await,
        }
    }

    /// Removes a worker that has returned all its jobs.
    pub(crate) async fn unregister(&mut self, id: &str) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::unregister(connection, id).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.unregister(id).await,
        }
    }

    /// Returns all workers, and those that only jobs still name.
    pub(crate) async fn workers(&mut self) -> Result<Vec<Seen>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::workers(connection).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.workers().await,
        }
    }

    /// Makes the jobs of a dead worker available, a batch at a time, and removes the worker after the last. Does nothing if its
    /// beat is no longer the one seen: it lives.
    pub(crate) async fn rescue(
        &mut self,
        worker: &Seen,
        mark: &str,
        crash_limit: u32,
    ) -> Result<Rescued, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => sqlite::rescue(connection, worker, mark, crash_limit).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.rescue(worker, mark, crash_limit).await,
        }
    }
}

impl Changes {
    /// Waits a while for a change.
    pub(crate) async fn next(&mut self) -> Result<Change, Error> {
        each!(Self, self, changes => changes.next().await)
    }

    /// Whether it is to be awaited also while nobody waits for a job: what a server sends has to be read.
    pub(crate) fn must_be_read(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(changes) => changes.must_be_read(),
        }
    }
}
