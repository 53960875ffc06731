//! What the triggers store at the end of a job, observed in the tables.

use super::*;
use crate::deliver;
use crate::followup::JobEnd;
use bgtask::durable::NotifyTarget;
use serde::Deserialize;

/// The columns of the deliveries, without those that hold times, and without what the engine's insertion into SQLite notes.
const COLUMNS: Statement = Statement {
    sqlite: "SELECT group_concat(line, char(10)) FROM (
        SELECT concat_ws('|', state, attempt, max_attempts, priority, queue, kind, json(tags), typeof(args), json(args),
            json(jsonb_remove(metadata, '$.\"river:unique_nonce\"')), typeof(metadata), typeof(created_at), length(created_at),
            typeof(scheduled_at), length(scheduled_at), attempted_at IS NULL, attempted_by IS NULL, errors IS NULL,
            finalized_at IS NULL, unique_key IS NULL, unique_states IS NULL,
            abs(julianday(created_at) - julianday('now')) < 0.01, abs(julianday(scheduled_at) - julianday('now')) < 0.01) AS line
        FROM river_job WHERE queue = 'bgtask-notify' ORDER BY id)",
    postgres: "SELECT string_agg(line, chr(10)) FROM (
        SELECT concat_ws('|', state, attempt, max_attempts, priority, queue, kind, tags, args, metadata,
            attempted_at IS NULL, attempted_by IS NULL, errors IS NULL, finalized_at IS NULL, unique_key IS NULL,
            unique_states IS NULL, now() - created_at < interval '1 min', now() - scheduled_at < interval '1 min') AS line
        FROM river_job WHERE queue = 'bgtask-notify' ORDER BY id) AS lines",
};

const ARGS: Statement = Statement {
    sqlite: "SELECT '[' || coalesce(group_concat(json(args)), '') || ']' FROM (SELECT args FROM river_job WHERE queue = 'bgtask-notify' ORDER BY id)",
    postgres: "SELECT coalesce(json_agg(args ORDER BY id), '[]')::text FROM river_job WHERE queue = 'bgtask-notify'",
};

/// Asks for what follows the ends of all jobs that have no request of this kind.
const ASK: Statement = Statement {
    sqlite: "UPDATE river_job SET metadata = jsonb_set(metadata, '$.\"bgtask:notify\"', jsonb(
            '[{\"channel\":\"one\",\"with_value\":true,\"to\":1},{\"channel\":\"two\",\"with_value\":false,\"to\":null}]'))
        WHERE queue <> 'bgtask-notify' AND attempted_by IS NULL",
    postgres: "UPDATE river_job SET metadata = metadata || jsonb_build_object('bgtask:notify',
            '[{\"channel\":\"one\",\"with_value\":true,\"to\":1},{\"channel\":\"two\",\"with_value\":false,\"to\":null}]'::jsonb)
        WHERE queue <> 'bgtask-notify' AND attempted_by IS NULL",
};

#[derive(Debug, Deserialize)]
struct Delivery {
    end: JobEnd,
    target: NotifyTarget,
    index: u32,
}

async fn deliveries(database: &Database) -> Vec<Delivery> {
    let args = ARGS.read(database).await.unwrap_or_else(|| "[]".to_owned());
    serde_json::from_str(&args).expect("the arguments of deliveries")
}

/// Stores a job that asks for two targets.
async fn store_asking(database: &Database) -> i64 {
    let id = store(database).await;
    assert!(ASK.run(database).await >= 1);
    id
}

/// Sentence 16.1.
async fn the_job_of_a_target_is_what_the_engine_would_have_stored(scratch: Scratch) {
    let manager = bgtask::Manager::builder().install().expect("a manager");
    let builder = crate::builder()
        .url(scratch.url())
        .role(crate::Role::Enqueue);
    let _jobs = builder.open().await.expect("it opens");
    let database = scratch.open().await;
    let id = store_asking(&database).await;
    let cancelled = database.cancel(JobId::new(id), "m1").await;
    assert_eq!(cancelled.expect("it is written"), Cancelled::Now);
    let stored = deliveries(&database).await;
    assert_eq!(stored.len(), 2);
    for Delivery { end, target, index } in stored {
        let call = deliver::job(end, target, index);
        call.await.expect("the engine stores it");
    }
    let lines = COLUMNS.read(&database).await.expect("four jobs");
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(lines[..2], lines[2..]);
    manager.shutdown("the test is over").await;
}

