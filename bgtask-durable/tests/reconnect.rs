//! Clients of event streams, while the process that serves them and the one that runs their jobs are killed with SIGKILL, in turn and
//! together: no client misses an end, and none is sent a state twice or an older one.
//!
//! The processes are this binary again: the ignored test `program` is their `main`. `BGTASK_ROUNDS` makes more rounds.
#![cfg(feature = "live")]

mod support;

use bgtask::durable::JobState;
use bgtask::{Job, background};
use bgtask_durable::{Role, notify};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::live::try_get;
use support::store::{LIMIT, Process};
use support::{Scratch, in_rounds, on_each_database};

const HOUR: Duration = Duration::from_secs(3600);

/// The clients of one round, each with a job of its own.
const CLIENTS: u32 = 12;

#[background(durable, retry(max = 1))]
async fn slow(job: Job, number: u32) -> u32 {
    for step in 1..=10 {
        job.progress(f64::from(step) / 10.0, format!("step {step}"));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    number
}

/// The `main` of the programs.
#[test]
#[ignore = "another test starts it as a program of its own"]
fn program() {
    #[bgtask::main]
    async fn main(shutdown: bgtask::ShutdownToken) {
        let jobs = bgtask_durable::open().await.expect("it opens");
        if jobs.role() == Role::Enqueue {
            let addr = std::env::var("BGTASK_TEST_ADDR").expect("the address of the test");
            let listener = tokio::net::TcpListener::bind(addr)
                .await
                .expect("the port is free");
            eprintln!("ready");
            axum::serve(listener, notify::router())
                .await
                .expect("it serves");
        } else {
            eprintln!("ready");
            shutdown.cancelled().await;
        }
    }
    if std::env::var_os("BGTASK_TEST_ADDR").is_some() {
        main();
    }
}

/// A process that is killed when it is dropped.
struct Program(Child);

impl Program {
    fn start(scratch: &Scratch, role: Role, addr: SocketAddr) -> Self {
        let mut program = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("BGTASK_DATABASE_URL", scratch.url())
            .env("BGTASK_ROLE", role.to_string())
            .env("BGTASK_TIME_TO_LIVE", "400ms")
            // Killed as often as there are rounds beside this one.
            .env("BGTASK_CRASH_LIMIT", "100000")
            .env("BGTASK_TEST_ADDR", addr.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program");
        let mut lines = BufReader::new(program.stderr.take().expect("it is piped")).lines();
        let is_ready = lines
            .by_ref()
            .any(|line| line.is_ok_and(|line| line == "ready"));
        assert!(is_ready, "it has ended");
        // What it logs must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one client has been sent.
#[derive(Debug, Default)]
struct Received {
    versions: Vec<u64>,
    connections: u32,
    state: String,
}

/// Reads to the end, and comes back with the version of the last event whenever the stream breaks.
async fn follow(addr: SocketAddr, path: String) -> Received {
    let mut received = Received::default();
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < LIMIT, "no end: {received:?}");
        let last = received.versions.last();
        let last = last.map(|version| format!("last-event-id: {version}"));
        let more: Vec<_> = last.iter().map(String::as_str).collect();
        if let Ok(mut events) = try_get(addr, &path, &more).await {
            assert_eq!(events.status, 200, "{received:?}");
            received.connections += 1;
            while let Some(event) = events.next().await {
                received.versions.push(event.id.expect("a version"));
                received.state = event.data["state"].as_str().expect("a text").to_owned();
                if ["done", "dead", "cancelled"].contains(&&*received.state) {
                    return received;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sentence 15.12.
fn no_event_is_lost_when_servers_and_workers_are_killed(scratch: Scratch) {
    let web = Process::start(
        bgtask_durable::builder()
            .url(scratch.url())
            .role(Role::Enqueue),
    );
    in_rounds(3, |number, _| round(&scratch, &web, number));
    web.end();
}

fn round(scratch: &Scratch, web: &Process, number: u32) {
    let addr = {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
        port.local_addr().expect("its address")
    };
    let mut server = Some(Program::start(scratch, Role::Enqueue, addr));
    let mut worker = Some(Program::start(scratch, Role::Work, addr));
    let (received, handles) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            web.run(async {
                let (mut clients, mut handles) = (Vec::new(), Vec::new());
                for client in 0..CLIENTS {
                    let job = slow(client).await.expect("it is stored");
                    let path = format!("/jobs/{}/events", job.ticket(HOUR).expect("a ticket"));
                    clients.push(tokio::spawn(follow(addr, path)));
                    handles.push(job);
                }
                let mut received = Vec::new();
                for client in clients {
                    received.push(client.await.expect("no panic"));
                }
                (received, handles)
            })
        });
        // At another moment of the jobs' lives in each round.
        std::thread::sleep(Duration::from_millis(u64::from(number * 97 % 700)));
        let (kills_server, kills_worker) = match number % 3 {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        if kills_worker {
            drop(worker.take());
        }
        if kills_server {
            drop(server.take());
            server = Some(Program::start(scratch, Role::Enqueue, addr));
        }
        if kills_worker {
            worker = Some(Program::start(scratch, Role::Work, addr));
        }
        clients.join().expect("no panic")
    });
    for (received, job) in received.iter().zip(&handles) {
        assert!(
            received.versions.is_sorted_by(|one, next| one < next),
            "{received:?}"
        );
        let status = web.run(job.status()).expect("it is there");
        assert_eq!((status.state, &*received.state), (JobState::Done, "done"));
        assert_eq!(received.versions.last(), Some(&status.version));
    }
    if std::env::var_os("BGTASK_ROUNDS").is_some() {
        let sum = |of: fn(&Received) -> usize| received.iter().map(of).sum::<usize>();
        #[expect(clippy::print_stdout, reason = "whoever runs the rounds is to know")]
        {
            println!(
                "round {number} on {}: {CLIENTS} clients, {} connections, {} events, 0 ends lost",
                scratch.kind(),
                sum(|client| client.connections as usize),
                sum(|client| client.versions.len())
            );
        }
    }
    drop((server, worker));
}

on_each_database! {
    no_event_is_lost_when_servers_and_workers_are_killed,
}
