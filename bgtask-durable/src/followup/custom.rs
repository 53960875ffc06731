//! Channels of the program's own: what it implements, and the target of a call.
//! Must never know the other channels.

use super::{DeliveryError, JobEnd};
use bgtask::durable::{BoxFuture, Notify};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::error::Error;
use std::fmt;

/// Why a delivery failed. Any error becomes one with `?`; an [`Undeliverable`] is not tried again.
pub type NotifyError = Box<dyn Error + Send + Sync>;

/// A channel of the program's own, over which the ends of jobs are delivered; see [`Builder::notifier`](crate::Builder::notifier).
///
/// # Examples
/// ```no_run
/// use bgtask_durable::{Custom, Notification, Notifier, NotifyError};
///
/// struct Sms;
///
/// impl Notifier for Sms {
///     async fn notify(&self, notification: Notification) -> Result<(), NotifyError> {
///         let number: String = notification.to()?;
///         println!("to {number}: job {} is {}", notification.end.job, notification.end.state);
///         Ok(())
///     }
/// }
///
/// #[bgtask::background(durable)]
/// async fn send_receipt(order: u64) {
///     // …
/// #   let _ = order;
/// }
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// bgtask_durable::builder().notifier("sms", Sms).open().await?;
/// send_receipt(7).notify(Custom::new("sms", &"+41 44 668 18 00")).await?;
/// # Ok(())
/// # }
/// ```
pub trait Notifier: Send + Sync + 'static {
    /// Delivers one notification. It may come a second time: [`Notification::id`] is the same then.
    ///
    /// After an error it is tried again, for about a day, and each time it has a minute. Then its own job is dead, and kept with its
    /// errors.
    fn notify(
        &self,
        notification: Notification,
    ) -> impl Future<Output = Result<(), NotifyError>> + Send;
}

/// What a [`Notifier`] delivers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Notification {
    /// Is the same each time that this notification is delivered, and no other has it.
    pub id: String,
    /// The end of the job.
    pub end: JobEnd,
    to: Box<RawValue>,
}

impl Notification {
    pub(super) fn new(id: String, end: JobEnd, to: Box<RawValue>) -> Self {
        Self { id, end, to }
    }

    /// Returns what the call has given to [`Custom::new`].
    ///
    /// # Errors
    /// If it does not decode as this type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Undeliverable> {
        serde_json::from_str(self.to.get())
            .map_err(|error| Undeliverable::new(format!("the target does not decode: {error}")))
    }
}

/// An error after which a notification is not tried again: its job is dead at once.
#[derive(Clone, Debug)]
pub struct Undeliverable(String);

impl Undeliverable {
    /// Returns the error with a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Undeliverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Error for Undeliverable {}

/// A target of a [`Notifier`] of the program, for [`Enqueue::notify`](bgtask::durable::Enqueue::notify).
#[derive(Clone, Debug)]
#[must_use = "nothing follows until it is given to `notify`"]
pub struct Custom(Notify);

impl Custom {
    /// Returns a target of the notifier that is registered under this name, with what it has to know.
    pub fn new(name: impl Into<String>, to: &impl Serialize) -> Self {
        Self(Notify::to(name.into(), to, false))
    }

    /// Passes the value of the job on, in [`JobEnd::value`].
    pub fn with_value(self) -> Self {
        Self(self.0.with_value())
    }
}

impl From<Custom> for Notify {
    fn from(custom: Custom) -> Self {
        custom.0
    }
}

/// A [`Notifier`] as a trait object.
pub(crate) trait AnyNotifier: Send + Sync {
    fn deliver(&self, notification: Notification) -> BoxFuture<'_, Result<(), DeliveryError>>;
}

impl<N: Notifier> AnyNotifier for N {
    fn deliver(&self, notification: Notification) -> BoxFuture<'_, Result<(), DeliveryError>> {
        Box::pin(async move {
            self.notify(notification).await.map_err(|error| {
                let message = error.to_string();
                if error.is::<Undeliverable>() {
                    DeliveryError::of_target(message)
                } else {
                    DeliveryError::new(message)
                }
            })
        })
    }
}
