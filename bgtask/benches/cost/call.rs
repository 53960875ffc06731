//! What one call costs: in instructions, which repeat exactly, and in time, which does not.

use crate::subscribers;
use crate::ways::{self, Way};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use std::{env, process};
use tokio::runtime::{Builder, Runtime};

/// How calls are spread: all at once, or a thousand at a time, as in a process that has been running for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    Burst,
    Waves,
}

impl Pattern {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::Burst => "burst",
            Pattern::Waves => "waves",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        if name == "waves" {
            Pattern::Waves
        } else {
            Pattern::Burst
        }
    }
}

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(crate) fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The child process whose instructions are counted.
pub(crate) fn run(way: &str, subscriber: &str, pattern: Pattern, calls: u32) {
    const WAVE: u32 = 1_000;
    subscribers::set(subscriber);
    let runtime = current_thread();
    let mut wave = (ways::named(way).start)(&runtime);
    match pattern {
        Pattern::Burst => wave(calls),
        Pattern::Waves => (0..calls / WAVE).for_each(|_| wave(WAVE)),
    }
}

/// Instructions of one call: the difference between two numbers of calls, so that start and end drop out. Nothing where
/// `valgrind` is not installed.
pub(crate) fn instructions(way: &str, subscriber: &str, pattern: Pattern) -> Option<f64> {
    const FEW: u32 = 2_000;
    const MANY: u32 = 12_000;
    let few = callgrind(way, subscriber, pattern, FEW)?;
    let many = callgrind(way, subscriber, pattern, MANY)?;
    Some((many - few) / f64::from(MANY - FEW))
}

fn callgrind(way: &str, subscriber: &str, pattern: Pattern, calls: u32) -> Option<f64> {
    let file = env::temp_dir().join(format!("bgtask-callgrind-{}", process::id()));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe().ok()?)
        .args(["run", way, subscriber, pattern.name(), &calls.to_string()])
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

/// Nanoseconds of one call for each of the ways: the median of many rounds in which they take turns.
pub(crate) fn nanoseconds(runtime: fn() -> Runtime, names: &[&str]) -> Vec<f64> {
    const ROUNDS: usize = 301;
    const CALLS: u32 = 1_000;
    // A runtime each: one with a manager is not quite the one without.
    let runtimes: Vec<_> = names.iter().map(|_| runtime()).collect();
    let ways = names.iter().map(|name| ways::named(name));
    let mut waves: Vec<_> = ways
        .zip(&runtimes)
        .map(|(way, runtime): (&Way, _)| (way.start)(runtime))
        .collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); names.len()];
    for _ in 0..ROUNDS {
        for (wave, times) in waves.iter_mut().zip(&mut times) {
            let start = Instant::now();
            wave(CALLS);
            times.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    times.into_iter().map(median).collect()
}

/// Nanoseconds from the first call to the end of the last, for each call, when `threads` threads make them at once. The
/// work is the same whatever the number of threads.
pub(crate) fn from_threads(
    threads: usize,
    call: impl Fn(&Runtime) + Sync,
    runtime: &Runtime,
) -> f64 {
    const CALLS: usize = 40_000;
    let at_once = Barrier::new(threads + 1);
    let start = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _entered = runtime.enter();
                at_once.wait();
                for _ in 0..CALLS / threads {
                    call(runtime);
                }
            });
        }
        at_once.wait();
        Instant::now()
    });
    while runtime.metrics().num_alive_tasks() > 0 {
        thread::yield_now();
    }
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
