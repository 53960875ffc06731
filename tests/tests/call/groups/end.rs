//! How a group ends: cancelled, aborted, closed, drained, or with its manager or runtime.

use super::{echo, echo_limited, gate, is_ready, until_cancelled, waits_for};
use bgtask::{
    Group, Manager, Outcome, RefusedReason, ShutdownToken, TaskError, TaskHandle, background,
};
use bgtask_tests::{
    FOREVER, blocking_until, on_both_flavors, on_both_flavors_within, runtimes, until,
};
use std::collections::HashSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

#[background]
fn until_cancelled_blocking(token: ShutdownToken) {
    token.wait();
}

#[background(log = "off")]
async fn never_ends() {
    pending::<()>().await;
}

#[background(log = "off", on_shutdown = "cancel")]
async fn dropped_when_cancelled() {
    pending::<()>().await;
}

#[background(on_shutdown = "finish")]
async fn finishes(gate: Arc<Semaphore>, token: ShutdownToken) -> bool {
    tokio::select! {
        () = token.cancelled() => true,
        permit = gate.acquire() => {
            permit.unwrap().forget();
            false
        }
    }
}

#[test]
fn cancel_fires_the_tokens_of_present_and_future_members_and_of_no_other_call() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (other, waiting) = (until_cancelled(), gate());
        let members = group.run(|| [until_cancelled(), until_cancelled_blocking()]);
        let finishing = group.run(|| finishes(waiting.clone()));
        let token = group.cancellation_token();
        assert!(!group.is_cancelled());
        group.cancel();
        assert!(group.is_cancelled() && token.is_cancelled());
        for member in members {
            assert_eq!(member.await, Ok(()));
        }
        assert_eq!(finishing.await, Ok(true), "as with `TaskHandle::cancel`");
        assert_eq!(
            group.run(until_cancelled).await,
            Ok(()),
            "one that comes later"
        );
        assert_eq!(manager.stats().running, 1);
        other.cancel();
        assert_eq!(other.await, Ok(()));
    });
}

#[background]
async fn checks(go: Arc<Semaphore>, token: ShutdownToken) -> bool {
    go.acquire().await.unwrap().forget();
    token.is_cancelled()
}

#[test]
fn a_member_that_only_checks_its_token_finds_it_fired() {
    on_both_flavors(async |_| {
        let (group, go) = (Group::new(), gate());
        let checks = group.run(|| checks(go.clone()));
        group.child().cancel();
        group.cancel();
        go.add_permits(1);
        assert_eq!(checks.await, Ok(true));
    });
}

#[test]
fn a_member_is_cancelled_by_its_handle_alone() {
    on_both_flavors(async |_| {
        let group = Group::new();
        let [one, other] = group.run(|| [until_cancelled(), until_cancelled()]);
        one.cancel();
        assert_eq!(one.await, Ok(()));
        assert_eq!(group.len(), 1);
        assert!(!group.is_cancelled());
        other.cancel();
        group.idle().await;
    });
}

#[test]
fn abort_drops_members_and_refuses_later_calls() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (other, nested) = (never_ends(), group.child());
        let members = group.run(|| [never_ends(), never_ends()]);
        let in_nested = nested.run(never_ends);
        group.abort();
        for member in members {
            assert_eq!(member.await, Err(TaskError::Aborted));
        }
        assert_eq!(in_nested.await, Err(TaskError::Aborted));
        group.idle().await;
        assert!(group.is_closed() && nested.is_closed());
        let refused = Err(TaskError::Refused(RefusedReason::GroupClosed));
        assert_eq!(group.run(never_ends).await, refused);
        let stats = manager.stats();
        assert_eq!((stats.aborted, stats.refused, stats.running), (3, 1, 1));
        other.abort();
    });
}

#[background]
async fn calls_when_notified(gate: Arc<Semaphore>, group: Group) -> [bool; 2] {
    gate.acquire().await.unwrap().forget();
    let inherited = echo(1).await;
    let within = group.run(|| echo(2)).await;
    [inherited.is_ok(), within.is_ok()]
}

