//! The contents of a snapshot: tasks, functions, failures, schedules and the timeline.

use super::{details, fails, function, snapshot, snapshot_where, succeeds, waits, with_dashboard};
use axum::Router;
use bgtask::{Manager, ShutdownToken, State, background, dashboard};
use bgtask_tests::{FOREVER, in_paused_time, manager_within, on_both_flavors, runtimes};
use serde_json::Value;
use std::collections::BTreeSet;
use std::future::pending;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

#[background(name = "dashboard: panics", log = "off")]
fn panics() {
    panic!("on purpose");
}

#[background(name = "dashboard: runs out of time", timeout = "1ms", log = "off")]
async fn runs_out_of_time() {
    pending().await
}

#[background(
    name = "dashboard: tries again",
    retry(max = 3, base = "1ms"),
    log = "off"
)]
async fn tries_again() -> Result<(), &'static str> {
    Err("again")
}

#[background(name = "dashboard: joins", coalesce(policy = "join"))]
async fn joins(token: ShutdownToken) {
    token.cancelled().await;
}

#[derive(Clone)]
struct ProvidedByNobody;

#[background(name = "dashboard: is refused", log = "off")]
async fn is_refused(_state: State<ProvidedByNobody>) {}

#[test]
fn the_snapshot_lists_live_tasks_outcomes_and_failures() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let task = waits();
            let _ = fails("<b>not</b> bold".to_owned()).await;
            let _ = panics().await;
            succeeds().await.unwrap();
            let _ = runs_out_of_time().await;
            let _ = tries_again().await;
            let first = joins();
            let second = joins();
            assert!(is_refused().is_finished());
            let shown = snapshot_where(&router, |shown| {
                let oldest = shown["tasks"]["oldest"].as_array().unwrap();
                oldest.len() == 2 && oldest.iter().all(|task| task["state"] == "running")
            })
            .await;
            assert_eq!(shown["version"], 1);
            assert_eq!(shown["shutdown"]["phase"], "running");
            let totals = &shown["totals"];
            let count = |name: &str| totals[name].as_u64().unwrap();
            let outcomes = [
                "succeeded",
                "failed",
                "panicked",
                "timed_out",
                "cancelled",
                "aborted",
                "abandoned",
            ];
            let ended: u64 = outcomes.into_iter().map(count).sum();
            assert_eq!(count("accepted"), count("running") + ended);
            assert_eq!((count("accepted"), count("running")), (7, 2));

            let running = &shown["tasks"]["oldest"][0];
            assert_eq!(running["id"], task.id().as_u64());
            assert_eq!(running["name"], "dashboard: waits");
            assert_eq!(
                (&running["attempt"], &running["state"]),
                (&1.into(), &"running".into())
            );
            assert!(
                running["called_at"]
                    .as_str()
                    .unwrap()
                    .contains("observe/dashboard/")
            );
            let age = running["age_ms"].as_u64().unwrap();
            snapshot_where(&router, |shown| {
                shown["tasks"]["oldest"][0]["age_ms"].as_u64() > Some(age)
            })
            .await;

            for (name, accepted, outcome) in [
                ("dashboard: waits", 1, "running"),
                ("dashboard: fails", 1, "failed"),
                ("dashboard: panics", 1, "panicked"),
                ("dashboard: succeeds", 1, "succeeded"),
                ("dashboard: runs out of time", 1, "timed_out"),
                ("dashboard: tries again", 1, "failed"),
                ("dashboard: joins", 1, "running"),
            ] {
                let one = function(&shown, name);
                assert_eq!(
                    (&one["accepted"], &one[outcome]),
                    (&accepted.into(), &1.into()),
                    "{one}"
                );
                assert_eq!(one["mean_ms"].is_null(), outcome == "running", "{one}");
                assert_eq!(one["longest_ms"], one["mean_ms"], "{one}");
                assert!(
                    one["location"]
                        .as_str()
                        .unwrap()
                        .contains("observe/dashboard/")
                );
            }
            assert_eq!(function(&shown, "dashboard: joins")["coalesced"], 1);
            assert_eq!(function(&shown, "dashboard: is refused")["refused"], 1);
            assert_eq!(function(&shown, "dashboard: tries again")["retries"], 2);
            assert_eq!(function(&shown, "dashboard: panics")["kind"], "blocking");
            assert_eq!(function(&shown, "dashboard: waits")["takes_token"], true);
            let one = function(&shown, "dashboard: succeeds");
            assert_eq!(one["options"], "timeout = 1h, concurrency = 1");
            assert_eq!(one["live"]["waiting"], 0);
            assert!(function(&shown, "dashboard: waits")["live"].is_null());

            let failures = shown["failures"]["latest"].as_array().unwrap();
            assert_eq!(shown["failures"]["total"], 4);
            // Newest first.
            let messages: Vec<_> = failures
                .iter()
                .map(|one| {
                    (
                        one["name"].as_str().unwrap(),
                        one["message"].as_str().unwrap(),
                    )
                })
                .collect();
            assert_eq!(
                messages,
                [
                    ("dashboard: tries again", "again (after 3 attempts)"),
                    ("dashboard: runs out of time", "timed out"),
                    ("dashboard: panics", "on purpose"),
                    ("dashboard: fails", "<b>not</b> bold"),
                ]
            );
            assert_eq!(failures[2]["outcome"], "panicked");
            assert!(
                failures[2]["panicked_at"]
                    .as_str()
                    .unwrap()
                    .contains("observe/dashboard/")
            );

            let started = shown["timeline"]["started"].as_array().unwrap();
            assert_eq!(started.iter().filter_map(Value::as_u64).sum::<u64>(), 7);
            let failed = shown["timeline"]["failed"].as_array().unwrap();
            assert_eq!(failed.iter().filter_map(Value::as_u64).sum::<u64>(), 4);
            drop((first, second));
        },
    );
}

