//! What the tables hold of a job: arguments, outputs, and for how long.

use super::*;

/// Sentence 6.2.
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

/// Sentence 11.10.
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

/// Sentence 11.12.
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

/// Sentence 6.7.
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
    assert_eq!(recorded, [Recorded::Dead, Recorded::Yes]);
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

on_each_database! {
    async
    arguments_that_do_not_decode_are_parked_and_tried_again,
    a_job_that_is_pruned_is_gone_and_one_that_never_was_is_not_found,
    an_output_is_stored_with_all_its_digits,
    an_output_that_the_database_refuses_ends_its_own_job_alone,
    a_database_has_an_id_that_no_other_has,
}
