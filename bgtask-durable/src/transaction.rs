//! The program's own transactions: jobs stored in them, and jobs completed in them.
//! Knows which store a transaction has to belong to, and no statement.

use crate::engine::Within;
use crate::holding::Holding;
use crate::stored::Stored;
use crate::testing::{Claimed, Memory};
use crate::trace;
use bgtask::durable::{
    BoxFuture, ClaimedJob, CompleteError, EncodedJob, EnqueueError, Enqueued, Store, Transaction,
};
use serde_json::value::RawValue;
use std::any::Any;
use std::sync::Arc;

/// The crate through which the transactions of sqlx are those of a store. The compiler infers it.
#[derive(Debug)]
pub enum Sqlx {}

macro_rules! transactions {
    ($($feature:literal $database:ident)*) => {$(
        #[cfg(feature = $feature)]
        impl<'t> Transaction<'t, Sqlx>
            for &'t mut crate::sqlx::Transaction<'_, crate::sqlx::$database>
        {
            fn enqueue(
                self,
                store: Arc<dyn Store>,
                jobs: Vec<EncodedJob>,
            ) -> BoxFuture<'t, Result<Vec<Enqueued>, EnqueueError>> {
                Box::pin(enqueue(Within::$database(self), store, jobs))
            }

            fn complete(
                self,
                job: Arc<dyn ClaimedJob>,
                output: Box<RawValue>,
            ) -> BoxFuture<'t, Result<(), CompleteError>> {
                Box::pin(complete(Within::$database(self), job, output))
            }
        }
    )*};
}
transactions! {
    "sqlite" Sqlite
    "postgres" Postgres
}

async fn enqueue(
    transaction: Within<'_, '_>,
    store: Arc<dyn Store>,
    jobs: Vec<EncodedJob>,
) -> Result<Vec<Enqueued>, EnqueueError> {
    let store: &dyn Any = &*store;
    if let Some(memory) = store.downcast_ref::<Memory>() {
        return memory.insert(jobs);
    }
    let stored: &Stored = store.downcast_ref().ok_or(EnqueueError::OtherDatabase)?;
    let trace = trace::current();
    let storing = stored.figures().storing(&jobs);
    let written = stored
        .engine()?
        .insert_in(transaction, jobs, trace.as_deref())
        .await?;
    storing.count(&written);
    Ok(written)
}

async fn complete(
    transaction: Within<'_, '_>,
    job: Arc<dyn ClaimedJob>,
    output: Box<RawValue>,
) -> Result<(), CompleteError> {
    let job: &dyn Any = &*job;
    if let Some(claimed) = job.downcast_ref::<Claimed>() {
        return claimed.complete(output);
    }
    let holding: &Holding = job.downcast_ref().ok_or(CompleteError::OtherDatabase)?;
    let was_completed = holding.is_completed();
    // Before the statement: whoever drops this future has a job that may be completed.
    holding.note_completed(true);
    let completed = holding
        .database
        .complete_in(
            transaction,
            &holding.claim,
            output.get(),
            holding.latest_progress(),
        )
        .await;
    if completed.is_err() {
        holding.note_completed(was_completed);
    }
    completed
}
