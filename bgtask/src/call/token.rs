//! `ShutdownToken`: the signal for code to stop, with its reason and its deadline.
//! Reads the shared state and waits on it; never changes it.

use crate::call::blocking::{self, AttemptToken};
use crate::context;
use crate::report::{ShutdownReason, StopReason};
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

/// The signal for a task, or for `main`, to stop.
///
/// The runtime fills in a parameter of this type, at any position of the signature. The caller does not pass it. A function has at
/// most one. The attribute recognizes the type by its last path segment, so import it under its own name. Code without such a
/// parameter gets the same token from [`shutdown_token()`](crate::shutdown_token).
///
/// - A **task's** token fires when the drain starts, after `main` has ended. It also fires when the task is
///   [cancelled](crate::TaskHandle::cancel), or its [group](crate::Group::cancel) is. With `on_shutdown = "finish"`, only a
///   cancellation fires it. If a call with `retry` gets a last attempt during the drain, that attempt has a token of its own,
///   which fires two seconds before the deadline.
/// - **`main`'s** token fires when the shutdown is requested.
///
/// Clones are the same token. A token may outlive its task. If it is first used after the task has ended, it fires only on
/// shutdown.
///
/// # Examples
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
    source: Source,
    /// The task's own token, once this one has needed it.
    own: OnceLock<CancellationToken>,
}

/// Where the signal comes from.
#[derive(Clone, Debug)]
enum Source {
    /// The shutdown: for `main`, and for code outside of tasks.
    Process(Arc<Shared>),
    Task(TaskRef),
    /// The token of a task's last attempt during the drain, which the drain does not fire.
    LastAttempt(TaskRef),
}

impl Clone for ShutdownToken {
    fn clone(&self) -> Self {
        // Clones share the task's own token: each may be used after the record of the task is retired.
        let own = self.own().clone();
        Self {
            source: self.source.clone(),
            own: OnceLock::from(own),
        }
    }
}

impl ShutdownToken {
    pub(crate) fn for_process(shared: Arc<Shared>) -> Self {
        Self {
            source: Source::Process(shared),
            own: OnceLock::new(),
        }
    }

    pub(crate) fn for_task(task: TaskRef) -> Self {
        Self {
            source: Source::Task(task),
            own: OnceLock::new(),
        }
    }

    /// The token of one attempt: fires with the task's, and at the time limit of the attempt.
    pub(crate) fn for_attempt(task: TaskRef, own: CancellationToken) -> Self {
        Self {
            source: Source::Task(task),
            own: OnceLock::from(own),
        }
    }

    /// Returns the token of an attempt that has its own, such as the last one before the deadline.
    pub(crate) fn from_attempt_token(task: TaskRef, token: AttemptToken) -> Self {
        if !token.is_last {
            return Self::for_attempt(task, token.own);
        }
        Self {
            source: Source::LastAttempt(task),
            own: OnceLock::from(token.own),
        }
    }

    fn shared(&self) -> &Shared {
        match &self.source {
            Source::Process(shared) => shared,
            Source::Task(task) | Source::LastAttempt(task) => task.shared(),
        }
    }

