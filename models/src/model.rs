//! What the models of both checkers share: a manager without an installation, calls without a macro, bodies that tell what
//! became of them, and which mistake is made on purpose. Knows nothing of the checkers.

use crate::handler::{Handler, HandlerSpec, Kind};
use crate::handler::{Log, OnShutdown, WarnAfter};
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::Hooks;
use crate::policy::Policies;
use crate::stats::TaskId;
use crate::task::{Body, BodyFailure, BoxedTask, Task};
use crate::tracker::shared::Shared;
use crate::tracker::slab::TaskRef;
use crate::tracker::{ShardWriter, Tracker};
use std::any::Any;
use std::cell::Cell;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
// The standard library's, in a model too: what a model notes is no step of what it looks at.
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// One model: what it shows, and how it is run.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// As the tests and the page call it.
    pub name: &'static str,
    /// What holds, whatever the order of the steps.
    pub invariant: &'static str,
    /// What is tried in every order.
    pub run: fn(),
    /// Mistakes that it has to find.
    pub mistakes: &'static [&'static str],
    /// How many preemptions are tried at the most; all of them if absent. For loom.
    pub preemptions: Option<usize>,
}

thread_local! {
    /// Both checkers run all threads of a model on the one thread that has started it.
    static MISTAKE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Has the code make a mistake, in the models that this thread runs from here on.
pub fn break_on_purpose(mistake: &'static str) {
    MISTAKE.set(Some(mistake));
}

pub(crate) fn is_broken(mistake: &str) -> bool {
    MISTAKE.get() == Some(mistake)
}

/// Fails the model with the invariant's own words.
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

/// Listens to nothing, so that what is reported in a hundred thousand schedules is not written to stderr either.
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

/// From here on reports are heard by nobody.
pub(crate) fn be_quiet() {
    // Whoever was first did the same.
    let _ = tracing::subscriber::set_global_default(Quiet);
}

/// The books of a manager. Its runtime is there since one has to be, and runs nothing.
pub(crate) fn tracker() -> Arc<Tracker> {
    ledger_with_grace(Duration::from_secs(3600))
}

pub(crate) fn ledger_with_grace(grace: Duration) -> Arc<Tracker> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers asks the system for nothing");
    }
    let runtime = RUNTIME.with(|runtime| runtime.handle().clone());
    Arc::new(Tracker::new(Arc::new(Shared::new(
        runtime,
        grace,
        Hooks::default(),
        false,
    ))))
}

/// What became of one call's body, as anybody may look at it.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) begun: AtomicU32,
    pub(crate) dropped: AtomicU32,
    pub(crate) taken: AtomicU32,
}

impl Fate {
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

/// So many polls and more.
pub(crate) const NEVER: u32 = u32::MAX;

/// A body that is ready after so many polls, and has an output that somebody has to see to.
struct Noted {
    fate: Arc<Fate>,
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

/// A task that notes what becomes of it.
pub(crate) fn noted(fate: &Arc<Fate>, polls: u32) -> BoxedTask {
    Task::with_body(Noted {
        fate: fate.clone(),
        polls,
        is_there: true,
    })
}

/// What the call path does, up to where the runtime is given something to do: the place of the call, and whether there is a
/// runner already that runs it.
pub(crate) fn call(
    writer: &mut ShardWriter,
    handler: &'static Handler,
    task: BoxedTask,
) -> Option<(TaskId, TaskRef, bool)> {
    let (id, place) = writer.accept(handler);
    let place = place?;
    let has_lane = place.fill(CallInfo::new(id, handler, Location::caller()), task);
    Some((id, place, has_lane))
}
