//! Which calls are members of a group.

use super::{
    echo, echo_limited, gate, is_ready, one_at_a_time, until_cancelled, waits_for,
    waits_for_blocking,
};
use bgtask::{Group, Manager, RefusedReason, ShutdownToken, TaskError, TaskHandle, background};
use bgtask_tests::{blocking_until, on_both_flavors, runtimes, until};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use tokio::sync::{Notify, Semaphore};

#[test]
fn a_group_is_idle_once_its_last_member_is_retired_and_calls_outside_do_not_count() {
    on_both_flavors(async |manager| {
        let (inside, outside) = (gate(), gate());
        let group = Group::new();
        group.idle().await;
        drop(waits_for(outside.clone()));
        drop(group.run(|| waits_for(inside.clone())));
        let (held, receiver) = mpsc::channel();
        drop(group.run(|| waits_for_blocking(receiver)));
        assert_eq!((group.len(), manager.stats().running), (2, 3));
        assert_eq!(group.tasks().len(), 2);

        let mut idle = pin!(group.idle());
        assert!(!is_ready(idle.as_mut()));
        inside.add_permits(1);
        until("one is left", || group.len() == 1).await;
        assert!(!is_ready(idle.as_mut()), "a blocking member runs");
        drop(held);
        idle.await;
        assert!(group.is_empty());
        assert_eq!(
            manager.stats().running,
            1,
            "an empty group has retired its calls"
        );
        outside.add_permits(1);
    });
}

#[test]
fn run_returns_the_value_of_its_closure_and_only_calls_within_it_are_members() {
    on_both_flavors(async |_| {
        let group = Group::new();
        let gate = gate();
        let [before, within, after] = {
            let before = waits_for(gate.clone());
            let within = group.run(|| waits_for(gate.clone()));
            [before, within, waits_for(gate.clone())]
        };
        assert_eq!(
            group.tasks().iter().map(|task| task.id).collect::<Vec<_>>(),
            [within.id()]
        );
        // A future that is created inside and polled outside makes its calls outside.
        let later = group.run(|| async { echo(1).await });
        assert_eq!(later.await, Ok(1));
        assert_eq!(group.len(), 1);
        gate.add_permits(3);
        for handle in [before, within, after] {
            assert_eq!(handle.await, Ok(()));
        }
    });
}

#[test]
fn a_closure_that_panics_leaves_the_group() {
    on_both_flavors(async |_| {
        let (group, gate) = (Group::new(), gate());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            group.run(|| {
                drop(waits_for(gate.clone()));
                std::panic::resume_unwind(Box::new("within"));
            });
        }));
        assert!(caught.is_err());
        drop(waits_for(gate.clone()));
        assert_eq!(group.len(), 1);
        gate.add_permits(2);
        group.idle().await;
    });
}

#[background]
async fn calls(gate: Arc<Semaphore>, again: u32) {
    tokio::task::yield_now().await;
    match again {
        0 => drop(waits_for(gate)),
        _ => drop(calls(gate, again - 1)),
    }
}

#[background]
fn calls_blocking(gate: Arc<Semaphore>) {
    drop(waits_for(gate));
}

#[background(timeout = "1h")]
fn calls_blocking_in_time(gate: Arc<Semaphore>) {
    drop(waits_for(gate));
}

#[background]
async fn calls_outside(gate: Arc<Semaphore>) {
    Group::outside(|| drop(waits_for(gate)));
}

#[background]
async fn calls_from_elsewhere(gate: Arc<Semaphore>) {
    let group = Group::current().unwrap();
    let calls = async move {
        drop(waits_for(gate.clone()));
        drop(group.run(|| waits_for(gate)));
    };
    tokio::spawn(calls).await.unwrap();
}

#[test]
fn calls_that_members_make_are_members() {
    on_both_flavors(async |manager| {
        for call in [
            (|gate| drop(calls(gate, 3))) as fn(_),
            |gate| drop(calls_blocking(gate)),
            |gate| drop(calls_blocking_in_time(gate)),
        ] {
            let (group, gate) = (Group::new(), gate());
            group.run(|| call(gate.clone()));
            until("the last one waits", || {
                let tasks = group.tasks();
                tasks.len() == 1 && tasks[0].name.ends_with("waits_for")
            })
            .await;
            assert!(!is_ready(pin!(group.idle())));
            gate.add_permits(1);
            group.idle().await;
            assert_eq!(manager.stats().running, 0);
        }
    });
}

#[test]
fn a_call_from_outside_or_from_a_plain_tokio_task_is_no_member() {
    on_both_flavors(async |manager| {
        let (group, gate) = (Group::new(), gate());
        group.run(|| calls_outside(gate.clone())).await.unwrap();
        group.idle().await;
        assert_eq!(manager.stats().running, 1);
        group
            .run(|| calls_from_elsewhere(gate.clone()))
            .await
            .unwrap();
        assert_eq!(
            (group.len(), manager.stats().running),
            (1, 3),
            "except the one made in `run`"
        );
        gate.add_permits(3);
        group.idle().await;
    });
}

#[test]
fn calls_after_a_member_was_polled_on_the_same_thread_are_no_members() {
    on_both_flavors(async |_| {
        let (group, gate) = (Group::new(), gate());
        let plain = calls_outside_on_demand(gate.clone());
        for _ in 0..10 {
            group.run(|| echo(1)).await.unwrap();
            plain.0.notify_one();
            plain.1.acquire().await.unwrap().forget();
            assert!(group.is_empty());
        }
        gate.add_permits(10);
        drop(plain);
    });
}

