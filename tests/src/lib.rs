//! What the behaviour tests share: runtimes with a manager, conditions to wait for, a recording subscriber.

#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

/// Compiles and runs the snippets of the README and of the pages in docs. Here, because the packaged crate does not contain them.
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
#[doc = include_str!("../../docs/policies.md")]
mod page_on_policies {}

#[cfg(unix)]
pub mod chaos;
#[cfg(unix)]
pub mod process;

use bgtask::{Manager, ShutdownReport};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Far beyond what anything here takes: a test that waits this long has failed, whatever the machine.
pub const FOREVER: Duration = Duration::from_secs(60);

/// One runtime of each flavor.
pub fn runtimes() -> [Runtime; 2] {
    let build = |mut builder: Builder| builder.enable_all().build().expect("a runtime");
    let mut multi_thread = Builder::new_multi_thread();
    multi_thread.worker_threads(2);
    [build(Builder::new_current_thread()), build(multi_thread)]
}

/// The manager of a runtime, with `grace`.
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

/// Runs `test` on a runtime of each flavor, under a manager of its own with `grace`, and shuts that down.
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

/// The same with a grace period that no test comes to the end of.
pub fn on_both_flavors<F>(test: F) -> [ShutdownReport; 2]
where
    F: AsyncFn(&Manager),
{
    on_both_flavors_within(FOREVER, test)
}

/// Runs `test` on a runtime of one thread whose clock stands still and jumps ahead whenever all of it waits, under a manager
/// of its own, and shuts that down.
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

/// Lets everything that can run do so, without the clock going on.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until `condition` holds, letting the runtime work in between.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < FOREVER, "waited for ever until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The same from a plain thread.
pub fn blocking_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < FOREVER, "waited for ever until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A boxed future, for tests that hand some around.
pub type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One event as the recording subscriber saw it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its level.
    pub level: tracing::Level,
    /// Its message.
    pub message: String,
    /// Its other fields.
    pub fields: BTreeMap<String, String>,
    /// The spans it stands in, innermost first: name and fields.
    pub spans: Vec<(String, BTreeMap<String, String>)>,
}

impl Event {
    /// The field's text, or nothing. An event in the span of its call leaves `name` and `id` to that.
    pub fn field(&self, name: &str) -> &str {
        let of_span = || {
            let mut spans = self.spans.iter();
            let (_, fields) = spans.find(|(span, _)| span == "task")?;
            fields.get(name).filter(|_| ["name", "id"].contains(&name))
        };
        let field = self.fields.get(name).or_else(of_span);
        field.map_or("", String::as_str)
    }

    /// The field of the innermost span, or nothing.
    pub fn span_field(&self, name: &str) -> &str {
        let innermost = self.spans.first();
        innermost
            .and_then(|(_, fields)| fields.get(name))
            .map_or("", String::as_str)
    }
}

static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());

fn events() -> MutexGuard<'static, Vec<Event>> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the recording subscriber for the whole process. Tests of one process tell their events apart by task names.
pub fn record_events() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Recorder);
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    });
}

/// What has been recorded and fits.
pub fn recorded(fits: impl Fn(&Event) -> bool) -> Vec<Event> {
    events()
        .iter()
        .filter(|event| fits(event))
        .cloned()
        .collect()
}

/// What has been recorded of tasks whose name ends with `name`.
pub fn recorded_of(name: &str) -> Vec<Event> {
    recorded(|event| {
        event.field("name").ends_with(name)
            || event
                .spans
                .iter()
                .any(|(_, fields)| fields.get("name").is_some_and(|own| own.ends_with(name)))
    })
}

struct Recorder;

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flatten();
        let spans = spans
            .map(|span| {
                let extensions = span.extensions();
                let fields = extensions.get::<Fields>();
                (
                    span.name().to_owned(),
                    fields.map(|fields| fields.0.clone()).unwrap_or_default(),
                )
            })
            .collect();
        let message = fields.0.remove("message").unwrap_or_default();
        events().push(Event {
            level: *event.metadata().level(),
            message,
            fields: fields.0,
            spans,
        });
    }
}
