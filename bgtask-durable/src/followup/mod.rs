//! What follows the end of a job: the function whose jobs the database stores with that end, and the channels that it delivers over.
//! Must never know a database, or how an end is stored.

mod channels;
mod custom;
#[cfg(feature = "email")]
mod email;
mod end;
#[cfg(feature = "webhook")]
mod webhook;

pub use channels::Delivered;
pub(crate) use channels::{Channels, Config, reserved};
pub(crate) use custom::AnyNotifier;
pub use custom::{Custom, Notification, Notifier, NotifyError, Undeliverable};
#[cfg(feature = "email")]
pub(crate) use email::Mailer;
#[cfg(feature = "email")]
pub use email::{Email, email};
pub use end::JobEnd;
#[cfg(feature = "webhook")]
pub(crate) use webhook::Settings as WebhookSettings;
#[cfg(feature = "webhook")]
pub use webhook::{Webhook, webhook};

use crate::stored::Stored;
use crate::testing::Memory;
use bgtask::Job;
use bgtask::durable::NotifyTarget;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Delivers to one target what has followed the end of a job. The triggers store its jobs, and name this function: see `follow` in the
/// folder of each database.
#[bgtask::background(
    durable(queue = "bgtask-notify"),
    // About a day: 4.5 hours up to the eighth pause of four hours.
    retry(max = 20, base = "1s", cap = "4h", when = |error| !error.is_final),
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
    let store: Arc<dyn Any + Send + Sync> = job.store();
    if let Some(stored) = store.downcast_ref::<Stored>() {
        return stored.channels.deliver(end, &target, index).await;
    }
    match store.downcast_ref::<Memory>() {
        Some(memory) => memory.channels.deliver(end, &target, index).await,
        None => Err(DeliveryError::new("the store has no channels")),
    }
}

/// The attempts of its jobs, for a store without triggers.
pub(crate) const ATTEMPTS: u32 = 20;

/// The arguments of the function.
#[derive(Serialize)]
struct Arguments<'a> {
    end: &'a JobEnd,
    target: &'a NotifyTarget,
    index: usize,
}

/// Returns the arguments of the job of each target, as the triggers make them.
pub(crate) fn arguments(
    end: &JobEnd,
    value: Option<&RawValue>,
    targets: &[NotifyTarget],
) -> Vec<Box<RawValue>> {
    let of_one = |(index, target): (usize, &NotifyTarget)| {
        let mut end = end.clone();
        end.value = value.filter(|_| target.with_value).map(ToOwned::to_owned);
        let end = &end;
        // All of it has been JSON before.
        to_raw_value(&Arguments { end, target, index }).ok()
    };
    targets.iter().enumerate().filter_map(of_one).collect()
}

/// Calls the function, to compare its job with those of the triggers.
#[cfg(test)]
pub(crate) fn job(end: JobEnd, target: NotifyTarget, index: u32) -> bgtask::durable::Enqueue<()> {
    deliver(end, target, index)
}

/// Why an attempt to deliver failed.
#[derive(Debug)]
pub(crate) struct DeliveryError {
    message: String,
    /// Another attempt would fail like this one.
    is_final: bool,
}

impl DeliveryError {
    /// Returns the error of an attempt that another one may follow.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_final: false,
        }
    }

    /// Returns the error of a target that nothing can be delivered to.
    pub(crate) fn of_target(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_final: true,
        }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}
