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
        // From the second crash on it runs apart from the others, and its end is one of its own queue.
        let is_apart = (2..CRASH_LIMIT).contains(&crash);
        assert_eq!(queue, if is_apart { SUSPECTS } else { "default" });
        assert_eq!(rescued.dead.len(), usize::from(crash == CRASH_LIMIT));
    }
    let error = database.ended(JobId::new(id)).await.expect("it is read");
    let error = error.expect("it has ended").expect_err("it is dead");
    assert!(
        matches!(&error, JobError::Failed { message, .. } if message.contains("died 5 times")),
        "{error}"
    );
}

async fn a_job_that_starts_anew_is_back_in_its_queue(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    for crash in ["m1", "m2"] {
        claimed_by(&database, "bgtask:a").await;
        rescue(&database, "bgtask:a", crash).await;
    }
    let queue = Statement::same("SELECT queue FROM river_job");
    assert_eq!(queue.read(&database).await.as_deref(), Some(SUSPECTS));
    database
        .cancel(JobId::new(id), "m3")
        .await
        .expect("it is cancelled");
    assert!(
        database
            .retry_now(JobId::new(id), "m4")
            .await
            .expect("it is written")
    );
    assert_eq!(queue.read(&database).await.as_deref(), Some("default"));
}

/// Sentence 2.3.
async fn a_worker_whose_beat_goes_on_is_not_rescued(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let mut connection = database.connect().await.expect("a connection");
    connection
        .register("bgtask:a", "{}")
        .await
        .expect("it is known");
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

/// Sentence 2.1.
async fn a_registration_may_be_repeated(scratch: Scratch) {
    let database = scratch.open().await;
    // The answer to the first is lost with its connection.
    for _ in 0..2 {
        let mut connection = database.connect().await.expect("a connection");
        connection
            .register("bgtask:a", "{}")
            .await
            .expect("it is known");
    }
    let mut connection = database.connect().await.expect("a connection");
    assert!(connection.beat("bgtask:a").await.expect("a beat"));
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

/// Has the store claim a job and not hold it, as if the reply to its claim had been lost. Returns the job, once the store is known.
async fn claimed_and_not_held(database: &Database) -> i64 {
    let id = store(database).await;
    beats(database, "").await;
    let claim = Statement {
        sqlite: "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = datetime('now', 'subsec'),
            attempted_by = (SELECT jsonb_array(id || '.1') FROM bgtask_worker)",
        postgres: "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),
            attempted_by = (SELECT array_agg(id || '.1') FROM bgtask_worker)",
    };
    assert_eq!(claim.run(database).await, 1);
    id
}

/// Sentence 3.6.
async fn a_live_worker_puts_back_what_it_does_not_hold(scratch: Scratch) {
    let (manager, _) = opened(&scratch, Duration::from_millis(200)).await;
    let database = scratch.open().await;
    let id = claimed_and_not_held(&database).await;
    while state(&database, id).await == JobState::Running {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = status(&database, id).await;
    assert_eq!(
        (status.state, status.attempts, status.crashes),
        (JobState::Waiting, 0, 0)
    );
    manager.shutdown("the test is over").await;
}

/// Sentence 3.6.
async fn without_reconciling_it_would_run_for_ever(scratch: Scratch) {
    let database = scratch.open().await;
    Mechanism::Reconciles.turn_off(&database);
    let (manager, _) = opened(&scratch, Duration::from_millis(200)).await;
    let id = claimed_and_not_held(&database).await;
    // Four times to live.
    let end = beats(&database, "").await + 16;
    while beats(&database, "").await < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state(&database, id).await, JobState::Running);
    manager.shutdown("the test is over").await;
}

/// Keeps all workers from beating for twice the time to live, and one of them from then on. Returns after how many beats its jobs
/// are taken from it.
async fn beats_until_taken(scratch: &Scratch, database: &Database) -> u64 {
    let time_to_live = Duration::from_secs(1);
    let id = store(database).await;
    let mut delayed = database.connect().await.expect("a connection");
    delayed
        .register("bgtask:a", "{}")
        .await
        .expect("it is known");
    claimed_by(database, "bgtask:a").await;
    let (manager, _) = opened(scratch, time_to_live).await;
    assert!(delayed.beat("bgtask:a").await.expect("a beat"));
    // The other one looks after each beat of its own, and so has seen this one.
    let seen = beats(database, "bgtask:a").await;
    while beats(database, "bgtask:a").await == seen {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pool = transactions::Pool::of(scratch).await;
    let mut lock = pool.begin().await;
    lock.run("SELECT 1", "LOCK TABLE bgtask_worker IN EXCLUSIVE MODE")
        .await;
    let before = beats(database, "bgtask:a").await;
    tokio::time::sleep(2 * time_to_live).await;
    lock.commit().await;
    while status(database, id).await.crashes == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let beats = beats(database, "bgtask:a").await - before;
    manager.shutdown("the test is over").await;
    beats
}

/// Sentences 2.3 and 2.4.
async fn after_a_write_lock_a_worker_counts_anew(scratch: Scratch) {
    let database = scratch.open().await;
    let beats = beats_until_taken(&scratch, &database).await;
    // The first one, and one time to live from there.
    assert!(beats >= 5, "after {beats} beats");
}

/// Sentence 2.4.
async fn without_counting_anew_a_lock_would_cost_a_live_worker_its_jobs(scratch: Scratch) {
    let database = scratch.open().await;
    Mechanism::CountsAnew.turn_off(&database);
    let beats = beats_until_taken(&scratch, &database).await;
    assert!(beats < 5, "after {beats} beats");
}

/// Sentence 3.7.
async fn a_dead_workers_jobs_are_rescued_once_by_however_many(scratch: Scratch) {
    let database = scratch.open().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(store(&database).await);
    }
    let running = Statement {
        sqlite: "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = datetime('now', 'subsec'),
            attempted_by = jsonb_array('bgtask:gone.1')",
        postgres: "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),
            attempted_by = ARRAY['bgtask:gone.1']",
    };
    assert_eq!(running.run(&database).await, 20);
    let rescuers = (0..8).map(|number| {
        let database = database.clone();
        tokio::spawn(async move { rescue(&database, "bgtask:gone", &format!("m{number}")).await })
    });
    let mut available = 0;
    for rescuer in rescuers.collect::<Vec<_>>() {
        available += rescuer.await.expect("no panic").available;
    }
    assert_eq!(available, 20);
    for id in ids {
        let status = status(&database, id).await;
        assert_eq!((status.state, status.crashes), (JobState::Waiting, 1));
    }
}

on_each_database! {
    async
    a_rescue_gives_the_attempt_back_and_counts_the_crash,
    a_job_that_starts_anew_is_back_in_its_queue,
    a_worker_whose_beat_goes_on_is_not_rescued,
    a_registration_may_be_repeated,
    a_job_that_is_claimed_and_not_held_is_put_back_by_its_own_life_alone,
    a_live_worker_puts_back_what_it_does_not_hold,
    without_reconciling_it_would_run_for_ever,
    after_a_write_lock_a_worker_counts_anew,
    without_counting_anew_a_lock_would_cost_a_live_worker_its_jobs,
    a_dead_workers_jobs_are_rescued_once_by_however_many,
}
