//! A claimed job becomes an ordinary call: counted, traced, caught, drained, shown, and subject to its policies.
//! Owns the decision between another attempt and a dead job; must never know how a job is claimed or stored.

use super::call::durable_of;
use super::claimed::ClaimedJob;
use super::codec::{Codec, check_output, encode_output};
use super::store::{Opened, Store};
use super::ticks::{TickClock, Ticks};
use crate::TaskError;
use crate::call::handle::TaskHandle;
use crate::context;
use crate::handler::{Handler, handlers};
use crate::inspect::health::{self, Health};
use crate::policy::{
    AttemptEnd, Canceller, Claimed, Durable, NextAttempt, RetryWhen, Running, Schedule,
    ScheduleState,
};
use crate::report::StopReason;
use crate::stats::{JobInfo, Outcome};
use crate::task::judge::Judge;
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use crate::util::panic::catch;
use serde_json::value::RawValue;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// The most bytes of an error's text that are stored: all texts of a job stand in its row, which each claim reads.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// The most attempts that a job may have: the tables count no further, and a claim beyond would fail, with all others of its queue.
const ATTEMPT_LIMIT: u32 = i16::MAX as u32;

/// Cuts a text between two characters, and adds its length.
fn shortened(mut text: String) -> String {
    let length = text.len();
    if length > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text += &format!("… ({length} bytes)");
    }
    text
}

/// Awaits the call of one attempt and encodes its value. Generated code calls this.
pub fn running<T, C, J>(mut handle: TaskHandle<T>, _: C, when: RetryWhen<T>, _: J) -> Running
where
    T: Send + 'static,
    C: Codec<T>,
    J: Judge<T>,
{
    let canceller = Canceller::default();
    if let Some(pause) = handle.postponed() {
        return Running {
            canceller,
            end: Box::pin(std::future::ready(AttemptEnd::Postponed { pause })),
        };
    }
    let cancelled = canceller.clone();
    let end = async move {
        let mut cancelled = pin!(cancelled.cancelled());
        let mut is_cancelled = false;
        let result = poll_fn(|cx| {
            if !is_cancelled && let Poll::Ready(reason) = cancelled.as_mut().poll(cx) {
                is_cancelled = true;
                handle.cancel_for(reason);
            }
            Pin::new(&mut handle).poll(cx)
        });
        match result.await {
            Ok(output) => end_of::<T, C, J>(output, &when),
            Err(TaskError::Panicked { message, .. }) => AttemptEnd::Panicked(message),
            Err(TaskError::TimedOut) => AttemptEnd::TimedOut,
            Err(error) => AttemptEnd::Interrupted(error.to_string()),
        }
    };
    Running {
        canceller,
        end: Box::pin(end),
    }
}

fn end_of<T, C: Codec<T>, J: Judge<T>>(output: T, when: &RetryWhen<T>) -> AttemptEnd {
    // The user's code: a predicate, a `Display`, a `Serialize`.
    let end = catch(move || {
        if let Some(message) = J::failure(&output) {
            let next = when.decide(&output);
            return AttemptEnd::Failed { message, next };
        }
        let encoded = match C::value(output) {
            Some(value) => encode_output(&value).map_err(|error| error.to_string()),
            None => Err("the function returned an error".to_owned()),
        };
        match encoded {
            Ok(value) => AttemptEnd::Done(value),
            Err(message) => AttemptEnd::Failed {
                message,
                next: NextAttempt::AfterBackoff,
            },
        }
    });
    end.unwrap_or_else(|caught| AttemptEnd::Panicked(caught.message))
}

