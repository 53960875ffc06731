//! The deadline: the work that has not ended by then, and how the report names it.

use crate::support::{SHORT, ends_at_once, holds_its_worker};
use bgtask::{Manager, Outcome, ShutdownReport, ShutdownToken, TaskError, TaskState, background};
use bgtask_tests::{
    blocking_until, manager_within, on_both_flavors_within, record_events, recorded, runtimes,
    settle, until,
};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

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

/// Behaviour 7.
#[test]
fn a_task_that_ignores_its_token_is_aborted_at_the_deadline_named_and_counted() {
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

/// Behaviour 7.
#[test]
fn the_handle_of_a_late_task_resolves_as_aborted() {
    let [current_thread, _] = runtimes();
    let manager = manager_within(SHORT, &current_thread);
    current_thread.block_on(async {
        let handle = takes_no_token();
        manager.shutdown("the test").await;
        assert_eq!(handle.await, Err(TaskError::Aborted));
    });
}

/// Behaviour 7.
#[test]
fn the_handle_of_a_blocking_function_that_never_got_a_thread_resolves_as_aborted() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let (_never, never) = mpsc::channel();
    runtime.block_on(async {
        blocks(gate);
        let queued = blocks(never);
        let report = manager.shutdown("the test").await;
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
            // The call is refused, and that delays nothing.
            ends_at_once();
        }
    }
    let _slow = Slow;
    std::future::pending::<()>().await;
}

/// The drain waits for an abort for at most a second, and no longer than the abort takes. One quick round out of many shows that
/// the abort wakes the drain; a busy machine may slow the others.
/// Behaviour 7.
#[test]
fn the_drain_ends_with_the_last_abort() {
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

/// Behaviour 7.
#[test]
fn a_late_blocking_function_is_abandoned_and_does_not_delay_the_drain() {
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

/// Behaviour 7.
#[test]
fn a_late_async_task_that_blocks_its_worker_is_abandoned() {
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
        manager.shutdown("the test").await
    });
    assert_eq!(report.stragglers[0].outcome, Outcome::Abandoned);
    assert_eq!(report.totals.abandoned, 1);
    drop(open);
    runtime.shutdown_background();
    // When it resumes, it changes no count.
    assert_eq!(manager.stats().abandoned, 1);
    assert_eq!(manager.stats().ended(), 1);
}

/// Behaviour 7.
#[test]
fn a_call_that_ends_around_the_deadline_is_either_drained_or_named() {
    #[background(log = "off")]
    async fn ends() {}
    /// Makes one call after the other, from the start of the drain until the deadline.
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
            manager.shutdown("the test").await
        });
        let late = report.stragglers.len() as u64;
        assert_eq!(report.drained + late, report.totals.ended(), "{report}");
        assert_eq!(report.totals.running, 0, "{report}");
    }
}

/// Behaviour 8.
#[test]
fn ten_late_tasks_share_one_deadline_and_their_tokens_fire_together() {
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
    // Every token fired before the deadline, though no task ended.
    assert_eq!(fired.load(Ordering::Relaxed), 20);
    for report in reports {
        assert_eq!(report.stragglers.len(), 10);
        assert!(report.elapsed < grace * 10, "{report}");
    }
}

