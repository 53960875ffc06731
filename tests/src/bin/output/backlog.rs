//! A shutdown with a backlog: calls that wait for a permit, or for ever, when the deadline passes. Arguments: who shuts down
//! (`main`, `main-current-thread`, `manager`), what the calls do (`waits`, `runs`), how many there are, the grace in milliseconds.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{Manager, background};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// One call runs for ever, and the others wait. Silent, because the report about slow tasks is not under test.
#[background(concurrency = 1, log = "off")]
async fn waits() {
    std::future::pending::<()>().await;
}

#[background(log = "off")]
async fn runs() {
    std::future::pending::<()>().await;
}

fn argument(index: usize) -> String {
    std::env::args().nth(index).expect("an argument")
}

fn call_all() {
    let count: usize = argument(3).parse().expect("a count");
    for _ in 0..count {
        match argument(2).as_str() {
            "waits" => drop(waits()),
            _ => drop(runs()),
        }
    }
}

fn grace() -> Duration {
    Duration::from_millis(argument(4).parse().expect("milliseconds"))
}

async fn run() {
    bgtask::set_grace(grace());
    call_all();
    println!("called");
}

mod multi_thread {
    #[bgtask::main]
    pub(super) async fn main() {
        super::run().await;
    }
}

mod current_thread {
    #[bgtask::main(flavor = "current_thread")]
    pub(super) async fn main() {
        super::run().await;
    }
}

/// The same without `#[bgtask::main]`.
fn by_hand() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime");
    let manager = Manager::builder()
        .grace(grace())
        .install_on(runtime.handle())
        .expect("the only manager");
    runtime.block_on(async { call_all() });
    println!("called");
    let asked = Instant::now();
    let report = runtime.block_on(manager.shutdown("the end"));
    println!("{report}");
    println!("the report came after {:?}", asked.elapsed());
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    match argument(1).as_str() {
        "main" => multi_thread::main(),
        "main-current-thread" => current_thread::main(),
        _ => by_hand(),
    }
}
