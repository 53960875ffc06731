//! The costs that grow with the number of tasks: memory, and the duration of a shutdown and of a snapshot.

use crate::call::median;
use crate::host::Flavor;
use crate::ways::idiomatic_call;
use bgtask::{Manager, ShutdownToken, background};
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MILLION: usize = 1_000_000;

#[background(log = "off")]
async fn waits(until: Arc<Notify>) {
    until.notified().await;
}

#[background(log = "off")]
async fn waits_for_its_token(token: ShutdownToken) {
    token.cancelled().await;
}

/// The child process whose memory is measured: bytes for each of a million waiting tasks, as the operating system counts
/// them.
pub(crate) fn memory(way: &str) {
    let runtime = Flavor::CurrentThread.runtime();
    let manager = Manager::builder()
        .install_on(runtime.handle())
        .expect("a manager");
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let until = Arc::new(Notify::new());
    let bytes = runtime.block_on(async {
        let before = resident();
        for _ in 0..MILLION {
            let until = until.clone();
            match way {
                "bgtask" => drop(waits(until)),
                "idiom" => idiomatic_call(&tracker, &shutdown, |token| async move {
                    let _token = token;
                    until.notified().await;
                }),
                _ => drop(tokio::spawn(async move { until.notified().await })),
            }
        }
        // Polled once each, so that all of them wait.
        tokio::task::yield_now().await;
        while runtime.metrics().global_queue_depth() > 0 {
            tokio::task::yield_now().await;
        }
        resident() - before
    });
    println!("{}", bytes / MILLION);
    drop(manager);
    // A million tasks need not be dropped one by one for this.
    std::process::exit(0);
}

fn resident() -> usize {
    const PAGE: usize = 4096;
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * PAGE
}

pub(crate) fn bytes_a_task(way: &str) -> f64 {
    let program = std::env::current_exe().expect("a path");
    let output = Command::new(program).args(["memory", way]).output();
    let output = output.expect("it starts").stdout;
    String::from_utf8_lossy(&output)
        .trim()
        .parse()
        .unwrap_or(f64::NAN)
}

/// Returns milliseconds from the firing of the token until the last of a million waiting tasks is accounted for.
pub(crate) fn fired_to_accounted_bgtask() -> f64 {
    let runtime = Flavor::MultiThread.runtime();
    let manager = Manager::builder()
        .grace(Duration::from_secs(3600))
        .install_on(runtime.handle())
        .expect("a manager");
    runtime.block_on(async {
        for _ in 0..MILLION {
            waits_for_its_token();
        }
        until_all_wait(|| {
            manager
                .tasks()
                .iter()
                .all(|task| task.state == bgtask::TaskState::Running)
        })
        .await;
        let start = Instant::now();
        let report = manager.shutdown("measured").await;
        assert!(report.is_clean());
        start.elapsed().as_secs_f64() * 1e3
    })
}

pub(crate) fn fired_to_accounted_idiom() -> f64 {
    let runtime = Flavor::MultiThread.runtime();
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    runtime.block_on(async {
        for _ in 0..MILLION {
            idiomatic_call(&tracker, &shutdown, |token| async move {
                token.cancelled().await
            });
        }
        // No event announces that the last task waits.
        tokio::time::sleep(Duration::from_secs(3)).await;
        tracker.close();
        let start = Instant::now();
        shutdown.cancel();
        tracker.wait().await;
        start.elapsed().as_secs_f64() * 1e3
    })
}

