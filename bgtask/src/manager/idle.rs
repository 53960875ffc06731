//! `idle()`: waiting until no call is live.
//! Owns the wait; the tracker owns the counts.

use crate::context;
use crate::manager::Manager;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::util::waker::contained;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Waits until no call of the current manager is live; see [`Manager::idle`].
///
/// If the manager is dropped meanwhile, this completes when its last call has ended.
///
/// # Examples
///
/// ```standalone_crate
/// #[bgtask::background]
/// async fn index(page: u32) { /* … */ }
///
/// #[bgtask::main]
/// async fn main() {
///     for page in 0..10 {
///         index(page);
///     }
///     bgtask::idle().await;
///     assert_eq!(bgtask::stats().succeeded, 10);
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
///
/// # Cancel safety
///
/// This function is cancel safe: dropping the future loses nothing.
#[track_caller]
pub fn idle() -> impl Future<Output = ()> + Send + 'static {
    let tracker = context::current("idle()").ok();
    async move {
        // A manager that is gone accepts no calls, so there is nothing to wait for.
        if let Some(tracker) = tracker {
            contained(until_idle(&tracker)).await;
        }
    }
}

impl Manager {
    /// Waits until no call is live, including calls that other calls make meanwhile. Completes at once if none is live. New calls
    /// may start right afterwards.
    ///
    /// A call that awaits this does not wait for itself, but two calls that both await it wait for each other. Once a shutdown
    /// has passed its deadline, this completes at the latest when the shutdown is over. To wait for some calls only, see
    /// [`Group::idle`](crate::Group::idle). In a test, [`testing::idle`](crate::testing::idle) has a time limit and names what
    /// is still live.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: dropping the future loses nothing.
    pub async fn idle(&self) {
        contained(until_idle(self.tracker())).await;
    }
}

/// While this lives, the ends of calls notify the waiters of `idle()`.
struct Watch<'a>(&'a Shared);

impl<'a> Watch<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.watch_idle(true);
        Self(shared)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.watch_idle(false);
    }
}

async fn until_idle(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    // Created before the first check, so that every end after that check notifies us.
    let _watch = Watch::new(shared);
    let mut over = pin!(shared.shutdown.over.cancelled());
    loop {
        let mut ended = pin!(shared.idle.notified());
        ended.as_mut().enable();
        let is_idle = poll_fn(|cx| {
            // Determined at every poll, because another task may poll this future now.
            let caller = context::task_of(shared).is_some_and(|task| task.is_live());
            if tracker.is_idle(u64::from(caller)) || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            ended.as_mut().poll(cx).map(|()| false)
        });
        if is_idle.await {
            return;
        }
    }
}
