//! The cost of one call: in instructions, which repeat exactly, and in time, which does not.

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

/// How calls are spread over time. Each is counted as the difference between a process that makes few calls and one that
/// makes many, so that its start and its end drop out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// A thousand at a time, as in a process that has been running for a while.
    Waves,
    /// Twelve thousand at once, no more than in the warm-up.
    Burst,
    /// More at once than ever before: everything that later calls reuse has yet to be allocated.
    FirstBurst,
}

impl Pattern {
    pub(crate) const ALL: [Self; 3] = [Self::Waves, Self::Burst, Self::FirstBurst];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::Waves => "waves",
            Pattern::Burst => "burst",
            Pattern::FirstBurst => "first burst",
        }
    }

    /// For each of the two processes: how many calls it makes at once, and how many times.
    fn waves(self) -> [(u32, u32); 2] {
        match self {
            Pattern::Waves => [(1_000, 2), (1_000, 12)],
            Pattern::Burst => [(12_000, 1), (12_000, 2)],
            Pattern::FirstBurst => [(2_000, 1), (12_000, 1)],
        }
    }
}

/// The child process whose instructions are counted.
pub(crate) fn run(way: &str, subscriber: &str, calls: u32, times: u32) {
    subscribers::set(subscriber);
    let way = ways::named(way);
    host::on(way.host, Flavor::CurrentThread, move || async move {
        let mut wave = way.start();
        for _ in 0..times {
            wave(calls).await;
        }
    });
}

/// Returns the instructions of one call, or `None` if `valgrind` is not installed.
pub(crate) fn instructions(way: &str, subscriber: &str, pattern: Pattern) -> Option<f64> {
    let count = |(calls, times): (u32, u32)| {
        let numbers = [calls, times].map(|number| number.to_string());
        callgrind(&["run", way, subscriber, &numbers[0], &numbers[1]], &[])
    };
    let [few, many] = pattern.waves();
    let calls = f64::from(many.0 * many.1 - few.0 * few.1);
    Some((count(many)? - count(few)?) / calls)
}

/// Instructions of this program with `arguments`.
pub(crate) fn callgrind(arguments: &[&str], options: &[&str]) -> Option<f64> {
    let file = env::temp_dir().join(format!("bgtask-callgrind-{}", process::id()));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .args(options)
        .arg(env::current_exe().ok()?)
        .args(arguments)
        .stdin(Stdio::null())
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

/// Returns nanoseconds per call for each way: the median of many rounds in which the ways take turns.
pub(crate) fn nanoseconds(flavor: Flavor, names: &[&str]) -> Vec<f64> {
    const CALLS: u32 = 1_000;
    let start = |name: &&str| Served::start(&["waves", name, flavor.name()]);
    in_turns(301, names.iter().map(start).collect(), CALLS)
}

/// The child process that is timed wave by wave.
pub(crate) fn serve_waves(way: &str, flavor: Flavor) {
    let way = ways::named(way);
    host::on(way.host, flavor, move || async move {
        let mut wave = way.start();
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

/// Returns each child's median answer to the same command, sent many times in turns.
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
