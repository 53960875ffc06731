//! A durable call that has been made and not awaited: nothing is stored yet.
//! Passes the encoded job to the manager's store; must never know how it is stored.

use super::codec::{Encoder, ValueOf};
use super::error::EnqueueError;
use super::handle::JobHandle;
use super::store::{BoxFuture, EncodedJob, Opened, Start};
use crate::context;
use crate::handler::Handler;
use crate::policy::Durable;
use crate::tracker::shared::Shared;
use crate::util::log::report;
use serde_json::value::RawValue;
use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A durable call. Await it: nothing is stored before.
///
/// Awaiting it returns a [`JobHandle`] once the job is stored. A call that is dropped without being awaited stores nothing;
/// this is logged as an error with the call's location, counted ([`not_stored()`]), and fails a test under
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
    let called_at = Location::caller();
    let shared = context::current_shared(handler.name());
    let mut encoder = Encoder::default();
    encode(&mut encoder);
    let call = Call {
        handler,
        shared,
        arguments: encoder.finish(),
        start: Start::Now,
        called_at,
    };
    Enqueue {
        call: Unawaited(Some(Box::new(call))),
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
        if let Some(call) = &mut self.call.0 {
            call.start = start;
        }
        self
    }
}

impl<T: 'static> IntoFuture for Enqueue<T> {
    type Output = Result<JobHandle<T>, EnqueueError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// # Cancel safety
    /// If the future is dropped after its first poll, the job may or may not be stored.
    fn into_future(self) -> Self::IntoFuture {
        let mut unawaited = self.call;
        // A future that is dropped before its first poll drops the call unawaited.
        Box::pin(async move {
            match unawaited.0.take() {
                Some(call) => call.store().await,
                None => unreachable!("a future is not polled after it was ready"),
            }
        })
    }
}

impl<T> fmt::Debug for Enqueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Enqueue");
        if let Some(call) = &self.call.0 {
            shown.field("function", &call.handler.name());
            shown.field("called_at", &call.called_at);
        }
        shown.field("value", &self.value).finish_non_exhaustive()
    }
}

/// The call, until its future is polled.
struct Unawaited(Option<Box<Call>>);

impl Drop for Unawaited {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.report_not_stored();
        }
    }
}

struct Call {
    handler: &'static Handler,
    shared: Arc<Shared>,
    arguments: Result<Box<RawValue>, EnqueueError>,
    start: Start,
    called_at: &'static Location<'static>,
}

impl Call {
    async fn store<T>(self) -> Result<JobHandle<T>, EnqueueError> {
        let arguments = self.arguments?;
        let opened: &dyn Any = self.shared.attached.get().ok_or(EnqueueError::NotOpen)?;
        let store = match opened.downcast_ref::<Opened>() {
            Some(opened) => opened.store.clone(),
            None => return Err(EnqueueError::NotOpen),
        };
        let Some(Durable {
            queue,
            priority,
            keep,
            max,
            ..
        }) = durable_of(self.handler)
        else {
            unreachable!("the attribute makes such calls of durable functions only");
        };
        let job = EncodedJob {
            function: self.handler.name(),
            arguments,
            queue,
            priority: *priority,
            max_attempts: *max,
            keep: *keep,
            start: self.start,
        };
        let id = store.enqueue(job).await?;
        Ok(JobHandle::new(id, store))
    }

    #[cold]
    fn report_not_stored(self) {
        self.shared.attached.note_not_stored();
        report!(error, "durable call dropped without being awaited, nothing was stored: add `.await`";
            name = self.handler.name(), called_at = self.called_at);
        if let Some(kit) = self.shared.hooks.dispatcher() {
            kit.not_stored(self.handler, self.called_at);
        }
    }
}

pub(super) fn durable_of(handler: &'static Handler) -> Option<&'static Durable> {
    handler.policies()?.durable.as_ref()
}

/// Returns the number of durable calls of the current manager that were dropped without being awaited, and so not stored.
///
/// # Panics
/// Where no manager can be found.
#[must_use]
#[track_caller]
pub fn not_stored() -> u64 {
    let shared = context::current_shared("bgtask::durable::not_stored");
    shared.attached.not_stored()
}
