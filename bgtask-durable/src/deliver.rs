//! The function whose jobs the database stores with the end of a job that something follows: it has the channels of the store deliver.
//! Must never know a channel.

use crate::backend;
use crate::followup::{DeliveryError, JobEnd};
use bgtask::Job;
use bgtask::durable::NotifyTarget;

/// Delivers to one target what has followed the end of a job. The triggers store its jobs, and name this function: see `follow` in the
/// folder of each database.
#[bgtask::background(
    // As the triggers have it.
    name = "bgtask_durable::deliver",
    durable(queue = "bgtask-notify"),
    // About a day: 4.5 hours up to the eighth pause of four hours.
    retry(max = 20, base = "1s", cap = "4h", when = |error| !error.is_final, after = |error| error.retry_after),
    timeout = "1m"
)]
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the triggers store its jobs, and nothing else calls it"
    )
)]
async fn deliver(
    end: JobEnd,
    target: NotifyTarget,
    index: u32,
    // Not a `State<_>`: a program that opens no store would be said to lack it.
    job: Job,
) -> Result<(), DeliveryError> {
    match backend::of(job.store()) {
        Some(store) => store.channels().deliver(end, &target, index).await,
        None => Err(DeliveryError::new("the store has no channels")),
    }
}

/// Calls the function, to compare its job with those of the triggers.
#[cfg(test)]
pub(crate) fn job(end: JobEnd, target: NotifyTarget, index: u32) -> bgtask::durable::Enqueue<()> {
    deliver(end, target, index)
}
