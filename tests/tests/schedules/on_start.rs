//! `on_start` and `restart`: functions that start with the program and start again after they end.

use crate::support::{Diary, SECOND, in_paused_time, info, on_both_flavors};
use bgtask::{ShutdownToken, State, TaskState, background};
use bgtask_tests::{record_events, recorded_of, until};
use std::time::SystemTime;
use tokio::time::sleep;

crate::support::diaries!(Starting, Restarting, Persistent, GivingUp, TimedOut);

#[background(on_start, log = "off")]
async fn starting(token: ShutdownToken, State(Starting(diary)): State<Starting>) {
    diary.note();
    token.cancelled().await;
}

/// Behaviour 32.
#[test]
fn a_function_is_started_with_the_program_and_drained_with_it() {
    on_both_flavors(async |manager| {
        let diary = Diary::new();
        manager.provide(Starting(diary.clone()));
        manager.start_schedules();
        until("it runs", || diary.len() == 1).await;
        assert!(
            manager
                .tasks()
                .iter()
                .any(|task| task.name.ends_with("::starting")
                    && task.state == TaskState::Running
                    && task.called_at.file() == file!())
        );
        let report = manager.shutdown("end").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.drained, 1);
    });
}

#[background(
    on_start,
    restart(max = 3, window = "1m", backoff = "linear", base = "1s"),
    log = "off"
)]
async fn restarting(State(Restarting(diary)): State<Restarting>) -> Result<(), &'static str> {
    match diary.note() {
        1 => Err("once"),
        2 => panic!("twice"),
        _ => Ok(()),
    }
}

#[background(
    on_start,
    restart(
        when = "always",
        max = 5,
        window = "10s",
        backoff = "constant",
        base = "4s"
    ),
    log = "off"
)]
async fn persistent(State(Persistent(diary)): State<Persistent>) {
    diary.note();
}

/// Behaviour 32.
#[test]
fn a_function_restarts_after_a_failure_and_after_a_normal_end_if_requested() {
    in_paused_time(async |manager| {
        let (restarting, persistent) = (Diary::new(), Diary::new());
        manager.provide(Restarting(restarting.clone()));
        manager.provide(Persistent(persistent.clone()));
        manager.start_schedules();
        sleep(SECOND / 2).await;
        let next = info(manager, "::restarting").next;
        assert!(
            next.is_some_and(|next| next > SystemTime::now()),
            "{next:?}"
        );
        sleep(30 * SECOND).await;
        assert_eq!(restarting.seconds(), [0, 1, 3]);
        assert!(info(manager, "::restarting").has_ended);
        assert_eq!(persistent.seconds(), [0, 4, 8, 12, 16, 20, 24, 28]);
        assert!(!info(manager, "::persistent").has_ended);
        assert!(!manager.is_shutting_down());
    });
}

#[background(
    on_start,
    restart(max = 2, window = "1m", base = "1s"),
    name = "gives up after two"
)]
async fn giving_up(State(GivingUp(diary)): State<GivingUp>) -> Result<(), &'static str> {
    diary.note();
    Err("always")
}

/// Behaviour 32.
#[test]
fn too_many_restarts_in_a_window_end_the_restarts_and_are_logged() {
    record_events();
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(GivingUp(diary.clone()));
        manager.start_schedules();
        sleep(120 * SECOND).await;
        assert_eq!(diary.seconds(), [0, 1, 3]);
        assert!(info(manager, "gives up after two").has_ended);
        assert!(!manager.is_shutting_down());
    });
    let events = recorded_of("gives up after two");
    let messages: Vec<_> = events
        .iter()
        .filter(|event| event.field("name") == "gives up after two")
        .filter(|event| event.message.contains("restart"))
        .map(|event| event.message.as_str())
        .collect();
    let again = "background function ended, restarting";
    let enough = "background function not restarted: its restart limit is reached";
    assert_eq!(messages, [again, again, enough]);
}

#[background(on_start, timeout = "1s", restart(max = 1, base = "1s"), log = "off")]
async fn runs_out_of_time(State(TimedOut(diary)): State<TimedOut>) {
    diary.note();
    std::future::pending::<()>().await;
}

/// Behaviour 32.
#[test]
fn a_run_that_timed_out_has_failed() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(TimedOut(diary.clone()));
        manager.start_schedules();
        sleep(10 * SECOND).await;
        assert_eq!(diary.seconds(), [0, 2]);
        assert_eq!(manager.stats().timed_out, 2);
    });
}
