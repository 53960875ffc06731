//! What the pages of the dashboard read of a database: plain data, and the way to the statements of whichever database it is.
//! Each read is bounded, however many jobs there are. Must never know a page.

use super::Database;
#[cfg(feature = "postgres")]
use super::postgres::Postgres;
#[cfg(feature = "sqlite")]
use super::sqlite::Sqlite;
use super::types::Error;
use bgtask::durable::{JobState, Progress};
use std::collections::BTreeMap;

/// The most that is counted: a count beyond is shown as "10,000+".
pub(crate) const COUNTED: i64 = 10_000;

/// The number of ids that one list reads if no index covers its search.
pub(super) const LOOKED_THROUGH: i64 = 25_000;

/// The number of jobs whose arguments one list reads.
pub(super) const ARGUMENTS_READ: usize = 1_000;

/// The size up to which arguments are read for a list, in bytes of JSON.
macro_rules! arguments_length {
    () => {
        "16384"
    };
}
pub(super) use arguments_length;

/// How many jobs one page lists.
pub(crate) const LISTED: usize = 50;

/// The most rows that are read to be grouped: dead jobs, running jobs, jobs that wait in one queue, queues.
pub(super) const GROUPED: i64 = 2_000;
pub(super) const WAITING_READ: i64 = 500;
pub(crate) const QUEUES: usize = 200;

/// The latest entries of the audit that are kept.
pub(super) const AUDIT_KEPT: i64 = 100_000;

/// The first characters of an error that lists show.
macro_rules! error_length {
    () => {
        "400"
    };
}
pub(super) use error_length;

/// The conditions of a search. A job has to meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) function: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) state: Option<JobState>,
    /// The unique key as the engine stores it.
    pub(crate) key: Option<Vec<u8>>,
    /// A part of the last error, in upper or lower case.
    pub(crate) error: Option<String>,
    /// The jobs with lower ids.
    pub(crate) before: Option<i64>,
}

/// Returns the unique key of a job as the engine stores it: of a call without a window, by its function and its key.
pub(crate) fn stored_key(function: &str, key: &str) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let member = |text: &str| serde_json::Value::from(text).to_string();
    let (function, key) = (member(function), member(key));
    let arguments = format!("{{\"function\":{function},\"key\":{key},\"window\":null}}");
    Sha256::digest(format!("&kind=bgtask&args={arguments}")).to_vec()
}

/// A number that is counted up to [`COUNTED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) number: u64,
    /// There may be more.
    pub(crate) has_more: bool,
}

impl Count {
    pub(super) fn of(counted: i64) -> Self {
        Self {
            number: counted.clamp(0, COUNTED).unsigned_abs(),
            has_more: counted > COUNTED,
        }
    }
}

/// One job of a list. Times are milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: i64,
    pub(crate) function: String,
    pub(crate) queue: String,
    pub(crate) state: JobState,
    pub(crate) attempts: i64,
    pub(crate) max_attempts: i64,
    /// When it ended, was claimed, or may run.
    pub(crate) at: i64,
    /// The beginning of its last error, or why it is parked.
    pub(crate) error: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Listed>,
    /// The next page has the jobs below this id.
    pub(crate) next: Option<i64>,
    /// Not all jobs were looked through.
    pub(crate) is_partial: bool,
}

impl Page {
    /// Returns the page of these jobs, of which there is one more than it shows if there are further ones. `low` is the id down to which
    /// the jobs were looked through, if there are others below it.
    pub(crate) fn of(mut jobs: Vec<Listed>, low: Option<i64>) -> Self {
        if jobs.len() > LISTED {
            jobs.truncate(LISTED);
            let next = jobs.last().map(|job| job.id);
            return Self {
                jobs,
                next,
                is_partial: false,
            };
        }
        Self {
            jobs,
            next: low,
            is_partial: low.is_some(),
        }
    }
}

/// Jobs whose arguments are to be looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    /// Each with its arguments as JSON, unless they are too long. At most [`ARGUMENTS_READ`].
    pub(crate) jobs: Vec<(Listed, Option<String>)>,
    /// Further ones are below this id.
    pub(crate) next: Option<i64>,
}

/// All that is stored of a job. Times are milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Detail {
    pub(crate) job: Listed,
    pub(crate) priority: i64,
    pub(crate) crashes: i64,
    pub(crate) created_at: i64,
    pub(crate) scheduled_at: i64,
    pub(crate) attempted_at: Option<i64>,
    pub(crate) finalized_at: Option<i64>,
    /// The failed attempts as the engine stores them: a JSON array.
    pub(crate) errors: Option<String>,
    /// The workers that have claimed it, the last one last: a JSON array.
    pub(crate) workers: Option<String>,
    pub(crate) progress: Option<Progress>,
    pub(crate) is_cancelling: bool,
    /// As JSON, if they were asked for.
    pub(crate) arguments: Option<String>,
    pub(crate) output: Option<String>,
}

