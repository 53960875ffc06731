//! Insertion: encoded jobs as the engine stores them, and their unique keys.
//! Knows nothing of claims or attempts.

use super::types::{JobOptions, micros};
use super::{Arguments, Error};
use bgtask::durable::{EncodedJob, EnqueueError, Enqueued, JobId, Start};
use riverqueue::database::DatabaseTransactionExecutor;
use riverqueue::jiff::Timestamp;
use riverqueue::{
    BoxError, Client, Hook, InsertContext, InsertManyItem, InsertOpts, InsertResult, JobMetadata,
    JobState, UniqueOpts,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The states in which a job has not ended.
const NOT_ENDED: [JobState; 5] = [
    JobState::Available,
    JobState::Pending,
    JobState::Retryable,
    JobState::Running,
    JobState::Scheduled,
];

/// Sets the kind of a new job to the name of its function, so that River's own tools show it, and its arguments.
#[derive(Debug)]
pub(super) struct SetKind;

impl Hook for SetKind {
    async fn insert_begin(&self, insert: &mut InsertContext) -> Result<(), BoxError> {
        // Read once: each `get` of the engine's reads the whole object.
        let mut members: Members<'_> = serde_json::from_str(insert.opts.metadata.as_raw().get())?;
        let Some(function) = members.function.take() else {
            return Ok(());
        };
        insert.kind = function.into_owned();
        if let Some(arguments) = members.arguments.take() {
            insert.encoded_args = RawValue::from_string(arguments)?;
        }
        insert.opts.metadata = members.as_metadata()?;
        Ok(())
    }
}

/// The metadata of a new job. The first two members are for the hook, and not stored.
#[derive(Default, Serialize, Deserialize)]
struct Members<'a> {
    #[serde(
        borrow,
        rename = "bgtask:function",
        skip_serializing_if = "Option::is_none"
    )]
    function: Option<Cow<'a, str>>,
    /// Those of a job whose key the engine takes from others. A text, so that their numbers stay as they are.
    #[serde(rename = "bgtask:arguments", skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    /// In seconds.
    #[serde(rename = "bgtask:keep", skip_serializing_if = "Option::is_none")]
    keep: Option<u64>,
    #[serde(rename = "bgtask:notify", skip_serializing_if = "Option::is_none")]
    notify: Option<Box<RawValue>>,
    #[serde(rename = "bgtask:tick", skip_serializing_if = "Option::is_none")]
    tick: Option<i64>,
    #[serde(
        borrow,
        rename = "bgtask:trace",
        skip_serializing_if = "Option::is_none"
    )]
    trace: Option<Cow<'a, str>>,
}

impl Members<'_> {
    fn as_metadata(&self) -> Result<JobMetadata, serde_json::Error> {
        JobMetadata::try_from(to_raw_value(self)?)
    }
}

/// What the engine takes the unique key of a job from: its arguments, before the hook replaces them.
#[derive(Serialize)]
struct Key<'a> {
    function: &'a str,
    key: &'a str,
    window: Option<String>,
}

/// Jobs as the engine takes them, and where their results stand.
pub(super) struct Batch {
    items: Vec<InsertManyItem<Arguments>>,
    /// For each job, its item, and whether the item is that of an earlier job with the same key.
    places: Vec<(usize, bool)>,
}

impl Batch {
    /// # Errors
    /// If a job cannot be stored.
    pub(super) fn new(jobs: Vec<EncodedJob>, trace: Option<&str>) -> Result<Self, EnqueueError> {
        let mut batch = Self {
            items: Vec::with_capacity(jobs.len()),
            places: Vec::with_capacity(jobs.len()),
        };
        let mut keys = HashMap::new();
        let now = SystemTime::now();
        for job in jobs {
            let key = key_of(&job, now)?;
            // The engine rejects a batch in which a key stands twice.
            if let Some(first) = key.as_ref().and_then(|key| keys.get(key)) {
                batch.places.push((*first, true));
                continue;
            }
            let place = batch.items.len();
            if let Some(key) = &key {
                keys.insert(key.clone(), place);
            }
            batch.places.push((place, false));
            batch.items.push(item(job, key, trace)?);
        }
        Ok(batch)
    }

    /// Takes the items, of which there is at least one.
    pub(super) fn take_items(&mut self) -> Vec<InsertManyItem<Arguments>> {
        std::mem::take(&mut self.items)
    }

    /// Returns the result of each job.
    pub(super) fn results(&self, inserted: &[InsertResult<Arguments>]) -> Vec<Enqueued> {
        let result = |&(place, is_again): &(usize, bool)| {
            let inserted: &InsertResult<_> = &inserted[place];
            let is_duplicate = is_again || inserted.unique_skipped_as_duplicate;
            Enqueued::new(JobId::new(inserted.job.id()), is_duplicate)
        };
        self.places.iter().map(result).collect()
    }
}

/// Returns a number of seconds, rounded up: a job is there for the whole window of `unique(within = …)`.
fn whole_seconds(keep: Duration) -> u64 {
    keep.as_secs() + u64::from(keep.subsec_nanos() > 0)
}

fn options_of(queue: impl Into<String>, priority: u8, max_attempts: u32) -> InsertOpts {
    let max_attempts = i16::try_from(max_attempts).unwrap_or(i16::MAX);
    InsertOpts::default()
        .with_queue(queue)
        .with_priority(priority.into())
        .with_max_attempts(max_attempts.into())
}

