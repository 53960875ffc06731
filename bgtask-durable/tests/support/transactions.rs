//! The program's own transactions, on whichever database, with a table of the program's. Must never know what they are for.

#![allow(
    dead_code,
    unused_variables,
    reason = "each test binary has this module, and uses a part of it"
)]

use super::Scratch;
use bgtask::durable::{
    self, BoxFuture, ClaimedJob, CompleteError, EncodedJob, EnqueueError, Enqueued, Store,
};
use bgtask_durable::sqlx::{self, AssertSqlSafe};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A pool of the program's own.
#[derive(Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

/// A transaction on one of its connections.
pub(crate) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// Evaluates an expression with the value of whichever database it is.
macro_rules! each {
    ($value:expr, $name:ident => $body:expr) => {
        match $value {
            #[cfg(feature = "sqlite")]
            Self::Sqlite($name) => $body,
            #[cfg(feature = "postgres")]
            Self::Postgres($name) => $body,
        }
    };
}

impl Pool {
    pub(crate) async fn of(scratch: &Scratch) -> Self {
        Self::at(scratch.url()).await
    }

    /// Opens a pool, and makes the program's table.
    pub(crate) async fn at(url: &str) -> Self {
        let table = "CREATE TABLE IF NOT EXISTS booking (number bigint NOT NULL)";
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            let options: sqlx::sqlite::SqliteConnectOptions = url.parse().expect("a URL");
            let options = options
                .create_if_missing(true)
                .busy_timeout(std::time::Duration::from_secs(10));
            let pool = sqlx::SqlitePool::connect_with(options).await;
            let pool = pool.expect("it opens");
            sqlx::query(table).execute(&pool).await.expect("a table");
            return Self::Sqlite(pool);
        }
        #[cfg(feature = "postgres")]
        {
            let pool = sqlx::PgPool::connect(url).await.expect("it opens");
            let mut transaction = pool.begin().await.expect("it begins");
            // Two that make one table at once would be in each other's way.
            sqlx::query("SELECT pg_advisory_xact_lock(2)")
                .execute(&mut *transaction)
                .await
                .expect("the lock");
            sqlx::query(table)
                .execute(&mut *transaction)
                .await
                .expect("a table");
            transaction.commit().await.expect("it commits");
            Self::Postgres(pool)
        }
        #[cfg(not(feature = "postgres"))]
        unreachable!("a database of another kind")
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin(&self) -> Transaction {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => {
                let begun = pool.begin_with("BEGIN IMMEDIATE").await;
                Transaction::Sqlite(begun.expect("it begins"))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Transaction::Postgres(pool.begin().await.expect("it begins")),
        }
    }

    /// The numbers in the program's table.
    pub(crate) async fn bookings(&self) -> Vec<i64> {
        self.numbers("SELECT number FROM booking ORDER BY number")
            .await
    }

    /// The numbers that a query returns.
    pub(crate) async fn numbers(&self, query: &'static str) -> Vec<i64> {
        let numbers = each!(self, pool => sqlx::query_scalar(query).fetch_all(pool).await);
        numbers.expect("they are read")
    }

    /// Runs a statement of whichever database it is.
    pub(crate) async fn run(&self, sqlite: &'static str, postgres: &'static str) {
        let mut transaction = self.begin().await;
        transaction.run(sqlite, postgres).await;
        transaction.commit().await;
    }

    /// Notes from now on, in a table of its own, each time that the end of a job is recorded.
    pub(crate) async fn note_ends(&self) {
        let mut transaction = self.begin().await;
        for (sqlite, postgres) in [
            (
                "CREATE TABLE noted_end (job bigint NOT NULL)",
                "CREATE TABLE noted_end (job bigint NOT NULL)",
            ),
            (
                "SELECT 1",
                "CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN INSERT INTO noted_end VALUES (NEW.id); RETURN NULL; END $$",
            ),
            (
                "CREATE TRIGGER note_end AFTER UPDATE ON river_job
                 WHEN NEW.state IN ('completed', 'discarded', 'cancelled')
                     AND (OLD.state <> NEW.state OR NEW.errors IS NOT OLD.errors
                         OR (NEW.metadata -> '$.output') IS NOT (OLD.metadata -> '$.output'))
                 BEGIN INSERT INTO noted_end VALUES (NEW.id); END",
                "CREATE TRIGGER note_end AFTER UPDATE ON river_job FOR EACH ROW
                 WHEN (NEW.state IN ('completed', 'discarded', 'cancelled')
                     AND (OLD.state <> NEW.state OR NEW.errors IS DISTINCT FROM OLD.errors
                         OR (NEW.metadata -> 'output') IS DISTINCT FROM (OLD.metadata -> 'output')))
                 EXECUTE FUNCTION note_end()",
            ),
        ] {
            transaction.run(sqlite, postgres).await;
        }
        transaction.commit().await;
    }

    /// For each job of which an end was noted, how many were.
    pub(crate) async fn noted_ends(&self) -> Vec<i64> {
        self.numbers("SELECT count(*) FROM noted_end GROUP BY job")
            .await
    }
}

impl Transaction {
    pub(crate) async fn book(&mut self, number: u32) {
        let row = AssertSqlSafe(format!("INSERT INTO booking (number) VALUES ({number})"));
        let row = each!(self, one => sqlx::query(row).execute(&mut **one).await.map(drop));
        row.expect("a row");
    }

    /// Runs the statement of whichever database it is.
    pub(crate) async fn run(&mut self, sqlite: &'static str, postgres: &'static str) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(one) => sqlx::query(sqlite).execute(&mut **one).await.map(drop),
            #[cfg(feature = "postgres")]
            Self::Postgres(one) => sqlx::query(postgres).execute(&mut **one).await.map(drop),
        }
        .expect("it runs");
    }

    pub(crate) async fn commit(self) {
        each!(self, one => one.commit().await).expect("it commits");
    }

    pub(crate) async fn roll_back(self) {
        each!(self, one => one.rollback().await).expect("it rolls back");
    }
}

/// The crate of this transaction, for the compiler.
pub(crate) enum Ours {}

impl<'t> durable::Transaction<'t, Ours> for &'t mut Transaction {
    fn enqueue(
        self,
        store: Arc<dyn Store>,
        jobs: Vec<EncodedJob>,
    ) -> BoxFuture<'t, Result<Vec<Enqueued>, EnqueueError>> {
        match self {
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(one) => durable::Transaction::enqueue(one, store, jobs),
            #[cfg(feature = "postgres")]
            Transaction::Postgres(one) => durable::Transaction::enqueue(one, store, jobs),
        }
    }

    fn complete(
        self,
        job: Arc<dyn ClaimedJob>,
        output: Box<RawValue>,
    ) -> BoxFuture<'t, Result<(), CompleteError>> {
        match self {
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(one) => durable::Transaction::complete(one, job, output),
            #[cfg(feature = "postgres")]
            Transaction::Postgres(one) => durable::Transaction::complete(one, job, output),
        }
    }
}
