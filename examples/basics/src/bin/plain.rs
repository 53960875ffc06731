//! Shows: background work in a program without a server. The calls are ordinary calls, and the process waits for them after
//! `main` has returned.
//!
//!     cargo run -p example-basics --bin plain
//!
//! You see `main` take orders and return while receipts are still being sent; then the last receipt is sent. Press Ctrl-C in the
//! middle: `main` takes no more orders, and the receipts for the orders it took are still sent.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, background};
use std::time::Duration;
use tokio::time::sleep;

#[background]
async fn send_receipt(order: u32) {
    sleep(Duration::from_secs(1)).await;
    println!("sent receipt {order}");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    for order in 1..=5 {
        if shutdown
            .run_until_cancelled(sleep(Duration::from_millis(300)))
            .await
            .is_none()
        {
            println!("shutting down: no more orders");
            break;
        }
        println!("took order {order}");
        send_receipt(order);
    }

    // The handle is a future, for callers that need the outcome.
    let receipt = send_receipt(99);
    println!("waiting for {} with id {}", receipt.name(), receipt.id());
    match receipt.await {
        Ok(()) => println!("it has ended"),
        Err(error) => println!("it has failed: {error}"),
    }

    send_receipt(100);
    let left = bgtask::stats().running;
    println!("main returns; receipts still being sent: {left}");
}
