//! The durable calls of bgtask, at their default settings but for the number of jobs at once.

use super::tables::nothings;
use super::{Peer, Queues, Tables, body};
use bgtask::durable::enqueue_all;
use bgtask::{Manager, State, background};
use bgtask_durable::Jobs;
use std::sync::Arc;

/// Jobs are claimed once it is provided.
#[derive(Clone)]
struct Go;

#[background(durable)]
async fn job(State(_go): State<Go>, argument: u64) {
    body(argument).await;
}

/// A job that is deleted at the first look after its end.
#[background(durable(keep = "1s"))]
async fn short_job(State(_go): State<Go>, argument: u64) {
    body(argument).await;
}

#[derive(Clone)]
pub(crate) struct Durable {
    pub(crate) jobs: Jobs,
    pub(crate) tables: Tables,
    _manager: Arc<Manager>,
}

impl Durable {
    /// Stores jobs that are deleted soon after their end, in one transaction.
    pub(crate) async fn store_short(&self, arguments: impl Iterator<Item = u64> + Send) {
        let stored = enqueue_all(arguments.map(short_job));
        stored.await.expect("they are stored");
    }
}

impl Peer for Durable {
    async fn open(url: &str, queues: Queues) -> Self {
        let manager = Manager::builder().install().expect("the only manager");
        let mut builder = bgtask_durable::builder().url(url);
        for name in queues.names() {
            builder = builder.queue(name, queues.at_once);
        }
        Self {
            jobs: builder.open().await.expect("it opens"),
            tables: Tables::open(url).await,
            _manager: Arc::new(manager),
        }
    }

    async fn store(&self, argument: u64) {
        job(argument).await.expect("it is stored");
    }

    async fn store_within(&self, argument: u64) {
        let stored = match &self.tables {
            Tables::Sqlite(pool) => {
                let begun = pool.begin_with("BEGIN IMMEDIATE").await;
                let mut transaction = begun.expect("it begins");
                let stored = job(argument).within(&mut transaction).await;
                transaction.commit().await.expect("it commits");
                stored
            }
            Tables::Postgres(pool) => {
                let mut transaction = pool.begin().await.expect("it begins");
                let stored = job(argument).within(&mut transaction).await;
                transaction.commit().await.expect("it commits");
                stored
            }
        };
        stored.expect("it is stored");
    }

    async fn store_at_once(&self, count: u64) {
        let stored = enqueue_all(nothings(count).map(job));
        stored.await.expect("they are stored");
    }

    async fn fill(&self, count: u64) {
        self.store_at_once(1).await;
        self.tables.fill(count).await;
    }

    async fn start(&self) {
        bgtask::provide(Go);
    }

    async fn ended(&self, _: u64) -> u64 {
        self.tables.ended().await
    }
}
