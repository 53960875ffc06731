//! The channels of one store by name, and which of them a target is delivered over.
//! Knows nothing of how a channel delivers.

use super::custom::{AnyNotifier, Notification};
#[cfg(feature = "email")]
use super::email::{self, Emails, Mailer};
#[cfg(feature = "webhook")]
use super::webhook::{self, Webhooks};
use super::{DeliveryError, JobEnd};
use crate::lock;
use bgtask::durable::NotifyTarget;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// The channels that the program has set up.
#[derive(Clone, Default)]
pub(crate) struct Config {
    pub(crate) notifiers: BTreeMap<String, Arc<dyn AnyNotifier>>,
    #[cfg(feature = "webhook")]
    pub(crate) webhook: webhook::Settings,
    #[cfg(feature = "email")]
    pub(crate) email: Option<Mailer>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Config");
        shown.field("notifiers", &self.notifiers.keys());
        #[cfg(feature = "webhook")]
        shown.field("webhook", &self.webhook);
        #[cfg(feature = "email")]
        shown.field("email", &self.email);
        shown.finish()
    }
}

/// A delivery of a test; see [`testing::delivered`](crate::testing::delivered).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivered {
    /// `webhook`, `email`, or the name of the notifier.
    pub channel: String,
    /// The target: for a webhook an object with `url` and `secret`, for an e-mail one with `address` and the templates, else what
    /// [`Custom::new`](crate::Custom::new) was given.
    pub to: serde_json::Value,
    /// The end of the job.
    pub end: JobEnd,
}

/// The channels of one store.
pub(crate) struct Channels {
    notifiers: Mutex<BTreeMap<String, Arc<dyn AnyNotifier>>>,
    /// What was delivered, in a test: nothing leaves it but through the program's notifiers.
    delivered: Option<Mutex<Vec<Delivered>>>,
    #[cfg(feature = "webhook")]
    webhooks: Webhooks,
    #[cfg(feature = "email")]
    emails: Emails,
}

/// The names of the channels that are not the program's, each with the feature that has it.
const OWN: [&str; 2] = ["webhook", "email"];

impl Channels {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            notifiers: Mutex::new(config.notifiers),
            delivered: None,
            #[cfg(feature = "webhook")]
            webhooks: Webhooks::new(config.webhook),
            #[cfg(feature = "email")]
            emails: Emails(config.email),
        }
    }

    /// Returns the channels of a test, which take note of what they would send.
    pub(crate) fn recording() -> Self {
        let mut channels = Self::new(Config::default());
        channels.delivered = Some(Mutex::default());
        channels
    }

    /// Adds the notifiers of the program under test.
    pub(crate) fn add(&self, config: Config) {
        lock(&self.notifiers).extend(config.notifiers);
    }

    /// Returns what was delivered in a test.
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        let delivered = self.delivered.as_ref();
        delivered
            .map(|delivered| lock(delivered).clone())
            .unwrap_or_default()
    }

    fn notifier(&self, name: &str) -> Option<Arc<dyn AnyNotifier>> {
        lock(&self.notifiers).get(name).cloned()
    }

    /// Whether a target is noted instead of anything being sent.
    fn is_noted(&self, target: &NotifyTarget) -> bool {
        self.delivered.is_some() && OWN.contains(&&*target.channel)
    }

    /// Checks a target before it is stored with a call.
    pub(crate) fn check(&self, target: &NotifyTarget) -> Result<(), String> {
        match &*target.channel {
            _ if self.is_noted(target) => Ok(()),
            #[cfg(feature = "webhook")]
            webhook::CHANNEL => self.webhooks.check(&target.to),
            #[cfg(feature = "email")]
            email::CHANNEL => self.emails.check(),
            name if self.notifier(name).is_some() => Ok(()),
            name => Err(unknown(name)),
        }
    }

    /// Delivers the end of a job to one target.
    pub(crate) async fn deliver(
        &self,
        end: JobEnd,
        target: &NotifyTarget,
        index: u32,
    ) -> Result<(), DeliveryError> {
        let noted = self.delivered.as_ref().map(|_| end.clone());
        if !self.is_noted(target) {
            self.send(end, target, index).await?;
        }
        if let (Some(end), Some(delivered)) = (noted, &self.delivered) {
            lock(delivered).push(Delivered {
                channel: target.channel.clone().into_owned(),
                to: serde_json::from_str(target.to.get()).unwrap_or_default(),
                end,
            });
        }
        Ok(())
    }

    async fn send(
        &self,
        end: JobEnd,
        target: &NotifyTarget,
        index: u32,
    ) -> Result<(), DeliveryError> {
        let id = end.id(index);
        match &*target.channel {
            #[cfg(feature = "webhook")]
            webhook::CHANNEL => self.webhooks.deliver(&id, &end, &target.to).await,
            #[cfg(feature = "email")]
            email::CHANNEL => self.emails.deliver(&id, &end, &target.to).await,
            name => match self.notifier(name) {
                Some(notifier) => {
                    let notification = Notification::new(id, end, target.to.clone());
                    notifier.deliver(notification).await
                }
                None => Err(DeliveryError::new(unknown(name))),
            },
        }
    }
}

/// Returns the name of a notifier that the program may not have, because a channel of ours has it.
pub(crate) fn reserved(config: &Config) -> Option<&str> {
    let names = config.notifiers.keys().map(|name| &**name);
    names
        .into_iter()
        .find(|name| OWN.contains(name) || name.is_empty())
}

fn unknown(name: &str) -> String {
    if OWN.contains(&name) {
        return format!(
            "this process cannot deliver over {name:?}: build it with the feature `{name}` of bgtask-durable"
        );
    }
    format!(
        "this process has no notifier {name:?}: register it with `bgtask_durable::builder().notifier({name:?}, …)` in each process that works the \
         queue `bgtask-notify`"
    )
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels")
            .field("notifiers", &lock(&self.notifiers).keys())
            .finish_non_exhaustive()
    }
}
