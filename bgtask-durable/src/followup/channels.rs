//! The channels of one store by name, and which of them a target is delivered over.
//! Knows nothing of how a channel delivers.

use super::custom::{AnyNotifier, Notification};
#[cfg(feature = "email")]
use super::email::{self, Emails, Mailer};
#[cfg(feature = "webhook")]
use super::webhook::{self, Webhooks};
use super::{DeliveryError, JobEnd};
use bgtask::durable::NotifyTarget;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

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
        f.debug_struct("Config")
            .field("notifiers", &self.notifiers.keys())
            .finish_non_exhaustive()
    }
}

/// The channels of one store.
pub(crate) struct Channels {
    notifiers: BTreeMap<String, Arc<dyn AnyNotifier>>,
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
            notifiers: config.notifiers,
            #[cfg(feature = "webhook")]
            webhooks: Webhooks::new(config.webhook),
            #[cfg(feature = "email")]
            emails: Emails(config.email),
        }
    }

    /// Checks a target before it is stored with a call.
    pub(crate) fn check(&self, target: &NotifyTarget) -> Result<(), String> {
        match &*target.channel {
            #[cfg(feature = "webhook")]
            webhook::CHANNEL => self.webhooks.check(&target.to),
            #[cfg(feature = "email")]
            email::CHANNEL => self.emails.check(),
            name if self.notifiers.contains_key(name) => Ok(()),
            name => Err(unknown(name)),
        }
    }

    /// Delivers the end of a job to one target.
    pub(super) async fn deliver(
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
            name => match self.notifiers.get(name) {
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
            .field("notifiers", &self.notifiers.keys())
            .finish_non_exhaustive()
    }
}
