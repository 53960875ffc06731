//! The rows of the kit's store and every transition between the states of a job.
//! Pure data: knows no tasks, no runtime and no functions.

use crate::engine::{DELIVERS, DELIVERY_ATTEMPTS, NOTIFY};
use crate::followup::{self, JobEnd};
use crate::holding::PROGRESS;
use crate::operate::{ANOTHER_HAS_THE_KEY, Edit, Filter};
use bgtask::durable::{
    CompleteError, EncodedJob, Enqueued, Failure, JobError, JobId, JobState, JobStatus,
    NotifyTarget, Progress, Start, Verdict,
};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// How long a job stays that is done or cancelled, and one that is dead: as in a database.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One job.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) function: &'static str,
    pub(super) arguments: Box<RawValue>,
    pub(super) queue: String,
    pub(super) priority: u8,
    pub(super) attempts: u32,
    pub(super) max_attempts: u32,
    pub(super) keep: Duration,
    pub(super) state: JobState,
    pub(super) stored: Instant,
    /// When its last attempt began.
    pub(super) claimed: Option<Instant>,
    /// Its failed attempts: when they ended, their numbers and messages.
    pub(super) failed: Vec<(Instant, u32, String)>,
    /// When it may run.
    pub(super) due: Instant,
    /// When it ended.
    pub(super) ended: Option<Instant>,
    /// Grows with each claim: an attempt with another number no longer holds the job.
    pub(super) claim: u64,
    pub(super) unique: Option<Key>,
    /// The tick of a schedule that it is the job of.
    pub(super) tick: Option<SystemTime>,
    failure: Option<Failure>,
    pub(super) message: Option<String>,
    pub(super) output: Option<Box<RawValue>>,
    progress: Option<Progress>,
    /// When the progress was stored.
    progressed: Option<Instant>,
    /// A progress whose time to be stored has not come.
    next_progress: Option<Progress>,
    version: u64,
    pub(super) is_cancelling: bool,
    /// Its end was awaited.
    is_seen: bool,
    /// The targets that its end is delivered to.
    notify: Vec<NotifyTarget>,
    /// It has ended, and its deliveries are not stored yet.
    is_to_follow: bool,
}

/// The function and the key of a unique job, with the number of its window.
type Key = (&'static str, String, Option<u128>);

impl Row {
    fn set(&mut self, state: JobState) {
        self.state = state;
        self.version += 1;
    }

    fn end(&mut self, state: JobState, now: Instant) {
        self.set(state);
        self.ended = Some(now);
        self.is_cancelling = false;
        self.is_to_follow = !self.notify.is_empty();
    }

    fn as_end(&self, id: JobId, wall: SystemTime) -> JobEnd {
        JobEnd {
            job: id,
            function: self.function.to_owned(),
            state: self.state,
            attempt: self.attempts,
            version: self.version,
            at: humantime::format_rfc3339_millis(wall).to_string(),
            error: self
                .message
                .clone()
                .filter(|_| self.state == JobState::Dead),
            value: None,
            store: "test".to_owned(),
        }
    }

    /// Returns a job that may run at once, has not been claimed, and has the default of each option.
    fn new(function: &'static str, arguments: Box<RawValue>, queue: String, now: Instant) -> Self {
        Self {
            function,
            arguments,
            queue,
            priority: 1,
            attempts: 0,
            max_attempts: 1,
            keep: KEEP,
            state: JobState::Waiting,
            stored: now,
            claimed: None,
            failed: Vec::new(),
            due: now,
            ended: None,
            claim: 0,
            unique: None,
            tick: None,
            failure: None,
            message: None,
            output: None,
            progress: None,
            progressed: None,
            next_progress: None,
            version: 0,
            is_cancelling: false,
            is_seen: false,
            notify: Vec::new(),
            is_to_follow: false,
        }
    }

    /// Stores the next progress if its time has come, or if this is the end of the attempt.
    fn store_progress(&mut self, now: Instant, is_last: bool) {
        let Some(due) = self.progressed.map(|stored| stored + PROGRESS) else {
            return;
        };
        if (due <= now || is_last)
            && let Some(progress) = self.next_progress.take()
        {
            self.progress = Some(progress);
            self.progressed = Some(due.min(now));
            self.version += 1;
        }
    }

    /// Returns when the next progress is to be stored, if there is one.
    pub(super) fn next_progress_at(&self) -> Option<Instant> {
        let stored = self.next_progress.as_ref().and(self.progressed)?;
        Some(stored + PROGRESS)
    }

    fn is_kept(&self, now: Instant) -> bool {
        let keep = match self.state {
            JobState::Dead => KEEP_DEAD,
            _ => self.keep,
        };
        self.ended.is_none_or(|ended| now - ended < keep)
    }

    /// Returns whether this job keeps another one with its key from being stored.
    fn blocks(&self) -> bool {
        match &self.unique {
            // One a window, whatever has become of it.
            Some((_, _, Some(_))) => true,
            Some((_, _, None)) => !self.state.has_ended(),
            None => false,
        }
    }
}

/// A dead job that nobody has awaited.
pub(super) struct Unseen {
    pub(super) function: &'static str,
    pub(super) failure: Failure,
    pub(super) message: String,
}

/// All jobs of one test.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<i64, Row>,
    last_id: i64,
    pub(super) paused: BTreeSet<String>,
}

