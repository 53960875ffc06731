//! The store that is attached to a manager: what is asked of it runs on the engine's thread, whichever runtime asks.
//! Knows no statements, and nothing of how a job runs.

use crate::engine::Engine;
use crate::followup::Channels;
#[cfg(feature = "dashboard")]
use crate::inspected::Inspected;
use crate::jobs::Backend;
use crate::lock;
use crate::metrics::Figures;
use crate::operator::Operator;
#[cfg(feature = "live")]
use crate::ticket::Tickets;
use crate::trace;
use crate::watch::{self, States, closed};
use crate::worker::Shared;
#[cfg(feature = "live")]
use bgtask::durable::Ticket;
use bgtask::durable::{
    BoxFuture, EncodedJob, EnqueueError, Enqueued, JobError, JobEvents, JobId, JobStatus,
    NotifyTarget, Store, Ticks,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::future::Future;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Weak};
#[cfg(feature = "live")]
use std::time::SystemTime;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How much a call may store, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a call may take to be stored.
    pub(crate) enqueue: Duration,
    /// The size of its encoded arguments, in bytes.
    pub(crate) argument: usize,
    /// The size of its encoded output, in bytes.
    pub(crate) output: usize,
}

/// What the calls and the tickets of a store go by.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    pub(crate) channels: Channels,
    /// This process works the queue of deliveries.
    pub(crate) delivers: bool,
    #[cfg(feature = "live")]
    pub(crate) tickets: Tickets,
}

/// The store that is attached to the manager.
#[derive(Debug)]
pub(crate) struct Stored {
    shared: Arc<Shared>,
    engine: Handle,
    rules: Rules,
    closed: CancellationToken,
    /// Receives the schedules whose ticks are to become jobs.
    schedules: UnboundedSender<Arc<Ticks>>,
    /// Lets the work begin.
    begin: Mutex<Option<oneshot::Sender<()>>>,
    /// Receives a message when all ends are recorded and all other jobs returned.
    over: Mutex<Receiver<()>>,
}

impl Stored {
    pub(crate) fn new(
        shared: Arc<Shared>,
        engine: Handle,
        rules: Rules,
        closed: CancellationToken,
        schedules: UnboundedSender<Arc<Ticks>>,
        begin: oneshot::Sender<()>,
        over: Receiver<()>,
    ) -> Self {
        Self {
            shared,
            engine,
            rules,
            closed,
            schedules,
            begin: Mutex::new(Some(begin)),
            over: Mutex::new(over),
        }
    }

    /// Gives the worker its store, which the jobs that it claims name.
    pub(crate) fn make_known(self: &Arc<Self>) {
        let own: Weak<Self> = Arc::downgrade(self);
        self.shared.set_store(own);
    }

    /// The client that stores jobs.
    pub(crate) fn engine(&self) -> Result<Engine, EnqueueError> {
        if self.closed.is_cancelled() {
            return Err(EnqueueError::Closed);
        }
        Ok(self.shared.engine.clone())
    }

    /// Returns what operates the jobs of this store.
    pub(crate) fn operator(&self) -> Operator {
        Operator::new(
            self.shared.database.clone(),
            self.shared.engine.clone(),
            self.engine.clone(),
        )
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    fn take_begin(&self) -> Option<oneshot::Sender<()>> {
        lock(&self.begin).take()
    }

    /// Starts to work on the jobs.
    pub(crate) fn begin(&self) {
        if let Some(begin) = self.take_begin() {
            // If the engine's thread has ended, the next call returns an error.
            let _ = begin.send(());
        }
    }

    /// Ends the engine before it has begun.
    pub(crate) fn stop(&self) {
        drop(self.take_begin());
    }

    /// Asks something of the database on the engine's thread.
    async fn ask<T, F>(&self, what: impl FnOnce(Arc<Shared>) -> F) -> Result<T, JobError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, JobError>> + Send + 'static,
    {
        let asked = self.on_engine(what(self.shared.clone()));
        asked.await.unwrap_or_else(|| Err(closed()))
    }

    /// Runs something on the engine's thread, whichever runtime awaits it. `None` if the engine has ended.
    async fn on_engine<T: Send + 'static>(
        &self,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.engine.spawn(what).await.ok()
    }
}

