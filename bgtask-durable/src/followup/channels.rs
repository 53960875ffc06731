//! The channels of one store by name, and which of them a target is delivered over.
//! Knows nothing of how a channel delivers.

use super::custom::{AnyNotifier, Notification};
use super::{DeliveryError, JobEnd};
use bgtask::durable::NotifyTarget;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The channels that the program has set up.
#[derive(Clone, Default)]
pub(crate) struct Config {
    pub(crate) notifiers: BTreeMap<String, Arc<dyn AnyNotifier>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("notifiers", &self.notifiers.keys())
            .finish_non_exhaustive()
    }
}

/// The channels of one store.
#[derive(Debug)]
pub(crate) struct Channels {
    config: Config,
}

impl Channels {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }

    /// Checks a target before it is stored with a call.
    pub(crate) fn check(&self, target: &NotifyTarget) -> Result<(), String> {
        match &*target.channel {
            name if self.config.notifiers.contains_key(name) => Ok(()),
            name => Err(self.unknown(name)),
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
            name => match self.config.notifiers.get(name) {
                Some(notifier) => {
                    let notification = Notification::new(id, end, target.to.clone());
                    notifier.deliver(notification).await
                }
                None => Err(DeliveryError::new(self.unknown(name))),
            },
        }
    }

    fn unknown(&self, name: &str) -> String {
        format!(
            "this process has no notifier {name:?}: register it with `bgtask_durable::builder().notifier({name:?}, …)` in each process that works the \
             queue `bgtask-notify`"
        )
    }
}
