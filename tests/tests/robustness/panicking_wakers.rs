//! Wakers that panic: every other waiter is woken, and the shutdown ends.

const SHORT: Duration = Duration::from_millis(50);
use bgtask::{Group, ShutdownToken, background};
use bgtask_tests::{FOREVER, manager_within, on_both_flavors, on_both_flavors_within, runtimes};
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

#[background(log = "off")]
async fn gives_its_token_away(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token.clone());
    pending::<()>().await;
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Polls `future` with a waker that panics.
fn poll_with_panicking_waker(future: Pin<&mut impl Future>) {
    let waker = Waker::from(Arc::new(PanickingWaker));
    let polled = future.poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[test]
fn a_waker_that_panics_does_not_hang_the_shutdown() {
    for runtime in runtimes() {
        let manager = manager_within(SHORT, &runtime);
        let report = runtime.block_on(async {
            let (to, token) = oneshot::channel();
            gives_its_token_away(to);
            let token = token.await.unwrap();
            let mut fired = Box::pin(token.cancelled());
            poll_with_panicking_waker(fired.as_mut());
            manager.shutdown("a waker panics").await
        });
        assert_eq!(report.totals.aborted, 1, "{report}");
    }
}

#[background(log = "off")]
async fn ends_with(until: oneshot::Receiver<()>) {
    let _ = until.await;
}

/// Spawns a task that awaits `future` with a waker that does not panic. Returns once the task waits.
async fn waits_beside(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let (waits, is_waiting) = oneshot::channel();
    let mut waits = Some(waits);
    let mut future = Box::pin(future);
    let task = tokio::spawn(poll_fn(move |cx| {
        let polled = future.as_mut().poll(cx);
        if let Some(waits) = waits.take() {
            let _ = waits.send(polled.is_pending());
        }
        polled
    }));
    assert!(is_waiting.await.unwrap());
    task
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_becoming_idle() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (end, until) = oneshot::channel();
        group.run(|| ends_with(until));
        let mut panics = (Box::pin(group.idle()), Box::pin(manager.idle()));
        poll_with_panicking_waker(panics.0.as_mut());
        poll_with_panicking_waker(panics.1.as_mut());
        let of_group = group.clone();
        let others = [
            waits_beside(async move { of_group.idle().await }).await,
            waits_beside(bgtask::idle()).await,
        ];
        end.send(()).unwrap();
        for other in others {
            timeout(FOREVER / 6, other).await.expect("woken").unwrap();
        }
    });
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_waking_with_the_token_of_main() {
    on_both_flavors(async |manager| {
        let token = manager.token();
        let mut panics = (
            Box::pin(token.cancelled()),
            Box::pin(manager.token().cancelled_owned()),
            Box::pin(token.run_until_cancelled(pending::<()>())),
        );
        poll_with_panicking_waker(panics.0.as_mut());
        poll_with_panicking_waker(panics.1.as_mut());
        poll_with_panicking_waker(panics.2.as_mut());
        let other = waits_beside(manager.token().cancelled_owned()).await;
        manager.request_shutdown("a waker panics");
        timeout(FOREVER / 6, other).await.expect("woken").unwrap();
    });
}

#[background(log = "off")]
async fn ends_with_its_token(token: ShutdownToken, started: oneshot::Sender<()>) {
    let _ = started.send(());
    token.cancelled().await;
}

#[background(log = "off")]
async fn polls_its_token_with_a_panicking_waker(
    token: ShutdownToken,
    started: oneshot::Sender<()>,
) {
    let mut fired = Box::pin(token.cancelled());
    poll_with_panicking_waker(fired.as_mut());
    let _ = started.send(());
    // Keeps that waker registered, and still wakes with the shutdown.
    token.clone().cancelled_owned().await;
}

#[test]
fn a_waker_that_panics_does_not_keep_other_tasks_from_their_tokens() {
    let reports = on_both_flavors_within(FOREVER / 6, async |_| {
        for number in 0..9 {
            let (start, started) = oneshot::channel();
            match number {
                4 => polls_its_token_with_a_panicking_waker(start),
                _ => ends_with_its_token(start),
            };
            started.await.unwrap();
        }
    });
    for report in reports {
        assert_eq!(report.straggler_count, 0, "{report}");
    }
}
