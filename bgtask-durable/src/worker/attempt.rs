//! One attempt of a claimed job: run as a call of the manager, and sent to be recorded.
//! Knows nothing of how a job is claimed, or of how an end is recorded.

use super::Shared;
use super::places::Place;
use super::recorder::End;
use crate::PAUSE;
use crate::engine::{Claim, Claimed, Record, Recorded};
use crate::holding::{Holding, PROGRESS};
#[cfg(test)]
use crate::mechanisms::Mechanism;
use crate::metrics::Count;
use crate::trace;
use bgtask::durable::{ClaimedJob as _, Function, StopReason, Verdict};
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::task::Poll;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

impl Shared {
    /// Runs one claimed job, and returns when its end is recorded, or the claim is void.
    pub(super) async fn take(
        self: Arc<Self>,
        _held: Held,
        place: Place,
        claimed: Claimed,
        lost: CancellationToken,
    ) {
        // The reply to the claim may have come late.
        if lost.is_cancelled() || self.was_put_back(&claimed.claim) {
            return;
        }
        self.figures.count(Count::Claimed, &claimed.function);
        let (claim, name) = (claimed.claim.clone(), claimed.function.clone());
        let Some(store) = self.store.get().and_then(Weak::upgrade) else {
            // The manager is gone. The lease returns the job.
            return;
        };
        let _begun = self.watch.begin(claim.id);
        let holding = Holding::new(&claimed, store, &self.database);
        let Some(record) = self.run(claimed, &holding, &lost).await else {
            return;
        };
        if let Some(progress) = holding.send_progress() {
            // The channel keeps their order.
            if self
                .send(&claim, Record::Progress(progress))
                .await
                .is_none()
            {
                return;
            }
        }
        let counts_as = count_of(&record);
        let recorded = {
            let _pending = self.figures.pending();
            let Some(was_recorded) = self.send(&claim, record).await else {
                return;
            };
            // Another job may run while this end is recorded. What the recorder takes is bounded, and so are the pending ends.
            drop(place);
            was_recorded.await
        };
        let count = match recorded {
            Ok(Recorded::Yes) => counts_as,
            Ok(Recorded::Dead) => {
                tracing::error!(target: "bgtask", job = claim.id, name,
                    "a job is dead: the database does not accept the end of its attempt");
                Some(Count::Dead)
            }
            Ok(Recorded::No) => {
                tracing::warn!(target: "bgtask", job = claim.id, worker = claim.worker,
                    "the end of an attempt was dropped: the attempt no longer held its job");
                Some(Count::Fenced)
            }
            Ok(Recorded::Locked) | Err(_) => None,
        };
        if count == Some(Count::Dead) {
            // The receiver is gone if the store is closed.
            let _ = self.dead.send(claim.id);
        }
        if let Some(count) = count {
            self.ended.count(count);
            self.figures.count(count, &name);
        }
        self.watch.wake_for(claim.id);
    }

    /// Sends a record on its way. `None` if nobody records any more.
    async fn send(&self, claim: &Claim, record: Record) -> Option<oneshot::Receiver<Recorded>> {
        let (recorded, was_recorded) = oneshot::channel();
        let end = End {
            claim: claim.clone(),
            record,
            recorded,
        };
        self.ends.send(end).await.ok()?;
        Some(was_recorded)
    }

