//! `concurrency`: permits, the queue for them, and what a full queue does to a call.

use crate::support::{Gauge, SECOND, adds_up, stats_of};
use bgtask::{
    Manager, Outcome, RefusedReason, ShutdownToken, State, TaskError, TaskState, background,
};
use bgtask_tests::{
    FOREVER, in_paused_time, on_both_flavors, record_events, recorded_of, runtimes, settle, until,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

#[background(concurrency = 3)]
async fn at_most_three(gauge: Gauge) {
    let _inside = gauge.enter();
    sleep(Duration::from_millis(1)).await;
}

#[background(concurrency = 3)]
fn at_most_three_blocking(gauge: Gauge) {
    let _inside = gauge.enter();
    std::thread::sleep(Duration::from_millis(1));
}

/// Behaviour 28.
#[test]
fn never_more_bodies_than_permits() {
    on_both_flavors(async |manager| {
        let gauge = Gauge::default();
        let tasks: Vec<_> = (0..100).map(|_| at_most_three(gauge.clone())).collect();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!(gauge.most(), 3);

        let gauge = Gauge::default();
        let tasks: Vec<_> = (0..50)
            .map(|_| at_most_three_blocking(gauge.clone()))
            .collect();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert!(gauge.most() <= 3);
        assert_eq!(manager.stats().succeeded, 150);
        assert_eq!(manager.stats().waiting, 0);
    });
}

#[background(concurrency = 1)]
fn holds_a_thread(gate: Arc<(Mutex<mpsc::Receiver<()>>, AtomicUsize)>) {
    gate.1.fetch_add(1, Ordering::SeqCst);
    let _ = gate.0.lock().unwrap().recv();
}

/// Behaviour 28.
#[test]
fn waiting_blocking_functions_hold_no_thread_of_the_pool() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let manager = bgtask_tests::manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let (open, gate) = mpsc::channel();
        let gate = Arc::new((Mutex::new(gate), AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..10).map(|_| holds_a_thread(gate.clone())).collect();
        until("the first has started", || {
            gate.1.load(Ordering::SeqCst) == 1
        })
        .await;
        until("nine wait", || manager.stats().waiting == 9).await;
        // One of two threads is busy, so other work finds a thread.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        drop(open);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert!(manager.shutdown("end").await.is_clean());
    });
    runtime.shutdown_background();
}

#[background(concurrency(max = 1, queue = 2), log = "off")]
async fn refuses(gate: Arc<Notify>) {
    gate.notified().await;
}

#[background(concurrency(max = 1, queue = 2, overflow = "drop_oldest"), log = "off")]
async fn drops_the_oldest(gate: Arc<Notify>) {
    gate.notified().await;
}

#[background(concurrency(max = 1, queue = 0, overflow = "wait"), log = "off")]
async fn waits_with_its_caller(gate: Arc<Notify>) {
    gate.notified().await;
}

/// Behaviour 28.
#[test]
fn a_full_queue_refuses() {
    let report = in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..5).map(|_| refuses(gate.clone())).collect();
        // The calls are refused at once, before anything is polled.
        let states: Vec<_> = manager.tasks().iter().map(|task| task.state).collect();
        let (queued, waiting) = (TaskState::Queued, TaskState::Waiting);
        assert_eq!(states, [queued, waiting, waiting]);
        assert!(!tasks[2].is_finished());
        assert!(tasks[3].is_finished() && tasks[4].is_finished());
        let stats = manager.stats();
        assert_eq!((stats.accepted, stats.refused), (3, 2));
        adds_up(manager);
        let mut outcomes = Vec::new();
        for task in tasks {
            gate.notify_one();
            outcomes.push(task.await);
        }
        let refused = Err(TaskError::Refused(RefusedReason::QueueFull));
        assert_eq!(outcomes, [Ok(()), Ok(()), Ok(()), refused.clone(), refused]);
    });
    let line = report.to_string();
    assert!(line.contains(" s of 60.0 s: 0 drained"), "{line}");
    assert!(line.ends_with("; 2 refused in total"), "{line}");
}

#[background(concurrency(max = 1, queue = 0), name = "refuses and logs")]
async fn refuses_and_logs(gate: Arc<Notify>) {
    gate.notified().await;
}

