//! A database of its own for each test, and waits for conditions.

use bgtask::Manager;
use bgtask::durable::{JobHandle, JobStatus};
use bgtask_durable::Jobs;
use std::time::{Duration, Instant};

/// How long a test waits for a condition.
const LIMIT: Duration = Duration::from_secs(60);

#[path = "../support/mod.rs"]
mod support;

pub(crate) use support::Scratch;
#[allow(unused_imports, reason = "not every test binary uses it")]
pub(crate) use support::on_each_database;

/// Installs a manager, opens the store, runs the test, and shuts down.
#[allow(dead_code, reason = "not every test binary uses it")]
pub(crate) fn with_store_on<F: Future<Output = ()>>(
    scratch: &Scratch,
    test: impl FnOnce(Jobs, String) -> F,
) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url())
            .await
            .expect("the store opens");
        test(jobs, scratch.url().to_owned()).await;
        let report = manager.shutdown("the test is over").await;
        assert!(report.straggler_count == 0, "{report}");
    });
}

/// The same on SQLite.
#[cfg(feature = "sqlite")]
#[allow(dead_code, reason = "not every test binary uses it")]
pub(crate) fn with_store<F: Future<Output = ()>>(test: impl FnOnce(Jobs, String) -> F) {
    with_store_on(&Scratch::sqlite(), test);
}

/// Reads the status of a job until it is as expected.
#[allow(dead_code)]
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
