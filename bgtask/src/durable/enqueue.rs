//! Durable calls as the program has them, one or many, before they are stored: their options, and the ways to store them.
//! Passes encoded jobs to the manager's store, or to a transaction; must never know how they are stored.

use super::call::Unawaited;
use super::codec::{Encoder, ValueOf};
use super::error::EnqueueError;
use super::handle::JobHandle;
use super::notify::Notify;
use super::store::{BoxFuture, EncodedJob, Start, Store};
use super::transaction::Transaction;
use crate::call::token::block_on;
use crate::context;
use crate::handler::Handler;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A durable call. Await it: nothing is stored before.
///
/// Awaiting it returns a [`JobHandle`] once the job is stored. A call that is dropped without being awaited stores nothing;
/// this is logged as an error with the call's location, counted ([`not_stored()`](super::not_stored)), and fails a test under
/// [`#[bgtask::test]`](macro@crate::test).
#[must_use = "a durable call stores nothing until it is awaited"]
pub struct Enqueue<T> {
    call: Unawaited,
    value: ValueOf<T>,
}

/// Makes a durable call. Generated code calls this.
///
/// # Panics
/// Where no manager can be found.
#[track_caller]
pub fn enqueue<T>(handler: &'static Handler, encode: impl FnOnce(&mut Encoder)) -> Enqueue<T> {
    Enqueue {
        call: Unawaited::new(handler, encode),
        value: ValueOf::NEW,
    }
}

impl<T> Enqueue<T> {
    /// Has the job run no earlier than this long after it is stored.
    pub fn after(self, delay: Duration) -> Self {
        self.starting(Start::After(delay))
    }

    /// Has the job run no earlier than at this time, by the clock of the database.
    pub fn at(self, time: SystemTime) -> Self {
        self.starting(Start::At(time))
    }

    fn starting(mut self, start: Start) -> Self {
        self.call = self.call.with(|call| call.start = start);
        self
    }

    /// Stores the job in this queue, instead of the function's. A process works the queues of its durable functions, and those that
    /// it was opened with.
    pub fn queue(mut self, queue: impl Into<Cow<'static, str>>) -> Self {
        self.call = self.call.with(|call| call.queue = Some(queue.into()));
        self
    }

    /// Sets the priority of the job, instead of the function's: 1 runs first, 4 last.
    pub fn priority(mut self, priority: u8) -> Self {
        self.call = self.call.with(|call| call.priority = Some(priority));
        self
    }

    /// Stores nothing if a job of the function with this key is there, and has not ended: the handle is that job's, and
    /// [`is_duplicate`](JobHandle::is_duplicate). With `unique(within = …)` on the function, one job a window of that length is stored.
    /// This key replaces that of the function. It has 1 to 1,024 bytes.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.call = self.call.with(|call| call.key = Some(key.into()));
        self
    }

    /// Has this follow the end of the job, whether it is done, dead or cancelled: a job of its own, stored in the transaction that
    /// stores the end. May be called several times.
    ///
    /// `bgtask-durable` has the channels: webhooks, e-mails, and those of the program. A call that stores nothing, because a job has
    /// its key, adds nothing to that job.
    pub fn notify(mut self, notify: impl Into<Notify>) -> Self {
        self.call = self
            .call
            .with(|call| call.notify = std::mem::take(&mut call.notify).and(notify));
        self
    }

    /// Returns the same call with a JSON value, so that calls of different functions fit into one [`enqueue_all`].
    pub fn untyped(self) -> Enqueue<serde_json::Value> {
        Enqueue {
            call: self.call,
            value: ValueOf::NEW,
        }
    }

    /// Stores the job in a transaction of the program's: if, and only if, it commits. The job is stored with the commit, not when this
    /// future resolves: until then `outcome` and `status` of the handle return [`JobError::NotFound`](super::JobError::NotFound).
    /// After a rollback, drop the handle: the database may give its id to another job.
    ///
    /// # Errors
    /// [`EnqueueError::OtherDatabase`] if the transaction belongs to another database than the store, and those of an awaited call.
    /// After [`EnqueueError::Store`] or [`EnqueueError::Unknown`], roll the transaction back: it may hold a part of the job.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, roll the transaction back.
    #[must_use = "a durable call stores nothing until it is awaited"]
    pub fn within<'t, Via: 't>(
        self,
        transaction: impl Transaction<'t, Via>,
    ) -> BoxFuture<'t, Result<JobHandle<T>, EnqueueError>>
    where
        T: 't,
    {
        let unawaited = self.call;
        Box::pin(async move {
            let (store, job) = unawaited.take().encode()?;
            let stored = transaction.enqueue(store.clone(), vec![job]).await?;
            only(handles(stored, 1, &store)?)
        })
    }

    /// Stores the job and blocks the thread meanwhile, for threads without a runtime.
    ///
    /// # Errors
    /// Those of an awaited call.
    ///
    /// # Panics
    /// In a runtime: await the call there.
    #[track_caller]
    pub fn store_blocking(self) -> Result<JobHandle<T>, EnqueueError> {
        forbid_in_runtimes();
        let (store, job) = self.call.take().encode()?;
        only(block_on(store_all(store, vec![job]))?)
    }
}

impl<T: 'static> IntoFuture for Enqueue<T> {
    type Output = Result<JobHandle<T>, EnqueueError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// # Cancel safety
    /// If the future is dropped after its first poll, the job may or may not be stored.
    fn into_future(self) -> Self::IntoFuture {
        let unawaited = self.call;
        // A future that is dropped before its first poll drops the call unawaited.
        Box::pin(async move {
            let (store, job) = unawaited.take().encode()?;
            only(store_all(store, vec![job]).await?)
        })
    }
}

