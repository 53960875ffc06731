//! Why a durable call was not stored: plain data, which the encoder, the store and the caller share.
//! Knows nothing of where an error arises.

use std::error::Error;
use std::fmt;

/// Why a durable call was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnqueueError {
    /// No store is open: `bgtask_durable::open().await?` has to come first in `main`.
    NotOpen,
    /// An argument does not encode as JSON.
    #[non_exhaustive]
    Encode {
        /// The parameter.
        parameter: &'static str,
        /// The encoder's text.
        message: String,
    },
    /// The encoded arguments are larger than the store allows; by default, than [`ARGUMENT_LIMIT`](super::ARGUMENT_LIMIT).
    #[non_exhaustive]
    TooLarge {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// An argument contains a NUL character, which databases do not store.
    #[non_exhaustive]
    Nul {
        /// The parameter.
        parameter: &'static str,
    },
    /// The name of the queue, which the call chose, is wrong.
    #[non_exhaustive]
    Queue {
        /// The name.
        name: String,
    },
    /// The priority, which the call chose, is wrong.
    #[non_exhaustive]
    Priority {
        /// The priority.
        priority: u8,
    },
    /// The key of the job is wrong.
    #[non_exhaustive]
    Key {
        /// The reason why the key is refused.
        message: &'static str,
    },
    /// What is to follow the end of the job is wrong; see [`Enqueue::notify`](super::Enqueue::notify).
    #[non_exhaustive]
    Notify {
        /// The reason why it is refused.
        message: String,
    },
    /// The transaction belongs to another database, or another schema, than the store.
    OtherDatabase,
    /// The store is closed: the shutdown is over.
    Closed,
    /// The database was locked for too long. The job is not stored.
    Busy,
    /// The database refused the job. It is not stored.
    #[non_exhaustive]
    Store {
        /// The database's text.
        message: String,
    },
    /// The job may or may not be stored: the database did not answer in time, or failed during the commit.
    #[non_exhaustive]
    Unknown {
        /// What happened.
        message: String,
    },
}

impl EnqueueError {
    /// Returns the error of a database that refused a job, for a store.
    #[must_use]
    pub fn store(message: String) -> Self {
        EnqueueError::Store { message }
    }

    /// Returns the error of a name that no queue can have, for a store.
    #[must_use]
    pub fn queue(name: String) -> Self {
        EnqueueError::Queue { name }
    }

    /// Returns the error of a call that may or may not be stored, for a store.
    #[must_use]
    pub fn unknown(message: String) -> Self {
        EnqueueError::Unknown { message }
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnqueueError::NotOpen => f.pad(
                "no store of durable jobs is open: call `bgtask_durable::open().await?` first, in `main`, or write `#[bgtask::test(durable)]` on the test",
            ),
            EnqueueError::Encode { parameter, message } => {
                write!(f, "the argument `{parameter}` does not encode: {message}")
            }
            EnqueueError::TooLarge { size, limit } => write!(
                f,
                "the encoded arguments have {size} bytes, and the limit is {limit}: store the data and pass a key"
            ),
            EnqueueError::Nul { parameter } => write!(
                f,
                "the argument `{parameter}` contains a NUL character, which databases do not store"
            ),
            EnqueueError::Queue { name } => write!(
                f,
                "the queue {name:?} has a wrong name: 1 to 64 lowercase letters, digits, `-` and `_`, a letter first, and each `-` or `_` between two others"
            ),
            EnqueueError::Priority { priority } => write!(
                f,
                "the priority {priority} is not one of 1, which runs first, to 4, which runs last"
            ),
            EnqueueError::Key { message } => write!(f, "the key of the job {message}"),
            EnqueueError::Notify { message } => write!(f, "`notify` of the job: {message}"),
            EnqueueError::OtherDatabase => f.pad(
                "the transaction belongs to another database than the store: begin it on the database that was opened",
            ),
            EnqueueError::Closed => f.pad("the store of durable jobs is closed"),
            EnqueueError::Busy => f.pad(
                "the database was locked for too long, and the job is not stored: in a transaction of your own, use `.within(&mut transaction)`",
            ),
            EnqueueError::Store { message } => {
                write!(f, "the database refused the job: {message}")
            }
            EnqueueError::Unknown { message } => {
                write!(f, "the job may or may not be stored: {message}")
            }
        }
    }
}

impl Error for EnqueueError {}
