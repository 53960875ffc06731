//! Life of a call: behaviours 1 to 5 and 18.

use bgtask::{Outcome, ShutdownToken, TaskError, TaskState, background};
use bgtask_tests::{FOREVER, blocking_until, on_both_flavors, runtimes, until};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

#[background]
async fn counts_while_running() -> u64 {
    bgtask::stats().running
}

#[background]
fn counts_while_running_blocking() -> u64 {
    bgtask::stats().running
}

#[test]
fn b01_a_call_is_counted_before_its_first_instruction_and_uncounted_after_its_end() {
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

#[test]
fn b01_a_call_is_counted_before_the_call_returns_even_if_no_worker_is_free() {
    let [current_thread, _] = runtimes();
    let manager = bgtask::Manager::builder()
        .install_on(current_thread.handle())
        .unwrap();
    let _entered = manager.enter();
    // Nothing drives the runtime, so nothing of the task can have run.
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

#[background(log = "off")]
async fn mixed(kind: u32) -> Result<u32, String> {
    match kind % 4 {
        0 => Ok(kind),
        1 => Err("mixed".to_owned()),
        2 => panic!("mixed"),
        _ => {
            tokio::task::yield_now().await;
            Ok(kind)
        }
    }
}

#[background(log = "off", on_shutdown = "cancel")]
async fn until_cancelled() {
    std::future::pending::<()>().await;
}

#[test]
fn b02_ten_thousand_tasks_of_mixed_outcome_add_up() {
    // Two thousand messages on stderr would help nobody; those of other tests in this process are kept.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&"mixed") {
            print(info);
        }
    }));
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

#[test]
fn b03_a_call_returns_while_its_task_still_waits() {
    on_both_flavors(async |manager| {
        let gate = Arc::new(Notify::new());
        // Were the call to wait for its task, it would never come back: only what follows it opens the gate.
        let task = waits_for(gate.clone());
        assert!(!task.is_finished());
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
        gate.notify_one();
        assert_eq!(task.await, Ok(()));
    });
}

#[test]
fn b04_a_blocking_function_holds_up_neither_other_work_nor_its_caller() {
    on_both_flavors(async |manager| {
        let (open, gate) = mpsc::channel();
        let task = blocks_until(gate);
        until("it runs", || manager.tasks()[0].state == TaskState::Running).await;
        // On a runtime of one thread this would never complete if the function were on it.
        assert!(counts_while_running().await.is_ok());
        assert!(!task.is_finished());
        open.send(()).unwrap();
        assert_eq!(task.await, Ok(()));
    });
}

#[background]
async fn sees_its_token(before: oneshot::Sender<bool>, token: ShutdownToken) -> bool {
    let _ = before.send(token.is_cancelled());
    token.cancelled().await;
    token.is_cancelled() && token.reason().is_some() && token.remaining() <= Some(FOREVER)
}

#[background]
fn sees_its_token_blocking(token: ShutdownToken, before: oneshot::Sender<bool>) -> bool {
    let _ = before.send(token.is_cancelled());
    token.wait();
    token.is_cancelled() && token.reason().is_some() && !token.sleep(FOREVER)
}

#[test]
fn b05_the_token_fires_for_running_async_and_plain_tasks_when_draining_starts_and_not_before() {
    for runtime in runtimes() {
        let manager = bgtask::Manager::builder()
            .grace(FOREVER)
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            let (sender, before) = oneshot::channel();
            let task = sees_its_token(sender);
            let (sender, before_blocking) = oneshot::channel();
            let blocking = sees_its_token_blocking(sender);
            assert!(!before.await.unwrap());
            assert!(!before_blocking.await.unwrap());

            // Stopping alone fires the process's token and not the tasks'.
            manager.request_shutdown("b05");
            assert!(manager.token().is_cancelled());
            assert!(!task.is_finished() && !blocking.is_finished());

            let report = manager.shutdown("too late to be the reason").await;
            assert_eq!(report.reason, "b05".into());
            assert_eq!(report.drained, 2);
            assert_eq!(task.await, Ok(true));
            assert_eq!(blocking.await, Ok(true));
        });
    }
}

#[background(log = "off")]
async fn gives_its_token_away(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token);
}

