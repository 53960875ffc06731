//! Waiting until no call is live: `idle()` of a group and of a manager.

use super::{gate, is_ready, waits_for, waits_for_blocking};
use bgtask::{Group, Manager, background};
use bgtask_tests::{FOREVER, on_both_flavors, on_both_flavors_within, runtimes, until};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

#[test]
fn every_waiter_is_woken_no_matter_how_many_calls_come_and_go() {
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
            let (ended, has_ended) = oneshot::channel();
            let waiting = group.clone();
            tokio::spawn(async move {
                waiting.idle().await;
                let _ = ended.send(());
            });
            has_ended.await.unwrap();
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
fn idle_waits_for_every_call_and_their_calls_and_not_for_its_own() {
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
        // A dropped wait does not affect the drain.
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
fn idle_ends_with_a_shutdown_even_if_calls_remain() {
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
fn idle_ends_with_the_last_call_of_a_dropped_manager() {
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
