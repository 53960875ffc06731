//! The shutdown token of a call: when it fires, for which tasks, and what it knows.

use crate::support::until_cancelled;
use bgtask::{ShutdownToken, StopReason, TaskError, TaskState, background};
use bgtask_tests::{FOREVER, on_both_flavors, runtimes, until};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

#[background]
async fn sees_its_token(before: oneshot::Sender<bool>, token: ShutdownToken) -> bool {
    let _ = before.send(token.is_cancelled());
    token.cancelled().await;
    token.is_cancelled() && token.shutdown_reason().is_some() && token.remaining() <= Some(FOREVER)
}

#[background]
fn sees_its_token_blocking(token: ShutdownToken, before: oneshot::Sender<bool>) -> bool {
    let _ = before.send(token.is_cancelled());
    token.wait();
    token.is_cancelled() && token.shutdown_reason().is_some() && !token.sleep(FOREVER)
}

/// Behaviour 5.
#[test]
fn the_token_fires_for_running_async_and_blocking_tasks_when_draining_starts_and_not_before() {
    for runtime in runtimes() {
        let manager = bgtask::Manager::builder()
            .grace(FOREVER)
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            let (sender, before) = oneshot::channel();
            let task = sees_its_token(sender);
            let (sender, before_blocking) = oneshot::channel();
            let blocking = sees_its_token_blocking(sender);
            assert!(!before.await.unwrap());
            assert!(!before_blocking.await.unwrap());

            // A request fires the token of the process, and not those of the tasks.
            manager.request_shutdown("the test");
            assert!(manager.token().is_cancelled());
            assert!(!task.is_finished() && !blocking.is_finished());

            let report = manager.shutdown("too late to be the reason").await;
            assert_eq!(report.reason, "the test".into());
            assert_eq!(report.drained, 2);
            assert_eq!(task.await, Ok(true));
            assert_eq!(blocking.await, Ok(true));
        });
    }
}

#[background(log = "off")]
async fn gives_its_token_away(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token);
}

/// Behaviour 5.
#[test]
fn a_token_that_outlives_its_task_does_not_fire_with_later_tasks() {
    on_both_flavors(async |manager| {
        let (to, token) = oneshot::channel();
        let task = gives_its_token_away(to);
        let token = token.await.unwrap();
        until("it has ended", || task.is_finished()).await;
        // There is no task left to cancel.
        task.cancel();
        assert!(!token.is_cancelled());
        let mut cancelled = token.cancelled_owned();
        tokio::select! {
            biased;
            () = &mut cancelled => panic!("a late cancellation fires it"),
            () = std::future::ready(()) => {}
        }
        let (to, token) = oneshot::channel();
        gives_its_token_away(to).await.unwrap();
        let token = token.await.unwrap();
        drop(task);
        // Enough calls to reuse the slots of both tasks.
        for _ in 0..10 {
            let later: Vec<_> = (0..200).map(|_| until_cancelled()).collect();
            later.iter().for_each(bgtask::TaskHandle::cancel);
            assert!(!token.is_cancelled());
            for task in later {
                assert_eq!(task.await, Err(TaskError::Cancelled));
            }
        }
        assert!(!token.is_cancelled());
        manager.shutdown("the test").await;
        assert!(token.is_cancelled());
        cancelled.await;
    });
}

#[background]
async fn finds_its_token_fired() -> bool {
    bgtask::shutdown_token().is_cancelled()
}

/// Behaviour 5.
#[test]
fn no_call_finds_the_token_of_an_earlier_one_that_was_cancelled() {
    on_both_flavors(async |manager| {
        for _ in 0..200 {
            // Two callers use its token, and the one that awaited its end has stopped waiting.
            let mut task = token_by_call();
            tokio::task::yield_now().await;
            task.cancel();
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = std::future::ready(()) => {}
            }
            drop(task);
            until("it has ended", || manager.stats().running == 0).await;
        }
        for _ in 0..200 {
            assert_eq!(finds_its_token_fired().await, Ok(false));
        }
    });
}

#[background]
async fn keeps_its_token(
    to: oneshot::Sender<ShutdownToken>,
    token: ShutdownToken,
    end: Arc<Notify>,
) {
    let _ = to.send(token);
    end.notified().await;
}

