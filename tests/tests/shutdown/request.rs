//! Requests for a shutdown: from several callers, from inside a task, and from a waker.

use crate::support::{SHORT, ends_at_once, finishes_late, holds_its_worker};
use bgtask::{Manager, Outcome, TaskError, background};
use bgtask_tests::{FOREVER, in_paused_time, manager_within, on_both_flavors, runtimes};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::sync::Notify;

/// Behaviour 10.
#[test]
fn a_shutdown_requested_twice_is_one_sequence_with_one_report() {
    on_both_flavors(async |manager| {
        let done = Arc::new(AtomicBool::new(false));
        finishes_late(done);
        let (first, second) = tokio::join!(manager.shutdown("first"), manager.shutdown("second"));
        assert_eq!(first.reason, "first".into());
        assert_eq!(second.reason, "first".into());
        assert_eq!(first.elapsed, second.elapsed);
        assert_eq!(first.drained, 1);
        assert_eq!(second.drained, 1);
        let third = manager.shutdown("third").await;
        assert_eq!(third.elapsed, first.elapsed);
    });
}

/// Behaviour 10.
#[test]
fn a_shutdown_requested_inside_a_task_is_the_same_sequence() {
    #[background]
    async fn requests() {
        bgtask::request_shutdown("requested inside");
        assert!(bgtask::is_shutting_down());
    }
    on_both_flavors(async |manager| {
        assert!(!bgtask::is_shutting_down());
        assert_eq!(requests().await, Ok(()));
        manager.token().cancelled().await;
        let report = manager.shutdown("outside").await;
        assert_eq!(report.reason, "requested inside".into());
    });
}

/// Behaviour 10.
#[test]
fn the_drain_does_not_wait_for_a_task_that_awaits_the_shutdown() {
    #[background]
    async fn awaits(manager: Arc<Manager>) -> bool {
        manager.shutdown("from inside").await.is_clean()
    }
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        runtime.block_on(async {
            let inside = awaits(manager.clone());
            let report = manager.shutdown("from outside").await;
            assert!(report.is_clean(), "{report}");
            assert_eq!(inside.await, Ok(true));
        });
    }
}

/// Behaviour 10.
#[test]
fn a_dropped_shutdown_future_leaves_the_sequence_running() {
    on_both_flavors(async |manager| {
        let gate = Arc::new(Notify::new());
        #[background]
        async fn waits(gate: Arc<Notify>) {
            gate.notified().await;
        }
        waits(gate.clone());
        tokio::select! {
            biased;
            _ = manager.shutdown("first") => panic!("it cannot be over"),
            () = std::future::ready(()) => {}
        }
        gate.notify_one();
        assert_eq!(manager.shutdown("second").await.reason, "first".into());
    });
}

#[background]
async fn requests_twice(manager: Arc<Manager>) -> Duration {
    let given_up = tokio::time::timeout(SHORT, manager.shutdown("twice"));
    let (_, report) = tokio::join!(given_up, manager.shutdown("twice"));
    report.elapsed
}

#[background]
async fn ends_when_notified(end: Arc<Notify>) {
    end.notified().await;
}

/// Behaviour 10.
#[test]
fn the_drain_does_not_wait_for_a_task_that_awaits_the_shutdown_twice_and_stops_once() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let report = runtime.block_on(async {
            let end = Arc::new(Notify::new());
            ends_when_notified(end.clone());
            let requests = requests_twice(manager.clone());
            // Longer than the timeout of the first of the two waits.
            tokio::time::sleep(2 * SHORT).await;
            end.notify_one();
            requests.await.unwrap();
            manager.shutdown("the same").await
        });
        assert!(report.stragglers.is_empty(), "{report}");
        assert!(report.elapsed < FOREVER, "{report}");
    }
}

#[background]
async fn stops_and_continues(manager: Arc<Manager>, gave_up: Arc<Notify>, go_on: Arc<Notify>) {
    tokio::select! {
        biased;
        _ = manager.shutdown("given up") => {}
        () = tokio::time::sleep(SHORT) => {}
    }
    gave_up.notify_one();
    go_on.notified().await;
}

/// Behaviour 10.
#[test]
fn the_drain_waits_again_for_a_task_that_stops_awaiting_the_shutdown() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        runtime.block_on(async {
            let (gave_up, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            // The drain continues while this task runs.
            let end = Arc::new(Notify::new());
            let other = ends_when_notified(end.clone());
            let gives_up = stops_and_continues(manager.clone(), gave_up.clone(), go_on.clone());
            gave_up.notified().await;
            end.notify_one();
            assert_eq!(other.await, Ok(()));
            let mut shutdown = std::pin::pin!(manager.shutdown("the same"));
            let ended = tokio::time::timeout(SHORT, shutdown.as_mut()).await;
            assert!(ended.is_err(), "it has not waited: {ended:?}");
            go_on.notify_one();
            assert!(shutdown.await.is_clean());
            assert_eq!(gives_up.await, Ok(()));
        });
    }
}