impl Rows {
    /// Stores a job, unless one with its key is there.
    pub(super) fn insert(&mut self, job: EncodedJob, now: Instant, wall: SystemTime) -> Enqueued {
        let unique = job.unique.map(|unique| {
            let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
            let window = |length: Duration| since.as_nanos() / length.as_nanos().max(1);
            (job.function, unique.key, unique.within.map(window))
        });
        if unique.is_some()
            && let Some((id, _)) = self
                .rows
                .iter()
                .find(|(_, row)| row.unique == unique && row.blocks() && row.is_kept(now))
        {
            return Enqueued::new(JobId::new(*id), true);
        }
        let wait = match job.start {
            Start::Now => Duration::ZERO,
            Start::After(delay) => delay,
            Start::At(time) => time.duration_since(wall).unwrap_or_default(),
        };
        self.last_id += 1;
        let row = Row {
            priority: job.priority,
            max_attempts: job.max_attempts,
            keep: job.keep.unwrap_or(KEEP),
            state: if wait.is_zero() {
                JobState::Waiting
            } else {
                JobState::Scheduled
            },
            due: now + wait,
            unique,
            tick: job.tick,
            notify: job.notify,
            ..Row::new(job.function, job.arguments, job.queue.into_owned(), now)
        };
        self.rows.insert(self.last_id, row);
        Enqueued::new(JobId::new(self.last_id), false)
    }

    /// Stores a delivery for each target of a job that has just ended, as the triggers of a database do in the transaction of an end.
    pub(super) fn follow(&mut self, id: JobId, now: Instant, wall: SystemTime) {
        let Some(row) = self.rows.get_mut(&id.get()) else {
            return;
        };
        if !std::mem::take(&mut row.is_to_follow) {
            return;
        }
        let end = row.as_end(id, wall);
        for arguments in followup::arguments(&end, row.output.as_deref(), &row.notify) {
            self.last_id += 1;
            let delivery = Row {
                max_attempts: DELIVERY_ATTEMPTS,
                ..Row::new(DELIVERS, arguments, NOTIFY.to_owned(), now)
            };
            self.rows.insert(self.last_id, delivery);
        }
    }

