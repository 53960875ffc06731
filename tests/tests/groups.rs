//! Groups: calls that are awaited, cancelled and drained together, apart from all others.

use bgtask::{
    Group, Manager, Outcome, RefusedReason, ShutdownToken, TaskError, TaskHandle, TaskState,
    background,
};
use bgtask_tests::{
    FOREVER, blocking_until, on_both_flavors, on_both_flavors_within, record_events, recorded_of,
    runtimes, until,
};
use std::collections::HashSet;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};

/// Ends when `gate` has a permit.
#[background]
async fn waits_for(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}

#[background]
fn waits_for_blocking(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[background]
async fn until_told(token: ShutdownToken) {
    token.cancelled().await;
}

#[background]
fn until_told_blocking(token: ShutdownToken) {
    token.wait();
}

#[background(log = "off")]
async fn never_ends() {
    pending::<()>().await;
}

#[background(log = "off", on_shutdown = "cancel")]
async fn dropped_when_told() {
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

fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// Whether a future is ready when it is polled now.
fn is_ready(future: Pin<&mut impl Future>) -> bool {
    future
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[test]
fn a_group_is_idle_when_its_last_member_has_been_retired_and_no_call_outside_counts() {
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
            "whoever finds the group empty finds the call retired"
        );
        outside.add_permits(1);
    });
}

#[background]
async fn echo(value: u32) -> u32 {
    value
}

#[test]
fn run_returns_what_its_closure_does_and_only_calls_within_it_are_members() {
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
        // A future that is made within and polled without makes its calls without.
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
fn a_call_made_outside_or_on_a_task_of_the_runtimes_is_no_member() {
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
            "but for the one made in `run`"
        );
        gate.add_permits(3);
        group.idle().await;
    });
}

