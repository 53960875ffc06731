//! The life of a call: when it is counted, where it may be made, and which hooks see its end.

use crate::support::{counts_while_running, mixed, until_cancelled};
use bgtask::{Outcome, TaskError, TaskState, background};
use bgtask_tests::{FOREVER, blocking_until, on_both_flavors, runtimes, silence_panics, until};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::Notify;

#[background]
fn counts_while_running_blocking() -> u64 {
    bgtask::stats().running
}

/// Behaviour 1.
#[test]
fn a_call_is_counted_before_its_first_instruction_and_uncounted_after_its_end() {
    on_both_flavors(async |manager| {
        assert_eq!(manager.stats().running, 0);
        let running = counts_while_running();
        assert_eq!(manager.stats().accepted, 1);
        assert_eq!(running.await, Ok(1), "it counts itself");
        assert_eq!(manager.stats().running, 0);

        assert_eq!(counts_while_running_blocking().await, Ok(1));
        assert_eq!(manager.stats().running, 0);
        assert_eq!(manager.stats().succeeded, 2);
    });
}

#[background(log = "off")]
async fn never_ends() {
    std::future::pending::<()>().await;
}

/// Behaviour 1.
#[test]
fn a_call_is_counted_before_it_returns_even_if_no_worker_is_free() {
    let [current_thread, _] = runtimes();
    let manager = bgtask::Manager::builder()
        .install_on(current_thread.handle())
        .unwrap();
    let _entered = manager.enter();
    // Nothing drives the runtime, so no part of the task can have run.
    let handle = never_ends();
    assert_eq!(manager.stats().running, 1);
    assert_eq!(manager.tasks()[0].state, TaskState::Queued);
    handle.abort();
    current_thread.block_on(async {
        assert_eq!(handle.await, Err(TaskError::Aborted));
        assert_eq!(manager.stats().running, 0);
        assert_eq!(manager.stats().aborted, 1);
        assert!(manager.shutdown("end").await.is_clean());
    });
}

/// Behaviour 2.
#[test]
fn ten_thousand_tasks_of_mixed_outcome_add_up() {
    silence_panics("mixed");
    on_both_flavors(async |manager| {
        for number in 0..10_000 {
            match number % 5 {
                0 => drop(mixed(number / 5)),
                1 => drop(mixed(number)),
                2 => until_cancelled().cancel(),
                3 => never_ends().abort(),
                _ => drop(counts_while_running_blocking()),
            }
            let stats = manager.stats();
            assert_eq!(stats.accepted, stats.running + stats.ended());
        }
        until("all have ended", || manager.stats().running == 0).await;
        let stats = manager.stats();
        assert_eq!(stats.accepted, 10_000);
        assert_eq!(stats.ended(), 10_000);
        assert_eq!(stats.cancelled, 2_000);
        assert_eq!(stats.aborted, 2_000);
        assert_eq!(stats.failed + stats.panicked + stats.succeeded, 6_000);
        assert_eq!(stats.refused, 0);
        assert!(manager.tasks().is_empty());

        let report = manager.shutdown("all have ended").await;
        assert!(report.is_clean());
        assert_eq!(report.drained, 0);
        assert_eq!(report.totals, stats);
    });
}

#[background]
async fn waits_for(gate: Arc<Notify>) {
    gate.notified().await;
}

#[background]
fn blocks_until(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

/// Behaviour 3.
#[test]
fn a_call_returns_while_its_task_still_waits() {
    on_both_flavors(async |manager| {
        let gate = Arc::new(Notify::new());
        // If the call waited for its task, it would never return: only the lines below open the gate.
        let task = waits_for(gate.clone());
        assert!(!task.is_finished());
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
        gate.notify_one();
        assert_eq!(task.await, Ok(()));
    });
}

/// Behaviour 4.
#[test]
fn a_blocking_function_delays_neither_other_work_nor_its_caller() {
    on_both_flavors(async |manager| {
        let (open, gate) = mpsc::channel();
        let task = blocks_until(gate);
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
        // On a runtime with one thread this would never complete if the function ran on it.
        assert!(counts_while_running().await.is_ok());
        assert!(!task.is_finished());
        open.send(()).unwrap();
        assert_eq!(task.await, Ok(()));
    });
}

#[background]
async fn spawns_another(ran: Arc<AtomicU32>, more: u32) {
    ran.fetch_add(1, Ordering::Relaxed);
    if more > 0 {
        spawns_another(ran, more - 1);
    }
}

struct CallsOnDrop(Arc<AtomicU32>);

impl Drop for CallsOnDrop {
    fn drop(&mut self) {
        add_one(self.0.clone());
    }
}

#[background]
fn add_one(ran: Arc<AtomicU32>) {
    ran.fetch_add(1, Ordering::Relaxed);
}

/// Behaviour 18.
#[test]
fn a_call_works_from_a_plain_thread_that_has_entered_the_manager() {
    for runtime in runtimes() {
        let manager = bgtask::Manager::builder()
            .install_on(runtime.handle())
            .unwrap();
        let ran = Arc::new(AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                let _entered = manager.enter();
                add_one(ran.clone());
            });
        });
        blocking_until("it ran", || ran.load(Ordering::Relaxed) == 1);
        let report = runtime.block_on(manager.shutdown("the test"));
        assert_eq!(report.totals.succeeded, 1);
    }
}

