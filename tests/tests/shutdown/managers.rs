//! Several managers in one process, and managers that are dropped.
#![allow(
    clippy::async_yields_async,
    reason = "`block_on(async { call() })` makes a call on a runtime; the test awaits its handle later"
)]

use crate::support::{SHORT, ends_at_once};
use bgtask::{Manager, ShutdownToken, TaskError, background};
use bgtask_tests::{FOREVER, manager_within, on_both_flavors, record_events, recorded, runtimes};
use std::sync::Arc;
use tokio::runtime::Builder;
use tokio::sync::Notify;

/// Behaviour 17.
#[test]
fn a_manager_dropped_during_its_shutdown_logs_nothing() {
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
            let given_up = tokio::time::timeout(SHORT, manager.shutdown("the test")).await;
            assert!(given_up.is_err());
            task
        });
        drop(manager);
        gate.notify_one();
        assert_eq!(runtime.block_on(task), Ok(()));
    }
    let logged = recorded(|event| event.field("tasks").contains("drains_without_it"));
    assert!(logged.is_empty(), "{logged:?}");
}

/// Behaviour 16.
#[test]
fn two_runtimes_have_a_manager_each_at_once_and_one_after_the_other() {
    #[background]
    async fn waits(token: ShutdownToken) {
        token.cancelled().await;
    }
    for _ in 0..3 {
        let [one, two] = runtimes();
        let first = Manager::builder().install_on(one.handle()).unwrap();
        let second = Manager::builder().install_on(two.handle()).unwrap();
        // One thread enters both runtimes in turn.
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

/// Behaviour 16.
#[test]
fn a_runtime_accepts_one_manager_at_a_time() {
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

/// Behaviour 16.
#[test]
fn a_new_manager_gets_the_calls_even_if_a_token_keeps_the_old_one_alive() {
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

/// Behaviour 16.
#[test]
fn a_worker_that_cached_the_old_manager_uses_the_new_one() {
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
async fn calls_when_notified(go: Arc<Notify>) -> Result<(), TaskError> {
    go.notified().await;
    ends_at_once().await
}

/// Behaviour 16.
#[test]
fn calls_of_a_task_that_drains_after_its_manager_was_dropped_belong_to_that_manager() {
    record_events();
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let go = Arc::new(Notify::new());
    // The worker has made no call yet, so it has cached no manager.
    let task = runtime.block_on(async { calls_when_notified(go.clone()) });
    manager.request_shutdown("the test");
    drop(manager);
    let [other, _] = runtimes();
    let _another = Manager::builder().install_on(other.handle()).unwrap();
    go.notify_one();
    assert_eq!(runtime.block_on(task), Ok(Ok(())));
}

/// Behaviour 16.
#[test]
fn a_runtime_without_a_manager_does_not_use_that_of_another() {
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

/// Behaviour 16.
#[test]
fn a_runtime_within_a_task_has_its_own_manager() {
    on_both_flavors(async |manager| {
        assert_eq!(runs_a_runtime_of_its_own().await, Ok(2));
        assert_eq!(manager.stats().accepted, 1);
    });
}

/// Behaviour 16.
#[test]
fn nested_guards_each_use_their_manager() {
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

/// Behaviour 16.
#[test]
fn guards_dropped_out_of_order_panic() {
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

/// Behaviour 17.
#[test]
fn a_manager_dropped_after_a_request_logs_an_error_and_work_drains() {
    record_events();
    #[background]
    async fn left_after_a_request(token: ShutdownToken) {
        token.cancelled().await;
    }
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let task = runtime.block_on(async { left_after_a_request() });
        manager.request_shutdown("the test");
        drop(manager);
        let logged = recorded(|event| {
            event.level == tracing::Level::ERROR
                && event.field("tasks").contains("left_after_a_request")
        });
        assert!(!logged.is_empty());
        assert_eq!(runtime.block_on(task), Ok(()));
    }
}

/// Behaviour 17.
#[test]
fn a_manager_dropped_while_work_runs_logs_an_error() {
    record_events();
    #[background]
    async fn left_behind(token: ShutdownToken) {
        token.cancelled().await;
    }
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        let task = runtime.block_on(async { left_behind() });
        drop(manager);
        let logged = recorded(|event| {
            event.level == tracing::Level::ERROR && event.field("tasks").contains("left_behind")
        });
        assert!(!logged.is_empty());
        // Its token fires, and it ends.
        assert_eq!(runtime.block_on(task), Ok(()));
    }
}

/// Behaviour 17.
#[test]
fn a_dropped_manager_names_ten_live_tasks_and_counts_the_rest() {
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
        let logged = recorded(|event| {
            event.field("tasks").contains("left_in_numbers")
                && event.field("running") == number.to_string()
        });
        let [event] = &logged[..] else {
            panic!("{logged:?}");
        };
        let tasks = event.field("tasks");
        assert_eq!(tasks.matches("left_in_numbers").count(), named, "{tasks}");
        assert_eq!(tasks.ends_with(", …"), more, "{tasks}");
    }
}

#[background]
async fn names_its_runtime() -> tokio::runtime::Id {
    tokio::runtime::Handle::current().id()
}

#[test]
fn a_call_is_made_on_a_chosen_runtime() {
    let [first, second] = runtimes();
    let (own, other) = (
        manager_within(FOREVER, &first),
        Arc::new(manager_within(FOREVER, &second)),
    );
    let expected = second.handle().id();
    first.block_on(async {
        let call = other.run(names_its_runtime);
        let block = bgtask::spawn!(in &other, "names its runtime", async {
            tokio::runtime::Handle::current().id()
        });
        let blocking = bgtask::spawn!(in other.as_ref(), "blocks", || {
            tokio::runtime::Handle::current().id()
        });
        for task in [call, block, blocking] {
            assert_eq!(task.await, Ok(expected));
        }
        assert_eq!(names_its_runtime().await, Ok(first.handle().id()));
        // From within a task of the other manager, too.
        let nested = bgtask::spawn!("calls elsewhere", {
            let other = other.clone();
            async move { other.run(names_its_runtime).await }
        });
        assert_eq!(nested.await, Ok(Ok(expected)));
    });
    assert_eq!((own.stats().accepted, other.stats().accepted), (2, 4));
}
