//! The store of one test: claims jobs on the test's runtime, runs them as calls of its manager, and records their ends.
//! Leaves every transition of a job to `row`.

use super::row::Rows;
use super::schedule::{self, TickStore};
use crate::engine::Shown;
use crate::followup::{Channels, Config};
use crate::jobs::Backend;
use crate::lock;
#[cfg(feature = "live")]
use crate::ticket::Tickets;
use crate::watch::{self, States};
use crate::worker::OnDead;
use bgtask::StopReason;
#[cfg(feature = "live")]
use bgtask::durable::Ticket;
use bgtask::durable::{
    AlreadyOpen, BoxFuture, Canceller, ClaimedJob, CompleteError, EncodedJob, EnqueueError,
    Enqueued, Function, Host, JobError, JobEvent, JobEvents, JobId, JobState, JobStatus,
    NotifyTarget, Progress, Store, Ticks, Verdict,
};
use futures_util::stream;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
#[cfg(feature = "live")]
use std::time::Duration;
use std::time::SystemTime;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The store of one test.
#[derive(Debug)]
pub(crate) struct Memory {
    rows: Mutex<Rows>,
    functions: HashMap<&'static str, Function>,
    /// The functions whose state is provided.
    ready: Mutex<HashSet<&'static str>>,
    /// `None` once the store is closed: the manager owns it, and would never be dropped otherwise.
    host: Mutex<Option<Host>>,
    /// How the tokens of the attempts that run fire.
    running: Mutex<HashMap<JobId, Canceller>>,
    on_dead: Mutex<Option<OnDead>>,
    #[cfg(feature = "live")]
    tickets: Tickets,
    pub(super) channels: Channels,
    /// Notified of each change of a row but a claim: of that, thousands who wait for ends would be woken in vain.
    changed: Notify,
    /// Notified of each change of a row, for those who watch.
    shown: Notify,
    own: Weak<Self>,
}

impl Memory {
    /// Opens a store, and works on its jobs until the shutdown.
    pub(super) fn open(host: &Host) -> Result<Arc<Self>, AlreadyOpen> {
        let functions = host.functions().into_iter().flat_map(|function| {
            let names = [Some(function.name()), function.was()];
            names
                .into_iter()
                .flatten()
                .map(move |name| (name, function))
        });
        let memory = Arc::new_cyclic(|own| Self {
            rows: Mutex::default(),
            functions: functions.collect(),
            ready: Mutex::default(),
            host: Mutex::new(Some(host.clone())),
            running: Mutex::default(),
            on_dead: Mutex::default(),
            #[cfg(feature = "live")]
            tickets: Tickets::of_test(),
            channels: Channels::recording(),
            changed: Notify::new(),
            shown: Notify::new(),
            own: own.clone(),
        });
        host.attach(memory.clone())?;
        for (name, function) in &memory.functions {
            let (name, provided) = (*name, host.provided(*function));
            let memory = memory.clone();
            tokio::spawn(async move {
                provided.await;
                lock(&memory.ready).insert(name);
                memory.note_change();
            });
        }
        tokio::spawn(memory.clone().work(host.stopping()));
        Ok(memory)
    }