#[test]
fn b05_a_token_that_outlives_its_task_hears_nothing_of_later_ones() {
    on_both_flavors(async |manager| {
        let (to, token) = oneshot::channel();
        let task = gives_its_token_away(to);
        let token = token.await.unwrap();
        until("it has ended", || task.is_finished()).await;
        // There is nothing left to cancel.
        task.cancel();
        assert!(!token.is_cancelled());
        let mut cancelled = token.cancelled_owned();
        tokio::select! {
            biased;
            () = &mut cancelled => panic!("it has heard of a cancellation that came too late"),
            () = std::future::ready(()) => {}
        }
        let (to, token) = oneshot::channel();
        gives_its_token_away(to).await.unwrap();
        let token = token.await.unwrap();
        drop(task);
        // More than one look for what has come free: among these are the next in the places of both.
        for _ in 0..10 {
            let later: Vec<_> = (0..200).map(|_| until_cancelled()).collect();
            later.iter().for_each(bgtask::TaskHandle::cancel);
            assert!(!token.is_cancelled());
            for task in later {
                assert_eq!(task.await, Err(TaskError::Cancelled));
            }
        }
        assert!(!token.is_cancelled());
        manager.shutdown("b05").await;
        assert!(token.is_cancelled());
        cancelled.await;
    });
}

#[background]
async fn finds_its_token_fired() -> bool {
    bgtask::shutdown_token().is_cancelled()
}

#[test]
fn b05_no_call_finds_the_token_of_an_earlier_one_that_was_cancelled() {
    on_both_flavors(async |manager| {
        for _ in 0..200 {
            // Its token is asked for by two, and whoever waited for its end has given up.
            let mut task = token_by_call();
            tokio::task::yield_now().await;
            task.cancel();
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = std::future::ready(()) => {}
            }
            drop(task);
            until("it has ended", || manager.stats().running == 0).await;
        }
        for _ in 0..200 {
            assert_eq!(finds_its_token_fired().await, Ok(false));
        }
    });
}

#[background]
async fn keeps_its_token(
    to: oneshot::Sender<ShutdownToken>,
    token: ShutdownToken,
    end: Arc<Notify>,
) {
    let _ = to.send(token);
    end.notified().await;
}

#[test]
fn b05_a_token_tells_why_it_fired_and_how_long_there_is() {
    for runtime in runtimes() {
        let builder = bgtask::Manager::builder().grace(FOREVER);
        let manager = builder.install_on(runtime.handle()).unwrap();
        runtime.block_on(async {
            let (to, token) = oneshot::channel();
            let end = Arc::new(Notify::new());
            let task = keeps_its_token(to, end.clone());
            let token = token.await.unwrap();
            let tells = |token: &ShutdownToken| {
                (
                    token.reason(),
                    token.deadline().is_some(),
                    token.remaining().is_some(),
                )
            };
            assert_eq!(tells(&token), (None, false, false));

            let asked = Instant::now();
            manager.request_shutdown("b05");
            assert_eq!(tells(&token), (None, false, false), "the task may go on");
            assert_eq!(tells(&manager.token()), (Some("b05".into()), true, true));
            let deadline = manager.token().deadline().unwrap();
            assert!(deadline >= asked + FOREVER && deadline <= Instant::now() + FOREVER);
            let left = manager.token().remaining().unwrap();
            assert!(left <= FOREVER && left >= FOREVER - asked.elapsed());

            let mut shutdown = pin!(manager.shutdown("the same"));
            tokio::select! {
                _ = &mut shutdown => panic!("the task still runs"),
                () = token.cancelled() => {}
            }
            assert_eq!(tells(&token), (Some("b05".into()), true, true));
            assert_eq!(token.deadline(), Some(deadline));
            end.notify_one();
            shutdown.await;
            assert_eq!(task.await, Ok(()));
        });
    }
}

#[test]
fn b05_what_runs_until_cancelled_ends_with_its_own_end_or_the_tokens() {
    on_both_flavors(async |manager| {
        let token = manager.token();
        let never = std::future::pending::<()>;
        assert_eq!(token.run_until_cancelled(async { 1 }).await, Some(1));
        // Polled before the token fires, so that it is woken by it.
        let (ended, ()) = tokio::join!(token.run_until_cancelled(never()), async {
            tokio::task::yield_now().await;
            manager.request_shutdown("b05");
        });
        assert_eq!(ended, None);
        assert_eq!(token.run_until_cancelled(never()).await, None);
        // Both are ready: the output is not thrown away.
        assert_eq!(token.run_until_cancelled(async { 2 }).await, Some(2));
    });
}

#[background]
async fn token_by_call() -> bool {
    async fn deep_down() -> bool {
        bgtask::shutdown_token().cancelled().await;
        bgtask::shutdown_token().is_cancelled()
    }
    deep_down().await
}

#[background]
fn token_by_call_blocking() -> bool {
    bgtask::shutdown_token().wait();
    bgtask::shutdown_token().is_cancelled()
}

