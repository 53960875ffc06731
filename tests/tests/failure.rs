//! Failure: behaviours 19 to 24.

use bgtask::{Failure, Manager, Outcome, ShutdownToken, TaskError, background};
use bgtask_tests::{
    BoxedFuture, on_both_flavors, record_events, recorded, recorded_of, runtimes, until,
};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tracing::Level;

/// One report a flavor, each in the task's span, naming it, saying what and where.
fn assert_panic_reported(task: &str, message: &str) {
    let reports: Vec<_> = recorded_of(task)
        .into_iter()
        .filter(|event| event.message == "task panicked")
        .collect();
    assert_eq!(reports.len(), 2, "{task}: {reports:#?}");
    for report in reports {
        assert_eq!(report.level, Level::ERROR);
        assert!(report.field("name").ends_with(task));
        assert_eq!(report.field("message"), "");
        assert!(report.field("panic").contains(message), "{report:?}");
        assert!(report.field("location").contains(file!()), "{report:?}");
        assert_eq!(report.span_field("id"), report.field("id"));
        assert!(report.span_field("name").ends_with(task));
    }
}

#[test]
fn b19_a_panic_before_the_first_await_is_reported_and_the_process_lives() {
    #[background]
    async fn panics_at_once() {
        panic!("at once");
    }
    record_events();
    on_both_flavors(async |manager| {
        let Err(TaskError::Panicked {
            message, location, ..
        }) = panics_at_once().await
        else {
            panic!("it should have panicked");
        };
        assert_eq!(message, "at once");
        assert_eq!(location.unwrap().file, file!());
        assert_eq!(manager.stats().panicked, 1);
    });
    assert_panic_reported("panics_at_once", "at once");
}

#[test]
fn b19_a_panic_after_an_await_is_reported_the_same() {
    #[background]
    async fn panics_later() {
        tokio::task::yield_now().await;
        panic!("later {}", 1);
    }
    record_events();
    on_both_flavors(async |manager| {
        panics_later();
        until("it panicked", || manager.stats().panicked == 1).await;
    });
    assert_panic_reported("panics_later", "later 1");
}

#[test]
fn b19_a_panic_in_a_plain_function_is_reported_the_same() {
    #[background]
    fn panics_plainly() {
        panic!("plainly");
    }
    record_events();
    on_both_flavors(async |manager| {
        panics_plainly();
        until("it panicked", || manager.stats().panicked == 1).await;
    });
    assert_panic_reported("panics_plainly", "plainly");
}

#[test]
fn b19_a_panic_whose_payload_is_no_string_is_reported_the_same() {
    #[background]
    async fn panics_with_a_number() {
        std::panic::panic_any(42);
    }
    record_events();
    on_both_flavors(async |manager| {
        panics_with_a_number();
        until("it panicked", || manager.stats().panicked == 1).await;
    });
    assert_panic_reported("panics_with_a_number", "not a string");
}

#[test]
fn b19_a_payload_that_panics_while_it_is_dropped_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload too");
        }
    }
    #[background]
    async fn panics_with_a_bomb() {
        std::panic::panic_any(Bomb);
    }
    #[background]
    async fn unaffected() -> u32 {
        1
    }
    on_both_flavors(async |manager| {
        assert!(panics_with_a_bomb().await.is_err());
        assert_eq!(unaffected().await, Ok(1));
        assert_eq!(manager.stats().panicked, 1);
    });
}

#[test]
fn b20_an_error_that_nobody_holds_is_logged_with_its_sources() {
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
        // Logged before it is accounted for: nothing has to be awaited here.
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

#[test]
fn b20_an_error_that_owns_nothing_is_logged_with_policies_too() {
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

#[test]
fn an_argument_of_a_refused_call_that_panics_is_reported() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("an argument");
        }
    }
    #[background]
    async fn is_not_to_run(_bomb: Bomb) {}
    record_events();
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    runtime.block_on(async {
        manager.shutdown("over").await;
        drop(is_not_to_run(Bomb));
    });
    let mut events = recorded_of("is_not_to_run");
    events.retain(|event| event.message == "argument of a refused call panicked on drop");
    let panics: Vec<_> = events.iter().map(|event| event.field("panic")).collect();
    assert_eq!(panics, ["an argument"]);
}

#[test]
fn b20_an_error_goes_to_whoever_holds_the_handle_and_is_not_logged() {
    #[background]
    async fn fails_seen() -> Result<(), &'static str> {
        Err("for the owner")
    }
    record_events();
    on_both_flavors(async |_| assert_eq!(fails_seen().await, Ok(Err("for the owner"))));
    let events = recorded_of("fails_seen");
    assert!(events.iter().all(|event| event.message != "task failed"));
}

#[test]
fn b20_an_error_is_logged_when_its_handle_is_dropped_unread() {
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
        // In the task's span, which has not been needed since.
        assert_eq!(logged[before].field("id"), logged[before].span_field("id"));
    });
}

