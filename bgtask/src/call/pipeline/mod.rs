//! A call with policies: the policies around the body, composed into the one future that the call path runs.
//! Owns their order: coalesce → rate → concurrency → retry → timeout → body. Tracking, draining, spans and accounting stay
//! with the call path; what a policy means stays with its own file.

use crate::call::blocking::{self, AttemptToken, Thread};
use crate::call::handle::{PolicyLink, RawHandle, Rest};
use crate::call::launch::{self, Run};
use crate::context::{self, Entrance};
use crate::handler::Handler;
use crate::handler::{Log, OnShutdown};
use crate::observe::hooks::NotStarted;
use crate::observe::turned_away;
use crate::observe::{Coalesced, Observer};
use crate::policy::{
    Acquire, Coalesce, Concurrency, Doing, Ending, Entry, HandlerState, Key, Leader, Limiter,
    Origin, Overflow, Permit, Policies, Progress, Retry, RetryWhen, Scope, Share, SharedOutcome,
    TurnedAway, Window, unless_fired, within,
};
use crate::report::Failure;
use crate::shutdown::essential;
use crate::shutdown::last_attempt;
use crate::state::Injected;
use crate::stats::{Outcome, TaskId};
use crate::task::judge::Judge;
use crate::task::{Body, BodyFailure, PolicyEnd};
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::{Phase, Tick};
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{self, Tracker};
use crate::util::log::{Time, mention, mention_at, report};
use crate::util::panic::{Caught, catch};
use crate::util::text::Excerpt;
use crate::{RefusedReason, ShutdownToken, TaskError, TaskHandle};
use std::any::Any;
use std::cell::OnceCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type BoxedWork<T> = Box<dyn FnOnce() -> T + Send>;
/// What an output says if it is an error.
type FailureOf<T> = fn(&T) -> Option<String>;

/// What tells the calls of one function apart, for each policy that wants to know.
#[derive(Debug, Default)]
pub struct Keys {
    coalesce: Key,
    rate: Key,
    concurrency: Key,
}

impl Keys {
    pub fn coalesce(mut self, key: Key) -> Self {
        self.coalesce = key;
        self
    }

    /// The calls of one instance of a generic function.
    pub fn of_instance(mut self, instance: &'static str) -> Self {
        instance.hash(&mut self.coalesce);
        self
    }

    pub fn rate(mut self, key: Key) -> Self {
        self.rate = key;
        self
    }

    pub fn concurrency(mut self, key: Key) -> Self {
        self.concurrency = key;
        self
    }
}

/// The body, as often as the policies want it.
pub struct Attempts<T>(Make<T>);

enum Make<T> {
    Async(Box<dyn FnMut(ShutdownToken) -> BoxedFuture<T> + Send>),
    Blocking(Box<dyn FnMut(ShutdownToken) -> BoxedWork<T> + Send>),
}

impl<T: Send + 'static> Attempts<T> {
    /// An `async fn` without `retry`.
    pub fn once<F>(future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut future: Option<BoxedFuture<T>> = Some(Box::pin(future));
        Self(Make::Async(Box::new(move |_| match future.take() {
            Some(future) => future,
            None => unreachable!("without `retry` there is one attempt"),
        })))
    }

    /// An `async fn` with `retry`.
    pub fn again<F>(mut make: impl FnMut(ShutdownToken) -> F + Send + 'static) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        Self(Make::Async(Box::new(move |token| Box::pin(make(token)))))
    }

    /// A plain `fn`.
    pub fn once_blocking<F>(work: impl FnOnce(ShutdownToken) -> F + Send + 'static) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let mut work = Some(work);
        Self(Make::Blocking(Box::new(move |token| match work.take() {
            Some(work) => Box::new(work(token)),
            None => unreachable!("without `retry` there is one attempt"),
        })))
    }

    /// A plain `fn` with `retry`.
    pub fn again_blocking<F>(mut make: impl FnMut(ShutdownToken) -> F + Send + 'static) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
    {
        Self(Make::Blocking(Box::new(move |token| Box::new(make(token)))))
    }
}

impl<T> fmt::Debug for Attempts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}

/// A call between its admission and its launch.
#[derive(Debug)]
pub struct Call {
    shared: Arc<Shared>,
    handler: &'static Handler,
    fate: Admission,
}

#[derive(Debug)]
enum Admission {
    Runs(Run, Box<PolicyRun>),
    Joins(TaskId, oneshot::Receiver<SharedOutcome>),
    Skipped(TaskId),
    Refused(TaskId, RefusedReason),
}

impl Call {
    /// The token for the function's parameter. Of a call that does not run, it is one that nobody asks.
    pub fn token(&self) -> ShutdownToken {
        match &self.fate {
            Admission::Runs(run, _) => run.token(),
            _ => ShutdownToken::of_process(self.shared.clone()),
        }
    }
}

