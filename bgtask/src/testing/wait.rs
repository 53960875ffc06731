//! The waits of a test: until all work has ended, or until a function has begun.
//! Owns the message of a wait that takes too long.

use super::alarm::within;
use super::function::{BackgroundFunction, Function, last_segment};
use super::record::{CallState, State};
use crate::context;
use crate::stats::TaskId;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::yield_now;

/// Waits until all background work has ended, including the work that other background work calls meanwhile. If a background task
/// awaits this, the wait excludes that task.
///
/// Under paused time, the clock advances to the timers that the work awaits. Schedules that were started are not work, but their
/// runs are.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// refresh();
/// bgtask::testing::idle().await;
/// assert_eq!(bgtask::stats().succeeded, 1);
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit, and if all remaining calls are held back by [`pause_dispatch`](super::pause_dispatch). Panics
/// after 10 s by the real clock, or after the `wait` of the attribute or of [`Kit::wait_within`](super::Kit::wait_within); the
/// message names the calls that have not ended.
///
/// # Cancel safety
/// Dropping the future loses nothing.
#[track_caller]
pub fn idle() -> Wait {
    let state = State::current("idle()");
    let own = context::task().map(|task| task.identity().id);
    Wait::new(state.idle(own, Location::caller()))
}

/// Waits until a call of the function has begun its body. Returns immediately if one has begun before, whether or not it has
/// ended.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn serve(token: bgtask::ShutdownToken) { token.cancelled().await; }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// let task = serve();
/// bgtask::testing::started(serve).await;
/// task.cancel();
/// assert_eq!(task.await, Ok(()));
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function. Panics after 10 s by the real clock, or after the `wait` of the attribute
/// or of [`Kit::wait_within`](super::Kit::wait_within); the message names the calls that have not begun.
///
/// # Cancel safety
/// Dropping the future loses nothing.
#[track_caller]
pub fn started<M>(function: impl BackgroundFunction<M>) -> Wait {
    let state = State::current("started()");
    Wait::new(state.started(Function::new(&function), Location::caller()))
}

/// The future that [`idle`] and [`started`] return.
#[must_use = "nothing is waited for until this is awaited"]
pub struct Wait(Judged<dyn Future<Output = Result<(), String>> + Send>);

impl Wait {
    fn new(work: impl Future<Output = Result<(), String>> + Send + 'static) -> Self {
        Self(Judged(Box::pin(work)))
    }
}

impl Future for Wait {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// A future that panics with the error of its inner future, at the line that awaits it, because that line polls it.
pub(super) struct Judged<F: ?Sized>(pub(super) Pin<Box<F>>);

impl<F: Future<Output = Result<(), String>> + ?Sized> Future for Judged<F> {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.0.as_mut().poll(cx)) {
            Ok(()) => Poll::Ready(()),
            Err(message) => panic!("{message}"),
        }
    }
}

impl State {
    /// Awaits `work` for as long as a wait of the test may take.
    ///
    /// # Errors
    /// Fails if it takes longer. The message names `what`, which waited at `location`, and what is `missing`. We leave
    /// the panic to the caller, which is on the test's own line.
    async fn wait<F: Future>(
        self: &Arc<Self>,
        what: String,
        location: &'static Location<'static>,
        missing: impl Fn(&Self) -> String + Send + Clone + 'static,
        work: F,
    ) -> Result<F::Output, String> {
        let limit = self.records().limit;
        let message = {
            let (state, missing) = (self.clone(), missing.clone());
            move || {
                format!(
                    "{what} at {location} has waited {limit:?}: {}\n  for a longer limit: `#[bgtask::test(wait = \"1m\")]` or \
                     `Kit::wait_within`",
                    missing(&state)
                )
            }
        };
        let blocked = {
            let message = message.clone();
            move || {
                format!(
                    "{}\n  the test cannot fail with this message, because something blocks its thread",
                    message()
                )
            }
        };
        within(limit, blocked, work).await.ok_or_else(message)
    }

    async fn started(
        self: Arc<Self>,
        function: Function,
        location: &'static Location<'static>,
    ) -> Result<(), String> {
        let missing = move |state: &Self| {
            let calls = state.list(function);
            if calls.is_empty() {
                "the function was not called".to_owned()
            } else {
                format!("none of its calls has begun{calls}")
            }
        };
        let what = format!("`started(\"{}\")`", last_segment(function.name));
        self.wait(what, location, missing, self.until_begun(function))
            .await
    }

    async fn until_begun(&self, function: Function) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the check, so that no change after it is missed.
            changed.as_mut().enable();
            if self.runs(function) > 0 {
                return;
            }
            changed.await;
        }
    }

    async fn idle(
        self: Arc<Self>,
        own: Option<TaskId>,
        location: &'static Location<'static>,
    ) -> Result<(), String> {
        let missing = move |state: &Self| {
            let live = state.live_tasks();
            let jobs = state.unfinished_jobs();
            let which = match (
                live.iter().any(|task| Some(task.id) != own),
                jobs.is_empty(),
            ) {
                (true, true) => "these calls have not ended",
                (false, false) => "these jobs have not ended",
                _ => "these calls and jobs have not ended",
            };
            let mut missing = which.to_owned();
            for task in live.iter().filter(|task| Some(task.id) != own) {
                missing += &format!(
                    "\n  `{}`, {}, called at {} (id {}) {:.1?} ago",
                    task.name, task.state, task.called_at, task.id, task.age
                );
            }
            for job in jobs {
                missing += &format!("\n  {job}");
            }
            missing
        };
        self.wait(
            "`idle()`".to_owned(),
            location,
            missing,
            self.until_idle(own),
        )
        .await?
    }

    async fn until_idle(&self, own: Option<TaskId>) -> Result<(), String> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the check, so that no change after it is missed.
            changed.as_mut().enable();
            let mut live = self.live_ids();
            if let Some(own) = own {
                live.remove(&own);
            }
            if live.is_empty() {
                if self.unfinished_jobs().is_empty() {
                    return Ok(());
                }
                changed.await;
                continue;
            }
            let mut held = Vec::new();
            {
                let records = self.records();
                for call in &records.held {
                    if live.remove(&call.id) {
                        held.push(call.name);
                    }
                }
                for call in &records.calls {
                    if let CallState::Ended(_) = call.state {
                        live.remove(&call.id);
                    }
                }
            }
            if !live.is_empty() {
                changed.await;
            } else if held.is_empty() {
                // The hook is called before the tracker retires a call, which happens within a moment.
                yield_now().await;
            } else {
                return Err(format!(
                    "`idle()` would never return: `pause_dispatch()` holds back {}",
                    held.join(", ")
                ));
            }
        }
    }
}
