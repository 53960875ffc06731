//! apalis-postgres, woken by notifications.

use super::every::Every;
use super::tables::nothings;
use super::{Peer, Queues, body};
use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use bgtask_durable::sqlx::{self, postgres::PgPoolOptions};
use std::time::Duration;

/// How often it looks beside the notifications: as bgtask does.
const POLL: Duration = Duration::from_millis(200);

#[derive(Clone)]
pub(crate) struct Apalis {
    pool: PgPool,
    at_once: usize,
}

impl Apalis {
    fn storage(&self) -> PostgresStorage<u64> {
        let config = Config::default().queue("default").batch_size(self.at_once);
        PostgresStorage::new(&self.pool).with_config(config)
    }
}

impl Peer for Apalis {
    async fn open(url: &str, queues: Queues) -> Self {
        let pool = PgPoolOptions::new().max_connections(10);
        let pool = pool.connect(url).await.expect("it connects");
        PostgresStorage::setup(&pool).await.expect("it migrates");
        Self {
            pool,
            at_once: queues.at_once,
        }
    }

    async fn store(&self, argument: u64) {
        self.storage().push(argument).await.expect("it is stored");
    }

    async fn store_within(&self, _: u64) {
        unimplemented!("it is not measured");
    }

    async fn store_at_once(&self, count: u64) {
        let stored = self.storage().push_bulk(nothings(count).collect()).await;
        stored.expect("they are stored");
    }

    async fn fill(&self, count: u64) {
        super::in_thousands(count, |count| self.store_at_once(count)).await;
    }

    async fn start(&self) {
        let backend = self.storage().with_pubsub();
        let backend = backend.poll_with_strategy(Strategy::new().apply(Every::new(POLL)));
        let worker = WorkerBuilder::new("worker")
            .backend(backend)
            .concurrency(self.at_once)
            .parallelize(tokio::spawn)
            .build(work);
        // As in its examples, where `main` waits for it: the compiler does not see that this future may be spawned.
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || runtime.block_on(worker.run()).expect("it works"));
    }

    async fn ended(&self, _: u64) -> u64 {
        let query = "SELECT count(*) FROM apalis.jobs WHERE status = 'Done'";
        let count = sqlx::query_scalar::<_, i64>(query);
        count.fetch_one(&self.pool).await.expect("a count") as u64
    }
}

async fn work(argument: u64) -> Result<(), BoxDynError> {
    body(argument).await;
    Ok(())
}
