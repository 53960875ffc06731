//! The store that is attached to a manager: what is asked of it runs on the engine's thread, whichever runtime asks.
//! Knows no statements, and nothing of how a job runs.

use crate::engine::Engine;
use crate::followup::{Channels, Config};
use crate::jobs::Backend;
use crate::lock;
use crate::metrics::Figures;
use crate::operate::{Filter, Stats};
use crate::trace;
use crate::worker::Shared;
use bgtask::durable::{
    BoxFuture, EncodedJob, EnqueueError, Enqueued, JobError, JobId, JobStatus, NotifyTarget, Store,
    Ticks,
};
use serde_json::value::RawValue;
use std::future::Future;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Weak};
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

/// The store that is attached to the manager.
#[derive(Debug)]
pub(crate) struct Stored {
    shared: Arc<Shared>,
    engine: Handle,
    limits: Limits,
    pub(crate) channels: Channels,
    /// This process works the queue of deliveries.
    delivers: bool,
    closed: CancellationToken,
    /// Receives the schedules whose ticks are to become jobs.
    schedules: UnboundedSender<Ticks>,
    /// Lets the work begin.
    begin: Mutex<Option<oneshot::Sender<()>>>,
    /// Receives a message when all ends are recorded and all other jobs returned.
    over: Mutex<Receiver<()>>,
}

impl Stored {
    pub(crate) fn new(
        shared: Arc<Shared>,
        engine: Handle,
        limits: Limits,
        closed: CancellationToken,
        schedules: UnboundedSender<Ticks>,
        begin: oneshot::Sender<()>,
        over: Receiver<()>,
    ) -> Self {
        Self {
            shared,
            engine,
            limits,
            channels: Channels::new(Config::default()),
            delivers: false,
            closed,
            schedules,
            begin: Mutex::new(Some(begin)),
            over: Mutex::new(over),
        }
    }

    /// Delivers over these channels what follows the ends of jobs. `delivers` says whether this process works the queue of the deliveries.
    pub(crate) fn with_channels(mut self, channels: Channels, delivers: bool) -> Self {
        (self.channels, self.delivers) = (channels, delivers);
        self
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
        Ok(self.shared.front())
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

fn closed() -> JobError {
    JobError::store("the store is closed".to_owned())
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
            let (shared, limit) = (self.shared.clone(), self.limits.enqueue);
            // Here, because the caller's span is not there on the engine's thread.
            let trace = trace::current();
            let stored = self.on_engine(async move {
                let engine = shared.front();
                let storing = shared.figures.storing(&jobs);
                let stored =
                    tokio::time::timeout(limit, engine.insert(jobs, trace.as_deref())).await;
                let stored = stored.unwrap_or_else(|_| {
                    let message = format!("the database did not answer within {limit:?}");
                    Err(EnqueueError::unknown(message))
                })?;
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
                tokio::select! {
                    ended = shared.watch.ended(&shared.database, id) => ended.unwrap_or_else(Err),
                    () = closed_now.cancelled() => Err(closed()),
                    () = waits.cancelled() => Err(closed()),
                }
            })
            .await
        })
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(self.ask(move |shared| async move { shared.cancel(id).await }))
    }

    fn retry_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(self.ask(move |shared| async move { shared.retry_now(id).await }))
    }

    fn argument_limit(&self) -> usize {
        self.limits.argument
    }

    fn output_limit(&self) -> usize {
        self.limits.output
    }

    fn check_target(&self, target: &NotifyTarget) -> Result<(), String> {
        // A process that does not deliver may know less than those that do.
        if self.delivers {
            self.channels.check(target)
        } else {
            Ok(())
        }
    }

    fn schedule(&self, ticks: Ticks) {
        // If the engine has ended, so have the schedules.
        let _ = self.schedules.send(ticks);
    }

    fn close(&self, until: Instant) {
        self.closed.cancel();
        let over = lock(&self.over);
        let left = until.saturating_duration_since(Instant::now());
        if over.recv_timeout(left).is_err() {
            tracing::error!(target: "bgtask",
                "the store of durable jobs could not be closed in time: others run what it leaves, after its time to live");
        }
    }
}

impl Backend for Stored {
    fn stats(&self) -> BoxFuture<'_, Result<Stats, JobError>> {
        Box::pin(self.ask(|shared| async move { shared.database.stats().await }))
    }

    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<JobStatus>, JobError>> {
        Box::pin(self.ask(|shared| async move { shared.database.list(&filter).await }))
    }

    fn set_paused(&self, queue: String, is_paused: bool) -> BoxFuture<'_, Result<(), JobError>> {
        Box::pin(
            self.ask(
                move |shared| async move { shared.front().set_paused(&queue, is_paused).await },
            ),
        )
    }

    fn retry_dead(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>> {
        Box::pin(self.ask(|shared| async move { shared.retry_dead(&filter).await }))
    }

    fn delete(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(self.ask(move |shared| async move { shared.database.delete(id).await }))
    }
}
