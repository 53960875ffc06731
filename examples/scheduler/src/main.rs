//! Shows: schedules. `#[bgtask::main]` starts functions with `every` and `cron` as soon as their state is provided. Runs of one
//! function do not overlap, and a panic does not end its schedule.
//!
//!     cargo run -p example-scheduler
//!
//! You see one function run every half second, one that takes longer than its period, one that panics and runs again, and one
//! that runs by the wall clock. After two seconds the program pauses the first one, runs it once by hand, and adds a schedule for each
//! of its customers. After four seconds it prints when each function runs next, and ends.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ScheduleError, ShutdownToken, State, background};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Stands for a database.
#[derive(Clone, Default)]
struct Db {
    purged: Arc<AtomicU32>,
}

/// A value of an option may be a constant.
const PURGE: Duration = Duration::from_millis(500);

#[background(every = PURGE, immediately)]
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

/// Has no schedule of its own: `main` adds one for each customer.
#[background]
async fn poll(customer: &'static str) {
    println!("polled the feed of {customer}");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> Result<(), ScheduleError> {
    bgtask::provide(Db::default());
    let two_seconds = || tokio::time::sleep(Duration::from_secs(2));
    shutdown.run_until_cancelled(two_seconds()).await;
    if !shutdown.is_cancelled() {
        take_over()?;
    }
    shutdown.run_until_cancelled(two_seconds()).await;
    print_schedules();
    Ok(())
}

/// Changes schedules while they run. A shutdown ends them; then these methods return an error.
fn take_over() -> Result<(), ScheduleError> {
    for schedule in bgtask::schedules() {
        if schedule.name().ends_with("purge_expired") {
            schedule.pause()?;
            schedule.run_now()?;
            println!("paused {}, and run once", schedule.name());
        }
    }
    for customer in ["Ada", "Grace"] {
        bgtask::every("poll", Duration::from_secs(1), move || poll(customer));
    }
    Ok(())
}

fn print_schedules() {
    let now = SystemTime::now();
    for schedule in bgtask::schedules() {
        let schedule = schedule.info();
        let next = match schedule.next.map(|next| next.duration_since(now)) {
            Some(Ok(left)) => format!("next in {} ms", left.as_millis()),
            Some(Err(_)) => "next now".to_owned(),
            None if schedule.is_paused => "paused".to_owned(),
            None => "running".to_owned(),
        };
        println!(
            "{}: {} runs, {} missed ticks, {next}",
            schedule.name, schedule.runs, schedule.missed
        );
    }
}
