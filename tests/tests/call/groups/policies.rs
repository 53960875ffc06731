//! Groups and policies: members that wait, join or are refused.

use super::{gate, is_ready, one_at_a_time};
use bgtask::{Group, RefusedReason, ShutdownToken, TaskError, TaskState, background};
use bgtask_tests::{FOREVER, on_both_flavors, record_events, recorded_of, until};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Semaphore;

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
fn a_call_refused_by_its_closed_group_displaces_no_other_call() {
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

        // No call joins one that is about to be refused.
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
async fn trailed(gate: Arc<Semaphore>, started: Arc<AtomicU32>) {
    started.fetch_add(1, Ordering::SeqCst);
    gate.acquire().await.unwrap().forget();
}

#[test]
fn a_call_in_a_closed_group_is_refused_even_if_it_would_join_or_trail_a_run() {
    on_both_flavors(async |_| {
        let (closed, gate, started) = (Group::new(), gate(), Arc::new(AtomicU32::new(0)));
        closed.close();
        let refused = || Err(TaskError::Refused(RefusedReason::GroupClosed));

        let leader = joined(gate.clone());
        assert_eq!(closed.run(|| joined(gate.clone())).await, refused());
        let first = trailed(gate.clone(), started.clone());
        until("it has started", || started.load(Ordering::SeqCst) == 1).await;
        let late = closed.run(|| trailed(gate.clone(), started.clone()));
        assert_eq!(late.await, refused());
        let second = trailed(gate.clone(), started.clone());
        let late = closed.run(|| trailed(gate.clone(), started.clone()));
        assert_eq!(late.await, refused());
        gate.add_permits(3);
        assert_eq!((leader.await, first.await), (Ok(()), Ok(())));
        assert_eq!(second.await, Ok(()));
        assert_eq!(started.load(Ordering::SeqCst), 2);
    });
}

#[background(concurrency = 1)]
async fn one_until_cancelled(token: ShutdownToken, started: Arc<AtomicU32>) {
    started.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

#[background(coalesce(policy = "trailing"))]
async fn trailing_until_cancelled(token: ShutdownToken, started: Arc<AtomicU32>) {
    started.fetch_add(1, Ordering::SeqCst);
    token.cancelled().await;
}

#[background]
async fn calls_behind_others_when_cancelled(started: Arc<AtomicU32>, token: ShutdownToken) {
    token.cancelled().await;
    drop(one_until_cancelled(started));
}

#[test]
fn members_that_wait_for_a_permit_or_a_run_keep_waiting_while_the_group_drains() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (limited, trailing) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        group.run(|| drop(calls_behind_others_when_cancelled(limited.clone())));
        let mut members: Vec<_> = (0..5)
            .map(|_| group.run(|| one_until_cancelled(limited.clone())))
            .collect();
        members.push(group.run(|| trailing_until_cancelled(trailing.clone())));
        until("one of each has started", || {
            (
                limited.load(Ordering::SeqCst),
                trailing.load(Ordering::SeqCst),
            ) == (1, 1)
        })
        .await;
        members.push(group.run(|| trailing_until_cancelled(trailing.clone())));

        assert!(group.drain(FOREVER).await.is_empty());
        let started = (
            limited.load(Ordering::SeqCst),
            trailing.load(Ordering::SeqCst),
        );
        assert_eq!(started, (6, 2));
        for member in members {
            assert_eq!(member.await, Ok(()));
        }
        assert_eq!(manager.stats().cancelled, 0);
    });
}

#[test]
fn a_waiting_call_ends_when_it_or_its_group_is_cancelled_even_during_a_drain() {
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
fn the_drain_of_a_group_drops_and_logs_members_that_wait_for_their_rate() {
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
async fn shared_until_cancelled(gate: Arc<Semaphore>, token: ShutdownToken) -> bool {
    tokio::select! {
        () = token.cancelled() => true,
        permit = gate.acquire() => {
            permit.unwrap().forget();
            false
        }
    }
}

#[test]
fn no_call_joins_a_run_whose_group_was_cancelled_drained_or_aborted() {
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
                let leader = own.run(|| shared_until_cancelled(gate.clone()));
                let joined = shared_until_cancelled(gate.clone());
                end(&group);
                let apart = shared_until_cancelled(gate.clone());
                assert_eq!(leader.await, outcome);
                assert_eq!(joined.await, outcome);
                gate.add_permits(1);
                assert_eq!(apart.await, Ok(false), "it has a run of its own");
                group.idle().await;
            }
        }
    });
}
