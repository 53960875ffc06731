//! Last attempts: the final attempt of a call that has not succeeded when the drain begins. Its token fires late.
//! Owns when these tokens fire, and the one timer for all of them; must never know which calls get a last attempt.

use crate::policy::{Progress, until_cancelled};
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Request;
use crate::util::panic::catch_and_ignore;
use crate::util::spawn::spawn;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long before the deadline the tokens of last attempts fire, which is the time the attempts then have to end.
const RESERVE: Duration = Duration::from_secs(2);

/// Returns the token for the last attempt of one call, which begins now.
pub(crate) fn begin(shared: &Shared, progress: &Progress) -> CancellationToken {
    let all = shared.policies.last_attempts.get_or_init(|| {
        let all = CancellationToken::new();
        fire_late(shared, all.clone());
        all
    });
    let token = progress.begin_last_attempt(|| all.child_token());
    if is_over(shared) {
        token.cancel();
    }
    token
}

/// Returns when the tokens fire, by the operating system's clock.
pub(crate) fn end(request: &Request) -> Instant {
    let end = request.deadline.checked_sub(RESERVE);
    end.map_or(request.asked, |end| end.max(request.asked))
}

/// Returns whether the tokens must have fired by the operating system's clock. Code that checks its token may never let the
/// runtime run its timers.
pub(crate) fn is_over(shared: &Shared) -> bool {
    shared
        .shutdown
        .request()
        .is_some_and(|request| end(request) <= Instant::now())
}

/// Fires the tokens, whatever the runtime does. The drain calls this at [`end`] or later: an attempt whose token does not exist yet
/// then finds that its time is over.
pub(crate) fn fire(shared: &Shared) {
    if let Some(all) = shared.policies.last_attempts.get() {
        catch_and_ignore(|| all.cancel());
    }
}

/// Fires `all` in time, by the runtime's clock. If a test has paused that clock, the token fires in order among the timers of the
/// attempt. A runtime whose workers are all blocked runs no timers; then the drain fires the token.
fn fire_late(shared: &Shared, all: CancellationToken) {
    let Some(request) = shared.shutdown.request() else {
        return;
    };
    let left = end(request).saturating_duration_since(Instant::now());
    let over = shared.shutdown.over.clone();
    spawn(&shared.runtime, "bgtask: last attempts", async move {
        // The end of the shutdown also ends this wait, so a runtime that lives on keeps nothing of it.
        if until_cancelled(&over, sleep(left)).await.is_some() {
            all.cancel();
        }
    });
}