/// The state for a `State<_>` parameter, or the handle of the call that is refused for the lack of it.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn injected<S: Injected, T>(handler: &'static Handler) -> Result<S, TaskHandle<T>> {
    let called_at = Location::caller();
    let (shared, is_gone) = match context::current(handler.name()) {
        Ok(tracker) => (tracker.shared.clone(), false),
        Err(gone) => (gone, true),
    };
    match shared.policies.states.get::<S>() {
        Some(state) => Ok(state),
        None => {
            let reason = match is_gone {
                // The values are dropped with the manager, so their absence is not the cause.
                true => RefusedReason::ShutDown,
                false => RefusedReason::MissingState(std::any::type_name::<S::Value>()),
            };
            let (state, _) = state_of(&shared, handler);
            let id = refused(&shared, handler, &state, reason, called_at);
            let rest = match shared.hooks.dispatcher() {
                Some(kit) => Rest::RefusedInTest(reason, kit.clone()),
                None => Rest::Refused(reason),
            };
            Err(TaskHandle::new(RawHandle::of_no_task(id, handler, rest)))
        }
    }
}

fn state_of(shared: &Shared, handler: &'static Handler) -> (Arc<HandlerState>, &'static Policies) {
    let policies = handler.policies().unwrap_or(&Policies::NONE);
    (shared.policies.of(handler.name(), policies), policies)
}

/// Counts a call that a policy turns away, and says so.
#[cold]
fn refused(
    shared: &Shared,
    handler: &'static Handler,
    state: &Arc<HandlerState>,
    reason: RefusedReason,
    called_at: &'static Location<'static>,
) -> TaskId {
    let id = tracker::one_id();
    let why = NotStarted::Refused(reason);
    shared.hooks.makes_no_run(handler, id, called_at, why);
    state.counts.refused();
    if handler.log() != Log::Off {
        let call = TurnedAway {
            name: handler.name(),
            id,
            called_at,
            reason,
        };
        turned_away::refused(state, call);
    }
    id
}

/// Counts a call that another one in flight stands for, and says so as loudly as the function's life is told.
fn coalesced(
    shared: &Shared,
    handler: &'static Handler,
    state: &HandlerState,
    how: Coalesced,
    called_at: &'static Location<'static>,
) -> TaskId {
    state.counts.coalesced();
    let id = tracker::one_id();
    let why = NotStarted::Coalesced(how);
    shared.hooks.makes_no_run(handler, id, called_at, why);
    let listened_to = LevelFilter::current();
    if handler
        .log()
        .level()
        .is_some_and(|level| level <= listened_to)
    {
        mention_at!(handler.log(), "call coalesced"; name = handler.name(), id: id.as_u64(), called_at = called_at,
            how = how.as_str());
    }
    id
}

/// Asks the policies that decide at the call itself, and writes the call down if it is to run.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn begin_with(handler: &'static Handler, keys: Keys, origin: Origin) -> Call {
    let called_at = Location::caller();
    let tracker = context::current(handler.name());
    let shared = match &tracker {
        Ok(tracker) => tracker.shared.clone(),
        Err(gone) => gone.clone(),
    };
    let fate = admit(
        tracker.ok(),
        shared.clone(),
        handler,
        keys,
        origin,
        called_at,
    );
    Call {
        shared,
        handler,
        fate,
    }
}

