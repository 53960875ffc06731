//! Shows: work that nobody calls. `every` and `cron` are found by `#[bgtask::main]` and started once their state is there;
//! they do not overlap, and a panic ends none of them.
//!
//!     cargo run -p bgtask-examples --bin scheduler --features cron
//!
//! You see one function run every half a second, one that takes longer than its period, one that panics and comes again, and
//! one at whole seconds of the clock. After four seconds the program tells what is due next and ends; Ctrl-C ends it sooner.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, State, background};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Where a program would have its database.
#[derive(Clone, Default)]
struct Db {
    purged: Arc<AtomicU32>,
}

#[background(every = "500ms", immediately)]
async fn purge_expired(State(db): State<Db>) {
    let round = db.purged.fetch_add(1, Ordering::Relaxed) + 1;
    println!("purged, round {round}");
}

/// Takes longer than its period: what is missed meanwhile comes to one run, not to a burst.
#[background(every = "400ms", missed = "once")]
async fn write_statistics(token: ShutdownToken) {
    let written = tokio::time::sleep(Duration::from_millis(1100));
    match token.run_until_cancelled(written).await {
        Some(()) => println!("statistics are written"),
        None => println!("statistics are left for the next start"),
    }
}

#[background(every = "1500ms", log = "off")]
fn check_disk() {
    panic!("the disk cannot be read");
}

/// Every second second of the clock, wherever that is; `0 3 * * *` would be every night at three.
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
    for schedule in bgtask::schedules() {
        let due = match schedule.next.map(|next| next.duration_since(now)) {
            Some(Ok(left)) => format!("due in {} ms", left.as_millis()),
            Some(Err(_)) => "due now".to_owned(),
            None => "runs".to_owned(),
        };
        println!(
            "{}: {} runs, {} ticks missed, {due}",
            schedule.name, schedule.runs, schedule.missed
        );
    }
}
