//! How many no-op jobs are stored and run in a second, and how soon the outcome of one is known in another process.
//!
//! `cargo run --release -p bgtask-durable --features postgres --example rates -- postgres://user@host/database`

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use bgtask::durable::JobState;
use bgtask::{Manager, State, background};
use bgtask_durable::Jobs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Jobs are claimed once it is provided.
#[derive(Clone)]
struct Go;

#[background(durable)]
async fn nothing(State(_go): State<Go>, _number: u32) {}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the URL of a database");
    let role = arguments.next();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let opened = bgtask_durable::builder()
            .url(&url)
            .queue("default", 200)
            .open()
            .await;
        let jobs = opened.expect("it opens");
        match role.as_deref() {
            Some("work") => {
                bgtask::provide(Go);
                // Until it is killed.
                std::future::pending::<()>().await;
            }
            _ => measure(&jobs, &url).await,
        }
        manager.shutdown("all is measured").await;
    });
}

async fn measure(jobs: &Jobs, url: &str) {
    let count = 2_000;
    let begin = Instant::now();
    for number in 0..count {
        nothing(number).await.expect("it is stored");
    }
    rate("stored by 1 caller", count, begin.elapsed());

    let begin = Instant::now();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                for number in 0..count / 4 {
                    nothing(number).await.expect("it is stored");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("it stores");
    }
    rate("stored by 16 callers", count * 4, begin.elapsed());

    // The worker is another process: this one never claims.
    let mut worker = Command::new(std::env::current_exe().expect("this program"))
        .args([url, "work"])
        .stdout(Stdio::null())
        .spawn()
        .expect("a worker");
    while done(jobs).await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (begin, first) = (Instant::now(), done(jobs).await);
    while done(jobs).await < u64::from(count * 5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rate(
        "run, 200 at once",
        count * 5 - u32::try_from(first).expect("not more than stored"),
        begin.elapsed(),
    );

    let mut waits = Vec::new();
    for number in 0..300 {
        let begin = Instant::now();
        let job = nothing(number).await.expect("it is stored");
        job.outcome().await.expect("it runs");
        waits.push(begin.elapsed());
    }
    waits.sort();
    println!(
        "call -> outcome, run by another process: p50 {:.1?}, p99 {:.1?}",
        waits[150], waits[297]
    );
    worker.kill().expect("it runs");
    worker.wait().expect("it has ended");
}

async fn done(jobs: &Jobs) -> u64 {
    jobs.count(JobState::Done).await.expect("they are counted")
}

fn rate(what: &str, count: u32, elapsed: Duration) {
    let rate = f64::from(count) / elapsed.as_secs_f64();
    println!("{what}: {rate:.0}/s");
}
