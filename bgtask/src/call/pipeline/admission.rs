//! The decision of the policies at the call itself: whether it runs, joins another call, is skipped or is refused.
//! Owns the keys of a call and the order of the checks; knows no body.

use crate::call::launch::{self, Run};
use crate::call::pipeline::run::{Essential, Listed, PolicyRun};
use crate::call::site::{self, CallSite};
use crate::context::Entrance;
use crate::handler::Handler;
use crate::observe::Coalesced;
use crate::observe::dispatch::NotStarted;
use crate::policy::{
    Acquire, Activity, Entry, HandlerState, Key, Leader, Origin, Permit, Policies, Scope,
    SharedOutcome,
};
use crate::stats::TaskId;
use crate::tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Tick;
use crate::util::log::mention_at;
use crate::{RefusedReason, ShutdownToken, TaskError};
use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

/// The keys of a call: each policy that has one limits the calls with the same key together.
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

    /// Separates the calls of one instance of a generic function from those of others.
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

/// A call between its admission and its launch.
#[derive(Debug)]
pub struct Call {
    pub(super) handler: &'static Handler,
    pub(super) admission: Admission,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) enum Admission {
    Runs(Run, Box<PolicyRun>),
    Joins(TaskId, oneshot::Receiver<SharedOutcome>),
    Skipped(TaskId),
    Refused(TaskId, RefusedReason),
    /// The attempt of a durable job, which never waits here: its job goes back to the queue. It is no call, and is not counted.
    Postponed(TaskId, Duration),
}

impl Call {
    /// Returns the token for the function's parameter. Nothing uses the token of a call that does not run.
    pub fn token(&self) -> ShutdownToken {
        match &self.admission {
            Admission::Runs(run, _) => run.token(),
            _ => ShutdownToken::for_process(self.shared.clone()),
        }
    }
}

/// Asks the policies that decide at the call itself, and records the call if they admit it.
///
/// # Panics
/// If no manager can be found.
#[track_caller]
pub fn begin_with(handler: &'static Handler, keys: Keys, origin: Origin) -> Call {
    begin_with_at(site::resolve(handler), keys, origin)
}

/// Does the same as [`begin_with`] for a call whose manager has been found.
pub fn begin_with_at(mut site: CallSite, keys: Keys, origin: Origin) -> Call {
    let admission = admit(&mut site, keys, origin);
    Call {
        handler: site.handler,
        admission,
        shared: site.resolved.shared().clone(),
    }
}

