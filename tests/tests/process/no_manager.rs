//! Runtimes without an installed manager: the first call installs one, and the end of the runtime drops it.
#![allow(
    clippy::async_yields_async,
    reason = "a call made on the runtime is not awaited there"
)]

use bgtask::{
    InstallError, Manager, Outcome, RefusedReason, ShutdownToken, State, TaskError, background,
};
use bgtask_tests::{FOREVER, blocking_until, record_events, recorded_of, runtimes, until};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use tokio::runtime::Runtime;

#[background]
async fn works() {}

#[background(log = "off")]
async fn never_ends() {
    std::future::pending::<()>().await;
}

#[background]
async fn until_cancelled(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(timeout = "1h")]
async fn works_in_time() {}

#[background]
fn waits_blocking(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

/// Behaviour 15.
#[test]
fn the_first_call_on_a_runtime_installs_a_manager_that_tracks_it() {
    for runtime in runtimes() {
        runtime.block_on(async {
            assert_eq!(works().await, Ok(()));
            assert_eq!(works_in_time().await, Ok(()));
            let token = bgtask::shutdown_token();
            let task = never_ends();
            assert_eq!(bgtask::tasks().len(), 1);
            let stats = bgtask::stats();
            assert_eq!((stats.accepted, stats.succeeded, stats.running), (3, 2, 1));
            assert!(!bgtask::is_shutting_down() && !token.is_cancelled());
            task.abort();
            assert_eq!(task.await, Err(TaskError::Aborted));
        });
    }
}

/// Behaviour 15.
#[test]
fn the_first_request_for_a_manager_installs_it() {
    for request in [
        (|| drop(bgtask::shutdown_token())) as fn(),
        || _ = bgtask::stats(),
        || drop(bgtask::Group::new()),
        || bgtask::provide(7_u32),
    ] {
        for runtime in runtimes() {
            runtime.block_on(async {
                request();
                assert_eq!(works().await, Ok(()));
                assert_eq!(bgtask::stats().accepted, 1);
            });
        }
    }
}

/// Behaviour 15.
#[test]
fn of_concurrent_calls_one_installs_the_manager_and_all_use_it() {
    for _ in 0..50 {
        let [_, runtime] = runtimes();
        let at_once = Arc::new(Barrier::new(4));
        let threads = [(); 4].map(|()| {
            let (at_once, handle) = (at_once.clone(), runtime.handle().clone());
            thread::spawn(move || {
                let _entered = handle.enter();
                at_once.wait();
                drop(works());
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        runtime.block_on(async { assert_eq!(bgtask::stats().accepted, 4) });
    }
}

/// Behaviour 15.
#[test]
fn every_runtime_has_its_own_manager() {
    let [one, other] = runtimes();
    for runtime in [&one, &other, &one] {
        runtime.block_on(async { works().await.unwrap() });
    }
    let accepted =
        [&one, &other].map(|runtime| runtime.block_on(async { bgtask::stats().accepted }));
    assert_eq!(accepted, [2, 1]);
}

/// Behaviour 15.
#[test]
fn a_call_from_a_thread_without_a_runtime_still_panics() {
    // In a process of its own: managers that other tests install would take the call.
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_manager::without_a_runtime", "--ignored"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "the test above starts it"]
fn without_a_runtime() {
    let [_, runtime] = runtimes();
    runtime.block_on(async { works().await.unwrap() });
    let caught = thread::spawn(|| catch_unwind(|| drop(works())))
        .join()
        .unwrap();
    let message = *caught.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("there is no bgtask manager"), "{message}");
}

#[background(name = "cut off, async")]
async fn cut_off() {
    std::future::pending::<()>().await;
}

/// Behaviour 15.
#[test]
fn the_end_of_the_runtime_names_its_live_tasks_and_drops_the_manager() {
    record_events();
    for runtime in runtimes() {
        let alive = Arc::new(());
        let (hook, weak) = (alive.clone(), Arc::downgrade(&alive));
        drop(alive);
        let (late, task) = runtime.block_on(async {
            bgtask::on_finish(move |_| drop(hook.clone()));
            (bgtask::shutdown_token(), cut_off())
        });
        runtime.shutdown_background();
        blocking_until("the runtime has dropped it", || task.is_finished());
        assert!(late.is_cancelled());
        let [other, _] = runtimes();
        assert_eq!(other.block_on(task), Err(TaskError::Aborted));
        drop((late, other));
        // This thread has cached the manager for its calls.
        thread::spawn(|| {}).join().unwrap();
        let [next, _] = runtimes();
        next.block_on(async { works().await.unwrap() });
        blocking_until("the manager is gone", || weak.upgrade().is_none());
    }
    let cut_off = bgtask_tests::recorded(|event| {
        event
            .message
            .starts_with("runtime ended while background work was running")
            && event.field("tasks").contains("cut off, async")
    });
    assert_eq!(cut_off.len(), 2);
    let mut others = recorded_of("cut off, async");
    others.retain(|event| event.level <= tracing::Level::WARN);
    assert!(others.is_empty(), "they are named once: {others:?}");
}

/// Behaviour 15.
#[test]
fn the_end_of_the_runtime_waits_for_a_blocking_function() {
    let [_, runtime] = runtimes();
    let (held, gate) = mpsc::channel();
    let task = runtime.block_on(async { waits_blocking(gate) });
    let ends = thread::spawn(move || drop(runtime));
    drop(held);
    ends.join().unwrap();
    let [other, _] = runtimes();
    assert_eq!(other.block_on(task), Ok(()));
}

/// Behaviour 15.
#[test]
fn many_runtimes_one_after_another_leave_no_manager_behind() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    struct CountsDrop;
    impl Drop for CountsDrop {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    const RUNTIMES: u32 = 100;
    for _ in 0..RUNTIMES {
        let [runtime, _] = runtimes();
        runtime.block_on(async {
            let counts = CountsDrop;
            bgtask::on_error(move |_| _ = &counts);
            works().await.unwrap();
            drop(until_cancelled());
        });
    }
    assert_eq!(DROPPED.load(Ordering::Relaxed), RUNTIMES);
}

/// Behaviour 15.
#[test]
fn a_manager_installed_later_takes_over_the_earlier_calls() {
    static FINISHED: AtomicU32 = AtomicU32::new(0);
    for runtime in runtimes() {
        let task = runtime.block_on(async { until_cancelled() });
        let manager = Manager::builder()
            .grace(FOREVER)
            .on_finish(|task| {
                assert_eq!(task.outcome, Outcome::Succeeded);
                FINISHED.fetch_add(1, Ordering::Relaxed);
            })
            .install_on(runtime.handle())
            .unwrap();
        assert_eq!(manager.stats().running, 1);
        let again = Manager::builder().install_on(runtime.handle());
        assert_eq!(again.unwrap_err(), InstallError::AlreadyInstalled);
        let report = runtime.block_on(manager.shutdown("the test ends"));
        assert!(report.is_clean());
        assert_eq!((report.drained, report.grace), (1, FOREVER));
        assert_eq!(runtime.block_on(task), Ok(()));
    }
    assert_eq!(FINISHED.load(Ordering::Relaxed), 2);
}

/// Behaviour 15.
#[test]
fn a_test_kit_comes_before_the_first_call() {
    let [runtime, fresh] = runtimes();
    runtime.block_on(async {
        works().await.unwrap();
        let kit = bgtask::testing::Kit::install();
        assert_eq!(kit.unwrap_err(), InstallError::CalledBefore);
    });
    let caught = catch_unwind(AssertUnwindSafe(|| {
        fresh.block_on(async { bgtask::testing::calls(works) })
    }));
    assert!(caught.is_err());
    // That call has installed none.
    fresh.block_on(async {
        let kit = bgtask::testing::Kit::install().unwrap();
        drop(works());
        kit.finish().await;
    });
}

/// Behaviour 15.
#[test]
fn a_call_while_the_runtime_ends_is_refused_or_aborted_and_never_lost() {
    struct CallsWhenDropped(mpsc::Sender<bgtask::TaskHandle<()>>);
    impl Drop for CallsWhenDropped {
        fn drop(&mut self) {
            let _ = self.0.send(works());
        }
    }
    for runtime in runtimes() {
        let (sender, handles) = mpsc::channel();
        runtime.block_on(async {
            let calls = CallsWhenDropped(sender);
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(calls);
            });
            tokio::task::yield_now().await;
        });
        drop(runtime);
        let handle = handles.recv_timeout(FOREVER).unwrap();
        let other = Runtime::new().unwrap();
        assert!(other.block_on(handle).is_err());
    }
}

#[background(name = "after the drop")]
async fn is_called_after_the_drop() {}

#[background]
async fn needs_state(_: State<tokio::sync::mpsc::Sender<()>>) {}

const SHUT_DOWN: TaskError = TaskError::Refused(RefusedReason::ShutDown);

/// Behaviour 15.
#[test]
fn a_call_after_the_manager_was_dropped_is_refused_and_installs_none() {
    record_events();
    for has_shut_down in [false, true] {
        for runtime in runtimes() {
            let manager = Manager::builder().install_on(runtime.handle()).unwrap();
            runtime.block_on(async {
                works().await.unwrap();
                if has_shut_down {
                    manager.shutdown("the test").await;
                }
                drop(manager);
                let refused = is_called_after_the_drop();
                assert!(refused.is_finished());
                assert_eq!(refused.await, Err(SHUT_DOWN));
                assert_eq!(works_in_time().await, Err(SHUT_DOWN));
                let on_a_worker = tokio::spawn(async { works().await });
                assert_eq!(on_a_worker.await.unwrap(), Err(SHUT_DOWN));
                assert!(bgtask::is_shutting_down());
                assert!(bgtask::shutdown_token().is_cancelled());
                assert_eq!(bgtask::Group::new().run(works).await, Err(SHUT_DOWN));
            });
        }
    }
    let refused = recorded_of("after the drop");
    assert!(!refused.is_empty(), "the refusal is logged");
    let is_refusal = |event: &bgtask_tests::Event| event.message.contains("refused");
    assert!(refused.iter().all(is_refusal), "{refused:?}");
}

/// Behaviour 15.
#[test]
fn calls_between_two_managers_are_refused() {
    for runtime in runtimes() {
        for _ in 0..3 {
            let manager = Manager::builder().install_on(runtime.handle()).unwrap();
            runtime.block_on(async { assert_eq!(works().await, Ok(())) });
            drop(manager);
            runtime.block_on(async { assert_eq!(works().await, Err(SHUT_DOWN)) });
        }
        let [never_had_one, _] = runtimes();
        never_had_one.block_on(async { assert_eq!(works().await, Ok(())) });
    }
}

/// Behaviour 15.
#[test]
fn a_call_after_a_test_kit_has_finished_is_refused() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let kit = bgtask::testing::Kit::install().unwrap();
        works().await.unwrap();
        kit.finish().await;
        assert_eq!(works().await, Err(SHUT_DOWN));
        let next = bgtask::testing::Kit::install().unwrap();
        assert_eq!(works().await, Ok(()));
        next.finish().await;
    });
}

