//! The ways into a shutdown: a request, the end of `main`.
//! Owns the start of the sequence's thread, and how long a caller waits for its first steps; must never know what follows.

use super::run;
use crate::report::ShutdownReason;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::log::report;
use crate::util::sync::thread;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a caller waits until `main`, or the tasks, have been notified. A stuck metrics recorder takes less than this (see
/// [`SideThread`](crate::util::side_thread::SideThread)); only a waker that blocks takes longer.
const NOTIFY_WAIT: Duration = Duration::from_secs(2);

/// Requests the shutdown. The first reason stands.
pub(crate) fn request(tracker: &Arc<Tracker>, reason: ShutdownReason) {
    if tracker.shared.shutdown.set_request(reason) {
        start(tracker);
    }
}

/// Requests the shutdown, and returns when `main`'s token has fired, its waiters have been woken, and no schedule starts a run
/// any more. With a pre-stop time, does not wait for `main`'s token, which fires after that time.
///
/// The sequence fires the token, not the caller, because a waker may run any code: code that panics, blocks, or needs a lock that
/// the caller holds. A caller that must not wait, such as the signal watcher, calls [`request`].
pub(crate) fn request_and_wait(tracker: &Arc<Tracker>, reason: ShutdownReason) {
    request(tracker, reason);
    let deadline = Instant::now() + NOTIFY_WAIT;
    tracker
        .shared
        .shutdown
        .wait_until_main_is_notified(deadline);
}

/// Blocks this thread until the tokens of the tasks have fired and their waiters have been woken, at most two seconds.
pub(crate) fn wait_until_tasks_are_notified(shared: &Shared) {
    shared
        .shutdown
        .wait_until(Instant::now() + NOTIFY_WAIT, |progress| {
            progress.tasks_notified
        });
}

/// Records that `main`, or the code that stands in for it, has ended, and requests the shutdown. Draining begins.
pub(crate) fn main_ended(tracker: &Arc<Tracker>, reason: ShutdownReason) {
    tracker
        .shared
        .shutdown
        .progress(|progress| progress.main_ended = true);
    request(tracker, reason);
}

/// Starts the sequence for the request that has been set.
pub(crate) fn start(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    shared.shutdown.advance_to(Phase::Stopping);
    // The sequence also fires the tokens: a waker may run any code, and the caller may be the signal watcher.
    let sequence = Arc::clone(tracker);
    let spawned = thread::Builder::new()
        .name("bgtask-shutdown".to_owned())
        .spawn(move || run(&sequence));
    if let Err(error) = spawned {
        // Blocking the caller is better than no shutdown. `main` may be that caller, so the sequence does not wait for it.
        report!(warn, "cannot spawn the shutdown thread: the shutdown blocks its caller"; error = error);
        shared
            .shutdown
            .progress(|progress| progress.main_ended = true);
        run(tracker);
    }
}
