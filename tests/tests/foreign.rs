//! What is not ours may panic at any moment: subscribers, wakers, arguments. No call is lost for it, and no shutdown hangs.

use bgtask::{Manager, Outcome, ShutdownToken, Stats, background};
use bgtask_tests::{blocking_until, manager_within, runtimes, subscribe, until};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

const SHORT: Duration = Duration::from_millis(50);

/// Panics once where it is told to, or every time.
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

    fn reach(&self, place: &str) {
        if place == self.at && (!self.has_panicked.swap(true, Ordering::SeqCst) || self.every_time)
        {
            panic!("the subscriber panics at {place}");
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
async fn ends() {}

#[background]
async fn fails() -> Result<(), String> {
    Err("its own error".to_owned())
}

#[background]
async fn panics() {
    panic!("its own panic");
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
fn a_subscriber_that_panics_at_every_event_is_survived() {
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

/// Once the count is zero the process may exit: whoever listens has to have heard of it by then.
#[test]
fn an_error_that_nobody_holds_is_reported_before_its_task_is_accounted_for() {
    /// How many tasks run when one is reported as failed.
    struct Counts(Arc<Mutex<Vec<u64>>>);
    impl tracing::Subscriber for Counts {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "bgtask" && *metadata.level() == tracing::Level::ERROR
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

#[background(log = "off")]
async fn gives_its_token_away(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token.clone());
    std::future::pending::<()>().await;
}

#[test]
fn a_waker_that_panics_does_not_hang_the_shutdown() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }
    for runtime in runtimes() {
        let manager = manager_within(SHORT, &runtime);
        let report = runtime.block_on(async {
            let (to, token) = oneshot::channel();
            gives_its_token_away(to);
            let token = token.await.unwrap();
            let mut fired = Box::pin(token.cancelled());
            let waker = Waker::from(Arc::new(Panics));
            assert!(
                fired
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            manager.shutdown("a waker panics").await
        });
        assert_eq!(report.totals.aborted, 1, "{report}");
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("an argument that panics while it is dropped");
    }
}

#[background]
async fn takes(_argument: PanicsWhenDropped) {}

#[test]
fn an_argument_of_a_refused_call_that_panics_is_not_the_callers_panic() {
    let [runtime, _] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    runtime.block_on(async {
        manager.shutdown("over").await;
        let handle = catch_unwind(|| takes(PanicsWhenDropped)).expect("the call returns");
        assert!(handle.await.is_err());
    });
}

#[background(log = "off")]
async fn throws_on() {
    resume_unwind(Box::new("thrown on"));
}

#[test]
fn a_payload_thrown_on_is_not_given_the_place_of_an_earlier_panic() {
    let places = Arc::new(Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .on_panic({
            let places = places.clone();
            move |task| places.lock().unwrap().push(task.location.cloned())
        })
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let _ = catch_unwind(|| panic!("an unrelated panic, on the thread that polls"));
        let _ = throws_on().await;
        let _ = panics().await;
        manager.shutdown("over").await;
    });
    let places = places.lock().unwrap();
    assert_eq!(places[0], None);
    assert_eq!(
        places[1].as_ref().map(|place| place.file.as_str()),
        Some(file!())
    );
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

/// With a subscriber, since making the other call's span is contained too.
#[test]
fn a_call_made_while_a_task_unwinds_does_not_lose_the_place_of_its_panic() {
    let places = Arc::new(Mutex::new(Vec::new()));
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .on_panic({
            let places = places.clone();
            move |task| places.lock().unwrap().push(task.location.cloned())
        })
        .install_on(runtime.handle())
        .unwrap();
    let _subscribed = subscribe(Panicking::once("nowhere"));
    runtime.block_on(async {
        let _ = panics_with_something_that_calls().await;
        manager.shutdown("over").await;
    });
    assert!(matches!(&places.lock().unwrap()[..], [Some(_)]));
}

#[background(log = "off")]
fn blocks(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[test]
fn an_abandoned_task_that_ends_after_all_is_no_second_end() {
    let outcomes = Arc::new(Mutex::new(Vec::<Outcome>::new()));
    let [_, runtime] = runtimes();
    let manager = Manager::builder()
        .grace(SHORT)
        .on_finish({
            let outcomes = outcomes.clone();
            move |task| outcomes.lock().unwrap().push(task.outcome)
        })
        .install_on(runtime.handle())
        .unwrap();
    let (open, gate) = mpsc::channel();
    runtime.block_on(async {
        let task = blocks(gate);
        until("it runs", || {
            manager.tasks()[0].state == bgtask::TaskState::Running
        })
        .await;
        let report = manager.shutdown("over").await;
        assert_eq!(report.totals.abandoned, 1);
        drop(open);
        assert_eq!(task.await, Ok(()), "its handle hears of it all the same");
    });
    assert_eq!(*outcomes.lock().unwrap(), []);
    assert_eq!(manager.stats().abandoned, 1);
    assert_eq!(manager.stats().succeeded, 0);
}

#[test]
fn a_first_manager_made_while_a_thread_unwinds_aborts_nothing() {
    struct Installs;
    impl Drop for Installs {
        fn drop(&mut self) {
            let [runtime, _] = runtimes();
            let manager = Manager::builder().install_on(runtime.handle()).unwrap();
            runtime.block_on(async { drop(ends()) });
            blocking_until("it is counted", || manager.stats().accepted == 1);
        }
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _installs = Installs;
        panic!("unwinds");
    }));
    assert!(unwound.is_err());
}

/// A subscriber whose drop makes a call that its policy refuses.
struct CallsWhenDropped;

impl Drop for CallsWhenDropped {
    fn drop(&mut self) {
        refused();
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
        // The first runs, the second is refused and logged, and the line of the third is held back with its subscriber.
        refused();
        refused();
        tracing::subscriber::with_default(CallsWhenDropped, || drop(refused()));
        // This line takes the place of that one, whose subscriber nobody else has.
        tracing::subscriber::with_default(CallsWhenDropped, || drop(refused()));
        done.send(()).unwrap();
    });
    is_done
        .recv_timeout(bgtask_tests::FOREVER)
        .expect("a call hangs");
    calls.join().unwrap();
}
