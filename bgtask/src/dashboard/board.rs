//! The state that all dashboards of one manager share: the records, and one sample at a time for all open pages.
//! Owns the sampling and the frames of the stream; of HTTP it knows only the format of an event.

use super::records::Records;
use super::timeline::{STEP, Timeline};
use super::view::{self, Snapshot};
use crate::handler;
use crate::inspect::snapshot::oldest_tasks;
use crate::policy::HandlerStats;
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use crate::util::spawn::spawn_blocking;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use axum::body::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::sleep;

/// How many calls are listed that wait for their time.
const SCHEDULED: usize = 50;

/// How many live tasks are shown. The others are counted.
const TASKS: usize = 100;

/// The time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// The sampler rests at least this many times as long as its sample took. With millions of live tasks a sample takes longer, so
/// samples are less frequent.
const REST: u32 = 20;

/// A frame of the stream.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// No sample has been taken yet.
    None,
    /// One event of the stream.
    Shown { event: Bytes, phase: Phase },
    /// No frame follows.
    Closed,
}

pub(crate) struct Board {
    /// Weak, so that a dashboard does not keep the manager and its runtime alive.
    tracker: Weak<Tracker>,
    records: Arc<Records>,
    timeline: Mutex<Timeline>,
    since: SystemTime,
    samples: AtomicU64,
    /// The latest sample. The lock is held while a sample is taken, even if no client waits for it any more, so that no two are
    /// taken at once.
    latest: Arc<tokio::sync::Mutex<Option<Sample>>>,
    /// The runtime that the sampler runs on: the manager's, or that of a page with a listener of its own, which no work can
    /// block.
    home: Mutex<Handle>,
    frames: watch::Sender<Frame>,
    /// Whether the sampler runs. Locked while a page subscribes and while the sampler decides to end, so that no page subscribes
    /// to a sampler that is ending.
    sampling: Mutex<bool>,
}

/// The state of one moment, in the form in which we send it.
#[derive(Clone)]
pub(crate) struct Sample {
    /// JSON on one line: every line break in it is escaped.
    pub(crate) json: Bytes,
    phase: Phase,
    /// By tokio's clock, which the runtime's timers follow.
    taken: tokio::time::Instant,
}

impl Board {
    /// Returns the board of a manager. The first use creates it and begins its records.
    ///
    /// # Panics
    /// Panics if the manager's runtime has no timer.
    pub(crate) fn for_router(tracker: &Arc<Tracker>) -> Arc<Self> {
        let runtime = &tracker.shared.runtime;
        // Detects a runtime without a timer here. Otherwise the page would open and never update.
        let entered = runtime.enter();
        drop(sleep(Duration::ZERO));
        drop(entered);
        Self::new(tracker, runtime)
    }

    /// Returns the board for a page with a listener of its own. From now on, the sampler runs on `home`.
    pub(crate) fn for_server(tracker: &Arc<Tracker>, home: &Handle) -> Arc<Self> {
        let board = Self::new(tracker, home);
        *lock(&board.home) = home.clone();
        board
    }

    fn new(tracker: &Arc<Tracker>, home: &Handle) -> Arc<Self> {
        let shared = &tracker.shared;
        let board = shared.board.get_or_init(|| {
            let board = Arc::new(Self {
                tracker: Arc::downgrade(tracker),
                records: Arc::new(Records::new()),
                timeline: Mutex::new(Timeline::new(now(), &tracker.totals())),
                since: SystemTime::now(),
                samples: AtomicU64::new(0),
                latest: Arc::default(),
                home: Mutex::new(home.clone()),
                frames: watch::Sender::new(Frame::None),
                sampling: Mutex::new(false),
            });
            board.records.observe(&shared.hooks);
            home.spawn(keep_time(Arc::downgrade(&board)));
            board
        });
        match board.clone().downcast() {
            Ok(board) => board,
            Err(_) => unreachable!("only boards are stored there"),
        }
    }

    /// Moves the sampler back to the manager's runtime, because `home` ends.
    pub(crate) fn leave(&self, home: &Handle) {
        let Some(tracker) = self.tracker.upgrade() else {
            return;
        };
        let mut current = lock(&self.home);
        if current.id() == home.id() {
            *current = tracker.shared.runtime.clone();
        }
    }