    /// Runs one attempt. `None` if the claim is void.
    async fn run(
        &self,
        claimed: Claimed,
        holding: &Arc<Holding>,
        lost: &CancellationToken,
    ) -> Option<Record> {
        let Claimed {
            claim,
            function: name,
            arguments,
            trace,
            ..
        } = claimed;
        if self.host.is_stopping() {
            return Some(Record::Returned);
        }
        let Some(&function) = self.functions.get(&*name) else {
            // Only known functions are claimed.
            return Some(Record::Returned);
        };
        let started = {
            // The span of the run is made here.
            let _continued = trace::continue_from(trace.as_deref());
            self.host.run(function, &arguments, holding.clone())
        };
        let attempt = match started {
            Ok(attempt) => attempt,
            Err(reason) => return Some(parked(claim.id, &name, &reason)),
        };
        let canceller = attempt.canceller();
        let running = self.attempts.add(&claim, canceller.clone());
        let mut end = std::pin::pin!(attempt.end());
        let verdict = tokio::select! {
            verdict = &mut end => verdict,
            () = lost.cancelled() => {
                drop(running);
                canceller.cancel(StopReason::LeaseLost);
                // Fires the task's token. The body runs on until it ends by itself; another attempt holds the job.
                std::future::poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx).is_ready())).await;
                return None;
            }
            () = self.closing.cancelled() => return Some(Record::Returned),
            never = self.record_progress(holding) => match never {},
        };
        drop(running);
        let is_completed = holding.is_completed();
        #[cfg(test)]
        let is_completed = is_completed && !Mechanism::ChecksCompletion.is_off(&self.database);
        let verdict = if is_completed {
            self.verdict_of_completed(function, holding, verdict, lost)
                .await?
        } else {
            verdict
        };
        Some(record_of(&claim, &name, verdict))
    }

    /// Returns what follows an attempt that has completed its job in a transaction of the program's. `None` if that has committed, or
    /// the claim is void.
    async fn verdict_of_completed(
        &self,
        function: Function,
        holding: &Holding,
        verdict: Verdict,
        lost: &CancellationToken,
    ) -> Option<Verdict> {
        let claim = &holding.claim;
        loop {
            match self.database.claim_of(claim.id).await {
                Ok(Some(current)) if current == *claim => break,
                Ok(current) => {
                    // It runs no more. In the rare case that another attempt has completed it, both are counted: to know costs a statement.
                    if current.is_none() {
                        self.ended.count(Count::Done);
                    }
                    #[cfg(feature = "metrics")]
                    self.count_completed(claim, function).await;
                    self.watch.wake_for(claim.id);
                    return None;
                }
                Err(error) => {
                    tracing::warn!(target: "bgtask", %error, job = claim.id, "a job that its attempt has completed could not be read");
                    if self.closing.is_cancelled() || lost.is_cancelled() {
                        return None;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
        let not_committed = "the transaction in which the job was completed was not committed";
        Some(match verdict {
            Verdict::Done(_) => function.failed(not_committed.to_owned(), holding.attempt()),
            Verdict::Retry { message, .. } | Verdict::Dead { message, .. } => {
                function.failed(format!("{not_committed}: {message}"), holding.attempt())
            }
            // The shutdown or a cancellation decides.
            verdict => verdict,
        })
    }

    /// Counts a job that its attempt has completed in a transaction that has committed.
    #[cfg(feature = "metrics")]
    async fn count_completed(&self, claim: &Claim, function: Function) {
        // Otherwise another attempt holds it, or did.
        if let Ok(true) = self.database.is_done_by(claim).await {
            self.figures.count(Count::Done, function.name());
        }
    }

    /// Records the progress of an attempt, as long as it runs.
    async fn record_progress(&self, holding: &Holding) -> Infallible {
        loop {
            holding.progressed().await;
            let Ok(room) = self.ends.reserve().await else {
                std::future::pending().await
            };
            // Taken when nothing can keep it from being sent, because this may be dropped at any await.
            if let Some(progress) = holding.send_progress() {
                let (recorded, was_recorded) = oneshot::channel();
                room.send(End {
                    claim: holding.claim.clone(),
                    record: Record::Progress(progress),
                    recorded,
                });
                let _ = was_recorded.await;
                self.watch.wake_for(holding.claim.id);
            }
            sleep(PROGRESS).await;
        }
    }
}

/// Returns the record of an end, which it logs.
fn record_of(claim: &Claim, name: &str, verdict: Verdict) -> Record {
    match verdict {
        Verdict::Done(output) => Record::Done {
            output: output.get().to_owned(),
        },
        Verdict::Retry {
            failure,
            message,
            pause,
        } => {
            tracing::warn!(target: "bgtask", job = claim.id, name, error = ?message, ?pause,
                "an attempt of a job failed, and another follows");
            Record::Retry {
                failure,
                message,
                pause,
            }
        }
        Verdict::Dead { failure, message } => {
            tracing::error!(target: "bgtask", job = claim.id, name, error = ?message, "a job is dead");
            Record::Dead { failure, message }
        }
        Verdict::Postponed { pause } => Record::Postponed { pause },
        Verdict::Cancelled => {
            tracing::info!(target: "bgtask", job = claim.id, name, "a running job was cancelled");
            Record::Cancelled
        }
        _ => Record::Returned,
    }
}

/// Returns what an attempt is counted as once its end is recorded.
fn count_of(record: &Record) -> Option<Count> {
    match record {
        Record::Done { .. } => Some(Count::Done),
        Record::Retry { .. } => Some(Count::Retried),
        Record::Dead { .. } => Some(Count::Dead),
        Record::Cancelled => Some(Count::Cancelled),
        Record::Parked { .. } => Some(Count::Parked),
        Record::Returned | Record::Postponed { .. } | Record::Progress(_) => None,
    }
}

fn parked(id: i64, name: &str, reason: &str) -> Record {
    // Without the reason, which may quote an argument.
    tracing::error!(target: "bgtask", job = id, name,
        "a job is parked: its arguments do not decode; the `last_error` of its status says why");
    Record::Parked {
        reason: reason.replace('\0', "\u{fffd}"),
    }
}

/// A claimed job, until its end is recorded.
pub(super) struct Held {
    shared: Arc<Shared>,
    id: i64,
}

impl Held {
    pub(super) fn new(shared: &Arc<Shared>, id: i64) -> Self {
        *shared.held().entry(id).or_default() += 1;
        Self {
            shared: shared.clone(),
            id,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        {
            let mut held = self.shared.held();
            if let Some(attempts) = held.get_mut(&self.id) {
                *attempts -= 1;
                if *attempts == 0 {
                    held.remove(&self.id);
                }
            }
        }
        self.shared.released.notify_waiters();
    }
}
