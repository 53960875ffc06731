//! One run under policies: what it must pass before its body, and what it holds meanwhile.
//! Owns the waits of a call and the events about them; knows nothing of attempts.

use crate::call::blocking::Thread;
use crate::fields::Fields;
use crate::handler::{Handler, Log};
use crate::observe::{Observer, rejections};
use crate::policy::{
    Acquire, Coalesce, Ending, HandlerState, Leader, Limiter, Permit, Policies, Progress,
    RejectedCall, RejectionCause, Window,
};
use crate::report::Failure;
use crate::report::StopReason;
use crate::shutdown::essential;
use crate::stats::{Outcome, TaskId};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::task_ref::TaskRef;
use crate::{RefusedReason, ShutdownToken, TaskError};
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The resources that a run holds as long as its body runs, on whatever thread.
#[derive(Debug)]
pub(super) struct Guards {
    // In this order: the permit is free before the calls that wait for the end of the run go on.
    _permit: Option<Permit>,
    pub(super) leader: Option<Leader>,
}

/// The state of one run.
#[derive(Debug)]
pub(super) struct PolicyRun {
    pub(super) handler: &'static Handler,
    pub(super) policies: &'static Policies,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Arc<HandlerState>,
    pub(super) task: TaskRef,
    pub(super) id: TaskId,
    pub(super) called_at: &'static Location<'static>,
    pub(super) progress: Arc<Progress>,
    pub(super) thread: Arc<Thread>,
    pub(super) leader: Option<Leader>,
    /// Whether the call must wait for an earlier run with its key.
    pub(super) follows_run: bool,
    /// Absent once the rate has let the call pass.
    pub(super) window: Option<Arc<Window>>,
    /// Absent once the call has a permit or is in the wait queue.
    pub(super) limiter: Option<Arc<Limiter>>,
    /// Whether the call was cancelled, or draining started, while it waited for its rate limit.
    pub(super) waited_for_rate: bool,
    pub(super) turn: Option<Acquire>,
    /// Closed when the handle is dropped: for a call that found the wait queue full.
    pub(super) caller_alive: Option<oneshot::Receiver<()>>,
    pub(super) ending: Option<oneshot::Sender<Ending>>,
    // These two are dropped last: what they report is true only once all the rest is gone.
    #[allow(dead_code, reason = "it acts when it is dropped")]
    pub(super) listed: Listed,
    #[allow(dead_code, reason = "it acts when it is dropped")]
    pub(super) essential: Option<Essential>,
}

/// The entry of a call among the live calls of its function.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) state: Arc<HandlerState>,
    pub(super) id: TaskId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.state.retire(self.id);
    }
}

/// Judges the end of an essential task when dropped, however the task ends.
#[derive(Debug)]
pub(super) struct Essential(pub(super) Arc<Tracker>, pub(super) &'static Handler);

impl Drop for Essential {
    fn drop(&mut self) {
        essential::ended(&self.0, self.1);
    }
}

/// Why a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    InTime,
    Replaced,
    /// The task was cancelled, or the drain has started: it does not wait for sleeping calls.
    Cancelled,
}

impl PolicyRun {
    /// Passes all that comes before the body: the turn among the runs of its key, the rate, a permit.
    pub(super) async fn pass(&mut self) -> Result<Guards, TaskError> {
        let mut leader = self.leader.take();
        let passed = self.pass_all(leader.as_mut()).await;
        self.task.notify_wait_over();
        let passed = passed.and_then(|permit| {
            // A call must not begin after the deadline, because the report names it as one that never began.
            let may_begin = self.task.stop_waiting();
            may_begin.then_some(permit).ok_or(TaskError::Aborted)
        });
        match passed {
            Ok(permit) => Ok(Guards {
                _permit: permit,
                leader,
            }),
            Err(error) => {
                // The calls that have joined share the error.
                if let Some(leader) = &mut leader {
                    leader.set_fallback(error.clone());
                }
                Err(error)
            }
        }
    }

