//! A program that prints a snapshot on SIGUSR1: one task runs, one waits for it, a third starts with the program, and a fourth is
//! due in an hour. It ignores the first signal to stop.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};
use std::future::pending;

#[background(concurrency = 1)]
async fn resize(image: u32) {
    pending::<()>().await;
    println!("resized {image}");
}

#[background(on_start)]
async fn consume() {
    pending::<()>().await;
}

#[background(every = "1h")]
async fn purge() {}

#[bgtask::main(dump = "SIGUSR1")]
async fn main(shutdown: ShutdownToken) {
    resize(1);
    resize(2);
    tokio::task::yield_now().await;
    let is_up = || {
        let tasks = bgtask::tasks();
        let started = tasks
            .iter()
            .filter(|task| task.state == bgtask::TaskState::Running);
        started.count() == 2
    };
    while !is_up() {
        tokio::task::yield_now().await;
    }
    println!("ready");
    shutdown.cancelled().await;
    println!("stopping");
    pending::<()>().await;
}
