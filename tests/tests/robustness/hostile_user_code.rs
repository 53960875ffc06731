//! What a user's code may do at the worst moment, and what may happen at the same time: every call is accounted for all the
//! same.

use bgtask::{Manager, Outcome, ShutdownReport, TaskError, TaskHandle, TaskState, background};
use bgtask_tests::{
    BoxedFuture, FOREVER, blocking_until, manager_within, runtimes, subscribe, until,
};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Notify;

#[background(log = "off")]
async fn ends() {}

#[background(log = "off")]
async fn ends_when_told(end: Arc<Notify>) {
    end.notified().await;
}

/// Polls a shutdown once, and gives the rest of it away.
#[background(log = "off")]
async fn asks_and_hands_on(manager: Arc<Manager>) -> BoxedFuture<ShutdownReport> {
    let mut asked: BoxedFuture<_> = Box::pin(async move { manager.shutdown("within").await });
    poll_fn(|cx| {
        assert!(asked.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    asked
}

#[test]
fn a_shutdown_that_is_awaited_beyond_its_task_does_not_end_the_drain() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let report = runtime.block_on(async {
            let end = Arc::new(Notify::new());
            ends_when_told(end.clone());
            let asks = asks_and_hands_on(manager.clone());
            until("it has asked", || asks.is_finished()).await;
            drop(asks);
            for _ in 0..20 {
                // Each end has the drain look again.
                assert_eq!(ends().await, Ok(()), "what it waits for still runs");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            end.notify_one();
            manager.shutdown("the same").await
        });
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.totals.succeeded, 22, "{report}");
    }
}

/// Awaits the shutdown for a moment, and ends.
#[background(log = "off")]
async fn asks_for_a_moment(manager: Arc<Manager>) {
    let mut asked = pin!(manager.shutdown("within"));
    poll_fn(|cx| {
        assert!(asked.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn tasks_that_await_the_shutdown_and_end_meanwhile_do_not_end_the_drain() {
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(FOREVER, &runtime));
    runtime.block_on(async {
        let end = Arc::new(Notify::new());
        ends_when_told(end.clone());
        for _ in 0..20_000 {
            let asked = asks_for_a_moment(manager.clone()).await;
            assert_eq!(asked, Ok(()), "what the drain waits for still runs");
        }
        end.notify_one();
        assert!(manager.shutdown("the same").await.is_clean());
    });
}

#[test]
fn a_waker_that_panics_while_it_is_dropped_costs_no_other_call() {
    struct CallsAndPanics(Arc<Mutex<Option<TaskHandle<()>>>>);
    impl Wake for CallsAndPanics {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for CallsAndPanics {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = Some(ends());
            panic!("a waker that panics while it is dropped");
        }
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        // All the slots there are, so that the call made by the drop has to be given the one that has just come free.
        let end_others = Arc::new(Notify::new());
        let others: Vec<_> = (0..63)
            .map(|_| ends_when_told(end_others.clone()))
            .collect();
        let (end, called) = (Arc::new(Notify::new()), Arc::default());
        let mut ended = ends_when_told(end.clone());
        let waker = Waker::from(Arc::new(CallsAndPanics(Arc::clone(&called))));
        let waits = pin!(&mut ended).poll(&mut Context::from_waker(&waker));
        assert!(waits.is_pending());
        drop(waker);
        drop(ended);
        end.notify_one();
        until("the waker is dropped", || called.lock().unwrap().is_some()).await;
        let called = called.lock().unwrap().take().unwrap();
        assert_eq!(called.await, Ok(()));
        end_others.notify_waiters();
        for other in others {
            other.await.unwrap();
        }
        assert!(manager.shutdown("end").await.is_clean());
    });
}

#[test]
fn a_task_that_keeps_an_entered_guard_ends_like_any_other() {
    #[background]
    async fn forgets_its_guard(manager: Arc<Manager>) {
        std::mem::forget(manager.enter());
    }
    // What the guards leave behind stays with the thread, which is not this one.
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(FOREVER, &runtime));
    runtime.block_on(async {
        let forgets = forgets_its_guard(manager.clone());
        until("it has ended", || forgets.is_finished()).await;
        assert_eq!(forgets.await, Ok(()));
        assert!(manager.shutdown("end").await.is_clean());
    });
}

#[test]
fn guards_dropped_out_of_order_within_a_task_are_its_own_panic() {
    #[background(log = "off")]
    async fn leaves_out_of_order(manager: Arc<Manager>) {
        let outer = manager.enter();
        let inner = manager.enter();
        drop(outer);
        drop(inner);
    }
    // What the guards leave behind stays with the thread, which is not this one.
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(FOREVER, &runtime));
    runtime.block_on(async {
        let leaves = leaves_out_of_order(manager.clone());
        until("it has ended", || leaves.is_finished()).await;
        let panicked = matches!(leaves.await, Err(TaskError::Panicked { .. }));
        assert!(panicked);
        assert!(manager.shutdown("end").await.stragglers.is_empty());
    });
}

#[test]
fn what_waits_behind_a_stuck_worker_is_aborted_and_never_begins() {
    #[background(log = "off")]
    async fn blocks_its_worker(gate: mpsc::Receiver<()>) {
        let _ = gate.recv();
    }
    #[background(log = "off")]
    async fn begins(begun: Arc<AtomicBool>) {
        begun.store(true, Ordering::Relaxed);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = manager_within(Duration::from_millis(50), &runtime);
    let (open, gate) = mpsc::channel();
    let begun = Arc::new(AtomicBool::new(false));
    let entered = manager.enter();
    let stuck = blocks_its_worker(gate);
    // Without the runtime's timer, which only that worker would look at.
    blocking_until("it runs", || manager.tasks()[0].state == TaskState::Running);
    let queued = begins(begun.clone());
    drop(entered);
    let report = runtime.block_on(manager.shutdown("end"));
    open.send(()).unwrap();
    // The worker is free again, and comes to what had waited for it.
    let outcomes: Vec<_> = report
        .stragglers
        .iter()
        .map(|task| (task.id, task.outcome))
        .collect();
    let expected = [
        (stuck.id(), Outcome::Abandoned),
        (queued.id(), Outcome::Aborted),
    ];
    assert_eq!(outcomes, expected, "{report}");
    assert_eq!((report.totals.abandoned, report.totals.aborted), (1, 1));
    assert_eq!(runtime.block_on(queued), Err(TaskError::Aborted));
    assert_eq!(runtime.block_on(stuck), Ok(()));
    assert!(!begun.load(Ordering::Relaxed));
    assert_eq!(manager.stats().ended(), 2, "neither ends a second time");
}

/// Holds up whoever opens a span, until it is told otherwise.
struct HoldsUp {
    held: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl tracing::Subscriber for HoldsUp {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let _ = self.held.send(());
        let _ = self.go_on.lock().unwrap().recv();
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_call_that_a_subscriber_holds_up_beyond_the_shutdown_never_begins() {
    #[background(log = "off")]
    async fn begins(begun: Arc<AtomicBool>) {
        begun.store(true, Ordering::Relaxed);
    }
    let [_, runtime] = runtimes();
    let manager = manager_within(Duration::from_millis(50), &runtime);
    let begun = Arc::new(AtomicBool::new(false));
    let (held, is_held) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let go_on = Mutex::new(go_on);
    let called = thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let _subscribed = subscribe(HoldsUp { held, go_on });
            let _entered = manager.enter();
            begins(begun.clone())
        });
        is_held.recv().unwrap();
        let report = runtime.block_on(manager.shutdown("end"));
        // It is counted, and there is nothing to be named yet.
        assert_eq!((report.totals.accepted, report.totals.running), (1, 1));
        let_go.send(()).unwrap();
        caller.join().unwrap()
    });
    assert_eq!(runtime.block_on(called), Err(TaskError::Aborted));
    assert!(!begun.load(Ordering::Relaxed));
    assert_eq!((manager.stats().aborted, manager.stats().running), (1, 0));
}

