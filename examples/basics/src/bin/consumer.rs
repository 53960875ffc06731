//! Shows: a consumer that runs as long as the program. `on_start` starts it, `restart` starts it again with back-off when it
//! fails, and `essential` shuts the program down with exit code 1 when it fails too often.
//!
//!     cargo run -p example-basics --bin consumer
//!
//! You see the consumer lose its connection three times and reconnect twice. Then it gives up: `main` stops, the other tasks
//! drain, and the exit code is 1, so that systemd or Kubernetes restarts the program.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, State, background};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// A bus whose connection breaks after a few events.
#[derive(Clone, Default)]
struct Bus {
    events: Arc<AtomicU32>,
}

impl Bus {
    async fn next(&self) -> io::Result<u32> {
        sleep(Duration::from_millis(100)).await;
        match self.events.fetch_add(1, Ordering::Relaxed) + 1 {
            broken if broken % 4 == 0 => Err(io::ErrorKind::ConnectionReset.into()),
            event => Ok(event),
        }
    }
}

#[background(
    on_start,
    essential,
    restart(max = 2, window = "1m", backoff = "exponential", base = "200ms")
)]
async fn consume(token: ShutdownToken, State(bus): State<Bus>) -> io::Result<()> {
    println!("connected");
    while let Some(event) = token.run_until_cancelled(bus.next()).await {
        handle(event?);
    }
    Ok(())
}

#[background]
async fn handle(event: u32) {
    sleep(Duration::from_millis(150)).await;
    println!("handled event {event}");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    bgtask::provide(Bus::default());
    // A server would serve here.
    shutdown.cancelled().await;
    if let Some(reason) = shutdown.shutdown_reason() {
        println!("main stops: {reason}");
    }
}
