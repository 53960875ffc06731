//! The fence: what it drops, and what it lets through.

use super::*;

/// What an attempt may write, each as its process sends it.
fn each_record() -> [Record; 8] {
    let (failure, message) = (Failure::Failed, "stale".to_owned());
    [
        done("1"),
        failed(),
        Record::Dead { failure, message },
        Record::Returned,
        Record::Postponed {
            pause: Duration::ZERO,
        },
        Record::Cancelled,
        Record::Progress(Progress::new(0.1, "stale")),
        Record::Parked {
            reason: "stale".to_owned(),
        },
    ]
}

/// Writes everything that an attempt may write which has lost its job, twice. Nothing of it may count.
async fn write_stale(database: &Database, stale: &Claim, when: &str) {
    for record in each_record().into_iter().chain(each_record()) {
        let text = format!("{record:?} {when}");
        assert!(!recorded(database, stale, record).await, "{text}");
    }
    assert_eq!(engine_writes(database).await, 0, "{when}");
    // The same without the conditions of our statements: the fence by itself.
    let claim = stale.value();
    let set = |member: &str| {
        Statement {
        sqlite: format!("UPDATE river_job SET {member}, metadata = jsonb_set(metadata, '$.\"bgtask:claim\"', '{claim}')").leak(),
        postgres: format!("UPDATE river_job SET {member}, metadata = jsonb_set(metadata, '{{bgtask:claim}}', '\"{claim}\"')").leak(),
    }
    };
    for member in [
        "state = 'completed', finalized_at = CURRENT_TIMESTAMP",
        "state = 'available', finalized_at = NULL",
        "attempt = attempt",
    ] {
        let changed = set(member).run(database).await;
        assert_eq!(changed, 0, "{member} {when}");
    }
}

/// Sentences 4.1 and 4.2.
async fn a_stale_attempt_changes_nothing_while_another_runs_and_after_it(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let stale = claimed_by(&database, "bgtask:a").await;
    assert_eq!(rescue(&database, "bgtask:a", "m1").await.available, 1);
    write_stale(&database, &stale, "while none runs").await;
    let current = claimed_by(&database, "bgtask:b").await;
    assert_eq!(current.id, id);

    write_stale(&database, &stale, "while another runs").await;
    // The progress of the current attempt must not open the row for the others.
    let progress = Progress::new(0.5, "current");
    let written = recorded(&database, &current, Record::Progress(progress.clone())).await;
    assert!(written);
    write_stale(&database, &stale, "after another's progress").await;
    assert_eq!(state(&database, id).await, JobState::Running);

    assert!(recorded(&database, &current, done("2")).await);
    write_stale(&database, &stale, "after another's end").await;
    assert_eq!(output(&database, id).await, "2");
    let status = status(&database, id).await;
    assert_eq!(status.progress, Some(progress));
    assert_eq!((status.attempts, status.last_error), (1, None));
}

/// Has River's own statement complete the job of a stale attempt, while another one runs and has reported progress.
async fn complete_while_another_runs(database: &Database) -> (i64, Claim) {
    let id = store(database).await;
    claimed_by(database, "bgtask:a").await;
    rescue(database, "bgtask:a", "m1").await;
    let current = claimed_by(database, "bgtask:b").await;
    let progress = Record::Progress(Progress::new(0.5, "current"));
    assert!(recorded(database, &current, progress).await);
    let complete = Statement {
        sqlite: "UPDATE river_job SET state = 'completed', finalized_at = datetime('now', 'subsec') WHERE state = 'running'",
        postgres: "UPDATE river_job SET state = 'completed', finalized_at = now() WHERE state = 'running'",
    };
    complete.run(database).await;
    (id, current)
}

/// Sentences 4.1 and 4.2.
async fn what_a_client_of_river_writes_for_a_stale_attempt_is_dropped(scratch: Scratch) {
    let database = scratch.open().await;
    let (id, current) = complete_while_another_runs(&database).await;
    assert_eq!(state(&database, id).await, JobState::Running);
    assert!(recorded(&database, &current, done("2")).await);
    assert_eq!(output(&database, id).await, "2");
}

/// Sentence 4.1.
async fn without_the_fence_it_would_end_the_job_of_another(scratch: Scratch) {
    let database = scratch.open().await;
    DROP_FENCE.run(&database).await;
    let (id, current) = complete_while_another_runs(&database).await;
    assert_eq!(state(&database, id).await, JobState::Done);
    assert!(!recorded(&database, &current, done("2")).await);
}

/// Sentence 4.1.
async fn without_the_fence_a_stale_write_of_the_engine_would_be_accepted(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    claimed_by(&database, "bgtask:a").await;
    DROP_FENCE.run(&database).await;
    assert!(engine_writes(&database).await > 0);
    assert_eq!(state(&database, id).await, JobState::Done);
}

/// Sentence 10.3.
async fn the_fence_is_made_again_when_the_database_is_opened(scratch: Scratch) {
    let database = scratch.open().await;
    DROP_FENCE.run(&database).await;
    let again = scratch.open().await;
    store(&again).await;
    claimed_by(&again, "bgtask:a").await;
    assert_eq!(engine_writes(&again).await, 0);
}

/// Sentences 4.1 and 4.2.
async fn a_repeated_write_changes_nothing(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, failed()).await);
    let job = JobId::new(id);
    let before = database.status(job).await.expect("it is there");
    assert_eq!(before.state, JobState::Retrying);
    for again in [failed(), done("1")] {
        recorded(&database, &claim, again).await;
        assert_eq!(database.status(job).await.as_ref(), Ok(&before));
    }
    assert_eq!(database.promote().await.expect("it is due"), 1);
    // Its next attempt, by the same worker.
    let next = claimed_by(&database, "bgtask:a").await;
    recorded(&database, &claim, done("1")).await;
    assert_eq!(state(&database, id).await, JobState::Running);
    assert_eq!(engine_writes(&database).await, 0);
    assert!(recorded(&database, &next, done("2")).await);
    recorded(&database, &next, done("3")).await;
    let ended = database.ended(job).await.expect("it is read");
    let output = ended.expect("it has ended").expect("it is done");
    assert_eq!(output.get(), "2");
}

/// Sentence 4.6.
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
    let east = Database::open(east, Access::default())
        .await
        .expect("it opens");
    let west = Database::open(west, Access::default())
        .await
        .expect("it opens");
    let id = store(&west).await;
    let claim = claimed_by(&east, "bgtask:a").await;
    let running = west.running_in("bgtask:a").await.expect("they are read");
    assert_eq!(running, [(id, claim.attempted_at.clone())]);
    assert_eq!(engine_writes(&west).await, 0);
    assert!(recorded(&west, &claim, done("1")).await);
    assert_eq!(state(&east, id).await, JobState::Done);
}

/// Sentence 2.5.
#[cfg(feature = "postgres")]
#[test]
fn on_postgres_a_claim_is_the_same_in_each_time_zone() {
    if let Some(scratch) = Scratch::postgres() {
        block_on(a_claim_is_the_same_in_each_time_zone(scratch));
    }
}

on_each_database! {
    async
    a_stale_attempt_changes_nothing_while_another_runs_and_after_it,
    what_a_client_of_river_writes_for_a_stale_attempt_is_dropped,
    without_the_fence_it_would_end_the_job_of_another,
    without_the_fence_a_stale_write_of_the_engine_would_be_accepted,
    the_fence_is_made_again_when_the_database_is_opened,
    a_repeated_write_changes_nothing,
    a_tool_may_cancel_a_job_between_two_attempts_and_retry_it,
}
