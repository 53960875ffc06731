//! What both versions of the program do: open the store, store a load when the file `go` is there, await it, and work until they
//! are told to stop. Knows nothing of the functions.

use bgtask::ShutdownToken;
use bgtask::durable::{Enqueue, EnqueueError};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, process};

/// How many of the jobs are stored at once, less than one process runs of all together.
const BATCH: u32 = 25;

fn folder() -> PathBuf {
    let folder = env::var_os("BGTASK_TEST_FOLDER");
    folder.expect("the folder of the test").into()
}

/// Writes a line to a file of the test.
pub(crate) fn append(file: &str, line: &str) {
    let path = folder().join(file);
    let file = OpenOptions::new().append(true).create(true).open(path);
    let line = format!("{line}\n");
    // In one write: lines of two processes do not mix.
    let written = file.expect("a file").write_all(line.as_bytes());
    written.expect("a line");
}

/// Runs a body: takes a little time, and writes which version it is of.
pub(crate) async fn body(function: &str, number: u32) -> u32 {
    tokio::time::sleep(Duration::from_millis(5)).await;
    append(
        "run",
        &format!("{function} {number} {}", env!("CARGO_BIN_NAME")),
    );
    number
}

/// Runs the program with the calls of one round of its load.
pub(crate) async fn run(shutdown: ShutdownToken, calls: impl Fn(u32) -> Vec<Enqueue<u32>>) {
    tracing_subscriber::fmt()
        .with_env_filter("bgtask=info,warn")
        .with_writer(std::io::stderr)
        .init();
    let url = env::var("BGTASK_TEST_URL").expect("the database of the test");
    let builder = bgtask_durable::builder().url(url);
    // However busy the machine is.
    let builder = builder
        .enqueue_limit(Duration::from_secs(60))
        .time_to_live(Duration::from_secs(60));
    builder.open().await.expect("the store opens");
    append("open", &process::id().to_string());
    while !folder().join("go").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rounds = env::var("BGTASK_TEST_LOAD").expect("the number of rounds");
    let rounds: u32 = rounds.parse().expect("a number");
    for first in (0..rounds).step_by(BATCH as usize) {
        let numbers = first..rounds.min(first + BATCH);
        let jobs = loop {
            match bgtask::durable::enqueue_all(numbers.clone().flat_map(&calls)).await {
                // Not stored.
                Err(EnqueueError::Busy) => {}
                jobs => break jobs.expect("they are stored"),
            }
        };
        let each = jobs.len() / numbers.len();
        let expected = numbers.flat_map(|number| std::iter::repeat_n(number, each));
        for (number, job) in expected.zip(jobs) {
            assert_eq!(job.outcome().await, Ok(number));
            append("ended", &number.to_string());
        }
    }
    append("through", env!("CARGO_BIN_NAME"));
    shutdown.cancelled().await;
}