async fn until_all_wait(mut all_wait: impl FnMut() -> bool) {
    while !all_wait() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Returns microseconds from the last instruction of the last task to the shutdown report, including thread starts.
pub(crate) fn drain_notices_the_end() -> f64 {
    #[background(log = "off")]
    async fn last(token: ShutdownToken, ended: Arc<Mutex<Option<Instant>>>) {
        token.cancelled().await;
        // Long enough for the sequence to be waiting.
        tokio::time::sleep(Duration::from_millis(5)).await;
        *ended.lock().expect("nothing panics") = Some(Instant::now());
    }
    let runtime = Flavor::MultiThread.runtime();
    let rounds = (0..51).map(|_| {
        let manager = Manager::builder()
            .install_on(runtime.handle())
            .expect("a manager");
        let ended = Arc::new(Mutex::new(None));
        runtime.block_on(async {
            last(ended.clone());
            manager.shutdown("measured").await
        });
        let ended = ended.lock().expect("nothing panics").expect("it ended");
        ended.elapsed().as_secs_f64() * 1e6
    });
    median(rounds.collect())
}

#[background(log = "off", concurrency(max = 1))]
async fn waits_in_line(until: Arc<Notify>) {
    until.notified().await;
}

pub(crate) struct Snapshots {
    pub(crate) tasks_ms: f64,
    /// With its text.
    pub(crate) snapshot_ms: f64,
    /// The same with all of them in one wait queue.
    pub(crate) snapshot_of_line_ms: f64,
    pub(crate) stats_us: f64,
    /// The 99th percentile of a call in microseconds: alone, beside `tasks()` in a loop, beside `snapshot()` in a loop.
    pub(crate) p99_us: [f64; 3],
    /// The same for calls that enter the wait queue.
    pub(crate) p99_of_line_us: [f64; 3],
}

/// With a hundred thousand live tasks.
pub(crate) fn snapshots() -> Snapshots {
    let plain = look_at(|until| drop(black_box(waits(until))));
    let line = look_at(|until| drop(black_box(waits_in_line(until))));
    Snapshots {
        tasks_ms: plain.tasks_ms,
        snapshot_ms: plain.snapshot_ms,
        snapshot_of_line_ms: line.snapshot_ms,
        stats_us: plain.stats_us,
        p99_us: plain.p99_us,
        p99_of_line_us: line.p99_us,
    }
}

struct Look {
    tasks_ms: f64,
    snapshot_ms: f64,
    stats_us: f64,
    p99_us: [f64; 3],
}

fn look_at(call: impl Fn(Arc<Notify>)) -> Look {
    let runtime = Flavor::MultiThread.runtime();
    let manager = Manager::builder()
        .grace(Duration::ZERO)
        .install_on(runtime.handle())
        .expect("a manager");
    let until = Arc::new(Notify::new());
    runtime.block_on(async {
        for _ in 0..100_000 {
            call(until.clone());
        }
    });
    let time = |what: &dyn Fn()| {
        median(
            (0..21)
                .map(|_| {
                    let start = Instant::now();
                    what();
                    start.elapsed().as_secs_f64()
                })
                .collect(),
        )
    };
    let list = || drop(black_box(manager.tasks()));
    let look = || drop(black_box(manager.snapshot().to_string()));
    let tasks_ms = time(&list) * 1e3;
    let snapshot_ms = time(&look) * 1e3;
    let stats_us = time(&|| {
        black_box(manager.stats());
    }) * 1e6;
    let p99 = || {
        let _entered = runtime.enter();
        let mut times: Vec<_> = (0..20_000)
            .map(|_| {
                let start = Instant::now();
                call(until.clone());
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    };
    let beside = |what: &(dyn Fn() + Sync)| {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Relaxed: it only has to become visible eventually.
                while !over.load(Ordering::Relaxed) {
                    what();
                }
            });
            let p99 = p99();
            over.store(true, Ordering::Relaxed);
            p99
        })
    };
    let p99_us = [p99(), beside(&list), beside(&look)];
    // No shutdown: the report about a hundred thousand unfinished tasks is not what is measured.
    drop(runtime);
    Look {
        tasks_ms,
        snapshot_ms,
        stats_us,
        p99_us,
    }
}

/// The rows of the page.
pub(crate) fn rows_of_snapshots() -> String {
    let Snapshots {
        tasks_ms,
        snapshot_ms,
        snapshot_of_line_ms,
        stats_us,
        p99_us: [alone, beside_tasks, beside_look],
        p99_of_line_us: [line_alone, _, line_beside_look],
    } = snapshots();
    format!(
        "| `tasks()` with 100 000 live | {tasks_ms:.1} ms |\n\
         | `snapshot()` with 100 000 live, including its text | {snapshot_ms:.1} ms |\n\
         | the same, if they are in the wait queue of `concurrency` | {snapshot_of_line_ms:.1} ms |\n\
         | `stats()` with 100 000 live | {stats_us:.1} µs |\n\
         | 99 of 100 calls take less than, with no concurrent reader | {alone:.1} µs |\n\
         | the same, while another thread calls `tasks()` continuously | {beside_tasks:.1} µs |\n\
         | the same, while another thread calls `snapshot()` continuously | {beside_look:.1} µs |\n\
         | 99 of 100 calls that enter that wait queue take less than, with no concurrent reader | {line_alone:.1} µs |\n\
         | the same, while another thread calls `snapshot()` continuously | {line_beside_look:.1} µs |\n"
    )
}