    async fn pass_all(
        &mut self,
        mut leader: Option<&mut Leader>,
    ) -> Result<Option<Permit>, TaskError> {
        let replaced = leader
            .as_ref()
            .filter(|_| self.policies.coalesce == Some(Coalesce::Replace))
            .map(|leader| leader.replaced.clone());
        let replaced = replaced.as_ref();

        if let Some(leader) = leader.as_mut().filter(|leader| leader.must_wait()) {
            self.unless_cancelled(replaced, leader.wait_for_turn())
                .await?;
        }
        if let Some(window) = self.window.take() {
            let now = Instant::now();
            // No call waits for its rate in a drain, be it the manager's or a group's.
            let group = self.task.group_state();
            let draining = match &group {
                Some(group) => group.token(false),
                None => &self.shared.shutdown.draining,
            };
            let woken = if window.try_reserve(now) {
                Woken::InTime
            } else {
                self.wait_for(window.wait(now), draining, replaced).await
            };
            match woken {
                Woken::InTime => {}
                Woken::Replaced => return Err(TaskError::Replaced),
                Woken::Cancelled => {
                    self.waited_for_rate = true;
                    self.note_held_back();
                    return Err(TaskError::Cancelled);
                }
            }
        }
        let turn = match (self.turn.take(), self.limiter.take()) {
            (None, Some(limiter)) if self.follows_run => Some(limiter.acquire_unbounded()),
            (None, Some(limiter)) => Some(limiter.acquire()),
            (turn, _) => turn,
        };
        let permit = match turn {
            None => None,
            Some(Acquire::Ready(permit)) => Some(permit),
            Some(Acquire::Rejected) => return Err(TaskError::Refused(RefusedReason::QueueFull)),
            Some(Acquire::Queued { turn, past_bound }) => {
                let caller_alive = self.caller_alive.take().filter(|_| past_bound);
                let turn = self
                    .unless_cancelled(replaced, while_caller_alive(caller_alive, turn))
                    .await?;
                match turn {
                    Some(Ok(permit)) => Some(permit),
                    Some(Err(_)) => {
                        return Err(TaskError::Refused(RefusedReason::DroppedFromQueue));
                    }
                    None => return Err(TaskError::Refused(RefusedReason::QueueFull)),
                }
            }
        };
        if let Some(leader) = &leader {
            leader.begin();
        }
        if replaced.is_some_and(CancellationToken::is_cancelled) {
            return Err(TaskError::Replaced);
        }
        Ok(permit)
    }

