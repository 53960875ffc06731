//! The writes that the fence lets through, observed in the tables.

use crate::engine::{CRASH_LIMIT, Claim, Database, Engine, Record, Rescued, SUSPECTS, Work};
use bgtask::durable::{Failure, JobError, JobId, JobState};
use riverqueue::sqlx;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Scratch, on_each_database};

impl Scratch {
    async fn open(&self) -> Database {
        Database::open(self.url())
            .await
            .expect("the database opens")
    }
}

/// Runs a test in a runtime of its own.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

/// A statement as another program may write it, for each database.
#[derive(Clone, Copy)]
struct Statement {
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "never run"))]
    sqlite: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "never run"))]
    postgres: &'static str,
}

impl Statement {
    const fn same(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }

    /// Returns the number of rows that it has changed.
    async fn run(self, database: &Database) -> u64 {
        #[cfg(feature = "sqlite")]
        if let Some(pool) = database.sqlite() {
            let changed = sqlx::query(self.sqlite).execute(pool).await;
            return changed.expect("it is tried").rows_affected();
        }
        #[cfg(feature = "postgres")]
        if let Some(pool) = database.postgres() {
            let changed = sqlx::query(self.postgres).execute(pool).await;
            return changed.expect("it is tried").rows_affected();
        }
        unreachable!("a database of another kind")
    }

    /// Returns its one value, as text.
    async fn read(self, database: &Database) -> Option<String> {
        #[cfg(feature = "sqlite")]
        if let Some(pool) = database.sqlite() {
            let value = sqlx::query_scalar(self.sqlite).fetch_optional(pool).await;
            return value.expect("it is read");
        }
        #[cfg(feature = "postgres")]
        if let Some(pool) = database.postgres() {
            let value = sqlx::query_scalar(self.postgres).fetch_optional(pool).await;
            return value.expect("it is read");
        }
        unreachable!("a database of another kind")
    }
}

const DROP_FENCE: Statement = Statement {
    sqlite: "DROP TRIGGER bgtask_fence",
    postgres: "DROP TRIGGER bgtask_fence ON river_job",
};

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

/// Stores a job as any insert-only client of River does.
async fn store(database: &Database) -> i64 {
    let stored = Statement {
        sqlite:
            "INSERT INTO river_job (kind, args, max_attempts) VALUES ('tests::job', jsonb('{}'), 10)
            RETURNING id || ''",
        postgres: "INSERT INTO river_job (kind, args, max_attempts) VALUES ('tests::job', '{}', 10)
            RETURNING id::text",
    };
    let id = stored.read(database).await.expect("a job");
    id.parse().expect("a number")
}

