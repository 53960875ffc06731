//! What a look at a process shows of its jobs: a snapshot names the job, the queue and the attempt of each task that runs one.
//!
//! The program that gets a signal is this binary again: the ignored test `program` is its `main`.

mod support;

use bgtask::{Job, background};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use support::store::with_store;
use support::{Scratch, on_each_database};

/// Fails once. The second attempt returns what a snapshot that it takes itself, with its first instruction, says of it.
#[background(durable(queue = "mail"), retry(max = 3, base = "10ms"))]
async fn looks_at_itself(job: Job) -> Result<String, String> {
    let snapshot = bgtask::snapshot();
    let table = snapshot.to_string();
    let found: Vec<_> = snapshot
        .tasks
        .into_iter()
        .chain(bgtask::tasks())
        .filter_map(|task| Some((task.attempt, task.job?)))
        .map(|(attempt, info)| {
            assert_eq!(attempt, info.attempt);
            (info.id, info.queue, info.attempt, info.max_attempts)
        })
        .collect();
    let own = (job.id(), "mail".to_owned(), job.attempt(), 3);
    if found != [own.clone(), own] {
        return Ok(format!("{found:?}"));
    }
    if job.attempt() == 1 {
        return Err("the first attempt".to_owned());
    }
    Ok(table)
}

/// Returns the cells of the only line of a snapshot's table with this function, by the heads of their columns.
fn cells<'a>(table: &'a str, function: &str) -> Vec<(&'a str, &'a str)> {
    let head = table
        .lines()
        .find(|line| line.trim_start().starts_with("state"));
    let head = head.unwrap_or_else(|| panic!("{table}"));
    let row = table
        .lines()
        .find(|line| line.contains(function) && line.contains("running"));
    let row = row.unwrap_or_else(|| panic!("{table}"));
    let split = |line: &'a str| {
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
    };
    split(head).into_iter().zip(split(row)).collect()
}

fn a_snapshot_names_the_job_its_queue_and_its_attempt(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = looks_at_itself().await.expect("it is stored");
        let table = job.outcome().await.expect("it succeeds");
        let id = job.id().to_string();
        let cells = cells(&table, "looks_at_itself");
        for cell in [("attempt", "2"), ("job", &*id), ("queue", "mail")] {
            assert!(cells.contains(&cell), "{cell:?}: {table}");
        }
        // The jobs of tasks that have ended are not shown.
        let snapshot = bgtask::snapshot();
        assert!(snapshot.tasks.iter().all(|task| task.job.is_none()));
    });
}

/// Says that it has begun, and ends with its process.
#[background(durable(queue = "mail"))]
async fn waits_for_ever(job: Job) {
    eprintln!("begun {}", job.id());
    std::future::pending().await
}

/// The `main` of the program.
#[test]
#[ignore = "another test starts it as a program of its own"]
fn program() {
    #[bgtask::main(dump = "SIGUSR1")]
    async fn main(shutdown: bgtask::ShutdownToken) {
        let url = std::env::var("BGTASK_TEST_URL").expect("the database of the test");
        bgtask_durable::open_at(url).await.expect("it opens");
        waits_for_ever().await.expect("it is stored");
        shutdown.cancelled().await;
    }
    if std::env::var_os("BGTASK_TEST_URL").is_some() {
        main();
    }
}

fn the_dump_on_a_signal_names_the_job_and_its_queue(scratch: Scratch) {
    let mut program = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env("BGTASK_TEST_URL", scratch.url())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program");
    let pid = Pid::from_raw(i32::try_from(program.id()).expect("an id"));
    let mut lines = BufReader::new(program.stderr.take().expect("it is piped")).lines();
    let mut until = |ends: &dyn Fn(&str) -> bool| {
        let mut text = String::new();
        for line in &mut lines {
            let line = line.expect("a line");
            text = text + &line + "\n";
            if ends(&line) {
                return text;
            }
        }
        panic!("the program has ended: {text}");
    };
    let begun = until(&|line| line.starts_with("begun"));
    let id = begun.trim().rsplit(' ').next().expect("an id").to_owned();
    kill(pid, Signal::SIGUSR1).expect("the signal is sent");
    let table = until(&|line| line.contains("waits_for_ever") && line.contains("running"));
    kill(pid, Signal::SIGKILL).expect("the signal is sent");
    program.wait().expect("it ends");
    let cells = cells(&table, "waits_for_ever");
    for cell in [("attempt", "1"), ("job", &*id), ("queue", "mail")] {
        assert!(cells.contains(&cell), "{cell:?}: {table}");
    }
}

on_each_database! {
    a_snapshot_names_the_job_its_queue_and_its_attempt,
    the_dump_on_a_signal_names_the_job_and_its_queue,
}