fn admit(site: &mut CallSite, keys: Keys, origin: Origin) -> Admission {
    // The group and the manager come first: a call that they refuse takes nothing that another call could have.
    let entrance = site.resolved.enter_group();
    let &mut CallSite {
        handler,
        called_at,
        ref resolved,
    } = site;
    let shared = resolved.shared();
    let policies = handler.declared();
    let state = shared.policies.handler_state(handler.name(), policies);
    // Held until the call is accepted: once the request for a shutdown has returned, no schedule and no store starts a run.
    let tick = match origin {
        Origin::Call => None,
        Origin::Schedule(_) | Origin::Job(..) => match shared.shutdown.start_tick() {
            Some(tick) => Some(tick),
            None => return Admission::Refused(tracker::one_id(), RefusedReason::ShutDown),
        },
    };

    let mut turn = None;
    if matches!(origin, Origin::Job(..)) {
        match pass_or_postpone(policies, &state, &keys.rate, &keys.concurrency) {
            Ok(permit) => turn = permit.map(Acquire::Ready),
            Err(pause) => return Admission::Postponed(tracker::one_id(), pause),
        }
    }
    let waits_here = !matches!(origin, Origin::Job(..));

    let mut run = None;
    if entrance.as_ref().is_some_and(Entrance::is_refused)
        || resolved.tracker().is_none()
        || shared.gate.is_closed()
    {
        let accepted = launch::accept_at(site, entrance.as_ref());
        if let Some(reason) = accepted.refused() {
            drop((tick, entrance));
            accepted.report_refused();
            return Admission::Refused(accepted.id(), reason);
        }
        run = Some(accepted);
    }

    let group_scope = || {
        let group = entrance.as_ref()?.group_state().clone();
        Some(group as Arc<dyn Scope>)
    };
    let entry = state
        .key_groups
        .as_ref()
        .map(|runners| runners.enter(keys.coalesce, group_scope()));
    let leader = match entry {
        None => None,
        Some(Entry::Leads(leader)) => Some(leader),
        Some(Entry::Joins(outcome)) => {
            drop((tick, entrance));
            let id = coalesce(shared, handler, &state, Coalesced::Joined, called_at);
            return Admission::Joins(id, outcome);
        }
        Some(Entry::Skipped) => {
            drop((tick, entrance));
            let id = coalesce(shared, handler, &state, Coalesced::Skipped, called_at);
            return Admission::Skipped(id);
        }
    };
    let refuse = |leader: Option<Leader>, held: (Option<Tick<'_>>, Option<Entrance>), reason| {
        if let Some(mut leader) = leader {
            leader.set_fallback(TaskError::Refused(reason));
        }
        drop(held);
        // After the release of all that others wait for: a subscriber or an observer may take its time.
        let id = site::turn_away(shared, handler, &state, reason, called_at);
        Admission::Refused(id, reason)
    };

    // Each policy lets the call pass here if it can. Such a call needs no wait, and calls keep their order.
    let follows_run = leader.as_ref().is_some_and(Leader::must_wait);
    let mut waits = follows_run;
    let mut window = state.window(&keys.rate).filter(|_| waits_here);
    if let (Some(rate), Some(open)) = (policies.rate, &window) {
        let now = Instant::now();
        if rate.refuses && !open.is_free(now) {
            return refuse(leader, (tick, entrance), RefusedReason::RateExceeded);
        }
        if !follows_run && open.try_reserve(now) {
            window = None;
        } else {
            // A call that waits for an earlier run reserves its start when its turn comes.
            waits = true;
        }
    }
    let limiter = state.limiter(&keys.concurrency).filter(|_| waits_here);
    if let Some(limiter) = limiter.as_ref().filter(|_| !waits) {
        turn = match limiter.acquire() {
            Acquire::Rejected => return refuse(leader, (tick, entrance), RefusedReason::QueueFull),
            turn => Some(turn),
        };
    }

    let run = run.unwrap_or_else(|| launch::accept_at(site, entrance.as_ref()));
    drop((tick, entrance));
    let Some(task) = run.task_ref() else {
        let reason = run.refused().unwrap_or(RefusedReason::ShutDown);
        if let Some(mut leader) = leader {
            leader.set_fallback(TaskError::Refused(reason));
        }
        drop(turn);
        // After the release of all that others wait for, as above.
        run.report_refused();
        return Admission::Refused(run.id(), reason);
    };
    if let Some(leader) = &leader {
        leader.replace_earlier();
    }
    let doing = if waits || matches!(turn, Some(Acquire::Queued { .. })) {
        task.set_waits();
        Activity::Waiting
    } else {
        Activity::Queued
    };
    let progress = state.record(run.id(), doing);
    let (ending, is_call) = match origin {
        Origin::Call => (None, true),
        Origin::Schedule(ending) => {
            notify_scheduled(shared, handler, run.id());
            (Some(ending), false)
        }
        #[cfg(feature = "durable")]
        Origin::Job(claimed) => {
            state.note_job(run.id(), claimed.info);
            (None, false)
        }
        #[cfg(not(feature = "durable"))]
        Origin::Job() => (None, false),
    };
    let policy_run = PolicyRun {
        handler,
        policies,
        shared: shared.clone(),
        task,
        id: run.id(),
        called_at,
        progress,
        thread: Arc::default(),
        leader,
        follows_run,
        window,
        limiter: limiter.filter(|_| turn.is_none()),
        waited_for_rate: false,
        turn,
        caller_alive: None,
        ending,
        listed: Listed {
            state: state.clone(),
            id: run.id(),
        },
        essential: resolved
            .tracker()
            .filter(|_| is_call && policies.essential)
            .map(|tracker| Essential(tracker.clone(), handler)),
        state,
    };
    Admission::Runs(run, Box::new(policy_run))
}

/// Notifies the observers of a call that a schedule makes.
#[cold]
fn notify_scheduled(shared: &Shared, handler: &'static Handler, id: TaskId) {
    let observers = &shared.hooks.observers;
    if observers.any() {
        observers.notify(|observer| observer.scheduled(handler, id));
    }
}

/// Lets the attempt of a job pass the rate and the concurrency of its function, and returns its permit, or the pause before the next
/// try.
fn pass_or_postpone(
    policies: &Policies,
    state: &HandlerState,
    rate: &Key,
    concurrency: &Key,
) -> Result<Option<Permit>, Duration> {
    let now = Instant::now();
    let limiter = state.limiter(concurrency);
    let permit = limiter
        .map(|limiter| limiter.try_acquire(now))
        .transpose()?;
    // After the permit: without one, the attempt must not use a start up.
    if policies.rate.is_some()
        && let Some(window) = state.window(rate)
    {
        window.try_reserve_or_postpone(now)?;
    }
    Ok(permit)
}

/// Counts a call that another call in flight stands for, notifies the observers and logs it at the level of the `log` option.
fn coalesce(
    shared: &Shared,
    handler: &'static Handler,
    state: &HandlerState,
    how: Coalesced,
    called_at: &'static Location<'static>,
) -> TaskId {
    state.counts.coalesced.add_one();
    let id = tracker::one_id();
    let why = NotStarted::Coalesced(how);
    shared.hooks.makes_no_run(handler, id, called_at, why);
    let max_level = LevelFilter::current();
    let level = handler.log().level();
    if level.is_some_and(|level| level <= max_level) {
        mention_at!(handler.log(), "call coalesced"; name = handler.name(), id: id.as_u64(), called_at = called_at,
            how = how.as_str());
    }
    id
}
