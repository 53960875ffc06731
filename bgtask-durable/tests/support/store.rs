//! A manager with a store of the test's own, and waits for jobs. Must never know a database.

use super::Scratch;
use bgtask::Manager;
use bgtask::durable::{JobHandle, JobStatus};
use bgtask_durable::{Builder, Jobs};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long a test waits for a condition.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Installs a manager, opens a store of its own, runs the test, and shuts down.
pub(crate) fn with_store<F: Future<Output = ()>>(scratch: &Scratch, test: impl FnOnce(Jobs) -> F) {
    if scratch.is_kit() {
        return with_kit(test);
    }
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (manager, jobs) = open(scratch.url()).await;
        test(jobs).await;
        let report = manager.shutdown("the test is over").await;
        assert!(report.straggler_count == 0, "{report}");
    });
}

/// The same in a test kit, as `#[bgtask::test(durable)]` does.
pub(crate) fn with_kit<F: Future<Output = ()>>(test: impl FnOnce(Jobs) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let kit = bgtask::testing::Kit::install().expect("the first of its runtime");
        bgtask_durable::testing::open();
        test(bgtask_durable::testing::jobs()).await;
        kit.finish().await;
    });
}

/// The same with settings, in the runtime that it is called in.
pub(crate) async fn with_settings<F: Future<Output = ()>>(
    scratch: &Scratch,
    builder: Builder,
    test: impl FnOnce(Jobs) -> F,
) {
    if scratch.is_kit() {
        let kit = bgtask::testing::Kit::install().expect("the first of its runtime");
        bgtask_durable::testing::open();
        test(builder.open().await.expect("the store of the test")).await;
        return kit.finish().await;
    }
    let (manager, jobs) = opened(builder.url(scratch.url())).await;
    test(jobs).await;
    let report = manager.shutdown("the test is over").await;
    assert!(report.straggler_count == 0, "{report}");
}

/// A manager with its store, as a process has.
pub(crate) async fn open(url: &str) -> (Manager, Jobs) {
    opened(bgtask_durable::builder().url(url)).await
}

/// As [`open`], with settings.
pub(crate) async fn opened(builder: Builder) -> (Manager, Jobs) {
    let manager = Manager::builder()
        .install()
        .expect("the first of its runtime");
    (manager, builder.open().await.expect("it opens"))
}

/// A manager with its store in a runtime and threads of its own, as another process has.
pub(crate) struct Process {
    pub(crate) runtime: Runtime,
    pub(crate) manager: Manager,
    pub(crate) jobs: Jobs,
}

impl Process {
    pub(crate) fn start(builder: Builder) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (manager, jobs) = runtime.block_on(opened(builder));
        Self {
            runtime,
            manager,
            jobs,
        }
    }

    /// Runs a future in this process.
    pub(crate) fn run<T>(&self, within: impl Future<Output = T>) -> T {
        self.runtime.block_on(within)
    }

    pub(crate) fn end(self) {
        self.runtime
            .block_on(self.manager.shutdown("the test is over"));
    }
}

/// Reads the status of a job until it is as expected.
pub(crate) async fn until<T>(job: &JobHandle<T>, is_it: impl Fn(&JobStatus) -> bool) -> JobStatus {
    let begin = Instant::now();
    loop {
        let status = job.status().await.expect("the job is there");
        if is_it(&status) {
            return status;
        }
        assert!(begin.elapsed() < LIMIT, "still {status:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