#[test]
fn a_closed_group_accepts_calls_from_its_members_and_no_others() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let gate = gate();
        let nested = group.child();
        let members = [&group, &nested]
            .map(|own| own.run(|| calls_when_notified(gate.clone(), group.clone())));
        group.close();
        assert!(group.is_closed() && nested.is_closed());
        let refused = Err(TaskError::Refused(RefusedReason::GroupClosed));
        assert_eq!(group.run(|| echo(3)).await, refused);
        assert_eq!(nested.run(|| echo(3)).await, refused);
        assert_eq!(group.run(|| echo_limited(3)).await, refused);
        assert_eq!(manager.stats().refused, 3);
        assert_eq!(group.len(), 2, "what is refused is no member");
        gate.add_permits(2);
        for member in members {
            assert_eq!(member.await, Ok([true, true]));
        }
        group.idle().await;
        assert_eq!(manager.stats().succeeded, 6);
    });
}

#[test]
fn drain_waits_for_members_that_end_in_time_and_aborts_and_names_the_rest() {
    on_both_flavors(async |manager| {
        let (group, waiting) = (Group::new(), gate());
        let cancelled = group.run(until_cancelled);
        assert!(group.drain(FOREVER).await.is_empty());
        assert_eq!(cancelled.await, Ok(()));
        assert!(group.is_closed());

        let group = Group::new();
        let dropped = group.run(dropped_when_cancelled);
        let late = group.run(never_ends);
        let finishing = group.run(|| finishes(waiting.clone()));
        let mut drained = pin!(group.drain(Duration::from_millis(50)));
        assert!(!is_ready(drained.as_mut()));
        assert_eq!(dropped.await, Err(TaskError::Cancelled));
        assert!(
            !finishing.is_finished(),
            "its token does not fire in a drain"
        );
        waiting.add_permits(1);
        assert_eq!(finishing.await, Ok(false));
        let named = drained.await;
        assert_eq!(
            named.iter().map(|task| task.id).collect::<Vec<_>>(),
            [late.id()]
        );
        assert_eq!(late.await, Err(TaskError::Aborted));
        assert!(group.is_empty());
        assert_eq!(manager.stats().running, 0);
    });
}

#[background]
async fn calls_in(group: Group) -> Result<(), TaskError> {
    group.run(|| waits_for(Arc::new(Semaphore::new(1)))).await
}

#[test]
fn a_closed_group_refuses_members_of_the_group_around_it() {
    on_both_flavors(async |_| {
        let outer = Group::new();
        let closed = outer.child();
        closed.close();
        let call = outer.run(|| calls_in(closed.clone()));
        let refused = TaskError::Refused(RefusedReason::GroupClosed);
        assert_eq!(call.await, Ok(Err(refused)));
        assert_eq!(outer.run(|| calls_in(outer.clone())).await, Ok(Ok(())));
    });
}

#[background(log = "off")]
async fn drains_after(
    gate: Arc<Semaphore>,
    group: Group,
    limit: Duration,
) -> Vec<bgtask::TaskInfo> {
    gate.acquire().await.unwrap().forget();
    group.drain(limit).await
}

#[test]
fn of_two_members_that_drain_their_group_the_first_whose_limit_passes_aborts_the_other() {
    on_both_flavors(async |_| {
        let group = Group::new();
        // The first drain closes the group, so both members wait until both have been called.
        let gate = gate();
        let (first, other) = group.run(|| {
            let first = drains_after(gate.clone(), group.clone(), Duration::from_millis(1));
            (first, drains_after(gate.clone(), group.clone(), FOREVER))
        });
        gate.add_permits(2);
        let late = first.await.unwrap();
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].id, other.id());
        assert_eq!(other.await.unwrap_err(), TaskError::Aborted);
    });
}

#[background]
fn calls_until_refused() -> Vec<TaskHandle<()>> {
    let mut made = Vec::new();
    loop {
        let call = never_ends();
        let is_refused = call.is_finished();
        made.push(call);
        if is_refused || made.len() == 100_000 {
            return made;
        }
    }
}

#[test]
fn drain_returns_every_member_that_it_aborts_including_late_ones() {
    on_both_flavors(async |_| {
        for _ in 0..10 {
            let group = Group::new();
            let caller = group.run(calls_until_refused);
            until("it calls", || group.len() > 1).await;
            let late = group.drain(Duration::from_millis(1)).await;
            let late: HashSet<_> = late.iter().map(|task| task.id).collect();
            let mut missing = 0;
            for call in caller.await.unwrap() {
                let id = call.id();
                if call.await == Err(TaskError::Aborted) && !late.contains(&id) {
                    missing += 1;
                }
            }
            assert_eq!(missing, 0, "aborted and not returned");
        }
    });
}

