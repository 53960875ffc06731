//! `ShutdownToken`: how code learns that it should come to an end, why, and how long it has.
//! Reads the shared state and waits on it; never changes it.

use crate::call::blocking::{self, AttemptToken};
use crate::context;
use crate::report::ShutdownReason;
use crate::shutdown::last_attempt;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::tracker::task_ref::TaskRef;
use crate::util::sync::atomic::Ordering;
use crate::util::sync::broken;
use crate::util::waker::{Contained, contained};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Tells a task, or `main`, that it should come to an end.
///
/// A parameter of this type is filled in by the runtime, wherever it stands in the signature, and is absent from what the
/// caller writes; a function has at most one. The macro knows it by its last path segment, so import it under its name.
/// Code without such a parameter finds the same token with [`shutdown_token()`](crate::shutdown_token).
///
/// - A **task's** token fires when draining starts, that is when `main` has ended, or when the task is
///   [cancelled](crate::TaskHandle::cancel), or its [group](crate::Group::cancel) is. With `on_shutdown = "finish"` only a
///   cancellation fires it. If a call with `retry` gets a last attempt during the drain, that attempt has a token of its own,
///   which fires two seconds before the deadline.
/// - **`main`'s** token fires as soon as the shutdown is asked for.
///
/// Clones are the same token. It may outlive the task; one that is first asked after that hears of the shutdown alone.
///
/// ```
/// use bgtask::{ShutdownToken, background};
/// use std::time::Duration;
///
/// #[background]
/// async fn sweep(token: ShutdownToken) {
///     while !token.is_cancelled() {
///         // … one round …
///         token.run_until_cancelled(tokio::time::sleep(Duration::from_secs(60))).await;
///     }
/// }
///
/// #[background]
/// fn sweep_blocking(token: ShutdownToken) {
///     while token.sleep(Duration::from_secs(60)) {
///         // … one round …
///     }
/// }
/// ```
pub struct ShutdownToken {
    scope: Scope,
    /// The task's own cancellation, once this token has needed it.
    own: OnceLock<CancellationToken>,
}

#[derive(Clone, Debug)]
enum Scope {
    /// `main`'s, or any code's outside of a task.
    Process(Arc<Shared>),
    /// One task's.
    Task(TaskRef),
    /// The token of a task's last attempt during the drain, which the drain does not fire.
    LastAttempt(TaskRef),
}

impl Clone for ShutdownToken {
    fn clone(&self) -> Self {
        // From two on they share the task's own cancellation: each may be asked after the task, and with it the entry in
        // the books, is gone.
        let own = self.own().clone();
        Self {
            scope: self.scope.clone(),
            own: OnceLock::from(own),
        }
    }
}

impl ShutdownToken {
    pub(crate) fn of_process(shared: Arc<Shared>) -> Self {
        Self {
            scope: Scope::Process(shared),
            own: OnceLock::new(),
        }
    }

    pub(crate) fn of_task(place: TaskRef) -> Self {
        Self {
            scope: Scope::Task(place),
            own: OnceLock::new(),
        }
    }

    /// One attempt's: fires with its task's, and by itself when its time is up.
    pub(crate) fn of_attempt(place: TaskRef, own: CancellationToken) -> Self {
        Self {
            scope: Scope::Task(place),
            own: OnceLock::from(own),
        }
    }

    /// Returns the token of an attempt that has its own, such as the last one before the deadline.
    pub(crate) fn of_attempt_token(place: TaskRef, token: AttemptToken) -> Self {
        if !token.is_last {
            return Self::of_attempt(place, token.own);
        }
        Self {
            scope: Scope::LastAttempt(place),
            own: OnceLock::from(token.own),
        }
    }

    fn shared(&self) -> &Shared {
        match &self.scope {
            Scope::Process(shared) => shared,
            Scope::Task(place) | Scope::LastAttempt(place) => place.shared(),
        }
    }

    /// Whether the token has fired. Costs an atomic load.
    pub fn is_cancelled(&self) -> bool {
        self.hears_of_shutdown() || self.is_cancelled_alone()
    }

