//! The last attempt of a call that has not succeeded when the drain begins, and its token, which fires late.
//! Owns when these tokens fire, and the one timer for all of them; knows nothing of which calls get a last attempt.

use crate::policy::{Progress, unless_fired};
use crate::shared::{Request, Shared};
use crate::spawning::spawn;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long before the deadline the tokens of last attempts fire. The attempts have this time to end.
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

/// Returns whether the tokens must have fired by the operating system's clock. Code that checks its token may never let the
/// runtime run its timers.
pub(crate) fn is_over(shared: &Shared) -> bool {
    let request = shared.request();
    request.is_some_and(|request| time_left(request).is_zero())
}

fn time_left(request: &Request) -> Duration {
    let left = request.deadline.saturating_duration_since(Instant::now());
    left.saturating_sub(RESERVE)
}

/// Fires `all` in time, by the runtime's clock. If a test has paused that clock, the token fires in order among the timers of the
/// attempt.
fn fire_late(shared: &Shared, all: CancellationToken) {
    let Some(request) = shared.request() else {
        return;
    };
    let (left, over) = (time_left(request), shared.over.clone());
    spawn(&shared.runtime, "bgtask: last attempts", async move {
        // The end of the shutdown also ends this wait, so a runtime that lives on keeps nothing of it.
        if unless_fired(&over, sleep(left)).await.is_some() {
            all.cancel();
        }
    });
}