/// Collects the paths of all fields, such as `tasks.oldest[].id`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = match path {
                    "" => key.clone(),
                    _ => format!("{path}.{key}"),
                };
                fields(value, &path, found);
            }
            // An object is listed only if it may be null.
            if [".live", ".took", ".waited", ".last"]
                .iter()
                .any(|nullable| path.ends_with(nullable))
            {
                found.insert(path.to_owned());
            }
        }
        Value::Array(array) => {
            found.insert(format!("{path}[]"));
            array
                .iter()
                .for_each(|value| fields(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// Returns the fields that a section of the page documents.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboard.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(field, _)| field.to_owned()).collect()
}

#[background(name = "dashboard: runs at the start", every = "1h", immediately)]
async fn runs_at_the_start() {}

#[test]
fn exactly_the_fields_of_the_snapshot_are_documented() {
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let router: Router = dashboard::builder().manager(&manager).router();
        // From now on: runs that have ended before are not recorded.
        manager.start_schedules();
        runtime.block_on(async {
            waits();
            succeeds().await.unwrap();
            let _later = bgtask::after(Duration::from_secs(3600), succeeds);
            let _ = fails("with a message".to_owned()).await;
            let shown = snapshot_where(&router, |shown| {
                let schedules = shown["schedules"].as_array().unwrap();
                schedules.iter().any(|one| !one["last"].is_null())
            })
            .await;
            let mut found = BTreeSet::new();
            fields(&shown, "", &mut found);
            assert_eq!(found, documented("`snapshot.json`"));

            let shown = details(&router, "dashboard: fails").await;
            let mut found = BTreeSet::new();
            fields(&shown, "", &mut found);
            // The page does not repeat the fields of the other table.
            for repeated in ["function", "tasks", "ended[]", "shutdown", "schedules[]"] {
                found.retain(|field| !field.starts_with(&format!("{repeated}.")));
                found.insert(repeated.to_owned());
            }
            assert_eq!(found, documented("`function.json`"));
            manager.shutdown("the test ends").await;
        });
    }
}

#[test]
fn lists_are_bounded_and_state_their_totals() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let mut handles: Vec<_> = (0..150).map(|_| waits()).collect();
            let first = handles[0].id().as_u64();
            for number in 0..130 {
                let _ = fails(format!("number {number}")).await;
            }
            let shown = snapshot(&router).await;
            let (tasks, failures) = (&shown["tasks"], &shown["failures"]);
            assert_eq!(
                (&tasks["total"], &failures["total"]),
                (&150.into(), &130.into())
            );
            assert_eq!(tasks["oldest"].as_array().unwrap().len(), 100);
            assert_eq!(tasks["oldest"][0]["id"], first);
            assert_eq!(failures["latest"].as_array().unwrap().len(), 100);
            assert_eq!(failures["latest"][0]["message"], "number 129");
            assert_eq!(function(&shown, "dashboard: waits")["running"], 150);
            handles.clear();
        },
    );
}

