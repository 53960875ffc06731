//! The store of a process that only operates jobs: of no manager, without a worker and without the program's functions.
//! Must never make or change a table, but in `Builder::migrate`.

use crate::engine::{Access, Cancelled, Database, Engine, Tables};
use crate::error::OpenError;
use crate::jobs::Jobs;
use crate::operate::{Diagnosis, Migrated};
use crate::operator::Operator;
use crate::settings::{Builder, Environment, Role, Settings};
use crate::watch::{self, Watch};
use crate::worker::mark;
use bgtask::durable::{
    BoxFuture, EncodedJob, EnqueueError, Enqueued, JobError, JobEvents, JobId, JobStatus, Store,
    Ticks,
};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

impl Builder {
    /// Opens the database to operate its jobs, from a tool or a page for operators: without a manager, and without the functions of the
    /// jobs. It makes no file and no table, and claims and rescues no job.
    ///
    /// `retry_now`, `cancel`, `outcome` and `watch` of the handles work as from any process. The role, the queues and what else belongs to
    /// a worker have no effect.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn show() -> Result<(), Box<dyn std::error::Error>> {
    /// let jobs = bgtask_durable::builder().operate().await?;
    /// for queue in jobs.queues().await? {
    ///     println!("{}: {:?}", queue.name, queue.oldest_waiting);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If a setting is wrong, the database cannot be opened, or its tables are older or newer than those of this program:
    /// [`OpenError::OlderSchema`], [`OpenError::NewerSchema`], [`OpenError::Missing`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing has happened.
    pub async fn operate(self) -> Result<Jobs, OpenError> {
        let settings = self.settings()?;
        let access = Access {
            tables: Tables::Require,
            ..settings.access()
        };
        let database = Database::open(settings.url(), access).await?;
        let engine = Engine::storing(&database).map_err(OpenError::Engine)?;
        let operator = Operator::new(database, engine, Handle::current());
        let store = Arc::new(Unattached::new(operator.clone()));
        Ok(Jobs::new(store, Arc::new(operator), Role::Enqueue, None))
    }

    /// Makes the tables of the store, or brings them up to date, and closes the database. [`open`](Self::open) does the same before it
    /// works: this is for a role of Postgres that owns the tables and runs nothing.
    ///
    /// # Errors
    /// If a setting is wrong, the database cannot be opened, or its tables are newer than those of this program.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the tables may be up to date. Call it again.
    pub async fn migrate(self) -> Result<Migrated, OpenError> {
        let settings = self.settings()?;
        Database::bring_up_to_date(settings.url(), settings.access()).await
    }

    /// Examines the database and the tables of the store in it, whatever state they are in, and changes nothing.
    ///
    /// # Errors
    /// If a setting is wrong, or the database cannot be opened.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn diagnose(self) -> Result<Diagnosis, OpenError> {
        let settings = self.settings()?;
        Database::diagnose(settings.url(), settings.access()).await
    }

    fn settings(self) -> Result<Settings, OpenError> {
        Settings::resolve(self.given, &Environment::of_process())
    }
}

/// A store that no manager has.
#[derive(Debug)]
struct Unattached {
    operator: Operator,
    watch: Arc<Watch>,
    runtime: Handle,
    /// Begun by the first who waits for a job or watches one.
    looks: std::sync::Once,
    closed: CancellationToken,
    _closes: DropGuard,
}

impl Unattached {
    fn new(operator: Operator) -> Self {
        let closed = CancellationToken::new();
        Self {
            operator,
            watch: Arc::default(),
            runtime: Handle::current(),
            looks: std::sync::Once::new(),
            _closes: closed.clone().drop_guard(),
            closed,
        }
    }

    /// Begins to look for changes, until the store is dropped.
    fn look(&self) {
        self.looks.call_once(|| {
            let (watch, database) = (self.watch.clone(), self.operator.database.clone());
            let closed = self.closed.clone();
            self.runtime.spawn(async move {
                let looks = watch.look(&database, false, |_| ());
                closed.run_until_cancelled(looks).await;
                watch.close();
            });
        });
    }
}

impl Store for Unattached {
    fn enqueue(&self, _: Vec<EncodedJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError>> {
        // No call finds this store: it is of no manager.
        Box::pin(async { Err(EnqueueError::Closed) })
    }

    fn status(&self, id: JobId) -> BoxFuture<'_, Result<JobStatus, JobError>> {
        self.operator
            .ask(move |own| async move { own.database.status(id).await })
    }

    fn outcome(&self, id: JobId) -> BoxFuture<'_, Result<Box<RawValue>, JobError>> {
        Box::pin(async move {
            self.look();
            let (watch, is_closed) = (self.watch.clone(), self.closed.clone());
            let waits = CancellationToken::new();
            // A waiter that is dropped does not go on waiting over there.
            let _stops = waits.clone().drop_guard();
            let asked = self.operator.ask(move |own| async move {
                watch.outcome(&own.database, id, &is_closed, &waits).await
            });
            asked.await
        })
    }

    fn watch(&self, id: JobId, after: Option<u64>) -> JobEvents {
        self.look();
        watch::events(self.watch.states(id, false), after)
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        let watch = self.watch.clone();
        self.operator.ask(move |own| async move {
            let cancelled = own.database.cancel(id, &mark("cancelled")).await?;
            watch.wake_for(id.get());
            Ok(cancelled != Cancelled::Not)
        })
    }

    fn retry_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        let watch = self.watch.clone();
        self.operator.ask(move |own| async move {
            let retried = own.database.retry_now(id, &mark("retried")).await?;
            watch.wake_for(id.get());
            Ok(retried)
        })
    }

    fn schedule(&self, _: Ticks) {}

    fn close(&self, _: Instant) {
        self.closed.cancel();
    }
}
