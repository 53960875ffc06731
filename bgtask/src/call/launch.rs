//! The call path: from the call of an annotated function to a recorded task on the runtime.
//! Owns the order of the steps. Generic code stays thin, because it is compiled for every annotated function.
//! The `track_caller`s under `tokio_unstable` give tokio-console the line of the call.

use crate::call::blocking;
use crate::call::handle::{PolicyLink, RawHandle, Rest};
use crate::call::runner::{SingleRunner, SlotRunner};
use crate::call::site::CallSite;
use crate::call::span;
use crate::call::supervise::Supervised;
use crate::call::wrapped;
use crate::context::{self, Accepted, Entrance, Refusal};
use crate::fields::Fields;
use crate::handler::{Handler, Log};
use crate::observe::call_info::CallInfo;
use crate::observe::dispatch::{Dispatcher, Launch, LaunchWork, NotStarted};
use crate::stats::TaskId;
use crate::task::attempt::About;
use crate::task::judge::Judge;
use crate::task::{Body, BoxedTask, Call, Task};
use crate::tracker::task_ref::TaskRef;
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::spawn::{self, EACH_ALONE};
use crate::util::text::Excerpt;
use crate::{RefusedReason, ShutdownToken, TaskHandle};
use std::future::Future;
use std::io;
use std::panic::Location;

/// A call between its acceptance and its launch.
#[derive(Debug)]
pub struct Run {
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    id: TaskId,
    /// The slot reserved for the call, or the refusal. Taken by the launch.
    task_ref: Option<Result<TaskRef, Box<Refusal>>>,
}

impl Run {
    /// Returns the token for the function's parameter.
    pub fn token(&self) -> ShutdownToken {
        match &self.task_ref {
            Some(Ok(task_ref)) => ShutdownToken::for_task(task_ref.clone()),
            Some(Err(refusal)) => ShutdownToken::for_process(refusal.shared.clone()),
            None => unreachable!("the launch consumes the run"),
        }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    /// Returns why the call was refused, if it was.
    pub(crate) fn refused(&self) -> Option<RefusedReason> {
        let refusal = self.task_ref.as_ref()?.as_ref().err()?;
        Some(refusal.reason)
    }

    /// Logs a refusal and notifies the observers. Does nothing if the call was accepted.
    pub(crate) fn report_refused(&self) {
        if let Some(Err(refusal)) = &self.task_ref {
            report_refused(refusal, self.handler, self.id, self.called_at);
        }
    }

    /// Adds the fields of the call to its task. Does nothing for a call that was refused.
    #[cold]
    fn with_fields(&self, fields: Fields, mut task: BoxedTask) -> BoxedTask {
        if let Some(Ok(task_ref)) = &self.task_ref {
            let kept = task_ref.shared().fields.keep(self.id, fields);
            task.as_mut().notes().extras().fields = Some(kept);
        }
        task
    }

    /// Returns the slot reserved for the call, or `None` if the call was refused.
    pub(crate) fn task_ref(&self) -> Option<TaskRef> {
        self.task_ref.as_ref()?.as_ref().ok().cloned()
    }
}

impl Drop for Run {
    /// Ends a call that was accepted and never launched.
    fn drop(&mut self) {
        if let Some(Ok(task_ref)) = &self.task_ref {
            task_ref.notify_discarded(CallInfo::new(self.id, self.handler, self.called_at));
            task_ref.discard_reserved();
        }
    }
}

/// Counts the call. From here on, it is accounted for.
///
/// # Panics
/// If no manager can be found.
#[track_caller]
pub fn begin(handler: &'static Handler) -> Run {
    accept(handler, Location::caller())
}

// Not inlined itself, so that the path through the tracker is inlined into this one function.
#[inline(never)]
#[track_caller]
fn accept(handler: &'static Handler, called_at: &'static Location<'static>) -> Run {
    let (id, task_ref) = context::accept(handler);
    if let Err(refusal) = &task_ref {
        report_refused(refusal, handler, id, called_at);
    }
    Run {
        handler,
        called_at,
        id,
        task_ref: Some(task_ref),
    }
}

/// Counts a call whose manager has been found.
#[inline(never)]
pub fn begin_at(mut site: CallSite) -> Run {
    let accepted = match site.resolved.enter_group() {
        None => context::accept_resolved(site.handler, &site.resolved),
        Some(entrance) => context::accept_entered(site.handler, &entrance),
    };
    let run = site.run(accepted);
    run.report_refused();
    run
}

/// Counts a call whose group, if there is one, has answered. The caller must [report](Run::report_refused) a refusal once it
/// holds nothing that other calls wait for.
pub(crate) fn accept_at(site: &CallSite, entrance: Option<&Entrance>) -> Run {
    site.run(match entrance {
        None => context::accept_resolved(site.handler, &site.resolved),
        Some(entrance) => context::accept_entered(site.handler, entrance),
    })
}

impl CallSite {
    #[inline(always)]
    fn run(&self, (id, task_ref): Accepted) -> Run {
        Run {
            handler: self.handler,
            called_at: self.called_at,
            id,
            task_ref: Some(task_ref),
        }
    }
}

/// Starts an `async fn`'s future on the runtime.
#[cfg_attr(tokio_unstable, track_caller)]
pub fn launch<T, F>(run: Run, future: F, judge: impl Judge<T>) -> TaskHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let task = Task::boxed(future, judge);
    TaskHandle::new(start(run, task))
}

