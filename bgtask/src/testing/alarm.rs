//! A time limit by the real clock, whatever tokio's clock does.
//! Owns the thread that rings at the limit; must never know what is awaited.

use crate::util::log::to_stderr;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the test's thread may take to react to the alarm.
const REACTION: Duration = Duration::from_secs(1);

/// Awaits `work`. Returns `None` if that takes longer than `limit`.
///
/// If the runtime does not react to the limit because something blocks its thread, writes `blocked` to stderr.
pub(super) async fn within<F: Future>(
    limit: Duration,
    blocked: impl FnOnce() -> String + Send + 'static,
    work: F,
) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut blocked = Some(blocked);
    let mut alarm = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        // Most work is ready at the first poll and needs no alarm.
        if let Some(blocked) = blocked.take() {
            alarm = Some(Alarm::after(limit, blocked));
        }
        match &mut alarm {
            Some(alarm) => Pin::new(&mut alarm.rings).poll(cx).map(|_| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// An alarm that rings once. Dropping it ends its thread.
struct Alarm {
    rings: oneshot::Receiver<()>,
    /// Disconnects the channel when it is dropped.
    _is_wanted: mpsc::Sender<()>,
}

impl Alarm {
    fn after(limit: Duration, blocked: impl FnOnce() -> String + Send + 'static) -> Self {
        let (ring, rings) = oneshot::channel();
        let (is_wanted, unwanted) = mpsc::channel::<()>();
        // Not tokio's timer: under paused time, it would fire as soon as the runtime is idle.
        let spawned = thread::Builder::new()
            .name("bgtask-test-wait".to_owned())
            .spawn(move || {
                let elapses =
                    |limit| unwanted.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                if elapses(limit) {
                    // The receiver may be gone by now.
                    let _ = ring.send(());
                    if elapses(REACTION) {
                        to_stderr(format_args!("{}", blocked()));
                    }
                }
            });
        if let Err(error) = spawned {
            panic!("cannot spawn the thread that limits the test's wait: {error}");
        }
        Self {
            rings,
            _is_wanted: is_wanted,
        }
    }
}
