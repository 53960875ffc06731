//! Programs that run out of something: of memory for so many tasks, of threads, of readers. The argument says of which.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, TaskHandle, background};
use std::future::pending;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

#[background(log = "off")]
async fn waits(token: ShutdownToken) {
    token.cancelled().await;
}

#[background]
async fn hangs() {
    pending::<()>().await;
}

#[background]
fn on_a_thread() {}

#[background(concurrency = 1)]
fn one_at_a_time_on_a_thread() {}

#[background]
async fn needs_no_thread() {}

/// A field of `/proc/self/status`, in KiB.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let words = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    words.expect("Linux")
}

/// A process that will set how much memory this one may have mapped, once its stdin is closed. It is started before there is too
/// little left to start one.
fn prlimit(limit: &str) -> Child {
    let own = std::process::id();
    let script = format!("cat; exec prlimit --pid={own} --as={limit}:");
    let mut shell = Command::new("sh");
    let started = shell.args(["-c", &script]).stdin(Stdio::piped()).spawn();
    started.expect("a shell")
}

fn let_go(mut prlimit: Child) {
    drop(prlimit.stdin.take());
    let set = prlimit.wait().expect("a child");
    assert!(set.success(), "`prlimit` is installed");
}

/// As many live tasks, twice: what they take, and what becomes of them.
fn many(count: u64) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let builder = bgtask::Manager::builder().grace(Duration::from_secs(3600));
    let manager = builder.install_on(runtime.handle()).expect("the only one");
    let before = status("VmRSS");
    let report = runtime.block_on(async {
        let first: Vec<_> = (0..count).map(|_| waits()).collect();
        assert_eq!(manager.stats().running, count);
        assert_eq!(manager.tasks().len() as u64, count);
        println!("KiB {}", status("VmRSS") - before);
        first.iter().for_each(TaskHandle::cancel);
        for task in first {
            assert_eq!(task.await, Ok(()));
        }
        // Where the first ones were.
        (0..count).for_each(|_| drop(waits()));
        println!("KiB {}", status("VmRSS") - before);
        manager.shutdown("that was all").await
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.drained, count);
    let totals = report.totals;
    assert_eq!(
        (totals.accepted, totals.succeeded, totals.running),
        (2 * count, 2 * count, 0)
    );
    println!("all ended");
}

async fn without_threads(lifts: bool) {
    println!("needs none: {:?}", needs_no_thread().await);
    // Too little for the stack of another thread.
    let lift = prlimit("unlimited");
    let mapped = status("VmSize") * 1024;
    let_go(prlimit(&(mapped + 1024 * 1024).to_string()));
    println!("a plain function: {:?}", on_a_thread().await);
    for _ in 0..2 {
        // The first one must not keep the permit.
        println!("with a policy: {:?}", one_at_a_time_on_a_thread().await);
    }
    println!("needs none: {:?}", needs_no_thread().await);
    let running = bgtask::stats().running;
    println!("running: {running}");
    if lifts {
        let_go(lift);
        println!("a plain function: {:?}", on_a_thread().await);
        println!("with a policy: {:?}", one_at_a_time_on_a_thread().await);
    } else {
        // There is none for the shutdown either.
        std::mem::forget(lift);
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("many"), Some(count)) => {
            many(count.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        _ => of_one_thread::main(),
    }
}

mod of_one_thread {
    #[bgtask::main(flavor = "current_thread", grace = "200ms")]
    pub(super) async fn main() -> std::process::ExitCode {
        match std::env::args().nth(1).as_deref() {
            Some("threads-for-a-while") => super::without_threads(true).await,
            Some("threads") => super::without_threads(false).await,
            Some("readers") => drop(super::hangs()),
            Some("readers-of-events") => {
                tracing_subscriber::fmt().init();
                super::hangs();
            }
            _ => return std::process::ExitCode::FAILURE,
        }
        std::process::ExitCode::from(7)
    }
}
