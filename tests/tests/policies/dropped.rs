//! A future that is about to be dropped is not polled again: one that was replaced, one that timed out, and, once the drain has
//! started, one with `on_shutdown = "cancel"`.

use bgtask::{ShutdownToken, TaskError, background};
use bgtask_tests::{FOREVER, in_paused_time, on_both_flavors, settle, until};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);

/// How many bodies have started, and how many have passed their gate.
#[derive(Clone, Default)]
struct Bodies(Arc<(AtomicUsize, AtomicUsize)>);

impl Bodies {
    fn counts(&self) -> (usize, usize) {
        let (started, passed) = &*self.0;
        (
            started.load(Ordering::SeqCst),
            passed.load(Ordering::SeqCst),
        )
    }

    /// Runs one body: it waits at the gate, and then has a side effect.
    async fn pass(self, gate: Arc<Semaphore>) -> usize {
        let number = self.0.0.fetch_add(1, Ordering::SeqCst);
        gate.acquire().await.expect("it stays open").forget();
        self.0.1.fetch_add(1, Ordering::SeqCst);
        number
    }
}

// ---- 29: replaced ----

#[background(coalesce(policy = "replace"), log = "off")]
async fn replaces_at_a_gate(bodies: Bodies, gate: Arc<Semaphore>) -> usize {
    bodies.pass(gate).await
}

/// Behaviour 29.
#[test]
fn a_replaced_future_is_not_polled_again_even_if_it_could_finish() {
    on_both_flavors(async |_| {
        let (bodies, gate) = (Bodies::default(), Arc::new(Semaphore::new(0)));
        let first = replaces_at_a_gate(bodies.clone(), gate.clone());
        until("the first has started", || bodies.counts() == (1, 0)).await;
        let second = replaces_at_a_gate(bodies.clone(), gate.clone());
        // From now on, a poll of the first finds its gate open.
        gate.add_permits(1);
        assert_eq!(first.await, Err(TaskError::Replaced));
        assert_eq!(second.await, Ok(1));
        assert_eq!(bodies.counts(), (2, 1));
    });
}

// ---- 26: out of time ----

#[background(timeout = "5s", log = "off")]
async fn passes_a_gate_in_time(bodies: Bodies, gate: Arc<Semaphore>) -> usize {
    bodies.pass(gate).await
}

/// Behaviour 26.
#[test]
fn a_timed_out_future_is_not_polled_again_even_if_it_could_finish() {
    in_paused_time(async |manager| {
        let (bodies, gate) = (Bodies::default(), Arc::new(Semaphore::new(0)));
        let begin = Instant::now();
        let late = passes_a_gate_in_time(bodies.clone(), gate.clone());
        settle().await;
        assert_eq!(bodies.counts(), (1, 0));
        // It is woken first, and has timed out when it is polled.
        gate.add_permits(1);
        advance(6 * SECOND).await;
        assert_eq!(late.await, Err(TaskError::TimedOut));
        assert_eq!(bodies.counts(), (1, 0));

        // The permit is free again, and suffices for a call that is in time.
        let in_time = passes_a_gate_in_time(bodies.clone(), gate.clone());
        assert_eq!(in_time.await, Ok(1));
        assert_eq!(begin.elapsed(), 6 * SECOND);
        let stats = manager.stats();
        assert_eq!((stats.timed_out, stats.succeeded), (1, 1));
    });
}

// ---- beyond: dropped by the drain ----

#[background(on_shutdown = "cancel", log = "off")]
async fn is_dropped_by_the_drain(bodies: Bodies, gate: Arc<Semaphore>) -> usize {
    bodies.pass(gate).await
}

#[background(log = "off")]
async fn gives_its_token_away(to: oneshot::Sender<ShutdownToken>, token: ShutdownToken) {
    let _ = to.send(token.clone());
    token.cancelled().await;
}

/// A waker that blocks the thread that fires the tokens.
struct HoldsUp {
    reached: AtomicBool,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Wake for HoldsUp {
    fn wake(self: Arc<Self>) {
        self.reached.store(true, Ordering::SeqCst);
        // The test releases it, or has failed.
        let _ = self.release.lock().unwrap().recv_timeout(FOREVER);
    }
}

#[test]
fn a_future_that_the_drain_drops_is_not_polled_again() {
    on_both_flavors(async |manager| {
        let (bodies, gate) = (Bodies::default(), Arc::new(Semaphore::new(0)));
        let dropped = is_dropped_by_the_drain(bodies.clone(), gate.clone());
        until("it has started", || bodies.counts() == (1, 0)).await;

        // The newest token fires first, and its waker delays the others.
        let (to, token) = oneshot::channel();
        let drained = gives_its_token_away(to);
        let token = token.await.unwrap();
        let (release, released) = mpsc::channel();
        let holds_up = Arc::new(HoldsUp {
            reached: AtomicBool::new(false),
            release: Mutex::new(released),
        });
        let mut fires = pin!(token.cancelled());
        let waker = Waker::from(holds_up.clone());
        assert!(
            fires
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );

        let (report, ()) = tokio::join!(manager.shutdown("now"), async {
            until("the drain has started", || {
                holds_up.reached.load(Ordering::SeqCst)
            })
            .await;
            gate.add_permits(1);
            assert_eq!(dropped.await, Err(TaskError::Cancelled));
            drop(release);
            assert_eq!(drained.await, Ok(()));
        });
        assert!(report.is_clean(), "{report}");
        assert_eq!(bodies.counts(), (1, 0));
    });
}