/// A manager, as the worker of a store has it: runs claimed jobs as calls of that manager.
#[derive(Clone)]
pub struct Host(Arc<Tracker>);

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    /// Returns the manager that calls made here belong to.
    ///
    /// # Errors
    /// If its shutdown is over.
    ///
    /// # Panics
    /// Where no manager can be found.
    #[track_caller]
    pub fn current() -> Result<Self, ShuttingDown> {
        Self::current_for("bgtask_durable::open")
    }

    /// The same for a function of this name, which a panic shows.
    ///
    /// # Errors
    /// If its shutdown is over.
    ///
    /// # Panics
    /// Where no manager can be found.
    #[track_caller]
    pub fn current_for(function: &'static str) -> Result<Self, ShuttingDown> {
        match context::current(function) {
            Ok(tracker) if tracker.shared.shutdown.phase() == Phase::Running => Ok(Self(tracker)),
            _ => Err(ShuttingDown(())),
        }
    }

    /// Makes this the manager's store.
    ///
    /// # Errors
    /// If the manager has one.
    pub fn attach(&self, store: Arc<dyn Store>) -> Result<(), AlreadyOpen> {
        let opened = Arc::new(Opened { store });
        if self.0.shared.attached.attach(opened) {
            Ok(())
        } else {
            Err(AlreadyOpen(()))
        }
    }

    /// Returns whether the manager has a store.
    #[must_use]
    pub fn has_store(&self) -> bool {
        self.0.shared.attached.get().is_some()
    }

    /// Returns the durable functions that are linked into the program.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        handlers().into_iter().filter_map(Function::of).collect()
    }

    /// Completes when the shutdown has been requested: no job is claimed any more.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.shared.shutdown.stopping.clone().cancelled_owned()
    }

    /// Completes when the runtime of the manager has ended: no call can run any more.
    pub fn runtime_ended(&self) -> impl Future<Output = ()> + Send + 'static {
        // The runtime drops its task at its end, and with it what is kept.
        let (kept, dropped) = oneshot::channel::<()>();
        let (over, is_over) = oneshot::channel::<()>();
        self.0.shared.runtime.spawn(async move {
            let _kept = kept;
            // Ends with the future that is returned.
            let _ = is_over.await;
        });
        async move {
            let _over = over;
            let _ = dropped.await;
        }
    }

    /// Returns the health of the process, of which the store is a part.
    #[must_use]
    pub fn health(&self) -> Health {
        health::check(&self.0.shared)
    }

    /// Returns whether the shutdown has been requested.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.shared.shutdown.phase() != Phase::Running
    }

    /// Returns the manager's store, if it has one.
    #[must_use]
    pub fn store(&self) -> Option<Arc<dyn Store>> {
        let opened: &dyn Any = self.0.shared.attached.get()?;
        let opened: Option<&Opened> = opened.downcast_ref();
        opened.map(|opened| opened.store.clone())
    }

    /// Returns the wall clock of the manager: a test may have set it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.shared.policies.wall_clock.now()
    }

    /// Fails the test, unless it has declared the failure: a job is dead, and its outcome was not awaited. Does nothing without
    /// a test kit.
    pub fn fail_test(&self, function: Function, failure: Failure, message: &str) {
        let outcome = match failure {
            Failure::Failed => Outcome::Failed,
            Failure::TimedOut => Outcome::TimedOut,
            // The kit has noted the panic itself.
            Failure::Panicked => return,
        };
        if let Some(kit) = self.0.shared.hooks.dispatcher() {
            kit.dead(function.handler, outcome, message);
        }
    }

    /// Has the `idle()` of a test look at the store's jobs again. Does nothing without a test kit.
    pub fn jobs_changed(&self) {
        if let Some(kit) = self.0.shared.hooks.dispatcher() {
            kit.jobs_changed();
        }
    }

    /// Completes when everything that the function takes as a `State<_>` has been provided.
    pub fn provided(&self, function: Function) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.0.shared.clone();
        async move {
            let states = function.handler.states();
            shared.policies.states.provided(states).await;
        }
    }

    /// Starts one attempt of a job.
    ///
    /// # Errors
    /// If the arguments do not decode, with the reason.
    pub fn run(
        &self,
        function: Function,
        arguments: &RawValue,
        job: Arc<dyn ClaimedJob>,
    ) -> Result<Attempt, String> {
        let attempt = job.attempt();
        let info = Arc::new(JobInfo {
            id: job.id(),
            queue: job.queue().to_owned(),
            attempt,
            max_attempts: job.max_attempts(),
        });
        let claimed = Claimed {
            job: Arc::new(job),
            info,
        };
        let mut before = context::enter(self.0.clone());
        // Decoding is the user's code.
        let started = catch(|| (function.durable.run)(arguments, &claimed));
        context::leave(&mut before);
        match started {
            Ok(Ok(running)) => Ok(Attempt {
                host: self.clone(),
                function,
                attempt,
                running,
            }),
            Ok(Err(undecodable)) => Err(undecodable.0),
            Err(caught) => Err(format!(
                "decoding the arguments panicked: {}",
                caught.message
            )),
        }
    }
}