fn admit(
    tracker: Option<Arc<Tracker>>,
    shared: Arc<Shared>,
    handler: &'static Handler,
    keys: Keys,
    origin: Origin,
    called_at: &'static Location<'static>,
) -> Admission {
    let (state, policies) = state_of(&shared, handler);
    // Held until the call is accepted: once the request for a shutdown has returned, no schedule and no store starts a run.
    let tick = match origin {
        Origin::Call => None,
        Origin::Schedule(_) | Origin::Job => match shared.shutdown.start_tick() {
            Some(tick) => Some(tick),
            None => return Admission::Refused(tracker::one_id(), RefusedReason::ShutDown),
        },
    };

    // The group and the manager first: a call that they refuse takes nothing that another call could have.
    let entrance = context::enter_group();
    let mut run = None;
    if entrance.as_ref().is_some_and(Entrance::is_refused)
        || tracker.is_none()
        || shared.gate.is_closed()
    {
        let accepted = launch::accept_entered(handler, called_at, entrance.as_ref());
        if let Some(reason) = accepted.refused() {
            drop((tick, entrance));
            accepted.report_refused();
            return Admission::Refused(accepted.id(), reason);
        }
        // Another manager has taken the runtime over in between.
        run = Some(accepted);
    }

    let runners = state.runners.as_ref();
    let group = || entrance.as_ref().map(|own| own.group_state().clone());
    let leader = match runners
        .map(|runners| runners.enter(keys.coalesce, group().map(|group| group as Arc<dyn Scope>)))
    {
        None => None,
        Some(Entry::Leads(leader)) => Some(leader),
        Some(Entry::Joins(outcome)) => {
            drop((tick, entrance));
            let id = coalesced(&shared, handler, &state, Coalesced::Joined, called_at);
            return Admission::Joins(id, outcome);
        }
        Some(Entry::Skipped) => {
            drop((tick, entrance));
            let id = coalesced(&shared, handler, &state, Coalesced::Skipped, called_at);
            return Admission::Skipped(id);
        }
    };
    let refuse = |leader: Option<Leader>, held: (Option<Tick<'_>>, Option<Entrance>), reason| {
        if let Some(mut leader) = leader {
            leader.otherwise(TaskError::Refused(reason));
        }
        drop(held);
        // After all that others wait for: a subscriber or an observer may take its time.
        let id = refused(&shared, handler, &state, reason, called_at);
        Admission::Refused(id, reason)
    };

    // Each step is passed here if it can be: what is decided at the call needs no wait, and calls keep their order.
    let in_lane = leader.as_ref().is_some_and(Leader::must_wait);
    let mut waits = in_lane;
    let mut window = state.window(&keys.rate);
    if let (Some(rate), Some(own)) = (policies.rate, &window) {
        let now = Instant::now();
        if rate.refuses && !own.is_free(now) {
            return refuse(leader, (tick, entrance), RefusedReason::RateExceeded);
        }
        if !in_lane && own.reserve_now(now) {
            window = None;
        } else {
            // The moment counts at which it comes to it.
            waits = true;
        }
    }
    let limiter = state.limiter(&keys.concurrency);
    let mut turn = None;
    if let Some(limiter) = limiter.as_ref().filter(|_| !waits) {
        turn = match limiter.enter() {
            Acquire::Rejected => return refuse(leader, (tick, entrance), RefusedReason::QueueFull),
            turn => Some(turn),
        };
    }

    let run = run.unwrap_or_else(|| launch::accept_entered(handler, called_at, entrance.as_ref()));
    drop((tick, entrance));
    let Some(place) = run.place() else {
        let reason = run.refused().unwrap_or(RefusedReason::ShutDown);
        if let Some(mut leader) = leader {
            leader.otherwise(TaskError::Refused(reason));
        }
        drop(turn);
        // After all that others wait for: a subscriber or an observer may take its time.
        run.report_refused();
        return Admission::Refused(run.id(), reason);
    };
    if let Some(leader) = &leader {
        leader.replace_earlier();
    }
    let essential = matches!(origin, Origin::Call) && policies.essential;
    let doing = match waits || matches!(turn, Some(Acquire::Queued { .. })) {
        true => {
            place.set_waits();
            Doing::Waiting
        }
        false => Doing::Queued,
    };
    let progress = state.enlist(run.id(), doing);
    let steps = PolicyRun {
        listed: Listed {
            state: state.clone(),
            id: run.id(),
        },
        essential: tracker
            .filter(|_| essential)
            .map(|tracker| Essential(tracker, handler)),
        handler,
        policies,
        shared,
        state,
        place,
        id: run.id(),
        called_at,
        progress,
        thread: Arc::default(),
        leader,
        in_lane,
        window,
        limiter: limiter.filter(|_| turn.is_none()),
        turn,
        caller_alive: None,
        ending: match origin {
            Origin::Call | Origin::Job => None,
            Origin::Schedule(ending) => Some(ending),
        },
    };
    Admission::Runs(run, Box::new(steps))
}

/// Starts the call, or lets go of it if it is not to run.
#[cfg_attr(tokio_unstable, track_caller)]
pub fn launch_with<T>(
    call: Call,
    attempts: Attempts<T>,
    when: RetryWhen<T>,
    share: Share<T>,
    judge: impl Judge<T>,
) -> TaskHandle<T>
where
    T: Send + 'static,
{
    let (can_fail, failure_of) = judged_by(&judge);
    TaskHandle::new(launch_raw(
        call, attempts, when, share, can_fail, failure_of,
    ))
}

fn judged_by<T, J: Judge<T>>(_: &J) -> (bool, FailureOf<T>) {
    (J::CAN_FAIL, J::failure)
}

#[cfg_attr(tokio_unstable, track_caller)]
fn launch_raw<T>(
    call: Call,
    attempts: Attempts<T>,
    when: RetryWhen<T>,
    share: Share<T>,
    can_fail: bool,
    failure_of: FailureOf<T>,
) -> RawHandle
where
    T: Send + 'static,
{
    let handler = call.handler;
    let (run, mut steps) = match call.fate {
        Admission::Runs(run, steps) => (run, steps),
        Admission::Joins(id, outcome) => {
            let raw = RawHandle::of_no_task(id, handler, Rest::Joined(outcome));
            return unused(handler, id, (attempts, when), raw);
        }
        Admission::Skipped(id) => {
            return unused(
                handler,
                id,
                (attempts, when),
                RawHandle::of_no_task(id, handler, Rest::Skipped),
            );
        }
        Admission::Refused(id, reason) => {
            let raw = RawHandle::of_no_task(id, handler, Rest::Refused(reason));
            return unused(handler, id, (attempts, when), raw);
        }
    };
    let mut caller_alive = None;
    if let Some(Concurrency {
        overflow: Overflow::Wait,
        ..
    }) = steps.policies.concurrency
    {
        let (held, guards) = oneshot::channel();
        caller_alive = Some(held);
        steps.caller_alive = Some(guards);
    }
    let policy_link = PolicyLink::new(
        caller_alive,
        steps.leader.as_ref().and_then(Leader::followers),
    );
    let body = PolicyBody {
        needs_owner: can_fail || std::mem::needs_drop::<T>(),
        progress: steps.progress.clone(),
        tries: steps.policies.retry.is_some(),
        thread: steps.thread.clone(),
        ending: steps.ending.take(),
        ended: None,
        failure_of,
        output: None,
        future: Some(Box::pin(run_all(steps, attempts, when, share, failure_of))),
    };
    launch::launch_body(run, body, policy_link)
}

