//! Plain riverqueue, as its documentation sets it up: no fence, no lease, no tracking.

use super::{COUNT, Peer};
use crate::support::Scratch;
use riverqueue::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use riverqueue::sqlx::{self, SqlitePool};
use riverqueue::{Client, Job, JobArgs, QueueConfig, WorkContext, WorkOutcome, Worker, Workers};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

#[derive(Debug, Serialize, Deserialize)]
struct Nothing {
    number: u32,
}

impl JobArgs for Nothing {
    const KIND: &'static str = "nothing";
}

struct DoNothing;

impl Worker<Nothing> for DoNothing {
    type Error = Infallible;

    async fn work(&self, _: WorkContext, _: Job<Nothing>) -> Result<WorkOutcome, Infallible> {
        Ok(WorkOutcome::Complete)
    }
}

pub(crate) struct River;

/// A pool with the settings of the durable store.
pub(crate) async fn sqlite(scratch: &Scratch) -> SqlitePool {
    let options = SqliteConnectOptions::from_str(scratch.url())
        .expect("a URL")
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(4));
    let pool = SqlitePoolOptions::new().max_connections(4);
    pool.connect_with(options).await.expect("it opens")
}

enum Pool {
    Sqlite(SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

impl Pool {
    async fn of(scratch: &Scratch) -> Self {
        #[cfg(feature = "postgres")]
        if scratch.url().starts_with("postgres") {
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(10);
            let pool = pool.connect(scratch.url()).await.expect("it connects");
            let migrator = riverqueue::migrate::PostgresMigrator::new(pool.clone());
            migrator.migrate_up().await.expect("it migrates");
            return Self::Postgres(pool);
        }
        let pool = sqlite(scratch).await;
        let migrator = riverqueue::migrate::SqliteMigrator::new(pool.clone());
        migrator.migrate_up().await.expect("it migrates");
        Self::Sqlite(pool)
    }

    fn client(&self, at_once: usize) -> Client {
        let mut workers = Workers::new();
        workers.add::<Nothing, _>(DoNothing).expect("the only one");
        let builder = match self {
            Self::Sqlite(pool) => Client::builder(pool.clone()),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Client::builder(pool.clone()),
        };
        let queue = QueueConfig::new(at_once).with_fetch_poll_interval(Duration::from_millis(50));
        let builder = builder.workers(workers).queue("default", queue);
        let builder = builder.fetch_cooldown(Duration::from_millis(5));
        builder.build().expect("a client")
    }

    async fn done(&self) -> u32 {
        const COUNT: &str = "SELECT count(*) FROM river_job WHERE state = 'completed'";
        let count: i64 = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(COUNT).fetch_one(pool).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => sqlx::query_scalar(COUNT).fetch_one(pool).await,
        }
        .expect("a count");
        count.try_into().expect("few")
    }
}

fn with_pool<F: Future<Output = Duration>>(
    scratch: &Scratch,
    test: impl FnOnce(Pool) -> F,
) -> Duration {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { test(Pool::of(scratch).await).await })
}

async fn store(client: &Client) {
    for _ in 0..COUNT / 1000 {
        let jobs = (0..1000).map(|number| Nothing { number });
        client.insert_many(jobs).await.expect("they are stored");
    }
}

impl Peer for River {
    fn stored_by(scratch: &Scratch, callers: u32) -> Duration {
        with_pool(scratch, |pool| async move {
            let client = pool.client(1);
            let begin = Instant::now();
            let callers: Vec<_> = (0..callers)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        for number in 0..COUNT / callers {
                            let stored = client.insert(Nothing { number }).await;
                            stored.expect("it is stored");
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("it stores");
            }
            begin.elapsed()
        })
    }

    fn stored_within(scratch: &Scratch) -> Duration {
        with_pool(scratch, |pool| async move {
            let client = pool.client(1);
            let begin = Instant::now();
            for number in 0..COUNT {
                let insert = client.insert(Nothing { number });
                match &pool {
                    Pool::Sqlite(pool) => {
                        let begun = pool.begin_with("BEGIN IMMEDIATE").await;
                        let mut transaction = begun.expect("it begins");
                        insert.tx(&mut transaction).await.expect("it is written");
                        transaction.commit().await.expect("it commits");
                    }
                    #[cfg(feature = "postgres")]
                    Pool::Postgres(pool) => {
                        let mut transaction = pool.begin().await.expect("it begins");
                        insert.tx(&mut transaction).await.expect("it is written");
                        transaction.commit().await.expect("it commits");
                    }
                }
            }
            begin.elapsed()
        })
    }

    fn stored_at_once(scratch: &Scratch) -> Duration {
        with_pool(scratch, |pool| async move {
            let client = pool.client(1);
            let begin = Instant::now();
            store(&client).await;
            begin.elapsed()
        })
    }

    fn run(scratch: &Scratch, at_once: usize) -> Duration {
        with_pool(scratch, |pool| async move {
            let client = pool.client(at_once);
            store(&client).await;
            let begin = Instant::now();
            let running = client.start().expect("it starts");
            while pool.done().await < COUNT {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let elapsed = begin.elapsed();
            running.stopper().stop_and_cancel();
            running.detach();
            elapsed
        })
    }
}
