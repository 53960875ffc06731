//! The attempts of a run: each within its time and with its panic caught, and the pauses in between.
//! Owns whether another attempt follows; knows nothing of what comes before the body.

use crate::call::blocking::{self, AttemptToken};
use crate::call::pipeline::run::{Guards, PolicyRun, Woken};
use crate::call::wrapped::report_unfinished;
use crate::handler::{Log, OnShutdown};
use crate::policy::{Activity, Coalesce, NextAttempt, Retry, RetryWhen, until_cancelled, within};
use crate::shutdown::last_attempt;
use crate::stats::Outcome;
use crate::task::attempt::{About, Attempt, Wrapper, around, wrapper};
use crate::tracker::shutdown_state::Phase;
use crate::util::block_on::block_on;
use crate::util::fmt::Rounded;
use crate::util::log::mention;
use crate::util::panic::{Caught, catch};
use crate::util::sync::unmodelled::Mutex;
use crate::util::text::Excerpt;
use crate::{ShutdownToken, TaskError};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) type BoxedFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type BoxedWork<T> = Box<dyn FnOnce() -> T + Send>;
/// Returns the message of an output that is an error.
pub(super) type FailureOf<T> = fn(&T) -> Option<String>;

/// The user's body, once for each attempt.
pub struct Attempts<T> {
    pub(super) make: Make<T>,
    /// The function's own code around each attempt: `wrap = path`.
    wrapper: Option<Wrapper>,
}

pub(super) enum Make<T> {
    /// Taken by the only attempt.
    Once(Option<BoxedFuture<T>>),
    Async(Box<dyn FnMut(ShutdownToken) -> BoxedFuture<T> + Send>),
    Blocking(Box<dyn FnMut(ShutdownToken) -> BoxedWork<T> + Send>),
}

impl<T: Send + 'static> Attempts<T> {
    fn new(make: Make<T>) -> Self {
        Self {
            make,
            wrapper: None,
        }
    }

    /// Runs each attempt within this function: `wrap = path`.
    pub fn wrapped<F>(self, wrap: impl Fn(Attempt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            wrapper: Some(wrapper(wrap)),
            ..self
        }
    }

    /// An `async fn` without `retry`.
    pub fn once<F>(future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        Self::new(Make::Once(Some(Box::pin(future))))
    }

    /// An `async fn` with `retry`.
    pub fn again<F>(mut make: impl FnMut(ShutdownToken) -> F + Send + 'static) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        Self::new(Make::Async(Box::new(move |token| Box::pin(make(token)))))
    }

    /// A plain `fn` without `retry`.
    pub fn once_blocking<F>(work: impl FnOnce(ShutdownToken) -> F + Send + 'static) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let mut work = Some(work);
        Self::new(Make::Blocking(Box::new(move |token| match work.take() {
            Some(work) => Box::new(work(token)),
            None => unreachable!("{ONE_ATTEMPT}"),
        })))
    }

    /// A plain `fn` with `retry`.
    pub fn again_blocking<F>(mut make: impl FnMut(ShutdownToken) -> F + Send + 'static) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
    {
        Self::new(Make::Blocking(Box::new(move |token| Box::new(make(token)))))
    }
}

const ONE_ATTEMPT: &str = "without `retry` there is one attempt";

impl<T> fmt::Debug for Attempts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}

/// The next step after a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// A pause, and then another attempt.
    Pause,
    /// One more attempt at once, or none: the shutdown leaves no time for pauses.
    Drain,
    /// No attempt: the call was cancelled.
    NoMore,
}

