//! A call with policies: from its acceptance to the one future that the call path runs.
//! Owns the order of the policies: coalesce → rate → concurrency → retry → timeout → body. The meaning of each is in its own file.

mod admission;
mod attempts;
mod body;
mod run;

pub use admission::{Call, Keys, begin_with, begin_with_at};
pub use attempts::Attempts;

use crate::TaskHandle;
use crate::call::handle::{PolicyLink, RawHandle, Rest};
use crate::call::launch;
use crate::fields::Fields;
use crate::policy::{Concurrency, Leader, Overflow, RetryWhen, Share};
use crate::task::judge::Judge;
use admission::Admission;
use attempts::FailureOf;
use body::PolicyBody;
use tokio::sync::oneshot;

/// Starts the call, or drops its body if the call is not to run.
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
        call, None, attempts, when, share, can_fail, failure_of,
    ))
}

/// Does the same as [`launch_with`] for a call with fields.
#[cfg_attr(tokio_unstable, track_caller)]
pub fn launch_recorded_with<T>(
    call: Call,
    fields: Fields,
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
        call,
        Some(fields),
        attempts,
        when,
        share,
        can_fail,
        failure_of,
    ))
}

fn judged_by<T, J: Judge<T>>(_: &J) -> (bool, FailureOf<T>) {
    (J::CAN_FAIL, J::failure)
}

#[cfg_attr(tokio_unstable, track_caller)]
fn launch_raw<T>(
    call: Call,
    fields: Option<Fields>,
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
    let (id, rest) = match call.admission {
        Admission::Runs(run, mut policy_run) => {
            let mut caller_alive = None;
            if let Some(Concurrency {
                overflow: Overflow::Wait,
                ..
            }) = policy_run.policies.concurrency
            {
                let (held_by_handle, held_by_run) = oneshot::channel();
                caller_alive = Some(held_by_handle);
                policy_run.caller_alive = Some(held_by_run);
            }
            let followers = policy_run.leader.as_ref().and_then(Leader::followers);
            let policy_link = PolicyLink::new(caller_alive, followers);
            let body = PolicyBody::new(policy_run, attempts, when, share, can_fail, failure_of);
            return launch::launch_body(run, fields, body, policy_link);
        }
        Admission::Joins(id, outcome) => (id, Rest::Joined(outcome)),
        Admission::Skipped(id) => (id, Rest::Skipped),
        Admission::Refused(id, reason) => (id, Rest::Refused(reason)),
        Admission::Postponed(id, pause) => (id, Rest::Postponed(pause)),
    };
    let mut unused = Some((attempts, when));
    launch::drop_unused(handler, id, &mut || drop(unused.take()));
    RawHandle::without_task(id, handler, rest)
}