/// Sentence 16.2.
async fn each_end_of_a_job_has_its_follow_up_and_no_other_write_has(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store_asking(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    // A failed attempt, and what the fence drops.
    assert!(recorded(&database, &claim, failed()).await);
    // It says that this attempt has written an end, and changes nothing.
    assert!(recorded(&database, &claim, done("1")).await);
    engine_writes(&database).await;
    assert!(deliveries(&database).await.is_empty());
    assert!(
        database
            .retry_now(JobId::new(id), "m0")
            .await
            .expect("it is written")
    );
    let claim = claimed_by(&database, "bgtask:b").await;
    assert!(recorded(&database, &claim, done(r#"{"total":12.5}"#)).await);
    // Written again, as after a lost answer.
    assert!(recorded(&database, &claim, done("2")).await);
    let stored = deliveries(&database).await;
    let targets: Vec<_> = stored
        .iter()
        .map(|one| (&*one.target.channel, one.target.to.get(), one.index))
        .collect();
    assert_eq!(targets, [("one", "1", 0), ("two", "null", 1)]);
    let status = status(&database, id).await;
    for one in &stored {
        let end = &one.end;
        assert_eq!((end.job.get(), end.state), (id, JobState::Done));
        assert_eq!((&*end.function, end.attempt), ("tests::job", 2));
        assert_eq!(end.version, status.version, "as the status counts");
        assert_eq!(end.error, None);
        assert!(end.at.ends_with('Z') && end.at.len() == 24, "{}", end.at);
    }
    let value = |one: &Delivery| {
        one.end
            .value
            .as_ref()
            .map(|value| value.get().replace(' ', ""))
    };
    assert_eq!(value(&stored[0]).as_deref(), Some(r#"{"total":12.5}"#));
    assert_eq!(value(&stored[1]), None, "it has not asked for the value");
    assert_ne!(stored[0].end.id(0), stored[1].end.id(1));
}

/// Sentence 16.3.
async fn a_dead_job_that_is_tried_again_has_another_follow_up(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store_asking(&database).await;
    let mut ids = Vec::new();
    for (round, worker) in ["bgtask:a", "bgtask:b"].into_iter().enumerate() {
        let claim = claimed_by(&database, worker).await;
        let dead = Record::Dead {
            failure: Failure::Failed,
            message: format!("round {round}"),
        };
        assert!(recorded(&database, &claim, dead).await);
        let stored = deliveries(&database).await;
        assert_eq!(stored.len(), 2 * (round + 1));
        let last = stored.last().expect("one");
        assert_eq!(last.end.state, JobState::Dead);
        assert_eq!(last.end.error, Some(format!("round {round}")));
        assert!(last.end.value.is_none());
        ids.push(last.end.id(last.index));
        if round == 0 {
            assert!(
                database
                    .retry_now(JobId::new(id), "m1")
                    .await
                    .expect("it is written")
            );
        }
    }
    assert_ne!(ids[0], ids[1]);
}

/// Sentence 16.2.
async fn a_job_that_dies_of_crashes_or_is_cancelled_as_it_runs_has_one_follow_up(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store_asking(&database).await;
    for crash in 1..=CRASH_LIMIT {
        assert!(deliveries(&database).await.is_empty());
        let worker = format!("bgtask:w{crash}");
        claimed_by(&database, &worker).await;
        rescue(&database, &worker, &format!("m{crash}")).await;
    }
    let stored = deliveries(&database).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(
        (stored[0].end.job.get(), stored[0].end.state),
        (id, JobState::Dead)
    );
    let error = stored[0].end.error.as_deref().unwrap_or_default();
    assert!(error.contains("the process died 5 times"), "{error}");

    // Asked to end, it fails for the last time: a trigger makes it cancelled, whatever the attempt writes.
    let id = store_asking(&database).await;
    let claim = claimed_by(&database, "bgtask:x").await;
    let marked = database.cancel(JobId::new(id), "m9").await;
    assert_eq!(marked.expect("it is written"), Cancelled::Marked);
    let dead = Record::Dead {
        failure: Failure::Failed,
        message: "too late".to_owned(),
    };
    assert!(recorded(&database, &claim, dead).await);
    assert_eq!(state(&database, id).await, JobState::Cancelled);
    let stored = deliveries(&database).await;
    assert_eq!(stored.len(), 4);
    for one in &stored[2..] {
        assert_eq!(
            (one.end.job.get(), one.end.state),
            (id, JobState::Cancelled)
        );
        assert_eq!(one.end.error, None);
    }
}

/// Sentence 16.4.
async fn a_completion_that_is_rolled_back_has_no_follow_up(scratch: Scratch) {
    let database = scratch.open().await;
    store_asking(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    roll_back(&database, &claim).await;
    assert!(deliveries(&database).await.is_empty());
    let completed = complete(&database, &claim, "3", Some(Progress::new(1.0, "all"))).await;
    assert_eq!(completed, Ok(()));
    let stored = deliveries(&database).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(
        stored[0].end.value.as_ref().map(|value| value.get()),
        Some("3")
    );
}

/// Sentence 16.5.
async fn a_trigger_that_is_missing_or_of_another_version_is_made_again(scratch: Scratch) {
    const DROP: Statement = Statement {
        sqlite: "DROP TRIGGER bgtask_followed",
        postgres: "DROP TRIGGER bgtask_followed ON river_job",
    };
    const OTHER: Statement = Statement {
        sqlite: "DROP TRIGGER bgtask_followed; CREATE TRIGGER bgtask_followed AFTER UPDATE ON river_job WHEN 0 BEGIN SELECT 1; END",
        postgres: "DO $$ BEGIN DROP TRIGGER bgtask_followed ON river_job;
            CREATE TRIGGER bgtask_followed AFTER UPDATE ON river_job FOR EACH ROW WHEN (false) EXECUTE FUNCTION bgtask_follow(); END $$",
    };
    let database = scratch.open().await;
    for (round, damage) in [DROP, OTHER].into_iter().enumerate() {
        damage.run(&database).await;
        let id = store_asking(&database).await;
        database
            .cancel(JobId::new(id), "m1")
            .await
            .expect("it is written");
        let before = deliveries(&database).await.len();
        assert_eq!(before, 2 * round, "without the trigger nothing follows");
        let again = scratch.open().await;
        let id = store_asking(&again).await;
        again
            .cancel(JobId::new(id), "m2")
            .await
            .expect("it is written");
        assert_eq!(deliveries(&database).await.len(), before + 2);
    }
}

/// Completes the job of an attempt in a transaction of the program's, which is rolled back.
async fn roll_back(database: &Database, claim: &Claim) {
    #[cfg(feature = "sqlite")]
    if let Some(pool) = database.sqlite() {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.expect("it begins");
        let within = Within::Sqlite(&mut transaction);
        let completed = database.complete_in(within, claim, "4", None).await;
        assert_eq!(completed, Ok(()));
        return transaction.rollback().await.expect("it rolls back");
    }
    #[cfg(feature = "postgres")]
    if let Some(pool) = database.postgres() {
        let mut transaction = pool.begin().await.expect("it begins");
        let within = Within::Postgres(&mut transaction);
        let completed = database.complete_in(within, claim, "4", None).await;
        assert_eq!(completed, Ok(()));
        return transaction.rollback().await.expect("it rolls back");
    }
    unreachable!("a database of another kind")
}

on_each_database! {
    async
    the_job_of_a_target_is_what_the_engine_would_have_stored,
    each_end_of_a_job_has_its_follow_up_and_no_other_write_has,
    a_dead_job_that_is_tried_again_has_another_follow_up,
    a_job_that_dies_of_crashes_or_is_cancelled_as_it_runs_has_one_follow_up,
    a_completion_that_is_rolled_back_has_no_follow_up,
    a_trigger_that_is_missing_or_of_another_version_is_made_again,
}
