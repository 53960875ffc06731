//! What a lost or late reply of the database leaves: rows that a process has claimed and does not hold.

use crate::support::store::{LIMIT, Process};
use crate::support::transactions::Pool;
use crate::support::{Scratch, on_each_database};
use bgtask::{ShutdownToken, background};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// Longer than any of these tests: nothing is put back or rescued meanwhile.
const LONG: Duration = Duration::from_secs(300);

/// The claim of the one process, by a client that has not told it.
const CLAIM: [&str; 2] = [
    "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = datetime('now', 'subsec'),
        attempted_by = (SELECT jsonb_array(id || '.9') FROM bgtask_worker)",
    "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),
        attempted_by = (SELECT array_agg(id || '.9') FROM bgtask_worker)",
];

/// A job of a function that no process has, claimed as by `CLAIM`.
const CLAIMED: [&str; 2] = [
    "INSERT INTO river_job (kind, args, max_attempts, state, attempt, attempted_at, attempted_by)
        SELECT 'other::job', jsonb('{}'), 1, 'running', 1, datetime('now', 'subsec'), jsonb_array(id || '.9') FROM bgtask_worker",
    "INSERT INTO river_job (kind, args, max_attempts, state, attempt, attempted_at, attempted_by)
        SELECT 'other::job', '{}', 1, 'running', 1, now(), ARRAY[id || '.9'] FROM bgtask_worker",
];

const WORKERS: &str = "SELECT count(*) FROM bgtask_worker";

/// The jobs that wait, without an attempt or a crash.
const UNCOUNTED: [&str; 2] = [
    "SELECT id FROM river_job WHERE state = 'available' AND attempt = 0
        AND json_extract(metadata, '$.\"bgtask:crashes\"') IS NULL ORDER BY id",
    "SELECT id FROM river_job WHERE state = 'available' AND attempt = 0 AND NOT metadata ? 'bgtask:crashes' ORDER BY id",
];

fn process(scratch: &Scratch, time_to_live: Duration) -> (Process, Pool) {
    let builder = bgtask_durable::builder().url(scratch.url());
    let process = Process::start(builder.time_to_live(time_to_live));
    let pool = process.run(Pool::of(scratch));
    wait("it is registered", || {
        numbers(&process, &pool, WORKERS) == [1]
    });
    (process, pool)
}

fn numbers(process: &Process, pool: &Pool, query: &'static str) -> Vec<i64> {
    process.run(pool.numbers(query))
}

fn uncounted(scratch: &Scratch, process: &Process, pool: &Pool) -> Vec<i64> {
    numbers(process, pool, UNCOUNTED[usize::from(!scratch.is_sqlite())])
}

