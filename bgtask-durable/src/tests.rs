//! The writes that the fence lets through, observed in the tables.

use crate::engine::{CRASH_LIMIT, Claim, Database, Engine, Record, Rescued, SUSPECTS, Work};
use bgtask::durable::{Failure, JobError, JobId, JobState};
use riverqueue::sqlx;
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// A database of its own, which is deleted at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bgtask-fence-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    async fn open(&self) -> Database {
        let url = format!("sqlite://{}/jobs.db", self.0.display());
        Database::open(&url).await.expect("the database opens")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Stores a job and claims it through the engine, as `worker`. The engine waits for the attempt for ever.
async fn claimed_by(database: &Database, worker: &str) -> Claim {
    let (sender, mut claims) = mpsc::unbounded_channel();
    let engine = Engine::working(
        database,
        Work {
            id: format!("{worker}.1"),
            functions: &["tests::job"],
            queues: &["default", SUSPECTS]
                .map(|name| (name.to_owned(), 1))
                .into(),
            hand_over: Arc::new(move |id| {
                sender.send(id).expect("the test waits for it");
                Box::pin(std::future::pending())
            }),
        },
    )
    .expect("a client");
    let claiming = engine.start().expect("it starts");
    let id = claims.recv().await.expect("a claim");
    claiming.stop_claims();
    // Dropping the handle would end the attempt.
    std::mem::forget(claiming);
    let claimed = database.claimed(id).await.expect("it is read");
    claimed.expect("it runs").claim
}

async fn store(database: &Database) -> i64 {
    // As any insert-only client of River writes it.
    let row: (i64,) = sqlx::query_as(
        "INSERT INTO river_job (kind, args, max_attempts) VALUES ('tests::job', jsonb('{}'), 10) RETURNING id",
    )
    .fetch_one(database.sqlite())
    .await
    .expect("a job");
    row.0
}

/// Makes the jobs of a worker available, as if it had died.
async fn rescue(database: &Database, worker: &str, mark: &str) -> Rescued {
    let mut connection = database.connect().await.expect("a connection");
    connection
        .rescue(&(worker.to_owned(), None), mark)
        .await
        .expect("the rescue is written")
}

fn done(output: &str) -> Record {
    Record::Done {
        output: output.to_owned(),
    }
}

fn failed() -> Record {
    Record::Retry {
        failure: Failure::Failed,
        message: "stale".to_owned(),
        pause: Duration::ZERO,
    }
}

async fn recorded(database: &Database, claim: &Claim, record: Record) -> bool {
    let ends = [(claim.clone(), record)];
    database.record(&ends).await.expect("it is written")[0]
}

/// What the engine writes on its own account, which carries no claim. Each is one of its statements, shortened.
const ENGINE_WRITES: [&str; 6] = [
    "UPDATE river_job SET state = 'completed', finalized_at = datetime('now') WHERE state = 'running'",
    "UPDATE river_job SET state = 'discarded', finalized_at = datetime('now') WHERE state = 'running'",
    "UPDATE river_job SET state = 'available', attempt = 0 WHERE state = 'running'",
    "UPDATE river_job SET metadata = jsonb_set(metadata, '$.output', 'stale')",
    "UPDATE river_job SET errors = jsonb('[{\"error\":\"stale\"}]')",
    "UPDATE river_job SET attempt = 0 WHERE state = 'running'",
];

async fn engine_writes(database: &Database) -> u64 {
    let mut changed = 0;
    for write in ENGINE_WRITES {
        let written = sqlx::query(write)
            .execute(database.sqlite())
            .await
            .expect("it is tried");
        changed += written.rows_affected();
    }
    changed
}

async fn state(database: &Database, id: i64) -> JobState {
    let status = database.status(JobId::new(id)).await;
    status.expect("the job is there").state
}

#[tokio::test]
async fn a_stale_attempt_changes_nothing_while_another_runs_and_after_it() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let stale = claimed_by(&database, "bgtask:a").await;
    assert_eq!(rescue(&database, "bgtask:a", "m1").await.available, 1);
    let current = claimed_by(&database, "bgtask:b").await;
    assert_eq!(current.id, id);

    for record in [done("1"), failed(), Record::Returned] {
        assert!(
            !recorded(&database, &stale, record).await,
            "while another runs"
        );
    }
    assert_eq!(engine_writes(&database).await, 0, "while another runs");
    assert_eq!(state(&database, id).await, JobState::Running);

    assert!(recorded(&database, &current, done("2")).await);
    for record in [done("1"), failed(), Record::Returned] {
        assert!(
            !recorded(&database, &stale, record).await,
            "after another is done"
        );
    }
    assert_eq!(engine_writes(&database).await, 0, "after another is done");
    let output = database.ended(JobId::new(id)).await.expect("it is read");
    let output = output.expect("it has ended").expect("a value");
    assert_eq!(output.get(), "2");
}