#[test]
fn b20_errors_of_every_kind_of_type_are_found_and_printed() {
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

#[test]
fn b20_an_output_that_is_a_type_parameter_is_not_judged() {
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

#[test]
fn b21_ending_because_the_token_fired_is_no_failure() {
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

#[test]
fn b21_a_cancellation_without_a_shutdown_is_logged() {
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

#[test]
fn b21_a_member_that_outlasts_its_groups_drain_is_named_so_also_in_the_report_of_a_shutdown() {
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
            "failure::outlasts_its_group",
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

#[test]
fn b22_three_tasks_that_fail_during_the_drain_are_all_in_the_report() {
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
        let said: Vec<_> = failures
            .iter()
            .map(|failure| (failure.outcome, failure.message.as_str()))
            .collect();
        assert_eq!(
            said,
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

#[test]
fn b23_hooks_that_panic_break_no_accounting_and_are_reported() {
    #[background(log = "off")]
    async fn ends_somehow(how: u32) -> Result<(), &'static str> {
        match how {
            0 => Ok(()),
            1 => Err("somehow"),
            _ => panic!("somehow"),
        }
    }
    record_events();
    let calls = Arc::new(AtomicU32::new(0));
    for runtime in runtimes() {
        let count = || {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
                panic!("a bad hook");
            }
        };
        let (on_panic, on_error, on_finish) = (count(), count(), count());
        let manager = Manager::builder()
            .on_panic(move |_| on_panic())
            .on_error(move |_| on_error())
            .on_finish(move |_| on_finish())
            .install_on(runtime.handle())
            .unwrap();
        let report = runtime.block_on(async {
            for how in 0..3 {
                let _ = ends_somehow(how).await;
            }
            manager.shutdown("end").await
        });
        let totals = report.totals;
        assert_eq!(
            (totals.succeeded, totals.failed, totals.panicked),
            (1, 1, 1)
        );
        assert!(report.stragglers.is_empty());
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2 * 5);
    let reports = recorded(|event| {
        event.message == "hook panicked" && event.field("name").ends_with("ends_somehow")
    });
    assert_eq!(reports.len(), 10);
}

#[test]
fn b23_an_error_whose_display_panics_breaks_no_accounting() {
    #[derive(Debug)]
    struct BadError;
    impl fmt::Display for BadError {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no words for it");
        }
    }
    impl std::error::Error for BadError {}
    #[background]
    async fn fails_without_words() -> Result<(), BadError> {
        Err(BadError)
    }
    record_events();
    on_both_flavors(async |manager| {
        fails_without_words();
        until("it failed", || manager.stats().failed == 1).await;
    });
    let mut events = recorded_of("fails_without_words");
    events.retain(|event| event.message == "task failed");
    assert_eq!(events.len(), 2);
    assert!(events[0].field("error").contains("no words for it"));
}

struct PanicsOnDrop(&'static str);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("dropped: {}", self.0);
    }
}

#[test]
fn b24_a_panic_while_a_future_is_dropped_is_contained_and_reported() {
    #[background]
    async fn holds_a_bomb(started: oneshot::Sender<()>) {
        let _bomb = PanicsOnDrop("the future");
        let _ = started.send(());
        std::future::pending::<()>().await;
    }
    record_events();
    on_both_flavors(async |manager| {
        let (sender, started) = oneshot::channel();
        let task = holds_a_bomb(sender);
        started.await.unwrap();
        task.abort();
        assert_eq!(task.await, Err(TaskError::Aborted));
        assert_eq!(manager.stats().aborted, 1);
    });
    let mut events = recorded_of("holds_a_bomb");
    events.retain(|event| event.message == "task panicked");
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].field("panic"), "dropped: the future");
    assert_eq!(events[0].field("during"), "drop");
}

#[test]
fn b24_a_panic_while_an_output_is_dropped_is_contained_and_reported() {
    #[background]
    async fn returns_a_bomb() -> PanicsOnDrop {
        PanicsOnDrop("the output")
    }
    #[background(concurrency = 1)]
    async fn returns_a_bomb_in_its_turn() -> PanicsOnDrop {
        PanicsOnDrop("the output")
    }
    record_events();
    on_both_flavors(async |manager| {
        returns_a_bomb();
        returns_a_bomb_in_its_turn();
        until("they ended", || manager.stats().running == 0).await;
        assert_eq!(manager.stats().succeeded, 2);
    });
    for name in ["returns_a_bomb", "returns_a_bomb_in_its_turn"] {
        let mut events = recorded_of(name);
        events.retain(|event| event.level == Level::ERROR);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0].field("panic"), "dropped: the output");
    }
}

#[test]
fn b24_a_future_that_panics_in_its_poll_and_again_in_its_drop_is_contained() {
    struct Worst;
    impl Future for Worst {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("in the poll");
        }
    }
    impl Drop for Worst {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in the drop");
            }
        }
    }
    #[background(log = "off")]
    async fn drives(mut future: BoxedFuture<()>) {
        std::future::poll_fn(|cx| {
            let poll =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(cx)));
            // The future itself is dropped outside of this panic.
            match poll {
                Ok(poll) => poll,
                Err(_) => Poll::Ready(()),
            }
        })
        .await;
    }
    on_both_flavors(async |manager| {
        drives(Box::pin(Worst));
        until("it ended", || manager.stats().running == 0).await;
        assert_eq!(manager.stats().panicked, 1);
    });
}

#[test]
fn log_off_silences_reports_and_not_the_hooks() {
    #[background(log = "off")]
    async fn panics_silently() {
        panic!("silently");
    }
    record_events();
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let hook = told.clone();
        bgtask::on_panic(move |task| hook.lock().unwrap().push(task.message.to_owned()));
        let _ = panics_silently().await;
        manager.shutdown("end").await;
    });
    assert_eq!(*told.lock().unwrap(), ["silently"]);
    assert!(recorded_of("panics_silently").is_empty());
}
