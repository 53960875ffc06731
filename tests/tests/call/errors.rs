//! Errors and cancellations: which are logged, which go to the owner of the handle, and which are no failure.

use bgtask::{Failure, Manager, Outcome, ShutdownToken, TaskError, background};
use bgtask_tests::{on_both_flavors, record_events, recorded_of, runtimes, until};
use std::sync::{Arc, Mutex};
use tracing::Level;

/// Behaviour 20.
#[test]
fn an_error_without_an_owner_is_logged_with_its_sources() {
    #[background]
    async fn fails_unseen() -> std::io::Result<()> {
        Err(std::io::Error::other("disk full"))
    }
    #[background]
    fn fails_unseen_blocking() -> anyhow::Result<()> {
        Err(anyhow::anyhow!("disk full").context("cache not written"))
    }
    record_events();
    on_both_flavors(async |manager| {
        fails_unseen();
        fails_unseen_blocking();
        until("both failed", || manager.stats().failed == 2).await;
        // The error is logged before its task is retired, so the test need not wait for the event.
    });
    let of = |task: &str| {
        let mut events = recorded_of(task);
        events.retain(|event| event.message == "task failed");
        events
    };
    let events = of("fails_unseen");
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].level, Level::ERROR);
    assert_eq!(events[0].field("error"), "disk full");
    assert_eq!(events[0].field("id"), events[0].span_field("id"));
    let events = of("fails_unseen_blocking");
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].field("error"), "cache not written: disk full");
}

/// Behaviour 20.
#[test]
fn an_error_that_owns_nothing_is_logged_with_policies_too() {
    #[background(concurrency = 1)]
    async fn fails_in_its_turn() -> Result<(), &'static str> {
        Err("written down")
    }
    record_events();
    on_both_flavors(async |manager| {
        fails_in_its_turn();
        until("it failed", || manager.stats().failed == 1).await;
    });
    let mut events = recorded_of("fails_in_its_turn");
    events.retain(|event| event.message == "task failed");
    let errors: Vec<_> = events.iter().map(|event| event.field("error")).collect();
    assert_eq!(errors, ["written down"; 2]);
}

/// Behaviour 20.
#[test]
fn an_error_goes_to_the_owner_of_the_handle_and_is_not_logged() {
    #[background]
    async fn fails_seen() -> Result<(), &'static str> {
        Err("for the owner")
    }
    record_events();
    on_both_flavors(async |_| assert_eq!(fails_seen().await, Ok(Err("for the owner"))));
    let events = recorded_of("fails_seen");
    assert!(events.iter().all(|event| event.message != "task failed"));
}

/// Behaviour 20.
#[test]
fn an_error_is_logged_when_its_handle_is_dropped_unread() {
    #[background]
    async fn fails_unread() -> Result<(), &'static str> {
        Err("left lying")
    }
    record_events();
    on_both_flavors(async |_| {
        let handle = fails_unread();
        until("it ended", || handle.is_finished()).await;
        let logged = || {
            let mut events = recorded_of("fails_unread");
            events.retain(|event| event.message == "task failed");
            events
        };
        let before = logged().len();
        drop(handle);
        let logged = logged();
        assert_eq!(logged.len(), before + 1);
        // The event is in the task's span, which nothing has used since.
        assert_eq!(logged[before].field("id"), logged[before].span_field("id"));
    });
}

/// Behaviour 20.
#[test]
fn errors_of_every_kind_of_type_are_found_and_printed() {
    #[derive(Debug)]
    struct DebugOnly;
    struct Nothing;
    #[background(log = "off")]
    async fn debug_only() -> Result<(), DebugOnly> {
        Err(DebugOnly)
    }
    #[background(log = "off")]
    async fn nothing() -> Result<(), Nothing> {
        Err(Nothing)
    }
    #[background(log = "off")]
    async fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("boxed".into())
    }
    #[background(log = "off")]
    async fn no_result() -> Option<()> {
        None
    }
    let errors = Arc::new(Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .on_error({
            let errors = errors.clone();
            move |task| errors.lock().unwrap().push(task.error.to_owned())
        })
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let _ = debug_only().await;
        let _ = nothing().await;
        let _ = boxed().await;
        let _ = no_result().await;
        manager.shutdown("end").await;
    });
    let errors = errors.lock().unwrap();
    assert_eq!(errors[0], "DebugOnly");
    assert!(errors[1].contains("Nothing"), "{errors:?}");
    assert_eq!(errors[2], "boxed");
    assert_eq!(errors.len(), 3);
    assert_eq!(manager.stats().succeeded, 1);
}

#[background(name = "of any output")]
async fn of_any_output<T: Send + 'static>(value: T) -> T {
    value
}

#[background(name = "of a named result")]
async fn of_a_named_result<T: Send + 'static>(value: Result<T, String>) -> Result<T, String> {
    value
}

