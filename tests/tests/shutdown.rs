//! Shutdown within one process: behaviours 6 to 10, 14, 16 and 17.
#![allow(
    clippy::async_yields_async,
    reason = "`block_on(async { call() })` is how a call is made on a runtime; its handle is awaited later"
)]

use bgtask::{
    Manager, Outcome, RefusedReason, ShutdownReport, ShutdownToken, TaskError, TaskState,
    background,
};
use bgtask_tests::{
    FOREVER, blocking_until, in_paused_time, manager_within, on_both_flavors,
    on_both_flavors_within, record_events, recorded, runtimes, settle, until,
};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

const SHORT: Duration = Duration::from_millis(50);

#[background]
async fn finishes_late(token: ShutdownToken, done: Arc<AtomicBool>) {
    token.cancelled().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Relaxed);
}

#[test]
fn b06_a_shutdown_waits_for_running_work_and_returns_once_it_ended() {
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

#[background]
async fn ignores_its_token(_token: ShutdownToken) {
    std::future::pending::<()>().await;
}

#[background]
async fn takes_no_token() {
    std::future::pending::<()>().await;
}

#[background]
fn blocks(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[test]
fn b07_a_task_that_ignores_its_token_is_aborted_at_the_deadline_named_and_counted() {
    let line = line!() + 2;
    let reports = on_both_flavors_within(SHORT, async |manager| {
        ignores_its_token();
        until("it runs", || {
            manager.tasks().first().map(|task| task.state) == Some(TaskState::Running)
        })
        .await;
    });
    for report in reports {
        assert!(!report.is_clean());
        assert_eq!(report.totals.aborted, 1);
        assert_eq!(report.totals.running, 0);
        assert!(report.elapsed >= SHORT);
        let [late] = &report.stragglers[..] else {
            panic!("{report}");
        };
        assert!(late.name.ends_with("::ignores_its_token"));
        assert_eq!(late.called_at.file(), file!());
        assert_eq!(late.called_at.line(), line);
        assert!(late.takes_token);
        assert!(late.age >= SHORT);
        assert_eq!(late.outcome, Outcome::Aborted);
        let table = report.to_string();
        for part in ["aborted", late.name, "takes a token", &late.id.to_string()] {
            assert!(table.contains(part), "{table}");
        }
    }
}

#[test]
fn b07_the_handle_of_a_straggler_says_aborted() {
    let [current_thread, _] = runtimes();
    let manager = manager_within(SHORT, &current_thread);
    current_thread.block_on(async {
        let handle = takes_no_token();
        manager.shutdown("b07").await;
        assert_eq!(handle.await, Err(TaskError::Aborted));
    });
}

#[test]
fn b07_the_handle_of_a_plain_function_that_never_got_a_thread_says_aborted() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let (_never, never) = mpsc::channel();
    runtime.block_on(async {
        blocks(gate);
        let queued = blocks(never);
        let report = manager.shutdown("b07").await;
        let outcomes = (report.totals.abandoned, report.totals.aborted);
        assert_eq!(outcomes, (1, 1), "{report}");
        drop(open);
        assert_eq!(queued.await, Err(TaskError::Aborted));
    });
}

#[background]
async fn takes_a_moment_to_drop() {
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(SHORT);
            // Refused, and that holds nothing up.
            ends_at_once();
        }
    }
    let _slow = Slow;
    std::future::pending::<()>().await;
}

/// An abort is awaited for a second at most, and no longer than it takes. One quick round out of many shows that the drain
/// is woken by the abort, and does not sit the second out; a busy machine may spoil the others.
#[test]
fn b07_the_drain_ends_with_the_last_abort() {
    let sat_it_out = |report: &ShutdownReport| report.elapsed >= SHORT + Duration::from_secs(1);
    let rounds = || {
        on_both_flavors_within(SHORT, async |manager| {
            takes_a_moment_to_drop();
            until("it runs", || {
                manager.tasks().first().map(|task| task.state) == Some(TaskState::Running)
            })
            .await;
        })
    };
    let quick = (0..10).find_map(|_| rounds().into_iter().find(|report| !sat_it_out(report)));
    let report = quick.expect("a round that does not wait for nothing");
    assert_eq!(report.totals.aborted, 1);
}

