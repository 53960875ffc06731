//! The roles of processes, and how many jobs of a queue run at once in one.

use crate::support::http::{ANY_PORT, get, until_status};
use crate::support::store::{Process, until};
use crate::support::transactions::Pool;
use crate::support::{Scratch, on_each_database};
use bgtask::durable::JobState;
use bgtask::{State, background};
use bgtask_durable::{Filter, OpenError, Role, builder};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The process that runs a job, as its manager names it.
#[derive(Clone)]
struct ProcessName(&'static str);

#[background(durable(queue = "mail"))]
async fn ran_by(State(process): State<ProcessName>) -> String {
    process.0.to_owned()
}

/// Calls another durable function, and returns the id of its job.
#[background(durable(queue = "mail"))]
async fn calls() -> i64 {
    ran_by().await.expect("it is stored").id().get()
}

#[background(durable(queue = "other"))]
async fn in_another_queue() {}

/// One test counts at a time.
static COUNTS: Mutex<()> = Mutex::new(());

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST_AT_ONCE: AtomicUsize = AtomicUsize::new(0);

#[background(durable(queue = "counted"))]
async fn counted() {
    let now = AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1;
    MOST_AT_ONCE.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    AT_ONCE.fetch_sub(1, Ordering::SeqCst);
}

fn start(scratch: &Scratch, role: Role, name: &'static str) -> Process {
    let process = Process::start(builder().url(scratch.url()).role(role));
    process.run(async { bgtask::provide(ProcessName(name)) });
    assert_eq!(process.jobs.role(), role);
    process
}

/// Sentences 14.1 and 14.2.
fn a_process_that_only_stores_claims_no_job_and_has_no_lease(scratch: Scratch) {
    // The tables, and a note of each process that has a lease.
    start(&scratch, Role::Enqueue, "first").end();
    let note = "CREATE TABLE noted (lease bigint NOT NULL)";
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = runtime.block_on(async {
        let pool = Pool::of(&scratch).await;
        pool.run(note, note).await;
        pool.run(
            "CREATE TRIGGER note AFTER INSERT ON bgtask_worker BEGIN INSERT INTO noted VALUES (1); END",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN INSERT INTO noted VALUES (1); RETURN NULL; END $$",
        )
        .await;
        pool.run(
            "SELECT 1",
            "CREATE TRIGGER note AFTER INSERT ON bgtask_worker FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
        pool
    });
    // Its jobs could run there at once: their state is provided, and no worker is there.
    let front = start(&scratch, Role::Enqueue, "front");
    let jobs = front.run(async {
        let jobs = bgtask::durable::enqueue_all((0..20).map(|_| ran_by())).await;
        jobs.expect("they are stored")
    });
    let cancelled = front.run(async {
        let job = in_another_queue().await.expect("it is stored");
        assert_eq!(job.cancel().await, Ok(true));
        job
    });
    // While a worker of another queue runs one job after the other, nobody claims them.
    let other = Process::start(
        builder()
            .url(scratch.url())
            .queue("mail", 0)
            .role(Role::Work),
    );
    other.run(async { bgtask::provide(ProcessName("other")) });
    front.run(async {
        for _ in 0..20 {
            let job = in_another_queue().await.expect("it is stored");
            assert_eq!(job.outcome().await, Ok(()));
        }
        for job in &jobs {
            let status = job.status().await.expect("it is there");
            assert_eq!((status.state, status.attempts), (JobState::Waiting, 0));
        }
    });
    other.end();
    let worker = start(&scratch, Role::Work, "worker");
    front.run(async {
        for job in jobs {
            // Awaited there, and run elsewhere.
            assert_eq!(job.outcome().await.as_deref(), Ok("worker"));
        }
        let status = cancelled.status().await.expect("it is there");
        assert_eq!(status.state, JobState::Cancelled);
        assert_eq!(front.jobs.count(JobState::Done).await, Ok(40));
        let listed = front.jobs.list(Filter::all().queue("other")).await;
        assert_eq!(listed.expect("a list").len(), 21);
    });
    worker.end();
    front.end();
    let leases = runtime.block_on(pool.numbers("SELECT lease FROM noted"));
    assert_eq!(leases, [1, 1], "those of the two workers");
}

/// Sentence 14.3.
fn a_worker_stores_what_its_jobs_call(scratch: Scratch) {
    let front = start(&scratch, Role::Enqueue, "front");
    let worker = start(&scratch, Role::Work, "worker");
    front.run(async {
        let first = calls().await.expect("it is stored");
        let id = first.outcome().await.expect("it runs");
        let second = front.jobs.get::<String>(bgtask::durable::JobId::new(id));
        assert_eq!(second.outcome().await.as_deref(), Ok("worker"));
    });
    // A call outside of a job is stored there, too.
    worker.run(async {
        let job = ran_by().await.expect("it is stored");
        assert_eq!(job.outcome().await.as_deref(), Ok("worker"));
    });
    worker.end();
    front.end();
}

/// Sentence 14.4.
fn a_worker_without_a_queue_is_refused(scratch: Scratch) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = bgtask::Manager::builder().install().expect("the first");
        let idle = || builder().url(scratch.url()).queue("*", 0);
        let error = idle().role(Role::Work).open().await;
        let error = error.expect_err("it has no queue");
        assert!(matches!(error, OpenError::NothingToWork(_)), "{error}");
        let error = idle().work().await.expect_err("it has no queue");
        assert!(error.to_string().contains("BGTASK_QUEUES"), "{error}");
        manager.shutdown("the test is over").await;
    });
}