/// A durable function.
#[derive(Clone, Copy)]
pub struct Function {
    handler: &'static Handler,
    durable: &'static Durable,
}

impl Function {
    pub(super) fn of(handler: &'static Handler) -> Option<Self> {
        let durable = durable_of(handler)?;
        Some(Self { handler, durable })
    }

    /// The name under which its jobs are stored.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.handler.name()
    }

    /// Its former name, `was = "…"`: jobs stored under it are its own.
    #[must_use]
    pub fn was(&self) -> Option<&'static str> {
        self.durable.was
    }

    /// The queue of its jobs.
    #[must_use]
    pub fn queue(&self) -> &'static str {
        self.durable.queue
    }

    /// The function.
    #[must_use]
    pub fn handler(&self) -> &'static Handler {
        self.handler
    }

    /// Returns what follows an attempt that failed after its body had ended, for this reason.
    #[must_use]
    pub fn failed(&self, message: String, attempt: u32) -> Verdict {
        let end = AttemptEnd::Failed {
            message,
            next: NextAttempt::AfterBackoff,
        };
        self.verdict(end, attempt, false)
    }

    /// Decides what follows the end of an attempt.
    fn verdict(&self, end: AttemptEnd, attempt: u32, stops: bool) -> Verdict {
        use NextAttempt::AfterBackoff;
        let (failure, message, next) = match end {
            AttemptEnd::Done(value) => return Verdict::Done(value),
            AttemptEnd::Postponed { pause } => return Verdict::Postponed { pause },
            // Nothing was wrong with the job, so the attempt is not counted.
            AttemptEnd::Interrupted(_) if stops => return Verdict::Returned,
            AttemptEnd::Interrupted(message) => (Failure::Failed, message, AfterBackoff),
            AttemptEnd::Failed { message, next } => (Failure::Failed, message, next),
            AttemptEnd::Panicked(message) if self.durable.panics => {
                (Failure::Panicked, message, AfterBackoff)
            }
            AttemptEnd::Panicked(message) => (Failure::Panicked, message, NextAttempt::None),
            AttemptEnd::TimedOut => {
                let message = "the attempt timed out".to_owned();
                (Failure::TimedOut, message, AfterBackoff)
            }
        };
        // A NUL in a text that is only for people would keep the end from being stored.
        let message = shortened(message.replace('\0', "\u{fffd}"));
        let pause = match next {
            _ if attempt >= self.durable.max.min(ATTEMPT_LIMIT) => None,
            NextAttempt::None => None,
            AfterBackoff => Some(self.durable.backoff.pause(attempt.max(1))),
            NextAttempt::After(pause) => Some(pause),
        };
        match pause {
            Some(pause) => Verdict::Retry {
                failure,
                message,
                pause,
            },
            None => Verdict::Dead { failure, message },
        }
    }
}

