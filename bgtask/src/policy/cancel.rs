//! Waits that a token ends. Must never know tasks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio_util::sync::CancellationToken;

/// Awaits `future`. Returns `None` if the token fires first.
///
/// Checks the token first, so the future is never polled after the token has fired. We do not use tokio-util's
/// `run_until_cancelled`, because it polls the future first.
pub(crate) async fn until_cancelled<F: Future>(
    token: &CancellationToken,
    future: F,
) -> Option<F::Output> {
    let mut cancelled = pin!(token.cancelled());
    let mut future = pin!(future);
    poll_fn(|cx| {
        if cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