/// One queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) is_paused: bool,
    pub(crate) waiting: Count,
    pub(crate) running: Count,
    /// For how long the oldest waiting job could have run, in milliseconds.
    pub(crate) oldest: Option<i64>,
}

/// One worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) host: Option<String>,
    /// The queues that it works, with their limits. `None` if it does not declare them.
    pub(crate) queues: Option<BTreeMap<String, usize>>,
    pub(crate) started_at: i64,
    /// The time since its last beat, in milliseconds.
    pub(crate) beat_age: Option<i64>,
}

/// A job that a worker holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) function: String,
    /// The id of the worker, with what follows its dot.
    pub(crate) worker: String,
}

/// A job that failed for good.
#[derive(Clone, Debug)]
pub(crate) struct Dead {
    pub(crate) id: i64,
    pub(crate) function: String,
    pub(crate) at: i64,
    pub(crate) error: String,
}

/// One schedule. The ticks are microseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Scheduled {
    pub(crate) function: String,
    pub(crate) definition: String,
    pub(crate) last_tick: i64,
    /// The job of the last tick that had one, and its state while it is there.
    pub(crate) job: Option<(i64, Option<JobState>)>,
    /// Since when it is paused, in microseconds since 1970.
    pub(crate) paused_at: Option<i64>,
    pub(crate) paused_by: Option<String>,
    /// When it was resumed, unless it has moved since.
    pub(crate) resumed_at: Option<i64>,
}

/// An action that somebody requested.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) target: String,
    /// `None` while it is not over, or if the process died.
    pub(crate) result: Option<String>,
}

/// Makes the functions of [`Database`] that only hand a read or a write on.
macro_rules! handed_on {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Database {
            $($(#[$doc])*
            pub(crate) async fn $name(&self $(, $argument: $type)*) -> Result<$result, Error> {
                match self {
                    #[cfg(feature = "sqlite")]
                    Self::Sqlite(database) => Sqlite::$name(database $(, $argument)*).await,
                    #[cfg(feature = "postgres")]
                    Self::Postgres(database) => Postgres::$name(database $(, $argument)*).await,
                }
            })*
        }
    };
}

handed_on! {
    /// Counts the jobs in each state.
    counts() -> Vec<(JobState, Count)>;
    /// Returns a page of the jobs of a search, the latest first.
    page(search: &Search) -> Page;
    /// Returns jobs of a search with their arguments, the latest first.
    candidates(search: &Search) -> Candidates;
    /// Counts the dead jobs of a function and a queue.
    count_dead(function: Option<&str>, queue: Option<&str>) -> Count;
    /// Returns a job, with its arguments and output or without.
    detail(id: i64, with_values: bool) -> Option<Detail>;
    /// Returns the names of queues that have jobs which have not ended, or are paused.
    queue_names() -> Vec<String>;
    /// Returns these queues.
    page_of_queues(names: &[String]) -> Vec<Queue>;
    /// Returns the functions of the first jobs that wait in a queue.
    waiting_functions(queue: &str) -> Vec<String>;
    /// Returns the workers.
    all_workers() -> Vec<Worker>;
    /// Returns running jobs.
    held() -> Vec<Held>;
    /// Returns the latest dead jobs, the latest first.
    latest_dead() -> Vec<Dead>;
    /// Returns the schedules.
    all_schedules() -> Vec<Scheduled>;
    /// Notes an action before it is done, and returns the id of the entry.
    begin_audit(actor: &str, action: &str, target: &str) -> i64;
    /// Notes the result of an action.
    end_audit(id: i64, result: &str) -> ();
    /// Returns entries of the audit, the latest first: those below an id.
    audit(before: Option<i64>) -> Vec<Audited>;
    /// Returns one entry of the audit.
    audit_entry(id: i64) -> Option<Audited>;
}

#[cfg(test)]
handed_on! {
    /// Returns the name of each statement with the lines of its plan.
    plans() -> Vec<(String, Vec<String>)>;
}

/// Returns searches with each condition.
#[cfg(test)]
pub(super) fn searches(key: Vec<u8>) -> Vec<Search> {
    let function = Some("a::b".to_owned());
    let queue = Some("default".to_owned());
    let of = |state| Search {
        state,
        ..Search::default()
    };
    vec![
        Search::default(),
        of(Some(JobState::Dead)),
        of(Some(JobState::Done)),
        Search {
            queue: queue.clone(),
            before: Some(100),
            ..of(Some(JobState::Waiting))
        },
        Search {
            function: function.clone(),
            ..Search::default()
        },
        Search {
            queue,
            ..Search::default()
        },
        Search {
            function: function.clone(),
            key: Some(key),
            error: Some("timed out".to_owned()),
            ..of(Some(JobState::Dead))
        },
        Search {
            error: Some("timed out".to_owned()),
            ..Search::default()
        },
    ]
}
