//! Durable calls: their queue, priority and key, many at once, and calls from threads without a runtime.

use crate::support::store::{open, until, with_store};
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::background;
use bgtask::durable::{EnqueueError, JobError, JobState, enqueue_all, not_stored};
use serde_json::json;
use std::time::Duration;

#[background(durable)]
async fn double(number: u32) -> u32 {
    number * 2
}

#[background(durable)]
async fn greet(name: String) -> String {
    format!("hello {name}")
}

#[background(durable(queue = "slow"), retry(max = 1))]
async fn fail() -> Result<(), String> {
    Err("no".to_owned())
}

const LATER: Duration = Duration::from_secs(3600);

fn a_call_may_choose_its_queue_and_priority(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = double(1)
            .queue("slow")
            .priority(3)
            .await
            .expect("it is stored");
        assert_eq!(job.outcome().await, Ok(2));
        let status = job.status().await.expect("it is there");
        assert_eq!((&*status.queue, status.max_attempts), ("slow", 10));
    });
}

/// Sentence 1.10.
fn wrong_options_are_named_when_the_call_is_stored(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let error = double(1).queue("9 lives").await.expect_err("a wrong name");
        assert!(matches!(&error, EnqueueError::Queue { name, .. } if name == "9 lives"));
        assert!(error.to_string().contains("\"9 lives\""), "{error}");
        for priority in [0, 5] {
            let error = double(1).priority(priority).await.expect_err("no priority");
            assert!(
                matches!(error, EnqueueError::Priority { priority: wrong, .. } if wrong == priority)
            );
        }
        for key in ["", "a\0b", &"x".repeat(1025)] {
            let error = double(1).key(key).await.expect_err("no key");
            assert!(matches!(error, EnqueueError::Key { .. }), "{error}");
        }
        assert_eq!(not_stored(), 0);
    });
}

/// Sentences 11.4 and 11.5.
fn while_a_job_with_a_key_has_not_ended_no_second_is_stored(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let first = double(1).key("a").after(LATER).await.expect("it is stored");
        let second = double(2).key("a").await.expect("it is there");
        assert!(!first.is_duplicate() && second.is_duplicate());
        assert_eq!(first.id(), second.id());
        // Another key, and the same key of another function.
        let other = double(3).key("b").await.expect("it is stored");
        let greeting = greet("Ann".to_owned())
            .key("a")
            .await
            .expect("it is stored");
        assert!(!other.is_duplicate() && !greeting.is_duplicate());
        assert_eq!(greeting.outcome().await.as_deref(), Ok("hello Ann"));
        // The arguments are those of the first call, however the key is kept.
        assert_eq!(first.retry_now().await, Ok(true));
        assert_eq!(second.outcome().await, Ok(2));
        let third = double(4).key("a").await.expect("the first has ended");
        assert!(!third.is_duplicate());
        assert_eq!(third.outcome().await, Ok(8));
        assert_eq!(jobs.count(JobState::Scheduled).await, Ok(0));
    });
}

/// Sentence 1.8.
fn many_calls_are_stored_at_once_or_not_at_all(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let handles = enqueue_all((0..100).map(double))
            .await
            .expect("they are stored");
        for (number, job) in (0..100).zip(&handles) {
            assert_eq!(job.outcome().await, Ok(number * 2));
        }
        let none: Vec<bgtask::durable::JobHandle<u32>> =
            enqueue_all([]).await.expect("there is nothing to store");
        assert!(none.is_empty());

        let wrong = enqueue_all([double(1), double(2).priority(9), double(3)]).await;
        assert!(matches!(wrong, Err(EnqueueError::Priority { .. })));
        assert_eq!(jobs.count(JobState::Done).await, Ok(100));
        assert_eq!(jobs.count(JobState::Waiting).await, Ok(0));
        // All of them were awaited.
        assert_eq!(not_stored(), 0);
    });
}

fn calls_of_different_functions_fit_into_one_list(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let calls = [double(4).untyped(), greet("Bo".to_owned()).untyped()];
        let handles = enqueue_all(calls).await.expect("they are stored");
        assert_eq!(handles[0].outcome().await, Ok(json!(8)));
        assert_eq!(handles[1].outcome().await, Ok(json!("hello Bo")));
    });
}

/// Sentence 11.4.
fn a_key_that_stands_twice_in_one_list_is_stored_once(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let calls = [
            double(1).key("a").after(LATER),
            double(2),
            double(3).key("a"),
            double(4).key("b"),
        ];
        let handles = enqueue_all(calls).await.expect("they are stored");
        let duplicates: Vec<_> = handles.iter().map(|job| job.is_duplicate()).collect();
        assert_eq!(duplicates, [false, false, true, false]);
        assert_eq!(handles[0].id(), handles[2].id());
        assert_eq!(handles[1].outcome().await, Ok(4));
        assert_eq!(handles[3].outcome().await, Ok(8));
        handles[0].cancel().await.expect("it is there");
    });
}

