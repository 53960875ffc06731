//! Subscribers that panic: no call is lost, no outcome changes, and the shutdown ends.

use bgtask::{Manager, Stats, background};
use bgtask_tests::{FOREVER, blocking_until, manager_within, runtimes, subscribe, until};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Level, Metadata};

const SHORT: Duration = Duration::from_millis(50);

#[background]
async fn ends() {}

#[background]
async fn panics() {
    panic!("its own panic");
}

/// A subscriber that panics at one point, once or every time.
struct Panicking {
    at: &'static str,
    every_time: bool,
    has_panicked: AtomicBool,
}

impl Panicking {
    fn once(at: &'static str) -> Self {
        Self {
            at,
            every_time: false,
            has_panicked: AtomicBool::new(false),
        }
    }

    fn reach(&self, point: &str) {
        if point == self.at && (!self.has_panicked.swap(true, Ordering::SeqCst) || self.every_time)
        {
            panic!("the subscriber panics at {point}");
        }
    }
}

impl tracing::Subscriber for Panicking {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "bgtask"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.reach("new span");
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.reach(&message.0);
        self.reach("event");
    }

    fn enter(&self, _: &Id) {
        self.reach("enter");
    }

    fn exit(&self, _: &Id) {
        self.reach("exit");
    }

    fn try_close(&self, _: Id) -> bool {
        self.reach("close");
        true
    }
}

#[background]
async fn fails() -> Result<(), String> {
    Err("its own error".to_owned())
}

fn totals_under(subscriber: Panicking, call: fn()) -> Stats {
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let _subscribed = subscribe(subscriber);
    runtime.block_on(async {
        call();
        until("it has ended", || manager.stats().running == 0).await;
    });
    manager.stats()
}

#[test]
fn a_subscriber_that_panics_loses_no_call_and_changes_no_outcome() {
    for at in [
        "new span",
        "task started",
        "task finished",
        "enter",
        "exit",
        "close",
    ] {
        let totals = totals_under(Panicking::once(at), || drop(ends()));
        assert_eq!(totals.succeeded, 1, "{at}: {totals:?}");
    }
    let totals = totals_under(Panicking::once("task failed"), || drop(fails()));
    assert_eq!(totals.failed, 1, "{totals:?}");
    let totals = totals_under(Panicking::once("task panicked"), || drop(panics()));
    assert_eq!(totals.panicked, 1, "{totals:?}");
}

#[test]
fn a_subscriber_that_panics_at_every_event_changes_no_outcome() {
    let subscriber = Panicking {
        every_time: true,
        ..Panicking::once("event")
    };
    let totals = totals_under(subscriber, || {
        ends();
        fails();
        panics();
    });
    assert_eq!(
        (totals.succeeded, totals.failed, totals.panicked),
        (1, 1, 1)
    );
}

/// Once the count is zero the process may exit, so a subscriber must have received the event by then.
#[test]
fn an_error_without_an_owner_is_reported_before_its_task_is_retired() {
    /// Records how many tasks run when one is reported as failed.
    struct Counts(Arc<Mutex<Vec<u64>>>);
    impl tracing::Subscriber for Counts {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "bgtask" && *metadata.level() == Level::ERROR
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.lock().unwrap().push(bgtask::stats().running);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let counted = Arc::new(Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let _subscribed = subscribe(Counts(counted.clone()));
    runtime.block_on(async {
        drop(fails());
        until("it has ended", || manager.stats().running == 0).await;
    });
    assert_eq!(*counted.lock().unwrap(), [1]);
}

/// A subscriber that counts its events, and may panic when it is dropped.
struct Counting {
    lines: Arc<AtomicUsize>,
    panics_when_dropped: bool,
    is_dropped: Arc<AtomicBool>,
}

impl tracing::Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "bgtask" && *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.lines.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::SeqCst);
        assert!(!self.panics_when_dropped, "a subscriber's drop");
    }
}

#[background(rate(limit = "1/1h", overflow = "refuse"))]
async fn is_refused_under_one_subscriber() {}

#[background(rate(limit = "1/1h", overflow = "refuse"))]
async fn is_refused_under_another() {}

#[test]
fn a_subscriber_whose_drop_panics_does_not_stop_suppressed_lines() {
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let _entered = runtime.enter();
    for (panics_when_dropped, call) in [
        (true, (|| drop(is_refused_under_one_subscriber())) as fn()),
        (false, || drop(is_refused_under_another())),
    ] {
        let (lines, is_dropped) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let subscriber = Counting {
            lines: lines.clone(),
            panics_when_dropped,
            is_dropped: is_dropped.clone(),
        };
        // The first refusal is logged at once, the last one by a helper thread, which then drops the subscriber.
        with_default(subscriber, || (0..5).for_each(|_| call()));
        blocking_until("the last line is written", || {
            lines.load(Ordering::SeqCst) == 2
        });
        blocking_until("the subscriber is dropped", || {
            is_dropped.load(Ordering::SeqCst)
        });
    }
    runtime.block_on(manager.shutdown("the test ends"));
}

#[background(log = "off")]
async fn panics_with_something_that_calls() {
    struct Calls;
    impl Drop for Calls {
        fn drop(&mut self) {
            ends();
        }
    }
    let _calls = Calls;
    panic!("its own panic");
}

/// With a subscriber, because bgtask also catches panics while it opens the span of the other call.
#[test]
fn a_call_made_while_a_task_unwinds_does_not_lose_the_location_of_its_panic() {
    let locations = Arc::new(Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .on_panic({
            let locations = locations.clone();
            move |task| locations.lock().unwrap().push(task.location.cloned())
        })
        .install_on(runtime.handle())
        .unwrap();
    let _subscribed = subscribe(Panicking::once("nowhere"));
    runtime.block_on(async {
        let _ = panics_with_something_that_calls().await;
        manager.shutdown("over").await;
    });
    assert!(matches!(&locations.lock().unwrap()[..], [Some(_)]));
}

/// A subscriber whose drop makes a call that its policy refuses.
struct CallsWhenDropped;

impl Drop for CallsWhenDropped {
    fn drop(&mut self) {
        // Not on the helper thread that logs suppressed refusals: its calls belong to the only manager of the process.
        if tokio::runtime::Handle::try_current().is_ok() {
            refused();
        }
    }
}

impl tracing::Subscriber for CallsWhenDropped {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[background(rate(limit = "1/h", overflow = "refuse"))]
async fn refused() {}

#[test]
fn a_subscriber_whose_drop_makes_a_refused_call_does_not_hang_the_next_one() {
    let (done, is_done) = mpsc::channel();
    let calls = std::thread::spawn(move || {
        let [_, runtime] = runtimes();
        let _manager = manager_within(SHORT, &runtime);
        let _entered = runtime.enter();
        // The first runs, the second is refused and logged, and the event of the third is suppressed and keeps its subscriber.
        refused();
        refused();
        with_default(CallsWhenDropped, || drop(refused()));
        // This event replaces that one, which has the last reference to its subscriber.
        with_default(CallsWhenDropped, || drop(refused()));
        done.send(()).unwrap();
    });
    is_done.recv_timeout(FOREVER).expect("a call hangs");
    calls.join().unwrap();
}
