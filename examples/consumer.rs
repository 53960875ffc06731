//! Shows: a consumer that has to be there as long as the program is. `on_start` starts it, `restart` starts it again when it
//! fails, with back-off; and when it fails too often, `essential` stops the program, with exit code 1.
//!
//!     cargo run -p bgtask-examples --bin consumer
//!
//! You see it lose its connection three times and come back twice. Then it gives up, the server is told to stop, what is under
//! way is drained, and the exit code is 1: whoever has started the program, systemd or Kubernetes, will start it anew.
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
    println!("event {event} is handled");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    bgtask::provide(Bus::default());
    // Where a server would serve until then.
    shutdown.cancelled().await;
    let why = shutdown.reason().map(|reason| reason.to_string());
    println!("main is told to stop: {}", why.unwrap_or_default());
}
