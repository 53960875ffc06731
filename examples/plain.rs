//! Shows: background work in a program that is no server. Calls look like calls, and the end of `main` waits for them.
//!
//!     cargo run -p bgtask-examples --bin plain
//!
//! You see `main` come to its end after the orders are taken, and the receipts that it left behind being sent after that.
//! Press Ctrl-C in the middle: no more orders are taken, and the receipts of those that were are still sent.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, background};
use std::time::Duration;
use tokio::time::sleep;

#[background]
async fn send_receipt(order: u32) {
    sleep(Duration::from_secs(1)).await;
    println!("receipt {order} is sent");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    for order in 1..=5 {
        if shutdown
            .run_until_cancelled(sleep(Duration::from_millis(300)))
            .await
            .is_none()
        {
            println!("told to stop: no more orders");
            break;
        }
        println!("order {order} is taken");
        send_receipt(order);
    }

    // A call is a future too, for those who want to know.
    let last = send_receipt(99);
    println!("the task {} has the id {}", last.name(), last.id());
    match last.await {
        Ok(()) => println!("and it has ended"),
        Err(error) => println!("and it came to nothing: {error}"),
    }

    send_receipt(100);
    let left = bgtask::stats().running;
    println!("main returns; receipts on their way: {left}");
}
