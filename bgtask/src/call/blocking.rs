//! One attempt of a plain function under policies: on a thread of the blocking pool, as its task's code, with its panic caught.
//! Owns the state of that thread; knows nothing of attempts before or after.

use crate::context;
use crate::handler::Log;
use crate::stats::TaskId;
use crate::tracker::task_ref::TaskRef;
use crate::util::log::report;
use crate::util::panic::{Caught, catch};
use crate::util::spawn::spawn_blocking;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicU8, Ordering};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::Span;

thread_local! {
    /// The task whose attempt runs on this thread, and the token of that attempt if it has one of its own.
    static ATTEMPT: RefCell<Option<(TaskRef, AttemptToken)>> = const { RefCell::new(None) };
}

/// The token of an attempt that has one of its own.
#[derive(Clone)]
pub(crate) struct AttemptToken {
    pub(crate) own: CancellationToken,
    /// Whether the attempt is the last one before the deadline, so that the drain does not fire its token.
    pub(crate) is_last: bool,
}

/// Returns the token of the task's attempt that runs here. An attempt may run a runtime on its thread, whose tasks have other
/// tokens.
pub(crate) fn attempt_token(task: &TaskRef) -> Option<AttemptToken> {
    let token = ATTEMPT.try_with(|attempt| {
        let attempt = attempt.try_borrow().ok()?;
        let (own, token) = attempt.as_ref()?;
        own.is_same(task).then(|| token.clone())
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

/// Whether the body of a task is on a thread: then it cannot be dropped.
#[derive(Debug, Default)]
pub(crate) struct Thread(AtomicU8);

impl Thread {
    fn queue(&self) {
        // AcqRel, in all of these: the thread that begins and the task that gives up agree on the first, and the second sees what
        // the first did before.
        self.0.swap(QUEUED, Ordering::AcqRel);
    }

    /// Returns `false` if the task has given up.
    fn begin(&self) -> bool {
        self.0
            .compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn end(&self) {
        self.0.store(IDLE, Ordering::Release);
    }

    /// Gives the work up. Returns `true` if it had not begun: then it never does.
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
    /// Drops work that never begins, with its permit: the pool may keep the closure until one of its threads is free.
    fn drop(&mut self) {
        if self.thread.give_up() {
            drop(take(&self.queued));
        }
    }
}

/// Runs `work` on the blocking pool, as the code of a task. Returns `None` if the runtime has shut down.
///
/// `guards` are dropped when the work has ended, even if this future was dropped before: a permit covers the whole of it.
///
/// # Cancel safety
/// If this is dropped before the work has begun, the work never begins. After that, the work continues, and `thread` shows it.
pub(crate) async fn run<T, G>(
    work: Box<dyn FnOnce() -> T + Send>,
    id: TaskId,
    task: TaskRef,
    token: Option<AttemptToken>,
    guards: G,
    thread: &Arc<Thread>,
    name: &'static str,
) -> Option<Result<T, Box<Caught>>>
where
    T: Send + 'static,
    G: Send + 'static,
{
    thread.queue();
    let shared = task.shared().clone();
    let on_thread = thread.clone();
    let span = Span::current();
    let own = task.clone();
    let queued = Arc::new(Mutex::new(Some((work, guards))));
    let taken = queued.clone();
    let _give_up = GiveUp { thread, queued };
    let work = move || {
        if !on_thread.begin() {
            return None;
        }
        let (work, guards) = take(&taken)?;
        // Use `id` instead of the id in the slot: the call may have ended by now, and the slot may belong to another one.
        if let Some(dispatcher) = task.shared().hooks.dispatcher() {
            dispatcher.begun(id);
        }
        if task.shared().hooks.observers.any() {
            task.notify_started();
        }
        let is_member = task.is_member();
        let outer = replace_attempt(token.map(|token| (task.clone(), token)));
        let mut here = Some(task);
        let work = || catch(|| span.in_scope(work));
        let result = if is_member {
            context::run_as_member(&mut here, work)
        } else {
            context::run_as(&mut here, work)
        };
        replace_attempt(outer);
        // Drop the guards first: when the thread counts as free, so does the permit.
        drop(guards);
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

/// Logs that a plain function does not run, because the pool has no thread for it and can start none.
#[cold]
pub(crate) fn report_lack_of_thread(task: &TaskRef, error: &io::Error) {
    if task.log != Log::Off {
        let call = task.identity();
        report!(error, "blocking function aborted: cannot spawn a thread; raise the thread limit, or set `concurrency`";
            name = call.handler.name(), id: call.id.as_u64(), called_at = call.called_at, error = error);
    }
}

/// Takes the content. Locked for nothing else.
fn take<T>(queued: &Mutex<Option<T>>) -> Option<T> {
    queued.lock().take()
}