#[tokio::test]
async fn without_the_fence_a_stale_write_of_the_engine_would_be_accepted() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    claimed_by(&database, "bgtask:a").await;
    sqlx::query("DROP TRIGGER bgtask_fence")
        .execute(database.sqlite())
        .await
        .expect("it is dropped");
    assert!(engine_writes(&database).await > 0);
    assert_eq!(state(&database, id).await, JobState::Done);
}

#[tokio::test]
async fn the_fence_is_made_again_when_the_database_is_opened() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    sqlx::query("DROP TRIGGER bgtask_fence")
        .execute(database.sqlite())
        .await
        .expect("it is dropped");
    let again = scratch.open().await;
    store(&again).await;
    claimed_by(&again, "bgtask:a").await;
    assert_eq!(engine_writes(&again).await, 0);
}

#[tokio::test]
async fn a_repeated_write_changes_nothing() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, failed()).await);
    assert!(!recorded(&database, &claim, failed()).await);
    assert!(!recorded(&database, &claim, done("1")).await);
    assert_eq!(state(&database, id).await, JobState::Retrying);
    assert_eq!(database.promote().await.expect("it is due"), 1);
    // Its next attempt, by the same worker.
    let next = claimed_by(&database, "bgtask:a").await;
    assert!(!recorded(&database, &claim, done("1")).await);
    assert_eq!(engine_writes(&database).await, 0);
    assert!(recorded(&database, &next, done("2")).await);
    assert!(!recorded(&database, &next, done("3")).await);
}

#[tokio::test]
async fn a_tool_may_cancel_a_job_between_two_attempts_and_retry_it() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, failed()).await);
    // The statements of River's own cancellation and retry, shortened.
    sqlx::query(
        "UPDATE river_job SET state = 'cancelled', finalized_at = datetime('now'),
             metadata = jsonb_set(metadata, '$.cancel_attempted_at', 'now')",
    )
    .execute(database.sqlite())
    .await
    .expect("it is written");
    assert_eq!(state(&database, id).await, JobState::Cancelled);
    let ended = database.ended(JobId::new(id)).await.expect("it is read");
    assert_eq!(
        ended.expect("it has ended").expect_err("no value"),
        JobError::cancelled(1)
    );
    sqlx::query(
        "UPDATE river_job SET state = 'available', finalized_at = NULL,
             metadata = jsonb_remove(metadata, '$.cancel_attempted_at')",
    )
    .execute(database.sqlite())
    .await
    .expect("it is written");
    assert_eq!(state(&database, id).await, JobState::Waiting);
}

#[tokio::test]
async fn a_rescue_gives_the_attempt_back_and_counts_the_crash() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    for crash in 1..=CRASH_LIMIT {
        assert_eq!(state(&database, id).await, JobState::Waiting);
        claimed_by(&database, "bgtask:a").await;
        let rescued = rescue(&database, "bgtask:a", &format!("m{crash}")).await;
        let status = database.status(JobId::new(id)).await.expect("it is there");
        assert_eq!((status.attempts, status.crashes), (0, crash));
        let queue: String = sqlx::query_scalar("SELECT queue FROM river_job")
            .fetch_one(database.sqlite())
            .await
            .expect("it is read");
        // From the second crash on it runs apart from the others.
        assert_eq!(queue, if crash == 1 { "default" } else { SUSPECTS });
        assert_eq!(rescued.dead, u64::from(crash == CRASH_LIMIT));
    }
    let error = database.ended(JobId::new(id)).await.expect("it is read");
    let error = error.expect("it has ended").expect_err("it is dead");
    assert!(
        matches!(&error, JobError::Failed { message, .. } if message.contains("died 5 times")),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_whose_beat_goes_on_is_not_rescued() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let mut connection = database.connect().await.expect("a connection");
    connection.register("bgtask:a").await.expect("it is known");
    claimed_by(&database, "bgtask:a").await;
    assert!(connection.beat("bgtask:a").await.expect("a beat"));
    // Judged by an older beat.
    let seen = ("bgtask:a".to_owned(), Some(0));
    let rescued = connection.rescue(&seen, "m1").await.expect("it is tried");
    assert_eq!(rescued, Rescued::default());
    assert_eq!(state(&database, id).await, JobState::Running);
}