/// Returns the counts in the events about refused or dropped calls of a function.
fn counts_logged(message: &str, field: &str, name: &str) -> Vec<String> {
    let events = recorded_of(name);
    let lines = events.iter().filter(|event| event.message == message);
    lines.map(|event| event.field(field).to_owned()).collect()
}

/// Behaviour 28.
#[test]
fn refusals_are_logged_once_a_second_with_their_count_including_the_last_of_a_burst() {
    record_events();
    in_paused_time(async |_| {
        let gate = Arc::new(Notify::new());
        let running = refuses_and_logs(gate.clone());
        let refuse = |times| (0..times).for_each(|_| drop(refuses_and_logs(gate.clone())));
        let logged = || counts_logged("call refused", "refused", "refuses and logs");
        refuse(18);
        // The rest is logged within a second or two, even without a further call.
        until("the last is logged", || logged().last().unwrap() == "18").await;
        let first = logged();
        assert_eq!(first[0], "1");
        // Two, and one more for each second that the calls took.
        assert!(first.len() < 18, "{first:?}");
        refuse(2);
        until("the next ones are logged", || {
            logged().last().unwrap() == "20"
        })
        .await;
        gate.notify_one();
        assert_eq!(running.await, Ok(()));
    });
}

#[background(concurrency(max = 1, queue = 0), name = "refuses to the end")]
async fn refuses_to_the_end(gate: Arc<Notify>) {
    gate.notified().await;
}

/// Behaviour 28.
#[test]
fn suppressed_refusals_are_logged_before_the_shutdown_ends() {
    record_events();
    in_paused_time(async |_| {
        let gate = Arc::new(Notify::new());
        gate.notify_one();
        let running = refuses_to_the_end(gate.clone());
        for _ in 0..18 {
            drop(refuses_to_the_end(gate.clone()));
        }
        assert_eq!(running.await, Ok(()));
    });
    let logged = counts_logged("call refused", "refused", "refuses to the end");
    assert_eq!(logged.last().unwrap(), "18");
}

#[background(
    concurrency(max = 1, queue = 0),
    name = "refuses until the manager is dropped"
)]
async fn refuses_until_dropped(gate: Arc<Notify>) {
    gate.notified().await;
}

/// Behaviour 28.
#[test]
fn suppressed_refusals_are_logged_when_the_manager_is_dropped() {
    record_events();
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        runtime.block_on(async {
            let gate = Arc::new(Notify::new());
            for _ in 0..19 {
                drop(refuses_until_dropped(gate.clone()));
            }
            drop(manager);
        });
        let name = "refuses until the manager is dropped";
        let logged = counts_logged("call refused", "refused", name);
        assert_eq!(logged.last().unwrap(), "18");
    }
}

#[background(
    concurrency(max = 1, queue = 1, overflow = "drop_oldest"),
    name = "drops and logs"
)]
async fn drops_and_logs(State(gate): State<Arc<Notify>>) {
    gate.notified().await;
}

/// Behaviour 28.
#[test]
fn a_call_dropped_from_the_queue_is_not_logged_as_refused() {
    record_events();
    in_paused_time(async |manager| {
        // Without its state, the call is refused.
        assert!(drops_and_logs().is_finished());
        let gate = Arc::new(Notify::new());
        manager.provide(gate.clone());
        let tasks: Vec<_> = (0..20).map(|_| drops_and_logs()).collect();
        let logged = || counts_logged("call dropped", "dropped", "drops and logs");
        until("the last drop is logged", || {
            logged().last().map(String::as_str) == Some("18")
        })
        .await;
        assert_eq!(logged()[0], "1");
        for event in recorded_of("drops and logs") {
            if event.message == "call dropped" {
                assert_eq!(
                    event.field("reason"),
                    RefusedReason::DroppedFromQueue.to_string()
                );
            }
        }
        let refused = counts_logged("call refused", "refused", "drops and logs");
        assert_eq!(refused, ["1"]);
        for task in tasks {
            gate.notify_one();
            let _ = task.await;
        }
        let stats = stats_of("drops and logs");
        assert_eq!((stats.refused, stats.dropped), (1, 18));
    });
}

