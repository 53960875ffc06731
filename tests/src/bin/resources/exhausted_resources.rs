//! Programs that run out of a resource: memory, threads, or readers of their output. The argument selects it.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, TaskHandle, TaskState, background};
use std::future::pending;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

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

#[background]
fn hangs_on_a_thread() {
    loop {
        thread::park();
    }
}

#[background(concurrency = 1)]
fn one_at_a_time_on_a_thread() {}

#[background]
async fn needs_no_thread() {}

/// Whether every listener blocks.
static BLOCKS: AtomicBool = AtomicBool::new(false);

fn block_if_set() {
    while BLOCKS.load(Ordering::Relaxed) {
        thread::park();
    }
}

struct Listens;

impl<S: tracing::Subscriber> Layer<S> for Listens {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        block_if_set();
    }
}

/// Prints the metrics of the end of a shutdown.
#[cfg(feature = "metrics")]
mod recorder {
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder,
        SharedString, Unit, set_global_recorder,
    };
    use std::sync::Arc;

    struct Printing;
    struct Series(Key);

    pub(super) fn set() {
        assert!(set_global_recorder(Printing).is_ok(), "the only one");
    }

    impl Series {
        fn print(&self, value: &dyn std::fmt::Display) {
            super::block_if_set();
            let labels: Vec<_> = self.0.labels().map(metrics::Label::value).collect();
            println!("{} {} {value}", self.0.name(), labels.join(" "));
        }
    }

    impl CounterFn for Series {
        fn increment(&self, value: u64) {
            if self.0.name() == "bgtask_tasks_finished_total" && value > 0 {
                self.print(&value);
            }
        }
        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Series {
        fn increment(&self, _: f64) {}
        fn decrement(&self, _: f64) {}
        fn set(&self, value: f64) {
            if self.0.name() == "bgtask_managers" && value > 0.0 {
                self.print(&value);
            }
        }
    }

    impl Recorder for Printing {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Series(key.clone())))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Series(key.clone())))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
}

/// Returns a field of `/proc/self/status`, in KiB.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let words = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    words.expect("Linux")
}

/// Starts a process that sets the limit of mapped memory for this one when its stdin is closed. It must start while memory is
/// left.
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

/// Runs `count` live tasks twice, and prints the memory that they take.
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
        // These reuse the slots of the first ones.
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

/// Leaves too little memory for the stack of another thread.
fn allow_no_further_thread() {
    let mapped = status("VmSize") * 1024;
    let_go(prlimit(&(mapped + 1024 * 1024).to_string()));
}

/// The shutdown finds no thread for its notifications, and has two calls to report.
async fn without_threads_at_the_end() {
    #[cfg(feature = "metrics")]
    recorder::set();
    bgtask::on_finish(|task| println!("on_finish: {} {}", task.name, task.outcome));
    let hangs = hangs_on_a_thread().id();
    let runs = |task: &bgtask::TaskInfo| task.id == hangs && task.state == TaskState::Running;
    while !bgtask::tasks().iter().any(runs) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    allow_no_further_thread();
    // Queued: the blocking pool has one thread.
    on_a_thread();
}

/// All listeners block when the shutdown starts, and each of its steps has a notification.
async fn blocked_listeners() {
    #[cfg(feature = "metrics")]
    recorder::set();
    tracing_subscriber::registry()
        .with(Listens.with_filter(LevelFilter::INFO))
        .init();
    hangs_on_a_thread();
    BLOCKS.store(true, Ordering::Relaxed);
}

async fn without_threads(lifts: bool) {
    println!("needs none: {:?}", needs_no_thread().await);
    let lift = prlimit("unlimited");
    allow_no_further_thread();
    println!("a plain function: {:?}", on_a_thread().await);
    for _ in 0..2 {
        // The first call must not keep the permit.
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
        // The shutdown gets no thread either.
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
            Some("threads-at-the-end") => super::without_threads_at_the_end().await,
            Some("blocked-listeners") => super::blocked_listeners().await,
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
