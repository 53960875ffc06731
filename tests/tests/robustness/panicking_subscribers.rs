//! What is not ours may panic at any moment: subscribers, wakers, arguments. No call is lost for it, and no shutdown hangs.

use bgtask::{Group, Manager, Outcome, ShutdownToken, Stats, background};
use bgtask_tests::{
    FOREVER, blocking_until, manager_within, on_both_flavors, on_both_flavors_within, runtimes,
    subscribe, until,
};
use std::fmt::Debug;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Level, Metadata};

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

#[background(log = "off")]
async fn gives_its_token_away(token: ShutdownToken, to: oneshot::Sender<ShutdownToken>) {
    let _ = to.send(token.clone());
    pending::<()>().await;
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Polls `future` with a waker that panics.
fn poll_with_panicking_waker(future: Pin<&mut impl Future>) {
    let waker = Waker::from(Arc::new(PanickingWaker));
    let polled = future.poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[test]
fn a_waker_that_panics_does_not_hang_the_shutdown() {
    for runtime in runtimes() {
        let manager = manager_within(SHORT, &runtime);
        let report = runtime.block_on(async {
            let (to, token) = oneshot::channel();
            gives_its_token_away(to);
            let token = token.await.unwrap();
            let mut fired = Box::pin(token.cancelled());
            poll_with_panicking_waker(fired.as_mut());
            manager.shutdown("a waker panics").await
        });
        assert_eq!(report.totals.aborted, 1, "{report}");
    }
}

#[background(log = "off")]
async fn ends_with(until: oneshot::Receiver<()>) {
    let _ = until.await;
}

/// A task that awaits `future`, whose waker does not panic. Returned once the task waits.
async fn waits_beside(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let (waits, is_waiting) = oneshot::channel();
    let mut waits = Some(waits);
    let mut future = Box::pin(future);
    let task = tokio::spawn(poll_fn(move |cx| {
        let polled = future.as_mut().poll(cx);
        if let Some(waits) = waits.take() {
            let _ = waits.send(polled.is_pending());
        }
        polled
    }));
    assert!(is_waiting.await.unwrap());
    task
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_seeing_that_nothing_runs() {
    on_both_flavors(async |manager| {
        let group = Group::new();
        let (end, until) = oneshot::channel();
        group.run(|| ends_with(until));
        let mut panics = (Box::pin(group.idle()), Box::pin(manager.idle()));
        poll_with_panicking_waker(panics.0.as_mut());
        poll_with_panicking_waker(panics.1.as_mut());
        let of_group = group.clone();
        let others = [
            waits_beside(async move { of_group.idle().await }).await,
            waits_beside(bgtask::idle()).await,
        ];
        end.send(()).unwrap();
        for other in others {
            timeout(FOREVER / 6, other).await.expect("woken").unwrap();
        }
    });
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_seeing_that_mains_token_has_fired() {
    on_both_flavors(async |manager| {
        let token = manager.token();
        let mut panics = (
            Box::pin(token.cancelled()),
            Box::pin(manager.token().cancelled_owned()),
            Box::pin(token.run_until_cancelled(pending::<()>())),
        );
        poll_with_panicking_waker(panics.0.as_mut());
        poll_with_panicking_waker(panics.1.as_mut());
        poll_with_panicking_waker(panics.2.as_mut());
        let other = waits_beside(manager.token().cancelled_owned()).await;
        manager.request_shutdown("a waker panics");
        timeout(FOREVER / 6, other).await.expect("woken").unwrap();
    });
}

#[background(log = "off")]
async fn ends_with_its_token(token: ShutdownToken, begun: oneshot::Sender<()>) {
    let _ = begun.send(());
    token.cancelled().await;
}

#[background(log = "off")]
async fn polls_its_token_with_a_panicking_waker(token: ShutdownToken, begun: oneshot::Sender<()>) {
    let mut fired = Box::pin(token.cancelled());
    poll_with_panicking_waker(fired.as_mut());
    let _ = begun.send(());
    // Keeps that waker registered, and still learns of the shutdown.
    token.clone().cancelled_owned().await;
}

#[test]
fn a_waker_that_panics_does_not_keep_other_tasks_from_their_tokens() {
    let reports = on_both_flavors_within(FOREVER / 6, async |_| {
        for number in 0..9 {
            let (begins, begun) = oneshot::channel();
            match number {
                4 => polls_its_token_with_a_panicking_waker(begins),
                _ => ends_with_its_token(begins),
            };
            begun.await.unwrap();
        }
    });
    for report in reports {
        assert_eq!(report.straggler_count, 0, "{report}");
    }
}

/// A subscriber that counts what it is given, and panics when it is dropped if it is to.
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
fn a_subscriber_whose_drop_panics_does_not_stop_the_lines_that_are_held_back() {
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
        // The first refusal is logged at once, the last one by the thread, which then drops the subscriber.
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
        // Not on the thread that writes held-back lines: a call from there belongs to whichever manager is alone in the process.
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
        // The first runs, the second is refused and logged, and the line of the third is held back with its subscriber.
        refused();
        refused();
        with_default(CallsWhenDropped, || drop(refused()));
        // This line takes the place of that one, whose subscriber nobody else has.
        with_default(CallsWhenDropped, || drop(refused()));
        done.send(()).unwrap();
    });
    is_done.recv_timeout(FOREVER).expect("a call hangs");
    calls.join().unwrap();
}
