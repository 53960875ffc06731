//! The site of a call: the function, the location, and the manager and group that the call belongs to.
//! Owns what is decided with the manager alone, such as the values of `State<_>` parameters; knows no policy and no runner.

use crate::call::handle::{RawHandle, Rest};
use crate::context::{self, Resolved};
use crate::handler::{Handler, Log};
use crate::observe::dispatch::NotStarted;
use crate::observe::rejections;
use crate::policy::{HandlerState, RejectedCall, RejectionCause};
use crate::state::Injected;
use crate::stats::TaskId;
use crate::tracker;
use crate::tracker::shared::Shared;
use crate::{RefusedReason, TaskHandle};
use std::any::type_name;
use std::panic::Location;
use std::sync::Arc;

/// A call before its acceptance, with the manager found for it.
#[derive(Debug)]
pub struct CallSite {
    pub(super) handler: &'static Handler,
    pub(super) called_at: &'static Location<'static>,
    pub(super) resolved: Resolved,
}

/// Finds the manager of a call, once for all that follows.
///
/// # Panics
/// If no manager can be found.
#[track_caller]
pub fn resolve(handler: &'static Handler) -> CallSite {
    CallSite {
        handler,
        called_at: Location::caller(),
        resolved: context::resolve(handler.name()),
    }
}

/// Returns the value for a `State<_>` parameter. If there is none, refuses the call and returns its handle.
pub fn injected<S: Injected, T>(site: &CallSite) -> Result<S, TaskHandle<T>> {
    match site.resolved.shared().policies.states.get::<S>() {
        Some(state) => Ok(state),
        None => Err(TaskHandle::new(
            site.refuse_without_state(type_name::<S::Value>()),
        )),
    }
}

impl CallSite {
    #[cold]
    fn refuse_without_state(&self, missing: &'static str) -> RawHandle {
        let shared = self.resolved.shared();
        let reason = if self.resolved.tracker().is_some() {
            shared.policies.missing_state.add_one();
            RefusedReason::MissingState(missing)
        } else {
            // The values were dropped with the manager, so their absence is not the cause.
            RefusedReason::ShutDown
        };
        let state = shared
            .policies
            .handler_state(self.handler.name(), self.handler.declared());
        let id = turn_away(shared, self.handler, &state, reason, self.called_at);
        let rest = match shared.hooks.dispatcher() {
            Some(kit) => Rest::RefusedInTest(reason, kit.clone()),
            None => Rest::Refused(reason),
        };
        RawHandle::without_task(id, self.handler, rest)
    }
}

/// Counts a call that is turned away before its acceptance, notifies the observers and logs it.
#[cold]
pub(super) fn turn_away(
    shared: &Shared,
    handler: &'static Handler,
    state: &Arc<HandlerState>,
    reason: RefusedReason,
    called_at: &'static Location<'static>,
) -> TaskId {
    let id = tracker::one_id();
    let why = NotStarted::Refused(reason);
    shared.hooks.makes_no_run(handler, id, called_at, why);
    state.counts.refused.add_one();
    if handler.log() != Log::Off {
        let call = RejectedCall {
            name: handler.name(),
            id,
            called_at,
            cause: RejectionCause::Refused(reason),
        };
        rejections::log(state, call);
    }
    id
}
