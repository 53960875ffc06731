//! Single calls on the page: how they ended, their attempts, and the runs of schedules.

use super::{column, fails, snapshot_where, succeeds, waits, with_dashboard};
use axum::Router;
use bgtask::{background, dashboard};
use bgtask_tests::{FOREVER, manager_within, runtimes};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as u64
}

#[test]
fn calls_that_have_ended_are_listed_with_outcome_duration_and_error() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let before = unix_ms();
            succeeds().await.unwrap();
            let _ = fails(format!("a long message: {}", "ü".repeat(500))).await;
            let aborted = waits();
            aborted.abort();
            let _ = aborted.await;
            let shown = snapshot_where(&router, |shown| {
                shown["ended"].as_array().unwrap().len() == 3
            })
            .await;
            let ended = &shown["ended"];
            // The newest first.
            let names: Vec<_> = column(ended, "name");
            assert_eq!(
                names,
                [
                    "dashboard: waits",
                    "dashboard: fails",
                    "dashboard: succeeds"
                ]
            );
            assert_eq!(column(ended, "outcome"), ["aborted", "failed", "succeeded"]);
            assert_eq!(ended[0]["message"], "aborted without a shutdown");
            // The list has the beginning, and the failures have all of it.
            let beginning = format!("a long message: {}…", "ü".repeat(184));
            assert_eq!(ended[1]["message"], beginning);
            assert_eq!(ended[2]["message"], Value::Null);
            for end in ended.as_array().unwrap() {
                assert!(end["took_ms"].as_f64().unwrap() > 0.0, "{end}");
                assert!((before..=unix_ms()).contains(&end["at"].as_u64().unwrap()));
                let called_at = end["called_at"].as_str().unwrap();
                assert!(called_at.contains("observe/dashboard/"), "{end}");
            }
        },
    );
}

#[test]
fn the_list_of_ended_calls_is_bounded_and_successes_displace_no_failure() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let _ = fails("once".to_owned()).await;
            for _ in 0..300 {
                succeeds().await.unwrap();
            }
            let shown = snapshot_where(&router, |shown| shown["totals"]["succeeded"] == 300).await;
            let outcomes = column(&shown["ended"], "outcome");
            assert_eq!(outcomes.len(), 51);
            assert_eq!(outcomes[50], "failed");
        },
    );
}

#[background(
    name = "dashboard: backs off",
    retry(max = 3, base = "1h", cap = "1h"),
    log = "off"
)]
async fn backs_off() -> Result<(), &'static str> {
    Err("for now")
}

#[background(
    name = "dashboard: fails twice",
    retry(max = 3, base = "1ms"),
    log = "off"
)]
async fn fails_twice(attempts: std::sync::Arc<std::sync::atomic::AtomicU32>) -> Result<(), u32> {
    match attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        2 => {
            std::future::pending::<()>().await;
            Ok(())
        }
        attempt => Err(attempt),
    }
}

#[test]
fn a_call_between_two_attempts_shows_both_and_when_the_next_is_due() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let sleeps = backs_off();
            let tries = fails_twice(std::sync::Arc::default());
            let plain = waits();
            let shown = snapshot_where(&router, |shown| {
                let oldest = &shown["tasks"]["oldest"];
                let (states, attempts) = (column(oldest, "state"), column(oldest, "attempt"));
                states == ["backing off", "running", "running"] && attempts == [1, 3, 1]
            })
            .await;
            let oldest = &shown["tasks"]["oldest"];
            assert_eq!(
                column(oldest, "max_attempts"),
                [&json!(3), &json!(3), &Value::Null]
            );
            let due = oldest[0]["next_attempt_ms"].as_u64().unwrap();
            assert!((1_700_000..=3_600_000).contains(&due), "{due}");
            for running in [1, 2] {
                assert_eq!(oldest[running]["next_attempt_ms"], Value::Null);
            }
            for task in [sleeps.id(), tries.id(), plain.id()] {
                assert!(column(oldest, "id").contains(&&json!(task.as_u64())));
            }
            sleeps.abort();
            tries.abort();
        },
    );
}

#[background(
    name = "dashboard: fails on schedule",
    every = "1h",
    immediately,
    log = "off"
)]
async fn fails_on_schedule() -> Result<(), &'static str> {
    Err("on schedule")
}

#[test]
fn a_schedule_shows_its_last_run_and_no_call_of_the_program() {
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let router: Router = dashboard::builder().manager(&manager).router();
        // From now on: runs that have ended before are not recorded.
        manager.start_schedules();
        runtime.block_on(async {
            let own = |shown: &Value| {
                let mut schedules = shown["schedules"].as_array().unwrap().iter();
                let own = schedules.find(|one| one["name"] == "dashboard: fails on schedule");
                own.cloned().unwrap_or_default()
            };
            // The schedule learns of the end of its run a little later.
            let first = snapshot_where(&router, |shown| {
                let own = own(shown);
                own["last"]["outcome"] == "failed" && !own["next_at"].is_null()
            })
            .await;
            let last = own(&first)["last"].clone();
            assert!(last["at"].as_u64().unwrap() <= unix_ms());
            assert!(last["took_ms"].as_f64().unwrap() > 0.0);
            // The program calls the function too.
            let called = fails_on_schedule();
            let id = called.id().as_u64();
            let _ = called.await;
            let shown = snapshot_where(&router, |shown| {
                column(&shown["ended"], "id").contains(&&json!(id))
            })
            .await;
            assert_eq!(own(&shown)["last"], last);
            manager.shutdown("the test ends").await;
        });
    }
}
