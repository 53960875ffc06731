//! How long a test waits at the most, by the real clock, whatever tokio's does.
//! Owns the thread that rings when it is over; knows nothing of what is waited for.

use crate::util::log::to_stderr;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the test's thread may take to come and hear it ring.
const ANSWER: Duration = Duration::from_secs(1);

/// Awaits `work`; `None` if that takes longer than `limit`.
///
/// If the runtime does not even come back to hear of it, since something blocks its thread, `unheard` is told on stderr.
pub(super) async fn within<F: Future>(
    limit: Duration,
    unheard: impl FnOnce() -> String + Send + 'static,
    work: F,
) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut unheard = Some(unheard);
    let mut alarm = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        // Most waits are over before there is one.
        if let Some(unheard) = unheard.take() {
            alarm = Some(Alarm::after(limit, unheard));
        }
        match &mut alarm {
            Some(alarm) => Pin::new(&mut alarm.rings).poll(cx).map(|_| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Rings once. Dropped, it goes.
struct Alarm {
    rings: oneshot::Receiver<()>,
    /// Tells by being dropped.
    _is_wanted: mpsc::Sender<()>,
}

impl Alarm {
    fn after(limit: Duration, unheard: impl FnOnce() -> String + Send + 'static) -> Self {
        let (ring, rings) = oneshot::channel();
        let (is_wanted, unwanted) = mpsc::channel();
        // Not tokio's timer: under paused time that would ring as soon as nothing else is to do.
        let spawned = thread::Builder::new()
            .name("bgtask-test-wait".to_owned())
            .spawn(move || {
                let is_over = || RecvTimeoutError::Timeout;
                if unwanted.recv_timeout(limit) == Err(is_over()) {
                    // Nobody may wait any more.
                    let _ = ring.send(());
                    if unwanted.recv_timeout(ANSWER) == Err(is_over()) {
                        to_stderr(format_args!("{}", unheard()));
                    }
                }
            });
        if let Err(error) = spawned {
            panic!("there is no thread to limit the test's wait: {error}");
        }
        Self {
            rings,
            _is_wanted: is_wanted,
        }
    }
}