    /// Returns whether the task's own token has fired, through a cancellation or the drain.
    pub(crate) fn is_cancelled_alone(&self) -> bool {
        let Scope::Task(place) = &self.scope else {
            return false;
        };
        if let Some(own) = self.own.get() {
            return own.is_cancelled();
        }
        // Acquire: pairs with the release in `TaskHandle::cancel`; what it is about to fire is in the books by then.
        if place.shared().cancelled_alone.load(Ordering::Acquire) == 0 {
            return false;
        }
        place.existing_token().is_some_and(|own| own.is_cancelled())
    }

    /// Completes when the token fires; at once if it has.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn cancelled(&self) {
        contained(self.own().cancelled()).await;
    }

    /// The same as [`cancelled`](Self::cancelled) for whoever wants a future of its own, such as
    /// `axum::serve(…).with_graceful_shutdown(token.cancelled_owned())`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn cancelled_owned(self) -> Cancelled {
        let own = self.own().clone();
        Cancelled {
            fired: Box::pin(own.cancelled_owned()),
            waker: Contained::default(),
        }
    }

    /// Runs `future` until it completes or the token fires, whichever comes first; `None` if the token did.
    ///
    /// If both are ready, `future`'s output is not thrown away.
    ///
    /// # Cancel safety
    /// `future` is dropped at its current await when the token fires, and when this one is dropped.
    ///
    /// ```
    /// # async fn next_job() -> u32 { 1 }
    /// # fn work(_: u32) {}
    /// #[bgtask::background]
    /// async fn worker(token: bgtask::ShutdownToken) {
    ///     while let Some(job) = token.run_until_cancelled(next_job()).await {
    ///         work(job);
    ///     }
    /// }
    /// ```
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut fired = pin!(self.cancelled());
        std::future::poll_fn(|cx| {
            // The token first: a future that is always ready must not keep a loop from ever hearing of the shutdown.
            if self.is_cancelled() || fired.as_mut().poll(cx).is_ready() {
                return match future.as_mut().poll(cx) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending => Poll::Ready(None),
                };
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Blocks this thread until the token fires. For plain functions: on the blocking pool that is what threads are for.
    ///
    /// # Panics
    /// In an async task, where it would block a worker of the runtime; there, await [`cancelled`](Self::cancelled).
    pub fn wait(&self) {
        forbid_in_async_tasks("wait()", "cancelled().await");
        block_on_until(self.cancelled(), None);
    }

    /// Blocks this thread for `duration` or until the token fires. `true` if it slept to the end: go on. `false` if the
    /// token fired: stop.
    ///
    /// # Panics
    /// In an async task, where it would block a worker of the runtime; there, use
    /// [`run_until_cancelled`](Self::run_until_cancelled) over `tokio::time::sleep`.
    pub fn sleep(&self, duration: Duration) -> bool {
        forbid_in_async_tasks(
            "sleep()",
            "run_until_cancelled(tokio::time::sleep(…)).await",
        );
        let until = Instant::now().checked_add(duration);
        let fired = block_on_until(self.cancelled(), until);
        !fired
    }

    /// Why the token fired: the shutdown's reason. `None` as long as it has not, and if this task alone was cancelled.
    pub fn reason(&self) -> Option<ShutdownReason> {
        let request = self.shared().shutdown.request()?;
        self.hears_of_shutdown().then(|| request.reason.clone())
    }

    /// When the shutdown's time is up. `None` as long as the token has not fired, and if this task alone was cancelled.
    pub fn deadline(&self) -> Option<Instant> {
        let request = self.shared().shutdown.request()?;
        self.hears_of_shutdown().then_some(request.deadline)
    }

    /// Time left until the [`deadline`](Self::deadline); zero once it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn hears_of_shutdown(&self) -> bool {
        match &self.scope {
            Scope::Process(shared) => shared.shutdown.phase() >= Phase::Stopping,
            Scope::Task(place) => {
                !place.finishes && place.shared().shutdown.phase() >= Phase::Draining
            }
            Scope::LastAttempt(place) => {
                let has_fired = self.own.get().is_some_and(CancellationToken::is_cancelled);
                has_fired || last_attempt::is_over(place.shared())
            }
        }
    }

    /// The same as a `tokio_util` token, for libraries that want one. Cancelling it cancels nothing but itself. The other methods
    /// contain the panic of a waker; this token does not, and code that awaits another token may then not be woken.
    pub fn cancellation_token(&self) -> CancellationToken {
        self.own().child_token()
    }

    fn own(&self) -> &CancellationToken {
        self.own.get_or_init(|| match &self.scope {
            Scope::Process(shared) => shared.shutdown.stopping.clone(),
            Scope::Task(place) if broken!("late_token_apart") => place.token().unwrap_or_default(),
            // The token of a retired call fires only on shutdown. (The token of a last attempt exists from the start.)
            Scope::Task(place) | Scope::LastAttempt(place) => place
                .token()
                .unwrap_or_else(|| place.shared().shutdown.task_token(place.finishes)),
        })
    }
}

