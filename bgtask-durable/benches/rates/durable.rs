//! The durable calls of bgtask.

use super::{COUNT, Peer};
use crate::support::Scratch;
use bgtask::durable::{JobState, enqueue_all};
use bgtask::{Manager, State, background};
use bgtask_durable::Jobs;
#[cfg(feature = "postgres")]
use bgtask_durable::sqlx::PgPool;
use std::time::{Duration, Instant};

/// Jobs are claimed once it is provided.
#[derive(Clone)]
struct Go;

#[background(durable)]
async fn nothing(State(_go): State<Go>, _number: u32) {}

pub(crate) struct Durable;

/// Opens a store, and measures.
fn with_store<F: Future<Output = Duration>>(
    scratch: &Scratch,
    at_once: usize,
    test: impl FnOnce(Jobs) -> F,
) -> Duration {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let settings = bgtask_durable::builder().queue("default", at_once);
        let jobs = settings.url(scratch.url()).open().await.expect("it opens");
        let elapsed = test(jobs).await;
        manager.shutdown("it is measured").await;
        elapsed
    })
}

impl Peer for Durable {
    fn stored_by(scratch: &Scratch, callers: u32) -> Duration {
        with_store(scratch, 1, |_| async move {
            let begin = Instant::now();
            let callers: Vec<_> = (0..callers)
                .map(|_| {
                    tokio::spawn(async move {
                        for number in 0..COUNT / callers {
                            nothing(number).await.expect("it is stored");
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
        with_store(scratch, 1, |_| async move {
            if scratch.url().starts_with("sqlite") {
                let pool = super::river::sqlite(scratch).await;
                let begin = Instant::now();
                for number in 0..COUNT {
                    let begun = pool.begin_with("BEGIN IMMEDIATE").await;
                    let mut transaction = begun.expect("it begins");
                    let stored = nothing(number).within(&mut transaction).await;
                    stored.expect("it is written");
                    transaction.commit().await.expect("it commits");
                }
                return begin.elapsed();
            }
            postgres_within(scratch.url()).await
        })
    }

    fn stored_at_once(scratch: &Scratch) -> Duration {
        with_store(scratch, 1, |_| async move {
            let begin = Instant::now();
            for _ in 0..COUNT / 1000 {
                let stored = enqueue_all((0..1000).map(|number| nothing(number)));
                stored.await.expect("they are stored");
            }
            begin.elapsed()
        })
    }

    fn run(scratch: &Scratch, at_once: usize) -> Duration {
        with_store(scratch, at_once, |jobs| async move {
            for _ in 0..COUNT / 1000 {
                let stored = enqueue_all((0..1000).map(|number| nothing(number)));
                stored.await.expect("they are stored");
            }
            let begin = Instant::now();
            bgtask::provide(Go);
            while jobs.count(JobState::Done).await.expect("a count") < u64::from(COUNT) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            begin.elapsed()
        })
    }
}

#[cfg(feature = "postgres")]
async fn postgres_within(url: &str) -> Duration {
    let pool = PgPool::connect(url).await.expect("it connects");
    let begin = Instant::now();
    for number in 0..COUNT {
        let mut transaction = pool.begin().await.expect("it begins");
        let stored = nothing(number).within(&mut transaction).await;
        stored.expect("it is written");
        transaction.commit().await.expect("it commits");
    }
    begin.elapsed()
}

#[cfg(not(feature = "postgres"))]
async fn postgres_within(url: &str) -> Duration {
    unreachable!("the feature `postgres` is off: {url}")
}
