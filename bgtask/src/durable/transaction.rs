//! The program's own transactions, in which jobs are stored and completed: an interface that a store's crate implements.
//! Must never know a database.

use super::claimed::ClaimedJob;
use super::error::EnqueueError;
use super::store::{BoxFuture, EncodedJob, Enqueued, Store};
use serde_json::value::RawValue;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A transaction of the program's. `bgtask-durable` implements it for `&mut sqlx::Transaction<'_, _>`.
///
/// `Via` is a type of the crate that implements it, which the compiler infers: without it, no crate could implement this trait for
/// a type of a third one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction in which durable jobs can be stored",
    label = "not a transaction of a store",
    note = "pass `&mut transaction`, an `sqlx::Transaction` of the sqlx that `bgtask_durable::sqlx` re-exports"
)]
pub trait Transaction<'t, Via>: Send + Sized + 't {
    /// Stores jobs if, and only if, the transaction commits. Returns one result per job, in their order.
    fn enqueue(
        self,
        store: Arc<dyn Store>,
        jobs: Vec<EncodedJob>,
    ) -> BoxFuture<'t, Result<Vec<Enqueued>, EnqueueError>>;

    /// Completes the job of a running attempt if, and only if, the transaction commits.
    fn complete(
        self,
        job: Arc<dyn ClaimedJob>,
        output: Box<RawValue>,
    ) -> BoxFuture<'t, Result<(), CompleteError>>;
}

/// Why a job could not be completed in a transaction. Roll the transaction back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompleteError {
    /// The value does not encode as JSON.
    #[non_exhaustive]
    Encode {
        /// The encoder's text.
        message: String,
    },
    /// The encoded value is larger than the store allows; by default, than [`OUTPUT_LIMIT`](super::OUTPUT_LIMIT).
    #[non_exhaustive]
    TooLarge {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value contains a NUL character, which databases do not store.
    Nul,
    /// The attempt no longer holds the job: another one runs it, or it has ended.
    Lost,
    /// The attempt has completed the job before: with a value in a transaction, or with what its body returned.
    AlreadyCompleted,
    /// The transaction belongs to another database than the store.
    OtherDatabase,
    /// The database refused it.
    #[non_exhaustive]
    Store {
        /// The database's text.
        message: String,
    },
}

impl CompleteError {
    /// Returns the error of a database that refused a completion, for a store.
    #[must_use]
    pub fn store(message: String) -> Self {
        CompleteError::Store { message }
    }
}

impl fmt::Display for CompleteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompleteError::Encode { message } => {
                write!(f, "the output does not encode: {message}")
            }
            CompleteError::TooLarge { size, limit } => write!(
                f,
                "the encoded output has {size} bytes, and the limit is {limit}: store the data and return a key"
            ),
            CompleteError::Nul => {
                f.pad("the output contains a NUL character, which databases do not store")
            }
            CompleteError::Lost => f.pad(
                "this attempt no longer holds its job: roll the transaction back, because another attempt runs the job or has ended it",
            ),
            CompleteError::AlreadyCompleted => f.pad("this attempt has completed its job before"),
            CompleteError::OtherDatabase => f.pad(
                "the transaction belongs to another database than the job: begin it on the database that was opened",
            ),
            CompleteError::Store { message } => {
                write!(f, "the database refused the completion: {message}")
            }
        }
    }
}

impl Error for CompleteError {}
