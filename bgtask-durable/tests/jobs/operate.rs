//! What operators see and do: paused queues, priorities, functions that no process has or that were renamed, newer tables.

use crate::support::store::{Process, with_settings, with_store};
use crate::support::transactions::Pool;
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::background;
use bgtask::durable::{JobError, JobId, JobState, enqueue_all};
use bgtask_durable::{Edit, Filter, OpenError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[background(durable(was = "jobs::operate::former"))]
async fn double(number: u32) -> u32 {
    number * 2
}

/// The numbers of each test, in the order in which they ran.
static RAN: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

#[background(durable(queue = "one"))]
async fn note(test: String, number: u8) {
    let mut ran = RAN.lock().expect("no thread panics with it");
    ran.entry(test).or_default().push(number);
}

/// Stores a job as any insert-only client of River does.
async fn insert(scratch: &Scratch, function: &'static str) -> JobId {
    let pool = Pool::of(scratch).await;
    let text = |arguments: &str| {
        format!("INSERT INTO river_job (kind, args, max_attempts) VALUES ('{function}', {arguments}, 10)").leak()
    };
    pool.run(text("jsonb('{\"number\":4}')"), text("'{\"number\":4}'"))
        .await;
    let ids = pool.numbers("SELECT max(id) FROM river_job").await;
    JobId::new(ids[0])
}

/// Sentence 8.2.
fn jobs_of_a_higher_priority_run_first(scratch: Scratch) {
    let test = scratch.url().to_owned();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let one_at_once = bgtask_durable::builder().queue("one", 1);
    runtime.block_on(with_settings(&scratch, one_at_once, |jobs| async move {
        jobs.pause("one").await.expect("it pauses");
        let calls =
            [3, 1, 4, 2, 1, 4].map(|priority| note(test.clone(), priority).priority(priority));
        let handles = enqueue_all(calls).await.expect("they are stored");
        jobs.resume("one").await.expect("it resumes");
        for job in handles {
            job.outcome().await.expect("it ends");
        }
        assert_eq!(RAN.lock().expect("no panic")[&test], [1, 1, 2, 3, 4, 4]);
    }));
}

/// Sentence 11.9.
fn a_queue_that_is_paused_before_a_process_starts_is_resumed_in_it(scratch: Scratch) {
    let test = scratch.url().to_owned();
    let builder = || bgtask_durable::builder().url(scratch.url());
    let first = Process::start(builder());
    let paused = first.run(async {
        first.jobs.pause("one").await.expect("it pauses");
        note(test.clone(), 1).await.expect("it is stored").id()
    });
    first.end();
    let second = Process::start(builder());
    second.run(async {
        // It works already.
        let job = double(1).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(2));
        second.jobs.resume("one").await.expect("it resumes");
        let job = second.jobs.get::<()>(paused);
        job.outcome().await.expect("it ends");
    });
    second.end();
}

/// Sentence 11.9.
fn a_paused_queue_waits_in_all_processes(scratch: Scratch) {
    let test = scratch.url().to_owned();
    let builder = || bgtask_durable::builder().url(scratch.url());
    let processes = [(); 2].map(|()| Process::start(builder()));
    let [first, second] = &processes;
    first.run(async { first.jobs.pause("one").await.expect("it pauses") });
    let paused = second.run(async { note(test.clone(), 1).await.expect("it is stored") });
    for process in &processes {
        // Each of them works meanwhile.
        process.run(async {
            for number in 0..50 {
                let job = double(number).await.expect("it is stored");
                assert_eq!(job.outcome().await, Ok(number * 2));
            }
        });
    }
    second.run(async {
        let status = paused.status().await.expect("it is there");
        assert_eq!(status.state, JobState::Waiting);
        let stats = second.jobs.stats().await.expect("they are read");
        assert!(stats.queues["one"].is_paused);
        second.jobs.resume("one").await.expect("it resumes");
        paused.outcome().await.expect("it ends");
    });
    assert_eq!(RAN.lock().expect("no panic")[&test], [1]);
    processes.into_iter().for_each(Process::end);
}