/// Lets go of what a call that does not run was to run.
fn unused<U>(handler: &'static Handler, id: TaskId, unused: U, raw: RawHandle) -> RawHandle {
    let mut unused = Some(unused);
    launch::drop_unused(handler, id, &mut || drop(unused.take()));
    raw
}

/// The policies around the body, from the outside in.
async fn run_all<T: Send + 'static>(
    mut steps: Box<PolicyRun>,
    attempts: Attempts<T>,
    when: RetryWhen<T>,
    share: Share<T>,
    failure_of: FailureOf<T>,
) -> Result<T, TaskError> {
    let guards = match steps.pass().await {
        Ok(guards) => Arc::new(guards),
        Err(error) => {
            steps.state.counts.dropped();
            steps.tell_dropped(&error);
            return Err(error);
        }
    };
    let result = match &attempts.0 {
        Make::Async(_) => steps.run_async(&guards, attempts, when, failure_of).await,
        Make::Blocking(_) => {
            steps
                .run_blocking(&guards, attempts, when, failure_of)
                .await
        }
    };
    if let Err(error @ TaskError::Replaced) = &result {
        steps.tell_dropped(error);
    }
    if let Some(leader) = &guards.leader {
        match &result {
            Err(error) => leader.end(|| SharedOutcome::Error(error.clone())),
            Ok(output) => {
                // Only asked for if somebody has joined: it may be long, and is code of the user's.
                let failure = OnceCell::new();
                leader.end(|| {
                    let failure = failure.get_or_init(|| failure_of(output).unwrap_or_default());
                    // A clone that panics is the panic of those who asked for it, and not of the run.
                    match share.0.map(|share| catch(|| share(output, failure))) {
                        Some(Ok(result)) => SharedOutcome::Value(Box::new(result)),
                        Some(Err(caught)) => SharedOutcome::Error(panicked(*caught)),
                        None => SharedOutcome::Error(TaskError::Aborted),
                    }
                });
            }
        }
    }
    result
}

/// What a run holds as long as its body runs, wherever that is.
#[derive(Debug)]
struct Guards {
    // In this order: the permit is free before those who wait for the run to end are let on.
    _permit: Option<Permit>,
    leader: Option<Leader>,
}

/// What one call has to pass, and all it takes to do so.
#[derive(Debug)]
struct PolicyRun {
    handler: &'static Handler,
    policies: &'static Policies,
    shared: Arc<Shared>,
    state: Arc<HandlerState>,
    place: TaskRef,
    id: TaskId,
    called_at: &'static Location<'static>,
    progress: Arc<Progress>,
    thread: Arc<Thread>,
    leader: Option<Leader>,
    /// It had to wait for an earlier flight.
    in_lane: bool,
    /// Absent once the rate has been passed.
    window: Option<Arc<Window>>,
    /// Absent once a permit, or a place in the line, has been taken.
    limiter: Option<Arc<Limiter>>,
    turn: Option<Acquire>,
    /// Closed when the handle is dropped: for calls past the bound of the line.
    caller_alive: Option<oneshot::Receiver<()>>,
    ending: Option<oneshot::Sender<Ending>>,
    // The last ones: what they tell is true only when all the rest is gone.
    #[allow(dead_code, reason = "it acts when it is dropped")]
    listed: Listed,
    #[allow(dead_code, reason = "it acts when it is dropped")]
    essential: Option<Essential>,
}

/// Why a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    InTime,
    Replaced,
    /// The task was cancelled, or draining has started: nothing that sleeps holds that up.
    Cancelled,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// A pause, and then another attempt.
    Pause,
    /// One more attempt at once, or none: the shutdown leaves no time for pauses.
    Drain,
    /// No attempt: the call was cancelled.
    NoMore,
}

impl PolicyRun {
    /// Passes all that stands before the body: its turn in the runner, the rate, a permit.
    async fn pass(&mut self) -> Result<Guards, TaskError> {
        let mut leader = self.leader.take();
        let passed = self.pass_all(leader.as_mut()).await;
        self.place.notify_wait_over();
        let passed = passed.and_then(|permit| {
            // A call must not begin after the deadline, because the report names it as one that never began.
            let may_begin = self.place.stop_waiting();
            may_begin.then_some(permit).ok_or(TaskError::Aborted)
        });
        match passed {
            Ok(permit) => Ok(Guards {
                _permit: permit,
                leader,
            }),
            Err(error) => {
                // Those who have joined it are told the same.
                if let Some(leader) = &mut leader {
                    leader.otherwise(error.clone());
                }
                Err(error)
            }
        }
    }

