//! `essential`: the end of the task starts the shutdown.

use crate::support::{Diary, SECOND, in_paused_time, on_both_flavors};
use bgtask::{ShutdownReason, ShutdownToken, State, background};
use bgtask_tests::{recorded, until};
use tokio::time::sleep;

crate::support::diaries!(Essential, EssentialCall);

#[background(
    on_start,
    essential,
    timeout = "1m",
    restart(max = 1, base = "1s"),
    log = "off"
)]
async fn is_essential(State(Essential(diary)): State<Essential>) {
    match diary.note() {
        1 => panic!("a reason to restart"),
        2 => sleep(10 * SECOND).await,
        _ => {}
    }
}

#[background(essential, name = "essential and logged")]
async fn essential_and_logged() {}

#[background(essential, name = "essential and silent", log = "off")]
async fn essential_and_silent() {}

/// Behaviour 25.
#[test]
fn the_end_of_an_essential_task_is_logged_unless_silent() {
    for essential in [essential_and_logged, essential_and_silent] {
        in_paused_time(async |manager| {
            essential();
            until("it has ended", || manager.is_shutting_down()).await;
        });
    }
    let logged = |name| {
        let start = "essential task ended";
        recorded(|event| event.message.starts_with(start) && event.field("name") == name).len()
    };
    assert_eq!(
        (
            logged("essential and logged"),
            logged("essential and silent")
        ),
        (1, 0)
    );
}

/// Behaviour 25.
#[test]
fn an_essential_task_that_ends_even_normally_starts_the_shutdown() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Essential(diary.clone()));
        manager.start_schedules();
        sleep(10 * SECOND).await;
        // The first end caused a restart.
        assert!(!manager.is_shutting_down());
        assert_eq!(diary.len(), 2);
        sleep(2 * SECOND).await;
        until("the shutdown has been requested", || {
            manager.is_shutting_down()
        })
        .await;
        let report = manager.shutdown("the test ends").await;
        match &report.reason {
            ShutdownReason::EssentialEnded(name) => assert!(name.ends_with("::is_essential")),
            other => panic!("{other:?}"),
        }
    });
}

#[background(essential, log = "off")]
async fn is_essential_and_called(
    token: ShutdownToken,
    State(EssentialCall(diary)): State<EssentialCall>,
    panics: bool,
) {
    diary.note();
    assert!(!panics, "essential");
    token.cancelled().await;
}

/// Behaviour 25.
#[test]
fn an_essential_call_starts_the_shutdown_whether_it_panics_or_is_aborted() {
    for panics in [true, false] {
        on_both_flavors(async |manager| {
            let diary = Diary::new();
            manager.provide(EssentialCall(diary.clone()));
            let task = is_essential_and_called(panics);
            until("it has started", || diary.len() == 1).await;
            if !panics {
                assert!(!manager.is_shutting_down());
                task.abort();
            }
            assert!(task.await.is_err());
            until("the shutdown has been requested", || {
                manager.is_shutting_down()
            })
            .await;
        });
    }
}

/// Behaviour 25.
#[test]
fn an_essential_task_that_ends_in_a_shutdown_is_not_its_reason() {
    on_both_flavors(async |manager| {
        let diary = Diary::new();
        manager.provide(EssentialCall(diary.clone()));
        let task = is_essential_and_called(false);
        let report = manager.shutdown("the test").await;
        assert_eq!(report.reason, "the test".into());
        assert_eq!(task.await, Ok(()));
    });
}
