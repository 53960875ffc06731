//! What is logged of a job: never its arguments. A binary of its own, because all that the process logs is read.

mod support;

use bgtask::background;
use bgtask::durable::{JobError, JobState};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io;
use std::sync::{Mutex, Once};
use support::store;
use support::store::{until, with_store};
use support::{Scratch, on_each_database};

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED
            .lock()
            .expect("no thread panics with it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs everything that any crate has to say.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

const SECRET: &str = "hunter2-of-the-arguments";

#[background(durable, retry(max = 2, base = "10ms"))]
async fn keeps(secret: String, fails: bool) -> Result<usize, String> {
    if fails {
        Err("an error of the body".to_owned())
    } else {
        Ok(secret.len())
    }
}

/// Is stored as a text, and does not decode.
struct Twisted;

impl Serialize for Twisted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SECRET)
    }
}

impl<'de> Deserialize<'de> for Twisted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|_| Self)
    }
}

#[background(durable)]
async fn takes(_twisted: Twisted) {}

/// Sentence 9.2.
fn arguments_are_never_logged(scratch: Scratch) {
    log();
    with_store(&scratch, |_| async {
        let call = keeps(SECRET.to_owned(), false);
        let debug = format!("{call:?}");
        assert!(!debug.contains(SECRET), "{debug}");
        let job = call.await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(SECRET.len()));
        let job = keeps(SECRET.to_owned(), true).await.expect("it is stored");
        let failed = job.outcome().await.expect_err("it fails");
        assert!(matches!(failed, JobError::Failed { .. }), "{failed}");
        drop(keeps(SECRET.to_owned(), false));
        let job = takes(Twisted).await.expect("it is stored");
        let status = until(&job, |status| status.state == JobState::Parked).await;
        // The status has the reason: its readers have access to the database.
        assert!(status.last_error.expect("a reason").contains(SECRET));
    });
    let logged = LOGGED.lock().expect("no thread panics with it");
    let logged = String::from_utf8_lossy(&logged);
    // What is looked for would be there.
    assert!(logged.contains("an error of the body"));
    let line = logged.lines().find(|line| line.contains(SECRET));
    assert_eq!(line, None);
}

#[background(durable, every = "1h")]
async fn hourly() {}

/// Sentence 13.12.
#[test]
fn a_schedule_without_a_store_is_reported() {
    log();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = bgtask::Manager::builder().schedules(true).install();
        let manager = manager.expect("the first of its runtime");
        let begin = std::time::Instant::now();
        loop {
            let logged = LOGGED.lock().expect("no thread panics with it").clone();
            let logged = String::from_utf8_lossy(&logged);
            let line = logged
                .lines()
                .find(|line| line.contains("is waiting for a store"));
            if let Some(line) = line {
                assert!(line.contains("call `bgtask_durable::open()`"), "{line}");
                assert!(line.contains("logs::hourly"), "{line}");
                break;
            }
            assert!(begin.elapsed() < store::LIMIT, "{logged}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        manager.shutdown("the test is over").await;
    });
}

on_each_database! {
    arguments_are_never_logged,
}
