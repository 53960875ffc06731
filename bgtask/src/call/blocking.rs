//! One attempt of a plain function: on a thread of the blocking pool, as its task's code, with its panic caught.
//! Owns what is known of the thread; knows nothing of attempts before or after.

use crate::context;
use crate::handler::Log;
use crate::observe::call_info::CallInfo;
use crate::stats::TaskId;
use crate::tracker::task_ref::TaskRef;
use crate::util::log::report;
use crate::util::panic::{Caught, catch};
use crate::util::spawn::spawn_blocking;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicU8, Ordering};
use std::cell::RefCell;
use std::io;
use std::sync::{Arc, PoisonError};
use tokio_util::sync::CancellationToken;
use tracing::Span;

thread_local! {
    /// The task whose attempt runs on this thread, and the token of that attempt, if it has one of its own.
    static ATTEMPT: RefCell<Option<(TaskRef, AttemptToken)>> = const { RefCell::new(None) };
}

/// The token of an attempt that has its own.
#[derive(Clone)]
pub(crate) struct AttemptToken {
    pub(crate) own: CancellationToken,
    /// Whether the attempt is the last one before the deadline, so that the drain does not fire its token.
    pub(crate) is_last: bool,
}

/// Returns the token of the attempt of the task at `place` that runs here. An attempt may run a runtime of its own on its thread,
/// whose tasks have other tokens.
pub(crate) fn attempt_token(place: &TaskRef) -> Option<AttemptToken> {
    let token = ATTEMPT.try_with(|attempt| {
        let attempt = attempt.try_borrow().ok()?;
        let (own, token) = attempt.as_ref()?;
        own.is_same(place).then(|| token.clone())
    });
    token.ok().flatten()
}

/// Sets the attempt that runs on this thread, and returns the one before. With inline calls, attempts run within attempts.
fn replace_attempt(attempt: Option<(TaskRef, AttemptToken)>) -> Option<(TaskRef, AttemptToken)> {
    ATTEMPT
        .try_with(|current| current.replace(attempt))
        .ok()
        .flatten()
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const GIVEN_UP: u8 = 3;

/// Whether one task's body is on a thread: then it cannot be dropped.
#[derive(Debug, Default)]
pub(crate) struct Thread(AtomicU8);

impl Thread {
    fn queue(&self) {
        // AcqRel, in all of these: whoever gives up and whoever begins agree on who came first, and see what the other did
        // before that.
        self.0.swap(QUEUED, Ordering::AcqRel);
    }

    /// `false` if the task has given up meanwhile.
    fn begin(&self) -> bool {
        self.0
            .compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn end(&self) {
        self.0.store(IDLE, Ordering::Release);
    }

    /// The task goes: what has not begun never does. Whether that is so.
    fn give_up(&self) -> bool {
        self.0
            .compare_exchange(QUEUED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) == RUNNING
    }
}

struct GiveUp<'a, Q> {
    thread: &'a Thread,
    queued: Arc<Mutex<Option<Q>>>,
}

impl<Q> Drop for GiveUp<'_, Q> {
    /// What never begins holds nothing: the pool may keep it until one of its threads is free, and others may be waiting for the
    /// permit.
    fn drop(&mut self) {
        if self.thread.give_up() {
            drop(take(&self.queued));
        }
    }
}

/// Runs `work` on the blocking pool, as the code of the task at `place`. `None` if the runtime has shut down.
///
/// `holds` is let go when the work has ended, also if nobody waits for it any more: a permit covers all of it.
///
/// # Cancel safety
/// Dropped before the work has begun, it never begins. After that the work goes on, and `thread` says so.
pub(crate) async fn run<T, H>(
    work: Box<dyn FnOnce() -> T + Send>,
    id: TaskId,
    place: TaskRef,
    token: Option<AttemptToken>,
    holds: H,
    thread: &Arc<Thread>,
    name: &'static str,
) -> Option<Result<T, Box<Caught>>>
where
    T: Send + 'static,
    H: Send + 'static,
{
    thread.queue();
    let shared = place.shared().clone();
    let on_thread = thread.clone();
    let span = Span::current();
    let own = place.clone();
    let queued = Arc::new(Mutex::new(Some((work, holds))));
    let taken = queued.clone();
    let _give_up = GiveUp { thread, queued };
    let work = move || {
        if !on_thread.begin() {
            return None;
        }
        let (work, holds) = take(&taken)?;
        // Use `id` instead of the id in `place`: the call may have been given up by now, and the slot may belong to another call.
        if let Some(dispatcher) = place.shared().hooks.dispatcher() {
            dispatcher.begun(id);
        }
        if place.shared().hooks.observers.any() {
            place.notify_started();
        }
        let is_member = place.is_member();
        let outer = replace_attempt(token.map(|token| (place.clone(), token)));
        let mut here = Some(place);
        let work = || catch(|| span.in_scope(work));
        let result = if is_member {
            context::run_as_member(&mut here, work)
        } else {
            context::run_as(&mut here, work)
        };
        replace_attempt(outer);
        // First let go, then said to be over: whoever sees the thread free finds the permit free too.
        drop(holds);
        on_thread.end();
        Some(result)
    };
    let dispatcher = shared.hooks.dispatcher();
    if dispatcher.is_some_and(|dispatcher| dispatcher.is_inline()) {
        return work();
    }
    match spawn_blocking(&shared.runtime, name, work) {
        Ok(ended) => ended.await.ok().flatten(),
        Err(error) => {
            report_lack_of_thread(&own, &error);
            None
        }
    }
}

/// Says that the plain function at `place` is not run: the pool has no thread for it and can start none.
#[cold]
pub(crate) fn report_lack_of_thread(place: &TaskRef, error: &io::Error) {
    if place.log != Log::Off {
        let CallInfo {
            id,
            handler,
            called_at,
            ..
        } = place.identity();
        report!(error, "a plain function is aborted: no thread can be started; allow more, or bound it with `concurrency`";
            name = handler.name(), id: id.as_u64(), called_at = called_at, error = error);
    }
}

/// Locked to be emptied, and for nothing else.
fn take<T>(queued: &Mutex<Option<T>>) -> Option<T> {
    queued.lock().unwrap_or_else(PoisonError::into_inner).take()
}