/// Starts a plain `fn` on the blocking pool.
#[cfg_attr(tokio_unstable, track_caller)]
pub fn launch_blocking<T, F>(run: Run, work: F, judge: impl Judge<T>) -> TaskHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    launch(run, Call::new(work), judge)
}

/// Does the same as [`launch`] for a call with fields.
#[cfg_attr(tokio_unstable, track_caller)]
pub fn launch_recorded<T, F>(
    run: Run,
    fields: Fields,
    future: F,
    judge: impl Judge<T>,
) -> TaskHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let task = run.with_fields(fields, Task::boxed(future, judge));
    TaskHandle::new(start(run, task))
}

/// Does the same as [`launch_blocking`] for a call with fields.
#[cfg_attr(tokio_unstable, track_caller)]
pub fn launch_blocking_recorded<T, F>(
    run: Run,
    fields: Fields,
    work: F,
    judge: impl Judge<T>,
) -> TaskHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    launch_recorded(run, fields, Call::new(work), judge)
}

/// Starts an accepted call whose body the policies have composed.
#[cfg_attr(tokio_unstable, track_caller)]
pub(crate) fn launch_body(
    run: Run,
    fields: Option<Fields>,
    body: impl Body + 'static,
    policy_link: PolicyLink,
) -> RawHandle {
    let mut task = Task::with_body(body);
    if let Some(fields) = fields {
        task = run.with_fields(fields, task);
    }
    let raw = start(run, task);
    if policy_link.is_needed() {
        raw.linked(policy_link)
    } else {
        raw
    }
}

/// Passes the task to the runtime. Not generic, so it is compiled once.
#[cfg_attr(tokio_unstable, track_caller)]
fn start(mut run: Run, task: BoxedTask) -> RawHandle {
    let Run {
        handler,
        called_at,
        id,
        ..
    } = run;
    if let Some(Err(refusal)) = &run.task_ref {
        let reason = refusal.reason;
        return refuse(handler, id, reason, task);
    }
    let Some(Ok(task_ref)) = run.task_ref.take() else {
        unreachable!("a call is launched once");
    };
    if task_ref.shared().wrappers.any() {
        return start_wrapped(task_ref, handler, called_at, id, task);
    }
    start_accepted(task_ref, handler, called_at, id, task)
}

/// Does the same with the manager's wrappers around the task. A call with policies wraps each of its attempts by itself.
#[cold]
#[inline(never)]
#[cfg_attr(tokio_unstable, track_caller)]
fn start_wrapped(
    task_ref: TaskRef,
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    id: TaskId,
    mut task: BoxedTask,
) -> RawHandle {
    if handler.policies().is_none() {
        let fields = task.as_mut().notes().fields();
        let about = About::new(handler, id, called_at, 1, fields);
        task = wrapped::wrap(about, task_ref.shared().wrappers.all(), task);
    }
    start_accepted(task_ref, handler, called_at, id, task)
}

