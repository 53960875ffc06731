//! What live processes keep: their jobs, however their threads, the locks of the database or a dead neighbour stand.
//!
//! `BGTASK_ROUNDS` sets the number of rounds.

use crate::support::store::{LIMIT, Process};
use crate::support::transactions::Pool;
use crate::support::{Scratch, in_rounds, on_each_database};
use bgtask::durable::{EnqueueError, JobHandle};
use bgtask::{ShutdownToken, background};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// How often the bodies of each test have begun.
static BEGUN: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

fn begin(go: &str) {
    let mut begun = BEGUN.lock().expect("no thread panics with it");
    *begun.entry(go.to_owned()).or_default() += 1;
}

fn begun(go: &str) -> u32 {
    let begun = BEGUN.lock().expect("no thread panics with it");
    begun.get(go).copied().unwrap_or(0)
}

/// Runs until the file is there.
#[background(durable, retry(max = 1))]
async fn held(go: String) -> u32 {
    begin(&go);
    while !Path::new(&go).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    7
}

/// The same, and blocks every thread of its runtime.
#[background(durable, retry(max = 1))]
async fn blocks(go: String) -> u32 {
    let block = |go: &str| {
        while !Path::new(go).exists() {
            thread::sleep(Duration::from_millis(5));
        }
    };
    for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
        let go = go.clone();
        tokio::spawn(async move { block(&go) });
    }
    begin(&go);
    block(&go);
    7
}