#[test]
fn a_plain_function_called_when_the_runtime_is_gone_is_aborted() {
    #[background(log = "off")]
    fn returns() {}
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        drop(runtime);
        let _entered = manager.enter();
        let late = returns();
        assert!(late.is_finished(), "nothing is left that could run it");
        let elsewhere = Builder::new_current_thread().build().unwrap();
        assert_eq!(elsewhere.block_on(late), Err(TaskError::Aborted));
        assert_eq!((manager.stats().aborted, manager.stats().running), (1, 0));
    }
}

#[background(log = "off")]
fn has_the_only_thread(until: mpsc::Receiver<()>) {
    let _ = until.recv();
}

#[background(concurrency = 1, log = "off")]
fn waits_for_a_thread(_held: Arc<()>) {}

#[test]
fn a_plain_function_aborted_while_no_thread_is_free_lets_go_of_what_it_holds() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let runs = |name: &str| {
        let of_it = |task: &bgtask::TaskInfo| task.name.ends_with(name);
        let task = manager.tasks().into_iter().find(of_it);
        task.is_some_and(|task| task.state == TaskState::Running)
    };
    let report = runtime.block_on(async {
        let (end, until_told) = mpsc::channel();
        has_the_only_thread(until_told);
        until("the thread is taken", || runs("has_the_only_thread")).await;
        let held = Arc::new(());
        let queued = waits_for_a_thread(held.clone());
        until("it has its permit", || runs("waits_for_a_thread")).await;
        queued.abort();
        assert_eq!(queued.await, Err(TaskError::Aborted));
        assert_eq!(Arc::strong_count(&held), 1, "its argument is gone");
        // So is its permit: the next one gets as far.
        let next = waits_for_a_thread(held);
        until("the next has its permit", || runs("waits_for_a_thread")).await;
        drop(end);
        next.await.unwrap();
        manager.shutdown("the test ends").await
    });
    assert!(report.is_clean(), "{report}");
}
