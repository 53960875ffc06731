//! When jobs start: at their time, and with clocks that differ no further off than they do.
//!
//! The processes with another clock are this binary again: the ignored test `program` is their `main`.

use crate::support::store;
use crate::support::store::{LIMIT, with_store};
use crate::support::transactions::Pool;
use crate::support::{Scratch, faketime, on_each_database};
use bgtask::background;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// When the bodies of each test have begun.
static BEGUN: Mutex<BTreeMap<String, Vec<Instant>>> = Mutex::new(BTreeMap::new());

fn begin(test: String) {
    let mut begun = BEGUN.lock().expect("no thread panics with it");
    begun.entry(test).or_default().push(Instant::now());
}

fn begun(test: &str) -> Vec<Instant> {
    let begun = BEGUN.lock().expect("no thread panics with it");
    begun.get(test).cloned().unwrap_or_default()
}

#[background(durable)]
async fn on_time(test: String) {
    begin(test);
}

const PAUSE: Duration = Duration::from_millis(300);

/// Checks that something was no earlier than it had to be. How much later depends on the machine, which only a long run has for
/// itself.
fn is_on_time(what: &str, scratch: &Scratch, due: Instant, begun: Instant) {
    assert!(begun >= due, "{what}: {:?} early", due - begun);
    let late = begun - due;
    #[expect(clippy::print_stdout, reason = "of a long run")]
    {
        println!("{what}, {}: {late:?} late", scratch.kind());
    }
    let is_long = std::env::var_os("BGTASK_ROUNDS").is_some();
    assert!(
        !is_long || late < Duration::from_secs(1),
        "{what}: {late:?}"
    );
}

/// Sentence 8.1.
fn a_job_starts_at_its_time(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let test = scratch.url().to_owned();
        // Until the process claims.
        let job = on_time(test.clone()).await.expect("it is stored");
        job.outcome().await.expect("it runs");

        let due = Instant::now() + PAUSE;
        let job = on_time(test.clone()).after(PAUSE).await;
        job.expect("it is stored").outcome().await.expect("it runs");
        is_on_time("after", &scratch, due, begun(&test)[1]);

        let due = Instant::now() + PAUSE;
        let job = on_time(test.clone()).at(SystemTime::now() + PAUSE).await;
        job.expect("it is stored").outcome().await.expect("it runs");
        is_on_time("at", &scratch, due, begun(&test)[2]);
    });
}

const FOLDER: &str = "BGTASK_TEST_FOLDER";

/// How long the machine runs, in seconds: a clock that all processes share, whatever theirs is.
fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("the clock");
    let seconds = text.split(' ').next().expect("the first number");
    seconds.parse().expect("a number")
}

fn write(folder: &str, file: &str) {
    let path = format!("{folder}/{file}");
    let new = format!("{path}.new");
    std::fs::write(&new, uptime().to_string()).expect("a file");
    std::fs::rename(new, path).expect("it is there at once");
}

#[background(durable)]
async fn skewed(folder: String) {
    write(&folder, "begun");
}

/// Is killed with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Stores one job that is due in `BGTASK_TEST_AFTER` seconds by the clock of this process, and works.
#[test]
#[ignore = "the test below starts it as a program of its own"]
fn program() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = std::env::var("BGTASK_TEST_URL").expect("the database of the test");
        let folder = std::env::var(FOLDER).expect("the folder of the test");
        let after = std::env::var("BGTASK_TEST_AFTER").expect("the time of the job");
        let _store = store::open(&url).await;
        let after = Duration::from_secs(after.parse().expect("a number"));
        write(&folder, "asked");
        let job = skewed(folder.clone()).after(after).await;
        job.expect("it is stored");
        write(&folder, "stored");
        // Until it is killed.
        std::future::pending::<()>().await;
    });
}

/// Sentence 8.1.
fn with_clocks_that_differ_a_job_is_no_further_off_than_they_are(scratch: Scratch) {
    let Some(library) = faketime() else {
        return;
    };
    // The clock of the database: of SQLite that of each process.
    with_store(&scratch, |_| async {
        for (offset, after, wait) in [("-5m", 302, 2), ("+5m", 2, 302)] {
            let name = format!(
                "bgtask-time-{}-{}{offset}",
                std::process::id(),
                scratch.kind()
            );
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            let program = Command::new(std::env::current_exe().expect("this binary"))
                .args(["--exact", "time::program", "--ignored", "--nocapture"])
                .env("LD_PRELOAD", &library)
                .env("FAKETIME", offset)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env(FOLDER, &folder)
                .env("BGTASK_TEST_URL", scratch.url())
                .env("BGTASK_TEST_AFTER", after.to_string())
                .stdout(Stdio::null())
                .spawn();
            let _program = Program(program.expect("a program"));
            let read = async |file: &str| {
                let begin = Instant::now();
                loop {
                    if let Ok(text) = std::fs::read_to_string(folder.join(file)) {
                        return text.parse::<f64>().expect("a number");
                    }
                    assert!(begin.elapsed() < LIMIT, "no {file}, {offset}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let asked = read("asked").await;
            read("stored").await;
            let pool = Pool::of(&scratch).await;
            let due = pool
                .numbers(if scratch.is_sqlite() {
                    "SELECT CAST(strftime('%s', scheduled_at) AS integer) - CAST(strftime('%s', 'now') AS integer)
                     FROM river_job ORDER BY id DESC LIMIT 1"
                } else {
                    "SELECT extract(epoch FROM scheduled_at - now())::bigint FROM river_job ORDER BY id DESC LIMIT 1"
                })
                .await[0];
            // As long from now as asked for, and the five minutes.
            let since = (uptime() - asked).ceil() as i64 + 1;
            assert!(
                (wait - since..=wait + 1).contains(&due),
                "{offset}: due in {due} s"
            );
            if wait < 10 {
                let begun = read("begun").await;
                // Its clock has hundredths of a second.
                let elapsed = begun - asked;
                assert!(elapsed >= wait as f64 - 0.02, "{offset}: after {elapsed} s");
            }
            std::fs::remove_dir_all(&folder).expect("it is there");
        }
    });
}

on_each_database! {
    a_job_starts_at_its_time,
    with_clocks_that_differ_a_job_is_no_further_off_than_they_are,
}