#[background]
async fn awaits_idle(group: Group) -> usize {
    group.idle().await;
    group.len()
}

#[background]
async fn drains(group: Group, limit: Duration) -> usize {
    group.drain(limit).await.len()
}

#[test]
fn a_member_does_not_wait_for_itself() {
    on_both_flavors(async |_| {
        let (group, gate) = (Group::new(), gate());
        drop(group.run(|| waits_for(gate.clone())));
        let waits = group.child().run(|| awaits_idle(group.clone()));
        until("it waits", || group.len() == 2).await;
        assert!(!waits.is_finished());
        gate.add_permits(1);
        assert_eq!(waits.await, Ok(1));

        let late = group.run(never_ends);
        let drains = group.run(|| drains(group.clone(), Duration::from_millis(1)));
        assert_eq!(late.await, Err(TaskError::Aborted));
        assert_eq!(drains.await, Ok(1), "nor does it abort itself");
    });
}

#[test]
fn dropping_a_group_does_nothing_and_dropping_its_guard_cancels_it() {
    on_both_flavors(async |manager| {
        let gate = gate();
        let member = Group::new().run(|| waits_for(gate.clone()));
        assert!(!member.is_finished());
        gate.add_permits(1);
        assert_eq!(member.await, Ok(()));

        let member = {
            let group = Group::new().cancel_on_drop();
            group.run(until_cancelled)
        };
        assert_eq!(member.await, Ok(()));
        assert_eq!(manager.stats().running, 0);
    });
}

#[test]
fn a_shutdown_fires_the_tokens_of_members_names_late_ones_and_empties_the_group() {
    let groups = std::sync::Mutex::new(Vec::new());
    let reports = on_both_flavors_within(Duration::from_millis(100), async |manager| {
        let group = manager.group();
        let nested = group.child();
        let cancelled = nested.run(until_cancelled);
        drop(group.run(never_ends));
        let closed = group.clone();
        drop(manager.shutdown("now").await);
        assert_eq!(cancelled.await, Ok(()));
        closed.idle().await;
        let refused = Err(TaskError::Refused(RefusedReason::ShutDown));
        assert_eq!(group.run(|| echo(1)).await, refused);
        groups.lock().unwrap().push(group);
    });
    for report in reports {
        assert_eq!(report.stragglers.len(), 1);
        assert_eq!(report.stragglers[0].outcome, Outcome::Aborted);
        assert_eq!(report.drained, 1);
    }
    for group in groups.into_inner().unwrap() {
        assert!(group.is_empty() && group.tasks().is_empty());
    }
}

#[test]
fn a_group_outlives_its_manager_and_refuses() {
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let group = manager.group();
    runtime.block_on(manager.shutdown("end"));
    drop(manager);
    let handle = group.run(|| echo(1));
    assert_eq!(
        runtime.block_on(handle),
        Err(TaskError::Refused(RefusedReason::ShutDown))
    );
    group.cancel();
    group.abort();
    runtime.block_on(group.idle());
    assert!(group.tasks().is_empty());
}

#[test]
fn the_end_of_the_runtime_empties_its_groups() {
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        let group = manager.group();
        let _entered = runtime.enter();
        let member = group.run(never_ends);
        runtime.shutdown_background();
        blocking_until("the group is empty", || group.is_empty());
        drop(member);
    }
}

#[test]
fn a_group_lists_and_aborts_its_members_after_its_manager_was_dropped() {
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        let group = manager.group();
        let nested = group.child();
        group.run(|| drop(never_ends()));
        nested.run(|| drop(never_ends()));
        drop(manager);
        runtime.block_on(async {
            assert_eq!((group.len(), group.tasks().len()), (2, 2));
            let late = nested.drain(Duration::ZERO).await;
            assert_eq!((late.len(), nested.len()), (1, 0));
            group.abort();
            until("the member has been dropped", || group.is_empty()).await;
        });
    }
}
