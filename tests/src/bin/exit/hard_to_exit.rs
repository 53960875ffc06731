//! Programs that are hard to exit, on a runtime with one thread. The argument selects one.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};
use std::future::pending;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

/// Every later write to stderr blocks for ever.
#[background(log = "off")]
fn holds_stderr() {
    let _held = std::io::stderr().lock();
    println!("held");
    loop {
        thread::park();
    }
}

#[background]
async fn hangs() {
    pending::<()>().await;
}

#[background]
async fn never_yields() {
    loop {
        thread::park();
    }
}

#[background]
async fn drains(token: ShutdownToken) {
    token.cancelled().await;
    println!("drained");
}

struct SlowToDrop;

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        // Longer than the time that the main thread has to exit after the grace period.
        thread::sleep(Duration::from_millis(1500));
        println!("dropped");
    }
}

struct Panicking;

impl tracing::Subscriber for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        panic!("a subscriber that panics");
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[bgtask::main(flavor = "current_thread", grace = "200ms", dump = "SIGUSR1")]
async fn main(shutdown: ShutdownToken) -> ExitCode {
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "holds-stderr" => {
            bgtask::set_grace(Duration::from_secs(3600));
            holds_stderr();
            shutdown.cancelled().await;
            println!("stopping");
            pending().await
        }
        "holds-stderr-and-returns" => {
            holds_stderr();
            while bgtask::tasks()[0].state != bgtask::TaskState::Running {
                tokio::task::yield_now().await;
            }
        }
        "never-yields-and-returns" => drop(never_yields()),
        "never-yields-and-panics" => {
            never_yields();
            panic!("main's own panic");
        }
        "never-ends" => {
            println!("ready");
            pending().await
        }
        "slow-to-leave" => {
            bgtask::set_grace(Duration::from_secs(60));
            let slow = SlowToDrop;
            tokio::spawn(async move {
                let _slow = slow;
                pending::<()>().await;
            });
            tokio::task::yield_now().await;
        }
        "subscriber-panics" => {
            tracing::subscriber::set_global_default(Panicking).expect("the only one");
            hangs();
        }
        "called-from-another-runtime" => {
            let other = thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime
                    .expect("a runtime")
                    .block_on(async { drop(drains()) });
            });
            other.join().expect("the call succeeds");
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::from(7)
}
