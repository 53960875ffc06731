//! Shows: what happens after a panic or an `Err`. The process goes on, and bgtask reports both.
//!
//!     cargo run -p example-basics --bin panics
//!
//! You see each report when it happens: on stderr, because this program has no `tracing` subscriber. If the caller awaits the
//! handle, it gets the `Err` instead. A hook counts the panics.
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
    // A real program would increment a metric or alert somebody.
    bgtask::on_panic(|_task| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    });

    println!("-- If no caller awaits the handle, an Err is logged.");
    parse("twelve");
    bgtask::idle().await;

    println!("-- If the caller awaits the handle, it gets the Err.");
    match parse("thirteen").await? {
        Ok(number) => println!("got {number}"),
        Err(error) => println!("got: {error}"),
    }

    println!("-- A panic is always logged, and the caller gets an error.");
    match divide(1, 0).await {
        Ok(quotient) => println!("got {quotient}"),
        Err(TaskError::Panicked { message, .. }) => println!("got a panic: {message}"),
        Err(error) => return Err(error),
    }

    println!("-- The same applies to a plain function.");
    if let Err(error) = divide_blocking(1, 0).await {
        println!("got: {error}");
    }

    println!("-- The process goes on.");
    println!("7 / 2 = {}", divide(7, 2).await?);
    println!("{:#?}", bgtask::stats());
    println!("{} panics", PANICS.load(Ordering::Relaxed));
    Ok(())
}