fn run(process: &Process, pool: &Pool, [sqlite, postgres]: [&'static str; 2]) {
    process.run(pool.run(sqlite, postgres));
}

fn wait(what: &str, mut is_it: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_it() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

static SQLITE: AtomicU32 = AtomicU32::new(0);
static POSTGRES: AtomicU32 = AtomicU32::new(0);

fn begun(is_sqlite: bool) -> &'static AtomicU32 {
    if is_sqlite { &SQLITE } else { &POSTGRES }
}

/// Runs on after its token has fired, until the file is there.
#[background(durable)]
async fn deaf(is_sqlite: bool, go: String, _token: ShutdownToken) {
    // Relaxed: the test polls it.
    begun(is_sqlite).fetch_add(1, Ordering::Relaxed);
    while !Path::new(&go).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sentence 3.6.
fn the_body_of_an_earlier_life_keeps_no_job_from_being_put_back(scratch: Scratch) {
    let is_sqlite = scratch.is_sqlite();
    let (process, pool) = process(&scratch, TIME_TO_LIVE);
    let go = std::env::temp_dir().join(format!("deaf-{}-{is_sqlite}", std::process::id()));
    let path = go.display().to_string();
    process.run(async { deaf(is_sqlite, path).await.expect("it is stored") });
    let begun = || begun(is_sqlite).load(Ordering::Relaxed);
    wait("it begins", || begun() == 1);
    // Another process finds this one dead. It notices with its next beat, and the body runs on.
    run(&process, &pool, ["DELETE FROM bgtask_worker"; 2]);
    wait("it has a new life", || {
        numbers(&process, &pool, WORKERS) == [1]
    });
    run(&process, &pool, CLAIM);
    wait("it is put back, and begins again", || begun() == 2);
    std::fs::write(&go, "").expect("a file");
    process.end();
    std::fs::remove_file(&go).expect("it is there");
}

/// Sentence 3.6.
fn after_a_failed_statement_a_claim_still_has_one_time_to_live(scratch: Scratch) {
    let (process, pool) = process(&scratch, TIME_TO_LIVE);
    run(&process, &pool, CLAIMED);
    run(
        &process,
        &pool,
        [
            "SELECT 1",
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'it is refused'; END $$",
        ],
    );
    // The first job can never be put back.
    run(
        &process,
        &pool,
        [
            "CREATE TRIGGER a_refusal BEFORE UPDATE ON river_job WHEN OLD.id = 1 AND NEW.state = 'available'
             BEGIN SELECT RAISE(ABORT, 'it is refused'); END",
            "CREATE TRIGGER a_refusal BEFORE UPDATE ON river_job FOR EACH ROW
             WHEN (OLD.id = 1 AND NEW.state = 'available') EXECUTE FUNCTION refuse()",
        ],
    );
    let mut claimed = Vec::new();
    let mut put_back = 0;
    while put_back < 10 {
        // Before the claim and after it was put back: it is not younger than measured.
        claimed.push(Instant::now());
        run(&process, &pool, CLAIMED);
        thread::sleep(TIME_TO_LIVE / 16);
        let found = uncounted(&scratch, &process, &pool);
        for id in &found[put_back..] {
            let index = usize::try_from(*id - 2).expect("a later job than the first");
            let age = claimed[index].elapsed();
            assert!(age >= TIME_TO_LIVE, "put back after {age:?}");
        }
        put_back = found.len();
    }
    process.end();
}

/// Sentence 5.3.
fn a_shutdown_returns_a_claim_whose_reply_was_lost(scratch: Scratch) {
    let (process, pool) = process(&scratch, LONG);
    run(&process, &pool, CLAIMED);
    process.run(process.manager.shutdown("the test is over"));
    assert_eq!(uncounted(&scratch, &process, &pool), [1]);
}

#[background(durable)]
async fn short(number: u32) -> u32 {
    number
}

/// Sentence 5.3.
fn a_shutdown_returns_what_is_claimed_while_it_ends(scratch: Scratch) {
    let (process, pool) = process(&scratch, LONG);
    process.run(async {
        let job = short(7).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(7));
    });
    let mut lock = process.run(pool.begin());
    process.run(lock.run("SELECT 1", "LOCK TABLE river_job IN EXCLUSIVE MODE"));
    process.run(lock.run(
        "INSERT INTO river_job (kind, args, max_attempts) SELECT kind, args, 10 FROM river_job",
        "INSERT INTO river_job (kind, args, max_attempts) SELECT kind, args, 10 FROM river_job",
    ));
    // Longer than the pause between two claims: now one waits for the lock.
    thread::sleep(Duration::from_millis(500));
    thread::scope(|scope| {
        let ends = scope.spawn(|| process.run(process.manager.shutdown("the test is over")));
        let begin = Instant::now();
        // It should not end before the claim. If it does, or if the lock keeps it from that, the claim comes now.
        while begin.elapsed() < Duration::from_secs(1) && numbers(&process, &pool, WORKERS) == [1] {
            thread::sleep(Duration::from_millis(10));
        }
        process.run(lock.commit());
        ends.join().expect("no panic");
    });
    assert_eq!(uncounted(&scratch, &process, &pool).len(), 1);
}

on_each_database! {
    the_body_of_an_earlier_life_keeps_no_job_from_being_put_back,
    after_a_failed_statement_a_claim_still_has_one_time_to_live,
    a_shutdown_returns_a_claim_whose_reply_was_lost,
    a_shutdown_returns_what_is_claimed_while_it_ends,
}
