//! Shows: what becomes of a panic and of an `Err`. Neither ends the process, and neither goes unseen.
//!
//!     cargo run -p bgtask-examples --bin panics
//!
//! You see each reported the moment it happens, on stderr, since this program has no `tracing` subscriber. Who holds the
//! handle gets the error instead; a hook counts; the totals add up. It ends by itself.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{TaskError, background};
use std::num::ParseIntError;
use std::sync::atomic::{AtomicU32, Ordering};

#[background]
async fn parse(text: &'static str) -> Result<i32, ParseIntError> {
    text.parse()
}

#[background]
async fn divide(a: i32, b: i32) -> i32 {
    a / b
}

#[background]
fn divide_blocking(a: i32, b: i32) -> i32 {
    a / b
}

static PANICS: AtomicU32 = AtomicU32::new(0);

#[bgtask::main]
async fn main() -> Result<(), TaskError> {
    // Where a program would count up a metric, or page somebody.
    bgtask::on_panic(|_task| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    });

    println!("-- An Err that nobody waits for is logged.");
    parse("twelve");
    while bgtask::stats().running > 0 {
        tokio::task::yield_now().await;
    }

    println!("-- An Err that somebody waits for is theirs.");
    match parse("thirteen").await? {
        Ok(number) => println!("got {number}"),
        Err(error) => println!("got: {error}"),
    }

    println!("-- A panic is logged either way, and whoever waits is told.");
    match divide(1, 0).await {
        Ok(quotient) => println!("got {quotient}"),
        Err(TaskError::Panicked { message, .. }) => println!("got a panic: {message}"),
        Err(error) => return Err(error),
    }

    println!("-- In a plain function too.");
    if let Err(error) = divide_blocking(1, 0).await {
        println!("got: {error}");
    }

    println!("-- The process lives.");
    println!("7 / 2 = {}", divide(7, 2).await?);
    println!("{:#?}", bgtask::stats());
    println!("{} panics", PANICS.load(Ordering::Relaxed));
    Ok(())
}