#[test]
fn b05_code_without_a_parameter_finds_the_same_token() {
    on_both_flavors(async |manager| {
        let task = token_by_call();
        let blocking = token_by_call_blocking();
        let other = token_by_call();
        other.cancel();
        assert_eq!(other.await, Ok(true), "its own token, not the process's");
        assert!(!task.is_finished() && !blocking.is_finished());
        manager.shutdown("b05").await;
        assert_eq!(task.await, Ok(true));
        assert_eq!(blocking.await, Ok(true));
    });
}

/// However quick it is, whoever its token wakes finds it fired. With a new manager each time: the first cancellation of one
/// is where that went wrong.
#[test]
fn b05_a_task_woken_by_its_token_finds_it_fired() {
    let [_, runtime] = runtimes();
    for _ in 0..4000 {
        let _manager = bgtask::Manager::builder()
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            let task = token_by_call();
            tokio::task::yield_now().await;
            task.cancel();
            assert_eq!(task.await, Ok(true));
        });
    }
}

#[background(log = "off")]
async fn hands_its_token_on(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token.clone());
    token.cancelled().await;
}

#[test]
fn b05_a_token_that_outlives_its_task_stays_fired() {
    on_both_flavors(async |_| {
        let (to, token) = oneshot::channel();
        let task = hands_its_token_on(to);
        let token = token.await.unwrap();
        task.cancel();
        assert_eq!(task.await, Ok(()));
        assert!(token.is_cancelled());
        token.cancelled().await;
    });
}

#[test]
fn b05_the_handle_of_a_task_that_has_ended_cancels_no_later_one() {
    on_both_flavors(async |_| {
        let ended = token_by_call();
        ended.cancel();
        until("it has ended", || ended.is_finished()).await;
        // What the first one's place in the books is given to.
        let later = token_by_call();
        ended.cancel();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!later.is_finished());
        later.cancel();
        assert_eq!(later.await, Ok(true));
    });
}

