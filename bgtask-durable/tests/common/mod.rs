//! A database of its own for each test, and waits for conditions.

use bgtask::Manager;
use bgtask::durable::{JobHandle, JobStatus};
use bgtask_durable::Jobs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for a condition.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder of its own, which is deleted at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bgtask-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}/jobs.db", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Installs a manager, opens a store of its own, runs the test, and shuts down.
pub(crate) fn with_store<F: Future<Output = ()>>(test: impl FnOnce(Jobs, String) -> F) {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url())
            .await
            .expect("the store opens");
        test(jobs, scratch.url()).await;
        let report = manager.shutdown("the test is over").await;
        assert!(report.straggler_count == 0, "{report}");
    });
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