    /// Claims and starts jobs until the shutdown is requested.
    async fn work(self: Arc<Self>, stopping: impl Future<Output = ()>) {
        let mut stopping = pin!(stopping);
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the rows are read: a change after that wakes.
            changed.as_mut().enable();
            let next = loop {
                match self.claim() {
                    Ok(id) => self.clone().start(id),
                    Err(next) => break next,
                }
            };
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stopping => return,
                () = &mut changed => {}
                () = due => {}
            }
        }
    }

    fn claim(&self) -> Result<JobId, Option<Instant>> {
        let ready = lock(&self.ready);
        self.rows()
            .claim(Instant::now(), |function| ready.contains(function))
    }

    /// Starts an attempt of a claimed job.
    fn start(self: Arc<Self>, id: JobId) {
        // The watchers of the job see that it runs.
        self.shown.notify_waiters();
        let (Some(host), Some((claimed, arguments, function))) = (self.host(), self.claimed(id))
        else {
            return;
        };
        let claim = claimed.claim;
        // Decoding is the user's code: no lock is held.
        let attempt = match host.run(function, &arguments, Arc::new(claimed)) {
            Ok(attempt) => attempt,
            Err(reason) => {
                // Without the reason, which may quote an argument.
                tracing::error!(target: "bgtask", job = id.get(), name = function.name(),
                    "a job is parked: its arguments do not decode; the `last_error` of its status says why");
                self.rows().park(id, claim, reason);
                return self.note_change();
            }
        };
        let canceller = attempt.canceller();
        lock(&self.running).insert(id, canceller.clone());
        // A cancellation that came before the line above has found no attempt.
        if self.rows().get(id).is_some_and(|row| row.is_cancelling) {
            canceller.cancel(StopReason::Cancelled);
        }
        tokio::spawn(async move {
            let verdict = attempt.end().await;
            self.record(id, claim, verdict);
        });
    }

    fn claimed(self: &Arc<Self>, id: JobId) -> Option<(Claimed, Box<RawValue>, Function)> {
        let rows = self.rows();
        let row = rows.get(id)?;
        let claimed = Claimed {
            memory: self.clone(),
            id,
            claim: row.claim,
            queue: row.queue.clone(),
            attempt: row.attempts,
            max_attempts: row.max_attempts,
            tick: row.tick,
        };
        let function = self.functions.get(row.function)?;
        Some((claimed, row.arguments.clone(), *function))
    }

    fn record(&self, id: JobId, claim: u64, verdict: Verdict) {
        lock(&self.running).remove(&id);
        let now = Instant::now();
        // Dropped if the attempt has completed its job itself, or the test is over.
        let wall = self.wall();
        let is_recorded = {
            let mut rows = self.rows();
            let is_recorded = rows.record(id, claim, verdict, now);
            rows.follow(id, now, wall);
            is_recorded
        };
        let job = self.rows().status(id, now);
        let hook = lock(&self.on_dead).clone();
        if let (true, Ok(job), Some(hook)) = (is_recorded, job, hook)
            && job.state == JobState::Dead
        {
            (hook.0)(&job);
        }
        self.note_change();
    }

    /// Takes the hook and the channels of the program under test.
    pub(crate) fn set_up(&self, hook: Option<OnDead>, channels: Config) {
        *lock(&self.on_dead) = hook;
        self.channels.add(channels);
    }

    /// Returns the time that the test has set.
    pub(super) fn wall(&self) -> SystemTime {
        self.host().map_or_else(SystemTime::now, |host| host.now())
    }

    pub(super) fn note_change(&self) {
        self.changed.notify_waiters();
        self.shown.notify_waiters();
        if let Some(host) = self.host() {
            host.jobs_changed();
        }
    }

    /// Held for a transition, never across an await or code of the user's.
    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        lock(&self.rows)
    }

    /// Waits for a state of a job that is newer than this version.
    async fn next_state(
        &self,
        id: JobId,
        last: Option<u64>,
        with_value: bool,
    ) -> Result<Arc<Shown>, JobError> {
        loop {
            let mut changed = pin!(self.shown.notified());
            // Before the row is read: a change after that wakes.
            changed.as_mut().enable();
            let next_progress = {
                let (mut rows, now) = (self.rows(), Instant::now());
                let event = JobEvent::new(&rows.status(id, now)?);
                if last.is_none_or(|last| event.version > last) {
                    // Whoever sees the end has awaited it.
                    let ended = rows.ended(id, now)?.filter(|_| with_value);
                    return Ok(Arc::new(Shown { event, ended }));
                }
                rows.get(id).and_then(|row| row.next_progress_at())
            };
            if self.host().is_none() {
                return Err(JobError::store("the test is over".to_owned()));
            }
            let progressed = async {
                match next_progress {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = progressed => {}
            }
        }
    }

    fn host(&self) -> Option<Host> {
        lock(&self.host).clone()
    }

    /// Stores jobs at once.
    pub(crate) fn insert(&self, jobs: Vec<EncodedJob>) -> Result<Vec<Enqueued>, EnqueueError> {
        let host = self.host().ok_or(EnqueueError::Closed)?;
        self.insert_at(jobs, host.now())
    }

    /// Stores jobs at once, at this time of the wall clock.
    fn insert_at(
        &self,
        jobs: Vec<EncodedJob>,
        wall: SystemTime,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        if self.host().is_none() {
            return Err(EnqueueError::Closed);
        }
        let now = Instant::now();
        let enqueued = {
            let mut rows = self.rows();
            let jobs = jobs.into_iter();
            jobs.map(|job| rows.insert(job, now, wall)).collect()
        };
        self.note_change();
        Ok(enqueued)
    }
}

impl TickStore for Memory {
    fn store_at(&self, job: EncodedJob, wall: SystemTime) -> Option<JobId> {
        let stored = self.insert_at(vec![job], wall).ok()?;
        stored.first().map(|job| job.id)
    }

    async fn until_ended(&self, id: JobId) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the row is read: a change after that wakes.
            changed.as_mut().enable();
            let status = self.rows().status(id, Instant::now());
            let has_ended = status.map_or(true, |status| status.state.has_ended());
            if has_ended || self.host().is_none() {
                return;
            }
            changed.await;
        }
    }
}

impl Store for Memory {
    fn enqueue(&self, jobs: Vec<EncodedJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError>> {
        Box::pin(async move { self.insert(jobs) })
    }

    fn status(&self, id: JobId) -> BoxFuture<'_, Result<JobStatus, JobError>> {
        Box::pin(async move { self.rows().status(id, Instant::now()) })
    }