    /// Returns the latest sample if it is younger than a second and the shutdown is still in the same phase; otherwise takes one.
    /// Returns `None` if the manager is gone.
    pub(crate) async fn shared_sample(self: &Arc<Self>) -> Option<Sample> {
        let latest = self.latest.clone().lock_owned().await;
        if let Some(sample) = &*latest
            && sample.taken.elapsed() < PERIOD
            && self.phase() == Some(sample.phase)
        {
            return Some(sample.clone());
        }
        self.take_sample(latest).await
    }

    /// Takes a sample on the blocking pool: a million live tasks take long, and the caller is a worker of the server.
    async fn take_sample(
        self: &Arc<Self>,
        mut latest: OwnedMutexGuard<Option<Sample>>,
    ) -> Option<Sample> {
        let board = self.clone();
        // The lock moves along, so that a client that hangs up cannot start a second sample beside this one.
        let taken = spawn_blocking(&Handle::current(), "bgtask::dashboard", move || {
            *latest = board.sample();
            latest.clone()
        });
        taken.ok()?.await.ok().flatten()
    }

    fn sample(&self) -> Option<Sample> {
        // Read the phase first, so that a sample is never labelled with a later phase than the one it shows.
        let (phase, taken) = (self.phase()?, tokio::time::Instant::now());
        let json = serde_json::to_vec(&self.snapshot()?).ok()?;
        Some(Sample {
            json: json.into(),
            phase,
            taken,
        })
    }

    /// Returns the current state, or `None` if the manager is gone.
    fn snapshot(&self) -> Option<Snapshot> {
        let tracker = self.tracker.upgrade()?;
        let shared = &tracker.shared;
        let shutdown = view::Shutdown::new(shared);
        let totals = tracker.totals();
        // Relaxed: the number only distinguishes samples.
        let sample = self.samples.fetch_add(1, Ordering::Relaxed) + 1;
        let mut snapshot = Snapshot::new(sample, self.since, shutdown, totals);

        let (oldest, others) = oldest_tasks(&tracker, Instant::now(), TASKS);
        snapshot.tasks = view::Tasks {
            total: oldest.len() as u64 + others.count(),
            oldest: oldest.iter().map(view::Task::new).collect(),
        };
        let mut running: HashMap<&str, u64> = others.0.into_iter().collect();
        for task in &oldest {
            *running.entry(task.name).or_default() += 1;
        }

        let policies = shared.policies.handler_stats();
        // Sorted by name. Several blocks may share a name.
        let of_function = |name: &str| -> &[HandlerStats] {
            let start = policies.partition_point(|stats| stats.name < name);
            let count = policies[start..].partition_point(|stats| stats.name == name);
            &policies[start..start + count]
        };
        let mut handlers = handler::handlers();
        // The page shows one row per name: blocks may share a name, and the start-up check reports functions that do.
        handlers.dedup_by_key(|handler| handler.name());
        let functions = handlers.iter().map(|handler| {
            let name = handler.name();
            let running = running.get(name).copied().unwrap_or(0);
            view::Function::new(
                handler,
                running,
                &self.records.sums(name),
                of_function(name),
            )
        });
        snapshot.functions = functions.collect();

        let failures = self.records.failures();
        snapshot.failures.total = failures.total;
        // Copied under the lock, converted after it.
        let kept = failures.kept.clone();
        drop(failures);
        let latest = kept.iter().rev().map(view::OneFailure::new);
        snapshot.failures.latest = latest.collect();

        let schedules = shared.policies.schedule_infos();
        let schedules = schedules.iter().map(|info| {
            let handler = handlers.iter().find(|handler| handler.name() == info.name);
            let options = handler.map(|handler| handler.options().to_string());
            view::Schedule::new(info, options.unwrap_or_default())
        });
        snapshot.schedules = schedules.collect();
        snapshot.scheduled = view::Scheduled::new(&shared.policies.later.waiting(SCHEDULED));

        let mut timeline = self.timeline();
        timeline.advance(now(), &totals);
        snapshot.timeline = view::Timeline::new(timeline.steps(&totals));
        drop(timeline);
        Some(snapshot)
    }