/// Makes the jobs of a worker available, as if it had died.
async fn rescue(database: &Database, worker: &str, mark: &str) -> Rescued {
    let mut connection = database.connect().await.expect("a connection");
    connection
        .rescue(&(worker.to_owned(), None), mark, CRASH_LIMIT)
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
const ENGINE_WRITES: [Statement; 7] = [
    Statement::same(
        "UPDATE river_job SET state = 'completed', finalized_at = CURRENT_TIMESTAMP WHERE state = 'running'",
    ),
    Statement::same(
        "UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP WHERE state = 'running'",
    ),
    Statement::same(
        "UPDATE river_job SET state = 'available', attempt = 0 WHERE state = 'running'",
    ),
    // A snooze.
    Statement {
        sqlite: "UPDATE river_job SET state = 'scheduled', attempt = attempt - 1,
            metadata = jsonb_set(metadata, '$.snoozes', 1) WHERE state = 'running'",
        postgres: "UPDATE river_job SET state = 'scheduled', attempt = attempt - 1,
            metadata = metadata || '{\"snoozes\": 1}' WHERE state = 'running'",
    },
    Statement {
        sqlite: "UPDATE river_job SET metadata = jsonb_set(metadata, '$.output', 'stale')",
        postgres: "UPDATE river_job SET metadata = metadata || '{\"output\": \"stale\"}'",
    },
    Statement {
        sqlite: "UPDATE river_job SET errors = jsonb('[{\"error\":\"stale\"}]')",
        postgres: "UPDATE river_job SET errors = array_append(errors, '{\"error\": \"stale\"}')",
    },
    Statement::same("UPDATE river_job SET attempt = 0 WHERE state = 'running'"),
];

async fn engine_writes(database: &Database) -> u64 {
    let mut changed = 0;
    for write in ENGINE_WRITES {
        changed += write.run(database).await;
    }
    changed
}

async fn state(database: &Database, id: i64) -> JobState {
    let status = database.status(JobId::new(id)).await;
    status.expect("the job is there").state
}

async fn a_stale_attempt_changes_nothing_while_another_runs_and_after_it(scratch: Scratch) {
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

async fn without_the_fence_a_stale_write_of_the_engine_would_be_accepted(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    claimed_by(&database, "bgtask:a").await;
    DROP_FENCE.run(&database).await;
    assert!(engine_writes(&database).await > 0);
    assert_eq!(state(&database, id).await, JobState::Done);
}

async fn the_fence_is_made_again_when_the_database_is_opened(scratch: Scratch) {
    let database = scratch.open().await;
    DROP_FENCE.run(&database).await;
    let again = scratch.open().await;
    store(&again).await;
    claimed_by(&again, "bgtask:a").await;
    assert_eq!(engine_writes(&again).await, 0);
}

async fn a_repeated_write_changes_nothing(scratch: Scratch) {
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

async fn a_tool_may_cancel_a_job_between_two_attempts_and_retry_it(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, failed()).await);
    // The statements of River's own cancellation and retry, shortened.
    let cancel = Statement {
        sqlite: "UPDATE river_job SET state = 'cancelled', finalized_at = datetime('now'),
            metadata = jsonb_set(metadata, '$.cancel_attempted_at', 'now')",
        postgres: "UPDATE river_job SET state = 'cancelled', finalized_at = now(),
            metadata = metadata || '{\"cancel_attempted_at\": \"now\"}'",
    };
    assert_eq!(cancel.run(&database).await, 1);
    assert_eq!(state(&database, id).await, JobState::Cancelled);
    let ended = database.ended(JobId::new(id)).await.expect("it is read");
    assert_eq!(
        ended.expect("it has ended").expect_err("no value"),
        JobError::cancelled(1)
    );
    let retry = Statement {
        sqlite: "UPDATE river_job SET state = 'available', finalized_at = NULL,
            metadata = jsonb_remove(metadata, '$.cancel_attempted_at')",
        postgres: "UPDATE river_job SET state = 'available', finalized_at = NULL,
            metadata = metadata - 'cancel_attempted_at'",
    };
    assert_eq!(retry.run(&database).await, 1);
    assert_eq!(state(&database, id).await, JobState::Waiting);
}

async fn a_rescue_gives_the_attempt_back_and_counts_the_crash(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    for crash in 1..=CRASH_LIMIT {
        assert_eq!(state(&database, id).await, JobState::Waiting);
        claimed_by(&database, "bgtask:a").await;
        let rescued = rescue(&database, "bgtask:a", &format!("m{crash}")).await;
        let status = database.status(JobId::new(id)).await.expect("it is there");
        assert_eq!((status.attempts, status.crashes), (0, crash));
        let queue = Statement::same("SELECT queue FROM river_job");
        let queue = queue.read(&database).await.expect("a queue");
        // From the second crash on it runs apart from the others.
        assert_eq!(queue, if crash == 1 { "default" } else { SUSPECTS });
        assert_eq!(rescued.dead.len(), usize::from(crash == CRASH_LIMIT));
    }
    let error = database.ended(JobId::new(id)).await.expect("it is read");
    let error = error.expect("it has ended").expect_err("it is dead");
    assert!(
        matches!(&error, JobError::Failed { message, .. } if message.contains("died 5 times")),
        "{error}"
    );
}

async fn a_worker_whose_beat_goes_on_is_not_rescued(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let mut connection = database.connect().await.expect("a connection");
    connection.register("bgtask:a").await.expect("it is known");
    claimed_by(&database, "bgtask:a").await;
    assert!(connection.beat("bgtask:a").await.expect("a beat"));
    // Judged by an older beat.
    let seen = ("bgtask:a".to_owned(), Some(0));
    let rescued = connection
        .rescue(&seen, "m1", CRASH_LIMIT)
        .await
        .expect("it is tried");
    assert_eq!(rescued, Rescued::default());
    assert_eq!(state(&database, id).await, JobState::Running);
}

async fn a_job_that_is_claimed_and_not_held_is_put_back_by_its_own_life_alone(scratch: Scratch) {
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

async fn a_live_worker_puts_back_what_it_does_not_hold(scratch: Scratch) {
    let manager = bgtask::Manager::builder()
        .install()
        .expect("the first manager");
    let _jobs = crate::builder()
        .url(scratch.url())
        .time_to_live(Duration::from_millis(200))
        .open()
        .await
        .expect("the store opens");
    let database = scratch.open().await;
    let id = store(&database).await;
    let put_back = async {
        let is_known = Statement::same("SELECT id FROM bgtask_worker");
        while is_known.read(&database).await.is_none() {
            tokio::task::yield_now().await;
        }
        // As if the engine had claimed it, and its reply was lost.
        let claim = Statement {
            sqlite: "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = datetime('now', 'subsec'),
                attempted_by = (SELECT jsonb_array(id || '.1') FROM bgtask_worker)",
            postgres: "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),
                attempted_by = (SELECT array_agg(id || '.1') FROM bgtask_worker)",
        };
        assert_eq!(claim.run(&database).await, 1);
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

async fn arguments_that_do_not_decode_are_parked_and_tried_again(scratch: Scratch) {
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

async fn a_job_that_is_pruned_is_gone_and_one_that_never_was_is_not_found(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, done("null")).await);
    assert_eq!(
        database.prune().await.expect("it is tried"),
        0,
        "it is kept for a day"
    );
    let age = Statement {
        sqlite: "UPDATE river_job SET finalized_at = datetime('now', '-2 days')",
        postgres: "UPDATE river_job SET finalized_at = now() - interval '2 days'",
    };
    assert_eq!(age.run(&database).await, 1);
    assert_eq!(database.prune().await.expect("it is deleted"), 1);
    let gone = database.status(JobId::new(id)).await;
    assert_eq!(gone, Err(JobError::Gone));
    let never = database.status(JobId::new(id + 1)).await;
    assert_eq!(never, Err(JobError::NotFound));
    // `keep` is a job's own.
    let kept = Statement {
        sqlite: "INSERT INTO river_job (kind, args, max_attempts, state, finalized_at, metadata)
            VALUES ('tests::job', jsonb('{}'), 10, 'completed', datetime('now', '-2 days'), jsonb('{\"bgtask:keep\":604800}'))",
        postgres: "INSERT INTO river_job (kind, args, max_attempts, state, finalized_at, metadata)
            VALUES ('tests::job', '{}', 10, 'completed', now() - interval '2 days', '{\"bgtask:keep\":604800}')",
    };
    assert_eq!(kept.run(&database).await, 1);
    assert_eq!(
        database.prune().await.expect("it is tried"),
        0,
        "it is kept for seven days"
    );
    // An id is never given again.
    assert!(store(&database).await > id);
}

async fn an_output_is_stored_with_all_its_digits(scratch: Scratch) {
    let output = r#"{"big":170141183460469231731687303715884105727,"text":"<&>","small":0.1}"#;
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, done(output)).await);
    let stored = database.ended(JobId::new(id)).await.expect("it is read");
    let stored: Box<RawValue> = stored.expect("it has ended").expect("a value");
    // Postgres sets spaces, and sorts the members by length, as these are.
    assert_eq!(stored.get().replace(' ', ""), output);
}

async fn an_output_that_the_database_refuses_ends_its_own_job_alone(scratch: Scratch) {
    let database = scratch.open().await;
    let mut claims = Vec::new();
    for worker in ["bgtask:a", "bgtask:b"] {
        store(&database).await;
        claims.push(claimed_by(&database, worker).await);
    }
    let depth = 100_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let ends = [
        (claims[0].clone(), done(&deep)),
        (claims[1].clone(), done("2")),
    ];
    let recorded = database.record(&ends).await.expect("they are written");
    assert_eq!(recorded, [true, true]);
    let ended = database.ended(JobId::new(claims[0].id)).await;
    let error = ended.expect("it is read").expect("it has ended");
    let error = error.expect_err("no value").to_string();
    assert!(
        error.contains("does not accept the end of the attempt"),
        "{error}"
    );
    assert_eq!(state(&database, claims[1].id).await, JobState::Done);
}

async fn a_database_has_an_id_that_no_other_has(scratch: Scratch) {
    let id = Statement::same("SELECT id FROM bgtask_instance");
    let first = id.read(&scratch.open().await).await.expect("an id");
    let again = id.read(&scratch.open().await).await.expect("an id");
    assert_eq!(first, again);
    assert!(first.len() >= 32, "{first}");
}

/// A claim is the same text in all sessions.
#[cfg(feature = "postgres")]
async fn a_claim_is_the_same_in_each_time_zone(scratch: Scratch) {
    let zones = ["Asia/Kolkata", "America/St_Johns"].map(|zone| {
        let dates = if zone.starts_with("Asia") {
            "German"
        } else {
            "ISO"
        };
        format!(
            "{}?options=-ctimezone={zone}%20-cdatestyle={dates}",
            scratch.url()
        )
    });
    let [east, west] = &zones;
    let east = Database::open(east).await.expect("it opens");
    let west = Database::open(west).await.expect("it opens");
    let id = store(&west).await;
    let claim = claimed_by(&east, "bgtask:a").await;
    let running = west.running_in("bgtask:a").await.expect("they are read");
    assert_eq!(running, [(id, claim.attempted_at.clone())]);
    assert_eq!(engine_writes(&west).await, 0);
    assert!(recorded(&west, &claim, done("1")).await);
    assert_eq!(state(&east, id).await, JobState::Done);
}

#[cfg(feature = "postgres")]
#[test]
fn on_postgres_a_claim_is_the_same_in_each_time_zone() {
    if let Some(scratch) = Scratch::postgres() {
        block_on(a_claim_is_the_same_in_each_time_zone(scratch));
    }
}

on_each_database! {
    async
    an_output_that_the_database_refuses_ends_its_own_job_alone,
    a_database_has_an_id_that_no_other_has,
    a_stale_attempt_changes_nothing_while_another_runs_and_after_it,
    without_the_fence_a_stale_write_of_the_engine_would_be_accepted,
    the_fence_is_made_again_when_the_database_is_opened,
    a_repeated_write_changes_nothing,
    a_tool_may_cancel_a_job_between_two_attempts_and_retry_it,
    a_rescue_gives_the_attempt_back_and_counts_the_crash,
    a_worker_whose_beat_goes_on_is_not_rescued,
    a_job_that_is_claimed_and_not_held_is_put_back_by_its_own_life_alone,
    a_live_worker_puts_back_what_it_does_not_hold,
    arguments_that_do_not_decode_are_parked_and_tried_again,
    a_job_that_is_pruned_is_gone_and_one_that_never_was_is_not_found,
    an_output_is_stored_with_all_its_digits,
}