/// Behaviour 15.
#[test]
fn a_dropped_manager_is_freed_even_though_its_runtime_refuses_calls() {
    let [runtime, _] = runtimes();
    let (sender, mut provided) = tokio::sync::mpsc::channel::<()>(1);
    let manager = Manager::builder()
        .provide(sender)
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        works().await.unwrap();
        needs_state().await.unwrap();
        drop(manager);
        assert_eq!(works().await, Err(SHUT_DOWN));
        assert_eq!(needs_state().await, Err(SHUT_DOWN));
        assert_eq!(provided.recv().await, None);
    });
}

/// Behaviour 15.
#[test]
fn a_shutdown_can_be_requested() {
    for runtime in runtimes() {
        runtime.block_on(async {
            bgtask::set_grace(std::time::Duration::ZERO);
            let task = until_cancelled();
            bgtask::request_shutdown("enough");
            assert!(bgtask::is_shutting_down());
            task.await.unwrap_or(());
            until("no live tasks", || bgtask::stats().running == 0).await;
        });
    }
}

#[background(name = "cut off, one of many")]
async fn cut_off_one_of_many() {
    std::future::pending::<()>().await;
}

/// Behaviour 15.
#[test]
fn a_task_that_the_ending_runtime_drops_is_logged_once() {
    record_events();
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let [_, runtime] = runtimes();
        // Two workers drop the tasks concurrently.
        runtime.block_on(async { (0..20).for_each(|_| drop(cut_off_one_of_many())) });
    }
    let mut logged = recorded_of("cut off, one of many");
    logged.retain(|event| event.level <= tracing::Level::WARN);
    assert!(logged.is_empty(), "{} of {logged:?}", logged.len());
    let named = bgtask_tests::recorded(|event| {
        event
            .message
            .starts_with("runtime ended while background work was running")
            && event.field("tasks").contains("cut off, one of many")
    });
    assert_eq!(named.len(), ROUNDS);
    for event in named {
        assert_eq!(event.field("running"), "20");
    }
}

