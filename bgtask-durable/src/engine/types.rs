//! What the statements of all databases speak of: claims, ends, workers, tables, and the rescue's limits. Plain data.
//! Must never know a database.

use crate::OpenError;
use bgtask::durable::{EncodedJob, Failure, JobError, JobEvent, Progress};
use riverqueue::sqlx;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) type Error = sqlx::Error;

/// How long a statement waits for the lock of another connection.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(4);

/// The settings of the connections to a database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// The most connections of the pool. `None` is the default of the database.
    pub(crate) connections: Option<u32>,
    /// The URL of the server of Postgres itself, around a pooler.
    pub(crate) listen_url: Option<String>,
    /// SQLite commits with `synchronous = NORMAL`.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "a setting of SQLite")
    )]
    pub(crate) is_normal: bool,
    /// What becomes of tables that are missing or old.
    pub(crate) tables: Tables,
}

/// What becomes of tables that are missing or old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tables {
    /// They are made, and so is a file that is not there.
    #[default]
    Make,
    /// They are an error.
    Require,
    /// They are left as they are: for a look at what is there.
    Leave,
}

/// The tables of a store as they are found.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundTables {
    /// The version of the engine's tables. `None` if there are none.
    pub(crate) version: Option<i64>,
    /// The version that this program needs.
    pub(crate) known: i64,
    /// What is missing of ours, but for triggers.
    pub(crate) missing: Vec<String>,
    /// The triggers that are missing or are not this version's.
    pub(crate) triggers: Vec<String>,
}

impl FoundTables {
    /// Checks that this program can use the tables. The triggers do not count: those of a newer version may be there, which this one must
    /// not replace, and its writes carry what any of them asks for.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        match self.version {
            Some(newest) if newest > self.known => Err(OpenError::NewerSchema {
                newest,
                known: self.known,
            }),
            Some(version) if version == self.known && self.missing.is_empty() => Ok(()),
            version => Err(OpenError::OlderSchema {
                version,
                known: self.known,
                missing: self.missing.clone(),
            }),
        }
    }
}

/// The prefix of the ids of our workers. No other River client has it.
pub(crate) const WORKER: &str = "bgtask:";

/// The number of crashes at which a job is dead, unless the program says otherwise.
pub(crate) const CRASH_LIMIT: u32 = 5;

/// The number of crashes from which a job waits in [`SUSPECTS`].
pub(super) const SUSPECT_AT: u32 = 2;

/// The queue of jobs that may have killed their process, until they end: their metadata keep their own queue.
/// A process runs one of them at a time: so a job that kills its process
/// takes no other one to the crash limit, as those beside it have crashed less often than [`SUSPECT_AT`].
pub(crate) const SUSPECTS: &str = "bgtask-suspects";

/// The function that delivers the ends of jobs, the queue of its jobs, and their attempts.
pub(crate) const DELIVERS: &str = follow_function!();
pub(crate) const NOTIFY: &str = follow_queue!();
pub(crate) const DELIVERY_ATTEMPTS: u32 = follow_attempts!();

/// The rows that one transaction of the rescue or the pruning changes at most.
pub(super) const BATCH: i64 = 500;

/// Among how many of the latest ids the jobs of a filter are looked for first. Those of a frequent queue or state are found there, and
/// those of a rare one are few: so no list reads millions of rows.
pub(super) const RECENT: i64 = 10_000;

/// All states of the engine. With them, the jobs of a queue are found in the index by which jobs are claimed, which has the state first.
pub(super) const ANY_STATE: &str = " AND state IN ('available', 'running', 'scheduled', 'retryable', 'pending', 'completed', 'discarded', 'cancelled')";

/// The right of one attempt to record its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: i64,
    pub(crate) worker: String,
    pub(crate) attempted_at: String,
}

impl Claim {
    pub(crate) fn value(&self) -> String {
        format!("{}/{}", self.worker, self.attempted_at)
    }

    /// Returns a mark for the progress of an attempt. The claim itself must not stay in a row that is still `running`: the fence
    /// would let every later write through that keeps the row's metadata, as all of the engine's do.
    pub(super) fn progress_mark() -> String {
        format!("progress-{:016x}", fastrand::u64(..))
    }
}

/// The jobs that a worker claims: of one queue, at most so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims<'a> {
    /// The worker id that the rows show.
    pub(crate) worker: &'a str,
    pub(crate) queue: &'a str,
    /// The names under which the functions of the jobs are stored.
    pub(crate) functions: &'a [&'static str],
    pub(crate) limit: usize,
}

