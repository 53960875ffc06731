//! The `main` of the processes of a round: opens the store, does its acts, and reads all outcomes when the round asks for it.
//! Knows nothing of what is checked.

use super::ledger::Ledger;
use super::plan::{Act, CRASH_LIMIT, Kind, Plan, Planned, QUEUES};
use super::support::transactions::Pool;
use super::work::{self, Value, folder, note};
use bgtask::ShutdownToken;
use bgtask::durable::{Enqueue, EnqueueError, JobError, JobHandle, JobId, enqueue_all};
use bgtask_durable::Jobs;
use std::env;
use std::process;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks for a file, or two tries.
const PAUSE: Duration = Duration::from_millis(20);

fn text(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set by the round"))
}

fn number(name: &str) -> usize {
    text(name).parse().expect("a number")
}

#[bgtask::main(worker_threads = 2)]
pub(super) async fn main(shutdown: ShutdownToken) {
    tracing_subscriber::fmt()
        .with_env_filter("bgtask=info,warn")
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let url = text("BGTASK_TEST_URL");
    let seed = text("BGTASK_TEST_SEED").parse().expect("a seed");
    let plan = Plan::from_seed(seed, url.starts_with("postgres"));
    bgtask::set_grace(plan.grace);
    let mut run = std::pin::pin!(run(&url, &plan));
    // Whatever it is about to do is never done.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = &mut run => shutdown.cancelled().await,
    }
}

async fn run(url: &str, plan: &Plan) {
    let (jobs, pool) = opened(url, plan).await;
    bgtask::provide(pool);
    note!("open {}", process::id());
    until_there("go").await;
    let me = number("BGTASK_TEST_PROCESS");
    let process = Process { jobs, me };
    process.act(&plan.acts[me]).await;
    note!("done {me}");
    until_there("look").await;
    process.look().await;
}

/// Opens the store, and a pool beside it, however often the database is away.
async fn opened(url: &str, plan: &Plan) -> (Jobs, Pool) {
    let mut builder = bgtask_durable::builder()
        .url(url)
        .time_to_live(plan.time_to_live)
        .crash_limit(CRASH_LIMIT);
    for (queue, at_once) in QUEUES {
        builder = builder.queue(queue, at_once);
    }
    let jobs = loop {
        match builder.clone().open().await {
            Ok(jobs) => break jobs,
            Err(error) => note!("note not open: {error}"),
        }
        sleep(PAUSE).await;
    };
    loop {
        let url = url.to_owned();
        // It panics if the database is away.
        let pool = tokio::spawn(async move { Pool::at(&url).await });
        if let Ok(pool) = pool.await {
            return (jobs, pool);
        }
        sleep(PAUSE).await;
    }
}

async fn until_there(file: &str) {
    let path = folder().join(file);
    while !path.exists() {
        sleep(PAUSE).await;
    }
}

struct Process {
    jobs: Jobs,
    me: usize,
}

impl Process {
    /// Goes on where the process before it in this place died.
    async fn act(&self, acts: &[Act]) {
        let last = Ledger::read(&folder()).acts.get(&self.me).copied();
        for (index, act) in acts.iter().enumerate().skip(last.unwrap_or(0)) {
            note!("act {} {index}", self.me);
            match act {
                Act::Store(job) => self.store(job).await,
                Act::StoreAll(jobs) => self.store_all(jobs).await,
                Act::Cancel(number) => {
                    if let Some(job) = self.find(*number) {
                        note!("ask cancel {}", job.id());
                        let answer = job.cancel().await;
                        note!("note cancel {} {answer:?}", job.id());
                    }
                }
                Act::RetryNow(number) => {
                    if let Some(job) = self.find(*number) {
                        note!("ask retry {}", job.id());
                        let answer = job.retry_now().await;
                        note!("note retry {} {answer:?}", job.id());
                    }
                }
                Act::Delete(number) => {
                    if let Some(job) = self.find(*number) {
                        note!("ask delete {}", job.id());
                        let answer = self.jobs.delete(job.id()).await;
                        note!("note delete {} {answer:?}", job.id());
                    }
                }
                Act::Await(number) => {
                    // A job that waits for an end costs the others nothing.
                    if let Some(job) = self.find(*number) {
                        tokio::spawn(async move {
                            let outcome = outcome_of(&job).await;
                            note!("note awaited {} {outcome:?}", job.id());
                        });
                    }
                }
                Act::Pause(queue) => {
                    while self.jobs.pause(*queue).await.is_err() {
                        sleep(PAUSE).await;
                    }
                }
                Act::Resume(queue) => {
                    while self.jobs.resume(*queue).await.is_err() {
                        sleep(PAUSE).await;
                    }
                }
                Act::Sleep(pause) => sleep(*pause).await,
            }
        }
    }

