//! Shows: the dashboard of a web service with background work of all kinds, some of which fails. The dashboard has its own
//! listener. The service also serves it at one of its own paths, until the server stops.
//!
//!     cargo run -p example-dashboard
//!
//! Open the first address it prints. `/import/NAME` at the second one starts a task that runs for a minute and appears at once.
//! Press Ctrl-C, and the page shows the drain. You can pass other addresses: first the page's, then the service's.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bgtask::{ShutdownToken, background};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// Returns true once in `n` calls: like chance, but the same in each run.
fn once_in(n: u64) -> bool {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(n)
}

/// Has more calls than may run at once, so some wait. Some fail and are retried.
#[background(
    timeout = "2s",
    retry(max = 4, base = "300ms", jitter),
    concurrency = 4
)]
async fn deliver_webhook(url: String) -> Result<()> {
    sleep(Duration::from_millis(700)).await;
    if once_in(5) {
        return Err(Error::other(format!("POST {url}: 503 Service Unavailable")));
    }
    Ok(())
}

/// Waits for seconds between its attempts, so that the page shows which one comes next, and when.
#[background(retry(max = 3, base = "4s"), log = "off")]
async fn sync_warehouse(number: u64) -> Result<()> {
    match number % 3 {
        0 => Ok(()),
        _ => Err(Error::other(format!("warehouse {number} is closed"))),
    }
}

/// Has many calls with the same key, which share runs.
#[background(coalesce(key = _page, policy = "trailing"))]
async fn refresh_cache(_page: String) {
    sleep(Duration::from_millis(400)).await;
}

/// Fails with markup in its message; the page shows it as text.
#[background]
async fn render_page(page: u64) -> Result<()> {
    sleep(Duration::from_millis(30)).await;
    match page % 9 {
        0 => Err(Error::other(format!(
            "page {page}: line 12 is not a template: <img src=x onerror=alert(1)>"
        ))),
        _ => Ok(()),
    }
}

/// A plain function may block. A call that finds the wait queue full is refused.
#[background(concurrency(max = 2, queue = 4), log = "off")]
fn resize_image(number: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(900));
    assert!(number % 11 != 3, "image {number} has no pixels");
    number
}

#[background(timeout = "1s")]
async fn ask_slow_service() {
    sleep(Duration::from_secs(if once_in(3) { 5 } else { 0 })).await;
}

/// Runs long enough to be seen on the page.
#[background]
async fn import(token: ShutdownToken, _name: String) {
    token
        .run_until_cancelled(sleep(Duration::from_secs(60)))
        .await;
}

#[background(every = "7s", immediately)]
async fn purge_expired() {
    sleep(Duration::from_millis(1500)).await;
}

#[background(every = "1h", jitter = "5m", on_shutdown = "finish")]
async fn write_statistics() {}

/// Runs as long as the process.
#[background(on_start, restart(max = 5, window = "1m"))]
async fn consume_events(token: ShutdownToken) {
    token.cancelled().await;
    // Simulates cleanup that takes long enough to be seen on the page.
    sleep(Duration::from_secs(4)).await;
}

/// Makes the calls that requests to a real service would make.
async fn make_calls() {
    for number in 0_u64.. {
        // Busy periods alternate with quiet ones.
        let is_busy = (number / 40).is_multiple_of(3);
        render_page(number);
        if is_busy || number.is_multiple_of(2) {
            deliver_webhook(format!("https://example.org/hooks/{number}"));
        }
        if number.is_multiple_of(if is_busy { 2 } else { 4 }) {
            resize_image(number);
        }
        if number.is_multiple_of(3) {
            for page in [number % 4, number % 4, number % 2] {
                refresh_cache(format!("/page/{page}"));
            }
        }
        if number.is_multiple_of(16) {
            sync_warehouse(number);
        }
        if number.is_multiple_of(8) {
            ask_slow_service();
        }
        let pause = if is_busy { 140 } else { 380 };
        sleep(Duration::from_millis(pause)).await;
    }
}

#[bgtask::main(grace = "10s")]
async fn main(shutdown: ShutdownToken) -> Result<()> {
    let mut addresses = std::env::args().skip(1);
    let mut address = |default: &str| addresses.next().unwrap_or_else(|| default.to_owned());
    let dashboard = bgtask::dashboard::builder().title("Orders · background work");
    let page = dashboard.clone().serve(address("127.0.0.1:9090"))?;
    let app = Router::new()
        .route("/import/{name}", get(start_import))
        .nest_service("/background", dashboard.router())
        // Without this the dashboard does not know the peer's address, and refuses every request.
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind(address("127.0.0.1:3000")).await?;
    println!("http://{page}");
    println!("http://{}/background", listener.local_addr()?);
    tokio::spawn(make_calls());
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

async fn start_import(Path(name): Path<String>) -> String {
    let task = import(name);
    format!("started with id {}\n", task.id())
}