/// Behaviour 28.
#[test]
fn a_full_queue_drops_its_oldest_call() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let tasks: Vec<_> = (0..5).map(|_| drops_the_oldest(gate.clone())).collect();
        settle().await;
        assert_eq!(manager.stats().running, 3);
        let mut outcomes = Vec::new();
        for task in tasks {
            gate.notify_one();
            outcomes.push(task.await);
        }
        let dropped = Err(TaskError::Refused(RefusedReason::DroppedFromQueue));
        assert_eq!(outcomes, [Ok(()), dropped.clone(), dropped, Ok(()), Ok(())]);
        assert_eq!(manager.stats().cancelled, 2);
        assert_eq!(stats_of("drops_the_oldest").dropped, 2);
        assert_eq!(manager.handler_stats(), bgtask::handler_stats());
        adds_up(manager);
    });
}

/// Behaviour 28.
#[test]
fn with_a_full_queue_a_call_waits_while_its_caller_does() {
    in_paused_time(async |manager| {
        let gate = Arc::new(Notify::new());
        let running = waits_with_its_caller(gate.clone());
        let waits = waits_with_its_caller(gate.clone());
        let let_go = waits_with_its_caller(gate.clone());
        settle().await;
        assert_eq!(manager.stats().running, 3);
        drop(let_go);
        settle().await;
        assert_eq!((manager.stats().running, manager.stats().cancelled), (2, 1));
        gate.notify_one();
        assert_eq!(running.await, Ok(()));
        gate.notify_one();
        assert_eq!(waits.await, Ok(()));
        adds_up(manager);
    });
}

#[background(concurrency(max = 1, key = (user.len(), *kind)), log = "off")]
async fn one_a_key(user: String, kind: u8, gauge: Gauge) {
    let _inside = gauge.enter();
    drop((user, kind));
    sleep(SECOND).await;
}

/// Behaviour 28.
#[test]
fn each_key_has_its_own_permits() {
    in_paused_time(async |_| {
        let gauge = Gauge::default();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..4)
            .flat_map(|kind| {
                let gauge = gauge.clone();
                (0..3).map(move |_| one_a_key("a".into(), kind, gauge.clone()))
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!(gauge.most(), 4);
        assert_eq!(begin.elapsed(), 3 * SECOND);
    });
}

#[background(concurrency = 1, log = "off")]
async fn one_at_a_time(token: ShutdownToken, started: Arc<AtomicUsize>) {
    started.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

/// Behaviour 28.
#[test]
fn a_call_that_waits_for_a_permit_when_draining_starts_is_started_and_drained() {
    on_both_flavors(async |manager| {
        let started = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..10).map(|_| one_at_a_time(started.clone())).collect();
        until("one has started", || started.load(Ordering::SeqCst) == 1).await;
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(started.load(Ordering::SeqCst), 10);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
    });
}

/// Behaviour 28.
#[test]
fn a_call_cancelled_or_aborted_in_the_queue_leaves_it() {
    in_paused_time(async |manager| {
        let started = Arc::new(AtomicUsize::new(0));
        let running = one_at_a_time(started.clone());
        let cancelled = one_at_a_time(started.clone());
        let aborted = one_at_a_time(started.clone());
        let last = one_at_a_time(started.clone());
        settle().await;
        cancelled.cancel();
        aborted.abort();
        assert_eq!(cancelled.await, Err(TaskError::Cancelled));
        assert_eq!(aborted.await, Err(TaskError::Aborted));
        running.cancel();
        assert_eq!(running.await, Ok(()));
        until("the last has started", || {
            started.load(Ordering::SeqCst) == 2
        })
        .await;
        last.cancel();
        assert_eq!(last.await, Ok(()));
        adds_up(manager);
    });
}

#[background(concurrency = 1, log = "off")]
fn blocks_until_released(gate: Arc<Mutex<mpsc::Receiver<()>>>, gauge: Gauge) {
    let _inside = gauge.enter();
    let _ = gate.lock().unwrap().recv();
}

/// Behaviour 28.
#[test]
fn an_aborted_blocking_function_that_has_started_is_abandoned_and_keeps_its_permit() {
    on_both_flavors(async |manager| {
        let (open, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let gauge = Gauge::default();
        let started = blocks_until_released(gate.clone(), gauge.clone());
        until("it has started", || gauge.now() == 1).await;
        let waits = blocks_until_released(gate.clone(), gauge.clone());
        started.abort();
        assert_eq!(started.await, Err(TaskError::Aborted));
        assert_eq!(manager.stats().abandoned, 1);
        settle().await;
        let states: Vec<_> = manager.tasks().iter().map(|task| task.state).collect();
        assert_eq!(states, [TaskState::Waiting]);
        assert_eq!(gauge.most(), 1);
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(waits.await, Ok(()));
        assert_eq!(gauge.most(), 1);
        adds_up(manager);
    });
}

#[background(timeout = "1h", log = "off")]
fn counts_its_starts(started: Arc<AtomicUsize>) {
    started.fetch_add(1, Ordering::SeqCst);
}

/// Behaviour 28.
#[test]
fn an_aborted_blocking_function_that_waits_for_a_thread_never_starts() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let manager = bgtask_tests::manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let (open, gate) = mpsc::channel::<()>();
        let only_thread = tokio::task::spawn_blocking(move || gate.recv());
        let started = Arc::new(AtomicUsize::new(0));
        let task = counts_its_starts(started.clone());
        settle().await;
        task.abort();
        assert_eq!(task.await, Err(TaskError::Aborted));
        let stats = manager.stats();
        assert_eq!((stats.aborted, stats.abandoned), (1, 0));
        drop(open);
        let _ = only_thread.await.unwrap();
        // Once this has run, everything queued for the thread has had its turn.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(started.load(Ordering::SeqCst), 0);
        assert!(manager.shutdown("end").await.is_clean());
    });
    runtime.shutdown_background();
}