#[test]
fn b07_a_blocking_straggler_is_abandoned_and_does_not_hold_the_drain() {
    let (open, gates): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel()).unzip();
    let gates = std::sync::Mutex::new(gates);
    let reports = on_both_flavors_within(SHORT, async |manager| {
        blocks(gates.lock().unwrap().pop().unwrap());
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
    });
    drop(open);
    for report in reports {
        assert_eq!(report.stragglers[0].outcome, Outcome::Abandoned);
        assert!(!report.stragglers[0].takes_token);
        assert_eq!(report.totals.abandoned, 1);
        assert_eq!(report.totals.running, 0);
    }
}

#[test]
fn b07_an_async_straggler_that_blocks_its_worker_is_abandoned() {
    #[background]
    async fn blocks_its_worker(gate: mpsc::Receiver<()>) {
        let _ = gate.recv();
    }
    let [_, runtime] = runtimes();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let report = runtime.block_on(async {
        blocks_its_worker(gate);
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
        manager.shutdown("b07").await
    });
    assert_eq!(report.stragglers[0].outcome, Outcome::Abandoned);
    assert_eq!(report.totals.abandoned, 1);
    drop(open);
    runtime.shutdown_background();
    // When it does come back it changes no count any more.
    assert_eq!(manager.stats().abandoned, 1);
    assert_eq!(manager.stats().ended(), 1);
}

#[test]
fn b07_what_ends_around_the_deadline_is_either_drained_or_named() {
    #[background(log = "off")]
    async fn ends() {}
    /// From the start of the draining up to the deadline, and so one call after the other that ends then.
    #[background(log = "off")]
    async fn calls(token: ShutdownToken) {
        token.cancelled().await;
        while !matches!(ends().await, Err(TaskError::Refused(_))) {}
    }
    for _ in 0..300 {
        let [_, runtime] = runtimes();
        let manager = manager_within(Duration::from_millis(5), &runtime);
        let report = runtime.block_on(async {
            (0..8).for_each(|_| drop(calls()));
            manager.shutdown("b07").await
        });
        let late = report.stragglers.len() as u64;
        assert_eq!(report.drained + late, report.totals.ended(), "{report}");
        assert_eq!(report.totals.running, 0, "{report}");
    }
}

#[test]
fn b08_ten_late_tasks_share_one_deadline_and_their_tokens_fire_together() {
    #[background]
    async fn counts_then_hangs(token: ShutdownToken, fired: Arc<AtomicU32>) {
        token.cancelled().await;
        fired.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
    let grace = Duration::from_millis(300);
    let fired = Arc::new(AtomicU32::new(0));
    let reports = on_both_flavors_within(grace, async |_| {
        for _ in 0..10 {
            counts_then_hangs(fired.clone());
        }
    });
    // All heard of it before the one deadline, though none of them ended.
    assert_eq!(fired.load(Ordering::Relaxed), 20);
    for report in reports {
        assert_eq!(report.stragglers.len(), 10);
        assert!(report.elapsed < grace * 10, "{report}");
    }
}

#[test]
fn b09_calls_against_shutdown_are_drained_or_refused_and_never_lost() {
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
            manager.shutdown("b09").await
        });
        let calls: u64 = callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum();
        let stats = manager.stats();
        assert_eq!(stats.running, 0);
        assert_eq!(stats.accepted + stats.refused, calls);
        assert_eq!(stats.succeeded, stats.accepted);
        // What was accepted had ended when the report was written: nothing slipped in after it.
        assert_eq!(report.totals.accepted, stats.accepted);
        assert_eq!(u64::from(ran.load(Ordering::Relaxed)), stats.accepted);
        runtime.shutdown_background();
    }
}

