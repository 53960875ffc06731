//! `timeout = "30s"`: how long one attempt may take. Must never know tasks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Awaits `future`. Returns `None` if it is not ready within `limit`.
///
/// Checks the limit first, so the future is never polled after it. We do not use tokio's `timeout`, because it polls the future
/// first. We compare with the clock instead of relying on the runtime's timers: a future that is woken at the same moment may be
/// polled by a worker that has not processed its timers yet.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    // A limit beyond the range of the clock is no limit.
    let until = Instant::now().checked_add(limit);
    let mut elapses = pin!(sleep(limit));
    let mut future = pin!(future);
    // A future that is ready immediately costs no timer.
    let mut is_first = true;
    poll_fn(|cx| {
        if !std::mem::take(&mut is_first) {
            let is_past = until.is_some_and(|until| until <= Instant::now());
            if is_past || elapses.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            return future.as_mut().poll(cx).map(Some);
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        elapses.as_mut().poll(cx).map(|()| None)
    })
    .await
}