fn refused(error: &dyn std::fmt::Display) -> EnqueueError {
    EnqueueError::store(error.to_string())
}

/// Returns the text of the unique key of a job, if it has one.
fn key_of(job: &EncodedJob, now: SystemTime) -> Result<Option<String>, EnqueueError> {
    let Some(unique) = &job.unique else {
        return Ok(None);
    };
    // The windows of two lengths are not compared, and have to differ.
    let window = unique.within.map(|within| {
        let length = within.as_nanos().max(1);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{}/{length}", since.as_nanos() / length)
    });
    let key = Key {
        function: job.function,
        key: &unique.key,
        window,
    };
    serde_json::to_string(&key)
        .map(Some)
        .map_err(|error| refused(&error))
}

fn item(
    job: EncodedJob,
    key: Option<String>,
    trace: Option<&str>,
) -> Result<InsertManyItem<Arguments>, EnqueueError> {
    let mut members = Members {
        function: Some(job.function.into()),
        keep: job.keep.map(whole_seconds),
        tick: job.tick.map(micros),
        trace: trace.map(Cow::Borrowed),
        ..Members::default()
    };
    if !job.notify.is_empty() {
        let targets = to_raw_value(&job.notify).map_err(|error| refused(&error))?;
        members.notify = Some(targets);
    }
    let mut options = options_of(job.queue, job.priority, job.max_attempts);
    if let Some(at) = start_of(job.start)? {
        options =
            options.with_scheduled_at(Timestamp::try_from(at).map_err(|error| refused(&error))?);
    }
    let arguments = match key {
        None => job.arguments,
        Some(key) => {
            let unique = UniqueOpts::new().with_by_args(true);
            options = options.with_unique(if has_window(&job.unique) {
                unique.with_by_state(NOT_ENDED.into_iter().chain([
                    JobState::Cancelled,
                    JobState::Completed,
                    JobState::Discarded,
                ]))
            } else {
                unique.with_by_state(NOT_ENDED)
            });
            members.arguments = Some(job.arguments.get().to_owned());
            RawValue::from_string(key).map_err(|error| refused(&error))?
        }
    };
    let metadata = members.as_metadata().map_err(|error| refused(&error))?;
    options = options.with_metadata(metadata);
    Ok(InsertManyItem::new(Arguments(arguments), options))
}

/// Inserts the job of a tick, of a function that this process need not have. `tick` is in microseconds since 1970.
pub(super) async fn insert_tick(
    client: &Client,
    function: &str,
    options: &JobOptions,
    tick: i64,
) -> Result<JobId, InsertError> {
    let refused = |error: &dyn std::fmt::Display| InsertError::Refused(refused(error));
    let members = Members {
        function: Some(function.into()),
        keep: options.keep.map(whole_seconds),
        tick: Some(tick),
        ..Members::default()
    };
    let metadata = members.as_metadata().map_err(|error| refused(&error))?;
    let arguments = RawValue::from_string("{}".to_owned()).map_err(|error| refused(&error))?;
    let options = options_of(
        options.queue.clone(),
        options.priority,
        options.max_attempts,
    );
    let item = InsertManyItem::new(Arguments(arguments), options.with_metadata(metadata));
    let inserted = client.insert_many(vec![item]).await?;
    let inserted = inserted
        .first()
        .map(|inserted| JobId::new(inserted.job.id()));
    inserted.ok_or_else(|| refused(&"the engine has stored nothing"))
}

fn has_window(unique: &Option<bgtask::durable::Unique>) -> bool {
    unique
        .as_ref()
        .is_some_and(|unique| unique.within.is_some())
}

fn start_of(start: Start) -> Result<Option<SystemTime>, EnqueueError> {
    Ok(match start {
        Start::Now => None,
        Start::After(Duration::ZERO) => None,
        Start::After(delay) => Some(
            SystemTime::now()
                .checked_add(delay)
                .ok_or_else(|| refused(&"`after` is too long"))?,
        ),
        Start::At(time) => Some(time),
    })
}

/// Inserts jobs in a transaction of the engine's own.
pub(super) async fn insert(
    client: &Client,
    jobs: Vec<EncodedJob>,
    trace: Option<&str>,
) -> Result<Vec<Enqueued>, InsertError> {
    let mut batch = Batch::new(jobs, trace).map_err(InsertError::Refused)?;
    let inserted = client.insert_many(batch.take_items()).await;
    Ok(batch.results(&inserted.map_err(InsertError::from)?))
}

/// Inserts jobs in a transaction of the program's.
pub(super) async fn insert_in<'t, E>(
    client: &'t Client,
    transaction: E,
    jobs: Vec<EncodedJob>,
    trace: Option<&str>,
) -> Result<Vec<Enqueued>, InsertError>
where
    E: DatabaseTransactionExecutor<'t>,
{
    let mut batch = Batch::new(jobs, trace).map_err(InsertError::Refused)?;
    let inserted = client.insert_many(batch.take_items()).tx(transaction).await;
    Ok(batch.results(&inserted.map_err(InsertError::from)?))
}

/// Why jobs were not inserted.
pub(super) enum InsertError {
    Refused(EnqueueError),
    Database(Error),
}

impl From<riverqueue::Error> for InsertError {
    fn from(error: riverqueue::Error) -> Self {
        match error {
            riverqueue::Error::Database(error) => InsertError::Database(error),
            // Found before anything was written.
            error => InsertError::Refused(refused(&error)),
        }
    }
}