#[background]
async fn polls_its_token(token: ShutdownToken, polled: Arc<AtomicBool>) {
    while !token.is_cancelled() {
        polled.store(true, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
    assert_eq!(token.reason(), None, "this task alone was cancelled");
}

#[test]
fn b05_a_handle_cancels_its_own_task_alone() {
    on_both_flavors(async |_| {
        let polled = Arc::new(AtomicBool::new(false));
        let one = polls_its_token(polled.clone());
        let other = polls_its_token(Arc::default());
        until("it runs", || polled.load(Ordering::Relaxed)).await;
        one.cancel();
        assert_eq!(one.await, Ok(()));
        assert!(!other.is_finished());
        other.cancel();
        assert_eq!(other.await, Ok(()));
    });
}

#[test]
fn b05_a_tasks_token_goes_to_libraries_as_a_cancellation_token() {
    #[background]
    async fn with_a_library(token: ShutdownToken) -> bool {
        let for_a_library = token.cancellation_token();
        for_a_library.cancel();
        let of_another = token.cancellation_token();
        let fired_early = token.is_cancelled() || of_another.is_cancelled();
        of_another.cancelled().await;
        !fired_early && token.is_cancelled()
    }
    on_both_flavors(async |manager| {
        let task = with_a_library();
        until("it waits", || {
            manager.tasks()[0].state == TaskState::Running
        })
        .await;
        manager.shutdown("b05").await;
        assert_eq!(task.await, Ok(true));
    });
}

#[test]
fn b05_waiting_on_the_token_by_blocking_an_async_task_says_what_to_do() {
    #[background(log = "off")]
    async fn blocks_a_worker(token: ShutdownToken) {
        token.wait();
    }
    on_both_flavors(async |_| {
        let Err(TaskError::Panicked { message, .. }) = blocks_a_worker().await else {
            panic!("it should have panicked");
        };
        assert!(message.contains("cancelled().await"), "{message}");
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

#[test]
fn b18_a_call_works_from_a_plain_thread_that_has_entered_the_manager() {
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
        let report = runtime.block_on(manager.shutdown("b18"));
        assert_eq!(report.totals.succeeded, 1);
    }
}

#[test]
fn b18_a_call_works_from_spawn_blocking_from_a_task_and_from_a_drop() {
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
fn a_finished_hook_is_told_every_outcome() {
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
fn a_finished_hook_is_told_of_a_plain_function_that_the_deadline_finds_queued() {
    // One thread in the blocking pool, and it is taken.
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
        let stuck = blocks_until(gate);
        let began =
            |task: &bgtask::TaskInfo| task.id == stuck.id() && task.state == TaskState::Running;
        until("the thread is taken", || manager.tasks().iter().any(began)).await;
        let queued = add_one(ran.clone());
        manager.shutdown("end").await;
        let told = [(queued.id(), Outcome::Aborted)];
        // Before the report, unless that takes more than a second.
        until("it is told", || !finished.lock().unwrap().is_empty()).await;
        assert_eq!(*finished.lock().unwrap(), told);
        open.send(()).unwrap();
        assert_eq!(queued.await, Err(TaskError::Aborted));
        assert_eq!(stuck.await, Ok(()));
        assert_eq!(*finished.lock().unwrap(), told, "once");
    });
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!((manager.stats().aborted, manager.stats().abandoned), (1, 1));
}

#[test]
fn an_aborted_blocking_task_that_has_not_begun_never_begins() {
    // One thread in the blocking pool, and it is taken.
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

#[test]
fn a_blocking_sleep_tells_whether_it_came_to_its_end() {
    #[background]
    fn sleeps(token: ShutdownToken, slept: oneshot::Sender<bool>) -> bool {
        let _ = slept.send(token.sleep(Duration::from_millis(1)));
        token.sleep(FOREVER)
    }
    on_both_flavors(async |manager| {
        let (sender, slept) = oneshot::channel();
        let task = sleeps(sender);
        assert!(slept.await.unwrap());
        manager.shutdown("end").await;
        assert_eq!(task.await, Ok(false));
    });
}

/// Says so when it is dropped, and never ends by itself.
#[background(log = "off")]
async fn says_when_dropped(says: SaysWhenDropped) {
    std::future::pending::<()>().await;
    drop(says);
}

struct SaysWhenDropped(Option<oneshot::Sender<()>>);

impl Drop for SaysWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.take().map(|dropped| dropped.send(()));
    }
}

fn says_when_dropped_to() -> (bgtask::TaskHandle<()>, oneshot::Receiver<()>) {
    let (dropped, is_dropped) = oneshot::channel();
    (
        says_when_dropped(SaysWhenDropped(Some(dropped))),
        is_dropped,
    )
}

#[test]
fn a_handle_that_aborts_on_drop_aborts_and_one_that_is_detached_does_not() {
    on_both_flavors(async |manager| {
        let (handle, mut is_dropped) = says_when_dropped_to();
        let handle = handle.abort_on_drop();
        assert!(!handle.is_finished());
        let detached = handle.detach();
        tokio::task::yield_now().await;
        assert!(is_dropped.try_recv().is_err());
        drop(detached.abort_on_drop());
        is_dropped.await.unwrap();
        until("it is accounted for", || manager.stats().aborted == 1).await;

        // Dropped in the midst of its wait, as by a `timeout`, and after its end.
        let (handle, is_dropped) = says_when_dropped_to();
        let waits = tokio::time::timeout(Duration::from_millis(1), handle.abort_on_drop());
        assert!(waits.await.is_err());
        is_dropped.await.unwrap();
        until("it is accounted for", || manager.stats().aborted == 2).await;
        assert_eq!(counts_while_running().abort_on_drop().await, Ok(1));
        assert_eq!(manager.stats().aborted, 2);
    });
}

#[test]
fn handles_are_futures_for_join_sets_join_all_and_select() {
    on_both_flavors(async |manager| {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..3 {
            set.spawn(mixed(0));
        }
        let mut ended = 0;
        while let Some(joined) = set.join_next().await {
            assert_eq!(joined.unwrap(), Ok(Ok(0)));
            ended += 1;
        }
        assert_eq!(ended, 3);

        // The set aborts the waiting, and with it the calls.
        let (handle, is_dropped) = says_when_dropped_to();
        let handle = handle.abort_on_drop();
        set.spawn(async move {
            let _ = handle.await;
            Ok(Ok(0))
        });
        drop(set);
        is_dropped.await.unwrap();

        let all = futures_util::future::join_all([mixed(0), mixed(4)]).await;
        assert_eq!(all, [Ok(Ok(0)), Ok(Ok(4))]);

        let (mut slow, is_dropped) = says_when_dropped_to();
        let mut fast = mixed(0);
        tokio::select! {
            _ = &mut slow => unreachable!("it never ends"),
            ended = &mut fast => assert_eq!(ended, Ok(Ok(0))),
        }
        assert!(!slow.is_finished(), "it runs on");
        slow.abort();
        is_dropped.await.unwrap();
        assert_eq!(slow.await, Err(TaskError::Aborted));
        until("nothing runs", || manager.stats().running == 0).await;
    });
}