/// Behaviour 28.
#[test]
fn two_managers_share_no_permits() {
    let [one, other] = runtimes();
    let (gate, other_gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let managers = [&one, &other].map(|runtime| bgtask_tests::manager_within(FOREVER, runtime));
    let entered = managers[0].enter();
    let first = refuses(gate.clone());
    drop(entered);
    // The only permit of the first manager is taken.
    other.block_on(async {
        let second = refuses(other_gate.clone());
        other_gate.notify_one();
        assert_eq!(second.await, Ok(()));
        assert!(managers[1].shutdown("end").await.is_clean());
    });
    one.block_on(async {
        gate.notify_one();
        assert_eq!(first.await, Ok(()));
        assert!(managers[0].shutdown("end").await.is_clean());
    });
    other.shutdown_background();
}

#[background(concurrency = 1, timeout = "1h", log = "off")]
fn blocks_at_the_deadline(gate: Arc<Mutex<mpsc::Receiver<()>>>, started: Arc<AtomicUsize>) {
    started.fetch_add(1, Ordering::SeqCst);
    let _ = gate.lock().unwrap().recv();
}

/// Behaviour 28.
#[test]
fn a_blocking_function_at_the_deadline_is_abandoned_and_calls_that_wait_behind_it_are_aborted() {
    for runtime in runtimes() {
        let manager = bgtask_tests::manager_within(Duration::from_millis(50), &runtime);
        let (open, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let started = Arc::new(AtomicUsize::new(0));
        let report = runtime.block_on(async {
            let blocked = blocks_at_the_deadline(gate.clone(), started.clone());
            let waits = blocks_at_the_deadline(gate.clone(), started.clone());
            until("the first has started", || {
                started.load(Ordering::SeqCst) == 1
            })
            .await;
            let report = manager.shutdown("now").await;
            assert_eq!(blocked.await, Err(TaskError::Aborted));
            assert_eq!(waits.await, Err(TaskError::Aborted));
            report
        });
        let outcomes: Vec<_> = report.stragglers.iter().map(|late| late.outcome).collect();
        assert_eq!(outcomes, [Outcome::Abandoned, Outcome::Aborted]);
        assert_eq!(report.totals.running, 0);
        drop(open);
        // Released, it ends; the call that waited never starts.
        bgtask_tests::blocking_until("it has ended", || Arc::strong_count(&gate) == 1);
        assert_eq!(started.load(Ordering::SeqCst), 1);
        runtime.shutdown_background();
    }
}
