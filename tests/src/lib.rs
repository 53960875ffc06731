//! The helpers of the tests: runtimes with a manager, conditions to wait for, processes, and a recorder of events and spans.

#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

/// Compiles and runs the snippets of the README and of the pages in docs, but for the guide, which is a crate of its own. Here, because the
/// packaged crate does not contain them.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/blocks.md")]
mod page_on_blocks {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/calls.md")]
mod page_on_calls {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/dashboard.md")]
mod page_on_the_dashboard {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/managers.md")]
mod page_on_managers {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/options.md")]
mod page_on_options {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/policies.md")]
mod page_on_policies {}

#[cfg(unix)]
pub mod chaos;
#[cfg(unix)]
pub mod process;
mod recorder;

pub use recorder::{Event, Recorder, Span};

use bgtask::{Manager, ShutdownReport};
use std::future::Future;
use std::pin::Pin;
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Far longer than any step takes: a test that waits this long has failed on any machine.
pub const FOREVER: Duration = Duration::from_secs(60);

/// Builds one runtime of each flavor.
pub fn runtimes() -> [Runtime; 2] {
    let build = |mut builder: Builder| builder.enable_all().build().expect("a runtime");
    let mut multi_thread = Builder::new_multi_thread();
    multi_thread.worker_threads(2);
    [build(Builder::new_current_thread()), build(multi_thread)]
}

/// Installs a manager with `grace` on a runtime.
pub fn manager_within(grace: Duration, runtime: &Runtime) -> Manager {
    let installed = Manager::builder().grace(grace).install_on(runtime.handle());
    installed.expect("the runtime's only manager")
}

/// Sets this thread's subscriber, as long as what is returned lives.
///
/// Beside a second one: as long as there is one alone, tracing asks the subscriber of the thread that opens a span first whether
/// anybody wants it, and that may be the thread of another test, which has none.
pub fn subscribe(
    subscriber: impl tracing::Subscriber + Send + Sync,
) -> (tracing::subscriber::DefaultGuard, tracing::Dispatch) {
    let beside = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    (tracing::subscriber::set_default(subscriber), beside)
}

/// Runs `test` on a runtime of each flavor under its own manager with `grace`, and shuts that down.
pub fn on_both_flavors_within<F>(grace: Duration, test: F) -> [ShutdownReport; 2]
where
    F: AsyncFn(&Manager),
{
    runtimes().map(|runtime| {
        let manager = manager_within(grace, &runtime);
        let report = runtime.block_on(async {
            test(&manager).await;
            manager.shutdown("the test ends").await
        });
        runtime.shutdown_background();
        report
    })
}

/// The same with a grace period that no test reaches.
pub fn on_both_flavors<F>(test: F) -> [ShutdownReport; 2]
where
    F: AsyncFn(&Manager),
{
    on_both_flavors_within(FOREVER, test)
}

/// Runs `test` on a runtime with one thread and a paused clock, which jumps ahead when every task waits, under its own manager,
/// and shuts that down.
pub fn in_paused_time<F>(test: F) -> ShutdownReport
where
    F: AsyncFn(&Manager),
{
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let manager = manager_within(FOREVER, &runtime);
    let report = runtime.block_on(async {
        test(&manager).await;
        manager.shutdown("the test ends").await
    });
    runtime.shutdown_background();
    report
}

/// Lets every ready task run, without advancing the clock.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until `condition` holds, and lets the runtime work meanwhile.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < FOREVER, "waited for ever until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The same on a plain thread.
pub fn blocking_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < FOREVER, "waited for ever until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Prints no message for panics with this payload, of which a process has one. Two thousand messages would hide those of other tests.
pub fn silence_panics(payload: &'static str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // bgtask installs its hook with the first manager, which must not happen between the two calls.
        let [runtime, _] = runtimes();
        drop(manager_within(FOREVER, &runtime));
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&payload) {
                print(info);
            }
        }));
    });
}

/// A boxed future.
pub type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Makes the recorder the subscriber of the whole process. Tests of one process select their events by task names.
pub fn record_events() {
    Recorder::global();
}

/// Makes the recorder the subscriber of the whole process, and keeps the spans that close from now on.
pub fn record_spans() -> Recorder {
    Recorder::global().clone().keeping_spans()
}

/// Returns the recorded events that `fits` selects.
pub fn recorded(fits: impl Fn(&Event) -> bool) -> Vec<Event> {
    Recorder::global().events(fits)
}

/// Returns the recorded events about tasks whose name ends with `name`, and those inside their spans.
pub fn recorded_of(name: &str) -> Vec<Event> {
    recorded(|event| {
        let mut spans = event.spans.iter();
        event.field("name").ends_with(name)
            || spans
                .any(|span| span.fields.contains_key("name") && span.field("name").ends_with(name))
    })
}
