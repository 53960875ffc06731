//! User code that does something unexpected at the worst moment: every call is still accounted for.

const SHORT: Duration = Duration::from_millis(50);
use bgtask::{Manager, Outcome, ShutdownReport, TaskError, TaskHandle, TaskState, background};
use bgtask_tests::{
    BoxedFuture, FOREVER, blocking_until, manager_within, runtimes, subscribe, until,
};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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

#[background]
async fn panics() {
    panic!("its own panic");
}

#[background(log = "off")]
async fn ends_when_notified(end: Arc<Notify>) {
    end.notified().await;
}

/// Polls a shutdown once, and returns its future.
#[background(log = "off")]
async fn requests_and_returns(manager: Arc<Manager>) -> BoxedFuture<ShutdownReport> {
    let mut shutdown: BoxedFuture<_> = Box::pin(async move { manager.shutdown("within").await });
    poll_fn(|cx| {
        assert!(shutdown.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    shutdown
}

#[test]
fn a_shutdown_future_that_outlives_its_task_does_not_end_the_drain() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let report = runtime.block_on(async {
            let end = Arc::new(Notify::new());
            ends_when_notified(end.clone());
            let requests = requests_and_returns(manager.clone());
            until("it has requested the shutdown", || requests.is_finished()).await;
            drop(requests);
            for _ in 0..20 {
                // Each end makes the drain check again.
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

/// Polls a shutdown once, and ends.
#[background(log = "off")]
async fn requests_and_ends(manager: Arc<Manager>) {
    let mut shutdown = pin!(manager.shutdown("within"));
    poll_fn(|cx| {
        assert!(shutdown.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn tasks_that_await_the_shutdown_and_then_end_do_not_end_the_drain() {
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(FOREVER, &runtime));
    runtime.block_on(async {
        let end = Arc::new(Notify::new());
        ends_when_notified(end.clone());
        for _ in 0..20_000 {
            let shutdown = requests_and_ends(manager.clone()).await;
            assert_eq!(shutdown, Ok(()), "what the drain waits for still runs");
        }
        end.notify_one();
        assert!(manager.shutdown("the same").await.is_clean());
    });
}

#[test]
fn a_waker_that_panics_while_it_is_dropped_loses_no_other_call() {
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
        // These calls take all other slots, so the call made by the drop must get the slot that has just become free.
        let end_others = Arc::new(Notify::new());
        let others: Vec<_> = (0..63)
            .map(|_| ends_when_notified(end_others.clone()))
            .collect();
        let (end, called) = (Arc::new(Notify::new()), Arc::default());
        let mut ended = ends_when_notified(end.clone());
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
fn a_task_that_leaks_an_enter_guard_ends_like_any_other() {
    #[background]
    async fn forgets_its_guard(manager: Arc<Manager>) {
        std::mem::forget(manager.enter());
    }
    // The state that the guards leave stays with a worker's thread.
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
fn guards_dropped_out_of_order_within_a_task_panic_in_that_task() {
    #[background(log = "off")]
    async fn leaves_out_of_order(manager: Arc<Manager>) {
        let outer = manager.enter();
        let inner = manager.enter();
        drop(outer);
        drop(inner);
    }
    // The state that the guards leave stays with a worker's thread.
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
fn a_call_that_waits_behind_a_blocked_worker_is_aborted_and_never_starts() {
    #[background(log = "off")]
    async fn blocks_its_worker(begun: Arc<AtomicBool>, gate: mpsc::Receiver<()>) {
        begun.store(true, Ordering::Relaxed);
        let _ = gate.recv();
    }
    #[background(log = "off")]
    async fn starts(started: Arc<AtomicBool>) {
        started.store(true, Ordering::Relaxed);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let manager = manager_within(Duration::from_millis(50), &runtime);
    let (open, gate) = mpsc::channel();
    let started = Arc::new(AtomicBool::new(false));
    let entered = manager.enter();
    let begun = Arc::new(AtomicBool::new(false));
    let blocked = blocks_its_worker(begun.clone(), gate);
    // Waits without the runtime's timer, which only that worker drives.
    blocking_until("it runs", || begun.load(Ordering::Relaxed));
    let queued = starts(started.clone());
    drop(entered);
    let report = runtime.block_on(manager.shutdown("end"));
    open.send(()).unwrap();
    // The worker is free again, and reaches the queued call.
    let outcomes: Vec<_> = report
        .stragglers
        .iter()
        .map(|task| (task.id, task.outcome))
        .collect();
    let expected = [
        (blocked.id(), Outcome::Abandoned),
        (queued.id(), Outcome::Aborted),
    ];
    assert_eq!(outcomes, expected, "{report}");
    assert_eq!((report.totals.abandoned, report.totals.aborted), (1, 1));
    assert_eq!(runtime.block_on(queued), Err(TaskError::Aborted));
    assert_eq!(runtime.block_on(blocked), Ok(()));
    assert!(!started.load(Ordering::Relaxed));
    assert_eq!(manager.stats().ended(), 2, "neither ends a second time");
}

/// A subscriber that blocks the thread that opens a span until the test releases it.
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
fn a_call_that_a_subscriber_delays_beyond_the_shutdown_never_starts() {
    #[background(log = "off")]
    async fn starts(started: Arc<AtomicBool>) {
        started.store(true, Ordering::Relaxed);
    }
    let [_, runtime] = runtimes();
    let manager = manager_within(Duration::from_millis(50), &runtime);
    let started = Arc::new(AtomicBool::new(false));
    let (held, is_held) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let go_on = Mutex::new(go_on);
    let called = thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let _subscribed = subscribe(HoldsUp { held, go_on });
            let _entered = manager.enter();
            starts(started.clone())
        });
        is_held.recv().unwrap();
        let report = runtime.block_on(manager.shutdown("end"));
        // The call is counted, and has no record to be named yet.
        assert_eq!((report.totals.accepted, report.totals.running), (1, 1));
        let_go.send(()).unwrap();
        caller.join().unwrap()
    });
    assert_eq!(runtime.block_on(called), Err(TaskError::Aborted));
    assert!(!started.load(Ordering::Relaxed));
    assert_eq!((manager.stats().aborted, manager.stats().running), (1, 0));
}

#[test]
fn a_blocking_function_called_after_its_runtime_has_ended_is_aborted() {
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
fn a_blocking_function_aborted_while_no_thread_is_free_drops_its_arguments() {
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
        let (end, until_cancelled) = mpsc::channel();
        has_the_only_thread(until_cancelled);
        until("the thread is taken", || runs("has_the_only_thread")).await;
        let held = Arc::new(());
        let queued = waits_for_a_thread(held.clone());
        until("it has its permit", || runs("waits_for_a_thread")).await;
        queued.abort();
        assert_eq!(queued.await, Err(TaskError::Aborted));
        assert_eq!(Arc::strong_count(&held), 1, "its argument is gone");
        // Its permit is free too: the next call gets it.
        let next = waits_for_a_thread(held);
        until("the next has its permit", || runs("waits_for_a_thread")).await;
        drop(end);
        next.await.unwrap();
        manager.shutdown("the test ends").await
    });
    assert!(report.is_clean(), "{report}");
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("an argument that panics while it is dropped");
    }
}

#[background]
async fn takes(_argument: PanicsWhenDropped) {}

#[test]
fn an_argument_of_a_refused_call_that_panics_does_not_panic_in_the_caller() {
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    runtime.block_on(async {
        manager.shutdown("over").await;
        let handle = catch_unwind(|| takes(PanicsWhenDropped)).expect("the call returns");
        assert!(handle.await.is_err());
    });
}

#[background(log = "off")]
async fn throws_on() {
    resume_unwind(Box::new("thrown on"));
}

#[test]
fn a_resumed_payload_does_not_get_the_location_of_an_earlier_panic() {
    let locations = Arc::new(Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .on_panic({
            let locations = locations.clone();
            move |task| locations.lock().unwrap().push(task.location.cloned())
        })
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let _ = catch_unwind(|| panic!("an unrelated panic, on the thread that polls"));
        let _ = throws_on().await;
        let _ = panics().await;
        manager.shutdown("over").await;
    });
    let locations = locations.lock().unwrap();
    assert_eq!(locations[0], None);
    assert_eq!(
        locations[1].as_ref().map(|location| location.file.as_str()),
        Some(file!())
    );
}

#[background(log = "off")]
fn blocks(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[test]
fn an_abandoned_task_that_ends_later_is_not_counted_twice() {
    let outcomes = Arc::new(Mutex::new(Vec::<Outcome>::new()));
    let [_, runtime] = runtimes();
    let manager = Manager::builder()
        .grace(SHORT)
        .on_finish({
            let outcomes = outcomes.clone();
            move |task| outcomes.lock().unwrap().push(task.outcome)
        })
        .install_on(runtime.handle())
        .unwrap();
    let (open, gate) = mpsc::channel();
    runtime.block_on(async {
        let task = blocks(gate);
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
        let report = manager.shutdown("over").await;
        assert_eq!(report.totals.abandoned, 1);
        drop(open);
        assert_eq!(task.await, Ok(()), "its handle still resolves");
    });
    assert_eq!(*outcomes.lock().unwrap(), []);
    assert_eq!(manager.stats().abandoned, 1);
    assert_eq!(manager.stats().succeeded, 0);
}

#[test]
fn a_first_manager_made_while_a_thread_unwinds_aborts_nothing() {
    struct Installs;
    impl Drop for Installs {
        fn drop(&mut self) {
            let [runtime, _] = runtimes();
            let manager = Manager::builder().install_on(runtime.handle()).unwrap();
            runtime.block_on(async { drop(ends()) });
            blocking_until("it is counted", || manager.stats().accepted == 1);
        }
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _installs = Installs;
        panic!("unwinds");
    }));
    assert!(unwound.is_err());
}
