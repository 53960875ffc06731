//! The drain: the work that a shutdown waits for, accepts and refuses.

use crate::support::finishes_late;
use bgtask::{RefusedReason, ShutdownToken, TaskError, background};
use bgtask_tests::{
    FOREVER, in_paused_time, manager_within, on_both_flavors, record_events, recorded, runtimes,
    settle,
};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Notify;

/// Behaviour 6.
#[test]
fn a_shutdown_waits_for_running_work_and_returns_once_it_ended() {
    let done: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
    let mut next = done.iter();
    let next = std::sync::Mutex::new(&mut next);
    let reports = on_both_flavors(async |_| {
        let done = next.lock().unwrap().next().unwrap().clone();
        finishes_late(done);
    });
    assert!(done.iter().all(|done| done.load(Ordering::Relaxed)));
    for report in reports {
        assert!(report.is_clean());
        assert_eq!(report.drained, 1);
        assert!(report.elapsed < FOREVER);
    }
}

/// Behaviour 9.
#[test]
fn calls_concurrent_with_a_shutdown_are_drained_or_refused_and_never_lost() {
    #[background(log = "off")]
    async fn ends(ran: Arc<AtomicU32>) {
        ran.fetch_add(1, Ordering::Relaxed);
    }
    #[background(log = "off")]
    fn ends_blocking(ran: Arc<AtomicU32>) {
        ran.fetch_add(1, Ordering::Relaxed);
    }
    let rounds = 2_000;
    for round in 0..rounds {
        let runtime = match round % 2 {
            0 => Builder::new_current_thread().build(),
            _ => Builder::new_multi_thread().worker_threads(2).build(),
        };
        let runtime = runtime.unwrap();
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let ran = Arc::new(AtomicU32::new(0));
        let barrier = Arc::new(Barrier::new(3));
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let (manager, ran, barrier) = (manager.clone(), ran.clone(), barrier.clone());
                thread::spawn(move || {
                    let _entered = manager.enter();
                    barrier.wait();
                    let calls = 8;
                    for _ in 0..calls {
                        if caller == 0 {
                            ends(ran.clone());
                        } else {
                            ends_blocking(ran.clone());
                        }
                    }
                    calls
                })
            })
            .collect();
        let report = runtime.block_on(async {
            barrier.wait();
            manager.shutdown("the test").await
        });
        let calls: u64 = callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum();
        let stats = manager.stats();
        assert_eq!(stats.running, 0);
        assert_eq!(stats.accepted + stats.refused, calls);
        assert_eq!(stats.succeeded, stats.accepted);
        // Every accepted call had ended when the report was written: none was accepted after it.
        assert_eq!(report.totals.accepted, stats.accepted);
        assert_eq!(u64::from(ran.load(Ordering::Relaxed)), stats.accepted);
        runtime.shutdown_background();
    }
}

/// Behaviour 9.
#[test]
fn a_call_after_the_shutdown_is_refused_and_logged() {
    record_events();
    #[background]
    async fn too_late() {}
    on_both_flavors(async |manager| {
        manager.shutdown("the test").await;
        let handle = too_late();
        assert!(handle.is_finished());
        assert_eq!(
            handle.await,
            Err(TaskError::Refused(RefusedReason::ShutDown))
        );
        assert_eq!(manager.stats().refused, 1);
        assert_eq!(manager.stats().accepted, 0);
    });
    let warnings = recorded(|event| event.field("name").ends_with("::too_late"));
    assert_eq!(warnings.len(), 2);
    assert_eq!(warnings[0].level, tracing::Level::WARN);
}

/// Behaviour 9.
#[test]
fn calls_made_by_draining_work_are_accepted_and_drained_too() {
    #[background]
    async fn generation(left: u32, ran: Arc<AtomicU32>, token: ShutdownToken) {
        token.cancelled().await;
        ran.fetch_add(1, Ordering::Relaxed);
        if left > 0 {
            generation(left - 1, ran);
        }
    }
    let ran = Arc::new(AtomicU32::new(0));
    let reports = on_both_flavors(async |_| drop(generation(9, ran.clone())));
    assert_eq!(ran.load(Ordering::Relaxed), 20);
    for report in reports {
        assert_eq!(report.drained, 10);
        assert_eq!(report.totals.refused, 0);
    }
}

