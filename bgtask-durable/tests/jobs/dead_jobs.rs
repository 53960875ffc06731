//! Dead jobs: the hook, and trying them again; lists, figures and deletion.

use crate::support::store::{LIMIT, with_settings};
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::durable::{JobError, JobId, JobState};
use bgtask_durable::Filter;
use serde_json::value::RawValue;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

#[bgtask::background(durable, retry(max = 1), log = "off")]
async fn hopeless(number: u32) -> Result<(), String> {
    Err(format!("number {number} is off"))
}

#[bgtask::background(durable(queue = "slow"))]
async fn quick(number: u32) -> u32 {
    number
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(test);
}

/// Sentence 11.14.
async fn the_hook_hears_of_each_dead_job_once(scratch: Scratch) {
    let (sender, heard) = mpsc::channel();
    let settings = bgtask_durable::builder().on_dead(move |job| {
        let told = (job.id, job.function.clone(), job.last_error.clone());
        sender.send(told).expect("the test listens");
        assert!(job.state == JobState::Dead, "{job:?}");
    });
    with_settings(&scratch, settings, |_| async move {
        let first = hopeless(1).await.expect("it is stored");
        let second = hopeless(2).await.expect("it is stored");
        for job in [&first, &second] {
            job.outcome().await.expect_err("it fails");
        }
        let mut told: Vec<_> = (0..2)
            .map(|_| heard.recv_timeout(LIMIT).expect("the hook is called"))
            .collect();
        told.sort();
        let function = "jobs::dead_jobs::hopeless".to_owned();
        let of = |number| Some(format!("number {number} is off"));
        assert_eq!(
            told,
            [
                (first.id(), function.clone(), of(1)),
                (second.id(), function, of(2))
            ]
        );
        assert!(heard.try_recv().is_err());
    })
    .await;
}

/// Sentence 11.14.
async fn a_hook_that_panics_keeps_no_other_job_from_it(scratch: Scratch) {
    let (sender, heard) = mpsc::channel();
    let settings = bgtask_durable::builder().on_dead(move |job| {
        sender.send(job.id).expect("the test listens");
        panic!("on purpose");
    });
    with_settings(&scratch, settings, |_| async move {
        for number in 0..2 {
            let job = hopeless(number).await.expect("it is stored");
            assert_eq!(heard.recv_timeout(LIMIT), Ok(job.id()));
            job.outcome().await.expect_err("it fails");
        }
    })
    .await;
}

/// Returns a value that no database accepts.
#[bgtask::background(durable)]
async fn too_deep() -> Box<RawValue> {
    let depth = 100_000;
    let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    RawValue::from_string(value).expect("it is JSON")
}

/// Sentences 6.7 and 11.14.
async fn the_hook_is_called_for_a_job_whose_value_the_database_refuses(scratch: Scratch) {
    let (sender, heard) = mpsc::channel();
    let settings = bgtask_durable::builder().on_dead(move |job| {
        sender.send(job.id).expect("the test listens");
    });
    with_settings(&scratch, settings, |_| async move {
        let job = too_deep().await.expect("it is stored");
        assert_eq!(heard.recv_timeout(LIMIT), Ok(job.id()));
        let refused = job.outcome().await.expect_err("it is dead");
        assert!(matches!(refused, JobError::Failed { .. }), "{refused}");
    })
    .await;
}

/// Sentence 11.9.
async fn a_paused_queue_is_not_claimed_from_until_it_is_resumed(scratch: Scratch) {
    with_settings(&scratch, bgtask_durable::builder(), |jobs| async move {
        for name in ["Slow", "a b"] {
            let error = jobs.pause(name).await.expect_err("no queue has this name");
            assert!(error.to_string().contains("wrong name"), "{error}");
            jobs.resume(name).await.expect_err("nor this one");
        }
        jobs.pause("slow").await.expect("it is paused");
        let job = quick(1).await.expect("it is stored");
        // The other queue works meanwhile.
        for number in 0..3 {
            let other = hopeless(number).await.expect("it is stored");
            other.outcome().await.expect_err("it fails");
        }
        let status = job.status().await.expect("it is there");
        assert_eq!((status.state, status.attempts), (JobState::Waiting, 0));
        let stats = jobs.stats().await.expect("the figures");
        let queue = &stats.queues["slow"];
        assert!(
            queue.is_paused && queue.oldest_waiting.is_some(),
            "{stats:?}"
        );
        assert_eq!(queue.count(JobState::Waiting), 1);
        assert_eq!(stats.count(JobState::Dead), 3);
        jobs.resume("slow").await.expect("it is resumed");
        assert_eq!(job.outcome().await, Ok(1));
    })
    .await;
}