impl<T> fmt::Debug for Enqueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Enqueue");
        self.call.show(&mut shown);
        shown.field("value", &self.value).finish_non_exhaustive()
    }
}

/// Many durable calls. Await it: nothing is stored before, and then all are, or none.
#[must_use = "durable calls store nothing until they are awaited"]
pub struct EnqueueAll<T> {
    calls: Vec<Unawaited>,
    value: ValueOf<T>,
}

/// Makes one store of many durable calls, in one transaction.
///
/// Calls of different functions fit into one list after [`Enqueue::untyped`]. If two calls have the same key, the handle of the
/// second is that of the first, and [`is_duplicate`](JobHandle::is_duplicate).
///
/// # Examples
///
/// ```
/// #[bgtask::background(durable)]
/// async fn send_receipt(order: u64) {
///     // …
/// #   let _ = order;
/// }
///
/// # async fn checkout() -> Result<(), bgtask::durable::EnqueueError> {
/// let jobs = bgtask::durable::enqueue_all((0..1000).map(send_receipt)).await?;
/// assert_eq!(jobs.len(), 1000);
/// # Ok(())
/// # }
/// ```
pub fn enqueue_all<T>(calls: impl IntoIterator<Item = Enqueue<T>>) -> EnqueueAll<T> {
    EnqueueAll {
        calls: calls.into_iter().map(|enqueue| enqueue.call).collect(),
        value: ValueOf::NEW,
    }
}

impl<T> EnqueueAll<T> {
    /// Stores the jobs in a transaction of the program's; see [`Enqueue::within`].
    ///
    /// # Errors
    /// Those of [`Enqueue::within`].
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, roll the transaction back.
    #[must_use = "durable calls store nothing until they are awaited"]
    pub fn within<'t, Via: 't>(
        self,
        transaction: impl Transaction<'t, Via>,
    ) -> BoxFuture<'t, Result<Vec<JobHandle<T>>, EnqueueError>>
    where
        T: 't,
    {
        let unawaited = self.calls;
        Box::pin(async move {
            let Some((store, jobs)) = encode_all(unawaited)? else {
                return Ok(Vec::new());
            };
            let count = jobs.len();
            let stored = transaction.enqueue(store.clone(), jobs).await?;
            handles(stored, count, &store)
        })
    }

    /// Stores the jobs and blocks the thread meanwhile; see [`Enqueue::store_blocking`].
    ///
    /// # Errors
    /// Those of an awaited call.
    ///
    /// # Panics
    /// In a runtime: await the calls there.
    #[track_caller]
    pub fn store_blocking(self) -> Result<Vec<JobHandle<T>>, EnqueueError> {
        forbid_in_runtimes();
        match encode_all(self.calls)? {
            Some((store, jobs)) => block_on(store_all(store, jobs)),
            None => Ok(Vec::new()),
        }
    }
}

impl<T: 'static> IntoFuture for EnqueueAll<T> {
    type Output = Result<Vec<JobHandle<T>>, EnqueueError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// # Cancel safety
    /// If the future is dropped after its first poll, either all jobs are stored, or none.
    fn into_future(self) -> Self::IntoFuture {
        let unawaited = self.calls;
        Box::pin(async move {
            match encode_all(unawaited)? {
                Some((store, jobs)) => store_all(store, jobs).await,
                None => Ok(Vec::new()),
            }
        })
    }
}

impl<T> fmt::Debug for EnqueueAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueueAll")
            .field("calls", &self.calls.len())
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

/// Jobs, and their store.
type Encoded = (Arc<dyn Store>, Vec<EncodedJob>);

/// Returns the jobs of the calls and their store. `None` if there are none.
fn encode_all(unawaited: Vec<Unawaited>) -> Result<Option<Encoded>, EnqueueError> {
    // Take all first: whoever gets the error of one has awaited the others too.
    let calls: Vec<_> = unawaited.into_iter().map(Unawaited::take).collect();
    let mut of_all: Option<Encoded> = None;
    for call in calls {
        let (store, job) = call.encode()?;
        match &mut of_all {
            None => of_all = Some((store, vec![job])),
            Some((first, _)) if !Arc::ptr_eq(first, &store) => {
                let message = "the calls belong to different managers".to_owned();
                return Err(EnqueueError::Store { message });
            }
            Some((_, jobs)) => jobs.push(job),
        }
    }
    Ok(of_all)
}

async fn store_all<T>(
    store: Arc<dyn Store>,
    jobs: Vec<EncodedJob>,
) -> Result<Vec<JobHandle<T>>, EnqueueError> {
    let count = jobs.len();
    let stored = store.enqueue(jobs).await?;
    handles(stored, count, &store)
}

fn handles<T>(
    stored: Vec<super::Enqueued>,
    count: usize,
    store: &Arc<dyn Store>,
) -> Result<Vec<JobHandle<T>>, EnqueueError> {
    if stored.len() != count {
        let message = format!("the store returned {} ids for {count} jobs", stored.len());
        return Err(EnqueueError::Unknown { message });
    }
    let of = |enqueued| JobHandle::of(enqueued, store.clone());
    Ok(stored.into_iter().map(of).collect())
}

fn only<T>(mut handles: Vec<JobHandle<T>>) -> Result<JobHandle<T>, EnqueueError> {
    match handles.pop() {
        Some(handle) => Ok(handle),
        None => unreachable!("one job has one handle"),
    }
}

/// # Panics
/// In a runtime, but for the plain functions that bgtask runs on its blocking pool.
#[track_caller]
fn forbid_in_runtimes() {
    let may_block = match context::task() {
        Some(task) => !task.is_async,
        None => tokio::runtime::Handle::try_current().is_err(),
    };
    assert!(
        may_block,
        "`store_blocking()` blocks its thread, which code in a runtime must not do: use `.await`"
    );
}
