//! Deliveries of the ends of jobs: their data, and the channels that they take.
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

use bgtask::durable::NotifyTarget;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;
use std::time::Duration;

/// The longest pause between two attempts: that of the back-off of [`deliver`](crate::deliver).
#[cfg(feature = "webhook")]
const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// The arguments of a delivery; see [`deliver`](crate::deliver).
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
        end.value = value.filter(|_| target.with_value).map(RawValue::to_owned);
        let end = &end;
        // All of it has been JSON before.
        to_raw_value(&Arguments { end, target, index }).ok()
    };
    targets.iter().enumerate().filter_map(of_one).collect()
}

/// Why an attempt to deliver failed.
#[derive(Debug)]
pub(crate) struct DeliveryError {
    message: String,
    /// Another attempt would fail like this one.
    pub(crate) is_final: bool,
    /// The pause that the receiver asks for.
    pub(crate) retry_after: Option<Duration>,
}

impl DeliveryError {
    /// Returns the error of an attempt that another one may follow.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_final: false,
            retry_after: None,
        }
    }

    /// Adds the pause that the receiver asks for, of which four hours count: a delivery is not to be put off for good.
    #[cfg(feature = "webhook")]
    pub(crate) fn after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause.map(|pause| pause.min(LONGEST_PAUSE));
        self
    }

    /// Returns the error of a target that nothing can be delivered to.
    pub(crate) fn of_target(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_final: true,
            retry_after: None,
        }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}
