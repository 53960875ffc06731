//! A manager with a store of the test's own, and waits for jobs. Must never know a database.
#![allow(
    dead_code,
    reason = "each test binary has this module, and uses a part of it"
)]

use super::support::Scratch;
use bgtask::Manager;
use bgtask::durable::{JobHandle, JobStatus};
use bgtask_durable::Jobs;
use std::time::{Duration, Instant};

/// How long a test waits for a condition.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Installs a manager, opens a store of its own, runs the test, and shuts down.
pub(crate) fn with_store<F: Future<Output = ()>>(scratch: &Scratch, test: impl FnOnce(Jobs) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (manager, jobs) = open(scratch.url()).await;
        test(jobs).await;
        let report = manager.shutdown("the test is over").await;
        assert!(report.straggler_count == 0, "{report}");
    });
}

/// A manager with its store, as a process has.
pub(crate) async fn open(url: &str) -> (Manager, Jobs) {
    let manager = Manager::builder()
        .install()
        .expect("the first of its runtime");
    let jobs = bgtask_durable::open_at(url).await.expect("it opens");
    (manager, jobs)
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