// Always inlined: without wrappers, a call pays one look at a flag for them.
#[inline(always)]
#[cfg_attr(tokio_unstable, track_caller)]
fn start_accepted(
    task_ref: TaskRef,
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    id: TaskId,
    mut task: BoxedTask,
) -> RawHandle {
    let call = CallInfo::new(id, handler, called_at);
    span::prepare(task.as_mut(), &call);
    if task_ref.shared().hooks.observers.any() {
        task_ref.notify_accepted(&call);
    }
    if !task_ref.fill(call, task) {
        run_on_the_runtime(&task_ref, handler.name());
    }
    RawHandle::accepted(id, handler, task_ref)
}

/// Runs a call whose slot has no runner: the first call of the slot, or a plain function.
#[cold]
#[cfg_attr(tokio_unstable, track_caller)]
fn run_on_the_runtime(task_ref: &TaskRef, name: &'static str) {
    let shared = task_ref.shared();
    if let Some(dispatcher) = shared.hooks.dispatcher() {
        return dispatch(&**dispatcher, task_ref);
    }
    let runtime = &shared.runtime;
    if task_ref.is_async && !EACH_ALONE {
        return spawn::spawn(runtime, name, SlotRunner::new(task_ref.clone()));
    }
    // Created outside the closure: the runtime may drop the closure instead of running it.
    let call = Supervised::to_be_started(task_ref.clone());
    if task_ref.is_async {
        // No runner comes for the slot.
        task_ref.dismiss_runner();
        spawn::spawn(runtime, name, SingleRunner::new(call));
    } else {
        let spawned = spawn::spawn_blocking(runtime, name, move || call.run());
        if let Err(error) = spawned {
            abort_without_thread(task_ref, &error);
        }
    }
}

/// Aborts a plain function for which the blocking pool has no thread and can start none. The pool keeps the closure for a thread
/// that may never come, so the call does not wait for it.
#[cold]
fn abort_without_thread(task_ref: &TaskRef, error: &io::Error) {
    if let Some(queued) = task_ref.abort() {
        blocking::report_lack_of_thread(task_ref, error);
        Supervised::new(task_ref.clone(), queued).abort_quietly();
    }
}

/// Passes a call to the dispatcher. Under a dispatcher no slot has a runner, so every call takes this path.
fn dispatch(dispatcher: &dyn Dispatcher, task_ref: &TaskRef) {
    // No runner comes for the slot.
    task_ref.dismiss_runner();
    let call = Supervised::to_be_started(task_ref.clone());
    let (runtime, info) = (task_ref.shared().runtime.clone(), task_ref.identity());
    let work = if task_ref.is_async {
        LaunchWork::Async(Box::pin(SingleRunner::new(call)))
    } else {
        let task_ref = task_ref.clone();
        LaunchWork::Blocking(
            Box::new(move || call.run_alone()),
            Box::new(move |error| abort_without_thread(&task_ref, error)),
        )
    };
    let launch = Launch {
        runtime,
        name: info.handler.name(),
        work,
    };
    dispatcher.dispatch(info, launch);
}

#[cold]
fn refuse(
    handler: &'static Handler,
    id: TaskId,
    reason: RefusedReason,
    task: BoxedTask,
) -> RawHandle {
    let mut task = Some(task);
    drop_unused(handler, id, &mut || drop(task.take()));
    RawHandle::without_task(id, handler, Rest::Refused(reason))
}

/// Drops the work of a call that does not run, and keeps a panic of that drop from the caller.
pub(crate) fn drop_unused(handler: &'static Handler, id: TaskId, drop_work: &mut dyn FnMut()) {
    if let Err(caught) = catch(drop_work)
        && handler.log() != Log::Off
    {
        report!(error, "argument of a refused call panicked on drop";
            name = handler.name(), id: id.as_u64(), panic = Excerpt(&caught.message));
    }
}

#[cold]
fn report_refused(
    refusal: &Refusal,
    handler: &'static Handler,
    id: TaskId,
    called_at: &'static Location<'static>,
) {
    let Refusal { shared, reason, .. } = refusal;
    if handler.log() != Log::Off {
        match reason {
            RefusedReason::GroupClosed => {
                report!(warn, "call refused: the group is closed"; name = handler.name(), id: id.as_u64(),
                    called_at = called_at);
            }
            _ => {
                report!(warn, "call refused: the manager has shut down"; name = handler.name(),
                    id: id.as_u64(), called_at = called_at);
            }
        }
    }
    let why = NotStarted::Refused(*reason);
    shared.hooks.makes_no_run(handler, id, called_at, why);
}