/// Behaviour 20.
#[test]
fn an_output_that_is_a_type_parameter_is_not_judged() {
    record_events();
    on_both_flavors(async |manager| {
        let failed: Result<(), _> = Err("seen by nobody".to_owned());
        drop(of_any_output(failed.clone()));
        drop(of_a_named_result(failed));
        until("both have ended", || manager.stats().running == 0).await;
        let stats = manager.stats();
        assert_eq!((stats.succeeded, stats.failed), (1, 1));
    });
    let errors = |name| {
        let events = recorded_of(name).into_iter();
        events.filter(|event| event.level == Level::ERROR).count()
    };
    let logged = (errors("of any output"), errors("of a named result"));
    assert_eq!(logged, (0, 2), "one a flavor");
}

/// Behaviour 21.
#[test]
fn an_end_after_the_token_fired_is_no_failure() {
    #[background]
    async fn heeds(token: ShutdownToken) {
        token
            .run_until_cancelled(std::future::pending::<()>())
            .await;
    }
    #[background(on_shutdown = "cancel")]
    async fn is_cancelled_by_the_drain() {
        std::future::pending::<()>().await;
    }
    record_events();
    let reports = on_both_flavors(async |_| {
        heeds();
        is_cancelled_by_the_drain();
    });
    for report in reports {
        assert!(report.is_clean());
        assert_eq!((report.totals.succeeded, report.totals.cancelled), (1, 1));
    }
    let mut events = recorded_of("heeds");
    events.extend(recorded_of("is_cancelled_by_the_drain"));
    assert!(events.iter().all(|event| event.level > Level::WARN));
}

/// Behaviour 21.
#[test]
fn a_cancellation_without_a_shutdown_is_logged() {
    #[background(on_shutdown = "cancel")]
    async fn is_cancelled_alone() {
        std::future::pending::<()>().await;
    }
    #[background]
    async fn is_aborted_alone() {
        std::future::pending::<()>().await;
    }
    record_events();
    on_both_flavors(async |_| {
        let cancelled = is_cancelled_alone();
        cancelled.cancel();
        assert_eq!(cancelled.await, Err(TaskError::Cancelled));
        let aborted = is_aborted_alone();
        aborted.abort();
        assert_eq!(aborted.await, Err(TaskError::Aborted));
    });
    for (task, message) in [
        ("is_cancelled_alone", "task cancelled without a shutdown"),
        ("is_aborted_alone", "task aborted without a shutdown"),
    ] {
        let mut events = recorded_of(task);
        events.retain(|event| event.level == Level::ERROR);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0].message, message);
    }
}

/// Behaviour 21.
#[test]
fn a_member_that_outlasts_the_drain_of_its_group_is_named_as_such_in_the_report_too() {
    #[background]
    async fn outlasts_its_group() {
        std::future::pending::<()>().await;
    }
    record_events();
    let reports = on_both_flavors(async |manager| {
        let group = bgtask::Group::new();
        let member = group.run(|| outlasts_its_group());
        bgtask::request_shutdown("now");
        assert!(bgtask::is_shutting_down() && manager.stats().running == 1);
        assert_eq!(group.drain(std::time::Duration::ZERO).await.len(), 1);
        assert_eq!(member.await, Err(TaskError::Aborted));
    });
    for report in reports {
        let named = report.failures.iter().map(|failure| {
            let Failure {
                name,
                outcome,
                message,
                ..
            } = failure;
            (*name, *outcome, message.as_str())
        });
        let expected = (
            "call::errors::outlasts_its_group",
            Outcome::Aborted,
            "aborted at the time limit of its group's drain",
        );
        assert_eq!(named.collect::<Vec<_>>(), [expected], "{report}");
    }
    let mut events = recorded_of("outlasts_its_group");
    events.retain(|event| event.level <= Level::WARN);
    assert_eq!(events.len(), 2, "{events:?}");
    for event in events {
        assert_eq!(
            event.message,
            "task aborted at the time limit of its group's drain"
        );
    }
}

/// Behaviour 22.
#[test]
fn three_tasks_that_fail_during_the_drain_are_all_in_the_report() {
    #[background(log = "off")]
    async fn fails_in_the_drain(number: u32, token: ShutdownToken) -> Result<(), String> {
        token.cancelled().await;
        if number == 3 {
            panic!("number 3");
        }
        Err(format!("number {number}"))
    }
    let reports = on_both_flavors(async |_| {
        for number in 1..=3 {
            fails_in_the_drain(number);
        }
    });
    for report in reports {
        assert!(!report.is_clean());
        let mut failures = report.failures.clone();
        failures.sort_by_key(|failure| failure.id);
        let messages: Vec<_> = failures
            .iter()
            .map(|failure| (failure.outcome, failure.message.as_str()))
            .collect();
        assert_eq!(
            messages,
            [
                (Outcome::Failed, "number 1"),
                (Outcome::Failed, "number 2"),
                (Outcome::Panicked, "number 3")
            ]
        );
        assert_eq!(failures[2].location.as_ref().unwrap().file, file!());
        let table = report.to_string();
        for number in 1..=3 {
            assert!(table.contains(&format!("number {number}")), "{table}");
        }
    }
}
