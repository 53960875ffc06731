//! Shows: metrics of background work for Prometheus. With the feature `metrics`, bgtask records them with the recorder of the
//! `metrics` facade. This recorder is metrics-exporter-prometheus, and axum serves its metrics.
//!
//!     cargo run -p example-metrics
//!     curl -X POST localhost:3000/orders/7
//!     curl -s localhost:3000/metrics | grep bgtask
//!
//! Each order leads to calls that succeed, fail at first, panic, wait, or are refused. Other functions run on a schedule.
//! docs/metrics.md explains the names.
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

/// The upper bounds of the histograms, in seconds: most of these calls take a few milliseconds.
const BUCKETS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Every second attempt fails, on average.
#[background(name = "confirm", retry(max = 3, base = "10ms"))]
async fn confirm(order: u32) -> io::Result<()> {
    sleep(Duration::from_millis(5)).await;
    if fastrand::bool() {
        return Err(io::Error::other(format!(
            "the mail server is too busy for order {order}"
        )));
    }
    Ok(())
}

/// A plain function, because the printer blocks.
#[background(name = "print_label")]
fn print_label(_order: u32) {
    thread::sleep(Duration::from_millis(10));
}

#[background(name = "check_fraud")]
async fn check_fraud(order: u32) {
    assert!(!order.is_multiple_of(7), "order {order} cannot be checked");
}

/// Runs one call at a time. Only the latest call waits; it replaces the call that waited before.
#[background(
    name = "show_on_screen",
    concurrency(max = 1, queue = 1, overflow = "drop_oldest")
)]
async fn show_on_screen(_order: u32, _step: &'static str) {
    sleep(Duration::from_millis(20)).await;
}

#[background(name = "post_to_chat", rate(limit = "2/s", overflow = "refuse"))]
async fn post_to_chat(_order: u32, _step: &'static str) {}

#[background(name = "rebuild_index", coalesce(policy = "join"))]
async fn rebuild_index() {
    sleep(Duration::from_millis(50)).await;
}

/// Takes longer than its period, so ticks are missed.
#[background(name = "count_stock", every = "100ms", immediately)]
async fn count_stock() {
    sleep(Duration::from_millis(250)).await;
}

/// Loses its connection now and then, and is restarted.
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

/// The recorder needs this to keep its histograms small.
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
        post_to_chat(order, step);
        rebuild_index();
    }
    StatusCode::ACCEPTED
}

async fn scrape(Shared(recorder): Shared<PrometheusHandle>) -> String {
    recorder.render()
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    // Comes first, because nothing is recorded before it.
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
