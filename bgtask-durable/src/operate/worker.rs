//! The processes that work, the queues, and the schedules, as the store knows them. Plain data.
//! Must never know a database.

use super::text;
use bgtask::durable::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The JSON object that a worker stores with its registration. Older versions ignore the members that a newer one adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Announcement {
    pub(crate) host: Option<String>,
    pub(crate) process: Option<u32>,
    pub(crate) version: Option<String>,
    pub(crate) connections: Option<u32>,
    pub(crate) queues: Option<BTreeMap<String, usize>>,
    pub(crate) functions: Option<Vec<String>>,
}

impl Announcement {
    /// Returns the announcement of this process.
    pub(crate) fn of_process(
        connections: u32,
        queues: BTreeMap<String, usize>,
        mut functions: Vec<String>,
    ) -> Self {
        functions.sort_unstable();
        Self {
            host: host(),
            process: Some(std::process::id()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            connections: Some(connections),
            queues: Some(queues),
            functions: Some(functions),
        }
    }

    pub(crate) fn text(&self) -> String {
        // Texts and numbers, which are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Returns the name of this machine, or of the container.
fn host() -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let variable = || {
        let names = ["HOSTNAME", "COMPUTERNAME"];
        names.into_iter().find_map(|name| std::env::var(name).ok())
    };
    let name = kernel.or_else(variable)?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// A process that works on the jobs of the store; see [`Jobs::workers`](crate::Jobs::workers).
///
/// What a worker of an older version does not declare is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id, which it has until it ends or is declared dead.
    pub id: String,
    /// The name of its machine or container.
    pub host: Option<String>,
    /// The id of its process.
    pub process: Option<u32>,
    /// The version of its bgtask-durable.
    pub version: Option<String>,
    /// The most connections of its pool. It has up to 3 more.
    pub connections: Option<u32>,
    /// Its queues, each with how many of its jobs run at once.
    pub queues: Option<BTreeMap<String, usize>>,
    /// The names under which the jobs of its functions are stored, in alphabetical order.
    pub functions: Option<Vec<String>>,
    /// When it registered, by the clock of the database. `None` if only its jobs are left, which others rescue.
    #[serde(serialize_with = "text::time_if_any")]
    pub started_at: Option<SystemTime>,
    /// How many jobs it has claimed that have not ended.
    pub running: u64,
    /// Whether it has shown a sign of life while it was watched. `None` if it was not.
    pub is_alive: Option<bool>,
}

impl WorkerInfo {
    /// Returns a worker as the database has it.
    pub(crate) fn new(id: String, announcement: Option<&str>) -> Self {
        let declared =
            announcement.and_then(|text| serde_json::from_str::<Announcement>(text).ok());
        let declared = declared.unwrap_or_default();
        Self {
            id,
            host: declared.host,
            process: declared.process,
            version: declared.version,
            connections: declared.connections,
            queues: declared.queues,
            functions: declared.functions,
            ..Self::default()
        }
    }

    /// Returns whether it works this queue, or `None` if it does not declare.
    #[must_use]
    pub fn works(&self, queue: &str) -> Option<bool> {
        let queues = self.queues.as_ref()?;
        Some(queues.contains_key(queue))
    }
}

/// A queue without the number of its jobs; see [`Jobs::queues`](crate::Jobs::queues).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Since when no process claims its jobs.
    #[serde(serialize_with = "text::time_if_any")]
    pub paused_at: Option<SystemTime>,
    /// For how long the oldest waiting job could have run, in seconds. `None` if none waits.
    #[serde(
        rename = "oldest_waiting_seconds",
        serialize_with = "text::seconds_if_any"
    )]
    pub oldest_waiting: Option<Duration>,
}

impl QueueInfo {
    pub(crate) fn new(
        name: String,
        paused_at: Option<SystemTime>,
        oldest_waiting: Option<Duration>,
    ) -> Self {
        Self {
            name,
            paused_at,
            oldest_waiting,
        }
    }
}

/// The schedule of a durable function; see [`Jobs::schedules`](crate::Jobs::schedules).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScheduleInfo {
    /// The name under which the jobs of the function are stored.
    pub function: String,
    /// The text of the schedule, such as `every 5m`.
    pub definition: String,
    /// The last tick that had a job or was missed.
    #[serde(serialize_with = "text::time")]
    pub last_tick: SystemTime,
    /// The job of the last tick that had one. It may have been deleted.
    pub job: Option<JobId>,
    /// Whether that job has not ended.
    pub is_busy: bool,
    /// Since when it is paused: it has no ticks until it is resumed.
    #[serde(serialize_with = "text::time_if_any")]
    pub paused_at: Option<SystemTime>,
    /// Who has paused it.
    pub paused_by: Option<String>,
    /// How long ago a process last declared that it has this schedule, in seconds: at most about 15 while one drives it.
    #[serde(rename = "unseen_seconds", serialize_with = "text::seconds")]
    pub unseen_for: Duration,
}

impl ScheduleInfo {
    pub(crate) fn new(function: String, definition: String, last_tick: SystemTime) -> Self {
        Self {
            function,
            definition,
            last_tick,
            job: None,
            is_busy: false,
            paused_at: None,
            paused_by: None,
            unseen_for: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, WorkerInfo};
    use std::collections::BTreeMap;

    #[test]
    fn a_worker_is_what_it_said_of_itself() {
        let queues = BTreeMap::from([("mail".to_owned(), 10)]);
        let functions = vec!["b::c".to_owned(), "a::b".to_owned()];
        let declared = Announcement::of_process(4, queues, functions);
        let worker = WorkerInfo::new("bgtask:1-2".to_owned(), Some(&declared.text()));
        assert_eq!(worker.works("mail"), Some(true));
        assert_eq!(worker.works("other"), Some(false));
        assert_eq!(worker.process, Some(std::process::id()));
        let functions = worker.functions.expect("they are declared");
        assert_eq!(functions, ["a::b", "b::c"]);
    }

    #[test]
    fn a_worker_of_an_older_or_a_newer_version_is_read() {
        for text in [None, Some("no JSON"), Some(r#"{"new":[1],"host":"a"}"#)] {
            let worker = WorkerInfo::new("bgtask:1-2".to_owned(), text);
            assert_eq!(worker.works("mail"), None);
        }
    }
}
