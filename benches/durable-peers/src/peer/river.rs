//! Plain riverqueue, as its documentation sets it up, with the pool and the intervals of bgtask: no fence, no lease.

use super::tables::nothings;
use super::{Peer, Queues, Tables, body};
use riverqueue::migrate::{PostgresMigrator, SqliteMigrator};
use riverqueue::{Client, Job, JobArgs, QueueConfig, WorkContext, WorkOutcome, Worker, Workers};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;

/// The intervals of bgtask.
const COOLDOWN: Duration = Duration::from_millis(5);
const POLL: Duration = Duration::from_millis(50);
const POLL_BESIDE_NOTIFICATIONS: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize, Deserialize)]
struct Arguments {
    argument: u64,
}

impl JobArgs for Arguments {
    const KIND: &'static str = "job";
}

struct Body;

impl Worker<Arguments> for Body {
    type Error = Infallible;

    async fn work(&self, _: WorkContext, job: Job<Arguments>) -> Result<WorkOutcome, Infallible> {
        body(job.args.argument).await;
        Ok(WorkOutcome::Complete)
    }
}

#[derive(Clone)]
pub(crate) struct River {
    client: Client,
    tables: Tables,
}

impl Peer for River {
    async fn open(url: &str, queues: Queues) -> Self {
        let tables = Tables::open(url).await;
        let mut workers = Workers::new();
        workers.add::<Arguments, _>(Body).expect("the only one");
        let (builder, poll) = match &tables {
            Tables::Sqlite(pool) => {
                let migrated = SqliteMigrator::new(pool.clone()).migrate_up().await;
                migrated.expect("it migrates");
                (Client::builder(pool.clone()), POLL)
            }
            Tables::Postgres(pool) => {
                let migrated = PostgresMigrator::new(pool.clone()).migrate_up().await;
                migrated.expect("it migrates");
                (Client::builder(pool.clone()), POLL_BESIDE_NOTIFICATIONS)
            }
        };
        let mut builder = builder.workers(workers).fetch_cooldown(COOLDOWN);
        for name in queues.names() {
            let queue = QueueConfig::new(queues.at_once).with_fetch_poll_interval(poll);
            builder = builder.queue(name, queue);
        }
        let client = builder.build().expect("a client");
        Self { client, tables }
    }

    async fn store(&self, argument: u64) {
        let stored = self.client.insert(Arguments { argument }).await;
        stored.expect("it is stored");
    }

    async fn store_within(&self, argument: u64) {
        let insert = self.client.insert(Arguments { argument });
        match &self.tables {
            Tables::Sqlite(pool) => {
                let begun = pool.begin_with("BEGIN IMMEDIATE").await;
                let mut transaction = begun.expect("it begins");
                insert.tx(&mut transaction).await.expect("it is written");
                transaction.commit().await.expect("it commits");
            }
            Tables::Postgres(pool) => {
                let mut transaction = pool.begin().await.expect("it begins");
                insert.tx(&mut transaction).await.expect("it is written");
                transaction.commit().await.expect("it commits");
            }
        }
    }

    async fn store_at_once(&self, count: u64) {
        let jobs = nothings(count).map(|argument| Arguments { argument });
        self.client
            .insert_many(jobs)
            .await
            .expect("they are stored");
    }

    async fn fill(&self, count: u64) {
        self.store_at_once(1).await;
        self.tables.fill(count).await;
    }

    async fn start(&self) {
        self.client.start().expect("it starts").detach();
    }

    async fn ended(&self, _: u64) -> u64 {
        self.tables.ended().await
    }
}