/// Behaviour 18.
#[test]
fn a_call_works_from_spawn_blocking_from_a_task_and_from_a_drop() {
    on_both_flavors(async |manager| {
        let ran = Arc::new(AtomicU32::new(0));
        let from_blocking = ran.clone();
        tokio::task::spawn_blocking(move || drop(add_one(from_blocking)))
            .await
            .unwrap();
        spawns_another(ran.clone(), 1);
        tokio::spawn({
            let ran = ran.clone();
            async move { drop(CallsOnDrop(ran)) }
        })
        .await
        .unwrap();
        until("all ran", || ran.load(Ordering::Relaxed) == 4).await;
        until("all ended", || manager.stats().running == 0).await;
        assert_eq!(manager.stats().succeeded, 4);
    });
}

#[test]
fn a_finish_hook_receives_every_outcome() {
    let outcomes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = bgtask::Manager::builder()
        .on_finish({
            let outcomes = outcomes.clone();
            move |task| outcomes.lock().unwrap().push((task.outcome, task.age))
        })
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let _ = mixed(0).await;
        let _ = mixed(1).await;
        let _ = mixed(2).await;
        let cancelled = until_cancelled();
        cancelled.cancel();
        let _ = cancelled.await;
        let aborted = never_ends();
        tokio::time::sleep(Duration::from_millis(2)).await;
        aborted.abort();
        let _ = aborted.await;
        let age = outcomes.lock().unwrap().last().unwrap().1;
        assert!(age >= Duration::from_millis(2));
        manager.shutdown("end").await;
    });
    let outcomes = outcomes.lock().unwrap();
    let outcomes: Vec<_> = outcomes.iter().map(|(outcome, _)| *outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Succeeded,
            Outcome::Failed,
            Outcome::Panicked,
            Outcome::Cancelled,
            Outcome::Aborted
        ]
    );
}

#[test]
fn a_finish_hook_runs_for_a_blocking_function_that_is_queued_at_the_deadline() {
    #[background]
    fn blocks_its_thread(begun: Arc<AtomicBool>, gate: mpsc::Receiver<()>) {
        begun.store(true, Ordering::Relaxed);
        let _ = gate.recv();
    }
    // The blocking pool has one thread, which is busy.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let finished = Arc::new(std::sync::Mutex::new(Vec::new()));
    let manager = bgtask::Manager::builder()
        .grace(Duration::ZERO)
        .on_finish({
            let finished = finished.clone();
            move |task| finished.lock().unwrap().push((task.id, task.outcome))
        })
        .install_on(runtime.handle())
        .unwrap();
    let ran = Arc::new(AtomicU32::new(0));
    let (open, gate) = mpsc::channel();
    runtime.block_on(async {
        let begun = Arc::new(AtomicBool::new(false));
        let stuck = blocks_its_thread(begun.clone(), gate);
        // Its state is no proof: a thread that reaches the function's code after the deadline does not begin it.
        until("it runs", || begun.load(Ordering::Relaxed)).await;
        let queued = add_one(ran.clone());
        manager.shutdown("end").await;
        let expected = [(queued.id(), Outcome::Aborted)];
        // The hook runs before the report, unless that takes more than a second.
        until("the hook has run", || !finished.lock().unwrap().is_empty()).await;
        assert_eq!(*finished.lock().unwrap(), expected);
        open.send(()).unwrap();
        assert_eq!(queued.await, Err(TaskError::Aborted));
        assert_eq!(stuck.await, Ok(()));
        assert_eq!(*finished.lock().unwrap(), expected, "once");
    });
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!((manager.stats().aborted, manager.stats().abandoned), (1, 1));
}

#[test]
fn an_aborted_blocking_function_that_has_not_started_never_starts() {
    // The blocking pool has one thread, which is busy.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let manager = bgtask::Manager::builder()
        .grace(FOREVER)
        .install_on(runtime.handle())
        .unwrap();
    let ran = Arc::new(AtomicU32::new(0));
    runtime.block_on(async {
        let (open, gate) = mpsc::channel();
        blocks_until(gate);
        let queued = add_one(ran.clone());
        queued.abort();
        open.send(()).unwrap();
        assert_eq!(queued.await, Err(TaskError::Aborted));
        manager.shutdown("end").await;
    });
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(manager.stats().aborted, 1);
    assert_eq!(manager.stats().succeeded, 1);
}