impl fmt::Debug for ShutdownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownToken")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// The token of whatever code runs here: a task's own inside a task, else `main`'s, which fires as soon as the shutdown
/// is asked for.
///
/// For code that has no [`ShutdownToken`] parameter, however deep in the call stack.
///
/// # Panics
/// Panics on a thread without a runtime if no manager can be found. On a runtime without a manager this installs one, as a call
/// does.
///
/// ```
/// #[bgtask::background]
/// async fn import(lines: Vec<String>) {
///     for line in lines {
///         if bgtask::shutdown_token().is_cancelled() {
///             break;
///         }
///         // … import the line …
/// #       let _ = line;
///     }
/// }
/// ```
#[track_caller]
pub fn shutdown_token() -> ShutdownToken {
    match context::task() {
        Some(place) => match blocking::attempt_token(&place).or_else(|| last_attempt_of(&place)) {
            Some(token) => ShutdownToken::of_attempt_token(place, token),
            None => ShutdownToken::of_task(place),
        },
        None => ShutdownToken::of_process(context::current_shared("shutdown_token()")),
    }
}

/// Returns the token of the last attempt of the task at `place`, if that attempt is running.
fn last_attempt_of(place: &TaskRef) -> Option<AttemptToken> {
    // Cheap until the drain begins, and for functions without `retry`.
    if place.shared().shutdown.phase() < Phase::Draining {
        return None;
    }
    let identity = place.identity();
    let policies = identity.handler.policies()?;
    policies.retry?;
    let progress = place.shared().policies.progress(policies, identity.id)?;
    let own = progress.last_attempt()?.clone();
    Some(AttemptToken { own, is_last: true })
}

/// Completes when a token fires; see [`ShutdownToken::cancelled_owned`].
#[must_use = "futures do nothing unless polled"]
pub struct Cancelled {
    fired: Pin<Box<WaitForCancellationFutureOwned>>,
    waker: Contained,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { fired, waker } = &mut *self;
        let waker = waker.waker(cx.waker());
        fired.as_mut().poll(&mut Context::from_waker(waker))
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").finish_non_exhaustive()
    }
}

#[track_caller]
fn forbid_in_async_tasks(call: &str, instead: &str) {
    let is_async = context::task().is_some_and(|task| task.is_async);
    assert!(
        !is_async,
        "`ShutdownToken::{call}` blocks its thread, which an async task must not do: use `{instead}`"
    );
}

/// Polls `future` on this thread, parked in between, at most until `until`. Whether it completed.
///
/// Not the runtime's `block_on`: that one refuses where a runtime is entered, and needs the runtime to be alive.
fn block_on_until(future: impl Future<Output = ()>, until: Option<Instant>) -> bool {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if future.as_mut().poll(&mut cx).is_ready() {
            return true;
        }
        match until {
            None => thread::park(),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                thread::park_timeout(left);
            }
        }
    }
}
