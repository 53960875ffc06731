//! The body that a call with policies runs: the policies and the user's body as one future, then its output.
//! Owns how a run ends for its handle, its followers and its schedule; knows nothing of admission.

use crate::TaskError;
use crate::call::blocking::Thread;
use crate::call::pipeline::attempts::{Attempts, BoxedFuture, FailureOf, Make, panicked};
use crate::call::pipeline::run::PolicyRun;
use crate::policy::{Ending, Progress, RetryWhen, Share, SharedOutcome};
use crate::task::{Body, BodyFailure, PolicyEnd};
use crate::util::panic::catch;
use crate::util::text::Message;
use std::any::Any;
use std::cell::OnceCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use tokio::sync::oneshot;

/// The composed future of a call, and then its output.
pub(super) struct PolicyBody<T> {
    /// Absent once it has ended.
    future: Option<BoxedFuture<Result<T, TaskError>>>,
    output: Option<T>,
    failure_of: FailureOf<T>,
    needs_owner: bool,
    progress: Arc<Progress>,
    has_retry: bool,
    thread: Arc<Thread>,
    /// For the schedule that started the call.
    ending: Option<oneshot::Sender<Ending>>,
    ended: Option<Ending>,
}

// The only pinned part is in a box.
impl<T> Unpin for PolicyBody<T> {}

impl<T: Send + 'static> PolicyBody<T> {
    pub(super) fn new(
        mut run: Box<PolicyRun>,
        attempts: Attempts<T>,
        when: RetryWhen<T>,
        share: Share<T>,
        can_fail: bool,
        failure_of: FailureOf<T>,
    ) -> Self {
        Self {
            needs_owner: can_fail || std::mem::needs_drop::<T>(),
            progress: run.progress.clone(),
            has_retry: run.policies.retry.is_some(),
            thread: run.thread.clone(),
            ending: run.ending.take(),
            ended: None,
            failure_of,
            output: None,
            future: Some(Box::pin(run_all(run, attempts, when, share, failure_of))),
        }
    }

    /// Returns the failure if the output is one.
    fn judge(&mut self, output: &T) -> Option<Box<BodyFailure>> {
        let failure = (self.failure_of)(output);
        self.ended = Some(match failure {
            None => Ending::Succeeded,
            Some(_) => Ending::Failed,
        });
        let failure = Message::new(failure?, self.note_on_attempts());
        Some(Box::new(BodyFailure::Failed(failure)))
    }

    fn policy_end(&mut self, error: TaskError) -> Box<BodyFailure> {
        if let TaskError::Panicked { .. } | TaskError::TimedOut = error {
            self.ended = Some(Ending::Failed);
        }
        Box::new(BodyFailure::Ended(PolicyEnd {
            error,
            attempts: self.progress.attempt(),
            gave_up: self.progress.gave_up(),
            note: self.note_on_attempts(),
        }))
    }

    /// Returns the attempts as the texts about a failure state them, or `None` for a call without `retry`.
    fn note_on_attempts(&self) -> Option<String> {
        let gave_up = if self.progress.gave_up() {
            "gave up "
        } else if self.has_retry {
            ""
        } else {
            return None;
        };
        Some(match self.progress.attempt() {
            1 => format!("({gave_up}after 1 attempt)"),
            attempts => format!("({gave_up}after {attempts} attempts)"),
        })
    }
}

impl<T: Send + 'static> Body for PolicyBody<T> {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Box<BodyFailure>>> {
        let Some(future) = &mut self.future else {
            // Polled after its end, which no runner does.
            return Poll::Pending;
        };
        let result = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(match result {
            Ok(output) => {
                let failure = self.judge(&output);
                self.output = Some(output);
                failure
            }
            Err(error) => Some(self.policy_end(error)),
        })
    }

    fn needs_owner(&self) -> bool {
        // A timeout is reported even if the function returns nothing.
        self.needs_owner || self.ended == Some(Ending::Failed)
    }

    fn left_behind(&self) -> bool {
        self.thread.is_running()
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.future = None;
        self.output = None;
    }

    fn take(mut self: Pin<&mut Self>, into: &mut dyn Any) {
        if let Some(into) = into.downcast_mut::<Option<T>>() {
            *into = self.output.take();
        }
    }
}

impl<T> Drop for PolicyBody<T> {
    fn drop(&mut self) {
        if let (Some(ending), Some(ended)) = (self.ending.take(), self.ended) {
            // The schedule may have ended.
            let _ = ending.send(ended);
        }
    }
}

/// Runs the policies around the body, from the outside in.
async fn run_all<T: Send + 'static>(
    mut run: Box<PolicyRun>,
    attempts: Attempts<T>,
    when: RetryWhen<T>,
    share: Share<T>,
    failure_of: FailureOf<T>,
) -> Result<T, TaskError> {
    let guards = match run.pass().await {
        Ok(guards) => Arc::new(guards),
        Err(error) => {
            run.state.counts.dropped.add_one();
            run.report_dropped(&error);
            return Err(error);
        }
    };
    let result = match &attempts.make {
        Make::Once(_) | Make::Async(_) => run.run_async(&guards, attempts, when, failure_of).await,
        Make::Blocking(_) => run.run_blocking(&guards, attempts, when, failure_of).await,
    };
    if let Err(error @ TaskError::Replaced) = &result {
        run.report_dropped(error);
    }
    if let Some(leader) = &guards.leader {
        match &result {
            Err(error) => leader.end(|| SharedOutcome::Error(error.clone())),
            Ok(output) => {
                // Computed only if a call has joined: it may be long, and the code is the user's.
                let failure = OnceCell::new();
                leader.end(|| {
                    let failure = failure.get_or_init(|| failure_of(output).unwrap_or_default());
                    // A panic of the clone belongs to the calls that joined, not to the run.
                    match share.0.map(|share| catch(|| share(output, failure))) {
                        Some(Ok(result)) => SharedOutcome::Value(Box::new(result)),
                        Some(Err(caught)) => SharedOutcome::Error(panicked(*caught)),
                        None => SharedOutcome::Error(TaskError::Aborted),
                    }
                });
            }
        }
    }
    result
}