#[background]
async fn works_while_it_awaits_the_shutdown(manager: Arc<Manager>) -> Outcome {
    let mut shutdown = std::pin::pin!(manager.shutdown("from inside"));
    loop {
        tokio::select! {
            report = &mut shutdown => return report.stragglers[0].outcome,
            // Polls the shutdown repeatedly, even beyond the deadline.
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

/// Behaviour 10.
#[test]
fn a_task_that_awaits_the_shutdown_is_not_aborted_at_the_deadline() {
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(SHORT, &runtime));
    let (_hold, gate) = mpsc::channel();
    runtime.block_on(async {
        // The shutdown waits for its abort; that is the time between the deadline and the end.
        holds_its_worker(gate);
        let inside = works_while_it_awaits_the_shutdown(manager.clone());
        assert_eq!(inside.await, Ok(Outcome::Abandoned));
    });
    runtime.shutdown_background();
}

#[background]
async fn continues_after_the_shutdown(manager: Arc<Manager>, over: Arc<Notify>) {
    manager.shutdown("from inside").await;
    over.notify_one();
    std::future::pending().await
}

/// Behaviour 10.
#[test]
fn a_task_that_continues_after_the_shutdown_can_be_aborted() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let over = Arc::new(Notify::new());
        runtime.block_on(async {
            let task = continues_after_the_shutdown(manager.clone(), over.clone());
            over.notified().await;
            assert!(!task.is_finished());
            task.abort();
            assert_eq!(task.await, Err(TaskError::Aborted));
        });
    }
}

/// The clock jumps ahead as soon as this thread waits, even if other threads still have work.
/// Behaviour 12.
#[test]
fn after_a_shutdown_request_the_token_of_main_has_fired_and_its_waiters_are_woken() {
    for _ in 0..20 {
        in_paused_time(async |manager| {
            let begin = tokio::time::Instant::now();
            let waiter = manager.token().cancelled_owned();
            let waiter = tokio::spawn(async move {
                waiter.await;
                tokio::time::Instant::now()
            });
            tokio::task::yield_now().await;
            manager.request_shutdown("the test");
            let token = manager.token();
            let waited = tokio::time::timeout(FOREVER, token.cancelled()).await;
            assert_eq!(waited, Ok(()));
            tokio::time::sleep(FOREVER).await;
            assert_eq!(waiter.await.unwrap(), begin);
        });
    }
}

/// A waker that runs `work`.
struct Runs<F>(F);

impl<F: Fn() + Send + Sync> Wake for Runs<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Runs `work` when the token of `main` fires, while the returned future lives.
fn when_the_token_fires(
    manager: &Manager,
    work: impl Fn() + Send + Sync + 'static,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let mut waits = Box::pin(manager.token().cancelled_owned());
    let waker = Waker::from(Arc::new(Runs(work)));
    let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    waits
}

/// Behaviour 12.
#[test]
fn a_waker_on_the_token_of_main_may_panic_block_or_request_the_shutdown_itself() {
    // The panic reaches the process's panic hook, and nothing else.
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let _waits = when_the_token_fires(&manager, || panic!("a waker of the test's"));
    manager.request_shutdown("the test");
    assert!(manager.token().is_cancelled());
    assert!(runtime.block_on(manager.shutdown("the end")).is_clean());

    // While it blocks, the later waiters of the token are not woken, but the caller continues.
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let _waits = when_the_token_fires(&manager, move || {
        let _ = held.lock().unwrap().recv();
    });
    manager.request_shutdown("the test");
    assert!(manager.token().is_cancelled());
    drop(release);
    assert!(runtime.block_on(manager.shutdown("the end")).is_clean());

    // The waker does not wait for itself.
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(FOREVER, &runtime));
    let (own, (woken, is_woken)) = (Arc::downgrade(&manager), mpsc::channel());
    let _waits = when_the_token_fires(&manager, move || {
        if let Some(manager) = own.upgrade() {
            manager.request_shutdown("once more");
        }
        woken.send(()).unwrap();
    });
    manager.request_shutdown("the test");
    is_woken.recv_timeout(FOREVER).unwrap();
    let report = runtime.block_on(manager.shutdown("the end"));
    assert_eq!(report.reason, "the test".into());
}

/// Behaviour 10.
#[test]
fn a_request_with_a_pre_stop_time_returns_and_a_shutdown_does_not_wait_for_it() {
    for runtime in runtimes() {
        let builder = Manager::builder().grace(2 * FOREVER).pre_stop(FOREVER);
        let manager = builder.install_on(runtime.handle()).expect("the only one");
        runtime.block_on(async {
            assert!(bgtask::is_ready());
            assert!(bgtask::health().readiness.is_ok());
            assert_eq!(bgtask::health().readiness.status(), 200);
            bgtask::request_shutdown("no more requests");
            assert!(!bgtask::is_ready() && !manager.is_ready());
            assert!(bgtask::is_shutting_down());
            let health = manager.health();
            assert_eq!(health.liveness.to_string(), "ok");
            assert_eq!(health.readiness.reason(), Some("shutting down"));
            assert_eq!(health.readiness.status(), 503);
            let token = manager.token();
            assert!(!token.is_cancelled());
            assert_eq!((token.reason(), token.remaining()), (None, None));
            let accepted = ends_at_once().await;
            assert_eq!(accepted, Ok(()));
            let report = manager.shutdown("again").await;
            assert!(report.is_clean() && report.elapsed < FOREVER, "{report}");
            assert!(token.is_cancelled());
        });
    }
}

/// Behaviour 10.
#[test]
fn the_pre_stop_time_counts_from_the_request_and_within_the_grace_period() {
    // Once the time is over, and, if the grace period is shorter, at the deadline.
    for (pre_stop, grace) in [(SHORT, FOREVER), (FOREVER, SHORT)] {
        for runtime in runtimes() {
            let builder = Manager::builder().grace(grace).pre_stop(pre_stop);
            let manager = builder.install_on(runtime.handle()).expect("the only one");
            runtime.block_on(async {
                let before = std::time::Instant::now();
                manager.request_shutdown("no more requests");
                manager.token().cancelled().await;
                assert!(before.elapsed() >= SHORT);
                let report = manager.shutdown("again").await;
                assert!(report.elapsed >= SHORT, "{report}");
            });
        }
    }
}
