//! Ends that cannot be recorded.

use super::http::{ANY_PORT, get, until_status};
use super::transactions::Pool;
use super::*;
use bgtask::background;
use std::io;
use std::path::Path;
use std::sync::{Mutex, Once};

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        crate::lock(&LOGGED).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the errors that are logged from now on.
fn log_errors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
    crate::lock(&LOGGED).clear();
}

fn is_logged(error: &str) -> bool {
    String::from_utf8_lossy(&crate::lock(&LOGGED)).contains(error)
}

/// One test reads the log at a time.
static READS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs until the file is there.
#[background(durable)]
async fn until(go: String) -> u32 {
    while !Path::new(&go).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    7
}

/// Sentences 7.4 and 14.10. In the tests the limit is shorter.
async fn ends_that_are_pending_for_too_long_are_an_error(scratch: Scratch) {
    let _reads = READS.lock().await;
    log_errors();
    let go = std::env::temp_dir().join(format!("bgtask-pending-{}", std::process::id()));
    let manager = bgtask::Manager::builder()
        .install()
        .expect("the first manager");
    // The beats, which wait for the lock of SQLite too, are not what is missed.
    let builder = crate::builder()
        .url(scratch.url())
        .time_to_live(Duration::from_secs(600));
    let opened = builder.health_addr(ANY_PORT).open().await;
    let jobs = opened.expect("the store opens");
    let addr = jobs.health_addr().expect("it is set");
    assert_eq!(get(addr, "/healthz").0, 200);
    let job = until(go.display().to_string()).await;
    let job = job.expect("it is stored");
    let database = scratch.open().await;
    while state(&database, job.id().get()).await != JobState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pool = Pool::of(&scratch).await;
    let mut lock = pool.begin().await;
    lock.run("SELECT 1", "LOCK TABLE river_job IN EXCLUSIVE MODE")
        .await;
    std::fs::write(&go, "").expect("a file");
    while !is_logged("the ends of jobs cannot be recorded") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, reason) = get(addr, "/healthz");
    assert_eq!(status, 503);
    assert!(
        reason.contains("the ends of jobs have not been recorded for"),
        "{reason}"
    );
    lock.commit().await;
    assert_eq!(job.outcome().await, Ok(7));
    until_status(addr, 200);
    manager.shutdown("the test is over").await;
    std::fs::remove_file(&go).expect("it is there");
}

on_each_database! {
    async
    ends_that_are_pending_for_too_long_are_an_error,
}