    async fn pass_all(
        &mut self,
        mut leader: Option<&mut Leader>,
    ) -> Result<Option<Permit>, TaskError> {
        let replaced = leader
            .as_ref()
            .filter(|_| self.policies.coalesce == Some(Coalesce::Replace))
            .map(|leader| leader.replaced.clone());
        let replaced = replaced.as_ref();

        if let Some(leader) = leader.as_mut().filter(|leader| leader.must_wait()) {
            self.unless_cancelled(replaced, leader.wait_for_turn())
                .await?;
        }
        if let Some(window) = self.window.take() {
            let start = window.reserve(Instant::now());
            // Nothing waits for its rate in a drain, be it the manager's or a group's.
            let group = self.place.group_state();
            let draining = match &group {
                Some(group) => group.token(false),
                None => &self.shared.shutdown.draining,
            };
            match self.sleep_until(start, draining, replaced).await {
                Woken::InTime => {}
                Woken::Replaced => return Err(TaskError::Replaced),
                Woken::Cancelled => {
                    self.report_held_back();
                    return Err(TaskError::Cancelled);
                }
            }
        }
        let turn = match (self.turn.take(), self.limiter.take()) {
            (None, Some(limiter)) if self.in_lane => Some(limiter.enter_anyway()),
            (None, Some(limiter)) => Some(limiter.enter()),
            (turn, _) => turn,
        };
        let permit = match turn {
            None => None,
            Some(Acquire::Ready(permit)) => Some(permit),
            Some(Acquire::Rejected) => return Err(TaskError::Refused(RefusedReason::QueueFull)),
            Some(Acquire::Queued { turn, past_bound }) => {
                let caller_alive = self.caller_alive.take().filter(|_| past_bound);
                let turn = self
                    .unless_cancelled(replaced, unless_let_go(caller_alive, turn))
                    .await?;
                match turn {
                    Some(Ok(permit)) => Some(permit),
                    Some(Err(_)) => {
                        return Err(TaskError::Refused(RefusedReason::DroppedFromQueue));
                    }
                    None => return Err(TaskError::Refused(RefusedReason::QueueFull)),
                }
            }
        };
        if let Some(leader) = &leader {
            leader.begin();
        }
        if replaced.is_some_and(CancellationToken::is_cancelled) {
            return Err(TaskError::Replaced);
        }
        Ok(permit)
    }

