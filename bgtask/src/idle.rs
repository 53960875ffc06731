//! `idle()`: the moment in which nothing runs.
//! Owns the wait for it; the counts are the books'.

use crate::context;
use crate::ledger::Ledger;
use crate::manager::Manager;
use crate::shared::Shared;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Waits until no call of the current manager is live; see [`Manager::idle`].
///
/// # Panics
/// Where no manager can be found.
///
/// # Cancel safety
/// Nothing is lost when the future is dropped.
///
/// # Examples
///
/// ```
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
#[track_caller]
pub fn idle() -> impl Future<Output = ()> + Send + 'static {
    let ledger = context::current("idle()").ok();
    async move {
        // What is left of a manager that is gone accepts nothing, and waits for nobody.
        if let Some(ledger) = ledger {
            until_idle(&ledger).await;
        }
    }
}

impl Manager {
    /// Waits until no call is live, those made by other calls meanwhile among them. At once, if none is; calls may come again after
    /// that.
    ///
    /// A call that awaits this does not wait for itself; two that both do wait for each other. Once a shutdown has come to its
    /// deadline, this waits for its end, and for nothing after that. To wait for some calls alone, see
    /// [`Group::idle`](crate::Group::idle); in a test, [`testing::idle`](crate::testing::idle) has a limit and names what has not
    /// ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn idle(&self) {
        until_idle(self.ledger()).await;
    }
}

/// As long as it lives, ends are notified.
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

async fn until_idle(ledger: &Arc<Ledger>) {
    let shared = &ledger.shared;
    // Before the first look: an end that comes after that is notified.
    let _watch = Watch::new(shared);
    let mut over = pin!(shared.over.cancelled());
    loop {
        let mut ended = pin!(shared.idle.notified());
        ended.as_mut().enable();
        let is_idle = poll_fn(|cx| {
            // Asked at every poll: it may be another task that polls now.
            let own = context::task_of(shared).is_some_and(|task| task.is_live());
            if ledger.is_idle(u64::from(own)) || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            ended.as_mut().poll(cx).map(|()| false)
        });
        if is_idle.await {
            return;
        }
    }
}