/// Sentence 14.9.
fn a_queue_runs_as_many_jobs_at_once_as_set_and_none_with_0(scratch: Scratch) {
    let _counts = COUNTS.lock().expect("no test panics with it");
    let settings = builder().url(scratch.url()).queue("counted", 3);
    // With as few connections as may be.
    let dedicated = Process::start(settings.queue("*", 0).connections(2));
    let left = dedicated.run(async {
        bgtask::provide(ProcessName("dedicated"));
        let left = in_another_queue().await.expect("it is stored");
        let jobs = bgtask::durable::enqueue_all((0..30).map(|_| counted())).await;
        for job in jobs.expect("they are stored") {
            assert_eq!(job.outcome().await, Ok(()));
        }
        left
    });
    // It was stored first, and would have run before the last of the others.
    let status = dedicated.run(left.status()).expect("it is there");
    assert_eq!((status.state, status.attempts), (JobState::Waiting, 0));
    let most = MOST_AT_ONCE.swap(0, Ordering::SeqCst);
    assert!((1..=3).contains(&most), "{most}");
    let other = start(&scratch, Role::Both, "other");
    let status = other.run(until(&left, |status| status.state == JobState::Done));
    assert_eq!(status.attempts, 1);
    other.end();
    dedicated.end();
}

/// Sentence 14.10.
fn healthz_is_503_when_the_runtime_has_ended_and_nothing_can_be_claimed(scratch: Scratch) {
    let process = Process::start(builder().url(scratch.url()).health_addr(ANY_PORT));
    let addr = process.jobs.health_addr().expect("it is set");
    assert_eq!(get(addr, "/healthz").0, 200);
    let Process {
        runtime, manager, ..
    } = process;
    runtime.shutdown_background();
    let reason = until_status(addr, 503);
    assert!(reason.contains("runtime has ended"), "{reason}");
    drop(manager);
}

on_each_database! {
    a_process_that_only_stores_claims_no_job_and_has_no_lease,
    a_worker_stores_what_its_jobs_call,
    a_worker_without_a_queue_is_refused,
    a_queue_runs_as_many_jobs_at_once_as_set_and_none_with_0,
    healthz_is_503_when_the_runtime_has_ended_and_nothing_can_be_claimed,
}
