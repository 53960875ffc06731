//! `GET /healthz`, as whoever watches a process asks for it. The program of this binary has no durable function.

mod support;

use bgtask::{ShutdownToken, background};
use bgtask_durable::{OpenError, Role, builder};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use support::http::{ANY_PORT, ask, get, until_status};
use support::store::Process;
use support::transactions::Pool;
use support::{Scratch, on_each_database};
use tokio::sync::Notify;

fn start(scratch: &Scratch, role: Role) -> Process {
    Process::start(
        builder()
            .url(scratch.url())
            .role(role)
            .time_to_live(Duration::from_secs(1))
            .health_addr(ANY_PORT),
    )
}

/// Sentence 14.10.
fn healthz_is_200_while_the_database_answers_and_503_with_the_reason_while_not(scratch: Scratch) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for role in [Role::Both, Role::Enqueue] {
        let process = start(&scratch, role);
        let addr = process.jobs.health_addr().expect("it is set");
        assert_eq!(get(addr, "/healthz"), (200, "ok\n".to_owned()));
        assert_eq!(get(addr, "/healthz?verbose").0, 200);
        assert_eq!(get(addr, "/readyz"), (200, "ok\n".to_owned()));
        let renames = [
            "ALTER TABLE bgtask_worker RENAME TO gone",
            "ALTER TABLE gone RENAME TO bgtask_worker",
        ];
        runtime.block_on(async {
            let pool = Pool::of(&scratch).await;
            pool.run(renames[0], renames[0]).await;
        });
        let reason = until_status(addr, 503);
        assert!(reason.contains("no sign of life for"), "{reason}");
        let (status, not_ready) = get(addr, "/readyz");
        assert_eq!(status, 503);
        assert!(not_ready.contains("no sign of life for"), "{not_ready}");
        runtime.block_on(async {
            let pool = Pool::of(&scratch).await;
            pool.run(renames[1], renames[1]).await;
        });
        until_status(addr, 200);
        process.end();
    }
}

#[background]
async fn lasts(_token: ShutdownToken, until: std::sync::Arc<Notify>) {
    until.notified().await;
}

/// Sentence 14.11.
fn healthz_is_200_during_the_drain_whatever_the_database_does(scratch: Scratch) {
    let process = start(&scratch, Role::Both);
    let addr = process.jobs.health_addr().expect("it is set");
    let is_over = std::sync::Arc::new(Notify::new());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rename = "ALTER TABLE bgtask_worker RENAME TO gone";
    runtime.block_on(async { Pool::of(&scratch).await.run(rename, rename).await });
    until_status(addr, 503);
    process.run(async {
        let _task = lasts(is_over.clone());
        bgtask::request_shutdown("the test is over");
    });
    assert_eq!(until_status(addr, 200), "ok, shutting down\n");
    let not_ready = (503, "shutting down\n".to_owned());
    assert_eq!(get(addr, "/readyz"), not_ready);
    is_over.notify_one();
    process.end();
}

/// Sentence 14.10.
fn another_request_is_answered_without_a_look_at_the_health(scratch: Scratch) {
    let process = start(&scratch, Role::Both);
    let addr = process.jobs.health_addr().expect("it is set");
    for path in ["/", "/health", "/healthz/", "//healthz"] {
        assert_eq!(get(addr, path).0, 404, "{path}");
    }
    for request in [
        "POST /healthz HTTP/1.1\r\n\r\n",
        "\r\n\r\n",
        "GET\r\n\r\n",
        "\0\u{fffd} \r\n\r\n",
    ] {
        let answer = ask(addr, request);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    let head = ask(addr, "HEAD /healthz HTTP/1.1\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(8 * 1024));
    let answer = ask(addr, &long);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // In pieces, and beside clients that send nothing.
    let _silent: Vec<_> = (0..8).map(|_| TcpStream::connect(addr)).collect();
    let mut slow = TcpStream::connect(addr).expect("it listens");
    for byte in b"GET /healthz HTTP/1.1\r\n\r\n" {
        slow.write_all(&[*byte]).expect("it reads");
        slow.flush().expect("it is sent");
    }
    let mut answer = String::new();
    slow.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    process.end();
}

fn refused(builder: bgtask_durable::Builder) -> OpenError {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _manager = bgtask::Manager::install().expect("the first of its runtime");
        builder.open().await.expect_err("it does not open")
    })
}

/// Sentence 14.12.
fn a_port_that_is_taken_is_an_error(scratch: Scratch) {
    let taken = TcpListener::bind(ANY_PORT).expect("a free port");
    let addr = taken.local_addr().expect("its address");
    let error = refused(builder().url(scratch.url()).health_addr(addr));
    assert!(
        matches!(
            error,
            OpenError::Health {
                name: "health_addr",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

/// Sentence 14.4.
fn a_worker_without_durable_functions_is_refused(scratch: Scratch) {
    let error = refused(builder().url(scratch.url()).role(Role::Work));
    assert!(matches!(error, OpenError::NothingToWork(_)), "{error}");
    assert!(error.to_string().contains("no durable function"), "{error}");
}

on_each_database! {
    another_request_is_answered_without_a_look_at_the_health,
    a_port_that_is_taken_is_an_error,
    a_worker_without_durable_functions_is_refused,
    healthz_is_200_while_the_database_answers_and_503_with_the_reason_while_not,
    healthz_is_200_during_the_drain_whatever_the_database_does,
}