#[background(log = "off")]
async fn fails_when_draining(token: ShutdownToken) -> Result<(), &'static str> {
    token.cancelled().await;
    Err("draining")
}

#[test]
fn a_report_keeps_a_thousand_failures_and_counts_the_rest() {
    let [report, _] = on_both_flavors(async |_| {
        (0..1_001).for_each(|_| drop(fails_when_draining()));
    });
    assert_eq!(report.failures.len(), 1_000);
    assert_eq!(report.totals.failed, 1_001);
}

#[test]
fn on_shutdown_finish_runs_to_its_natural_end_and_its_token_does_not_fire() {
    #[background(on_shutdown = "finish")]
    async fn finishes(gate: Arc<Notify>, token: ShutdownToken) -> bool {
        gate.notified().await;
        let has_fired = token.is_cancelled() || token.cancellation_token().is_cancelled();
        has_fired || token.reason().is_some() || token.deadline().is_some()
    }
    #[background]
    async fn opens(gate: Arc<Notify>, token: ShutdownToken) {
        token.cancelled().await;
        gate.notify_one();
    }
    on_both_flavors(async |manager| {
        let gate = Arc::new(Notify::new());
        let finishing = finishes(gate.clone());
        opens(gate);
        assert!(manager.shutdown("end").await.is_clean());
        assert_eq!(finishing.await, Ok(false));
    });
}

#[test]
fn on_shutdown_cancel_is_dropped_when_draining_starts() {
    #[background(on_shutdown = "cancel")]
    async fn cancelled() {
        std::future::pending::<()>().await;
    }
    on_both_flavors(async |manager| {
        let task = cancelled();
        let report = manager.shutdown("end").await;
        assert!(report.is_clean());
        assert_eq!(report.totals.cancelled, 1);
        assert_eq!(task.await, Err(TaskError::Cancelled));
    });
}

/// Behaviour 14.
#[test]
fn during_an_axum_graceful_shutdown_a_request_in_flight_calls_a_task() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[background]
    async fn write_down(token: ShutdownToken) -> bool {
        token.is_cancelled()
    }

    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            let gate = Arc::new(Notify::new());
            let arrived = Arc::new(Notify::new());
            let handler = {
                let (gate, arrived) = (gate.clone(), arrived.clone());
                move || async move {
                    arrived.notify_one();
                    gate.notified().await;
                    match write_down().await {
                        Ok(false) => "accepted, and its token is quiet",
                        Ok(true) => "accepted, and its token has fired",
                        Err(_) => "lost",
                    }
                }
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = axum::Router::new().route("/", axum::routing::get(handler));
            let server = axum::serve(listener, app)
                .with_graceful_shutdown(manager.token().cancelled_owned())
                .into_future();
            let server = tokio::spawn(server);

            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            arrived.notified().await;
            manager.request_shutdown("while a request is in flight");
            gate.notify_one();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.ends_with("accepted, and its token is quiet"),
                "{answer}"
            );
            server.await.unwrap().unwrap();
            assert!(manager.shutdown("served").await.is_clean());
        });
    }
}

#[background(log = "off")]
async fn fails_in_the_drain(token: ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err("the test's".to_owned())
}

/// Behaviour 22.
#[test]
fn the_report_counts_all_failures_and_names_the_first_thousand() {
    let reports = on_both_flavors(async |_| {
        for _ in 0..1_200 {
            fails_in_the_drain();
        }
    });
    for report in reports {
        assert_eq!(
            (report.failure_count, report.failures.len()),
            (1_200, 1_000)
        );
        let text = report.to_string();
        assert!(
            text.lines().next().unwrap().contains("1200 failed"),
            "{text}"
        );
        assert!(text.ends_with("… and 200 more that failed"), "{text}");
    }
}

#[background]
async fn which_comes_first(token: ShutdownToken) -> &'static str {
    tokio::select! {
        biased;
        () = tokio::time::sleep(Duration::from_secs(3600)) => "the timer",
        () = token.cancelled() => "the token",
    }
}

/// Behaviour 27.
#[test]
fn under_a_paused_clock_the_tokens_fire_before_any_timer() {
    for _ in 0..20 {
        in_paused_time(async |manager| {
            let task = which_comes_first();
            settle().await;
            assert!(manager.shutdown("now").await.is_clean());
            assert_eq!(task.await, Ok("the token"));
        });
    }
}