    /// Makes due jobs available, and claims the next job of these functions. `Err` is when the next one is due, if there is one.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<JobId, Option<Instant>> {
        let mut next: Option<Instant> = None;
        for row in self.rows.values_mut() {
            if matches!(row.state, JobState::Scheduled | JobState::Retrying) {
                if row.due <= now {
                    row.set(JobState::Waiting);
                } else {
                    next = Some(next.map_or(row.due, |next| next.min(row.due)));
                }
            }
        }
        let paused = &self.paused;
        let first = self
            .rows
            .iter_mut()
            .filter(|(_, row)| {
                row.state == JobState::Waiting
                    && is_known(row.function)
                    && !paused.contains(&row.queue)
            })
            .min_by_key(|(id, row)| (row.priority, row.due, **id));
        let Some((id, row)) = first else {
            return Err(next);
        };
        row.set(JobState::Running);
        row.attempts += 1;
        row.claim += 1;
        row.claimed = Some(now);
        Ok(JobId::new(*id))
    }

    /// Records the end of an attempt. Returns `false` if the attempt no longer holds its job.
    pub(super) fn record(&mut self, id: JobId, claim: u64, verdict: Verdict, now: Instant) -> bool {
        let Some(row) = self.held(id, claim) else {
            return false;
        };
        row.store_progress(now, true);
        if let Verdict::Retry { message, .. } | Verdict::Dead { message, .. } = &verdict {
            row.failed.push((now, row.attempts, message.clone()));
        }
        match verdict {
            Verdict::Done(output) => {
                row.output = Some(output);
                row.end(JobState::Done, now);
            }
            Verdict::Retry {
                failure,
                message,
                pause,
            } => {
                (row.failure, row.message) = (Some(failure), Some(message));
                if row.is_cancelling {
                    row.end(JobState::Cancelled, now);
                } else {
                    row.due = now + pause;
                    row.set(JobState::Retrying);
                }
            }
            Verdict::Dead { failure, message } => {
                (row.failure, row.message) = (Some(failure), Some(message));
                row.end(JobState::Dead, now);
            }
            Verdict::Postponed { pause } => {
                row.attempts -= 1;
                row.due = now + pause;
                row.set(JobState::Scheduled);
            }
            Verdict::Cancelled => row.end(JobState::Cancelled, now),
            _ => {
                row.attempts -= 1;
                row.set(JobState::Waiting);
            }
        }
        true
    }

    /// Parks a job whose arguments do not decode.
    pub(super) fn park(&mut self, id: JobId, claim: u64, reason: String) {
        if let Some(row) = self.held(id, claim) {
            row.attempts -= 1;
            row.message = Some(reason);
            row.set(JobState::Parked);
        }
    }

    /// Completes a job on behalf of the attempt that holds it.
    pub(super) fn complete(
        &mut self,
        id: JobId,
        claim: u64,
        output: Box<RawValue>,
        now: Instant,
    ) -> Result<(), CompleteError> {
        if self.record(id, claim, Verdict::Done(output), now) {
            return Ok(());
        }
        let is_ours = self
            .rows
            .get(&id.get())
            .is_some_and(|row| row.claim == claim && row.state == JobState::Done);
        Err(if is_ours {
            CompleteError::AlreadyCompleted
        } else {
            CompleteError::Lost
        })
    }

    pub(super) fn note_progress(
        &mut self,
        id: JobId,
        claim: u64,
        progress: Progress,
        now: Instant,
    ) {
        if let Some(row) = self.held(id, claim) {
            row.store_progress(now, false);
            // The first one is stored at once.
            row.progressed.get_or_insert(now - PROGRESS);
            row.next_progress = Some(progress);
            row.store_progress(now, false);
        }
    }

    /// Cancels a job. `None` if it had ended. `Some(true)` if it runs: its attempt is to be told.
    pub(super) fn cancel(&mut self, id: JobId, now: Instant) -> Result<Option<bool>, JobError> {
        let row = self.row_mut(id, now)?;
        if row.state.has_ended() {
            return Ok(None);
        }
        if row.state == JobState::Running {
            row.is_cancelling = true;
            return Ok(Some(true));
        }
        row.end(JobState::Cancelled, now);
        Ok(Some(false))
    }

    /// Makes a job available. Returns `false` if it waits, runs, is parked or is done.
    ///
    /// # Errors
    /// If another job has its key by now.
    pub(super) fn retry_now(&mut self, id: JobId, now: Instant) -> Result<bool, JobError> {
        let row = self.row(id, now)?;
        let is_anew = match row.state {
            JobState::Dead | JobState::Cancelled => true,
            JobState::Scheduled | JobState::Retrying => false,
            _ => return Ok(false),
        };
        let has_lost_its_key = row.unique.is_some()
            && self.rows.iter().any(|(other, job)| {
                *other != id.get() && job.unique == row.unique && !job.state.has_ended()
            });
        if has_lost_its_key {
            return Err(JobError::store(ANOTHER_HAS_THE_KEY.to_owned()));
        }
        let row = self.row_mut(id, now)?;
        if is_anew {
            row.attempts = 0;
        }
        row.ended = None;
        row.due = now;
        row.set(JobState::Waiting);
        Ok(true)
    }

    /// Changes a job that waits for its turn or for a time. Returns whether it was one.
    pub(super) fn edit(
        &mut self,
        id: JobId,
        edit: Edit,
        now: Instant,
        wall: SystemTime,
    ) -> Result<bool, JobError> {
        let row = self.row_mut(id, now)?;
        if !matches!(
            row.state,
            JobState::Waiting | JobState::Scheduled | JobState::Retrying
        ) {
            return Ok(false);
        }
        row.priority = edit.priority.unwrap_or(row.priority);
        let wait = edit
            .at
            .map(|at| at.duration_since(wall).unwrap_or_default());
        let state = match (wait, row.state) {
            (None, state) | (Some(Duration::ZERO), state @ JobState::Waiting) => state,
            (Some(wait), state) => {
                row.due = now + wait;
                match state {
                    _ if wait.is_zero() => JobState::Waiting,
                    JobState::Waiting if row.attempts == 0 => JobState::Scheduled,
                    JobState::Waiting => JobState::Retrying,
                    state => state,
                }
            }
        };
        row.set(state);
        Ok(true)
    }

    /// Deletes a job that does not run. Returns `false` if it runs.
    pub(super) fn delete(&mut self, id: JobId, now: Instant) -> Result<bool, JobError> {
        if self.row(id, now)?.state == JobState::Running {
            return Ok(false);
        }
        self.rows.remove(&id.get());
        Ok(true)
    }

    /// Returns all jobs to their queues: the test is over.
    pub(super) fn return_all(&mut self) {
        for row in self.rows.values_mut() {
            if row.state == JobState::Running {
                row.claim += 1;
                row.attempts -= 1;
                row.set(JobState::Waiting);
            }
        }
    }

    /// Returns the end of a job, or `None` if it has not ended.
    pub(super) fn ended(
        &mut self,
        id: JobId,
        now: Instant,
    ) -> Result<Option<Result<Box<RawValue>, JobError>>, JobError> {
        let row = self.row_mut(id, now)?;
        let attempts = row.attempts;
        let ended = match row.state {
            JobState::Done => Ok(match &row.output {
                Some(output) => output.clone(),
                None => Box::default(),
            }),
            JobState::Cancelled => Err(JobError::cancelled(attempts)),
            JobState::Dead => {
                let message = row.message.clone().unwrap_or_default();
                Err(match row.failure {
                    Some(Failure::Panicked) => JobError::panicked(message, attempts),
                    Some(Failure::TimedOut) => JobError::timed_out(attempts),
                    _ => JobError::failed(message, attempts),
                })
            }
            _ => return Ok(None),
        };
        row.is_seen = true;
        Ok(Some(ended))
    }

    pub(super) fn status(&mut self, id: JobId, now: Instant) -> Result<JobStatus, JobError> {
        let row = self.row_mut(id, now)?;
        row.store_progress(now, false);
        let mut status = JobStatus::new(id, row.function.to_owned(), row.queue.clone(), row.state);
        status.attempts = row.attempts;
        status.max_attempts = row.max_attempts;
        status.last_error = row.message.clone();
        status.progress = row.progress.clone();
        status.version = row.version;
        status.is_cancelling = row.is_cancelling;
        Ok(status)
    }

    /// Returns all jobs, the oldest first.
    pub(super) fn all(&mut self, now: Instant) -> Vec<JobStatus> {
        let ids: Vec<_> = self.rows.keys().copied().collect();
        ids.into_iter()
            .filter_map(|id| self.status(JobId::new(id), now).ok())
            .collect()
    }

    /// Returns the jobs of a filter, the latest first.
    pub(super) fn list(&mut self, filter: &Filter, now: Instant) -> Vec<JobStatus> {
        let is_meant = |job: &JobStatus| {
            filter
                .function
                .as_ref()
                .is_none_or(|name| *name == job.function)
                && filter.queue.as_ref().is_none_or(|name| *name == job.queue)
                && filter.state.is_none_or(|state| state == job.state)
                && filter.before.is_none_or(|before| job.id < before)
        };
        let all = self.all(now).into_iter().rev();
        all.filter(is_meant).take(filter.limit as usize).collect()
    }

    /// Deletes the jobs whose time is over. Returns their number.
    pub(super) fn prune(&mut self, now: Instant) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, row| row.is_kept(now));
        (before - self.rows.len()) as u64
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Row> {
        self.rows.get(&id.get())
    }

    /// Returns the dead jobs whose end was not awaited.
    pub(super) fn unseen(&self) -> Vec<Unseen> {
        let dead = self.rows.values();
        dead.filter(|row| row.state == JobState::Dead && !row.is_seen)
            .filter_map(|row| {
                Some(Unseen {
                    function: row.function,
                    failure: row.failure?,
                    message: row.message.clone().unwrap_or_default(),
                })
            })
            .collect()
    }

    fn row(&self, id: JobId, now: Instant) -> Result<&Row, JobError> {
        match self.rows.get(&id.get()) {
            Some(row) if row.is_kept(now) => Ok(row),
            _ if id.get() >= 1 && id.get() <= self.last_id => Err(JobError::Gone),
            _ => Err(JobError::NotFound),
        }
    }

    fn row_mut(&mut self, id: JobId, now: Instant) -> Result<&mut Row, JobError> {
        self.row(id, now)?;
        self.rows.get_mut(&id.get()).ok_or(JobError::Gone)
    }

    /// Returns a job, if this claim of it holds.
    fn held(&mut self, id: JobId, claim: u64) -> Option<&mut Row> {
        let row = self.rows.get_mut(&id.get())?;
        (row.state == JobState::Running && row.claim == claim).then_some(row)
    }
}