#[tokio::test]
async fn a_job_that_is_claimed_and_not_held_is_put_back_by_its_own_life_alone() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    let running = database
        .running_in("bgtask:a")
        .await
        .expect("they are read");
    assert_eq!(running, [(id, claim.attempted_at.clone())]);
    assert_eq!(
        database
            .running_in("bgtask:b")
            .await
            .expect("they are read"),
        []
    );
    let by_another = database.put_back("bgtask:b", &running, "m1").await;
    assert_eq!(by_another.expect("it is tried"), 0);
    let by_itself = database.put_back("bgtask:a", &running, "m2").await;
    assert_eq!(by_itself.expect("it is written"), 1);
    let status = database.status(JobId::new(id)).await.expect("it is there");
    assert_eq!(
        (status.state, status.attempts, status.crashes),
        (JobState::Waiting, 0, 0)
    );
    assert!(!recorded(&database, &claim, done("1")).await);
}

#[tokio::test]
async fn a_live_worker_puts_back_what_it_does_not_hold() {
    let scratch = Scratch::new();
    let manager = bgtask::Manager::builder()
        .install()
        .expect("the first manager");
    let _jobs = crate::builder()
        .url(format!("sqlite://{}/jobs.db", scratch.0.display()))
        .time_to_live(Duration::from_millis(200))
        .open()
        .await
        .expect("the store opens");
    let database = scratch.open().await;
    let id = store(&database).await;
    let put_back = async {
        let life: String = loop {
            let life = sqlx::query_scalar("SELECT id FROM bgtask_worker")
                .fetch_optional(database.sqlite());
            match life.await.expect("it is read") {
                Some(life) => break life,
                None => tokio::task::yield_now().await,
            }
        };
        // As if the engine had claimed it, and its reply was lost.
        sqlx::query(
            "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = datetime('now', 'subsec'),
                 attempted_by = jsonb_array(? || '.1')",
        )
        .bind(life)
        .execute(database.sqlite())
        .await
        .expect("it is written");
        while state(&database, id).await == JobState::Running {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), put_back)
        .await
        .expect("it is put back");
    let status = database.status(JobId::new(id)).await.expect("it is there");
    assert_eq!(
        (status.state, status.attempts, status.crashes),
        (JobState::Waiting, 0, 0)
    );
    manager.shutdown("the test is over").await;
}

#[tokio::test]
async fn arguments_that_do_not_decode_are_parked_and_tried_again() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    let parked = Record::Parked {
        reason: "no `order`".to_owned(),
    };
    assert!(recorded(&database, &claim, parked).await);
    let status = database.status(JobId::new(id)).await.expect("it is there");
    assert_eq!(
        (status.state, status.attempts, status.last_error.as_deref()),
        (JobState::Parked, 0, Some("no `order`"))
    );
    assert_eq!(database.unpark("m1").await.expect("it is written"), 1);
    assert_eq!(state(&database, id).await, JobState::Waiting);
}

#[tokio::test]
async fn a_job_that_is_pruned_is_gone_and_one_that_never_was_is_not_found() {
    let scratch = Scratch::new();
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, done("null")).await);
    assert_eq!(
        database.prune().await.expect("it is tried"),
        0,
        "it is kept for a day"
    );
    sqlx::query("UPDATE river_job SET finalized_at = datetime('now', '-2 days')")
        .execute(database.sqlite())
        .await
        .expect("it is older");
    assert_eq!(database.prune().await.expect("it is deleted"), 1);
    let gone = database.status(JobId::new(id)).await;
    assert_eq!(gone, Err(JobError::Gone));
    let never = database.status(JobId::new(id + 1)).await;
    assert_eq!(never, Err(JobError::NotFound));
    // `keep` is a job's own.
    sqlx::query(
        "INSERT INTO river_job (kind, args, max_attempts, state, finalized_at, metadata)
         VALUES ('tests::job', jsonb('{}'), 10, 'completed', datetime('now', '-2 days'), jsonb('{\"bgtask:keep\":604800}'))",
    )
    .execute(database.sqlite())
    .await
    .expect("a job");
    assert_eq!(
        database.prune().await.expect("it is tried"),
        0,
        "it is kept for seven days"
    );
    // An id is never given again.
    assert!(store(&database).await > id);
}

#[test]
fn an_output_is_stored_as_it_was_encoded() {
    let output = r#"{"big":170141183460469231731687303715884105727,"text":"<&>"}"#;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let scratch = Scratch::new();
        let database = scratch.open().await;
        let id = store(&database).await;
        let claim = claimed_by(&database, "bgtask:a").await;
        assert!(recorded(&database, &claim, done(output)).await);
        let stored = database.ended(JobId::new(id)).await.expect("it is read");
        let stored: Box<RawValue> = stored.expect("it has ended").expect("a value");
        assert_eq!(stored.get(), output);
    });
}
