//! Shows: what becomes of background work, for Prometheus. The feature `metrics` tells the recorder of the `metrics` facade;
//! this one is metrics-exporter-prometheus, and axum serves what it shows.
//!
//!     cargo run -p bgtask-examples --bin metrics
//!     curl -X POST localhost:3000/orders/7
//!     curl -s localhost:3000/metrics | grep bgtask
//!
//! Each order is followed by a few calls, which succeed, fail at first, panic, wait in a line or are refused; and some functions
//! run by themselves. The names are explained in docs/metrics.md. Press Ctrl-C: the last scrape can be made while it drains.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use bgtask::{ShutdownToken, State, background};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io;
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Where the seconds are cut: most of these calls take a few milliseconds.
const BUCKETS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Every other mail server is busy when it is first asked.
#[background(name = "confirm", retry(max = 3, base = "10ms"))]
async fn confirm(order: u32) -> io::Result<()> {
    sleep(Duration::from_millis(5)).await;
    match fastrand::bool() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "the mail server is busy with order {order}"
        ))),
    }
}

/// A plain function: the printer is not asynchronous.
#[background(name = "print_label")]
fn print_label(_order: u32) {
    thread::sleep(Duration::from_millis(10));
}

#[background(name = "check_fraud")]
async fn check_fraud(order: u32) {
    assert!(!order.is_multiple_of(7), "order {order} cannot be checked");
}

/// One at a time, and of those that wait only the latest is of interest.
#[background(
    name = "show_on_screen",
    concurrency(max = 1, queue = 1, overflow = "drop_oldest")
)]
async fn show_on_screen(_order: u32, _step: &'static str) {
    sleep(Duration::from_millis(20)).await;
}

#[background(name = "tell_chat", rate(limit = "2/s", overflow = "refuse"))]
async fn tell_chat(_order: u32, _step: &'static str) {}

#[background(name = "rebuild_index", coalesce(policy = "join"))]
async fn rebuild_index() {
    sleep(Duration::from_millis(50)).await;
}

/// Takes longer than its period.
#[background(name = "count_stock", every = "100ms", immediately)]
async fn count_stock() {
    sleep(Duration::from_millis(250)).await;
}

/// Loses its connection every now and then, and is started again.
#[background(
    name = "follow_prices",
    on_start,
    log = "off",
    restart(max = 1000, base = "100ms", cap = "1s")
)]
async fn follow_prices(token: ShutdownToken) -> io::Result<()> {
    let connection = sleep(Duration::from_millis(200));
    match token.run_until_cancelled(connection).await {
        Some(()) => Err(io::ErrorKind::ConnectionReset.into()),
        None => Ok(()),
    }
}

/// What the recorder keeps for its histograms has to be looked after.
#[background(name = "upkeep", every = "5s")]
async fn upkeep(State(recorder): State<PrometheusHandle>) {
    recorder.run_upkeep();
}

async fn take_order(Path(order): Path<u32>) -> StatusCode {
    confirm(order);
    print_label(order);
    check_fraud(order);
    for step in ["taken", "checked", "packed"] {
        show_on_screen(order, step);
        tell_chat(order, step);
        rebuild_index();
    }
    StatusCode::ACCEPTED
}

async fn scrape(Shared(recorder): Shared<PrometheusHandle>) -> String {
    recorder.render()
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    // First of all: what happens before it is there is not recorded.
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)?
        .install_recorder()?;
    bgtask::provide(recorder.clone());

    let app = Router::new()
        .route("/orders/{order}", post(take_order))
        .route("/metrics", get(scrape))
        .with_state(recorder);
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}
