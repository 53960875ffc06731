//! Panics: in a body, an argument, an output, a hook or an error's `Display`. Each is reported, and none breaks the accounts.

use bgtask::{Manager, TaskError, background};
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

/// Asserts one report per flavor, in the task's span, with its name, the message and the location.
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

/// Behaviour 19.
#[test]
fn a_panic_before_the_first_await_is_reported_and_the_process_lives() {
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

/// Behaviour 19.
#[test]
fn a_panic_after_an_await_is_reported_the_same() {
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

/// Behaviour 19.
#[test]
fn a_panic_in_a_blocking_function_is_reported_the_same() {
    #[background]
    fn panics_blocking() {
        panic!("plainly");
    }
    record_events();
    on_both_flavors(async |manager| {
        panics_blocking();
        until("it panicked", || manager.stats().panicked == 1).await;
    });
    assert_panic_reported("panics_blocking", "plainly");
}

/// Behaviour 19.
#[test]
fn a_panic_with_a_payload_that_is_no_string_is_reported_the_same() {
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

/// Behaviour 19.
#[test]
fn a_payload_that_panics_while_it_is_dropped_is_contained() {
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

/// Behaviour 23.
#[test]
fn hooks_that_panic_break_no_accounting_and_are_reported() {
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

/// Behaviour 23.
#[test]
fn an_error_whose_display_panics_breaks_no_accounting() {
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

/// Behaviour 24.
#[test]
fn a_panic_while_a_future_is_dropped_is_contained_and_reported() {
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

/// Behaviour 24.
#[test]
fn a_panic_while_an_output_is_dropped_is_contained_and_reported() {
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

/// Behaviour 24.
#[test]
fn a_future_that_panics_in_its_poll_and_again_in_its_drop_is_contained() {
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
            // The future itself is dropped outside this panic.
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
fn log_off_silences_events_and_not_the_hooks() {
    #[background(log = "off")]
    async fn panics_silently() {
        panic!("silently");
    }
    record_events();
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let messages = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let hook = messages.clone();
        bgtask::on_panic(move |task| hook.lock().unwrap().push(task.message.to_owned()));
        let _ = panics_silently().await;
        manager.shutdown("end").await;
    });
    assert_eq!(*messages.lock().unwrap(), ["silently"]);
    assert!(recorded_of("panics_silently").is_empty());
}