    async fn store(&self, job: &Planned) {
        let ledger = Ledger::read(&folder());
        let was_tried = ledger.stores.contains_key(&job.number);
        // Nobody knows whether the one before it stored it. With a key it may be repeated.
        if was_tried && !matches!(job.kind, Kind::Keyed(_)) {
            return;
        }
        note!("store {}", job.number);
        match call(job).await {
            Ok(stored) => note_stored(job.number, &stored),
            Err(error) => note_error(job.number, &error),
        }
    }

    async fn store_all(&self, jobs: &[Planned]) {
        let ledger = Ledger::read(&folder());
        if jobs
            .iter()
            .any(|job| ledger.stores.contains_key(&job.number))
        {
            return;
        }
        for job in jobs {
            note!("store {}", job.number);
        }
        match enqueue_all(jobs.iter().map(call)).await {
            Ok(stored) => {
                for (job, stored) in jobs.iter().zip(&stored) {
                    note_stored(job.number, stored);
                }
            }
            Err(error) => {
                for job in jobs {
                    note_error(job.number, &error);
                }
            }
        }
    }

    fn find(&self, number: u32) -> Option<JobHandle<Value>> {
        let id = Ledger::read(&folder()).id(number)?;
        Some(self.jobs.get(JobId::new(id)))
    }

    /// Reads the outcomes of all jobs, whichever process ran them.
    async fn look(&self) {
        let ids = std::fs::read_to_string(folder().join("look")).expect("it is there");
        for id in ids.split_whitespace() {
            let id: i64 = id.parse().expect("an id");
            let job: JobHandle<Value> = self.jobs.get(JobId::new(id));
            let outcome = loop {
                match outcome_of(&job).await {
                    // The database is away, because of another round.
                    Err(JobError::Store { .. }) => sleep(PAUSE).await,
                    outcome => break outcome,
                }
            };
            let outcome = match outcome {
                Ok(run) => format!("done {run}"),
                Err(JobError::Cancelled { .. }) => "cancelled".to_owned(),
                Err(JobError::Gone) => "gone".to_owned(),
                Err(
                    JobError::Failed { attempts, .. }
                    | JobError::Panicked { attempts, .. }
                    | JobError::TimedOut { attempts, .. },
                ) => {
                    format!("dead {attempts}")
                }
                Err(other) => format!("{other:?}"),
            };
            note!("outcome {id} {} {outcome}", process::id());
        }
        note!("looked {}", process::id());
    }
}

/// Waits for the end of a job, and returns the run that it names.
async fn outcome_of(job: &JobHandle<Value>) -> Result<String, JobError> {
    let value = job.outcome().await?;
    Ok(format!("{} {}", value.run, value.filler.len()))
}

fn note_stored(number: u32, stored: &JobHandle<Value>) {
    let how = if stored.is_duplicate() {
        "duplicate"
    } else {
        "stored"
    };
    note!("{how} {number} {}", stored.id());
}

fn note_error(number: u32, error: &EnqueueError) {
    match error {
        // It may be stored.
        EnqueueError::Unknown { .. } => note!("note unknown {number} {error}"),
        _ => note!("refused {number} {error}"),
    }
}

fn call(job: &Planned) -> Enqueue<Value> {
    let number = job.number;
    let mut call = match job.kind {
        Kind::Plain(what) => work::plain(number, what),
        Kind::Once(millis) => work::once(number, millis),
        Kind::TimesOut(attempts) => work::times_out(number, attempts),
        Kind::Leaves(millis) => work::leaves(number, millis),
        Kind::Blocks(millis) => work::blocks(number, millis),
        Kind::Keyed(key) => work::keyed(number, key),
        Kind::Scarce(millis) => work::scarce(number, millis),
        Kind::Completes(rolls_back) => work::completes(number, rolls_back),
        Kind::Parent(rolls_back) => work::parent(number, rolls_back),
        Kind::Aborts => work::aborts(number),
    };
    call = call.priority(job.priority);
    if let Some(queue) = job.queue {
        call = call.queue(queue);
    }
    match job.after {
        Some(after) => call.after(after),
        None => call,
    }
}
