//! The parts that the models of both checkers share: a manager that is not installed, calls without a macro, bodies that record their
//! ends, and the mistake that the code makes on purpose. Knows nothing of the checkers.

use crate::handler::{Handler, HandlerSpec, Kind};
use crate::handler::{Log, OnShutdown, WarnAfter};
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::Hooks;
use crate::policy::Policies;
use crate::stats::TaskId;
use crate::task::{Body, BodyFailure, BoxedTask, Task};
use crate::tracker::shared::Shared;
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{ShardWriter, Tracker};
use std::any::Any;
use std::cell::Cell;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
// The standard library's, so that a note is no step of the model.
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// One model: its invariant, and how it is run.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The name in the tests and in `docs/models.md`.
    pub name: &'static str,
    /// The property that holds in every order of the steps.
    pub invariant: &'static str,
    /// The steps.
    pub run: fn(),
    /// The mistakes that the model must find.
    pub mistakes: &'static [&'static str],
    /// The maximum number of preemptions under loom. All if absent.
    pub preemptions: Option<usize>,
}

thread_local! {
    // Both checkers run all threads of a model on the thread that started it.
    static MISTAKE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Has the code make a mistake in the models that this thread runs from now on.
pub fn break_on_purpose(mistake: &'static str) {
    MISTAKE.set(Some(mistake));
}

/// Returns whether the code makes a mistake.
#[allow(dead_code)] // Loom tries all orders, with and without a mistake.
pub(crate) fn makes_mistake() -> bool {
    MISTAKE.get().is_some()
}

pub(crate) fn is_broken(mistake: &str) -> bool {
    MISTAKE.get() == Some(mistake)
}

/// Fails the model unless its invariant holds.
macro_rules! holds {
    ($condition:expr, $($what:tt)+) => {
        assert!($condition, "the invariant does not hold: {}", format_args!($($what)+))
    };
}
pub(crate) use holds;

const fn handler(kind: Kind, on_shutdown: OnShutdown) -> Handler {
    Handler::new(HandlerSpec {
        name: "modelled",
        path: || "modelled",
        module_path: "models",
        file: "models",
        line: 1,
        kind,
        takes_token: true,
        on_shutdown,
        log: Log::Off,
        warn_after: WarnAfter::Default,
        policies: None::<&Policies>,
    })
}

pub(crate) static ASYNC: Handler = handler(Kind::Async, OnShutdown::Drain);
pub(crate) static BLOCKING: Handler = handler(Kind::Blocking, OnShutdown::Drain);

/// A subscriber that drops all events. Without a subscriber, the reports of all schedules would go to stderr.
struct Quiet;

impl tracing::Subscriber for Quiet {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        false
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::OFF)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Drops all reports from now on.
pub(crate) fn be_quiet() {
    // An earlier call has set the same subscriber.
    let _ = tracing::subscriber::set_global_default(Quiet);
}

/// Returns the tracker of a manager whose runtime runs nothing.
pub(crate) fn tracker() -> Arc<Tracker> {
    tracker_with_grace(Duration::from_secs(3600))
}

pub(crate) fn tracker_with_grace(grace: Duration) -> Arc<Tracker> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing of the system");
    }
    let runtime = RUNTIME.with(|runtime| runtime.handle().clone());
    Arc::new(Tracker::new(Arc::new(Shared::new(
        runtime,
        grace,
        Hooks::default(),
        false,
    ))))
}

/// The end of one call's body.
#[derive(Debug, Default)]
pub(crate) struct CallState {
    pub(crate) begun: AtomicU32,
    pub(crate) dropped: AtomicU32,
    pub(crate) taken: AtomicU32,
}

impl CallState {
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// The number of polls of a body that is never ready.
pub(crate) const NEVER: u32 = u32::MAX;

/// A body that is ready after `polls` polls, and whose output must be taken or dropped.
struct Noted {
    fate: Arc<CallState>,
    polls: u32,
    is_there: bool,
}

impl Body for Noted {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Box<BodyFailure>>> {
        self.fate.begun.fetch_add(1, Ordering::Relaxed);
        match self.polls {
            0 => return Poll::Ready(None),
            NEVER => return Poll::Pending,
            _ => {}
        }
        self.polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn needs_owner(&self) -> bool {
        true
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.note_gone();
    }

    fn take(mut self: Pin<&mut Self>, into: &mut dyn Any) {
        if self.is_there
            && let Some(into) = into.downcast_mut::<Option<()>>()
        {
            self.is_there = false;
            self.fate.taken.fetch_add(1, Ordering::Relaxed);
            *into = Some(());
        }
    }
}

impl Noted {
    fn note_gone(&mut self) {
        if std::mem::take(&mut self.is_there) {
            self.fate.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.note_gone();
    }
}

/// Returns a task that notes what becomes of its body.
pub(crate) fn noted(fate: &Arc<CallState>, polls: u32) -> BoxedTask {
    Task::with_body(Noted {
        fate: fate.clone(),
        polls,
        is_there: true,
    })
}

/// Makes a call as the call path does, up to the point where it hands work to the runtime. Returns the reference to the call, and
/// whether its slot has a runner.
pub(crate) fn call(
    writer: &mut ShardWriter,
    handler: &'static Handler,
    task: BoxedTask,
) -> Option<(TaskId, TaskRef, bool)> {
    let (id, task_ref) = writer.accept(handler);
    let task_ref = task_ref?;
    let has_runner = task_ref.fill(CallInfo::new(id, handler, Location::caller()), task);
    Some((id, task_ref, has_runner))
}
