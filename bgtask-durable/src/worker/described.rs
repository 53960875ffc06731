//! What this worker notes about itself for people: its host and its queues. Must never decide anything.

use super::Shared;
use crate::lease::Life;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The host of this process, and its queues with their limits, as JSON.
#[derive(Clone, Debug)]
pub(super) struct Description {
    host: Option<String>,
    queues: String,
}

pub(super) fn of(queues: &BTreeMap<String, usize>) -> Description {
    Description {
        host: host(),
        // Names and numbers are always JSON.
        queues: serde_json::to_string(queues).unwrap_or_default(),
    }
}

/// Notes it in the row of a life. If that fails, the row stays without it, and nothing else is amiss.
pub(super) fn note(shared: &Arc<Shared>, life: &Life, description: &Description) {
    let (shared, worker, description) = (shared.clone(), life.id.clone(), description.clone());
    tokio::spawn(async move {
        let Description { host, queues } = description;
        let noted = shared.database.describe(&worker, host.as_deref(), &queues);
        if let Err(error) = noted.await {
            tracing::debug!(target: "bgtask", worker, %error, "the host and the queues of this worker are not noted");
        }
    });
}

/// Returns the name of this host, as its environment or its files have it.
fn host() -> Option<String> {
    let set = ["HOSTNAME", "COMPUTERNAME"].map(std::env::var);
    let set = set.into_iter().find_map(Result::ok);
    let name = set.or_else(|| std::fs::read_to_string("/etc/hostname").ok())?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
