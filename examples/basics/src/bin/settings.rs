//! Shows: values of options from a file, which replace those of the attributes while the program runs.
//!
//!     cargo run -p example-basics --bin settings
//!
//! You see six deliveries, one at a time as the attribute has it, then three at a time as `settings.json` has it, and what bgtask says
//! about settings that fit no function. To try others, pass a file of yours.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{Overrides, background};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static RUNNING: AtomicU32 = AtomicU32::new(0);
static MOST: AtomicU32 = AtomicU32::new(0);

#[background(name = "shop::deliver", concurrency = 1, timeout = "1s")]
async fn deliver(number: u32) {
    let running = RUNNING.fetch_add(1, Ordering::Relaxed) + 1;
    MOST.fetch_max(running, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    println!("  delivered {number}");
    RUNNING.fetch_sub(1, Ordering::Relaxed);
}

async fn deliver_six() {
    MOST.store(0, Ordering::Relaxed);
    for number in 1..=6 {
        deliver(number);
    }
    bgtask::idle().await;
    println!("at most {} at once", MOST.load(Ordering::Relaxed));
}

/// A program may read its settings from anything that serde knows.
fn read(file: &Path) -> anyhow::Result<Overrides> {
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

#[bgtask::main]
async fn main() -> anyhow::Result<()> {
    deliver_six().await;

    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/settings.json");
    let file = env::args().nth(1).map_or_else(default, PathBuf::from);
    bgtask::reconfigure(&read(&file)?)?;
    println!("read {}", file.display());
    deliver_six().await;

    // Nothing is changed if something is wrong.
    let wrong = Overrides::new()
        .set("shop::send", |options| options.concurrency(2))
        .set("shop::deliver", |options| options.queue(100));
    if let Err(error) = bgtask::reconfigure(&wrong) {
        println!("{error}");
    }
    Ok(())
}
