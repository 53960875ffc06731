//! What one tracked call costs, against what else a program could write. One command: `cargo bench -p bgtask`.
//!
//! Each way of calling does the same fixed number of no-op calls on a current-thread runtime and waits until all of them
//! have ended and are accounted for. Time is the median over many rounds in which the ways take turns, so a machine whose
//! speed drifts drifts for all of them; instructions are counted by callgrind, where `valgrind` is installed, as the
//! difference between two numbers of calls, so start-up drops out.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use bgtask::{Manager, ShutdownToken, background};
use futures_util::FutureExt;
use std::env;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

#[background]
async fn nothing() {}

#[background]
async fn nothing_with_token(_token: ShutdownToken) {}

#[background]
fn nothing_blocking() {}

/// The name of a way of calling, and what it does `calls` times.
type Way = (&'static str, fn(&Runtime, u32));

const WAYS: &[Way] = &[
    ("tokio::spawn", bare),
    ("TaskTracker", tracker),
    ("idiom", idiom),
    ("bgtask", tracked),
    ("bgtask, token", tracked_with_token),
    ("spawn_blocking", bare_blocking),
    ("bgtask, plain fn", tracked_blocking),
];

fn bare(runtime: &Runtime, calls: u32) {
    runtime.block_on(async {
        for _ in 0..calls {
            tokio::spawn(async {});
        }
        let_all_end(|| runtime.metrics().num_alive_tasks() == 0).await;
    });
}

fn tracker(runtime: &Runtime, calls: u32) {
    runtime.block_on(async {
        let tracker = TaskTracker::new();
        for _ in 0..calls {
            tracker.spawn(async {});
        }
        tracker.close();
        tracker.wait().await;
    });
}

/// What a careful program writes by hand: counted, cancellable, its panics caught, in a span.
fn idiom(runtime: &Runtime, calls: u32) {
    runtime.block_on(async {
        let tracker = TaskTracker::new();
        let shutdown = CancellationToken::new();
        for _ in 0..calls {
            let token = shutdown.child_token();
            let work = async move {
                let _token = token;
            };
            tracker.spawn(
                AssertUnwindSafe(work)
                    .catch_unwind()
                    .instrument(tracing::info_span!("task")),
            );
        }
        tracker.close();
        tracker.wait().await;
    });
}

fn tracked(runtime: &Runtime, calls: u32) {
    with_manager(runtime, |_| {
        for _ in 0..calls {
            nothing();
        }
    });
}

fn tracked_with_token(runtime: &Runtime, calls: u32) {
    with_manager(runtime, |_| {
        for _ in 0..calls {
            nothing_with_token();
        }
    });
}

fn bare_blocking(runtime: &Runtime, calls: u32) {
    runtime.block_on(async {
        for _ in 0..calls {
            let _ = tokio::task::spawn_blocking(|| {}).await;
        }
    });
}

fn tracked_blocking(runtime: &Runtime, calls: u32) {
    runtime.block_on(async {
        let _manager = Manager::install().expect("the only manager");
        for _ in 0..calls {
            let _ = nothing_blocking().await;
        }
    });
}

fn with_manager(runtime: &Runtime, calls: impl FnOnce(&Manager)) {
    runtime.block_on(async {
        let manager = Manager::install().expect("the only manager");
        calls(&manager);
        // Without a shutdown, whose thread is no part of a call.
        let_all_end(|| manager.stats().running == 0).await;
    });
}

async fn let_all_end(mut ended: impl FnMut() -> bool) {
    while !ended() {
        tokio::task::yield_now().await;
    }
}

fn new_runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn nanoseconds() -> Vec<f64> {
    const ROUNDS: usize = 101;
    const CALLS: u32 = 2_000;
    let runtime = new_runtime();
    let mut times = vec![Vec::with_capacity(ROUNDS); WAYS.len()];
    for _ in 0..ROUNDS {
        for ((_, way), times) in WAYS.iter().zip(&mut times) {
            let start = Instant::now();
            way(&runtime, CALLS);
            times.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        })
        .collect()
}

/// Instructions of one call, or nothing where valgrind is missing.
fn instructions(way: &str) -> Option<f64> {
    const FEW: u32 = 2_000;
    const MANY: u32 = 12_000;
    let few = callgrind(way, FEW)?;
    let many = callgrind(way, MANY)?;
    Some((many - few) / f64::from(MANY - FEW))
}

fn callgrind(way: &str, calls: u32) -> Option<f64> {
    let file = env::temp_dir().join(format!("bgtask-callgrind-{}", std::process::id()));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe().ok()?)
        .args(["run", way, &calls.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let profile = fs::read_to_string(&file).ok();
    let _ = fs::remove_file(&file);
    let profile = profile.filter(|_| status.success())?;
    let totals = profile.lines().find_map(|line| {
        line.strip_prefix("totals: ")
            .or_else(|| line.strip_prefix("summary: "))
    })?;
    totals.trim().parse().ok()
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [run, name, calls] = &arguments[..]
        && run == "run"
    {
        let (_, way) = WAYS.iter().find(|(way, _)| way == name).expect("a way");
        way(&new_runtime(), calls.parse().expect("a number"));
        return;
    }
    println!("one no-op call to its accounted end, current-thread runtime, no subscriber\n");
    println!("| way | ns | × bare | × idiom | instructions | × bare | × idiom |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let times = nanoseconds();
    let instructions: Vec<_> = WAYS
        .iter()
        .map(|(name, _)| instructions(name).unwrap_or(f64::NAN))
        .collect();
    for (index, (name, _)) in WAYS.iter().enumerate() {
        // The last two run on the blocking pool: their measure is spawn_blocking.
        let bare = if index < 5 { 0 } else { 5 };
        let (ns, count) = (times[index], instructions[index]);
        println!(
            "| {name} | {ns:.0} | {:.2} | {:.2} | {count:.0} | {:.2} | {:.2} |",
            ns / times[bare],
            ns / times[2],
            count / instructions[bare],
            count / instructions[2],
        );
    }
}
