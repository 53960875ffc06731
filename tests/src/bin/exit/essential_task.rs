//! A `main` and an `essential` task: which of the two ends first, and whether that is a failure. The first argument names the
//! runtime, the second the case.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::background;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;
use tokio::sync::mpsc;

#[background(essential)]
async fn consumes(mut lines: mpsc::Receiver<u8>) {
    while lines.recv().await.is_some() {}
}

/// The same on a thread of the blocking pool.
#[background(essential)]
fn consumes_blocking(lines: std_mpsc::Receiver<u8>) {
    while lines.recv().is_ok() {}
}

#[background(essential)]
async fn ends() {}

#[background(essential)]
fn ends_blocking() {}

/// Blocks this thread until the essential task is no longer counted as live.
fn wait_for_its_end() {
    while bgtask::stats().running > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Drops its sender, and stays in that drop until the task that reads from it has ended.
struct Slow<S>(Option<S>);

impl<S> Drop for Slow<S> {
    fn drop(&mut self) {
        self.0 = None;
        wait_for_its_end();
    }
}

async fn run() {
    match std::env::args().nth(2).as_deref() {
        // `main` owns the sender. The channel is empty when it returns, and the task is woken by the drop.
        Some("returns") => {
            let (line, lines) = mpsc::channel(1);
            consumes(lines);
            line.send(1).await.expect("the task reads");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Some("returns-blocking") => {
            let (line, lines) = std_mpsc::channel();
            consumes_blocking(lines);
            line.send(1).expect("the task reads");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // The task ends while the locals of `main` are dropped.
        Some("drops-slowly") => {
            let (line, lines) = mpsc::channel(1);
            let line = Slow(Some(line));
            consumes(lines);
            let sender = line.0.as_ref().expect("it is there until the drop");
            sender.send(1).await.expect("the task reads");
        }
        Some("drops-slowly-blocking") => {
            let (line, lines) = std_mpsc::channel();
            let line = Slow(Some(line));
            consumes_blocking(lines);
            let sender = line.0.as_ref().expect("it is there until the drop");
            sender.send(1).expect("the task reads");
            tokio::task::yield_now().await;
        }
        // The task ends while `main` is pending.
        Some("waits") => {
            ends();
            std::future::pending::<()>().await;
        }
        Some("waits-blocking") => {
            ends_blocking();
            std::future::pending::<()>().await;
        }
        // The task ends while `main` blocks its thread, and `main` is then pending.
        Some("blocks-and-waits") => {
            ends_while_this_blocks();
            println!("shutting down: {}", bgtask::is_shutting_down());
            std::future::pending::<()>().await;
        }
        // The same, and `main` returns.
        Some("blocks-and-returns") => {
            ends_while_this_blocks();
            println!("shutting down: {}", bgtask::is_shutting_down());
        }
        // The same, and `main` panics.
        Some("blocks-and-panics") => {
            ends_while_this_blocks();
            println!("shutting down: {}", bgtask::is_shutting_down());
            panic!("main's own panic");
        }
        // `main` has waited before.
        Some("waits-and-blocks-and-returns") => {
            tokio::task::yield_now().await;
            ends_while_this_blocks();
        }
        other => panic!("an unknown case: {other:?}"),
    }
}

/// Calls an essential task and blocks until it has ended on another thread. Needs several workers.
fn ends_while_this_blocks() {
    ends();
    wait_for_its_end();
}

mod multi_thread {
    #[bgtask::main(worker_threads = 2)]
    pub(super) async fn main() {
        super::run().await;
    }
}

mod current_thread {
    #[bgtask::main(flavor = "current_thread")]
    pub(super) async fn main() {
        super::run().await;
    }
}

fn main() -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("multi-thread") => multi_thread::main(),
        Some("current-thread") => current_thread::main(),
        other => panic!("an unknown runtime: {other:?}"),
    }
}
