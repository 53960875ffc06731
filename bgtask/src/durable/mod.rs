//! Durable calls: stored when they are awaited, run by a worker, and recorded until their end, whatever happens to the process.
//! Owns what a store and the generated code share. Knows no database: `bgtask-durable` brings the store.
//!
//! A program adds the crate `bgtask-durable`, opens a store in `main`, and writes `durable` on a function:
//!
//! ```
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Receipt;
//! #[bgtask::background(durable, timeout = "2m")]
//! async fn send_receipt(order: u64) -> std::io::Result<Receipt> {
//!     // …
//! # let _ = order;
//!     Ok(Receipt)
//! }
//!
//! # async fn checkout() -> Result<(), Box<dyn std::error::Error>> {
//! let job = send_receipt(7).await?;          // stored: from here on it runs, also if this process dies
//! let receipt: Receipt = job.outcome().await?;
//! # drop(receipt);
//! # Ok(())
//! # }
//! ```
//!
//! The body runs at least once. It may run twice, so write it so that it can. Its end is recorded exactly once.

mod call;
mod claimed;
mod codec;
mod encoded;
mod enqueue;
mod error;
mod event;
mod handle;
mod job;
mod json;
mod notify;
mod parameter;
mod progress;
mod run;
mod store;
#[cfg(feature = "live")]
mod ticket;
mod ticks;
mod transaction;

pub use crate::policy::{Canceller, is_queue_name};
pub use crate::report::StopReason;
pub use crate::stats::{InvalidJobId, JobId, JobInfo};
pub use call::not_stored;
pub use claimed::ClaimedJob;
#[doc(hidden)]
pub use codec::{Arguments, Encoder, JobOutput, Outcome, ResultCodec, ValueCodec};
pub use encoded::{ARGUMENT_LIMIT, OUTPUT_LIMIT};
#[doc(hidden)]
pub use enqueue::enqueue;
pub use enqueue::{Enqueue, EnqueueAll, enqueue_all};
pub use error::EnqueueError;
pub use event::{JobEvent, JobEvents};
pub use handle::JobHandle;
pub use job::{JobError, JobState, JobStatus};
#[doc(hidden)]
pub use notify::IntoNotify;
pub use notify::{Notify, NotifyTarget};
pub use parameter::Job;
#[doc(hidden)]
pub use parameter::{JobProbe, OtherType, job_parameter};
pub use progress::Progress;
#[doc(hidden)]
pub use run::running;
pub(crate) use run::start_ticks;
pub use run::{AlreadyOpen, Attempt, Failure, Function, Host, ShuttingDown, Verdict};
pub use store::{BoxFuture, EncodedJob, Enqueued, Start, Store, Unique};
#[cfg(feature = "live")]
pub use ticket::Ticket;
pub(crate) use ticks::TickClock;
pub use ticks::{NextTick, Ticks};
pub use transaction::{CompleteError, Transaction};

#[cfg(test)]
mod tests;
