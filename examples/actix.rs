//! Shows: bgtask beside actix-web. Each of actix's workers is a thread with a tokio runtime of its own, and none of those has
//! a manager; the process has one, that of `#[bgtask::main]`, so calls from handlers find it, and the tasks run on its
//! runtime, not on the worker's.
//!
//!     cargo run -p bgtask-examples --bin actix
//!     curl localhost:3001/order/7
//!
//! The answer comes at once, the receipt two seconds later. Press Ctrl-C before that: the server stops, and the receipt
//! is still sent.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use actix_web::{App, HttpServer, Responder, get, web};
use anyhow::Context;
use bgtask::{ShutdownToken, background};
use std::thread;
use std::time::Duration;

#[background]
async fn send_receipt(order: u32) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("receipt {order} is sent, on {:?}", thread::current().name());
}

#[get("/order/{order}")]
async fn take_order(order: web::Path<u32>) -> impl Responder {
    send_receipt(*order);
    format!(
        "order {order} is taken, on {:?}\n",
        thread::current().name()
    )
}

#[get("/status")]
async fn status() -> impl Responder {
    format!("{:#?}\n", bgtask::stats())
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    let address = "127.0.0.1:3001";
    let server = HttpServer::new(|| App::new().service(take_order).service(status))
        .workers(2)
        // In place of actix's own signal handling: two of them would each do half of the work.
        .shutdown_signal(shutdown.cancelled_owned())
        // Idle connections are waited for so long; bgtask's grace period is 25 s for everything.
        .shutdown_timeout(10)
        .bind(address)
        .with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{address}");
    server.run().await?;
    Ok(())
}