#[test]
fn a_grace_period_too_long_for_the_clock_never_ends() {
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

#[test]
fn a_grace_period_that_ends_before_main_aborts_everything() {
    for runtime in runtimes() {
        let manager = manager_within(SHORT, &runtime);
        runtime.block_on(async {
            takes_no_token();
            ignores_its_token();
            manager.request_shutdown("and no task ends");
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

#[background]
async fn resumes_too_late(gate: mpsc::Receiver<()>, went_on: Arc<AtomicBool>, gone: Arc<()>) {
    let _ = gate.recv();
    tokio::task::yield_now().await;
    went_on.store(true, Ordering::SeqCst);
    drop(gone);
}

/// Behaviour 7.
#[test]
fn an_abandoned_async_task_that_resumes_is_dropped_at_its_next_await() {
    let [_, runtime] = runtimes();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let (went_on, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(()));
    runtime.block_on(async {
        resumes_too_late(gate, went_on.clone(), gone.clone());
        let report = manager.shutdown("the test").await;
        assert_eq!(report.totals.abandoned, 1, "{report}");
        drop(open);
        until("it is gone", || Arc::strong_count(&gone) == 1).await;
    });
    assert!(!went_on.load(Ordering::SeqCst));
}

#[background]
async fn stops_awaiting_the_shutdown(manager: Arc<Manager>, give_up: Arc<Notify>) {
    tokio::select! {
        _ = manager.shutdown("given up") => {}
        () = give_up.notified() => {}
    }
    std::future::pending::<()>().await;
}

/// Behaviour 7.
#[test]
fn a_task_that_stops_awaiting_the_shutdown_after_the_deadline_is_named_too() {
    let [_, runtime] = runtimes();
    let manager = Arc::new(manager_within(SHORT, &runtime));
    let (_hold, gate) = mpsc::channel();
    let report = runtime.block_on(async {
        let give_up = Arc::new(Notify::new());
        // The shutdown waits for its abort; that is the time between the deadline and the end.
        holds_its_worker(gate);
        stops_awaiting_the_shutdown(manager.clone(), give_up.clone());
        until("it has requested the shutdown", || {
            manager.is_shutting_down()
        })
        .await;
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

/// Behaviour 7.
#[test]
fn a_late_task_that_ends_after_the_deadline_is_reported_with_its_outcome() {
    let [_, runtime] = runtimes();
    let manager = manager_within(SHORT, &runtime);
    let (open, gate) = mpsc::channel();
    let report = runtime.block_on(async {
        holds_its_worker(gate);
        let opens = thread::spawn(move || {
            thread::sleep(3 * SHORT);
            drop(open);
        });
        let report = manager.shutdown("the test").await;
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

#[background(concurrency = 1)]
async fn blocks_with_the_permit(go: Arc<Notify>, gate: Arc<std::sync::Mutex<mpsc::Receiver<()>>>) {
    go.notified().await;
    let _ = gate.lock().unwrap().recv();
}

/// Runs `test` on a runtime with one worker, which a task with the only permit blocks, while four calls wait for the permit.
fn with_the_worker_blocked(test: impl FnOnce(&Runtime, &Manager)) {
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
        // Each of them is polled before this task ends.
        tokio::spawn(settle()).await.unwrap();
        go.notify_one();
    });
    // Waits outside the runtime, whose timer is blocked with its worker.
    blocking_until("the worker is blocked", || gate.try_lock().is_err());
    test(&runtime, &manager);
    drop(open);
    runtime.shutdown_background();
}

/// Behaviour 7.
#[test]
fn a_call_that_only_waited_for_its_policy_is_aborted_even_if_every_worker_is_blocked() {
    with_the_worker_blocked(|runtime, manager| {
        let report = runtime.block_on(manager.shutdown("the test"));
        let late = report.stragglers.iter();
        let late: Vec<_> = late.map(|task| (task.state, task.outcome)).collect();
        let waits = (TaskState::Waiting, Outcome::Aborted);
        let runs = (TaskState::Running, Outcome::Abandoned);
        assert_eq!(late, [runs, waits, waits, waits, waits], "{report}");
        assert_eq!((report.totals.aborted, report.totals.abandoned), (4, 1));
    });
}

/// Behaviour 35.
#[test]
fn waiting_calls_count_as_running_even_at_the_deadline_and_after_it() {
    with_the_worker_blocked(|runtime, manager| {
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
            runtime.block_on(manager.shutdown("the test"));
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

/// Behaviour 7.
#[test]
fn the_report_names_the_hundred_oldest_late_tasks_and_sums_up_the_rest() {
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
        // The two were called in turn.
        assert_eq!(
            (named("::runs_for_ever"), named("::runs_alone_for_ever")),
            (50, 50)
        );
        let rest = report.further_stragglers.iter();
        let rest: Vec<_> = rest.map(|own| (own.name, own.state, own.count)).collect();
        assert_eq!(
            rest,
            [
                (
                    "shutdown::deadline::runs_alone_for_ever",
                    TaskState::Waiting,
                    250
                ),
                ("shutdown::deadline::runs_for_ever", TaskState::Running, 250),
            ]
        );
        let text = report.to_string();
        assert!(text.lines().next().unwrap().contains("600 did not finish"));
        let sum = "\n  … and 500 more that did not finish: 250 × shutdown::deadline::runs_alone_for_ever (waiting), \
                   250 × shutdown::deadline::runs_for_ever (running)";
        assert!(text.ends_with(sum), "{text}");
        // The summary, the table head, a hundred tasks, and the sum of the rest.
        assert_eq!(text.lines().count(), 103);
    }
    let named = recorded(|event| {
        event.message == "task did not finish before the shutdown deadline"
            && event.field("name").starts_with("shutdown::deadline::runs_")
            && event.field("name").ends_with("_for_ever")
    });
    assert_eq!(named.len(), 200);
    let sums = recorded(|event| {
        event.message == "more tasks did not finish before the shutdown deadline"
            && event.field("count") == "500"
    });
    assert_eq!(sums.len(), 2);
}
