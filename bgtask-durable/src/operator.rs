//! What operators ask of a database, answered on the runtime that has its connections, whichever runtime asks.
//! Must never know a worker, nor a statement.

use crate::engine::{Database, Engine};
use crate::jobs::Operations;
use crate::operate::{
    Edit, Filter, JobContent, JobDetails, QueueInfo, ScheduleInfo, Stats, Throughput, WorkerInfo,
};
use crate::watch::closed;
use crate::worker::mark;
use bgtask::durable::{BoxFuture, JobError, JobId, JobStatus};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// How often the beats of workers are read while they are watched.
const LOOK: Duration = Duration::from_millis(50);

/// The jobs of a database, for those who operate them.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) database: Database,
    engine: Engine,
    /// The runtime of the connections.
    runtime: Handle,
}

impl Operator {
    pub(crate) fn new(database: Database, engine: Engine, runtime: Handle) -> Self {
        Self {
            database,
            engine,
            runtime,
        }
    }

    /// Asks something of the database.
    pub(crate) fn ask<T, F>(
        &self,
        what: impl FnOnce(Self) -> F,
    ) -> BoxFuture<'_, Result<T, JobError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, JobError>> + Send + 'static,
    {
        let what = what(self.clone());
        Box::pin(async move {
            let asked = self.runtime.spawn(what).await;
            // The runtime ends with the store.
            asked.unwrap_or_else(|_| Err(closed()))
        })
    }

    /// Reads the workers until each has shown a sign of life, or the time is over.
    async fn watch_workers(&self, within: Duration) -> Result<Vec<WorkerInfo>, JobError> {
        let begin = Instant::now();
        let mut first: HashMap<String, Option<i64>> = HashMap::new();
        loop {
            let elapsed = begin.elapsed();
            let mut workers = Vec::new();
            for (mut worker, beat) in self.database.workers().await? {
                // One that registers meanwhile counts from then on.
                let before = *first.entry(worker.id.clone()).or_insert(beat);
                worker.is_alive = Some(beat.is_some() && beat != before);
                workers.push(worker);
            }
            if within.is_zero() {
                workers.iter_mut().for_each(|worker| worker.is_alive = None);
                return Ok(workers);
            }
            let has_silent = workers
                .iter()
                .any(|worker| worker.started_at.is_some() && worker.is_alive == Some(false));
            if !has_silent || elapsed >= within {
                return Ok(workers);
            }
            sleep(LOOK).await;
        }
    }
}

impl Operations for Operator {
    fn name(&self) -> String {
        self.database.name()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, JobError>> {
        self.ask(|own| async move { own.database.stats().await })
    }

    fn throughput(&self) -> BoxFuture<'_, Result<Throughput, JobError>> {
        self.ask(|own| async move { own.database.throughput().await })
    }

    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<JobStatus>, JobError>> {
        self.ask(|own| async move { own.database.list(&filter).await })
    }

    fn matching(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>> {
        self.ask(|own| async move { own.database.matching(&filter).await })
    }

    fn details(&self, id: JobId) -> BoxFuture<'_, Result<JobDetails, JobError>> {
        self.ask(move |own| async move { own.database.details(id).await })
    }

    fn content(&self, id: JobId) -> BoxFuture<'_, Result<JobContent, JobError>> {
        self.ask(move |own| async move { own.database.content(id).await })
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, JobError>> {
        self.ask(|own| async move { own.database.queues().await })
    }

    fn workers(&self, within: Duration) -> BoxFuture<'_, Result<Vec<WorkerInfo>, JobError>> {
        self.ask(move |own| async move { own.watch_workers(within).await })
    }

    fn schedules(&self) -> BoxFuture<'_, Result<Vec<ScheduleInfo>, JobError>> {
        self.ask(|own| async move { own.database.schedule_infos().await })
    }

    fn set_paused(&self, queue: String, is_paused: bool) -> BoxFuture<'_, Result<(), JobError>> {
        self.ask(move |own| async move { own.engine.set_paused(&queue, is_paused).await })
    }

    fn set_schedule_paused(
        &self,
        function: String,
        by: Option<String>,
    ) -> BoxFuture<'_, Result<bool, JobError>> {
        self.ask(|own| async move {
            let changed = own.database.set_schedule_paused(&function, by.as_deref());
            changed.await
        })
    }

    fn run_schedule(&self, function: String) -> BoxFuture<'_, Result<JobId, JobError>> {
        self.ask(|own| async move { own.engine.run_schedule(&function).await })
    }

    fn retry_dead(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>> {
        self.ask(|own| async move {
            let mut count = 0;
            // One mark for all batches: a job that is dead again meanwhile has it, and is not tried once more.
            let mark = mark("retried");
            loop {
                match own.database.retry_dead(&filter, &mark).await? {
                    0 => return Ok(count),
                    batch => count += batch,
                }
            }
        })
    }

    fn edit(&self, id: JobId, edit: Edit) -> BoxFuture<'_, Result<bool, JobError>> {
        self.ask(move |own| async move { own.database.edit(id, edit, &mark("edited")).await })
    }

    fn delete(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        self.ask(move |own| async move { own.database.delete(id).await })
    }

    fn prune(&self) -> BoxFuture<'_, Result<u64, JobError>> {
        self.ask(|own| async move { own.database.prune_all().await })
    }
}