    fn outcome(&self, id: JobId) -> BoxFuture<'_, Result<Box<RawValue>, JobError>> {
        Box::pin(async move {
            loop {
                let mut changed = pin!(self.changed.notified());
                // Before the row is read: a change after that wakes.
                changed.as_mut().enable();
                if let Some(ended) = self.rows().ended(id, Instant::now())? {
                    return ended;
                }
                if self.host().is_none() {
                    return Err(JobError::store("the test is over".to_owned()));
                }
                changed.await;
            }
        })
    }

    fn watch(&self, id: JobId, after: Option<u64>) -> JobEvents {
        watch::events(self.states(id, false), after)
    }

    #[cfg(feature = "live")]
    fn ticket(&self, id: JobId, ttl: Duration, with_value: bool) -> Result<Ticket, JobError> {
        self.tickets.sign(id, ttl, with_value, self.wall())
    }

    fn cancel(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(async move {
            let (now, wall) = (Instant::now(), self.wall());
            let cancelled = {
                let mut rows = self.rows();
                let cancelled = rows.cancel(id, now)?;
                rows.follow(id, now, wall);
                cancelled
            };
            if cancelled == Some(true)
                && let Some(canceller) = lock(&self.running).get(&id).cloned()
            {
                canceller.cancel(StopReason::Cancelled);
            }
            self.note_change();
            Ok(cancelled.is_some())
        })
    }

    fn retry_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(async move {
            let is_available = self.rows().retry_now(id, Instant::now())?;
            self.note_change();
            Ok(is_available)
        })
    }

    fn check_target(&self, target: &NotifyTarget) -> Result<(), String> {
        self.channels.check(target)
    }

    fn schedule(&self, ticks: Ticks) {
        if let (Some(memory), Some(host)) = (self.own.upgrade(), self.host()) {
            let stopping = host.stopping();
            tokio::spawn(async move {
                tokio::select! {
                    () = schedule::tick(&*memory, &ticks) => {}
                    () = stopping => {}
                }
            });
        }
    }

    fn close(&self, _: std::time::Instant) {
        let unseen = {
            let mut rows = self.rows();
            rows.return_all();
            rows.unseen()
        };
        let host = lock(&self.host).take();
        if let Some(host) = host {
            for job in unseen {
                if let Some(function) = self.functions.get(job.function) {
                    host.fail_test(*function, job.failure, &job.message);
                }
            }
        }
        self.changed.notify_waiters();
        self.shown.notify_waiters();
    }

    fn unfinished(&self) -> Vec<String> {
        let mut rows = self.rows();
        let all = rows.all(Instant::now()).into_iter();
        all.filter(|job| {
            !job.state.has_ended()
                && job.state != JobState::Parked
                && !rows.paused.contains(&job.queue)
        })
        .map(|job| {
            let error = job.last_error.map_or_else(String::new, |error| {
                format!("; its last attempt failed: {error}")
            });
            format!(
                "job {} of `{}`, {}, {} of {} attempts begun{error}",
                job.id, job.function, job.state, job.attempts, job.max_attempts
            )
        })
        .collect()
    }
}

/// A claimed job, as its attempt has it.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) memory: Arc<Memory>,
    id: JobId,
    claim: u64,
    queue: String,
    attempt: u32,
    max_attempts: u32,
    tick: Option<SystemTime>,
}

impl Claimed {
    /// Completes the job at once.
    pub(crate) fn complete(&self, output: Box<RawValue>) -> Result<(), CompleteError> {
        let (now, wall) = (Instant::now(), self.memory.wall());
        let completed = {
            let mut rows = self.memory.rows();
            let completed = rows.complete(self.id, self.claim, output, now);
            rows.follow(self.id, now, wall);
            completed
        };
        self.memory.note_change();
        completed
    }
}

impl ClaimedJob for Claimed {
    fn id(&self) -> JobId {
        self.id
    }

    fn queue(&self) -> &str {
        &self.queue
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    fn tick(&self) -> Option<SystemTime> {
        self.tick
    }

    fn progress(&self, progress: Progress) {
        self.memory
            .rows()
            .note_progress(self.id, self.claim, progress, Instant::now());
        self.memory.note_change();
    }

    fn store(&self) -> Arc<dyn Store> {
        self.memory.clone()
    }
}

impl Backend for Memory {
    fn channels(&self) -> &Channels {
        &self.channels
    }

    #[cfg(feature = "live")]
    fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    fn states(&self, id: JobId, with_value: bool) -> States {
        let memory = self.own.upgrade();
        Box::pin(stream::unfold(
            memory.map(|memory| (memory, None)),
            move |state| async move {
                let (memory, last) = state?;
                let shown = memory.next_state(id, last, with_value).await;
                let version = shown.as_ref().ok().and_then(|shown| {
                    let event = &shown.event;
                    (!event.is_end()).then_some(event.version)
                });
                Some((shown, version.map(|version| (memory, Some(version)))))
            },
        ))
    }
}
