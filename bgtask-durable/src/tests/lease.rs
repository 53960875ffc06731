//! The rescue of a dead worker's jobs, and of jobs that a live worker does not hold.

use super::*;

/// Sentences 3.1 and 3.2.
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
        assert_eq!(rescued.dead, u64::from(crash == CRASH_LIMIT));
    }
    let error = database.ended(JobId::new(id)).await.expect("it is read");
    let error = error.expect("it has ended").expect_err("it is dead");
    assert!(
        matches!(&error, JobError::Failed { message, .. } if message.contains("died 5 times")),
        "{error}"
    );
}

/// Sentence 2.3.
async fn a_worker_whose_beat_goes_on_is_not_rescued(scratch: Scratch) {
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

/// Sentence 3.6.
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

/// Sentence 3.6.
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

on_each_database! {
    async
    a_rescue_gives_the_attempt_back_and_counts_the_crash,
    a_worker_whose_beat_goes_on_is_not_rescued,
    a_job_that_is_claimed_and_not_held_is_put_back_by_its_own_life_alone,
    a_live_worker_puts_back_what_it_does_not_hold,
}