impl Ticks {
    /// The function.
    #[must_use]
    pub fn function(&self) -> Function {
        Function {
            handler: self.handler,
            durable: self.durable,
        }
    }
}

/// Gives the schedule of a durable function to the store of its manager, now or when it is opened.
pub(crate) fn start_ticks(
    tracker: &Arc<Tracker>,
    handler: &'static Handler,
    schedule: &'static Schedule,
    state: Arc<ScheduleState>,
    clock: Arc<dyn TickClock>,
) {
    let Some(durable) = durable_of(handler) else {
        unreachable!("the scheduler asks for durable functions alone");
    };
    // The worker that runs a tick waits for state, not the schedule.
    state.update(|info| info.waits_for_state = false);
    let ticks = Ticks {
        handler,
        durable,
        schedule,
        state,
        clock,
        tracker: Arc::downgrade(tracker),
    };
    tracker.shared.attached.when_attached(move |store| {
        let store: &dyn Any = store;
        if let Some(opened) = store.downcast_ref::<Opened>() {
            opened.store.schedule(ticks);
        }
    });
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.name()).finish()
    }
}

/// One attempt that runs.
#[derive(Debug)]
pub struct Attempt {
    host: Host,
    function: Function,
    attempt: u32,
    running: Running,
}

impl Attempt {
    /// Returns what fires the token of the attempt's task.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.running.canceller.clone()
    }

    /// Waits for the end, and decides what follows.
    pub async fn end(self) -> Verdict {
        let mut end = self.running.end.await;
        if let (AttemptEnd::Done(value), Some(store)) = (&end, self.host.store())
            && let Err(error) = check_output(value, store.output_limit())
        {
            end = AttemptEnd::Failed {
                message: error.to_string(),
                next: NextAttempt::AfterBackoff,
            };
        }
        let is_cancelled = self.running.canceller.reason() == Some(StopReason::Cancelled);
        if is_cancelled && !matches!(end, AttemptEnd::Done(_)) {
            return Verdict::Cancelled;
        }
        let runtime = &self.host.0.shared.runtime;
        // A task of a runtime that has ended is dropped at once.
        let stops = self.host.is_stopping()
            || matches!(end, AttemptEnd::Interrupted(_)) && runtime.spawn(async {}).await.is_err();
        self.function.verdict(end, self.attempt, stops)
    }
}

/// The next step after an attempt, which a store records.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The job is done, with this value.
    Done(Box<RawValue>),
    /// The attempt failed, and another follows after the pause.
    Retry {
        /// How it failed.
        failure: Failure,
        /// The message, without NUL characters.
        message: String,
        /// The pause before the next attempt.
        pause: Duration,
    },
    /// The attempt failed, and the job is dead.
    Dead {
        /// How it failed.
        failure: Failure,
        /// The message, without NUL characters.
        message: String,
    },
    /// The shutdown ended the attempt. It is not counted, and the job goes back to its queue.
    Returned,
    /// The attempt has not begun, because no permit of `concurrency` or `rate` was free. It is not counted, and the job goes back to
    /// its queue after the pause.
    Postponed {
        /// The pause before the next try.
        pause: Duration,
    },
    /// The job was cancelled, and the attempt ended without a value: the job is cancelled.
    Cancelled,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// With an `Err`, an output that cannot be stored, or because it was aborted.
    Failed,
    /// It panicked.
    Panicked,
    /// It timed out.
    TimedOut,
}

impl Failure {
    /// Returns the word for it, as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Failed => "failed",
            Failure::Panicked => "panicked",
            Failure::TimedOut => "timed_out",
        }
    }
}

/// The manager has a store already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlreadyOpen(());

impl fmt::Display for AlreadyOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("this manager has a store of durable jobs already")
    }
}

impl Error for AlreadyOpen {}

/// The shutdown of the manager has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShuttingDown(());

impl fmt::Display for ShuttingDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("the background work is shutting down")
    }
}

impl Error for ShuttingDown {}