fn a_thread_without_a_runtime_stores_calls_and_blocks(scratch: Scratch) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (manager, _) = runtime.block_on(open(scratch.url()));
    let (one, all) = {
        let _entered = manager.enter();
        let one = double(1).store_blocking().expect("it is stored");
        let all = enqueue_all([double(2), double(3)]).store_blocking();
        (one, all.expect("they are stored"))
    };
    runtime.block_on(async {
        assert_eq!(one.outcome().await, Ok(2));
        assert_eq!(all[1].outcome().await, Ok(6));
        manager.shutdown("the test is over").await;
    });
}

fn code_in_a_runtime_must_not_block(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let blocked = std::panic::catch_unwind(|| drop(double(1).store_blocking()));
        let panic = blocked.expect_err("it panics");
        let text: &&str = panic.downcast_ref().expect("a text");
        assert!(text.contains("use `.await`"), "{text}");
    });
}

/// Sentence 1.7.
fn each_way_to_drop_calls_is_reported(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        drop(double(1).key("a").queue("slow").untyped());
        drop(enqueue_all([double(1), double(2)]));
        drop(enqueue_all([double(1), double(2)]).into_future());
        assert_eq!(not_stored(), 5);
        assert_eq!(jobs.count(JobState::Done).await, Ok(0));
    });
}

/// Sentences 11.3, 11.8 and 11.13.
fn a_job_that_waits_is_cancelled_at_once_and_may_be_tried_again(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = double(5).after(LATER).await.expect("it is stored");
        let before = job.status().await.expect("it is there").version;
        assert_eq!(job.cancel().await, Ok(true));
        assert_eq!(job.outcome().await, Err(JobError::cancelled(0)));
        assert_eq!(job.cancel().await, Ok(false));
        let cancelled = job.status().await.expect("it is there").version;
        assert!(cancelled > before);
        assert_eq!(job.retry_now().await, Ok(true));
        assert_eq!(job.outcome().await, Ok(10));
        assert!(job.status().await.expect("it is there").version > cancelled);
        assert_eq!(job.retry_now().await, Ok(false), "it is done");
    });
}

/// Sentence 11.13.
fn a_dead_job_is_tried_again_with_its_attempts_counted_anew(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = fail().await.expect("it is stored");
        let dead = JobError::failed("no".to_owned(), 1);
        assert_eq!(job.outcome().await, Err(dead.clone()));
        let before = job.status().await.expect("it is there").version;
        assert_eq!(job.retry_now().await, Ok(true));
        // Available, running and dead again.
        until(&job, |status| {
            status.state == JobState::Dead && status.version > before
        })
        .await;
        assert_eq!(job.outcome().await, Err(dead));
    });
}

fn a_job_that_is_not_there_is_neither_cancelled_nor_tried_again(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let job = jobs.get::<()>("4711".parse().expect("an id"));
        assert_eq!(job.cancel().await, Err(JobError::NotFound));
        assert_eq!(job.retry_now().await, Err(JobError::NotFound));
    });
}

fn a_job_is_not_tried_again_beside_another_with_its_key(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let first = double(1).key("a").after(LATER).await.expect("it is stored");
        first.cancel().await.expect("it is there");
        let second = double(2).key("a").after(LATER).await.expect("it is stored");
        assert!(!second.is_duplicate());
        let error = first.retry_now().await.expect_err("the second has the key");
        assert!(
            error.to_string().contains("another job with the key"),
            "{error}"
        );
        second.cancel().await.expect("it is there");
    });
}

on_each_database! {
    a_thread_without_a_runtime_stores_calls_and_blocks,
    each_way_to_drop_calls_is_reported,
    a_call_may_choose_its_queue_and_priority,
    wrong_options_are_named_when_the_call_is_stored,
    while_a_job_with_a_key_has_not_ended_no_second_is_stored,
    many_calls_are_stored_at_once_or_not_at_all,
    calls_of_different_functions_fit_into_one_list,
    a_key_that_stands_twice_in_one_list_is_stored_once,
    code_in_a_runtime_must_not_block,
    a_job_that_waits_is_cancelled_at_once_and_may_be_tried_again,
    a_dead_job_is_tried_again_with_its_attempts_counted_anew,
    a_job_that_is_not_there_is_neither_cancelled_nor_tried_again,
    a_job_is_not_tried_again_beside_another_with_its_key,
}

on_the_kit! {
    a_call_may_choose_its_queue_and_priority,
    wrong_options_are_named_when_the_call_is_stored,
    while_a_job_with_a_key_has_not_ended_no_second_is_stored,
    many_calls_are_stored_at_once_or_not_at_all,
    calls_of_different_functions_fit_into_one_list,
    a_key_that_stands_twice_in_one_list_is_stored_once,
    a_job_that_waits_is_cancelled_at_once_and_may_be_tried_again,
    a_dead_job_is_tried_again_with_its_attempts_counted_anew,
    a_job_that_is_not_there_is_neither_cancelled_nor_tried_again,
    a_job_is_not_tried_again_beside_another_with_its_key,
}