/// Returns the arguments of a row. A text that is no JSON becomes a string, which no function decodes.
pub(super) fn arguments(text: String) -> Result<Box<RawValue>, Error> {
    let read = serde_json::from_str::<Box<RawValue>>(&text);
    read.or_else(|_| serde_json::value::to_raw_value(&text))
        .map_err(|error| Error::Decode(error.into()))
}

/// A job that this process has claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) claim: Claim,
    pub(crate) function: String,
    pub(crate) arguments: Box<RawValue>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    /// The trace context of the call, encoded.
    pub(crate) trace: Option<String>,
    pub(crate) queue: String,
    /// The tick of a schedule that the job is of.
    pub(crate) tick: Option<i64>,
}

/// Returns a time in microseconds since 1970.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Returns a length of time in microseconds.
pub(crate) fn length(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the time that is this number of microseconds after 1970.
pub(crate) fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.try_into().unwrap_or(0))
}

/// The end of an attempt, as it is recorded.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Done {
        output: String,
    },
    Retry {
        failure: Failure,
        message: String,
        pause: Duration,
    },
    Dead {
        failure: Failure,
        message: String,
    },
    /// Back to the queue, and the attempt is not counted.
    Returned,
    /// Back to the queue after a pause, and the attempt is not counted: it has not begun.
    Postponed {
        pause: Duration,
    },
    /// The job was cancelled while it ran.
    Cancelled,
    /// The attempt runs on, and is this far.
    Progress(Progress),
    /// The arguments do not decode.
    Parked {
        reason: String,
    },
}

/// Returns how many of the records, from the first, are of different jobs.
pub(super) fn of_different_jobs(records: &[(Claim, Record)]) -> usize {
    let mut jobs = HashSet::new();
    let again = records.iter().position(|(claim, _)| !jobs.insert(claim.id));
    again.unwrap_or(records.len())
}

/// The result of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It is in the database.
    Yes,
    /// The database refuses its value, and the job is dead.
    Dead,
    /// It changed nothing: the attempt no longer holds its job.
    No,
    /// Another transaction holds the row: to be tried again.
    Locked,
}

#[cfg(feature = "sqlite")]
impl Recorded {
    pub(super) fn of(is_recorded: bool) -> Self {
        if is_recorded { Self::Yes } else { Self::No }
    }
}

/// The result of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// The job did not run, and is cancelled.
    Now,
    /// The job runs, and is marked for the worker that holds it.
    Marked,
    /// The job has ended, or is not there.
    Not,
}

/// A job that has ended, with its encoded value.
pub(crate) type Ended = Result<Box<RawValue>, JobError>;

/// A job as those who watch it see it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) event: JobEvent,
    /// Its value or error, if it has ended and they were asked for.
    pub(crate) ended: Option<Ended>,
}

/// A worker as the database shows it: its id, and its beat, or `None` if its row is gone and jobs still name it.
pub(crate) type Seen = (String, Option<i64>);

/// The jobs that may have changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// Any of them.
    Any,
    /// Jobs of this queue may be there to claim, or of any. Those who wait for ends need not look, or `Any` follows soon.
    Claimable(Option<String>),
    /// These have ended, or have another state or progress.
    Jobs(Vec<i64>),
}

/// How many jobs of a dead worker became available, and which are dead with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rescued {
    pub(crate) available: u64,
    pub(crate) dead: Vec<i64>,
    /// The numbers of both by the names under which the functions of the jobs are stored.
    pub(crate) functions: BTreeMap<String, Crashed>,
    /// Jobs of the worker may be left.
    pub(crate) has_more: bool,
}

/// How many jobs of one function were in a process that has died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crashed {
    pub(crate) available: u64,
    pub(crate) dead: u64,
}

impl Rescued {
    /// Adds a job that is dead.
    pub(super) fn add_dead(&mut self, id: i64, function: String) {
        self.dead.push(id);
        self.functions.entry(function).or_default().dead += 1;
    }

    /// Adds a job that became available.
    pub(super) fn add_available(&mut self, function: String) {
        self.available += 1;
        self.functions.entry(function).or_default().available += 1;
    }
}

/// The options of the jobs of a schedule, which are kept with it: whoever operates the jobs can store one without having the function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobOptions {
    pub(super) queue: String,
    pub(super) priority: u8,
    pub(super) max_attempts: u32,
    pub(super) keep: Option<Duration>,
}

impl JobOptions {
    pub(crate) fn of(job: &EncodedJob) -> Self {
        Self {
            queue: job.queue.to_string(),
            priority: job.priority,
            max_attempts: job.max_attempts,
            keep: job.keep,
        }
    }

    pub(crate) fn text(&self) -> String {
        // Texts and numbers, which are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}
