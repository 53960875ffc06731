//! Runs only with `--cfg tokio_unstable`, in its own target directory: tokio-console receives tokio's own spans of the runtime's tasks,
//! which exist with that flag only.
#![cfg(tokio_unstable)]

use bgtask::{Manager, background};
use std::cell::Cell;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// A runtime task as the console receives it: its name, and where it was spawned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RuntimeTask {
    name: String,
    file: String,
    line: u64,
}

impl Visit for RuntimeTask {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "task.name" {
            self.name = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "loc.file" {
            self.file = value.to_owned();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "loc.line" {
            self.line = value;
        }
    }
}

static SPAWNED: Mutex<Vec<RuntimeTask>> = Mutex::new(Vec::new());

struct Console;

impl<S: Subscriber> Layer<S> for Console {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == "runtime.spawn" {
            let mut task = RuntimeTask::default();
            attributes.record(&mut task);
            SPAWNED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(task);
        }
    }
}

/// Returns the tasks spawned under a name.
fn spawned(name: &str) -> Vec<RuntimeTask> {
    let spawned = SPAWNED.lock().unwrap_or_else(PoisonError::into_inner);
    spawned
        .iter()
        .filter(|task| task.name == name)
        .cloned()
        .collect()
}

fn watch() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let subscriber = tracing_subscriber::registry().with(Console);
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    });
}

#[background(name = "console async")]
async fn is_async() {
    tokio::task::yield_now().await;
}

#[background(name = "console blocking")]
fn is_blocking() {}

#[background(name = "console policies", timeout = "1m")]
async fn has_policies() {}

#[background(name = "console attempt", timeout = "1m")]
fn has_policies_and_blocks() {}

/// How long a test waits for a condition.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test on a runtime with one thread, and on one with two, each with a manager of its own.
fn on_both_flavors(test: impl AsyncFn(&Manager)) {
    let mut builders = [Builder::new_current_thread(), Builder::new_multi_thread()];
    for builder in &mut builders {
        let runtime = builder.enable_all().worker_threads(2).build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            let manager = Manager::builder().install().expect("the first manager");
            test(&manager).await;
            manager.shutdown("the test ends").await;
        });
    }
}

fn assert_all_are_at(name: &str, count: usize, line: u32) {
    let tasks = spawned(name);
    assert_eq!(tasks.len(), count, "{name}: {tasks:?}");
    for task in tasks {
        assert_eq!(
            (&*task.file, task.line),
            (file!(), u64::from(line)),
            "{name}"
        );
    }
}

#[test]
fn each_call_is_a_runtime_task_with_its_name_and_the_line_of_its_call() {
    watch();
    let lines: [Cell<u32>; 3] = Default::default();
    on_both_flavors(async |_| {
        // One after the other: without the flag they would share a runtime task.
        for _ in 0..3 {
            is_async().await.unwrap();
        }
        lines[0].set(line!() - 2);
        is_blocking().await.unwrap();
        lines[1].set(line!() - 1);
        has_policies().await.unwrap();
        lines[2].set(line!() - 1);
    });
    assert_all_are_at("console async", 6, lines[0].get());
    assert_all_are_at("console blocking", 2, lines[1].get());
    assert_all_are_at("console policies", 2, lines[2].get());
}

#[test]
fn an_attempt_on_the_blocking_pool_has_its_name_too() {
    watch();
    on_both_flavors(async |_| has_policies_and_blocks().await.unwrap());
    let tasks = spawned("console attempt");
    let own = tasks.iter().filter(|task| task.file == file!());
    // The call, and the thread that it waits for.
    assert_eq!((own.count(), tasks.len()), (2, 4), "{tasks:?}");
}

#[background(name = "console aborted")]
async fn is_aborted() {
    std::future::pending().await
}

#[test]
fn calls_end_and_abort_as_they_do_without_the_flag() {
    on_both_flavors(async |manager| {
        let queued = is_aborted();
        queued.abort();
        queued.await.unwrap_err();
        let running = is_aborted();
        let begin = Instant::now();
        let runs = |task: &bgtask::TaskInfo| task.state == bgtask::TaskState::Running;
        while !manager.tasks().iter().any(runs) {
            assert!(begin.elapsed() < LIMIT, "it does not run");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.abort();
        running.await.unwrap_err();
        let stats = manager.stats();
        assert_eq!((stats.aborted, stats.running), (2, 0));
    });
}