    async fn run_async<T: Send + 'static>(
        &self,
        guards: &Arc<Guards>,
        attempts: Attempts<T>,
        when: RetryWhen<T>,
        failure_of: FailureOf<T>,
    ) -> Result<T, TaskError> {
        let work = self.try_all(guards, attempts, when, failure_of);
        match self.replaced(guards) {
            None => work.await,
            Some(replaced) => match unless_fired(replaced, work).await {
                Some(result) => result,
                None => Err(TaskError::Replaced),
            },
        }
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        guards: &Arc<Guards>,
        attempts: Attempts<T>,
        when: RetryWhen<T>,
        failure_of: FailureOf<T>,
    ) -> Result<T, TaskError> {
        let mut work = pin!(self.try_all(guards, attempts, when, failure_of));
        match self.replaced(guards) {
            None => work.await,
            Some(replaced) => match unless_fired(replaced, work.as_mut()).await {
                Some(result) => result,
                None => {
                    // It cannot be dropped, only told; what takes its place waits until it has heeded that.
                    self.fire_own_token();
                    drop(work.await);
                    Err(TaskError::Replaced)
                }
            },
        }
    }

    fn replaced<'h>(&self, guards: &'h Guards) -> Option<&'h CancellationToken> {
        let leader = guards.leader.as_ref()?;
        (self.policies.coalesce == Some(Coalesce::Replace)).then_some(&leader.replaced)
    }

    /// The attempts, with pauses in between.
    async fn try_all<T: Send + 'static>(
        &self,
        guards: &Arc<Guards>,
        mut attempts: Attempts<T>,
        when: RetryWhen<T>,
        failure_of: FailureOf<T>,
    ) -> Result<T, TaskError> {
        let mut attempt = 1;
        // Whether the shutdown leaves time for this attempt only, and the token for it, if the drain is to fire that token late.
        let (mut is_last, mut late) = (false, None);
        loop {
            self.progress.set_attempt(attempt);
            self.progress.set(Doing::Running);
            let result = match &mut attempts.0 {
                Make::Async(make) => {
                    if let Some(dispatcher) = self.shared.hooks.dispatcher() {
                        dispatcher.begun(self.id);
                    }
                    if self.shared.hooks.observers.any() {
                        self.place.notify_started();
                    }
                    let token = match &late {
                        None => self.token(),
                        Some(late) => self.late_token(late),
                    };
                    let future = make(token);
                    self.attempt(future).await
                }
                Make::Blocking(make) => self.attempt_blocking(make, guards, late.as_ref()).await,
            };
            let Some(retry) = self.policies.retry.filter(|retry| attempt < retry.max) else {
                return result;
            };
            let failure = match &result {
                Ok(output) => {
                    failure_of(output).filter(|_| when.0.as_ref().is_none_or(|when| when(output)))
                }
                Err(TaskError::TimedOut) => Some(TaskError::TimedOut.to_string()),
                Err(error @ TaskError::Panicked { .. }) if retry.panics => Some(error.to_string()),
                Err(_) => None,
            };
            let Some(failure) = failure else {
                return result;
            };
            if is_last {
                self.give_up();
                return result;
            }
            self.progress.set(Doing::Asleep);
            match self.after_failure() {
                After::NoMore => return result,
                After::Pause => {
                    let pause = retry.backoff.pause(attempt);
                    self.tell_failed_attempt(attempt, retry.max, &failure, pause);
                    match self
                        .sleep_until(Instant::now() + pause, &self.shared.shutdown.draining, None)
                        .await
                    {
                        Woken::InTime => {}
                        Woken::Replaced => return result,
                        Woken::Cancelled if self.after_failure() == After::NoMore => {
                            return result;
                        }
                        Woken::Cancelled => {}
                    }
                }
                After::Drain if self.has_last_attempt(retry) => {
                    self.tell_failed_attempt(attempt, retry.max, &failure, Duration::ZERO);
                }
                After::Drain => {}
            }
            // Draining may also have started during the pause.
            if self.shared.shutdown.phase() >= Phase::Draining {
                if !self.has_last_attempt(retry) {
                    self.give_up();
                    return result;
                }
                is_last = true;
                // With `on_shutdown = "finish"` the drain does not fire the token of this call.
                late = (!self.place.finishes)
                    .then(|| last_attempt::begin(&self.shared, &self.progress));
            }
            drop(result);
            self.state.counts.retried();
            attempt += 1;
            if self.shared.hooks.observers.any() {
                let call = self.place.identity();
                tell(&self.shared, |observer| observer.retried(&call));
            }
        }
    }

    /// One attempt of an `async fn`, within its time.
    async fn attempt<T>(&self, future: BoxedFuture<T>) -> Result<T, TaskError> {
        let caught = CatchPanic(Some(future));
        let result = match self.policies.timeout {
            None => caught.await,
            // Dropped at the limit, with all that it holds.
            Some(limit) => match within(limit, caught).await {
                Some(result) => result,
                None => return Err(TaskError::TimedOut),
            },
        };
        result.map_err(|caught| panicked(*caught))
    }

    /// One attempt of a plain `fn`. It cannot be dropped: at the limit its token fires, and it is waited for.
    async fn attempt_blocking<T: Send + 'static>(
        &self,
        make: &mut (dyn FnMut(ShutdownToken) -> BoxedWork<T> + Send),
        guards: &Arc<Guards>,
        late: Option<&CancellationToken>,
    ) -> Result<T, TaskError> {
        // One of its own, so that the next attempt does not find it fired.
        let own = match (self.policies.timeout, late) {
            (Some(_), Some(late)) => Some(late.child_token()),
            (Some(_), None) => Some(self.own_token().child_token()),
            (None, late) => late.cloned(),
        };
        let attempt_token = own.clone().map(|own| AttemptToken {
            own,
            is_last: late.is_some(),
        });
        let token = match &attempt_token {
            Some(own) => ShutdownToken::of_attempt_token(self.place.clone(), own.clone()),
            None => self.token(),
        };
        let work = make(token);
        let mut place = self.place.clone();
        // It may block there.
        place.is_async = false;
        let mut ended = pin!(blocking::run(
            work,
            self.id,
            place,
            attempt_token,
            guards.clone(),
            &self.thread,
            self.handler.name(),
        ));
        let mut in_time = true;
        let ended = match (self.policies.timeout, &own) {
            (Some(limit), Some(own)) => match tokio::time::timeout(limit, ended.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => {
                    in_time = false;
                    own.cancel();
                    ended.await
                }
            },
            _ => ended.await,
        };
        match ended {
            None => Err(TaskError::Aborted),
            // A panic is told whenever it comes.
            Some(Err(caught)) => Err(panicked(*caught)),
            Some(Ok(_)) if !in_time => Err(TaskError::TimedOut),
            Some(Ok(output)) => Ok(output),
        }
    }

    /// Returns what follows a failed attempt that another attempt may follow.
    fn after_failure(&self) -> After {
        // Check the token before the phase: the drain fires it after it has begun, so one that has fired without the drain was
        // cancelled alone.
        let has_fired = self.token().is_cancelled_alone();
        let drains = self.shared.shutdown.phase() >= Phase::Draining;
        let is_cancelled = has_fired && (!drains || self.place.finishes);
        // The phase has been read before: see `GroupState::is_cancelled`.
        let group_is_cancelled = || {
            self.place
                .group_state()
                .is_some_and(|own| own.is_cancelled())
        };
        if is_cancelled || self.progress.is_cancelled_alone() || group_is_cancelled() {
            After::NoMore
        } else if drains {
            After::Drain
        } else {
            After::Pause
        }
    }

    /// Returns whether the drain grants one more attempt to a call that has failed.
    fn has_last_attempt(&self, retry: Retry) -> bool {
        retry.last_attempt && self.handler.on_shutdown() != OnShutdown::Cancel
    }

    /// Notes that the shutdown ends the attempts of the call.
    fn give_up(&self) {
        self.progress.give_up();
        self.shared.policies.give_up();
    }

    fn late_token(&self, late: &CancellationToken) -> ShutdownToken {
        let token = AttemptToken {
            own: late.clone(),
            is_last: true,
        };
        ShutdownToken::of_attempt_token(self.place.clone(), token)
    }

    fn token(&self) -> ShutdownToken {
        ShutdownToken::of_task(self.place.clone())
    }

    /// The task's own cancellation.
    fn own_token(&self) -> CancellationToken {
        let token = self.place.token();
        token.unwrap_or_else(|| self.shared.shutdown.task_token(self.handler.finishes()))
    }

    fn fire_own_token(&self) {
        // Before the token fires: when the token ends an attempt, the call must already count as cancelled, so that none follows.
        self.progress.cancel();
        let token = self.own_token();
        // The same order as in `TaskHandle::cancel`, for the same reason.
        self.shared.cancelled_alone.fetch_add(1, Ordering::Release);
        token.cancel();
    }

    /// Awaits `what`, a place that comes free as others end. Neither the drain of the manager nor that of a group ends this wait:
    /// an accepted call gets its turn as long as there is time, and the tokens of the calls it waits for have fired.
    ///
    /// # Errors
    /// If the call, or its group, is cancelled, or another call replaces it.
    async fn unless_cancelled<F: Future>(
        &self,
        replaced: Option<&CancellationToken>,
        what: F,
    ) -> Result<F::Output, TaskError> {
        // Not the task's own token, which also fires in a drain.
        let group = self.place.group_state();
        let group = group.as_ref().map(|group| group.token(true));
        let mut cancelled = pin!(self.progress.cancellation().cancelled());
        let mut group_cancelled = pin!(fires(group));
        let mut replaced = pin!(fires(replaced));
        let mut what = pin!(what);
        poll_fn(|cx| {
            if replaced.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(TaskError::Replaced));
            }
            if let Poll::Ready(output) = what.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let is_cancelled = cancelled.as_mut().poll(cx).is_ready();
            if is_cancelled || group_cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(TaskError::Cancelled));
            }
            Poll::Pending
        })
        .await
    }

    async fn sleep_until(
        &self,
        until: Instant,
        draining: &CancellationToken,
        replaced: Option<&CancellationToken>,
    ) -> Woken {
        if until <= Instant::now() {
            return Woken::InTime;
        }
        let own = self.own_token();
        let mut cancelled = pin!(own.cancelled());
        // The task's own token does not fire with the drain where it says `on_shutdown = "finish"`.
        let mut draining = pin!(draining.cancelled());
        let mut replaced = pin!(fires(replaced));
        let mut slept = pin!(tokio::time::sleep_until(until));
        poll_fn(|cx| {
            if replaced.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Replaced);
            }
            if cancelled.as_mut().poll(cx).is_ready() || draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Cancelled);
            }
            slept.as_mut().poll(cx).map(|()| Woken::InTime)
        })
        .await
    }

    /// A policy ends the call.
    #[cold]
    fn tell_dropped(&self, why: &TaskError) {
        if self.shared.hooks.observers.any() {
            let call = self.place.identity();
            tell(&self.shared, |observer| observer.dropped(&call, why));
        }
        if let TaskError::Refused(reason) = *why
            && self.handler.log() != Log::Off
        {
            let call = TurnedAway {
                name: self.handler.name(),
                id: self.id,
                called_at: self.called_at,
                reason,
            };
            turned_away::dropped(&self.state, call);
        }
    }

    /// It waited for its rate when it was told to end. Nobody else would say so.
    fn report_held_back(&self) {
        if self.handler.log() != Log::Off {
            report!(warn, "call dropped before it began: it waited for its rate"; name = self.handler.name(),
                id: self.id.as_u64(), called_at = self.called_at);
        }
        self.shared.shutdown.note_failure(|| Failure {
            id: self.id,
            name: self.handler.name(),
            called_at: self.called_at,
            outcome: Outcome::Cancelled,
            message: "dropped before it began: it waited for its rate".to_owned(),
            location: None,
        });
    }

    fn tell_failed_attempt(&self, attempt: u32, of: u32, failure: &str, pause: Duration) {
        if self.handler.log() == Log::Off {
            return;
        }
        mention!(warn, "attempt failed, another follows"; name = self.handler.name(), id: self.id.as_u64(),
            called_at = self.called_at, attempt: attempt, of: of, error = Excerpt(failure), pause = Time(pause));
    }
}

