//! A program that goes on after a signal. The argument selects how long.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};
use std::time::{Duration, Instant};

#[background]
async fn drains(token: ShutdownToken) {
    token.cancelled().await;
    println!("drained");
}

#[background(every = "1ms")]
async fn ticks() {}

async fn until_not_ready() {
    while bgtask::is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Far longer than the test.
mod long {
    use super::*;

    #[bgtask::main(pre_stop = "1h", grace = "2h")]
    pub(super) async fn serve(returns: bool, shutdown: ShutdownToken) {
        drains();
        println!("ready");
        until_not_ready().await;
        // Accepted, like the calls of the requests that still arrive.
        drains();
        let health = bgtask::health();
        println!(
            "live: {}, ready: {}, shutting down: {}, stops: {}",
            health.liveness,
            health.readiness,
            bgtask::is_shutting_down(),
            shutdown.is_cancelled()
        );
        if !returns {
            shutdown.cancelled().await;
        }
    }
}

mod short {
    use super::*;

    #[bgtask::main(pre_stop = "100ms")]
    pub(super) async fn serve(shutdown: ShutdownToken) {
        println!("ready");
        until_not_ready().await;
        let since = Instant::now();
        let is_early = !shutdown.is_cancelled();
        let runs = bgtask::schedules()[0].info().runs;
        shutdown.cancelled().await;
        // The wait began after the request. A wait that began late proves nothing.
        let waited = since.elapsed() >= Duration::from_millis(50);
        println!("waited: {}", !is_early || waited);
        println!(
            "ticks while it waited: {}",
            bgtask::schedules()[0].info().runs - runs
        );
    }
}

/// Takes no token, so it is dropped when the time is over.
mod without_a_token {
    use super::*;

    #[bgtask::main(pre_stop = "50ms")]
    pub(super) async fn serve() {
        println!("ready");
        until_not_ready().await;
        println!("not ready");
        std::future::pending::<()>().await;
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("stays") => long::serve(false),
        Some("returns") => long::serve(true),
        Some("elapses") => short::serve(),
        Some("no-token") => without_a_token::serve(),
        other => panic!("an unknown case: {other:?}"),
    }
}