    /// Returns whether the token has fired. Costs an atomic load.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_fired_by_shutdown() || self.is_cancelled_alone()
    }

    /// Returns whether the task's own token has fired, through a cancellation or the drain.
    pub(crate) fn is_cancelled_alone(&self) -> bool {
        let Source::Task(task) = &self.source else {
            return false;
        };
        if let Some(own) = self.own.get() {
            return own.is_cancelled();
        }
        // Acquire: pairs with the release in `TaskHandle::cancel`. The token that it is about to fire is in the record by then.
        if task.shared().cancelled_alone.load(Ordering::Acquire) == 0 {
            return false;
        }
        task.existing_token()
            .is_some_and(|token| token.is_cancelled())
    }

    /// Completes when the token fires, or at once if it has fired.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn cancelled(&self) {
        contained(self.own().cancelled()).await;
    }

    /// Does the same as [`cancelled`](Self::cancelled), with a future that owns the token: for
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

    /// Runs `future` until it completes or the token fires, whichever comes first. Returns `None` if the token fired first.
    ///
    /// If both are ready, this returns the output.
    ///
    /// # Examples
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
    ///
    /// # Cancel safety
    /// `future` is dropped at its current await when the token fires, or when this future is dropped.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut fired = pin!(self.cancelled());
        std::future::poll_fn(|cx| {
            // Check the token first: a future that is always ready must not keep a loop from stopping.
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

    /// Blocks this thread until the token fires: for plain functions, which run on the blocking pool.
    ///
    /// # Panics
    /// In an async task, because it would block a worker of the runtime. Await [`cancelled`](Self::cancelled) there.
    pub fn wait(&self) {
        forbid_in_async_tasks("wait()", "cancelled().await");
        block_on_until(self.cancelled(), None);
    }

    /// Blocks this thread for `duration` or until the token fires. Returns `false` if the token fired, so that a loop can stop.
    ///
    /// # Panics
    /// In an async task, because it would block a worker of the runtime. Use
    /// [`run_until_cancelled`](Self::run_until_cancelled) with `tokio::time::sleep` there.
    #[must_use = "`false` means that the token has fired, and the code should stop"]
    pub fn sleep(&self, duration: Duration) -> bool {
        forbid_in_async_tasks(
            "sleep()",
            "run_until_cancelled(tokio::time::sleep(…)).await",
        );
        let until = Instant::now().checked_add(duration);
        let fired = block_on_until(self.cancelled(), until);
        !fired
    }

    /// Returns why the token has fired. `None` until it has.
    ///
    /// If the shutdown follows a cancellation, the reason may become [`StopReason::Shutdown`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bgtask::{ShutdownToken, StopReason, background};
    ///
    /// #[background]
    /// async fn sync(token: ShutdownToken) {
    ///     token.cancelled().await;
    ///     if token.reason() == Some(StopReason::Shutdown) {
    ///         // … leave a note for the next start …
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        if !self.is_cancelled() {
            return None;
        }
        let task = match &self.source {
            Source::Process(_) => return Some(StopReason::Shutdown),
            Source::Task(task) | Source::LastAttempt(task) => task,
        };
        if let Some(reason) = task.stop_reason() {
            return Some(reason);
        }
        Some(if self.is_fired_by_shutdown() {
            StopReason::Shutdown
        } else if task
            .existing_token()
            .is_none_or(|token| token.is_cancelled())
        {
            StopReason::Cancelled
        } else {
            // The token of an attempt fires with the task's, or by its limit.
            StopReason::TimedOut
        })
    }

    /// Returns the reason of the shutdown. `None` until the token fires, and if only this task was cancelled.
    #[must_use]
    pub fn shutdown_reason(&self) -> Option<ShutdownReason> {
        let request = self.shared().shutdown.request()?;
        self.is_fired_by_shutdown().then(|| request.reason.clone())
    }

    /// Returns the deadline of the shutdown. `None` until the token fires, and if only this task was cancelled.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let request = self.shared().shutdown.request()?;
        self.is_fired_by_shutdown().then_some(request.deadline)
    }

    /// Returns the time left until the [`deadline`](Self::deadline): zero once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn is_fired_by_shutdown(&self) -> bool {
        match &self.source {
            Source::Process(shared) => shared.shutdown.main_must_stop(),
            Source::Task(task) => {
                !task.finishes && task.shared().shutdown.phase() >= Phase::Draining
            }
            Source::LastAttempt(task) => {
                let has_fired = self.own.get().is_some_and(CancellationToken::is_cancelled);
                has_fired || last_attempt::is_over(task.shared())
            }
        }
    }

    /// Returns a `tokio_util` token that fires with this one, for libraries that take one.
    ///
    /// Cancelling it cancels only itself. The other methods catch the panic of a waker. This token does not: such a panic may
    /// leave code that awaits another token asleep.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.own().child_token()
    }

    fn own(&self) -> &CancellationToken {
        self.own.get_or_init(|| match &self.source {
            Source::Process(shared) => shared.shutdown.main.clone(),
            Source::Task(task) if broken!("late_token_apart") => task.token().unwrap_or_default(),
            // The token of a retired call fires only on shutdown. The token of a last attempt exists from the start.
            Source::Task(task) | Source::LastAttempt(task) => task
                .token()
                .unwrap_or_else(|| task.shared().shutdown.task_token(task.finishes)),
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

/// Returns the token of the code that runs here: the task's own token inside a task, else `main`'s.
///
/// For code without a [`ShutdownToken`] parameter, at any depth of the call stack. On a runtime without a manager, this installs
/// one, as a call does.
///
/// # Examples
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
///
/// # Panics
/// On a thread without a runtime, if no manager can be found.
#[must_use]
#[track_caller]
pub fn shutdown_token() -> ShutdownToken {
    match context::task() {
        Some(task) => match blocking::attempt_token(&task).or_else(|| last_attempt_of(&task)) {
            Some(token) => ShutdownToken::from_attempt_token(task, token),
            None => ShutdownToken::for_task(task),
        },
        None => ShutdownToken::for_process(context::current_shared("shutdown_token()")),
    }
}

/// Returns the token of the task's last attempt, if that attempt is running.
fn last_attempt_of(task: &TaskRef) -> Option<AttemptToken> {
    // Cheap until the drain begins, and for functions without `retry`.
    if task.shared().shutdown.phase() < Phase::Draining {
        return None;
    }
    let identity = task.identity();
    let policies = identity.handler.policies()?;
    policies.retry?;
    let progress = task.shared().policies.progress(policies, identity.id)?;
    let own = progress.last_attempt()?.clone();
    Some(AttemptToken { own, is_last: true })
}

/// A future that completes when a token fires; see [`ShutdownToken::cancelled_owned`].
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

/// Polls `future` on this thread, which is parked in between, until it completes.
#[cfg(feature = "durable")]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut output = None;
    block_on_until(async { output = Some(future.await) }, None);
    match output {
        Some(output) => output,
        None => unreachable!("without a limit, it blocks until the future completes"),
    }
}

/// Polls `future` on this thread, which is parked in between, at most until `until`. Returns whether it completed.
///
/// The runtime's `block_on` would panic in a runtime context, and needs a live runtime.
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