#[test]
fn the_wait_queues_of_two_blocks_with_one_name_are_shown_as_one() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let mut handles = Vec::new();
            for _ in 0..3 {
                handles.push(bgtask::spawn!(
                    "dashboard: shares its name",
                    concurrency = 1,
                    pending::<()>()
                ));
                handles.push(bgtask::spawn!(
                    "dashboard: shares its name",
                    concurrency = 1,
                    pending::<()>()
                ));
            }
            let shown = snapshot_where(&router, |shown| {
                function(shown, "dashboard: shares its name")["live"]["running"] == 2
            })
            .await;
            let shown = function(&shown, "dashboard: shares its name");
            assert_eq!(
                (&shown["running"], &shown["live"]["waiting"]),
                (&6.into(), &4.into())
            );
            handles.iter().for_each(|handle| handle.abort());
        },
    );
}

#[test]
fn a_call_aborted_without_a_shutdown_is_a_failure() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let task = waits();
            task.abort();
            let _ = task.await;
            let shown = snapshot_where(&router, |shown| shown["failures"]["total"] == 1).await;
            assert_eq!(shown["failures"]["latest"][0]["outcome"], "aborted");
            assert_eq!(function(&shown, "dashboard: waits")["aborted"], 1);
        },
    );
}

#[background(name = "dashboard: panics while it is dropped", log = "off")]
async fn panics_while_it_is_dropped(start: oneshot::Sender<()>) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it was dropped");
        }
    }
    let _bomb = Bomb;
    let _ = start.send(());
    pending().await
}

#[test]
fn a_call_that_panics_while_it_is_aborted_is_one_failure() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let (start, has_started) = oneshot::channel();
            let task = panics_while_it_is_dropped(start);
            has_started.await.unwrap();
            task.abort();
            let _ = task.await;
            let shown = snapshot_where(&router, |shown| shown["failures"]["total"] != 0).await;
            assert_eq!(shown["failures"]["total"], 1);
            let latest = shown["failures"]["latest"].as_array().unwrap();
            assert_eq!(latest.len(), 1);
            assert_eq!(latest[0]["message"], "while it was dropped");
        },
    );
}

#[background(name = "dashboard: never ends")]
async fn never_ends() {
    pending().await
}

#[test]
fn a_call_that_a_shutdown_ends_is_counted_and_is_no_failure() {
    for runtime in runtimes() {
        let manager = manager_within(Duration::from_millis(50), &runtime);
        let router: Router = dashboard::builder().manager(&manager).router();
        runtime.block_on(async {
            never_ends();
            manager.shutdown("the test ends").await;
            let shown = snapshot(&router).await;
            assert_eq!(function(&shown, "dashboard: never ends")["aborted"], 1);
            assert_eq!(shown["failures"]["total"], 0);
        });
    }
}

#[background(name = "dashboard: every hour", every = "1h", jitter = "1s")]
async fn every_hour() {}

/// Returns the schedule of `every_hour`; other tests of this binary have schedules too.
fn schedule(snapshot: &Value) -> &Value {
    let mut schedules = snapshot["schedules"].as_array().unwrap().iter();
    let own = schedules.find(|one| one["name"] == "dashboard: every hour");
    own.unwrap_or(&Value::Null)
}

#[test]
fn schedules_show_their_next_run() {
    for runtime in runtimes() {
        let manager = Manager::builder()
            .schedules(true)
            .install_on(runtime.handle())
            .unwrap();
        let router: Router = dashboard::builder().manager(&manager).router();
        runtime.block_on(async {
            let shown =
                snapshot_where(&router, |shown| !schedule(shown)["next_at"].is_null()).await;
            let schedule_shown = schedule(&shown);
            assert_eq!(schedule_shown["options"], "every = 1h, jitter = 1s");
            assert_eq!(
                (&schedule_shown["runs"], &schedule_shown["has_ended"]),
                (&0.into(), &false.into())
            );
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis() as u64;
            let due = schedule_shown["next_at"].as_u64().unwrap() - now;
            assert!((3_500_000..=3_602_000).contains(&due), "{due}");
            manager.shutdown("the test ends").await;
            snapshot_where(&router, |shown| schedule(shown)["has_ended"] == true).await;
        });
    }
}

#[test]
fn a_call_aborted_before_the_draining_is_a_failure() {
    on_both_flavors(async |manager| {
        let router: Router = dashboard::router();
        manager.request_shutdown("the test");
        // However late the dashboard is notified of the shutdown.
        for _ in 0..100 {
            let task = never_ends();
            task.abort();
            let _ = task.await;
        }
        assert_eq!(snapshot(&router).await["failures"]["total"], 100);
    });
}

#[test]
fn the_steps_of_the_timeline_end_while_no_page_is_open() {
    in_paused_time(async |_| {
        let router: Router = dashboard::router();
        for _ in 0..2 {
            succeeds().await.unwrap();
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        let shown = snapshot(&router).await;
        assert_eq!(shown["timeline"]["started"], serde_json::json!([1, 1, 0]));
    });
}
