//! How many no-op jobs are stored and run in a second, by plain riverqueue and by durable calls, in turn on the same machine.
//!
//! `cargo bench -p bgtask-durable --features postgres --bench rates`. Compare the two columns of one row only.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod durable;
mod river;

use std::time::Duration;
use support::Scratch;

/// What is measured: each returns the time for [`COUNT`] jobs.
trait Peer {
    fn stored_by(scratch: &Scratch, callers: u32) -> Duration;
    fn stored_within(scratch: &Scratch) -> Duration;
    fn stored_at_once(scratch: &Scratch) -> Duration;
    fn run(scratch: &Scratch, at_once: usize) -> Duration;
}

const COUNT: u32 = 4_000;
const ROUNDS: usize = 3;

fn main() {
    // `cargo test --benches` runs this with the flag of a test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    table("SQLite", || Some(Scratch::sqlite()));
    #[cfg(feature = "postgres")]
    table("Postgres", Scratch::postgres);
}

fn table(database: &str, scratch: impl Fn() -> Option<Scratch>) {
    println!("\n{database}: jobs a second, the median of {ROUNDS} rounds\n");
    println!("| | riverqueue | durable | ratio |\n|---|--:|--:|--:|");
    type Measured = fn(&Scratch) -> Duration;
    let rows: [(&str, Measured, Measured); 6] = [
        (
            "stored, 1 caller",
            |on| river::River::stored_by(on, 1),
            |on| durable::Durable::stored_by(on, 1),
        ),
        (
            "stored, 16 callers",
            |on| river::River::stored_by(on, 16),
            |on| durable::Durable::stored_by(on, 16),
        ),
        (
            "stored in a transaction of the program's",
            river::River::stored_within,
            durable::Durable::stored_within,
        ),
        (
            "stored 1,000 at once",
            river::River::stored_at_once,
            durable::Durable::stored_at_once,
        ),
        (
            "run, 64 at once",
            |on| river::River::run(on, 64),
            |on| durable::Durable::run(on, 64),
        ),
        (
            "run, 200 at once",
            |on| river::River::run(on, 200),
            |on| durable::Durable::run(on, 200),
        ),
    ];
    for (name, river, durable) in rows {
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (peer, times) in [(river, &mut plain), (durable, &mut ours)] {
                let Some(scratch) = scratch() else { return };
                times.push(f64::from(COUNT) / peer(&scratch).as_secs_f64());
            }
        }
        let median = |rates: &mut Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2]
        };
        let (plain, ours) = (median(&mut plain), median(&mut ours));
        println!("| {name} | {plain:.0} | {ours:.0} | {:.2} |", ours / plain);
    }
}