/// Sentence 11.13.
async fn dead_jobs_of_a_filter_are_tried_again(scratch: Scratch) {
    with_settings(&scratch, bgtask_durable::builder(), |jobs| async move {
        let mut stored = Vec::new();
        for number in 0..3 {
            let job = hopeless(number).await.expect("it is stored");
            job.outcome().await.expect_err("it fails");
            stored.push(job);
        }
        let of_others = Filter::all().function("jobs::dead_jobs::quick");
        assert_eq!(jobs.retry_dead(of_others).await, Ok(0));
        assert_eq!(jobs.retry_dead(Filter::all()).await, Ok(3));
        for job in &stored {
            let failed = job.outcome().await.expect_err("it fails again");
            assert!(
                matches!(failed, JobError::Failed { attempts: 1, .. }),
                "{failed}"
            );
        }
    })
    .await;
}

/// Sentence 11.16.
async fn jobs_are_listed_from_the_latest_page_by_page(scratch: Scratch) {
    with_settings(&scratch, bgtask_durable::builder(), |jobs| async move {
        jobs.pause("slow").await.expect("it is paused");
        let stored = bgtask::durable::enqueue_all((0..5).map(quick)).await;
        let mut expected: Vec<_> = stored
            .expect("they are stored")
            .iter()
            .map(|job| job.id())
            .collect();
        expected.reverse();
        let filter = Filter::all()
            .queue("slow")
            .state(JobState::Waiting)
            .limit(2);
        let mut listed = Vec::new();
        let mut page = filter.clone();
        loop {
            let found = jobs.list(page).await.expect("a page");
            let Some(last) = found.last() else { break };
            page = filter.clone().before(last.id);
            listed.extend(found.iter().map(|job| job.id));
        }
        assert_eq!(listed, expected);
    })
    .await;
}

/// Sentence 11.15.
async fn a_deleted_job_is_gone(scratch: Scratch) {
    with_settings(&scratch, bgtask_durable::builder(), |jobs| async move {
        let job = quick(1).after(LIMIT).await.expect("it is stored");
        assert_eq!(jobs.delete(job.id()).await, Ok(true));
        assert_eq!(job.status().await, Err(JobError::Gone));
        assert_eq!(jobs.delete(job.id()).await, Err(JobError::Gone));
        let next = quick(2).await.expect("it is stored");
        assert!(next.id() > job.id());
        assert_eq!(next.outcome().await, Ok(2));
    })
    .await;
}

async fn a_job_is_read_with_its_history_and_its_content(scratch: Scratch) {
    with_settings(&scratch, bgtask_durable::builder(), |jobs| async move {
        let begin = SystemTime::now() - Duration::from_secs(1);
        let job = hopeless(7).priority(3).await.expect("it is stored");
        job.outcome().await.expect_err("it fails");
        let details = jobs.details(job.id()).await.expect("it is there");
        assert_eq!(details.status, job.status().await.expect("it is there"));
        assert_eq!((details.priority, details.is_unique), (3, false));
        assert!(details.stored_at >= begin, "{details:?}");
        let [claimed, ended] = [details.claimed_at, details.ended_at];
        assert!(claimed.is_some() && ended >= claimed, "{details:?}");
        let [error] = &details.errors[..] else {
            panic!("one error: {details:?}");
        };
        assert_eq!((error.attempt, &*error.message), (1, "number 7 is off"));
        let content = jobs.content(job.id()).await.expect("it is there");
        assert_eq!(content.arguments.get().replace(' ', ""), r#"{"number":7}"#);
        assert!(content.value.is_none());
        let dead = Filter::all().state(JobState::Dead);
        assert_eq!(jobs.matching(dead).await, Ok(1));
        let queues = jobs.queues().await.expect("they are read");
        assert!(
            queues.iter().any(|queue| queue.name == "default"),
            "{queues:?}"
        );
        assert_eq!(jobs.schedules().await, Ok(Vec::new()));
        assert_eq!(jobs.prune().await, Ok(0));
        let unknown = jobs.details(JobId::new(999)).await;
        assert_eq!(unknown, Err(JobError::NotFound));
        jobs.delete(job.id()).await.expect("it is deleted");
        let gone = jobs.content(job.id()).await.map(|_| ());
        assert_eq!(gone, Err(JobError::Gone));
    })
    .await;
}

on_each_database! {
    async
    a_job_is_read_with_its_history_and_its_content,
    the_hook_hears_of_each_dead_job_once,
    a_hook_that_panics_keeps_no_other_job_from_it,
    the_hook_is_called_for_a_job_whose_value_the_database_refuses,
    a_paused_queue_is_not_claimed_from_until_it_is_resumed,
    dead_jobs_of_a_filter_are_tried_again,
    jobs_are_listed_from_the_latest_page_by_page,
    a_deleted_job_is_gone,
}

on_the_kit! {
    async
    the_hook_hears_of_each_dead_job_once,
    a_hook_that_panics_keeps_no_other_job_from_it,
    a_job_is_read_with_its_history_and_its_content,
    a_paused_queue_is_not_claimed_from_until_it_is_resumed,
    dead_jobs_of_a_filter_are_tried_again,
    jobs_are_listed_from_the_latest_page_by_page,
    a_deleted_job_is_gone,
}