/// Behaviour 15.
#[test]
fn a_manager_installed_by_a_call_stays_with_its_runtime_after_the_shutdown() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let alive = || {
                let metrics = tokio::runtime::Handle::current().metrics();
                metrics.num_alive_tasks()
            };
            works().await.unwrap();
            let before = alive();
            bgtask::set_grace(std::time::Duration::ZERO);
            bgtask::request_shutdown("enough");
            until("the idle runner has left", || alive() < before).await;
            assert!(bgtask::is_shutting_down());
            let refused = Err(TaskError::Refused(RefusedReason::ShutDown));
            assert_eq!(works().await, refused);
            assert_eq!(
                Manager::install().unwrap_err(),
                InstallError::AlreadyInstalled
            );
        });
    }
}

/// Behaviour 15.
#[test]
fn calls_from_several_threads_while_their_runtime_ends_are_refused_or_aborted() {
    for round in 0..100 {
        let [current_thread, multi_thread] = runtimes();
        let runtime = if round % 2 == 0 {
            multi_thread
        } else {
            current_thread
        };
        let threads = [(); 2].map(|()| {
            let handle = runtime.handle().clone();
            thread::spawn(move || {
                let _entered = handle.enter();
                let calls = (0..100).flat_map(|_| [quiet(), quiet_blocking()]);
                calls.collect::<Vec<_>>()
            })
        });
        // The calls come before, during and after the end of the runtime.
        thread::sleep(std::time::Duration::from_micros(round * 37 % 400));
        drop(runtime);
        for thread in threads {
            let calls = thread.join().expect("a call does not panic");
            blocking_until("each call has an outcome", || {
                calls.iter().all(bgtask::TaskHandle::is_finished)
            });
        }
    }
}

#[background(log = "off")]
fn quiet_blocking() {}

#[background(log = "off")]
async fn quiet() {}

/// Behaviour 15.
#[test]
fn an_installation_concurrent_with_the_first_call_takes_over() {
    for round in 0..1000_u32 {
        let [runtime, _] = runtimes();
        let at_once = Arc::new(Barrier::new(2));
        let caller = {
            let (at_once, handle) = (at_once.clone(), runtime.handle().clone());
            thread::spawn(move || {
                let _entered = handle.enter();
                at_once.wait();
                drop(quiet());
            })
        };
        at_once.wait();
        // The call takes some time to install its manager; one of the rounds hits that window.
        (0..round % 100 * 20).for_each(|_| std::hint::spin_loop());
        let installed = Manager::builder().install_on(runtime.handle());
        caller.join().unwrap();
        assert_eq!(installed.unwrap().stats().accepted, 1);
    }
}
