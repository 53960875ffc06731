//! What one call costs: in instructions, which repeat exactly, and in time, which does not.

use crate::host::{self, Flavor, Host, Served};
use crate::subscribers;
use crate::ways::{self, TRACKER};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use std::{env, process};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

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

/// The child process whose instructions are counted.
pub(crate) fn run(way: &str, subscriber: &str, pattern: Pattern, calls: u32) {
    const WAVE: u32 = 1_000;
    subscribers::set(subscriber);
    let way = ways::named(way);
    host::on(way.host, Flavor::CurrentThread, move || async move {
        let mut wave = (way.start)();
        match pattern {
            Pattern::Burst => wave(calls).await,
            Pattern::Waves => {
                for _ in 0..calls / WAVE {
                    wave(WAVE).await;
                }
            }
        }
    });
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
pub(crate) fn nanoseconds(flavor: Flavor, names: &[&str]) -> Vec<f64> {
    const CALLS: u32 = 1_000;
    let start = |name: &&str| Served::start(&["waves", name, flavor.name()]);
    in_turns(301, names.iter().map(start).collect(), CALLS)
}

/// The child process that is timed wave by wave.
pub(crate) fn serve_waves(way: &str, flavor: Flavor) {
    let way = ways::named(way);
    host::on(way.host, flavor, move || async move {
        let mut wave = (way.start)();
        host::serve(async |calls| {
            let start = Instant::now();
            wave(calls).await;
            start.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .await;
    });
}

/// Nanoseconds from the first call to the end of the last, for each call, when `threads` threads make them at once. The
/// work is the same whatever the number of threads.
pub(crate) fn from_threads(threads: u32, names: &[&str]) -> Vec<f64> {
    let start = |name: &&str| Served::start(&["threads", name]);
    in_turns(31, names.iter().map(start).collect(), threads)
}

/// The child process in which threads make calls.
pub(crate) fn serve_threads(way: &str) {
    let is_tracker = way == TRACKER;
    let host = if is_tracker { Host::Plain } else { Host::Main };
    host::on(host, Flavor::MultiThread, move || async move {
        let tracker = TaskTracker::new();
        let runtime = Handle::current();
        host::serve(async |threads| {
            if is_tracker {
                let spawn = || drop(tracker.spawn(async {}));
                at_once(threads, &runtime, spawn, || tracker.is_empty())
            } else {
                let call = || drop(ways::nothing());
                at_once(threads, &runtime, call, || bgtask::stats().running == 0)
            }
        })
        .await;
    });
}

fn at_once(
    threads: u32,
    runtime: &Handle,
    call: impl Fn() + Sync,
    has_ended: impl Fn() -> bool,
) -> f64 {
    const CALLS: u32 = 40_000;
    let at_once = Barrier::new(threads as usize + 1);
    let start = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _entered = runtime.enter();
                at_once.wait();
                for _ in 0..CALLS / threads {
                    call();
                }
            });
        }
        at_once.wait();
        Instant::now()
    });
    while !has_ended() {
        thread::yield_now();
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

/// The median answer of each child to the same order, given many times and in turns.
fn in_turns(rounds: usize, mut children: Vec<Served>, order: u32) -> Vec<f64> {
    let mut answers = vec![Vec::with_capacity(rounds); children.len()];
    for _ in 0..rounds {
        for (child, answers) in children.iter_mut().zip(&mut answers) {
            answers.push(child.ask(order));
        }
    }
    children.into_iter().for_each(Served::end);
    answers.into_iter().map(median).collect()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