/// Makes a call whenever it is notified, outside of any group.
fn calls_outside_on_demand(gate: Arc<Semaphore>) -> (Arc<Notify>, Arc<Semaphore>, TaskHandle<()>) {
    let (notify, called) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let handle = on_demand(notify.clone(), called.clone(), gate);
    (notify, called, handle)
}

#[background]
async fn on_demand(
    notify: Arc<Notify>,
    called: Arc<Semaphore>,
    gate: Arc<Semaphore>,
    token: ShutdownToken,
) {
    while token.run_until_cancelled(notify.notified()).await.is_some() {
        drop(waits_for(gate.clone()));
        called.add_permits(1);
    }
}

#[background(coalesce)]
async fn coalesced(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}

#[test]
fn calls_that_wait_for_a_policy_are_members_and_calls_that_run_nothing_are_not() {
    on_both_flavors(async |_| {
        let (group, gate) = (Group::new(), gate());
        group.run(|| (0..3).for_each(|_| drop(one_at_a_time(gate.clone()))));
        assert_eq!(group.len(), 3);
        let leader = coalesced(gate.clone());
        let joined = group.run(|| coalesced(gate.clone()));
        assert_eq!(group.len(), 3);
        gate.add_permits(4);
        group.idle().await;
        assert_eq!((leader.await, joined.await), (Ok(()), Ok(())));
    });
}

#[test]
fn a_nested_group_is_part_of_the_group_around_it_and_not_the_reverse() {
    on_both_flavors(async |_| {
        let group = Group::new();
        let nested = group.child();
        let (inner, outer) = (gate(), gate());
        drop(nested.run(|| waits_for(inner.clone())));
        drop(group.run(|| waits_for(outer.clone())));
        assert_eq!((group.len(), nested.len()), (2, 1));
        let mut idle = pin!(group.idle());
        inner.add_permits(1);
        nested.idle().await;
        assert!(!is_ready(idle.as_mut()));
        outer.add_permits(1);
        idle.as_mut().await;

        let [in_group, in_nested] = [&group, &nested].map(|group| group.run(until_cancelled));
        nested.cancel();
        assert_eq!(in_nested.await, Ok(()));
        assert_eq!(group.len(), 1);
        group.cancel();
        assert_eq!(in_group.await, Ok(()));
    });
}

#[test]
fn the_group_decides_the_manager_of_its_calls_on_any_runtime_and_thread() {
    let [one, other] = runtimes();
    let install = |runtime: &tokio::runtime::Runtime| {
        Manager::builder().install_on(runtime.handle()).unwrap()
    };
    let (manager, elsewhere) = (install(&one), install(&other));
    let group = manager.group();
    other.block_on(async {
        let gate = gate();
        drop(waits_for(gate.clone()));
        drop(group.run(|| waits_for(gate.clone())));
        drop(group.run(|| echo_limited(1)));
        gate.add_permits(2);
    });
    // A plain thread, on which two managers would be ambiguous.
    let in_thread = group.clone();
    std::thread::spawn(move || drop(in_thread.run(|| echo(1))))
        .join()
        .unwrap();
    one.block_on(group.idle());
    blocking_until("the other one has ended", || elsewhere.stats().running == 0);
    assert_eq!(
        (manager.stats().accepted, elsewhere.stats().accepted),
        (3, 1)
    );

    // Within the closure, the guard that was entered last decides.
    group.run(|| {
        let _entered = elsewhere.enter();
        drop(echo(2));
    });
    assert_eq!(
        (manager.stats().accepted, elsewhere.stats().accepted),
        (3, 2)
    );
    assert!(one.block_on(manager.shutdown("end")).is_clean());
    assert!(other.block_on(elsewhere.shutdown("end")).is_clean());
}

#[background]
async fn takes(value: u32, token: ShutdownToken) -> u32 {
    let _ = token;
    value
}

#[test]
fn a_member_that_panics_or_is_never_polled_leaves_the_group() {
    on_both_flavors(async |_| {
        let group = Group::new();
        let failed = group.run(panics);
        assert!(matches!(failed.await, Err(TaskError::Panicked { .. })));
        let handle = group.run(|| takes(7));
        handle.abort();
        drop(handle.await);
        group.idle().await;
    });
}

#[background(log = "off")]
async fn panics() {
    std::panic::resume_unwind(Box::new("on purpose"));
}

#[background]
async fn calls_deeper(left: u32) {
    if left > 0 {
        let group = Group::current().unwrap().child();
        drop(group.run(|| calls_deeper(left - 1)));
    }
}

#[test]
fn groups_nest_a_hundred_thousand_levels_deep() {
    on_both_flavors(async |_| {
        let outermost = Group::new();
        let mut innermost = outermost.clone();
        for _ in 0..100_000 {
            innermost = innermost.child();
        }
        assert!(!innermost.is_closed());
        assert_eq!(innermost.run(|| echo(1)).await, Ok(1));
        // A call returns its value before the last of the levels has counted its end.
        outermost.idle().await;
        let gate = gate();
        let member = innermost.run(|| waits_for(gate));
        assert_eq!((outermost.len(), outermost.tasks().len()), (1, 1));
        outermost.abort();
        assert_eq!(member.await, Err(TaskError::Aborted));
        outermost.idle().await;
        assert!(innermost.is_closed());
        assert_eq!(
            innermost.run(|| echo(1)).await,
            Err(TaskError::Refused(RefusedReason::GroupClosed))
        );
        drop(innermost);

        // Fewer levels, because the span of each of these calls is inside that of its caller. `tracing-subscriber` closes such a
        // chain of spans by recursion: some thousands of them overflow a stack of 2 MB, with and without groups.
        let chain = Group::new();
        drop(chain.run(|| calls_deeper(1_000)));
        chain.idle().await;
        chain.cancel();
    });
}
