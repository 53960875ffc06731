//! Slot runners serve one call after another: no call may notice.

use bgtask::{ShutdownToken, TaskError, TaskState, background};
use bgtask_tests::{FOREVER, manager_within, on_both_flavors, runtimes, until};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};

#[background]
async fn waits_for(gate: oneshot::Receiver<u32>) -> u32 {
    gate.await.unwrap_or(0)
}

#[background(log = "off")]
async fn adds_one(to: Arc<AtomicU32>) {
    to.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_waker_left_by_an_earlier_call_ends_no_later_call() {
    #[background]
    async fn leaves(waker: Arc<Mutex<Option<Waker>>>) {
        poll_fn(|cx| {
            *waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }
    on_both_flavors(async |manager| {
        let left = Arc::new(Mutex::new(None));
        leaves(left.clone()).await.unwrap();
        let stale = left.lock().unwrap().take().unwrap();
        // No call runs, so the waker wakes nothing.
        stale.wake_by_ref();
        let (open, gate) = oneshot::channel();
        let later = waits_for(gate);
        until("it waits", || {
            stale.wake_by_ref();
            manager.tasks()[0].state == TaskState::Running
        })
        .await;
        for _ in 0..100 {
            stale.wake_by_ref();
            tokio::task::yield_now().await;
        }
        assert!(!later.is_finished());
        open.send(7).unwrap();
        assert_eq!(later.await, Ok(7));
    });
}

#[test]
fn an_output_waits_for_its_handle_no_matter_how_many_calls_follow() {
    #[background]
    async fn echoes(value: String) -> String {
        value
    }
    on_both_flavors(async |manager| {
        let held: Vec<_> = (0..300).map(|n| echoes(n.to_string())).collect();
        until("all have ended", || manager.stats().running == 0).await;
        for _ in 0..1_000 {
            echoes("later".to_owned()).await.unwrap();
        }
        for (n, handle) in held.into_iter().enumerate() {
            assert!(handle.is_finished());
            assert_eq!(handle.await, Ok(n.to_string()));
        }
    });
}

#[test]
fn more_calls_than_pooled_runners_all_end_and_leave_the_runtime_clean() {
    const CALLS: u32 = 20_000;
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let metrics = runtime.metrics();
        runtime.block_on(async {
            for round in 1..=2 {
                let ran = Arc::new(AtomicU32::new(0));
                (0..CALLS).for_each(|_| drop(adds_one(ran.clone())));
                until("all have ended", || manager.stats().running == 0).await;
                assert_eq!(ran.load(Ordering::Relaxed), CALLS);
                assert_eq!(manager.stats().succeeded, u64::from(round * CALLS));
            }
            // The runners beyond the pool have ended.
            until("runners end", || metrics.num_alive_tasks() < CALLS as usize).await;
            assert!(manager.shutdown("end").await.is_clean());
            until("all runners end", || metrics.num_alive_tasks() == 0).await;
        });
    }
}

#[test]
#[cfg_attr(
    tokio_unstable,
    ignore = "each call has a runtime's task of its own then"
)]
fn a_dropped_manager_leaves_no_runners_behind() {
    for runtime in runtimes() {
        // The first dropped manager leaves one task on the runtime, which ends with the runtime and refuses calls until then.
        drop(manager_within(FOREVER, &runtime));
        let manager = manager_within(FOREVER, &runtime);
        let metrics = runtime.metrics();
        runtime.block_on(async {
            assert_eq!(metrics.num_alive_tasks(), 1);
            adds_one(Arc::default()).await.unwrap();
            assert_eq!(metrics.num_alive_tasks(), 2);
            drop(manager);
            until("the runner ends", || metrics.num_alive_tasks() == 1).await;
        });
    }
}

#[test]
fn a_dropped_runtime_aborts_running_waiting_and_later_calls() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let (open, gate) = oneshot::channel();
    // One idle runner, and one that is busy.
    let entered = manager.enter();
    let running = waits_for(gate);
    runtime.block_on(adds_one(Arc::default())).unwrap();
    drop(entered);
    let ran = Arc::new(AtomicU32::new(0));
    let _entered = manager.enter();
    let queued: Vec<_> = (0..3).map(|_| adds_one(ran.clone())).collect();
    drop(runtime);
    assert!(open.is_closed(), "its future was dropped");
    let after = adds_one(ran.clone());
    let elsewhere = Builder::new_current_thread().build().unwrap();
    elsewhere.block_on(async {
        assert_eq!(running.await, Err(TaskError::Aborted));
        for queued in queued {
            assert_eq!(queued.await, Err(TaskError::Aborted));
        }
        assert_eq!(after.await, Err(TaskError::Aborted));
    });
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(manager.stats().running, 0);
    assert_eq!(manager.stats().aborted, 5);
    // Every slot is free again, and none has a runner.
    for _ in 0..100 {
        let later = adds_one(ran.clone());
        assert!(later.is_finished());
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[test]
fn a_queued_call_that_is_aborted_never_starts_and_its_slot_serves_the_next() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let ran = Arc::new(AtomicU32::new(0));
    runtime.block_on(async {
        for _ in 0..200 {
            // The call is never polled: at first it has no runner, later one that has been woken.
            let queued = adds_one(ran.clone());
            queued.abort();
            assert!(queued.is_finished(), "it need not wait for a worker");
            assert_eq!(queued.await, Err(TaskError::Aborted));
            adds_one(ran.clone()).await.unwrap();
        }
        assert_eq!(manager.stats().aborted, 200);
        assert!(manager.shutdown("end").await.is_clean());
    });
    assert_eq!(ran.load(Ordering::Relaxed), 200);
}

#[test]
fn a_call_made_by_a_task_that_has_outlived_its_manager_is_refused() {
    #[background]
    async fn calls_when(go: Arc<Notify>, refused: oneshot::Sender<bool>) {
        go.notified().await;
        let late = adds_one(Arc::default()).await;
        let _ = refused.send(matches!(late, Err(TaskError::Refused(_))));
    }
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            let go = Arc::new(Notify::new());
            let (refused, was_refused) = oneshot::channel();
            calls_when(go.clone(), refused);
            drop(manager);
            go.notify_one();
            assert_eq!(was_refused.await, Ok(true));
        });
    }
}

#[test]
fn a_token_belongs_to_the_current_call_and_not_to_an_earlier_one() {
    #[background]
    async fn is_cancelled(token: ShutdownToken) -> bool {
        token.is_cancelled()
    }
    #[background]
    async fn waits(token: ShutdownToken) {
        token.cancelled().await;
    }
    on_both_flavors(async |_| {
        let first = waits();
        first.cancel();
        first.await.unwrap();
        for _ in 0..100 {
            assert_eq!(is_cancelled().await, Ok(false));
        }
    });
}
