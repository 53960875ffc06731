//! A strict program whose `main` succeeds. The argument selects what else happens.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, State, background};
use std::future::pending;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

#[background]
async fn succeeds() {}

#[background]
async fn fails() -> Result<(), String> {
    Err("its own error".to_owned())
}

#[background]
async fn panics() {
    panic!("its own panic");
}

#[background(timeout = "1ms")]
async fn times_out() {
    pending::<()>().await;
}

/// Fails at the first attempts, as often as `times`.
#[background(retry(max = 3, base = "1ms"))]
async fn fails_at_first(times: u32, so_far: &'static AtomicU32) -> Result<(), String> {
    if so_far.fetch_add(1, Ordering::Relaxed) < times {
        Err("not yet".to_owned())
    } else {
        Ok(())
    }
}

#[background]
async fn hangs() {
    pending::<()>().await;
}

#[background]
fn hangs_blocking() {
    println!("blocks");
    loop {
        std::thread::park();
    }
}

#[background]
async fn takes_a_state(State(_number): State<u64>) {}

#[background(concurrency(max = 1, queue = 0))]
async fn one_at_once(token: ShutdownToken) {
    token.cancelled().await;
}

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Fails as often as the second argument says.
#[background(on_start, restart(max = 2, base = "1ms"))]
async fn restarts() -> Result<(), String> {
    let times = std::env::args().nth(2).and_then(|times| times.parse().ok());
    if RUNS.fetch_add(1, Ordering::Relaxed) < times.unwrap_or(0) {
        Err("its own error".to_owned())
    } else {
        Ok(())
    }
}

#[bgtask::main(strict, grace = "200ms")]
async fn main() -> ExitCode {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    match std::env::args().nth(1).as_deref() {
        Some("succeeds") => drop(succeeds()),
        Some("fails") => drop(fails()),
        Some("panics") => drop(panics()),
        Some("times-out") => drop(times_out()),
        Some("reads-failures") => {
            let _error = fails().await;
            let _panic = panics().await;
            let _timeout = times_out().await;
        }
        Some("retries") => {
            drop(fails_at_first(2, &ATTEMPTS));
            // A shutdown would let it begin no further attempt.
            while bgtask::stats().succeeded == 0 {
                tokio::task::yield_now().await;
            }
        }
        Some("fails-at-last") => drop(fails_at_first(3, &ATTEMPTS)),
        Some("hangs") => drop(hangs()),
        Some("hangs-blocking") => {
            hangs_blocking();
            while bgtask::tasks()[0].state != bgtask::TaskState::Running {
                tokio::task::yield_now().await;
            }
        }
        Some("lacks-a-state") => drop(takes_a_state()),
        Some("is-refused") => {
            one_at_once();
            one_at_once();
        }
        Some("restarts") => {
            let times: u32 = std::env::args()
                .nth(2)
                .and_then(|times| times.parse().ok())
                .expect("a number");
            while RUNS.load(Ordering::Relaxed) < (times + 1).min(3) || bgtask::stats().running > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
        Some("own-code") => {
            drop(fails());
            return ExitCode::from(7);
        }
        other => panic!("an unknown case: {other:?}"),
    }
    ExitCode::SUCCESS
}