    /// Returns the frames from now on. While a receiver lives, the sampler runs.
    pub(crate) fn watch(self: &Arc<Self>) -> watch::Receiver<Frame> {
        if self.tracker.strong_count() == 0 {
            return watch::channel(Frame::Closed).1;
        }
        let mut sampling = lock(&self.sampling);
        let frames = self.frames.subscribe();
        let was_sampling = std::mem::replace(&mut *sampling, true);
        if !was_sampling {
            self.frames.send_replace(Frame::None);
        }
        // Before the spawn: a runtime that has ended drops the sampler immediately, and its drop takes the lock.
        drop(sampling);
        if !was_sampling {
            let sampler = Sampler {
                board: self.clone(),
                has_ended: false,
            };
            let home = lock(&self.home).clone();
            home.spawn(sampler.run());
        }
        frames
    }

    async fn frame(self: &Arc<Self>) -> Frame {
        let latest = self.latest.clone().lock_owned().await;
        match self.take_sample(latest).await {
            Some(sample) => Frame::Shown {
                event: event(&sample),
                phase: sample.phase,
            },
            None => Frame::Closed,
        }
    }

    fn phase(&self) -> Option<Phase> {
        Some(self.tracker.upgrade()?.shared.shutdown.phase())
    }

    /// Held for the end of a step or a copy of all of them. Nothing panics under it.
    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        lock(&self.timeline)
    }
}

/// Returns an event of the stream. `retry` is the time after which a page reconnects, in milliseconds.
fn event(sample: &Sample) -> Bytes {
    [
        b"retry: 1000\nevent: snapshot\ndata: ",
        &sample.json[..],
        b"\n\n",
    ]
    .concat()
    .into()
}

/// Returns the time by the clock that the runtime's timers follow.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ends the steps of the timeline. Without open pages, reading the totals once per step is all that the dashboard does.
async fn keep_time(board: Weak<Board>) {
    loop {
        sleep(STEP).await;
        let Some(board) = board.upgrade() else {
            return;
        };
        let Some(tracker) = board.tracker.upgrade() else {
            return;
        };
        let totals = tracker.totals();
        board.timeline().advance(now(), &totals);
    }
}

/// Takes the samples for all open pages. After it is dropped, the next page starts another one.
struct Sampler {
    board: Arc<Board>,
    /// The last page has closed, and the board is updated.
    has_ended: bool,
}

impl Sampler {
    async fn run(mut self) {
        loop {
            let began = Instant::now();
            let frame = self.board.frame().await;
            let is_closed = matches!(frame, Frame::Closed);
            self.board.frames.send_replace(frame);
            if is_closed {
                return;
            }
            let rest = PERIOD.max(began.elapsed().saturating_mul(REST));
            self.rest(rest).await;
            let mut sampling = lock(&self.board.sampling);
            if self.board.frames.receiver_count() == 0 {
                *sampling = false;
                self.has_ended = true;
                return;
            }
        }
    }

    /// Sleeps until the next sample is due, or until the shutdown is requested or reaches its next phase.
    async fn rest(&self, rest: Duration) {
        let next = self.board.tracker.upgrade().and_then(|tracker| {
            let shared = &tracker.shared;
            match shared.shutdown.phase() {
                Phase::Running => Some(shared.shutdown.stopping.clone()),
                Phase::Stopping => Some(shared.shutdown.draining.clone()),
                Phase::Draining | Phase::Expired => Some(shared.shutdown.over.clone()),
                Phase::Over => None,
            }
        });
        match next {
            Some(next) => {
                let _ = next.run_until_cancelled(sleep(rest)).await;
            }
            None => sleep(rest).await,
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // The runtime has ended or a sample has panicked. Close the streams, because no frame follows.
        if !self.has_ended {
            *lock(&self.board.sampling) = false;
            self.board.frames.send_replace(Frame::Closed);
        }
    }
}

/// Nothing panics under these locks, so the data behind a poisoned one is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