fn tell(shared: &Shared, what: impl Fn(&dyn Observer)) {
    shared.hooks.observers.notify(what);
}

/// Completes when the token fires; never if there is none.
async fn fires(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Awaits `what`; `None` if the other end of the caller_alive is let go first.
async fn unless_let_go<F: Future>(
    caller_alive: Option<oneshot::Receiver<()>>,
    what: F,
) -> Option<F::Output> {
    let mut what = pin!(what);
    let mut caller_alive = caller_alive;
    poll_fn(|cx| {
        if let Poll::Ready(output) = what.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match &mut caller_alive {
            Some(caller_alive) => Pin::new(caller_alive).poll(cx).map(|_| None),
            None => Poll::Pending,
        }
    })
    .await
}

fn panicked(caught: Caught) -> TaskError {
    TaskError::Panicked {
        message: caught.message,
        location: caught.location,
    }
}

/// A future whose panic is its output. It is dropped as soon as it is over.
struct CatchPanic<T>(Option<BoxedFuture<T>>);

impl<T> Future for CatchPanic<T> {
    type Output = Result<T, Box<Caught>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let result = match catch(|| future.as_mut().poll(cx)) {
            Ok(poll) => Ok(ready!(poll)),
            Err(caught) => Err(caught),
        };
        self.0 = None;
        Poll::Ready(result)
    }
}

