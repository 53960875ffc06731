//! apalis-sqlite with `synchronous = FULL`, which its own `setup` turns off, and woken by SQLite's hook for new rows.

use super::every::Every;
use super::tables::nothings;
use super::{Peer, Queues, body};
use apalis::prelude::*;
use apalis_sqlite::callback::HookCallbackListener;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};
use bgtask_durable::sqlx;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often it looks for jobs that another process has stored: as bgtask does it by itself.
const POLL: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(crate) struct Apalis {
    pool: SqlitePool,
    listener: Arc<Mutex<Option<HookCallbackListener>>>,
    at_once: usize,
}

impl Apalis {
    fn storage(&self) -> SqliteStorage<u64> {
        let config = Config::default().queue("default").batch_size(self.at_once);
        SqliteStorage::new(&self.pool).with_config(config)
    }
}

impl Peer for Apalis {
    async fn open(url: &str, queues: Queues) -> Self {
        let create = format!("{url}?mode=rwc");
        let (pool, listener) = SqliteStorage::connect_with_callback(&create).expect("it opens");
        let wal = sqlx::query("PRAGMA journal_mode = WAL")
            .execute(&pool)
            .await;
        wal.expect("WAL");
        let migrated = SqliteStorage::migrations().run(&pool).await;
        migrated.expect("it migrates");
        Self {
            pool,
            listener: Arc::new(Mutex::new(Some(listener))),
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
        let listener = self.listener.lock().expect("nothing panics").take();
        let strategy = Strategy::new()
            .stream(listener.expect("it is started once"))
            .apply(Every::new(POLL));
        let worker = WorkerBuilder::new("worker")
            .backend(self.storage().poll_with_strategy(strategy))
            .concurrency(self.at_once)
            .parallelize(tokio::spawn)
            .build(work);
        // As in its examples, where `main` waits for it: the compiler does not see that this future may be spawned.
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || runtime.block_on(worker.run()).expect("it works"));
    }

    async fn ended(&self, _: u64) -> u64 {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM Jobs WHERE status = 'Done'");
        count.fetch_one(&self.pool).await.expect("a count") as u64
    }
}

async fn work(argument: u64) -> Result<(), BoxDynError> {
    body(argument).await;
    Ok(())
}
