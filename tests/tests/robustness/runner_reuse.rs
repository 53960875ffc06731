//! The runtime's tasks are used again for later calls: no call may notice.

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
fn a_waker_that_an_earlier_call_has_left_ends_no_later_one() {
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
        // Nothing to run: the waker wakes nobody.
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
fn an_output_waits_for_its_handle_however_many_calls_come_after() {
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
fn more_calls_than_lanes_are_kept_for_all_end_and_the_runtime_is_left_clean() {
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
            // Those beyond what is kept for later calls have left.
            until("lanes leave", || metrics.num_alive_tasks() < CALLS as usize).await;
            assert!(manager.shutdown("end").await.is_clean());
            until("all lanes leave", || metrics.num_alive_tasks() == 0).await;
        });
    }
}

#[test]
#[cfg_attr(
    tokio_unstable,
    ignore = "each call has a runtime's task of its own then"
)]
fn a_dropped_manager_leaves_no_lanes_behind() {
    for runtime in runtimes() {
        // The first manager that is dropped leaves one task on the runtime, which ends with it: from then on calls are refused.
        drop(manager_within(FOREVER, &runtime));
        let manager = manager_within(FOREVER, &runtime);
        let metrics = runtime.metrics();
        runtime.block_on(async {
            assert_eq!(metrics.num_alive_tasks(), 1);
            adds_one(Arc::default()).await.unwrap();
            assert_eq!(metrics.num_alive_tasks(), 2);
            drop(manager);
            until("the lane leaves", || metrics.num_alive_tasks() == 1).await;
        });
    }
}

#[test]
fn a_runtime_that_is_dropped_aborts_what_runs_what_waits_and_what_comes_after() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let (open, gate) = oneshot::channel();
    // One lane that idles, and one that is taken.
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
    // Every slot is free again, and none of them is taken to have a lane.
    for _ in 0..100 {
        let later = adds_one(ran.clone());
        assert!(later.is_finished());
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[test]
fn a_queued_call_that_is_aborted_never_begins_and_its_slot_serves_the_next() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let ran = Arc::new(AtomicU32::new(0));
    runtime.block_on(async {
        for _ in 0..200 {
            // Not polled in between: first without a lane, then with one that has been woken.
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
    async fn calls_when(told: Arc<Notify>, refused: oneshot::Sender<bool>) {
        told.notified().await;
        let late = adds_one(Arc::default()).await;
        let _ = refused.send(matches!(late, Err(TaskError::Refused(_))));
    }
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            let told = Arc::new(Notify::new());
            let (refused, was_refused) = oneshot::channel();
            calls_when(told.clone(), refused);
            drop(manager);
            told.notify_one();
            assert_eq!(was_refused.await, Ok(true));
        });
    }
}

#[test]
fn a_token_is_that_of_the_present_call_and_not_of_an_earlier_one() {
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