#[test]
fn b09_a_call_after_the_shutdown_is_refused_and_told_so() {
    record_events();
    #[background]
    async fn too_late() {}
    on_both_flavors(async |manager| {
        manager.shutdown("b09").await;
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

#[test]
fn b09_calls_made_by_draining_work_are_accepted_and_drained_too() {
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

#[test]
fn b10_a_shutdown_asked_for_twice_is_one_sequence_with_one_report() {
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

#[test]
fn b10_a_shutdown_asked_for_inside_a_task_is_the_same_sequence() {
    #[background]
    async fn asks() {
        bgtask::request_shutdown("asked inside");
        assert!(bgtask::is_shutting_down());
    }
    on_both_flavors(async |manager| {
        assert!(!bgtask::is_shutting_down());
        assert_eq!(asks().await, Ok(()));
        manager.token().cancelled().await;
        let report = manager.shutdown("outside").await;
        assert_eq!(report.reason, "asked inside".into());
    });
}

#[test]
fn b10_a_task_that_awaits_the_shutdown_is_not_waited_for() {
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

#[test]
fn b10_a_dropped_shutdown_future_leaves_the_sequence_running() {
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

#[test]
fn b17_a_manager_dropped_while_its_shutdown_goes_on_has_nothing_to_say() {
    record_events();
    #[background]
    async fn drains_without_it(gate: Arc<Notify>) {
        gate.notified().await;
    }
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let gate = Arc::new(Notify::new());
        let task = runtime.block_on(async {
            let task = drains_without_it(gate.clone());
            let given_up = tokio::time::timeout(SHORT, manager.shutdown("b17")).await;
            assert!(given_up.is_err());
            task
        });
        drop(manager);
        gate.notify_one();
        assert_eq!(runtime.block_on(task), Ok(()));
    }
    let told = recorded(|event| event.field("tasks").contains("drains_without_it"));
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_grace_period_too_long_for_the_clock_is_one_without_end() {
    for runtime in runtimes() {
        let manager = manager_within(Duration::MAX, &runtime);
        manager.request_shutdown("the test");
        let left = manager.token().remaining().unwrap();
        assert!(left > Duration::from_secs(99 * 365 * 24 * 3600), "{left:?}");
        let report = runtime.block_on(manager.shutdown("the same"));
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.grace, Duration::MAX);
    }
}

#[background(log = "off")]
async fn fails_when_told(token: ShutdownToken) -> Result<(), &'static str> {
    token.cancelled().await;
    Err("told")
}

#[test]
fn a_report_keeps_a_thousand_failures_and_counts_the_rest() {
    let [report, _] = on_both_flavors(async |_| {
        (0..1_001).for_each(|_| drop(fails_when_told()));
    });
    assert_eq!(report.failures.len(), 1_000);
    assert_eq!(report.totals.failed, 1_001);
}

#[test]
fn on_shutdown_finish_runs_to_its_natural_end_and_its_token_stays_quiet() {
    #[background(on_shutdown = "finish")]
    async fn finishes(gate: Arc<Notify>, token: ShutdownToken) -> bool {
        gate.notified().await;
        let hears = token.is_cancelled() || token.cancellation_token().is_cancelled();
        hears || token.reason().is_some() || token.deadline().is_some()
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

#[test]
fn a_grace_period_that_is_over_before_main_ended_cuts_everything_off() {
    for runtime in runtimes() {
        let manager = manager_within(SHORT, &runtime);
        runtime.block_on(async {
            takes_no_token();
            ignores_its_token();
            manager.request_shutdown("and nobody ends");
            until("it is over", || manager.stats().running == 0).await;
            let report = manager.shutdown("at last").await;
            assert!(report.main_was_late);
            assert_eq!(report.stragglers.len(), 2);
            let table = report.to_string();
            assert!(
                table.contains("takes a token, which fired at the deadline"),
                "{table}"
            );
        });
    }
}

#[test]
fn b14_during_an_axum_graceful_shutdown_a_request_in_flight_calls_a_task() {
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

#[test]
fn b16_two_runtimes_have_a_manager_each_at_once_and_one_after_the_other() {
    #[background]
    async fn waits(token: ShutdownToken) {
        token.cancelled().await;
    }
    for _ in 0..3 {
        let [one, two] = runtimes();
        let first = Manager::builder().install_on(one.handle()).unwrap();
        let second = Manager::builder().install_on(two.handle()).unwrap();
        // The same thread, in turn inside the one and the other.
        let task_of_one = one.block_on(async { waits() });
        let task_of_two = two.block_on(async { waits() });
        assert_eq!((first.stats().running, second.stats().running), (1, 1));
        one.block_on(first.shutdown("the first"));
        assert_eq!((first.stats().running, second.stats().running), (0, 1));
        assert!(!task_of_two.is_finished());
        assert!(one.block_on(task_of_one).is_ok());
        let late = two.block_on(async { waits() });
        two.block_on(second.shutdown("the second"));
        assert!(two.block_on(task_of_two).is_ok());
        assert!(two.block_on(late).is_ok());
        assert_eq!((first.stats().accepted, second.stats().accepted), (1, 2));
    }
}

#[test]
fn b16_a_runtime_takes_one_manager_and_another_after_that_one() {
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    assert_eq!(
        Manager::builder().install_on(runtime.handle()).unwrap_err(),
        bgtask::InstallError::AlreadyInstalled
    );
    runtime.block_on(manager.shutdown("to make room"));
    drop(manager);
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    #[background]
    async fn works() {}
    runtime.block_on(async { assert_eq!(works().await, Ok(())) });
    assert_eq!(manager.stats().succeeded, 1);
    assert_eq!(
        Manager::install().unwrap_err(),
        bgtask::InstallError::NoRuntime
    );
}

#[background]
async fn ends_at_once() {}

#[test]
fn b16_a_new_manager_gets_the_calls_even_if_something_keeps_the_old_one_alive() {
    for runtime in runtimes() {
        let old = Manager::builder().install_on(runtime.handle()).unwrap();
        let kept = runtime.block_on(async {
            ends_at_once().await.unwrap();
            old.token()
        });
        runtime.block_on(old.shutdown("the old one"));
        drop(old);
        let new = Manager::builder().install_on(runtime.handle()).unwrap();
        assert_eq!(runtime.block_on(async { ends_at_once().await }), Ok(()));
        assert_eq!(new.stats().accepted, 1);
        drop(kept);
    }
}

#[test]
fn b16_a_worker_that_knew_the_old_manager_gives_its_calls_to_the_new_one() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let calls = || {
        let on_the_worker = runtime.spawn(async { ends_at_once().await });
        assert_eq!(runtime.block_on(on_the_worker).unwrap(), Ok(()));
    };
    let old = Manager::builder().install_on(runtime.handle()).unwrap();
    calls();
    runtime.block_on(old.shutdown("the old one"));
    drop(old);
    let new = Manager::builder().install_on(runtime.handle()).unwrap();
    calls();
    assert_eq!(new.stats().accepted, 1);
}

#[background]
async fn calls_when_told(told: Arc<Notify>) -> Result<(), TaskError> {
    told.notified().await;
    ends_at_once().await
}

#[test]
fn b16_a_task_that_drains_after_its_manager_was_dropped_calls_on_in_its_books() {
    record_events();
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let told = Arc::new(Notify::new());
    // The worker itself has made no call yet, and so knows no manager by itself.
    let task = runtime.block_on(async { calls_when_told(told.clone()) });
    manager.request_shutdown("b16");
    drop(manager);
    let [other, _] = runtimes();
    let _another = Manager::builder().install_on(other.handle()).unwrap();
    told.notify_one();
    assert_eq!(runtime.block_on(task), Ok(Ok(())));
}

#[test]
fn b16_a_runtime_without_a_manager_does_not_use_that_of_another() {
    let [with, without] = runtimes();
    let manager = Manager::builder().install_on(with.handle()).unwrap();
    without.block_on(async {
        assert_eq!(ends_at_once().await, Ok(()));
        assert_eq!(
            bgtask::stats().accepted,
            1,
            "it has one of its own by the call"
        );
    });
    assert_eq!(manager.stats().accepted, 0);
}

#[background]
fn runs_a_runtime_of_its_own() -> u64 {
    let [inner, _] = runtimes();
    let manager = Manager::builder().install_on(inner.handle()).unwrap();
    inner.block_on(async {
        let in_a_task = tokio::spawn(async { ends_at_once().await });
        in_a_task.await.unwrap().unwrap();
        ends_at_once();
    });
    inner.block_on(manager.shutdown("within a task"));
    manager.stats().accepted
}

#[test]
fn b16_a_runtime_within_a_task_has_its_own_manager() {
    on_both_flavors(async |manager| {
        assert_eq!(runs_a_runtime_of_its_own().await, Ok(2));
        assert_eq!(manager.stats().accepted, 1);
    });
}

#[test]
fn b16_guards_within_one_another_each_have_their_manager() {
    let [one, two] = runtimes().map(|runtime| {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        (manager, runtime)
    });
    for round in 1..3 {
        let _outer = one.0.enter();
        ends_at_once();
        {
            let _inner = two.0.enter();
            ends_at_once();
        }
        ends_at_once();
        assert_eq!(one.0.stats().accepted, 2 * round);
        assert_eq!(two.0.stats().accepted, round);
    }
    for (manager, runtime) in [one, two] {
        assert!(runtime.block_on(manager.shutdown("the end")).is_clean());
    }
}

#[test]
fn b16_guards_dropped_out_of_order_say_so() {
    let [one, two] = runtimes().map(|runtime| {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        (manager, runtime)
    });
    let first = one.0.enter();
    let second = two.0.enter();
    let out_of_order = std::panic::AssertUnwindSafe(move || drop(first));
    assert!(std::panic::catch_unwind(out_of_order).is_err());
    drop(second);
}

#[background]
async fn asks_twice(manager: Arc<Manager>) -> Duration {
    let given_up = tokio::time::timeout(SHORT, manager.shutdown("twice"));
    let (_, report) = tokio::join!(given_up, manager.shutdown("twice"));
    report.elapsed
}

#[background]
async fn ends_when_told(end: Arc<Notify>) {
    end.notified().await;
}

#[test]
fn b10_a_task_that_awaits_the_shutdown_twice_and_gives_up_once_is_not_waited_for() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let report = runtime.block_on(async {
            let end = Arc::new(Notify::new());
            ends_when_told(end.clone());
            let asks = asks_twice(manager.clone());
            // Longer than the first of the two waits takes to be given up.
            tokio::time::sleep(2 * SHORT).await;
            end.notify_one();
            asks.await.unwrap();
            manager.shutdown("the same").await
        });
        assert!(report.stragglers.is_empty(), "{report}");
        assert!(report.elapsed < FOREVER, "{report}");
    }
}

#[background]
async fn gives_up_and_goes_on(manager: Arc<Manager>, gave_up: Arc<Notify>, go_on: Arc<Notify>) {
    tokio::select! {
        biased;
        _ = manager.shutdown("given up") => {}
        () = tokio::time::sleep(SHORT) => {}
    }
    gave_up.notify_one();
    go_on.notified().await;
}

#[test]
fn b10_a_task_that_gives_up_on_the_shutdown_is_waited_for_again() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        runtime.block_on(async {
            let (gave_up, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            // As long as this one lives, the drain goes on.
            let end = Arc::new(Notify::new());
            let other = ends_when_told(end.clone());
            let gives_up = gives_up_and_goes_on(manager.clone(), gave_up.clone(), go_on.clone());
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
            // Polled all the time, beyond the deadline too.
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

#[test]
fn b10_a_task_that_awaits_the_shutdown_is_not_cut_off_at_the_deadline() {
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(SHORT, &runtime));
    let (_hold, gate) = mpsc::channel();
    runtime.block_on(async {
        // Its abort is waited for, which makes the time between the deadline and the end.
        holds_its_worker(gate);
        let inside = works_while_it_awaits_the_shutdown(manager.clone());
        assert_eq!(inside.await, Ok(Outcome::Abandoned));
    });
    runtime.shutdown_background();
}

#[background]
async fn goes_on_after_the_shutdown(manager: Arc<Manager>, over: Arc<Notify>) {
    manager.shutdown("from inside").await;
    over.notify_one();
    std::future::pending().await
}

#[test]
fn b10_a_task_that_goes_on_after_the_shutdown_can_be_aborted() {
    for runtime in runtimes() {
        let manager = Arc::new(manager_within(FOREVER, &runtime));
        let over = Arc::new(Notify::new());
        runtime.block_on(async {
            let task = goes_on_after_the_shutdown(manager.clone(), over.clone());
            over.notified().await;
            assert!(!task.is_finished());
            task.abort();
            assert_eq!(task.await, Err(TaskError::Aborted));
        });
    }
}

#[background]
async fn comes_back_too_late(gate: mpsc::Receiver<()>, went_on: Arc<AtomicBool>, gone: Arc<()>) {
    let _ = gate.recv();
    tokio::task::yield_now().await;
    went_on.store(true, Ordering::SeqCst);
    drop(gone);
}

#[test]
fn b07_an_abandoned_async_task_that_comes_back_is_dropped_at_its_next_await() {
    let [_, runtime] = runtimes();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let (went_on, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(()));
    runtime.block_on(async {
        comes_back_too_late(gate, went_on.clone(), gone.clone());
        let report = manager.shutdown("b07").await;
        assert_eq!(report.totals.abandoned, 1, "{report}");
        drop(open);
        until("it is gone", || Arc::strong_count(&gone) == 1).await;
    });
    assert!(!went_on.load(Ordering::SeqCst));
}

#[background]
async fn holds_its_worker(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[background]
async fn gives_up_on_the_shutdown(manager: Arc<Manager>, give_up: Arc<Notify>) {
    tokio::select! {
        _ = manager.shutdown("given up") => {}
        () = give_up.notified() => {}
    }
    std::future::pending::<()>().await;
}

#[test]
fn b07_a_task_that_gives_up_on_the_shutdown_after_the_deadline_is_named_too() {
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(SHORT, &runtime));
    let (_hold, gate) = mpsc::channel();
    let report = runtime.block_on(async {
        let give_up = Arc::new(Notify::new());
        // Its abort is waited for, which makes the time between the deadline and the end.
        holds_its_worker(gate);
        gives_up_on_the_shutdown(manager.clone(), give_up.clone());
        until("it has asked", || manager.is_shutting_down()).await;
        tokio::time::sleep(3 * SHORT).await;
        give_up.notify_one();
        manager.shutdown("the same").await
    });
    runtime.shutdown_background();
    let named = report.stragglers.len() as u64;
    assert_eq!(
        named,
        report.totals.aborted + report.totals.abandoned,
        "{report}"
    );
}

#[test]
fn b07_a_straggler_that_ends_by_itself_after_the_deadline_is_reported_as_it_ended() {
    let [_, runtime] = runtimes();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let report = runtime.block_on(async {
        holds_its_worker(gate);
        let opens = thread::spawn(move || {
            thread::sleep(3 * SHORT);
            drop(open);
        });
        let report = manager.shutdown("b07").await;
        opens.join().unwrap();
        report
    });
    let outcomes: Vec<_> = report.stragglers.iter().map(|task| task.outcome).collect();
    let counted = match outcomes[..] {
        [] => report.totals.succeeded,
        [Outcome::Succeeded] => report.totals.succeeded,
        [Outcome::Abandoned] => report.totals.abandoned,
        _ => panic!("{report}"),
    };
    assert_eq!(counted, 1, "{report}");
}

#[test]
fn b17_a_manager_dropped_after_a_request_says_so_and_work_drains() {
    record_events();
    #[background]
    async fn left_after_a_request(token: ShutdownToken) {
        token.cancelled().await;
    }
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let task = runtime.block_on(async { left_after_a_request() });
        manager.request_shutdown("b17");
        drop(manager);
        let told = recorded(|event| {
            event.level == tracing::Level::ERROR
                && event.field("tasks").contains("left_after_a_request")
        });
        assert!(!told.is_empty());
        assert_eq!(runtime.block_on(task), Ok(()));
    }
}

#[test]
fn b17_a_manager_dropped_while_work_runs_says_so() {
    record_events();
    #[background]
    async fn left_behind(token: ShutdownToken) {
        token.cancelled().await;
    }
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        let task = runtime.block_on(async { left_behind() });
        drop(manager);
        let told = recorded(|event| {
            event.level == tracing::Level::ERROR && event.field("tasks").contains("left_behind")
        });
        assert!(!told.is_empty());
        // It hears of it, and ends.
        assert_eq!(runtime.block_on(task), Ok(()));
    }
}

#[test]
fn b17_a_dropped_manager_names_ten_of_what_runs_and_counts_the_rest() {
    record_events();
    #[background]
    async fn left_in_numbers(token: ShutdownToken) {
        token.cancelled().await;
    }
    for (number, named, more) in [(10, 10, false), (11, 10, true)] {
        let [runtime, _] = runtimes();
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        runtime.block_on(async { (0..number).for_each(|_| drop(left_in_numbers())) });
        drop(manager);
        let told = recorded(|event| {
            event.field("tasks").contains("left_in_numbers")
                && event.field("running") == number.to_string()
        });
        let [told] = &told[..] else {
            panic!("{told:?}");
        };
        let tasks = told.field("tasks");
        assert_eq!(tasks.matches("left_in_numbers").count(), named, "{tasks}");
        assert_eq!(tasks.ends_with(", …"), more, "{tasks}");
    }
}

/// The clock jumps ahead as soon as this thread waits, whatever other threads have yet to do.
#[test]
fn b12_when_a_request_has_returned_mains_token_has_fired_and_its_waiters_are_woken() {
    for _ in 0..20 {
        in_paused_time(async |manager| {
            let begin = tokio::time::Instant::now();
            let waiter = manager.token().cancelled_owned();
            let waiter = tokio::spawn(async move {
                waiter.await;
                tokio::time::Instant::now()
            });
            tokio::task::yield_now().await;
            manager.request_shutdown("the test says so");
            let token = manager.token();
            let waited = tokio::time::timeout(FOREVER, token.cancelled()).await;
            assert_eq!(waited, Ok(()));
            tokio::time::sleep(FOREVER).await;
            assert_eq!(waiter.await.unwrap(), begin);
        });
    }
}

/// What a waker does that is anybody's: it runs `work`.
struct Runs<F>(F);

impl<F: Fn() + Send + Sync> Wake for Runs<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Has `work` run when `main`'s token fires, as long as what is returned lives.
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

#[test]
fn b12_a_waker_of_mains_token_may_panic_block_or_ask_for_the_shutdown_itself() {
    // That it panics is seen by the process's panic hook, and goes no further.
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let _waits = when_the_token_fires(&manager, || panic!("a waker of the test's"));
    manager.request_shutdown("the test says so");
    assert!(manager.token().is_cancelled());
    assert!(runtime.block_on(manager.shutdown("the end")).is_clean());

    // As long as it blocks the token's waiters behind it cannot be woken; but the caller goes on.
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let _waits = when_the_token_fires(&manager, move || {
        let _ = held.lock().unwrap().recv();
    });
    manager.request_shutdown("the test says so");
    assert!(manager.token().is_cancelled());
    drop(release);
    assert!(runtime.block_on(manager.shutdown("the end")).is_clean());

    // It does not wait for itself.
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(FOREVER, &runtime));
    let (own, (say, said)) = (Arc::downgrade(&manager), mpsc::channel());
    let _waits = when_the_token_fires(&manager, move || {
        if let Some(manager) = own.upgrade() {
            manager.request_shutdown("once more");
        }
        say.send(()).unwrap();
    });
    manager.request_shutdown("the test says so");
    said.recv_timeout(FOREVER).unwrap();
    let report = runtime.block_on(manager.shutdown("the end"));
    assert_eq!(report.reason, "the test says so".into());
}

#[background(concurrency = 1)]
async fn blocks_with_the_permit(go: Arc<Notify>, gate: Arc<std::sync::Mutex<mpsc::Receiver<()>>>) {
    go.notified().await;
    let _ = gate.lock().unwrap().recv();
}

/// A runtime of one worker, whose task holds the only permit and blocks that worker, and four calls that wait for the permit.
fn with_the_worker_stuck(test: impl FnOnce(&Runtime, &Manager)) {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let (go, gate) = (
        Arc::new(Notify::new()),
        Arc::new(std::sync::Mutex::new(gate)),
    );
    runtime.block_on(async {
        for _ in 0..5 {
            blocks_with_the_permit(go.clone(), gate.clone());
        }
        // Each of them is polled before this one has come to its end.
        tokio::spawn(settle()).await.unwrap();
        go.notify_one();
    });
    // Not on the runtime, whose timer stands still with its worker.
    blocking_until("the worker is stuck", || gate.try_lock().is_err());
    test(&runtime, &manager);
    drop(open);
    runtime.shutdown_background();
}

#[test]
fn b07_a_call_that_only_waited_for_its_policy_is_aborted_also_with_every_worker_stuck() {
    with_the_worker_stuck(|runtime, manager| {
        let report = runtime.block_on(manager.shutdown("b07"));
        let late = report.stragglers.iter();
        let late: Vec<_> = late.map(|task| (task.state, task.outcome)).collect();
        let waits = (TaskState::Waiting, Outcome::Aborted);
        let runs = (TaskState::Running, Outcome::Abandoned);
        assert_eq!(late, [runs, waits, waits, waits, waits], "{report}");
        assert_eq!((report.totals.aborted, report.totals.abandoned), (4, 1));
    });
}

#[test]
fn b35_what_waits_is_part_of_what_runs_also_at_the_deadline_and_after_it() {
    with_the_worker_stuck(|runtime, manager| {
        assert_eq!((manager.stats().running, manager.stats().waiting), (5, 4));
        let is_over = AtomicBool::new(false);
        let looks = || {
            while !is_over.load(Ordering::Relaxed) {
                let stats = manager.stats();
                assert!(stats.waiting <= stats.running, "{stats:?}");
            }
        };
        thread::scope(|scope| {
            let looks = scope.spawn(looks);
            runtime.block_on(manager.shutdown("b35"));
            is_over.store(true, Ordering::Relaxed);
            looks.join().unwrap();
        });
        assert_eq!((manager.stats().running, manager.stats().waiting), (0, 0));
        let own = manager.handler_stats()[0];
        let doing = [own.queued, own.running, own.waiting, own.backing_off];
        assert_eq!(doing, [0; 4]);
    });
}

#[background]
async fn runs_for_ever() {
    std::future::pending::<()>().await;
}

#[background(concurrency = 1)]
async fn runs_alone_for_ever() {
    std::future::pending::<()>().await;
}

#[test]
fn b07_a_report_names_the_hundred_oldest_and_sums_up_the_rest() {
    record_events();
    let reports = on_both_flavors_within(SHORT, async |manager| {
        for _ in 0..300 {
            runs_for_ever();
            runs_alone_for_ever();
        }
        until("they run", || {
            let mut tasks = manager.tasks().into_iter();
            tasks.all(|task| task.state != TaskState::Queued)
        })
        .await;
    });
    for report in reports {
        assert!(!report.is_clean());
        assert_eq!(report.straggler_count, 600);
        assert_eq!(report.totals.aborted + report.totals.abandoned, 600);
        assert_eq!(report.stragglers.len(), 100);
        assert!(
            report
                .stragglers
                .is_sorted_by(|one, next| one.age >= next.age)
        );
        let named = |name: &str| {
            let named = report.stragglers.iter();
            named.filter(|task| task.name.ends_with(name)).count()
        };
        // They were called by turns.
        assert_eq!(
            (named("::runs_for_ever"), named("::runs_alone_for_ever")),
            (50, 50)
        );
        let rest = report.further_stragglers.iter();
        let rest: Vec<_> = rest.map(|own| (own.name, own.state, own.count)).collect();
        assert_eq!(
            rest,
            [
                ("shutdown::runs_alone_for_ever", TaskState::Waiting, 250),
                ("shutdown::runs_for_ever", TaskState::Running, 250),
            ]
        );
        let text = report.to_string();
        assert!(text.lines().next().unwrap().contains("600 did not finish"));
        let sum = "\n  … and 500 more that did not finish: 250 × shutdown::runs_alone_for_ever (waiting), \
                   250 × shutdown::runs_for_ever (running)";
        assert!(text.ends_with(sum), "{text}");
        // Its summary, the heads of the table, a hundred tasks, and their sum.
        assert_eq!(text.lines().count(), 103);
    }
    let named = recorded(|event| {
        event.message == "task did not finish before the shutdown deadline"
            && event.field("name").starts_with("shutdown::runs_")
            && event.field("name").ends_with("_for_ever")
    });
    assert_eq!(named.len(), 200);
    let sums = recorded(|event| {
        event.message == "more tasks did not finish before the shutdown deadline"
            && event.field("count") == "500"
    });
    assert_eq!(sums.len(), 2);
}

#[background(log = "off")]
async fn fails_in_the_drain(token: ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err("the test's".to_owned())
}

#[test]
fn b22_a_report_counts_all_failures_and_names_the_first_thousand() {
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
async fn what_comes_first(token: ShutdownToken) -> &'static str {
    tokio::select! {
        biased;
        () = tokio::time::sleep(Duration::from_secs(3600)) => "the timer",
        () = token.cancelled() => "the token",
    }
}

#[test]
fn b27_under_a_paused_clock_the_tokens_fire_before_any_timer() {
    for _ in 0..20 {
        in_paused_time(async |manager| {
            let task = what_comes_first();
            settle().await;
            assert!(manager.shutdown("now").await.is_clean());
            assert_eq!(task.await, Ok("the token"));
        });
    }
}
