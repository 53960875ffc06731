//! Shows: bgtask with actix-web. Each actix worker is a thread with its own tokio runtime, and none of these runtimes has a
//! manager. Calls from handlers use the manager of `#[bgtask::main]`, and the tasks run on its runtime.
//!
//!     cargo run -p example-actix
//!     curl localhost:3000/order/7
//!
//! The response arrives immediately, and the receipt is sent two seconds later. Press Ctrl-C before that: the server stops, and
//! the receipt is still sent.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use actix_web::{App, HttpServer, Responder, get, web};
use anyhow::Context;
use bgtask::{ShutdownToken, background};
use std::thread;
use std::time::Duration;

#[background]
async fn send_receipt(order: u32) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("sent receipt {order} on {:?}", thread::current().name());
}

#[get("/order/{order}")]
async fn take_order(order: web::Path<u32>) -> impl Responder {
    send_receipt(*order);
    format!("took order {order} on {:?}\n", thread::current().name())
}

#[get("/status")]
async fn status() -> impl Responder {
    format!("{:#?}\n", bgtask::stats())
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    let address = "127.0.0.1:3000";
    let server = HttpServer::new(|| App::new().service(take_order).service(status))
        .workers(2)
        // Replaces actix's own signal handling.
        .shutdown_signal(shutdown.cancelled_owned())
        // How many seconds actix waits for open connections. bgtask's grace period for the whole shutdown is 25 s.
        .shutdown_timeout(10)
        .bind(address)
        .with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{address}");
    server.run().await?;
    Ok(())
}