/// Returns the queues of some jobs, each once.
fn queues_of(jobs: &[EncodedJob]) -> Vec<Cow<'static, str>> {
    let mut queues: Vec<_> = jobs.iter().map(|job| job.queue.clone()).collect();
    queues.sort_unstable();
    queues.dedup();
    queues
}

impl Store for Stored {
    fn enqueue(&self, jobs: Vec<EncodedJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError>> {
        Box::pin(async move {
            if self.closed.is_cancelled() {
                return Err(EnqueueError::Closed);
            }
            if jobs.is_empty() {
                return Ok(Vec::new());
            }
            let (shared, limit) = (self.shared.clone(), self.rules.limits.enqueue);
            // Here, because the caller's span is not there on the engine's thread.
            let trace = trace::current();
            let stored = self.on_engine(async move {
                let storing = shared.figures.storing(&jobs);
                let queues = queues_of(&jobs);
                let insert = shared.engine.insert(jobs, trace.as_deref());
                let stored = tokio::time::timeout(limit, insert).await;
                let stored = stored.unwrap_or_else(|_| {
                    let message = format!("the database did not answer within {limit:?}");
                    Err(EnqueueError::unknown(message))
                })?;
                queues.iter().for_each(|queue| shared.stored_in(queue));
                storing.count(&stored);
                Ok(stored)
            });
            match stored.await {
                Some(stored) => stored,
                None => Err(EnqueueError::unknown(
                    "the engine ended meanwhile".to_owned(),
                )),
            }
        })
    }

    fn status(&self, id: JobId) -> BoxFuture<'_, Result<JobStatus, JobError>> {
        Box::pin(self.ask(move |shared| async move { shared.database.status(id).await }))
    }

    fn outcome(&self, id: JobId) -> BoxFuture<'_, Result<Box<RawValue>, JobError>> {
        Box::pin(async move {
            let closed_now = self.closed.clone();
            let waits = CancellationToken::new();
            // A waiter that is dropped does not go on waiting over there.
            let _stops = waits.clone().drop_guard();
            self.ask(|shared| async move {
                let outcome = shared
                    .watch
                    .outcome(&shared.database, id, &closed_now, &waits);
                outcome.await
            })
            .await
        })
    }

    fn watch(&self, id: JobId, after: Option<u64>) -> JobEvents {
        watch::events(self.states(id, false), after)
    }

    #[cfg(feature = "live")]
    fn ticket(&self, id: JobId, ttl: Duration, with_value: bool) -> Result<Ticket, JobError> {
        self.rules
            .tickets
            .sign(id, ttl, with_value, SystemTime::now())
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(self.ask(move |shared| async move { shared.cancel(id).await }))
    }

    fn retry_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(self.ask(move |shared| async move { shared.retry_now(id).await }))
    }

    fn argument_limit(&self) -> usize {
        self.rules.limits.argument
    }

    fn output_limit(&self) -> usize {
        self.rules.limits.output
    }

    fn check_target(&self, target: &NotifyTarget) -> Result<(), String> {
        // A process that does not deliver may know less than those that do.
        if self.rules.delivers {
            self.rules.channels.check(target)
        } else {
            Ok(())
        }
    }

    fn schedule(&self, ticks: Ticks) {
        let ticks = Arc::new(ticks);
        #[cfg(feature = "dashboard")]
        self.shared.note_schedule(&ticks);
        // If the engine has ended, so have the schedules.
        let _ = self.schedules.send(ticks);
    }

    fn check(&self) -> Result<(), String> {
        self.shared.health.check()
    }

    fn close(&self, until: Instant) {
        self.closed.cancel();
        self.shared.watch.close();
        let over = lock(&self.over);
        let left = until.saturating_duration_since(Instant::now());
        if over.recv_timeout(left).is_err() {
            tracing::error!(target: "bgtask",
                "the store of durable jobs could not be closed in time: others run what it leaves, after its time to live");
        }
    }
}

impl Backend for Stored {
    fn channels(&self) -> &Channels {
        &self.rules.channels
    }

    #[cfg(feature = "live")]
    fn tickets(&self) -> &Tickets {
        &self.rules.tickets
    }

    fn states(&self, id: JobId, with_value: bool) -> States {
        self.shared.watch.states(id, with_value)
    }

    #[cfg(feature = "dashboard")]
    fn inspected(&self) -> Option<Inspected> {
        Some(Inspected::new(self.shared.clone(), self.engine.clone()))
    }
}