#[test]
fn calls_after_a_member_was_polled_on_the_same_thread_are_no_members() {
    on_both_flavors(async |_| {
        let (group, gate) = (Group::new(), gate());
        let plain = calls_plainly(gate.clone());
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
fn calls_plainly(gate: Arc<Semaphore>) -> (Arc<Notify>, Arc<Semaphore>, TaskHandle<()>) {
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

#[test]
fn cancel_fires_the_tokens_of_members_present_and_to_come_and_of_no_other_call() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (other, waiting) = (until_told(), gate());
        let members = group.run(|| [until_told(), until_told_blocking()]);
        let finishing = group.run(|| finishes(waiting.clone()));
        let token = group.cancellation_token();
        assert!(!group.is_cancelled());
        group.cancel();
        assert!(group.is_cancelled() && token.is_cancelled());
        for member in members {
            assert_eq!(member.await, Ok(()));
        }
        assert_eq!(finishing.await, Ok(true), "as with `TaskHandle::cancel`");
        assert_eq!(group.run(until_told).await, Ok(()), "one that comes later");
        assert_eq!(manager.stats().running, 1);
        other.cancel();
        assert_eq!(other.await, Ok(()));
    });
}

#[background]
async fn looks(told: Arc<Semaphore>, token: ShutdownToken) -> bool {
    told.acquire().await.unwrap().forget();
    token.is_cancelled()
}

#[test]
fn a_member_that_only_looks_at_its_token_finds_it_fired() {
    on_both_flavors(async |_| {
        let (group, told) = (Group::new(), gate());
        let looks = group.run(|| looks(told.clone()));
        group.child().cancel();
        group.cancel();
        told.add_permits(1);
        assert_eq!(looks.await, Ok(true));
    });
}

#[test]
fn a_member_is_cancelled_by_its_handle_alone() {
    on_both_flavors(async |_| {
        let group = Group::new();
        let [one, other] = group.run(|| [until_told(), until_told()]);
        one.cancel();
        assert_eq!(one.await, Ok(()));
        assert_eq!(group.len(), 1);
        assert!(!group.is_cancelled());
        other.cancel();
        group.idle().await;
    });
}

#[test]
fn abort_drops_members_and_refuses_whatever_comes() {
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
async fn calls_when_told(gate: Arc<Semaphore>, group: Group) -> [bool; 2] {
    gate.acquire().await.unwrap().forget();
    let inherited = echo(1).await;
    let within = group.run(|| echo(2)).await;
    [inherited.is_ok(), within.is_ok()]
}

#[test]
fn a_closed_group_takes_calls_of_its_members_and_no_others() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let gate = gate();
        let nested = group.child();
        let members =
            [&group, &nested].map(|own| own.run(|| calls_when_told(gate.clone(), group.clone())));
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

#[background(concurrency = 1)]
async fn echo_limited(value: u32) -> u32 {
    value
}

#[background(concurrency = 1)]
async fn one_at_a_time(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
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
fn nested_groups_are_part_of_the_group_around_them_and_not_the_other_way_round() {
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

        let [in_group, in_nested] = [&group, &nested].map(|own| own.run(until_told));
        nested.cancel();
        assert_eq!(in_nested.await, Ok(()));
        assert_eq!(group.len(), 1);
        group.cancel();
        assert_eq!(in_group.await, Ok(()));
    });
}

#[test]
fn drain_waits_for_what_ends_in_time_and_aborts_and_names_the_rest() {
    on_both_flavors(async |manager| {
        let (group, waiting) = (Group::new(), gate());
        let told = group.run(until_told);
        assert!(group.drain(FOREVER).await.is_empty());
        assert_eq!(told.await, Ok(()));
        assert!(group.is_closed());

        let group = Group::new();
        let dropped = group.run(dropped_when_told);
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

#[background(concurrency(max = 1, queue = 1, overflow = "drop_oldest"))]
async fn one_and_the_newest(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}

#[background(rate(limit = "1/1h", overflow = "refuse"))]
async fn one_an_hour(value: u32) -> u32 {
    value
}

#[background(coalesce(policy = "skip"))]
async fn skipped(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}

#[background(coalesce, log = "off")]
async fn coalesced_quickly() {}

#[test]
fn a_call_refused_by_its_closed_group_takes_nobodys_place() {
    on_both_flavors(async |_| {
        let (closed, gate) = (Group::new(), gate());
        closed.close();
        let refused = || Err(TaskError::Refused(RefusedReason::GroupClosed));

        let running = one_and_the_newest(gate.clone());
        let waiting = one_and_the_newest(gate.clone());
        let late = closed.run(|| one_and_the_newest(gate.clone()));
        assert_eq!(late.await, refused());
        gate.add_permits(2);
        assert_eq!((running.await, waiting.await), (Ok(()), Ok(())));

        assert_eq!(
            closed.run(|| one_an_hour(1)).await,
            Err(TaskError::Refused(RefusedReason::GroupClosed))
        );
        assert_eq!(one_an_hour(2).await, Ok(2), "the budget is untouched");
        assert_eq!(
            closed.run(|| one_an_hour(3)).await,
            Err(TaskError::Refused(RefusedReason::GroupClosed))
        );

        let leader = skipped(gate.clone());
        assert_eq!(closed.run(|| skipped(gate.clone())).await, refused());
        gate.add_permits(1);
        assert_eq!(leader.await, Ok(()));

        // Nobody joins a call that is about to be refused.
        let stop = Arc::new(Semaphore::new(0));
        let hammer = std::thread::spawn({
            let (closed, stop) = (closed.clone(), stop.clone());
            move || {
                while stop.available_permits() == 0 {
                    drop(closed.run(coalesced_quickly));
                }
            }
        });
        let mut outcomes = Vec::new();
        for _ in 0..2000 {
            outcomes.push(coalesced_quickly().await);
        }
        stop.add_permits(1);
        hammer.join().unwrap();
        let lost = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(lost, 0, "calls outside that never ran");
    });
}

#[background(coalesce)]
async fn joined(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}

#[background(coalesce(policy = "trailing"))]
async fn trailed(gate: Arc<Semaphore>, begun: Arc<AtomicU32>) {
    begun.fetch_add(1, Ordering::SeqCst);
    gate.acquire().await.unwrap().forget();
}

#[test]
fn a_call_made_in_a_closed_group_is_refused_also_if_it_would_join_or_trail_a_run() {
    on_both_flavors(async |_| {
        let (closed, gate, begun) = (Group::new(), gate(), Arc::new(AtomicU32::new(0)));
        closed.close();
        let refused = || Err(TaskError::Refused(RefusedReason::GroupClosed));

        let leader = joined(gate.clone());
        assert_eq!(closed.run(|| joined(gate.clone())).await, refused());
        let first = trailed(gate.clone(), begun.clone());
        until("it has begun", || begun.load(Ordering::SeqCst) == 1).await;
        let late = closed.run(|| trailed(gate.clone(), begun.clone()));
        assert_eq!(late.await, refused());
        let second = trailed(gate.clone(), begun.clone());
        let late = closed.run(|| trailed(gate.clone(), begun.clone()));
        assert_eq!(late.await, refused());
        gate.add_permits(3);
        assert_eq!((leader.await, first.await), (Ok(()), Ok(())));
        assert_eq!(second.await, Ok(()));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    });
}

#[background]
async fn calls_in(group: Group) -> Result<(), TaskError> {
    group.run(|| waits_for(Arc::new(Semaphore::new(1)))).await
}

#[test]
fn a_member_of_the_group_around_a_closed_one_is_refused_there() {
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

#[background(concurrency = 1)]
async fn one_until_told(token: ShutdownToken, begun: Arc<AtomicU32>) {
    begun.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

#[background(coalesce(policy = "trailing"))]
async fn trailing_until_told(token: ShutdownToken, begun: Arc<AtomicU32>) {
    begun.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

#[background]
async fn calls_behind_others_when_told(begun: Arc<AtomicU32>, token: ShutdownToken) {
    token.cancelled().await;
    drop(one_until_told(begun));
}

#[test]
fn members_that_wait_for_a_permit_or_a_run_keep_their_place_while_the_group_drains() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (limited, trailing) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        group.run(|| drop(calls_behind_others_when_told(limited.clone())));
        let mut members: Vec<_> = (0..5)
            .map(|_| group.run(|| one_until_told(limited.clone())))
            .collect();
        members.push(group.run(|| trailing_until_told(trailing.clone())));
        until("one of each has begun", || {
            (
                limited.load(Ordering::SeqCst),
                trailing.load(Ordering::SeqCst),
            ) == (1, 1)
        })
        .await;
        members.push(group.run(|| trailing_until_told(trailing.clone())));

        assert!(group.drain(FOREVER).await.is_empty());
        let begun = (
            limited.load(Ordering::SeqCst),
            trailing.load(Ordering::SeqCst),
        );
        assert_eq!(begun, (6, 2));
        for member in members {
            assert_eq!(member.await, Ok(()));
        }
        assert_eq!(manager.stats().cancelled, 0);
    });
}

#[test]
fn a_waiting_call_ends_when_it_or_its_group_is_cancelled_also_in_a_drain() {
    on_both_flavors(async |manager| {
        let (group, gate) = (Group::new(), gate());
        let running = one_at_a_time(gate.clone());
        let [waiting, nested, alone] =
            [&group, &group.child(), &group].map(|own| own.run(|| one_at_a_time(gate.clone())));
        let outside = one_at_a_time(gate.clone());
        let last = one_at_a_time(gate.clone());
        let mut drained = pin!(group.drain(FOREVER));
        assert!(!is_ready(drained.as_mut()));
        alone.cancel();
        assert_eq!(alone.await, Err(TaskError::Cancelled));
        assert!(!waiting.is_finished() && !nested.is_finished());
        group.cancel();
        assert_eq!(waiting.await, Err(TaskError::Cancelled));
        assert_eq!(nested.await, Err(TaskError::Cancelled));
        assert!(drained.await.is_empty());

        manager.request_shutdown("the manager drains too");
        bgtask::shutdown_token().cancelled().await;
        outside.cancel();
        assert_eq!(outside.await, Err(TaskError::Cancelled));
        gate.add_permits(2);
        assert_eq!((running.await, last.await), (Ok(()), Ok(())));
    });
}

#[background(rate = "1/1h", name = "one an hour in time")]
async fn one_an_hour_in_time() {}

#[background(rate = "1/1h", on_shutdown = "finish", name = "one an hour in time")]
async fn one_an_hour_in_time_finishes() {}

#[test]
fn members_that_wait_for_their_rate_are_dropped_by_the_drain_of_their_group_which_logs_it() {
    record_events();
    on_both_flavors(async |_| {
        let group = Group::new();
        let before = recorded_of("one an hour in time").len();
        assert_eq!(group.run(one_an_hour_in_time).await, Ok(()));
        assert_eq!(group.run(one_an_hour_in_time_finishes).await, Ok(()));
        let held_back = [
            group.run(one_an_hour_in_time),
            group.run(one_an_hour_in_time_finishes),
        ];
        until("both wait", || {
            let waits = |task: &bgtask::TaskInfo| task.state == TaskState::Waiting;
            group.tasks().iter().all(waits)
        })
        .await;
        assert!(group.drain(FOREVER).await.is_empty());
        for call in held_back {
            assert_eq!(call.await, Err(TaskError::Cancelled));
        }
        let events = recorded_of("one an hour in time").split_off(before);
        let dropped = "call dropped while it waited for the rate limit";
        let dropped = events.iter().filter(|event| event.message == dropped);
        assert_eq!(dropped.count(), 2);
    });
}

#[background(coalesce, log = "off")]
async fn shared_until_told(gate: Arc<Semaphore>, token: ShutdownToken) -> bool {
    tokio::select! {
        () = token.cancelled() => true,
        permit = gate.acquire() => {
            permit.unwrap().forget();
            false
        }
    }
}

#[test]
fn nobody_joins_a_run_whose_group_was_cancelled_drained_or_aborted() {
    on_both_flavors(async |_| {
        let gate = gate();
        for (end, outcome) in [
            (Group::cancel as fn(&Group), Ok(true)),
            (
                |group: &Group| {
                    // The first poll fires the tokens. The members may all have ended by its end.
                    is_ready(pin!(group.drain(FOREVER)));
                },
                Ok(true),
            ),
            (Group::abort, Err(TaskError::Aborted)),
        ] {
            for nested in [false, true] {
                let group = Group::new();
                let own = if nested { group.child() } else { group.clone() };
                let leader = own.run(|| shared_until_told(gate.clone()));
                let joined = shared_until_told(gate.clone());
                end(&group);
                let apart = shared_until_told(gate.clone());
                assert_eq!(leader.await, outcome);
                assert_eq!(joined.await, outcome);
                gate.add_permits(1);
                assert_eq!(apart.await, Ok(false), "it has a run of its own");
                group.idle().await;
            }
        }
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
fn drain_returns_every_member_that_it_aborts_also_those_that_come_late() {
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
            group.run(until_told)
        };
        assert_eq!(member.await, Ok(()));
        assert_eq!(manager.stats().running, 0);
    });
}

#[test]
fn a_shutdown_fires_the_tokens_of_members_names_those_that_are_late_and_empties_the_group() {
    let groups = std::sync::Mutex::new(Vec::new());
    let reports = on_both_flavors_within(Duration::from_millis(100), async |manager| {
        let group = manager.group();
        let nested = group.child();
        let told = nested.run(until_told);
        drop(group.run(never_ends));
        let closed = group.clone();
        drop(manager.shutdown("now").await);
        assert_eq!(told.await, Ok(()));
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
fn a_group_decides_whose_its_calls_are_on_whatever_runtime_and_thread() {
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

    // Within the closure, what is entered last decides.
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
fn whoever_waits_is_woken_however_many_come_and_go() {
    static RAN: AtomicU32 = AtomicU32::new(0);

    #[background]
    async fn counts() {
        RAN.fetch_add(1, Ordering::Relaxed);
    }

    on_both_flavors(async |manager| {
        let group = Group::new();
        for round in 0..200 {
            let nested = group.child();
            for _ in 0..round % 7 {
                nested.run(counts);
                group.run(counts);
            }
            let (told, is_told) = oneshot::channel();
            let waiting = group.clone();
            tokio::spawn(async move {
                waiting.idle().await;
                let _ = told.send(());
            });
            is_told.await.unwrap();
            assert!(nested.is_empty());
            assert_eq!(manager.stats().running, 0);
        }
    });
}

#[background]
async fn awaits_all() -> u64 {
    bgtask::idle().await;
    bgtask::stats().running
}

#[background]
async fn calls_one_after_another(rounds: u32) {
    if rounds > 0 {
        tokio::task::yield_now().await;
        drop(calls_one_after_another(rounds - 1));
    }
}

#[test]
fn idle_waits_for_every_call_and_for_those_that_they_make_and_not_for_its_own() {
    on_both_flavors(async |manager| {
        bgtask::idle().await;
        let gate = gate();
        drop(waits_for(gate.clone()));
        let mut idle = pin!(manager.idle());
        assert!(!is_ready(idle.as_mut()));
        let waits = awaits_all();
        until("it waits", || manager.stats().running == 2).await;
        gate.add_permits(1);
        assert_eq!(waits.await, Ok(1));
        idle.await;
        for _ in 0..100 {
            drop(calls_one_after_another(20));
            bgtask::idle().await;
            assert_eq!(manager.stats().running, 0);
        }
        // A wait that is dropped leaves the drain as it was.
        drop(waits_for(gate.clone()));
        {
            let mut dropped = pin!(bgtask::idle());
            assert!(!is_ready(dropped.as_mut()));
        }
        gate.add_permits(1);
        bgtask::idle().await;
        assert!(manager.shutdown("end").await.is_clean());
        bgtask::idle().await;
    });
}

#[test]
fn idle_ends_with_a_shutdown_whatever_is_left() {
    on_both_flavors_within(Duration::from_millis(50), async |manager| {
        let (held, receiver) = mpsc::channel();
        drop(waits_for_blocking(receiver));
        let (idle, report) = tokio::join!(bgtask::idle(), manager.shutdown("end"));
        let () = idle;
        assert_eq!(report.stragglers.len(), 1);
        drop(held);
    });
}

#[test]
fn idle_ends_with_the_last_call_of_a_manager_that_was_dropped() {
    for runtime in runtimes() {
        let manager = Manager::builder().install_on(runtime.handle()).unwrap();
        runtime.block_on(async {
            let gate = gate();
            drop(waits_for(gate.clone()));
            let mut idle = pin!(bgtask::idle());
            let member = awaits_all();
            until("both wait", || manager.stats().running == 2).await;
            assert!(!is_ready(idle.as_mut()));
            drop(manager);
            let mut later = pin!(until_idle_in_time(idle));
            assert!(!is_ready(later.as_mut()));
            gate.add_permits(1);
            assert!(later.await);
            assert!(until_idle_in_time(member).await);
        });
    }
}

async fn until_idle_in_time(idle: impl Future) -> bool {
    tokio::time::timeout(FOREVER / 4, idle).await.is_ok()
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

#[background]
async fn calls_deeper(left: u32) {
    if left > 0 {
        let group = Group::current().unwrap().child();
        drop(group.run(|| calls_deeper(left - 1)));
    }
}

#[test]
fn groups_nest_a_thousand_levels_deep() {
    on_both_flavors(async |_| {
        let outermost = Group::new();
        let mut innermost = outermost.clone();
        for _ in 0..1_000 {
            innermost = innermost.child();
        }
        assert!(!innermost.is_closed());
        assert_eq!(innermost.run(|| echo(1)).await, Ok(1));
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

        let chain = Group::new();
        drop(chain.run(|| calls_deeper(1_000)));
        chain.idle().await;
        chain.cancel();
    });
}