/// Behaviour 5.
#[test]
fn a_token_has_the_reason_and_the_remaining_time() {
    for runtime in runtimes() {
        let builder = bgtask::Manager::builder().grace(FOREVER);
        let manager = builder.install_on(runtime.handle()).unwrap();
        runtime.block_on(async {
            let (to, token) = oneshot::channel();
            let end = Arc::new(Notify::new());
            let task = keeps_its_token(to, end.clone());
            let token = token.await.unwrap();
            let state = |token: &ShutdownToken| {
                (
                    token.shutdown_reason(),
                    token.deadline().is_some(),
                    token.remaining().is_some(),
                )
            };
            assert_eq!(state(&token), (None, false, false));
            assert_eq!(token.reason(), None);

            let asked = Instant::now();
            manager.request_shutdown("the test");
            assert_eq!(state(&token), (None, false, false), "the task may go on");
            assert_eq!(
                state(&manager.token()),
                (Some("the test".into()), true, true)
            );
            let deadline = manager.token().deadline().unwrap();
            assert!(deadline >= asked + FOREVER && deadline <= Instant::now() + FOREVER);
            let left = manager.token().remaining().unwrap();
            assert!(left <= FOREVER && left >= FOREVER - asked.elapsed());

            let mut shutdown = pin!(manager.shutdown("the same"));
            tokio::select! {
                _ = &mut shutdown => panic!("the task still runs"),
                () = token.cancelled() => {}
            }
            assert_eq!(state(&token), (Some("the test".into()), true, true));
            assert_eq!(token.deadline(), Some(deadline));
            assert_eq!(token.reason(), Some(StopReason::Shutdown));
            assert_eq!(manager.token().reason(), Some(StopReason::Shutdown));
            end.notify_one();
            shutdown.await;
            assert_eq!(task.await, Ok(()));
        });
    }
}

/// Behaviour 5.
#[test]
fn run_until_cancelled_ends_with_its_future_or_when_the_token_fires() {
    on_both_flavors(async |manager| {
        let token = manager.token();
        let never = std::future::pending::<()>;
        assert_eq!(token.run_until_cancelled(async { 1 }).await, Some(1));
        // It is polled before the token fires, so the token wakes it.
        let (ended, ()) = tokio::join!(token.run_until_cancelled(never()), async {
            tokio::task::yield_now().await;
            manager.request_shutdown("the test");
        });
        assert_eq!(ended, None);
        assert_eq!(token.run_until_cancelled(never()).await, None);
        // Both are ready: the output is not lost.
        assert_eq!(token.run_until_cancelled(async { 2 }).await, Some(2));
    });
}

#[background]
async fn token_by_call() -> bool {
    async fn deep_down() -> bool {
        bgtask::shutdown_token().cancelled().await;
        bgtask::shutdown_token().is_cancelled()
    }
    deep_down().await
}

#[background]
fn token_by_call_blocking() -> bool {
    bgtask::shutdown_token().wait();
    bgtask::shutdown_token().is_cancelled()
}

/// Behaviour 5.
#[test]
fn code_without_a_parameter_finds_the_same_token() {
    on_both_flavors(async |manager| {
        let task = token_by_call();
        let blocking = token_by_call_blocking();
        let other = token_by_call();
        other.cancel();
        assert_eq!(other.await, Ok(true), "its own token, not the process's");
        assert!(!task.is_finished() && !blocking.is_finished());
        manager.shutdown("the test").await;
        assert_eq!(task.await, Ok(true));
        assert_eq!(blocking.await, Ok(true));
    });
}

/// Code that the token wakes finds it fired, however quickly it runs. Each round has a new manager, because the first
/// cancellation of a manager once failed.
/// Behaviour 5.
#[test]
fn a_task_woken_by_its_token_finds_it_fired() {
    let [_, runtime] = runtimes();
    for _ in 0..4000 {
        let _manager = bgtask::Manager::builder()
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            let task = token_by_call();
            tokio::task::yield_now().await;
            task.cancel();
            assert_eq!(task.await, Ok(true));
        });
    }
}

#[background(log = "off")]
async fn hands_its_token_on(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token.clone());
    token.cancelled().await;
}

/// Behaviour 5.
#[test]
fn a_token_that_outlives_its_task_stays_fired() {
    on_both_flavors(async |_| {
        let (to, token) = oneshot::channel();
        let task = hands_its_token_on(to);
        let token = token.await.unwrap();
        task.cancel();
        assert_eq!(task.await, Ok(()));
        assert!(token.is_cancelled());
        token.cancelled().await;
    });
}

