//! The call path: from the call of an annotated function to a task that the runtime has and the books know.
//! Owns the order of the steps; generated code calls nothing else. Thin on purpose: what is generic is compiled anew
//! for every annotated function. Under `tokio_unstable` the console shows the caller's line, hence the `track_caller`s.

use crate::call::blocking;
use crate::call::handle::{PolicyLink, RawHandle, Rest};
use crate::call::supervise::{self, Alone, SlotRunner, Supervised};
use crate::context::{self, Entrance, Refusal};
use crate::handler::Handler;
use crate::handler::Log;
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{Dispatcher, Launch, LaunchWork, NotStarted};
use crate::stats::TaskId;
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
    /// The place kept for the call in the books, or who refused it. Taken by the launch.
    place: Option<Result<TaskRef, Box<Refusal>>>,
}

impl Run {
    /// The token for the function's parameter.
    pub fn token(&self) -> ShutdownToken {
        match &self.place {
            Some(Ok(place)) => ShutdownToken::of_task(place.clone()),
            Some(Err(refusal)) => ShutdownToken::of_process(refusal.shared.clone()),
            None => unreachable!("the launch takes the whole of it"),
        }
    }
}

impl Run {
    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    /// Returns why the call was refused, if it was.
    pub(crate) fn refused(&self) -> Option<RefusedReason> {
        let refusal = self.place.as_ref()?.as_ref().err()?;
        Some(refusal.reason)
    }

    /// Logs a refusal and notifies the observers. Does nothing if the call was accepted.
    pub(crate) fn report_refused(&self) {
        if let Some(Err(refusal)) = &self.place {
            report_refused(refusal, self.handler, self.id, self.called_at);
        }
    }

    /// The place kept for the call; none if it was refused.
    pub(crate) fn place(&self) -> Option<TaskRef> {
        self.place.as_ref()?.as_ref().ok().cloned()
    }
}

impl Drop for Run {
    /// If it was not launched, it was counted all the same.
    fn drop(&mut self) {
        if let Some(Ok(place)) = &self.place {
            place.notify_discarded(CallInfo::new(self.id, self.handler, self.called_at));
            place.discard_reserved();
        }
    }
}

/// Counts the call. From here on it is accounted for.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn begin(handler: &'static Handler) -> Run {
    accept(handler, Location::caller())
}

/// Not inlined, so that the way through the books is, into this one place.
#[inline(never)]
#[track_caller]
fn accept(handler: &'static Handler, called_at: &'static Location<'static>) -> Run {
    let (id, place) = context::accept(handler);
    if let Err(refusal) = &place {
        report_refused(refusal, handler, id, called_at);
    }
    Run {
        handler,
        called_at,
        id,
        place: Some(place),
    }
}

/// The same for a call whose group, if it is made in one, has answered. The caller has to
/// [report](Run::report_refused) a refusal, once it holds nothing any more that other calls wait for.
#[track_caller]
pub(crate) fn accept_entered(
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    entrance: Option<&Entrance>,
) -> Run {
    let (id, place) = match entrance {
        None => context::accept(handler),
        Some(entrance) => context::accept_entered(handler, entrance),
    };
    Run {
        handler,
        called_at,
        id,
        place: Some(place),
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

/// Starts an accepted call whose body the policies have composed.
#[cfg_attr(tokio_unstable, track_caller)]
pub(crate) fn launch_body(
    run: Run,
    body: impl Body + 'static,
    policy_link: PolicyLink,
) -> RawHandle {
    let raw = start(run, Task::with_body(body));
    match policy_link.are_any() {
        true => raw.tied(policy_link),
        false => raw,
    }
}

/// The one place where tasks are handed to the runtime. Nothing here is compiled anew for each function.
#[cfg_attr(tokio_unstable, track_caller)]
fn start(mut run: Run, mut task: BoxedTask) -> RawHandle {
    let Run {
        handler,
        called_at,
        id,
        ..
    } = run;
    if let Some(Err(refusal)) = &run.place {
        let reason = refusal.reason;
        return refuse(handler, id, reason, task);
    }
    let Some(Ok(place)) = run.place.take() else {
        unreachable!("a call is launched once");
    };
    let identity = CallInfo::new(id, handler, called_at);
    supervise::prepare(task.as_mut(), &identity);
    if place.shared().hooks.observers.any() {
        place.notify_accepted(&identity);
    }
    if !place.fill(identity, task) {
        run_on_the_runtime(&place, handler.name());
    }
    RawHandle::accepted(id, handler, place)
}

/// There is no runner for the call: the first one of its slot, or one of a plain function.
#[cold]
#[cfg_attr(tokio_unstable, track_caller)]
fn run_on_the_runtime(place: &TaskRef, name: &'static str) {
    let shared = place.shared();
    if let Some(dispatcher) = shared.hooks.dispatcher() {
        return leave_to(&**dispatcher, place);
    }
    let runtime = &shared.runtime;
    if place.is_async && !EACH_ALONE {
        return spawn::spawn(runtime, name, SlotRunner::new(place.clone()));
    }
    // Made out here: the runtime may drop it instead of running it.
    let call = Supervised::to_be_started(place.clone());
    if place.is_async {
        expect_no_lane(place);
        spawn::spawn(runtime, name, Alone::new(call));
    } else {
        // What is spawned answers for itself, so nobody waits for it.
        let spawned = spawn::spawn_blocking(runtime, name, move || call.run());
        if let Err(error) = spawned {
            lacks_thread(place, &error);
        }
    }
}

/// The blocking pool has no thread for a plain function and can start none. It keeps what it was given for a thread that may
/// never come: the call does not wait for it.
#[cold]
fn lacks_thread(place: &TaskRef, error: &io::Error) {
    if let Some(queued) = place.abort() {
        blocking::report_lack_of_thread(place, error);
        Supervised::new(place.clone(), queued).abort_quietly();
    }
}

/// The one a call has been given stands for a runner that is on its way, and there is none.
fn expect_no_lane(place: &TaskRef) {
    place.dismiss_runner();
}

/// Under a dispatcher no call has a runner, so all of them come by here.
fn leave_to(dispatcher: &dyn Dispatcher, place: &TaskRef) {
    expect_no_lane(place);
    let call = Supervised::to_be_started(place.clone());
    let (runtime, identity) = (place.shared().runtime.clone(), place.identity());
    let work = if place.is_async {
        LaunchWork::Async(Box::pin(Alone::new(call)))
    } else {
        let (place, runs) = (place.clone(), move || call.run_alone());
        LaunchWork::Blocking(
            Box::new(runs),
            Box::new(move |error| lacks_thread(&place, error)),
        )
    };
    let name = identity.handler.name();
    let launch = Launch {
        runtime,
        name,
        work,
    };
    dispatcher.dispatch(identity, launch);
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
    RawHandle::of_no_task(id, handler, Rest::Refused(reason))
}

/// Drops the work of a call that does not run. A panic in there is not the caller's.
pub(crate) fn drop_unused(handler: &'static Handler, id: TaskId, drop_work: &mut dyn FnMut()) {
    if let Err(caught) = catch(drop_work)
        && handler.log() != Log::Off
    {
        report!(error, "an argument of a refused call panicked while it was dropped";
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
                report!(warn, "call refused: its group is closed"; name = handler.name(), id: id.as_u64(),
                    called_at = called_at);
            }
            _ => {
                report!(warn, "call refused: the background work has shut down"; name = handler.name(),
                    id: id.as_u64(), called_at = called_at);
            }
        }
    }
    let why = NotStarted::Refused(*reason);
    shared.hooks.makes_no_run(handler, id, called_at, why);
}