impl PolicyRun {
    pub(super) async fn run_async<T: Send + 'static>(
        &self,
        guards: &Arc<Guards>,
        attempts: Attempts<T>,
        when: RetryWhen<T>,
        failure_of: FailureOf<T>,
    ) -> Result<T, TaskError> {
        let work = self.try_all(guards, attempts, when, failure_of);
        match self.replaced(guards) {
            None => work.await,
            Some(replaced) => match until_cancelled(replaced, work).await {
                Some(result) => result,
                None => Err(TaskError::Replaced),
            },
        }
    }

    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        guards: &Arc<Guards>,
        attempts: Attempts<T>,
        when: RetryWhen<T>,
        failure_of: FailureOf<T>,
    ) -> Result<T, TaskError> {
        let mut work = pin!(self.try_all(guards, attempts, when, failure_of));
        match self.replaced(guards) {
            None => work.await,
            Some(replaced) => match until_cancelled(replaced, work.as_mut()).await {
                Some(result) => result,
                None => {
                    // A thread cannot be stopped: fire its token, and let the call that replaces this one wait for its end.
                    self.fire_own_token();
                    drop(work.await);
                    Err(TaskError::Replaced)
                }
            },
        }
    }

    fn replaced<'g>(&self, guards: &'g Guards) -> Option<&'g CancellationToken> {
        let leader = guards.leader.as_ref()?;
        (self.policies.coalesce == Some(Coalesce::Replace)).then_some(&leader.replaced)
    }

    /// Runs the attempts, with pauses in between.
    async fn try_all<T: Send + 'static>(
        &self,
        guards: &Arc<Guards>,
        mut attempts: Attempts<T>,
        when: RetryWhen<T>,
        failure_of: FailureOf<T>,
    ) -> Result<T, TaskError> {
        let mut attempt = 1;
        // Whether the shutdown leaves time for this attempt only, and its token if the drain fires that one late.
        let (mut is_last, mut late) = (false, None);
        loop {
            self.progress.set_attempt(attempt);
            self.progress.set(Activity::Running);
            let around = self.around(attempts.wrapper.as_ref(), attempt, failure_of);
            let result = match &mut attempts.make {
                Make::Once(future) => {
                    self.notify_began();
                    let future = future.take().expect(ONE_ATTEMPT);
                    match around {
                        None => self.attempt(future).await,
                        // Boxed, so that a call without wrappers has no room for it.
                        Some(around) => Box::pin(self.attempt_around(future, around)).await,
                    }
                }
                Make::Async(make) => {
                    self.notify_began();
                    let token = match &late {
                        None => self.token(),
                        Some(late) => self.late_token(late),
                    };
                    let future = make(token);
                    match around {
                        None => self.attempt(future).await,
                        // Boxed, so that a call without wrappers has no room for it.
                        Some(around) => Box::pin(self.attempt_around(future, around)).await,
                    }
                }
                Make::Blocking(make) => {
                    self.attempt_blocking(make, guards, late.as_ref(), around)
                        .await
                }
            };
            let Some(retry) = self.state.retry().filter(|retry| attempt < retry.max) else {
                return result;
            };
            // An attempt that timed out or panicked has no error to ask.
            let failure = match &result {
                Ok(output) => failure_of(output).map(|failure| (failure, when.decide(output))),
                Err(TaskError::TimedOut) => {
                    Some((TaskError::TimedOut.to_string(), NextAttempt::AfterBackoff))
                }
                Err(error @ TaskError::Panicked { .. }) if retry.panics => {
                    Some((error.to_string(), NextAttempt::AfterBackoff))
                }
                Err(_) => None,
            };
            let (failure, pause) = match failure {
                Some((failure, NextAttempt::AfterBackoff)) => {
                    (failure, retry.backoff.pause(attempt))
                }
                Some((failure, NextAttempt::After(pause))) => (failure, pause),
                Some((_, NextAttempt::None)) | None => return result,
            };
            if is_last {
                self.give_up();
                return result;
            }
            self.progress.set(Activity::BackingOff);
            match self.after_failure() {
                After::NoMore => return result,
                After::Pause => {
                    self.report_failed_attempt(attempt, retry.max, &failure, pause);
                    self.notify_backs_off(pause);
                    match self
                        .sleep_until(Instant::now() + pause, &self.shared.shutdown.draining, None)
                        .await
                    {
                        Woken::InTime => {}
                        Woken::Replaced => return result,
                        Woken::Cancelled if self.after_failure() == After::NoMore => {
                            return result;
                        }
                        Woken::Cancelled => {}
                    }
                }
                After::Drain if self.has_last_attempt(retry) => {
                    self.report_failed_attempt(attempt, retry.max, &failure, Duration::ZERO);
                }
                After::Drain => {}
            }
            // Draining may also have started during the pause.
            if self.shared.shutdown.phase() >= Phase::Draining {
                if !self.has_last_attempt(retry) {
                    self.give_up();
                    return result;
                }
                is_last = true;
                // With `on_shutdown = "finish"` the drain does not fire the token of this call.
                late = (!self.task.finishes)
                    .then(|| last_attempt::begin(&self.shared, &self.progress));
            }
            drop(result);
            self.state.counts.retries.add_one();
            attempt += 1;
            if self.shared.hooks.observers.any() {
                let call = self.task.identity();
                self.notify(|observer| observer.retried(&call));
            }
        }
    }

    /// Returns the wrappers of an attempt, if it has any.
    fn around<T>(
        &self,
        own: Option<&Wrapper>,
        number: u32,
        failure_of: FailureOf<T>,
    ) -> Option<Box<Around<T>>> {
        (own.is_some() || self.shared.wrappers.any()).then(|| {
            let (handler, id, called_at) = (self.handler, self.id, self.called_at);
            let mut wrappers = self.shared.wrappers.all();
            wrappers.extend(own.cloned());
            Box::new(Around {
                about: About::new(handler, id, called_at, number, self.fields()),
                wrappers,
                failure_of,
            })
        })
    }

    /// Runs one attempt of an `async fn` within its wrappers, and within its time.
    async fn attempt_around<T: Send + 'static>(
        &self,
        future: BoxedFuture<T>,
        around: Box<Around<T>>,
    ) -> Result<T, TaskError> {
        let about = around.about.clone();
        let output = self.attempt(around.future(future)).await?;
        output.ok_or_else(|| unfinished(&about))
    }

    /// Runs one attempt of an `async fn`, within its time.
    async fn attempt<T>(&self, future: BoxedFuture<T>) -> Result<T, TaskError> {
        let caught = CatchPanic(Some(future));
        let result = match self.state.timeout() {
            None => caught.await,
            // At the limit, the future is dropped with all that it holds.
            Some(limit) => match within(limit, caught).await {
                Some(result) => result,
                None => return Err(TaskError::TimedOut),
            },
        };
        result.map_err(|caught| panicked(*caught))
    }

    /// Runs one attempt of a plain `fn`. At the limit, its token fires and its end is awaited, because it cannot be dropped.
    async fn attempt_blocking<T: Send + 'static>(
        &self,
        make: &mut (dyn FnMut(ShutdownToken) -> BoxedWork<T> + Send),
        guards: &Arc<Guards>,
        late: Option<&CancellationToken>,
        around: Option<Box<Around<T>>>,
    ) -> Result<T, TaskError> {
        // With `timeout`, each attempt has a token of its own: the next one must not find it fired.
        let timeout = self.state.timeout();
        let own = match (timeout, late) {
            (Some(_), Some(late)) => Some(late.child_token()),
            (Some(_), None) => Some(self.own_token().child_token()),
            (None, late) => late.cloned(),
        };
        let attempt_token = own.clone().map(|token| AttemptToken {
            own: token,
            is_last: late.is_some(),
        });
        let token = match &attempt_token {
            Some(token) => ShutdownToken::from_attempt_token(self.task.clone(), token.clone()),
            None => self.token(),
        };
        let work = make(token);
        match around {
            None => {
                self.attempt_on_thread(work, guards, attempt_token, timeout, own)
                    .await
            }
            Some(around) => {
                let about = around.about.clone();
                let future = around.future(Box::pin(async { work() }));
                let work = Box::new(move || block_on(future));
                let attempt = self.attempt_on_thread(work, guards, attempt_token, timeout, own);
                // Boxed for the same reason.
                let output = Box::pin(attempt).await?;
                output.ok_or_else(|| unfinished(&about))
            }
        }
    }

    async fn attempt_on_thread<T: Send + 'static>(
        &self,
        work: BoxedWork<T>,
        guards: &Arc<Guards>,
        attempt_token: Option<AttemptToken>,
        timeout: Option<Duration>,
        own: Option<CancellationToken>,
    ) -> Result<T, TaskError> {
        let mut task = self.task.clone();
        // On its thread, the attempt may block.
        task.is_async = false;
        let mut ended = pin!(blocking::run(
            work,
            self.id,
            task,
            attempt_token,
            guards.clone(),
            &self.thread,
            self.handler.name(),
        ));
        let mut in_time = true;
        let ended = match (timeout, &own) {
            (Some(limit), Some(own)) => match tokio::time::timeout(limit, ended.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => {
                    in_time = false;
                    own.cancel();
                    ended.await
                }
            },
            _ => ended.await,
        };
        match ended {
            None => Err(TaskError::Aborted),
            // A panic is reported even after the limit.
            Some(Err(caught)) => Err(panicked(*caught)),
            Some(Ok(_)) if !in_time => Err(TaskError::TimedOut),
            Some(Ok(output)) => Ok(output),
        }
    }

    fn notify_began(&self) {
        if let Some(dispatcher) = self.shared.hooks.dispatcher() {
            dispatcher.begun(self.id);
        }
        if self.shared.hooks.observers.any() {
            self.task.notify_started();
        }
    }

    fn notify_backs_off(&self, pause: Duration) {
        if self.shared.hooks.observers.any() {
            let call = self.task.identity();
            self.notify(|observer| observer.backs_off(&call, pause));
        }
    }

    /// Returns what follows a failed attempt that another attempt may follow.
    fn after_failure(&self) -> After {
        // Check the token before the phase: the drain fires it after it has begun, so one that has fired without the drain was
        // cancelled alone.
        let has_fired = self.token().is_cancelled_alone();
        let drains = self.shared.shutdown.phase() >= Phase::Draining;
        let is_cancelled = has_fired && (!drains || self.task.finishes);
        // Check the group after the phase: see `GroupState::is_cancelled`.
        let group_is_cancelled = || {
            let group = self.task.group_state();
            group.is_some_and(|group| group.is_cancelled())
        };
        if is_cancelled || self.progress.is_cancelled_alone() || group_is_cancelled() {
            After::NoMore
        } else if drains {
            After::Drain
        } else {
            After::Pause
        }
    }

    /// Returns whether the drain grants one more attempt to a call that has failed.
    fn has_last_attempt(&self, retry: Retry) -> bool {
        retry.last_attempt && self.handler.on_shutdown() != OnShutdown::Cancel
    }

    /// Notes that the shutdown ends the attempts of the call.
    fn give_up(&self) {
        self.progress.give_up();
        self.shared.policies.gave_up.add_one();
    }

    fn late_token(&self, late: &CancellationToken) -> ShutdownToken {
        let token = AttemptToken {
            own: late.clone(),
            is_last: true,
        };
        ShutdownToken::from_attempt_token(self.task.clone(), token)
    }

    fn report_failed_attempt(&self, attempt: u32, of: u32, failure: &str, pause: Duration) {
        if self.handler.log() == Log::Off {
            return;
        }
        mention!(warn, "attempt failed, retrying"; name = self.handler.name(), id: self.id.as_u64(),
            called_at = self.called_at, attempt: attempt, max_attempts: of, error = Excerpt(failure), pause = Rounded(pause),
            fields + self.fields());
    }
}

