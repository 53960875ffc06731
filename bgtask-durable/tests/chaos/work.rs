//! The bodies of the jobs of a round. Each run writes into the ledger that it begins, and that it ends.
//! Knows nothing of what happens to its process.

use super::plan::{CHILD, Plain};
use super::support::transactions::Pool;
use bgtask::durable::{JobHandle, StopReason};
use bgtask::{Job, ShutdownToken, State, background};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// The value of every job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) run: String,
    pub(crate) filler: String,
}

pub(crate) fn folder() -> PathBuf {
    let folder = std::env::var_os("BGTASK_TEST_FOLDER");
    folder.expect("the folder of the round").into()
}

macro_rules! note {
    ($($line:tt)*) => { crate::ledger::append(&crate::work::folder(), format_args!($($line)*)) };
}
pub(crate) use note;

/// One run of a body.
struct Run(String);

impl Run {
    fn begin(job: &Job, number: u32) -> Self {
        let run = format!("r{:016x}", fastrand::u64(..));
        note!("begin {} {number} {} {run}", job.id(), std::process::id());
        Self(run)
    }

    fn ok(self, filler: String) -> Value {
        note!("end {} ok", self.0);
        let run = self.0;
        Value { run, filler }
    }

    fn err(self, text: &str) -> String {
        note!("end {} err", self.0);
        format!("{text} run={}", self.0)
    }

    fn panic(self) -> ! {
        note!("end {} panic", self.0);
        panic!("panics run={}", self.0)
    }
}

async fn pause(millis: u32) {
    tokio::time::sleep(Duration::from_millis(millis.into())).await;
}

#[background(durable, retry(max = 3, base = "20ms", cap = "80ms"), log = "off")]
pub(crate) async fn plain(
    job: Job,
    token: ShutdownToken,
    number: u32,
    what: Plain,
) -> Result<Value, String> {
    let run = Run::begin(&job, number);
    match what {
        Plain::FailsUntil(attempts) if job.attempt() <= attempts => return Err(run.err("fails")),
        Plain::PanicsUntil(attempts) if job.attempt() <= attempts => run.panic(),
        Plain::Fails => return Err(run.err("fails")),
        Plain::NulError => return Err(run.err("a NUL \0 in it")),
        Plain::Panics => run.panic(),
        Plain::NulOutput => return Ok(run.ok("a NUL \0 in it".to_owned())),
        Plain::Big => return Ok(run.ok("x".repeat(200 * 1024))),
        Plain::TooLarge => return Ok(run.ok("x".repeat(300 * 1024))),
        Plain::Ignores(millis) => pause(millis).await,
        Plain::Long(millis) => {
            job.progress(0.5, "half of it");
            let mut work = std::pin::pin!(pause(millis));
            tokio::select! {
                () = &mut work => {}
                () = token.cancelled() => {
                    note!("note {} {:?}", run.0, token.reason());
                    if token.reason() == Some(StopReason::Cancelled) {
                        return Err(run.err("is cancelled"));
                    }
                    work.await;
                }
            }
        }
        Plain::Ends | Plain::FailsUntil(_) | Plain::PanicsUntil(_) => {}
    }
    Ok(run.ok(String::new()))
}

#[background(durable, retry(max = 1), log = "off")]
pub(crate) async fn once(job: Job, number: u32, millis: u32) -> Value {
    let run = Run::begin(&job, number);
    pause(millis).await;
    run.ok(String::new())
}

#[background(
    durable,
    timeout = "150ms",
    retry(max = 6, base = "20ms", cap = "80ms"),
    log = "off"
)]
pub(crate) async fn times_out(job: Job, number: u32, attempts: u32) -> Value {
    let run = Run::begin(&job, number);
    if job.attempt() <= attempts {
        std::future::pending::<()>().await;
    }
    run.ok(String::new())
}

#[background(durable, on_shutdown = "cancel", retry(max = 1), log = "off")]
pub(crate) async fn leaves(job: Job, number: u32, millis: u32) -> Value {
    let run = Run::begin(&job, number);
    pause(millis).await;
    run.ok(String::new())
}

#[background(durable, retry(max = 1), log = "off")]
pub(crate) fn blocks(job: Job, number: u32, millis: u32) -> Value {
    let run = Run::begin(&job, number);
    std::thread::sleep(Duration::from_millis(millis.into()));
    run.ok(String::new())
}

#[background(durable(unique(key = key)), retry(max = 1), log = "off")]
pub(crate) async fn keyed(job: Job, number: u32, key: u8) -> Value {
    let run = Run::begin(&job, number);
    pause(30).await;
    let _ = key;
    run.ok(String::new())
}

#[background(
    durable(queue = "narrow"),
    concurrency = 1,
    retry(max = 1),
    log = "off"
)]
pub(crate) async fn scarce(job: Job, number: u32, millis: u32) -> Value {
    let run = Run::begin(&job, number);
    pause(millis).await;
    run.ok(String::new())
}

/// The transaction has recorded the end, whatever the body does after its commit.
#[background(
    durable(queue = "mail"),
    retry(max = 12, base = "20ms", cap = "80ms"),
    log = "off"
)]
pub(crate) async fn completes(
    job: Job,
    State(pool): State<Pool>,
    number: u32,
    rolls_back: u32,
) -> Result<Value, String> {
    let run = Run::begin(&job, number);
    let mut transaction = pool.begin().await;
    transaction.book(number).await;
    let value = Value {
        run: run.0.clone(),
        filler: String::new(),
    };
    if let Err(error) = job.complete_in(&mut transaction, &value).await {
        transaction.roll_back().await;
        return Err(run.err(&error.to_string()));
    }
    if job.attempt() <= rolls_back {
        transaction.roll_back().await;
        return Ok(run.ok(String::new()));
    }
    note!("commit {}", run.0);
    transaction.commit().await;
    match number % 3 {
        0 => Ok(run.ok(String::new())),
        1 => Err(run.err("after the commit")),
        _ => run.panic(),
    }
}

#[background(
    durable(queue = "mail"),
    retry(max = 12, base = "20ms", cap = "80ms"),
    log = "off"
)]
pub(crate) async fn parent(
    job: Job,
    State(pool): State<Pool>,
    number: u32,
    rolls_back: u32,
) -> Result<Value, String> {
    let run = Run::begin(&job, number);
    let mut transaction = pool.begin().await;
    transaction.book(number).await;
    let stored: Result<JobHandle<Value>, _> = child(number + CHILD).within(&mut transaction).await;
    if let Err(error) = stored {
        transaction.roll_back().await;
        return Err(run.err(&error.to_string()));
    }
    if job.attempt() <= rolls_back {
        transaction.roll_back().await;
        return Err(run.err("rolled back"));
    }
    transaction.commit().await;
    Ok(run.ok(String::new()))
}

#[background(durable, retry(max = 1), log = "off")]
pub(crate) async fn child(job: Job, number: u32) -> Value {
    let run = Run::begin(&job, number);
    run.ok(String::new())
}

#[background(durable, retry(max = 1), log = "off")]
pub(crate) async fn aborts(job: Job, number: u32) -> Value {
    let run = Run::begin(&job, number);
    if File::create_new(folder().join(format!("aborted-{number}"))).is_ok() {
        std::process::abort();
    }
    run.ok(String::new())
}
