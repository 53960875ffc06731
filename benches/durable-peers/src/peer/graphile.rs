//! graphile_worker with its local queue and batched completions: its fastest settings. It deletes a job that has ended.

use super::{NOTHING, Peer, Queues, body};
use bgtask_durable::sqlx::{self, PgPool, postgres::PgPoolOptions};
use graphile_worker::{
    Database, IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler,
    WorkerContext, WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SCHEMA: &str = "graphile_worker";

#[derive(Debug, Serialize, Deserialize)]
struct Arguments {
    argument: u64,
}

impl TaskHandler for Arguments {
    const IDENTIFIER: &'static str = "job";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        body(self.argument).await;
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
pub(crate) struct Graphile {
    pool: PgPool,
    database: Database,
    at_once: usize,
}

impl Graphile {
    fn utils(&self) -> WorkerUtils {
        WorkerUtils::new(self.database.clone(), SCHEMA)
    }
}

impl Peer for Graphile {
    async fn open(url: &str, queues: Queues) -> Self {
        let pool = PgPoolOptions::new().max_connections(10);
        let pool = pool.connect(url).await.expect("it connects");
        let peer = Self {
            database: pool.clone().into(),
            pool,
            at_once: queues.at_once,
        };
        peer.utils().migrate().await.expect("it migrates");
        peer
    }

    async fn store(&self, argument: u64) {
        let utils = self.utils();
        let stored = utils
            .add_job(Arguments { argument }, JobSpec::default())
            .await;
        stored.expect("it is stored");
    }

    async fn store_within(&self, _: u64) {
        unimplemented!("it is not measured");
    }

    async fn store_at_once(&self, count: u64) {
        let job = RawJobSpec {
            identifier: Arguments::IDENTIFIER.to_owned(),
            payload: serde_json::json!({ "argument": NOTHING }),
            spec: JobSpec::default(),
        };
        let jobs = vec![job; count as usize];
        let stored = self.utils().add_raw_jobs(&jobs).await;
        stored.expect("they are stored");
    }

    async fn fill(&self, count: u64) {
        super::in_thousands(count, |count| self.store_at_once(count)).await;
    }

    async fn start(&self) {
        let worker = WorkerOptions::default()
            .database(self.database.clone())
            .schema(SCHEMA)
            .concurrency(self.at_once)
            .poll_interval(Duration::from_millis(200))
            .complete_job_batch_delay(Duration::from_millis(5))
            .local_queue(LocalQueueConfig::default().with_size(1_000))
            .listen_os_shutdown_signals(false)
            .define_job::<Arguments>()
            .init()
            .await
            .expect("a worker");
        tokio::spawn(async move { worker.run().await.expect("it works") });
    }

    async fn ended(&self, stored: u64) -> u64 {
        let query = "SELECT count(*) FROM graphile_worker._private_jobs";
        let count = sqlx::query_scalar::<_, i64>(query)
            .fetch_one(&self.pool)
            .await;
        stored - count.expect("a count") as u64
    }
}
