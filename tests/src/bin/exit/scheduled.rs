//! A program with schedules: with `essential` its essential task fails, with `ticks` it runs until a signal, and by default it
//! provides no state.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, State, background};
use std::time::Duration;

#[derive(Clone)]
struct Bus(bool);

#[derive(Clone)]
struct Disk;

#[background(on_start, essential, restart(max = 2, window = "1m", base = "1ms"))]
async fn consume(token: ShutdownToken, State(bus): State<Bus>) -> Result<(), String> {
    println!("consuming");
    if bus.0 {
        return Err("the bus is gone".to_owned());
    }
    token.cancelled().await;
    println!("consumed");
    Ok(())
}

#[background(every = "10ms", immediately)]
fn purge(State(_disk): State<Disk>) {
    println!("purging");
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    match std::env::args().nth(1).as_deref() {
        Some("essential") => bgtask::provide(Bus(true)),
        Some("ticks") => {
            bgtask::provide(Bus(false));
            bgtask::provide(Disk);
        }
        _ => {
            // Schedules are started once `main` waits for the first time.
            tokio::task::yield_now().await;
            println!("main waits");
        }
    }
    shutdown
        .run_until_cancelled(tokio::time::sleep(Duration::from_secs(3600)))
        .await;
    println!("main ends");
}
