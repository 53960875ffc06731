//! The program's own transactions: jobs stored in them, and jobs completed in them.
//! Knows which store a transaction has to belong to, and no statement.

use crate::engine::sqlx::{Sqlite, Transaction};
use crate::holding::Holding;
use crate::jobs::Stored;
use bgtask::durable::{
    BoxFuture, ClaimedJob, CompleteError, EncodedJob, EnqueueError, Enqueued, Store,
};
use serde_json::value::RawValue;
use std::any::Any;
use std::sync::Arc;

/// The crate through which the transactions of sqlx are those of a store. The compiler infers it.
#[derive(Debug)]
pub enum Sqlx {}

impl<'t> bgtask::durable::Transaction<'t, Sqlx> for &'t mut Transaction<'_, Sqlite> {
    fn enqueue(
        self,
        store: Arc<dyn Store>,
        jobs: Vec<EncodedJob>,
    ) -> BoxFuture<'t, Result<Vec<Enqueued>, EnqueueError>> {
        Box::pin(async move {
            let store: &dyn Any = &*store;
            let stored: &Stored = store.downcast_ref().ok_or(EnqueueError::OtherDatabase)?;
            stored.engine()?.insert_in_sqlite(self, jobs).await
        })
    }

    fn complete(
        self,
        job: Arc<dyn ClaimedJob>,
        output: Box<RawValue>,
    ) -> BoxFuture<'t, Result<(), CompleteError>> {
        Box::pin(async move {
            let job: &dyn Any = &*job;
            let holding: &Holding = job.downcast_ref().ok_or(CompleteError::OtherDatabase)?;
            let was_completed = holding.is_completed();
            // Before the statement: whoever drops this future has a job that may be completed.
            holding.note_completed(true);
            let completed = holding
                .stored()
                .database()
                .complete_in_sqlite(
                    self,
                    &holding.claim,
                    output.get(),
                    holding.latest_progress(),
                )
                .await;
            if completed.is_err() {
                holding.note_completed(was_completed);
            }
            completed
        })
    }
}
