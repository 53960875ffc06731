//! Who inside this crate is told of every call: what is written down for metrics, and whatever else an optional feature adds.
//! Owns the words in which calls are told and the list of those who listen; knows nothing of when they are said, or of what is
//! made of them.
#![cfg_attr(
    not(any(feature = "metrics", feature = "dashboard")),
    allow(dead_code, reason = "nobody listens without a feature that does")
)]

pub(crate) mod call_info;
mod calls;
pub(crate) mod hooks;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod turned_away;

use crate::error::{RefusedReason, TaskError};
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::text::Excerpt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Is told what becomes of one manager's calls, on the thread on which it happens: short and without waiting. Never under a
/// lock, and a panic goes no further.
///
/// Of every accepted call it is told `accepted`, then at most one `began`, then exactly one `ended`, however the call ends.
/// They are told before the books say the same, so that whoever has seen a call end finds it told; but for calls that the
/// deadline strikes out, of which it is told before the report is there, or after it where there is no thread to tell from.
/// Where a call ends on one thread in the moment in which it begins on another, the two may come at once.
///
/// One that is added while calls are live is also told of what becomes of those it has not been told the acceptance of.
#[allow(unused_variables, reason = "each listens to what it wants")]
pub(crate) trait Observer: Send + Sync {
    /// What it is called where its panic is reported.
    fn name(&self) -> &'static str;

    /// The call is accepted, and has not been handed to the runtime yet.
    fn accepted(&self, call: &CallInfo) {}
    /// The call stands in a line: for an earlier run, for its rate, for a permit. Told after `accepted` and before `began`.
    fn waits(&self, call: &CallInfo) {}
    /// It does so no more. Told once for each `waits`, before `began` and `ended`.
    fn waits_no_more(&self, call: &CallInfo) {}
    /// The first instruction is about to run, so long after the call.
    fn began(&self, call: &CallInfo, waited: Duration) {}
    /// The call has ended, or is given up.
    fn ended(&self, end: &Ended) {}

    /// A call was not accepted.
    fn refused(&self, handler: &'static Handler, reason: RefusedReason) {}
    /// A call was not accepted, since another one does its work.
    fn coalesced(&self, handler: &'static Handler, how: Coalesced) {}
    /// A policy ends an accepted call, and why: `ended` follows.
    fn dropped(&self, call: &CallInfo, why: &TaskError) {}
    /// A further attempt is about to begin.
    fn retried(&self, call: &CallInfo) {}

    /// So many ticks of a schedule have no run of their own.
    fn missed(&self, handler: &'static Handler, ticks: u64) {}
    /// A start-up task has ended and is about to be started again.
    fn restarted(&self, handler: &'static Handler) {}

    /// How far the shutdown has come. Some stages may be left out, and one told twice; none is told after a later one but by a
    /// manager that is dropped meanwhile, where somebody takes long to be told, or where there is no thread to tell from.
    fn shutdown(&self, stage: Stage) {}
}

/// The end of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) call: CallInfo,
    pub(crate) outcome: Outcome,
    /// Time from the call to the end.
    pub(crate) age: Duration,
    /// Time from the call to its first instruction; none if it never began.
    pub(crate) waited: Option<Duration>,
    /// It still stood in a line.
    pub(crate) in_line: bool,
}

/// What became of a call that another one does the work of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coalesced {
    Joined,
    Skipped,
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Stopping,
    Draining,
    Over,
}

/// Those who listen to one manager. They come at any time and stay as long as it does, so whoever tells them takes no lock.
#[derive(Default)]
pub(crate) struct Observers(OnceLock<Box<Node>>);

struct Node {
    observer: Arc<dyn Observer>,
    next: Observers,
}

impl Observers {
    pub(crate) fn add(&self, observer: Arc<dyn Observer>) {
        let mut node = Box::new(Node {
            observer,
            next: Self::default(),
        });
        let mut end = self;
        while let Err(back) = end.0.set(node) {
            node = back;
            match end.0.get() {
                Some(taken) => end = &taken.next,
                None => unreachable!("it was taken a moment ago, and stays so"),
            }
        }
    }

    /// Whether anybody listens. Without a feature that does this is known when the crate is compiled.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        cfg!(any(feature = "metrics", feature = "dashboard")) && self.0.get().is_some()
    }

    pub(crate) fn notify(&self, notify: impl Fn(&dyn Observer)) {
        let mut rest = self;
        while let Some(node) = rest.0.get() {
            if let Err(caught) = catch(|| notify(&*node.observer)) {
                report!(error, "an observer panicked"; observer = node.observer.name(), panic = Excerpt(&caught.message));
            }
            rest = &node.next;
        }
    }
}

impl Coalesced {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Coalesced::Joined => "joined",
            Coalesced::Skipped => "skipped",
        }
    }
}