/// Its place among the live calls of its function.
#[derive(Debug)]
struct Listed {
    state: Arc<HandlerState>,
    id: TaskId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.state.strike_out(self.id);
    }
}

/// Judges the end of an essential task when dropped, however the task ends.
#[derive(Debug)]
struct Essential(Arc<Tracker>, &'static Handler);

impl Drop for Essential {
    fn drop(&mut self) {
        essential::ended(&self.0, self.1);
    }
}

/// What the call path runs: the composed future, and then its output.
struct PolicyBody<T> {
    /// Absent once it is over.
    future: Option<BoxedFuture<Result<T, TaskError>>>,
    output: Option<T>,
    failure_of: FailureOf<T>,
    needs_owner: bool,
    progress: Arc<Progress>,
    /// It is tried more than once.
    tries: bool,
    thread: Arc<Thread>,
    /// For the schedule that started it.
    ending: Option<oneshot::Sender<Ending>>,
    ended: Option<Ending>,
}

// What it holds is pinned in a box of its own.
impl<T> Unpin for PolicyBody<T> {}

impl<T: Send + 'static> PolicyBody<T> {
    /// What the output says if it is an error.
    fn judge(&mut self, output: &T) -> Option<Box<BodyFailure>> {
        let failure = (self.failure_of)(output);
        self.ended = Some(match failure {
            None => Ending::Succeeded,
            Some(_) => Ending::Failed,
        });
        let failure = failure.map(|failure| match self.note_on_attempts() {
            Some(note) => format!("{failure} {note}"),
            None => failure,
        });
        failure.map(|failure| Box::new(BodyFailure::Failed(failure)))
    }

    fn verdict(&mut self, error: TaskError) -> Box<BodyFailure> {
        if let TaskError::Panicked { .. } | TaskError::TimedOut = error {
            self.ended = Some(Ending::Failed);
        }
        Box::new(BodyFailure::Ended(PolicyEnd {
            error,
            attempts: self.progress.attempt(),
            gave_up: self.progress.gave_up(),
            note: self.note_on_attempts(),
        }))
    }

    /// Returns the attempts as the texts about a failure state them, or `None` for a call without `retry`.
    fn note_on_attempts(&self) -> Option<String> {
        let gave_up = match self.progress.gave_up() {
            true => "gave up ",
            false if self.tries => "",
            false => return None,
        };
        Some(match self.progress.attempt() {
            1 => format!("({gave_up}after 1 attempt)"),
            attempts => format!("({gave_up}after {attempts} attempts)"),
        })
    }
}

impl<T: Send + 'static> Body for PolicyBody<T> {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Box<BodyFailure>>> {
        let Some(future) = &mut self.future else {
            // It is polled after its end, as no runner does.
            return Poll::Pending;
        };
        let result = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(match result {
            Ok(output) => {
                let failure = self.judge(&output);
                self.output = Some(output);
                failure
            }
            Err(error) => Some(self.verdict(error)),
        })
    }

    fn needs_owner(&self) -> bool {
        // That it ran out of time somebody may want to know, although it would return nothing.
        self.needs_owner || self.ended == Some(Ending::Failed)
    }

    fn left_behind(&self) -> bool {
        self.thread.is_running()
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.future = None;
        self.output = None;
    }

    fn take(mut self: Pin<&mut Self>, into: &mut dyn Any) {
        if let Some(into) = into.downcast_mut::<Option<T>>() {
            *into = self.output.take();
        }
    }
}

impl<T> Drop for PolicyBody<T> {
    fn drop(&mut self) {
        if let (Some(ending), Some(ended)) = (self.ending.take(), self.ended) {
            // The schedule may have ended.
            let _ = ending.send(ended);
        }
    }
}
