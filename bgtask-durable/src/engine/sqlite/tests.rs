//! What operators and transactions may write, and what stale attempts may not, observed in the tables.

use super::{Sqlite, complete};
use crate::engine::types::{Cancelled, Claim, Record};
use bgtask::durable::{CompleteError, Failure, Progress};
use riverqueue::sqlx;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A database of its own, which is deleted at the end.
struct Scratch(PathBuf);

impl Scratch {
    async fn open() -> (Self, Sqlite) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bgtask-operate-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let url = format!("sqlite://{}/jobs.db", folder.display());
        let database = Sqlite::open(&url).await.expect("the database opens");
        (Self(folder), database)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Stores a job that a worker has claimed, as the engine does.
async fn stored_and_claimed(database: &Sqlite, worker: &str) -> Claim {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO river_job (kind, args, max_attempts) VALUES ('tests::job', jsonb('{}'), 10) RETURNING id",
    )
    .fetch_one(&database.pool)
    .await
    .expect("a job");
    claimed(database, id, worker).await
}

async fn claimed(database: &Sqlite, id: i64, worker: &str) -> Claim {
    sqlx::query(
        "UPDATE river_job SET state = 'running', attempt = attempt + 1, attempted_at = datetime('now', 'subsec'),
             attempted_by = jsonb_array(?)
         WHERE id = ? AND state = 'available'",
    )
    .bind(worker)
    .bind(id)
    .execute(&database.pool)
    .await
    .expect("a claim");
    let claimed = database.claimed(id).await.expect("it is read");
    claimed.expect("it runs").claim
}

async fn rescued(database: &Sqlite, worker: &str) {
    let mut connection = database.connect().await.expect("a connection");
    let worker = (worker.to_owned(), None);
    super::rescue(&mut connection, &worker, "a mark")
        .await
        .expect("it is rescued");
}

async fn state(database: &Sqlite, claim: &Claim) -> String {
    sqlx::query_scalar("SELECT state FROM river_job WHERE id = ?")
        .bind(claim.id)
        .fetch_one(&database.pool)
        .await
        .expect("the job is there")
}

fn retry() -> Record {
    Record::Retry {
        failure: Failure::Failed,
        message: "no".to_owned(),
        pause: Duration::ZERO,
    }
}

#[tokio::test]
async fn an_attempt_that_has_lost_its_job_completes_nothing() {
    let (_scratch, database) = Scratch::open().await;
    let stale = stored_and_claimed(&database, "bgtask:a.1").await;
    rescued(&database, "bgtask:a").await;
    let current = claimed(&database, stale.id, "bgtask:b.1").await;

    let mut connection = database.connect().await.expect("a connection");
    let progress = Progress::new(0.5, "stale");
    let lost = complete(&mut connection, &stale, "1", Some(progress.clone())).await;
    assert_eq!(lost.expect("it is tried"), Err(CompleteError::Lost));
    let late = [(stale.clone(), Record::Progress(progress))];
    assert_eq!(database.record(&late).await.expect("it is tried"), [false]);

    let completed = complete(&mut connection, &current, "2", None).await;
    assert_eq!(completed.expect("it is tried"), Ok(()));
    let again = complete(&mut connection, &current, "3", None).await;
    assert_eq!(
        again.expect("it is tried"),
        Err(CompleteError::AlreadyCompleted)
    );
    let lost = complete(&mut connection, &stale, "4", None).await;
    assert_eq!(lost.expect("it is tried"), Err(CompleteError::Lost));
    let row = database
        .row(bgtask::durable::JobId::new(stale.id))
        .await
        .expect("it is there");
    assert_eq!((row.output.as_deref(), row.progress), (Some("2"), None));
}

#[tokio::test]
async fn a_job_that_is_asked_to_end_is_cancelled_whoever_gives_it_back() {
    let (_scratch, database) = Scratch::open().await;
    let records = [
        retry(),
        Record::Returned,
        Record::Dead {
            failure: Failure::Failed,
            message: "no".to_owned(),
        },
        Record::Postponed {
            pause: Duration::ZERO,
        },
    ];
    for record in records {
        let claim = stored_and_claimed(&database, "bgtask:a.1").await;
        let cancelled = database
            .cancel(claim.id, "asked")
            .await
            .expect("it is written");
        assert_eq!(cancelled, Cancelled::Marked);
        assert_eq!(state(&database, &claim).await, "running");
        let ends = [(claim.clone(), record)];
        assert_eq!(database.record(&ends).await.expect("it is written"), [true]);
        assert_eq!(state(&database, &claim).await, "cancelled");
    }
    let claim = stored_and_claimed(&database, "bgtask:a.1").await;
    database
        .cancel(claim.id, "asked")
        .await
        .expect("it is written");
    assert_eq!(
        database.cancelling("bgtask:a").await.expect("it is read"),
        [claim.id]
    );
    rescued(&database, "bgtask:a").await;
    assert_eq!(state(&database, &claim).await, "cancelled");

    // A value counts, and one that was not asked to end goes on.
    let claim = stored_and_claimed(&database, "bgtask:a.1").await;
    database
        .cancel(claim.id, "asked")
        .await
        .expect("it is written");
    let output = "1".to_owned();
    let ends = [(claim.clone(), Record::Done { output })];
    assert_eq!(database.record(&ends).await.expect("it is written"), [true]);
    assert_eq!(state(&database, &claim).await, "completed");
    let claim = stored_and_claimed(&database, "bgtask:a.1").await;
    let ends = [(claim.clone(), retry())];
    assert_eq!(database.record(&ends).await.expect("it is written"), [true]);
    assert_eq!(state(&database, &claim).await, "retryable");
}

#[tokio::test]
async fn each_change_raises_the_version() {
    let (_scratch, database) = Scratch::open().await;
    let claim = stored_and_claimed(&database, "bgtask:a.1").await;
    let id = bgtask::durable::JobId::new(claim.id);
    let mut last = 0;
    let version = async || {
        let row = database.row(id).await.expect("it is there");
        row.status(id).version
    };
    let mut claim = claim;
    for record in [
        retry(),
        Record::Postponed {
            pause: Duration::ZERO,
        },
        Record::Returned,
    ] {
        for step in 0..3 {
            match step {
                0 => {
                    let progress = Record::Progress(Progress::new(0.5, "half"));
                    database
                        .record(&[(claim.clone(), progress)])
                        .await
                        .expect("it is written");
                }
                1 => {
                    database
                        .record(&[(claim.clone(), record.clone())])
                        .await
                        .expect("it is written");
                }
                _ => {
                    database.promote().await.expect("it is written");
                    claim = claimed(&database, claim.id, "bgtask:a.1").await;
                }
            }
            let now = version().await;
            assert!(now > last, "step {step} of {record:?}: {now} after {last}");
            last = now;
        }
    }
}
