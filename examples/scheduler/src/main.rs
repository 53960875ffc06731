//! Shows: schedules. `#[bgtask::main]` starts functions with `every` and `cron` as soon as their state is provided. Runs of one
//! function do not overlap, and a panic does not end its schedule.
//!
//!     cargo run -p example-scheduler
//!
//! You see one function run every half second, one that takes longer than its period, one that panics and runs again, and one
//! that runs by the wall clock. After four seconds the program prints when each function runs next, and ends.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, State, background};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Stands for a database.
#[derive(Clone, Default)]
struct Db {
    purged: Arc<AtomicU32>,
}

#[background(every = "500ms", immediately)]
async fn purge_expired(State(db): State<Db>) {
    let round = db.purged.fetch_add(1, Ordering::Relaxed) + 1;
    println!("purged, round {round}");
}

/// Takes longer than its period. The ticks it misses lead to one run, not to a burst.
#[background(every = "400ms", missed = "once")]
async fn write_statistics(token: ShutdownToken) {
    let written = tokio::time::sleep(Duration::from_millis(1100));
    match token.run_until_cancelled(written).await {
        Some(()) => println!("wrote statistics"),
        None => println!("shutting down: no statistics"),
    }
}

#[background(every = "1500ms", log = "off")]
fn check_disk() {
    panic!("cannot read the disk");
}

/// Runs at each even second of the clock. `0 3 * * *` would run it every night at three, Berlin time.
#[background(cron = "*/2 * * * * *", timezone = "Europe/Berlin")]
async fn report() {
    println!("report");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    bgtask::provide(Db::default());
    let four_seconds = tokio::time::sleep(Duration::from_secs(4));
    shutdown.run_until_cancelled(four_seconds).await;
    let now = SystemTime::now();
    for schedule in bgtask::schedules().iter().map(bgtask::ScheduleHandle::info) {
        let next = match schedule.next.map(|next| next.duration_since(now)) {
            Some(Ok(left)) => format!("next in {} ms", left.as_millis()),
            Some(Err(_)) => "next now".to_owned(),
            None => "running".to_owned(),
        };
        println!(
            "{}: {} runs, {} missed ticks, {next}",
            schedule.name, schedule.runs, schedule.missed
        );
    }
}