/// A file that is not there yet.
fn file(scratch: &Scratch) -> String {
    let name: String = scratch
        .url()
        .chars()
        .map(|letter| {
            if letter.is_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let path = std::env::temp_dir().join(format!("{name}-go"));
    let _ = std::fs::remove_file(&path);
    path.display().to_string()
}

fn process(scratch: &Scratch) -> Process {
    let builder = bgtask_durable::builder().url(scratch.url());
    Process::start(builder.time_to_live(TIME_TO_LIVE))
}

fn wait(what: &str, mut is_it: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_it() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The beats of all processes.
fn beats(process: &Process, pool: &Pool) -> Vec<i64> {
    process.run(pool.numbers("SELECT beat FROM bgtask_worker ORDER BY id"))
}

/// Waits until each of so many processes has beaten as often as it does in two times to live.
fn wait_for_beats(process: &Process, pool: &Pool, processes: usize) {
    let before = beats(process, pool);
    wait("they beat", || {
        let now = beats(process, pool);
        let all = now.len() == processes && before.len() == processes;
        assert!(all, "of {processes} processes: {before:?}, {now:?}");
        now.iter()
            .zip(&before)
            .all(|(now, before)| now - before >= 8)
    });
}

/// The job has run to its end in its first attempt, of which there was one.
fn has_kept(process: &Process, job: &JobHandle<u32>, go: &str) {
    std::fs::write(go, "").expect("a file");
    process.run(async {
        assert_eq!(process.jobs.get::<u32>(job.id()).outcome().await, Ok(7));
        let status = process.jobs.get::<u32>(job.id()).status().await;
        let status = status.expect("it is there");
        assert_eq!((status.attempts, status.crashes), (1, 0));
    });
    assert_eq!(begun(go), 1);
    std::fs::remove_file(go).expect("it is there");
}

/// Sentences 2.1 and 2.2.
fn a_process_keeps_its_jobs_while_every_thread_of_its_runtime_is_blocked(scratch: Scratch) {
    let go = file(&scratch);
    let start = Instant::now();
    let first = process(&scratch);
    let job = first.run(async { blocks(go.clone()).await.expect("it is stored") });
    wait("it begins", || begun(&go) == 1);
    let other = process(&scratch);
    let pool = other.run(Pool::of(&scratch));
    wait("both are known", || beats(&other, &pool).len() == 2);
    wait_for_beats(&other, &pool, 2);
    // Four beats in one time to live, and no more.
    let most = start.elapsed().as_millis() / (TIME_TO_LIVE / 4).as_millis() + 1;
    let beats = beats(&other, &pool);
    assert!(
        beats.iter().all(|beats| i128::from(*beats) <= most as i128),
        "{beats:?}"
    );
    has_kept(&other, &job, &go);
    first.end();
    other.end();
}

/// Sentence 2.4.
fn a_process_that_starts_during_a_write_lock_takes_no_live_job(scratch: Scratch) {
    in_rounds(2, |round, _| {
        let scratch = scratch.another();
        let go = file(&scratch);
        let first = process(&scratch);
        let job = first.run(async { held(go.clone()).await.expect("it is stored") });
        wait("it begins", || begun(&go) == 1);
        let pool = first.run(Pool::of(&scratch));
        let other = thread::scope(|scope| {
            let mut lock = first.run(pool.begin());
            first.run(lock.run(
                "SELECT 1",
                "LOCK TABLE bgtask_worker, river_job IN EXCLUSIVE MODE",
            ));
            let other = scope.spawn(|| process(&scratch));
            thread::sleep(2 * TIME_TO_LIVE);
            first.run(lock.commit());
            other.join().expect("it starts")
        });
        wait("both are known", || beats(&other, &pool).len() == 2);
        wait_for_beats(&other, &pool, 2);
        has_kept(&other, &job, &go);
        #[expect(clippy::print_stdout, reason = "of a long run")]
        {
            println!(
                "round {round}: 0 jobs taken from the live process, {}",
                scratch.kind()
            );
        }
        first.end();
        other.end();
    });
}

/// Sentences 2.4 and 3.4.
fn a_lock_on_a_job_of_a_dead_process_costs_no_live_one_its_jobs(scratch: Scratch) {
    let go = file(&scratch);
    let first = process(&scratch);
    let job = first.run(async { held(go.clone()).await.expect("it is stored") });
    wait("it begins", || begun(&go) == 1);
    let other = process(&scratch);
    let pool = other.run(Pool::of(&scratch));
    wait("both are known", || beats(&other, &pool).len() == 2);
    other.run(async {
        pool.run(
            "INSERT INTO river_job (kind, args, max_attempts, state, attempt, attempted_at, attempted_by)
             SELECT 'other::job', jsonb('{}'), 1, 'running', 1, datetime('now', 'subsec'), jsonb_array('bgtask:gone.1')
             FROM (VALUES (1), (2), (3))",
            "INSERT INTO river_job (kind, args, state, attempt, attempted_at, attempted_by)
             SELECT 'other::job', '{}', 'running', 1, now(), ARRAY['bgtask:gone.1'] FROM generate_series(1, 3)",
        )
        .await;
    });
    let available = || {
        let query =
            "SELECT count(*) FROM river_job WHERE kind = 'other::job' AND state = 'available'";
        other.run(pool.numbers(query))[0]
    };
    let mut lock = other.run(pool.begin());
    other.run(lock.run(
        "SELECT 1",
        "SELECT 1 FROM river_job WHERE id = (SELECT max(id) FROM river_job) FOR UPDATE",
    ));
    if scratch.is_sqlite() {
        // The whole file is locked.
        thread::sleep(2 * TIME_TO_LIVE);
    } else {
        wait("the others are rescued", || available() == 2);
        // And nobody waits for the one.
        wait_for_beats(&other, &pool, 2);
        assert_eq!(available(), 2);
    }
    other.run(lock.commit());
    wait("all are rescued", || available() == 3);
    wait_for_beats(&other, &pool, 2);
    has_kept(&other, &job, &go);
    first.end();
    other.end();
}

/// Ends some time after its token has fired.
#[background(durable, retry(max = 1))]
async fn drains(go: String, token: ShutdownToken) {
    begin(&go);
    token.cancelled().await;
    begin(&go);
    // Long enough for many claims.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Sentences 5.1 and 5.2.
fn a_draining_process_claims_no_job(scratch: Scratch) {
    let go = file(&scratch);
    let process = process(&scratch);
    process.run(async { drains(go.clone()).await.expect("it is stored") });
    wait("it begins", || begun(&go) == 1);
    let pool = process.run(Pool::of(&scratch));
    thread::scope(|scope| {
        let ends = scope.spawn(|| process.run(process.manager.shutdown("the test drains")));
        wait("the token fires", || begun(&go) == 2);
        // Another process stores the same call.
        process.run(pool.run(
            "INSERT INTO river_job (kind, args, max_attempts) SELECT kind, args, 10 FROM river_job",
            "INSERT INTO river_job (kind, args, max_attempts) SELECT kind, args, 10 FROM river_job",
        ));
        let report = ends.join().expect("no panic");
        assert_eq!(report.straggler_count, 0, "{report}");
    });
    assert_eq!(begun(&go), 2);
    let waiting = "SELECT count(*) FROM river_job WHERE state = 'available' AND attempt = 0";
    assert_eq!(process.run(pool.numbers(waiting)), [1]);
}

/// Sentences 7.1, 7.2 and 7.3.
fn while_the_database_takes_no_writes_jobs_go_on_and_calls_fail_in_time(scratch: Scratch) {
    let go = file(&scratch);
    let process = process(&scratch);
    let job = process.run(async { held(go.clone()).await.expect("it is stored") });
    wait("it begins", || begun(&go) == 1);
    let pool = process.run(Pool::of(&scratch));
    let mut lock = process.run(pool.begin());
    process.run(lock.run(
        "SELECT 1",
        "LOCK TABLE bgtask_worker, river_job IN EXCLUSIVE MODE",
    ));
    // Ends while the lock is held, which is longer than the call below waits.
    std::fs::write(&go, "").expect("a file");
    let start = Instant::now();
    let refused = process.run(async { held(go.clone()).await });
    let refused = refused.expect_err("nothing can be written");
    assert_eq!(refused, EnqueueError::Busy);
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    process.run(lock.commit());
    has_kept(&process, &job, &go);
    std::fs::write(&go, "").expect("a file");
    let again = process.run(async {
        let job = held(go.clone()).await.expect("it is stored");
        job.outcome().await
    });
    assert_eq!(again, Ok(7));
    std::fs::remove_file(&go).expect("it is there");
    process.end();
}

/// Sentences 3.2 and 7.2.
fn the_limits_of_a_store_are_those_that_are_set(scratch: Scratch) {
    let builder = bgtask_durable::builder().url(scratch.url());
    let limits = builder
        .time_to_live(TIME_TO_LIVE)
        .crash_limit(1)
        .enqueue_limit(Duration::from_millis(300));
    let process = Process::start(limits);
    let pool = process.run(Pool::of(&scratch));
    process.run(pool.run(
        "INSERT INTO river_job (kind, args, max_attempts, state, attempt, attempted_at, attempted_by)
         VALUES ('other::job', jsonb('{}'), 1, 'running', 1, datetime('now', 'subsec'), jsonb_array('bgtask:gone.1'))",
        "INSERT INTO river_job (kind, args, state, attempt, attempted_at, attempted_by)
         VALUES ('other::job', '{}', 'running', 1, now(), ARRAY['bgtask:gone.1'])",
    ));
    let dead = "SELECT count(*) FROM river_job WHERE state = 'discarded'";
    wait("it is dead at the first crash", || {
        process.run(pool.numbers(dead)) == [1]
    });
    let mut lock = process.run(pool.begin());
    process.run(lock.run(
        "SELECT 1",
        "LOCK TABLE bgtask_worker, river_job IN EXCLUSIVE MODE",
    ));
    let start = Instant::now();
    process
        .run(async { held(file(&scratch)).await })
        .expect_err("nothing can be written");
    // Without the setting it is 4 s for the lock.
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    process.run(lock.commit());
    process.end();
}

on_each_database! {
    the_limits_of_a_store_are_those_that_are_set,
    a_draining_process_claims_no_job,
    while_the_database_takes_no_writes_jobs_go_on_and_calls_fail_in_time,
    a_process_keeps_its_jobs_while_every_thread_of_its_runtime_is_blocked,
    a_process_that_starts_during_a_write_lock_takes_no_live_job,
    a_lock_on_a_job_of_a_dead_process_costs_no_live_one_its_jobs,
}
