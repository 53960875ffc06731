//! The observers inside this crate, notified of what happens to calls: metrics, the dashboard.
//! Owns the vocabulary of notifications and the list of observers; must never know when they are sent.
#![cfg_attr(
    not(any(feature = "metrics", feature = "dashboard")),
    allow(dead_code, reason = "only these features observe calls")
)]

pub(crate) mod call_info;
mod calls;
pub(crate) mod dispatch;
pub(crate) mod hooks;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod rejections;

use crate::error::{RefusedReason, TaskError};
use crate::fields::Fields;
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::stats::{Outcome, TaskId};
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::text::Excerpt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Is notified of what happens to one manager's calls, on the thread where it happens and never under a lock. It must not block.
/// A panic is reported and goes no further.
///
/// For each accepted call it receives `accepted`, then at most one `began`, then exactly one `ended`, or one `all_ended` that
/// includes the call. The tracker counts an end only after that, so a thread that sees a call ended finds it observed. Exceptions are
/// the calls that the deadline retires: they are observed before the report is written, or after it if no thread can be spawned. A
/// call that ends on one thread while it begins on another may be observed by both threads at once.
///
/// An observer that is added while calls are live is also notified of what happens to those calls from then on.
#[allow(unused_variables, reason = "an observer implements what it needs")]
pub(crate) trait Observer: Send + Sync {
    /// The name under which its panics are reported.
    fn name(&self) -> &'static str;

    /// The schedule of a function makes the call with this id. Before `accepted`, and not for a call that is not accepted.
    fn scheduled(&self, handler: &'static Handler, id: TaskId) {}
    /// The call is accepted, and not yet handed to the runtime.
    fn accepted(&self, call: &CallInfo) {}
    /// The call starts to wait: for an earlier run, for its rate limit, for a permit. After `accepted` and before `began`.
    fn starts_waiting(&self, call: &CallInfo) {}
    /// The call stops waiting. Once per `starts_waiting`, before `began` and `ended`.
    fn stops_waiting(&self, call: &CallInfo) {}
    /// The first instruction is about to run, `waited` after the call.
    fn began(&self, call: &CallInfo, waited: Duration) {}
    /// The call has ended, or is abandoned.
    fn ended(&self, end: &Ended) {}
    /// Calls of one function have ended with the same outcome, because the deadline has retired them. Replaces `stops_waiting` and
    /// `ended` for each of them, because there may be a million.
    fn all_ended(&self, handler: &'static Handler, outcome: Outcome, ends: &[Ended]) {}

    /// A call was not accepted.
    fn refused(&self, handler: &'static Handler, reason: RefusedReason) {}
    /// A call was not accepted, because another one does its work.
    fn coalesced(&self, handler: &'static Handler, how: Coalesced) {}
    /// A policy ends an accepted call with this error. `ended` follows.
    fn dropped(&self, call: &CallInfo, why: &TaskError) {}
    /// An attempt has failed, and the call sleeps for `pause` before the next one.
    fn backs_off(&self, call: &CallInfo, pause: Duration) {}
    /// A further attempt is about to begin.
    fn retried(&self, call: &CallInfo) {}

    /// `ticks` of a schedule have no run of their own.
    fn missed(&self, handler: &'static Handler, ticks: u64) {}
    /// A start-up task has ended and is about to be restarted.
    fn restarted(&self, handler: &'static Handler) {}

    /// The shutdown has reached `stage`. Stages may be skipped or repeated, and arrive in order, except when the manager is
    /// dropped concurrently, an observer is slow, or no helper thread could be spawned.
    fn shutdown(&self, stage: Stage) {}
}

/// The end of one call.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) call: CallInfo,
    pub(crate) outcome: Outcome,
    /// Time from the call to the end.
    pub(crate) age: Duration,
    /// Time from the call to its first instruction, or `None` if it never began.
    pub(crate) waited: Option<Duration>,
    /// Whether it was still waiting for a policy.
    pub(crate) is_waiting: bool,
    pub(crate) fields: Fields,
}

#[cfg(feature = "metrics")]
impl Ended {
    /// Returns the time from the first instruction to the end, or `None` if the call never began.
    pub(crate) fn ran(&self) -> Option<Duration> {
        self.waited.map(|waited| self.age.saturating_sub(waited))
    }
}

/// The reason why a call has no run of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coalesced {
    Joined,
    Skipped,
}

impl Coalesced {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Coalesced::Joined => "joined",
            Coalesced::Skipped => "skipped",
        }
    }
}

/// The stages of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Stopping,
    Draining,
    Over,
}

/// The observers of one manager. They are added at any time and never removed, so a notification takes no lock.
#[derive(Default)]
pub(crate) struct Observers([OnceLock<Arc<dyn Observer>>; Self::MAX]);

impl Observers {
    /// Each feature that observes adds one observer per manager.
    const MAX: usize = 3;

    pub(crate) fn add(&self, mut observer: Arc<dyn Observer>) {
        for slot in &self.0 {
            match slot.set(observer) {
                Ok(()) => return,
                Err(rejected) => observer = rejected,
            }
        }
        unreachable!("there are at most {} observers", Self::MAX)
    }

    /// Returns whether there is an observer. Without a feature that adds one, this is a compile-time constant.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        cfg!(any(feature = "metrics", feature = "dashboard")) && self.0[0].get().is_some()
    }

    pub(crate) fn notify(&self, notify: impl Fn(&dyn Observer)) {
        for observer in self.0.iter().map_while(OnceLock::get) {
            if let Err(caught) = catch(|| notify(&**observer)) {
                report!(error, "observer panicked"; observer = observer.name(), panic = Excerpt(&caught.message));
            }
        }
    }
}