pub(super) fn panicked(caught: Caught) -> TaskError {
    TaskError::Panicked {
        message: caught.message,
        location: caught.location,
    }
}

/// The wrappers of one attempt.
struct Around<T> {
    about: Arc<About>,
    wrappers: Vec<Wrapper>,
    failure_of: FailureOf<T>,
}

impl<T: Send + 'static> Around<T> {
    /// Returns the attempt with its wrappers. Its output is absent if a wrapper returned before the body had ended.
    fn future(self, body: BoxedFuture<T>) -> BoxedFuture<Option<T>> {
        let output = Arc::new(Mutex::new(None));
        let (into, failure_of) = (output.clone(), self.failure_of);
        let body = async move {
            let output = body.await;
            let outcome = match failure_of(&output) {
                None => Outcome::Succeeded,
                Some(_) => Outcome::Failed,
            };
            *into.lock() = Some(output);
            outcome
        };
        let all = around(self.about, self.wrappers.into_iter(), body);
        Box::pin(async move {
            all.await;
            // Held to take the output.
            output.lock().take()
        })
    }
}

/// Logs that a wrapper returned before the body had ended, and returns the error of the call.
#[cold]
fn unfinished(about: &About) -> TaskError {
    report_unfinished(about);
    TaskError::Cancelled
}

/// A future whose panic is its output. It drops the inner future as soon as that ends.
struct CatchPanic<T>(Option<BoxedFuture<T>>);

impl<T> Future for CatchPanic<T> {
    type Output = Result<T, Box<Caught>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let result = match catch(|| future.as_mut().poll(cx)) {
            Ok(poll) => Ok(ready!(poll)),
            Err(caught) => Err(caught),
        };
        self.0 = None;
        Poll::Ready(result)
    }
}
