//! Schedules and `State<T>`: a schedule starts once its state has been provided.

use crate::support::{Diary, SECOND, in_paused_time, info};
use bgtask::{Manager, State, background};
use bgtask_tests::{FOREVER, record_events, recorded, settle, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;
use tokio::time::sleep;

crate::support::diaries!(Late, Plain);

/// Returns the next run in the table of a snapshot.
fn next_in_the_table(manager: &Manager, name: &str) -> String {
    let table = manager.snapshot().to_string();
    // The table of functions comes before that of schedules.
    let mut lines = table.lines().map(str::trim_start);
    let line = lines.rfind(|line| line.starts_with(name));
    // After the name: the runs and the missed ticks.
    let cells = line.unwrap_or_else(|| panic!("{table}"))[name.len()..].split_whitespace();
    cells.skip(2).collect::<Vec<_>>().join(" ")
}

#[background(every = "1h", immediately, name = "starts late")]
async fn starts_late(State(Late(diary)): State<Late>) {
    diary.note();
}

/// Behaviour 33.
#[test]
fn a_schedule_starts_once_its_state_is_provided_and_missing_state_is_named_at_the_start() {
    record_events();
    in_paused_time(async |manager| {
        manager.start_schedules();
        sleep(10 * SECOND).await;
        assert!(info(manager, "starts late").waits_for_state);
        let next = next_in_the_table(manager, "starts late");
        assert_eq!(next, "waiting for its state");
        let diary = Diary::new();
        manager.provide(Late(diary.clone()));
        settle().await;
        assert_eq!(diary.seconds(), [0]);
        assert!(!info(manager, "starts late").waits_for_state);
        let next = next_in_the_table(manager, "starts late");
        assert!(next.starts_with("in "), "{next}");
    });
    let events = recorded(|event| {
        event
            .message
            .starts_with("background function is waiting for state")
            && event.field("name") == "starts late"
            && event.field("state").ends_with("::Late")
    });
    assert!(!events.is_empty());
    assert!(
        events[0]
            .field("location")
            .contains("tests/schedules/state.rs:")
    );
}

#[derive(Clone)]
struct ProvidedByNobody;

#[background(on_start, name = "never starts")]
async fn never_starts(State(_state): State<ProvidedByNobody>) {}

/// Behaviour 33.
#[test]
fn state_that_was_never_provided_is_named_at_the_shutdown() {
    record_events();
    let report = in_paused_time(async |manager| {
        manager.start_schedules();
        settle().await;
        manager.request_shutdown("now");
        until("all schedules have ended", || {
            manager
                .schedules()
                .iter()
                .all(|schedule| schedule.info().has_ended)
        })
        .await;
        assert_eq!(next_in_the_table(manager, "never starts"), "ended");
    });
    assert!(report.is_clean());
    let events = recorded(|event| {
        event.message == "background function never started: its state was not provided"
            && event.field("name") == "never starts"
    });
    assert!(!events.is_empty());
    assert!(events[0].field("state").ends_with("::ProvidedByNobody"));
}

#[background(on_start, log = "off")]
fn plain(
    State(Plain(diary)): State<Plain>,
    count: State<Arc<AtomicU32>>,
    gate: State<Arc<Notify>>,
) {
    diary.note();
    count.fetch_add(1, Ordering::SeqCst);
    gate.notify_one();
}

/// Behaviour 33.
#[test]
fn a_builder_provides_state_and_starts_schedules() {
    record_events();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let gate = Arc::new(Notify::new());
    let manager = Manager::builder()
        .grace(FOREVER)
        .provide(Plain(Diary::new()))
        .provide(count.clone())
        .provide(gate.clone())
        .schedules(true)
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        gate.notified().await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(manager.shutdown("end").await.is_clean());
    });
    runtime.shutdown_background();
}