/// Sentence 6.1.
fn a_job_of_an_unknown_function_stays_and_is_listed(scratch: Scratch) {
    let scratch = &scratch;
    with_store(scratch, |jobs| async move {
        let unknown = insert(scratch, "other::job").await;
        for number in 0..20 {
            let job = double(number).await.expect("it is stored");
            assert_eq!(job.outcome().await, Ok(number * 2));
        }
        let status = jobs.get::<u32>(unknown).status().await;
        let status = status.expect("it is there");
        assert_eq!((status.state, status.attempts), (JobState::Waiting, 0));
        let listed = jobs.list(Filter::all().function("other::job")).await;
        let listed = listed.expect("a list");
        assert_eq!(
            listed.iter().map(|job| job.id).collect::<Vec<_>>(),
            [unknown]
        );
        let stats = jobs.stats().await.expect("they are read");
        assert_eq!(stats.queues["default"].count(JobState::Waiting), 1);
        assert!(stats.queues["default"].oldest_waiting.is_some());
    });
}

/// Sentence 11.11.
fn jobs_that_are_stored_under_the_former_name_run(scratch: Scratch) {
    let scratch = &scratch;
    with_store(scratch, |jobs| async move {
        let former = insert(scratch, "jobs::operate::former").await;
        assert_eq!(jobs.get::<u32>(former).outcome().await, Ok(8));
    });
}

/// Sentence 10.2.
fn newer_tables_are_refused(scratch: Scratch) {
    Process::start(bgtask_durable::builder().url(scratch.url())).end();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let newer = "INSERT INTO river_migration (line, version) VALUES ('main', 999)";
        Pool::of(&scratch).await.run(newer, newer).await;
        let _manager = bgtask::Manager::builder()
            .install()
            .expect("the first manager");
        let refused = bgtask_durable::open_at(scratch.url()).await;
        let refused = refused.expect_err("a newer program's");
        assert!(
            matches!(refused, OpenError::NewerSchema { newest: 999, .. }),
            "{refused}"
        );
    });
}

/// Sentence 11.18.
fn a_job_that_waits_gets_another_priority_and_time(scratch: Scratch) {
    let test = format!("edited {}", scratch.url());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let one_at_once = bgtask_durable::builder().queue("one", 1);
    runtime.block_on(with_settings(&scratch, one_at_once, |jobs| async move {
        jobs.pause("one").await.expect("it pauses");
        let calls = [1, 2, 3].map(|number| note(test.clone(), number).priority(2));
        let handles = enqueue_all(calls).await.expect("they are stored");
        let ids: Vec<_> = handles.iter().map(|job| job.id()).collect();
        let edit = async |job: usize, edit| jobs.edit(ids[job], edit).await.expect("it is there");
        let state = async |job: usize| handles[job].status().await.expect("it is there").state;
        assert!(edit(0, Edit::new().priority(4)).await);
        assert_eq!(state(0).await, JobState::Waiting);
        assert!(edit(2, Edit::new().priority(1)).await);
        let later = SystemTime::now() + Duration::from_secs(3600);
        assert!(edit(1, Edit::new().at(later)).await);
        assert_eq!(state(1).await, JobState::Scheduled);
        let details = jobs.details(ids[1]).await.expect("it is there");
        assert_eq!(details.priority, 2);
        let apart = details.due_at.duration_since(later);
        let apart = apart.unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_secs(1), "{apart:?}");
        jobs.resume("one").await.expect("it resumes");
        for job in [0, 2] {
            jobs.get::<()>(ids[job]).outcome().await.expect("it ends");
        }
        assert_eq!(state(1).await, JobState::Scheduled);
        assert!(edit(1, Edit::new().at(UNIX_EPOCH)).await);
        jobs.get::<()>(ids[1]).outcome().await.expect("it ends");
        assert_eq!(RAN.lock().expect("no panic")[&test], [3, 1, 2]);
        assert!(!edit(1, Edit::new().priority(1)).await, "it has ended");
        let wrong = jobs.edit(ids[1], Edit::new().priority(5)).await;
        wrong.expect_err("there is no such priority");
        let none = jobs
            .edit(JobId::new(999_999), Edit::new().priority(1))
            .await;
        assert_eq!(none, Err(JobError::NotFound));
    }));
}

on_each_database! {
    jobs_of_a_higher_priority_run_first,
    a_job_that_waits_gets_another_priority_and_time,
    a_queue_that_is_paused_before_a_process_starts_is_resumed_in_it,
    a_paused_queue_waits_in_all_processes,
    a_job_of_an_unknown_function_stays_and_is_listed,
    jobs_that_are_stored_under_the_former_name_run,
    newer_tables_are_refused,
}

on_the_kit! {
    jobs_of_a_higher_priority_run_first,
    a_job_that_waits_gets_another_priority_and_time,
}