/// Behaviour 5.
#[test]
fn the_handle_of_a_task_that_has_ended_cancels_no_later_one() {
    on_both_flavors(async |_| {
        let ended = token_by_call();
        ended.cancel();
        until("it has ended", || ended.is_finished()).await;
        // This call may reuse the slot of the first one.
        let later = token_by_call();
        ended.cancel();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!later.is_finished());
        later.cancel();
        assert_eq!(later.await, Ok(true));
    });
}

#[background]
async fn polls_its_token(token: ShutdownToken, polled: Arc<AtomicBool>) {
    while !token.is_cancelled() {
        polled.store(true, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
    assert_eq!(
        token.shutdown_reason(),
        None,
        "this task alone was cancelled"
    );
    assert_eq!(token.reason(), Some(StopReason::Cancelled));
}

#[background(timeout = "10ms")]
fn outlives_its_limit(token: ShutdownToken, to: std::sync::mpsc::Sender<Option<StopReason>>) {
    token.wait();
    let _ = to.send(token.reason());
}

#[background]
async fn waits_in_a_group(token: ShutdownToken) -> Option<StopReason> {
    token.cancelled().await;
    token.reason()
}

/// Behaviour 5.
#[test]
fn a_token_says_why_it_has_fired() {
    on_both_flavors(async |_| {
        let (to, reason) = std::sync::mpsc::channel();
        assert_eq!(outlives_its_limit(to).await, Err(TaskError::TimedOut));
        let limit = tokio::task::spawn_blocking(move || reason.recv());
        assert_eq!(limit.await.unwrap(), Ok(Some(StopReason::TimedOut)));

        let group = bgtask::Group::new();
        let member = group.run(waits_in_a_group);
        group.cancel();
        assert_eq!(member.await, Ok(Some(StopReason::Cancelled)));
    });
}

/// Behaviour 5.
#[test]
fn a_handle_cancels_its_own_task_alone() {
    on_both_flavors(async |_| {
        let polled = Arc::new(AtomicBool::new(false));
        let one = polls_its_token(polled.clone());
        let other = polls_its_token(Arc::default());
        until("it runs", || polled.load(Ordering::Relaxed)).await;
        one.cancel();
        assert_eq!(one.await, Ok(()));
        assert!(!other.is_finished());
        other.cancel();
        assert_eq!(other.await, Ok(()));
    });
}

/// Behaviour 5.
#[test]
fn the_token_of_a_task_converts_to_a_cancellation_token() {
    #[background]
    async fn with_a_library(token: ShutdownToken) -> bool {
        let for_a_library = token.cancellation_token();
        for_a_library.cancel();
        let of_another = token.cancellation_token();
        let fired_early = token.is_cancelled() || of_another.is_cancelled();
        of_another.cancelled().await;
        !fired_early && token.is_cancelled()
    }
    on_both_flavors(async |manager| {
        let task = with_a_library();
        until("it waits", || {
            manager.tasks()[0].state == TaskState::Running
        })
        .await;
        manager.shutdown("the test").await;
        assert_eq!(task.await, Ok(true));
    });
}

/// Behaviour 5.
#[test]
fn waiting_on_the_token_by_blocking_an_async_task_panics_with_the_remedy() {
    #[background(log = "off")]
    async fn blocks_a_worker(token: ShutdownToken) {
        token.wait();
    }
    on_both_flavors(async |_| {
        let Err(TaskError::Panicked { message, .. }) = blocks_a_worker().await else {
            panic!("it should have panicked");
        };
        assert!(message.contains("cancelled().await"), "{message}");
    });
}

#[test]
fn a_blocking_sleep_returns_whether_it_slept_to_its_end() {
    #[background]
    fn sleeps(token: ShutdownToken, slept: oneshot::Sender<bool>) -> bool {
        let _ = slept.send(token.sleep(Duration::from_millis(1)));
        token.sleep(FOREVER)
    }
    on_both_flavors(async |manager| {
        let (sender, slept) = oneshot::channel();
        let task = sleeps(sender);
        assert!(slept.await.unwrap());
        manager.shutdown("end").await;
        assert_eq!(task.await, Ok(false));
    });
}