    /// Awaits `turn`, which comes as other calls end. Neither the manager's drain nor a group's ends this wait: an accepted call
    /// gets its turn as long as there is time, because the tokens of the calls it waits for have fired.
    ///
    /// # Errors
    /// If the call or its group is cancelled, or another call replaces it.
    async fn unless_cancelled<F: Future>(
        &self,
        replaced: Option<&CancellationToken>,
        turn: F,
    ) -> Result<F::Output, TaskError> {
        // Not the task's own token, because the drain fires that one.
        let group = self.task.group_state();
        let group = group.as_ref().map(|group| group.token(true));
        let mut cancelled = pin!(self.progress.cancellation().cancelled());
        let mut group_cancelled = pin!(fired(group));
        let mut replaced = pin!(fired(replaced));
        let mut turn = pin!(turn);
        poll_fn(|cx| {
            if replaced.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(TaskError::Replaced));
            }
            if let Poll::Ready(output) = turn.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let is_cancelled = cancelled.as_mut().poll(cx).is_ready();
            if is_cancelled || group_cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(TaskError::Cancelled));
            }
            Poll::Pending
        })
        .await
    }

    pub(super) async fn sleep_until(
        &self,
        until: Instant,
        draining: &CancellationToken,
        replaced: Option<&CancellationToken>,
    ) -> Woken {
        if until <= Instant::now() {
            return Woken::InTime;
        }
        self.wait_for(tokio::time::sleep_until(until), draining, replaced)
            .await
    }

    /// Awaits `time`, which the drain does not wait for.
    async fn wait_for(
        &self,
        time: impl Future<Output = ()>,
        draining: &CancellationToken,
        replaced: Option<&CancellationToken>,
    ) -> Woken {
        let own = self.own_token();
        let mut cancelled = pin!(own.cancelled());
        // With `on_shutdown = "finish"`, the drain does not fire the task's own token.
        let mut draining = pin!(draining.cancelled());
        let mut replaced = pin!(fired(replaced));
        let mut time = pin!(time);
        poll_fn(|cx| {
            if replaced.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Replaced);
            }
            if cancelled.as_mut().poll(cx).is_ready() || draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Cancelled);
            }
            time.as_mut().poll(cx).map(|()| Woken::InTime)
        })
        .await
    }

    pub(super) fn token(&self) -> ShutdownToken {
        ShutdownToken::for_task(self.task.clone())
    }

    /// Returns the token that cancels the task.
    pub(super) fn own_token(&self) -> CancellationToken {
        let token = self.task.token();
        token.unwrap_or_else(|| self.shared.shutdown.task_token(self.handler.finishes()))
    }

    pub(super) fn fire_own_token(&self) {
        // Before the token fires: when the token ends an attempt, the call must already count as cancelled, so that none follows.
        self.progress.cancel(StopReason::Cancelled);
        let token = self.own_token();
        // The same order as in `TaskHandle::cancel`, for the same reason.
        self.shared.cancelled_alone.fetch_add(1, Ordering::Release);
        token.cancel();
    }

    pub(super) fn notify(&self, event: impl Fn(&dyn Observer)) {
        self.shared.hooks.observers.notify(event);
    }

    /// Notifies the observers that a policy ends the call, and logs it if the wait queue or the rate limit is the reason.
    #[cold]
    pub(super) fn report_dropped(&self, why: &TaskError) {
        if self.shared.hooks.observers.any() {
            let call = self.task.identity();
            self.notify(|observer| observer.dropped(&call, why));
        }
        let cause = match *why {
            TaskError::Refused(reason) => RejectionCause::Dropped(reason),
            TaskError::Cancelled if self.waited_for_rate => RejectionCause::WaitedForRate,
            _ => return,
        };
        if self.handler.log() != Log::Off {
            let call = RejectedCall {
                name: self.handler.name(),
                id: self.id,
                called_at: self.called_at,
                cause,
            };
            rejections::log(&self.state, call);
        }
    }

    /// Returns the values that the option `fields` names.
    pub(super) fn fields(&self) -> Fields {
        match self.handler.fields() {
            None => Fields::default(),
            Some(_) => self.shared.fields.get(self.id),
        }
    }

    /// Adds the call to the failures of the shutdown report: it was cancelled, or draining started, while it waited for its rate
    /// limit.
    fn note_held_back(&self) {
        self.shared.shutdown.note_failure(|| Failure {
            id: self.id,
            name: self.handler.name(),
            called_at: self.called_at,
            outcome: Outcome::Cancelled,
            message: "dropped while it waited for the rate limit".to_owned(),
            location: None,
            fields: self.fields(),
        });
    }
}

/// Completes when the token fires; never if there is none.
async fn fired(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Awaits `turn`. Returns `None` if the caller drops the handle first.
async fn while_caller_alive<F: Future>(
    mut caller_alive: Option<oneshot::Receiver<()>>,
    turn: F,
) -> Option<F::Output> {
    let mut turn = pin!(turn);
    poll_fn(|cx| {
        if let Poll::Ready(output) = turn.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match &mut caller_alive {
            Some(caller_alive) => Pin::new(caller_alive).poll(cx).map(|_| None),
            None => Poll::Pending,
        }
    })
    .await
}
