//! Measures the live routes: the time from the commit of an end to the event at a client, the memory and the statements of 10,000
//! open streams, and 2,000 clients that come back at once. Measured by `.ci/long`, and only there; the limits are those of an idle
//! machine with two cores.
//!
//! The server is this binary again: the ignored test `program` is its `main`.
#![cfg(all(feature = "live", feature = "sqlite", feature = "postgres"))]
#![expect(clippy::print_stdout, reason = "the figures are for those who run it")]

mod support;

use bgtask::durable::{JobHandle, JobId, JobState};
use bgtask::{Job, State, background};
use bgtask_durable::{Role, notify, sqlx};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};
use support::Scratch;
use support::live;
use support::live::{Answer, get, try_get};
use support::store::{LIMIT, Process, until};

const HOUR: Duration = Duration::from_secs(3600);

/// A pool of the program's on either database.
#[derive(Clone)]
enum Pool {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

/// When the transaction that ended a job was committed.
static COMMITTED: LazyLock<Mutex<HashMap<JobId, Instant>>> = LazyLock::new(Mutex::default);

/// Ends in a transaction of its own, so that the moment is known.
#[background(durable)]
async fn ends(job: Job, State(pool): State<Pool>) -> u32 {
    match pool {
        Pool::Sqlite(pool) => {
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.expect("it begins");
            job.complete_in(&mut transaction, &7_u32)
                .await
                .expect("it holds the job");
            transaction.commit().await.expect("it commits");
        }
        Pool::Postgres(pool) => {
            let mut transaction = pool.begin().await.expect("it begins");
            job.complete_in(&mut transaction, &7_u32)
                .await
                .expect("it holds the job");
            transaction.commit().await.expect("it commits");
        }
    }
    COMMITTED
        .lock()
        .expect("no panic")
        .insert(job.id(), Instant::now());
    7
}

#[background(durable)]
async fn progresses(job: Job) {
    for step in 0.. {
        job.progress(f64::from(step % 100) / 100.0, format!("step {step}"));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn pool(scratch: &Scratch) -> Pool {
    if scratch.is_sqlite() {
        Pool::Sqlite(
            sqlx::SqlitePool::connect(scratch.url())
                .await
                .expect("it opens"),
        )
    } else {
        Pool::Postgres(
            sqlx::PgPool::connect(scratch.url())
                .await
                .expect("it opens"),
        )
    }
}

fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[index].as_secs_f64() * 1000.0
}

/// Returns p50 and p99 in milliseconds, of ends one after the other.
fn latency(scratch: &Scratch, of_other_process: bool, rounds: usize) -> (f64, f64) {
    let worker = Process::start(bgtask_durable::builder().url(scratch.url()));
    worker.run(async { bgtask::provide(pool(scratch).await) });
    let web = of_other_process.then(|| {
        Process::start(
            bgtask_durable::builder()
                .url(scratch.url())
                .role(Role::Enqueue),
        )
    });
    let web = web.as_ref().unwrap_or(&worker);
    let mut times = web.run(async {
        let addr = live::serve(notify::router()).await;
        let mut times = Vec::new();
        for _ in 0..rounds {
            let job = ends()
                .after(Duration::from_millis(fastrand::u64(20..60)))
                .await
                .expect("it is stored");
            let path = format!("/jobs/{}/events", job.ticket(HOUR).expect("a ticket"));
            let mut events = get(addr, &path, &[]).await;
            while let Some(event) = events.next().await {
                if event.data["state"] == "done" {
                    let received = Instant::now();
                    let committed = loop {
                        if let Some(at) = COMMITTED.lock().expect("no panic").remove(&job.id()) {
                            break at;
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    };
                    times.push(received.saturating_duration_since(committed));
                }
            }
        }
        times
    });
    assert_eq!(times.len(), rounds, "an end is missing");
    times.sort();
    if of_other_process {
        worker.end();
    }
    (percentile(&times, 0.5), percentile(&times, 0.99))
}

#[test]
#[ignore = "it measures: `.ci/long` runs it"]
fn an_end_is_at_a_client_soon() {
    let rounds = 300;
    let mut late = Vec::new();
    let mut measure = |name: &str, scratch: &Scratch, of_other_process, limit: f64| {
        let (p50, p99) = latency(scratch, of_other_process, rounds);
        println!(
            "commit of an end to the event at a client, {name}: p50 {p50:.1} ms, p99 {p99:.1} ms ({rounds} ends)"
        );
        if p99 > limit {
            late.push(format!("{name}: {p99:.1} ms, more than {limit} ms"));
        }
    };
    measure("SQLite, same process", &Scratch::sqlite(), false, 10.0);
    measure("SQLite, another process", &Scratch::sqlite(), true, 30.0);
    if let Some(scratch) = Scratch::postgres() {
        measure("Postgres, another process", &scratch, true, 30.0);
    }
    if let Some(scratch) = Scratch::postgres() {
        measure("Postgres, same process", &scratch, false, 30.0);
    }
    assert!(late.is_empty(), "{late:#?}");
}

/// The `main` of the server.
#[test]
#[ignore = "another test starts it as a program of its own"]
fn program() {
    #[bgtask::main]
    async fn main() {
        bgtask_durable::open().await.expect("it opens");
        let addr = std::env::var("BGTASK_TEST_ADDR").expect("the address of the test");
        let listener = tokio::net::TcpListener::bind(addr)
            .await
            .expect("the port is free");
        let routes = notify::builder().connections_per_ticket(20_000).router();
        eprintln!("ready");
        axum::serve(listener, routes).await.expect("it serves");
    }
    if std::env::var_os("BGTASK_TEST_ADDR").is_some() {
        main();
    }
}

struct Server(Child);

impl Server {
    fn start(scratch: &Scratch, addr: SocketAddr) -> Self {
        let mut program = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("BGTASK_DATABASE_URL", scratch.url())
            .env("BGTASK_ROLE", "enqueue")
            .env("BGTASK_TEST_ADDR", addr.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program");
        let mut lines = BufReader::new(program.stderr.take().expect("it is piped")).lines();
        assert!(
            lines
                .by_ref()
                .any(|line| line.is_ok_and(|line| line == "ready")),
            "it has ended"
        );
        std::thread::spawn(move || lines.for_each(drop));
        Self(program)
    }

    /// Returns its memory in KiB, and that of the kernel for its sockets is not in it.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("Linux");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("it is there");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

/// Returns the number of transactions of this database by now. Postgres counts them at most every second.
async fn transactions(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()",
    )
    .fetch_one(pool)
    .await
    .expect("it is read")
}

/// Opens streams, 200 at a time, and reads the first event of each.
async fn open(addr: SocketAddr, paths: &[String], count: usize) -> Vec<Answer> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let batch = (open.len()..count.min(open.len() + 200)).map(|number| {
            let path = paths[number % paths.len()].clone();
            tokio::spawn(async move {
                let mut events = get(addr, &path, &[]).await;
                assert_eq!(events.status, 200);
                events.next().await.expect("the present state");
                events
            })
        });
        for stream in batch.collect::<Vec<_>>() {
            open.push(stream.await.expect("no panic"));
        }
    }
    open
}

fn tickets(web: &Process, jobs: &[JobHandle<()>]) -> Vec<String> {
    let path =
        |job: &JobHandle<()>| format!("/jobs/{}/events", job.ticket(HOUR).expect("a ticket"));
    let _ = web;
    jobs.iter().map(path).collect()
}

#[test]
#[ignore = "it measures: `.ci/long` runs it"]
fn ten_thousand_streams_are_small_and_read_once() {
    const STREAMS: usize = 10_000;
    const WINDOW: Duration = Duration::from_secs(10);
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    let builder = bgtask_durable::builder().url(scratch.url()).queue("*", 200);
    let worker = Process::start(builder);
    worker.run(async {
        let Pool::Postgres(pool) = pool(&scratch).await else {
            unreachable!("it is Postgres");
        };
        let mut jobs = vec![progresses().await.expect("it is stored")];
        until(&jobs[0], |status| status.progress.is_some()).await;
        let one = tickets(&worker, &jobs);
        let mut counts = Vec::new();
        let mut each_of_one = 0.0;
        for streams in [0, 1, STREAMS] {
            let addr = free_addr();
            let server = Server::start(&scratch, addr);
            drop(open(addr, &one, 1).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = server.memory();
            let open = open(addr, &one, streams).await;
            let after = server.memory();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let first = transactions(&pool).await;
            tokio::time::sleep(WINDOW).await;
            let count = transactions(&pool).await - first;
            counts.push(count);
            println!("{streams} streams of one job: {count} transactions of all processes in 10 s");
            if streams == STREAMS {
                let each = (after - before) as f64 / STREAMS as f64;
                println!("{STREAMS} streams: {each:.1} KiB each ({before} to {after} KiB)");
                each_of_one = each;
            }
            drop(open);
        }
        assert!(
            counts[2] <= counts[1] + counts[1] / 5,
            "more streams, more statements: {counts:?}"
        );
        // The same of many jobs.
        for _ in 1..100 {
            jobs.push(progresses().await.expect("it is stored"));
        }
        until(jobs.last().expect("one"), |status| {
            status.state == JobState::Running
        })
        .await;
        let all = tickets(&worker, &jobs);
        let addr = free_addr();
        let server = Server::start(&scratch, addr);
        let before = server.memory();
        let open = open(addr, &all, STREAMS).await;
        let each = (server.memory() - before) as f64 / STREAMS as f64;
        println!("{STREAMS} streams of 100 jobs with progress: {each:.1} KiB each");
        assert!(
            each_of_one <= 20.0 && each <= 20.0,
            "{each_of_one} and {each} KiB"
        );
        drop(open);
        for job in &jobs {
            job.cancel().await.expect("it runs");
        }
    });
}

#[test]
#[ignore = "it measures: `.ci/long` runs it"]
fn two_thousand_clients_come_back_at_once() {
    const CLIENTS: usize = 2_000;
    for scratch in [Some(Scratch::sqlite()), Scratch::postgres()]
        .into_iter()
        .flatten()
    {
        let web = Process::start(
            bgtask_durable::builder()
                .url(scratch.url())
                .role(Role::Enqueue),
        );
        web.run(async {
            let mut paths = Vec::new();
            for _ in 0..CLIENTS {
                let job = progresses().after(HOUR).await.expect("it is stored");
                paths.push(format!(
                    "/jobs/{}/events",
                    job.ticket(HOUR).expect("a ticket")
                ));
            }
            let addr = free_addr();
            let server = Server::start(&scratch, addr);
            let streams = open(addr, &paths, CLIENTS).await;
            drop(server);
            // Each has noticed that its stream is broken, and tries from now on, with nothing in between.
            drop(streams);
            let clients: Vec<_> = paths
                .into_iter()
                .map(|path| {
                    tokio::spawn(async move {
                        let begin = Instant::now();
                        let mut failures = 0_u32;
                        loop {
                            assert!(begin.elapsed() < LIMIT, "{failures} failures");
                            if let Ok(mut events) = try_get(addr, &path, &[]).await {
                                assert_eq!(events.status, 200);
                                if events.next().await.is_some() {
                                    return events;
                                }
                            }
                            failures += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    })
                })
                .collect();
            let server = Server::start(&scratch, addr);
            let begin = Instant::now();
            let mut back = Vec::new();
            for client in clients {
                back.push(client.await.expect("it is sent its state"));
            }
            println!(
                "{} of {CLIENTS} clients are back after {:.1} s on {}",
                back.len(),
                begin.elapsed().as_secs_f64(),
                scratch.kind()
            );
            drop(server);
        });
        web.end();
    }
}
