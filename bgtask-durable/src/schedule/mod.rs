//! The schedules of durable functions: each tick becomes one job, whichever process moves the schedule there.
//! Owns the loop and its waits; must never know a database, nor how a job runs.

mod decide;

use crate::PAUSE;
use crate::engine::{self, JobOptions, ScheduleRow, StepError};
use crate::metrics::Count;
use crate::worker::Shared;
use bgtask::durable::{JobId, Ticks};
#[cfg(feature = "dashboard")]
pub(crate) use decide::counted_from;
use decide::renamed_to;
pub(crate) use decide::{Action, View, decide};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a statement may take. A server that is gone may never answer.
const LIMIT: Duration = Duration::from_secs(5);

/// How often a process notes that it has a schedule. Also the longest sleep, after which a clock is noticed that was set.
const SEEN: Duration = Duration::from_secs(15);

/// How often a paused schedule is looked at.
const PAUSED: Duration = Duration::from_secs(1);

/// How long a schedule is kept that no process has.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Stores a job for each tick of the schedules that arrive, until the shutdown is requested.
pub(crate) async fn drive(shared: Arc<Shared>, started: UnboundedReceiver<Arc<Ticks>>) {
    tokio::select! {
        () = all(&shared, started) => {}
        () = shared.host.stopping() => {}
        () = shared.host.runtime_ended() => {}
    }
}

/// A schedule of this process.
struct Driven {
    ticks: Arc<Ticks>,
    /// This process has not looked at it: its definition replaces that of others.
    is_new: bool,
}

async fn all(shared: &Shared, mut started: UnboundedReceiver<Arc<Ticks>>) {
    let mut schedules: Vec<Driven> = Vec::new();
    let mut wake = Wake::never();
    loop {
        tokio::select! {
            ticks = started.recv() => match ticks {
                Some(ticks) => {
                    if schedules.is_empty() {
                        forget_unseen(shared).await;
                    }
                    schedules.push(Driven { ticks, is_new: true });
                }
                // The store is gone.
                None => return,
            },
            () = wake.come(shared) => {}
        }
        wake = match pass(shared, &mut schedules).await {
            Ok(wake) => wake,
            Err(error) => {
                tracing::warn!(target: "bgtask", %error, "the schedules of durable functions could not be read or moved");
                Wake::at(Instant::now() + PAUSE)
            }
        };
    }
}

/// Drops the schedules of functions that are in no program any more.
async fn forget_unseen(shared: &Shared) {
    let dropped = shared.database.drop_schedules(engine::length(KEPT));
    // The next process tries again.
    if let Ok(count @ 1..) = limited(dropped).await {
        tracing::info!(target: "bgtask", schedules = count, "dropped the schedules that no program has had for 30 days");
    }
}

/// When the schedules are looked at again.
struct Wake {
    at: Option<Instant>,
    /// Jobs of ticks, after which other ticks may come.
    jobs: Vec<i64>,
}

impl Wake {
    fn never() -> Self {
        Self {
            at: None,
            jobs: Vec::new(),
        }
    }

    fn at(at: Instant) -> Self {
        Self {
            at: Some(at),
            jobs: Vec::new(),
        }
    }

    async fn come(&self, shared: &Shared) {
        let one_ended = one_ended(shared, &self.jobs);
        match self.at {
            Some(at) => drop(timeout_at(at, one_ended).await),
            None => one_ended.await,
        }
    }
}

/// Waits until one of the jobs has ended.
async fn one_ended(shared: &Shared, jobs: &[i64]) {
    let mut ends: Vec<_> = jobs
        .iter()
        .map(|job| Box::pin(shared.watch.ended(&shared.database, JobId::new(*job))))
        .collect();
    poll_fn(|cx| {
        // Whatever its end, or that it cannot be read: the next pass decides.
        if ends.iter_mut().any(|end| end.as_mut().poll(cx).is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Moves every schedule as far as it goes now.
async fn pass(shared: &Shared, schedules: &mut [Driven]) -> Result<Wake, StepError> {
    loop {
        let (now, rows) = limited(shared.database.schedules()).await?;
        let begin = Instant::now();
        let mut wake = Wake::at(begin + SEEN);
        let mut has_moved = false;
        for driven in &mut *schedules {
            let view = View::of(&driven.ticks, &rows);
            note_seen(shared, &driven.ticks, &view, now).await?;
            let action = decide(&driven.ticks, &view, now, driven.is_new);
            driven.is_new = false;
            match action {
                Action::Sleep { until } => {
                    driven.ticks.note_next(until.map(engine::time));
                    if let Some(until) = until {
                        let left = Duration::from_micros((until - now).max(0).unsigned_abs());
                        wake.at = wake.at.map(|at| at.min(begin + left));
                    }
                }
                Action::Paused => {
                    driven.ticks.note_next(None);
                    wake.at = wake.at.map(|at| at.min(begin + PAUSED));
                }
                Action::AwaitJob(job) => {
                    driven.ticks.note_next(None);
                    wake.jobs.push(job);
                }
                Action::Move(moved) => {
                    let (missed, has_job) = (moved.missed, moved.step.job.is_some());
                    // If another process came first, the next look shows what it has made.
                    if limited(shared.engine.step(moved.step)).await? {
                        if let Some(before) = moved.replaces {
                            tracing::info!(target: "bgtask", name = driven.ticks.function().name(), %before,
                                now = driven.ticks.definition(), "the schedule of a durable function has changed");
                        }
                        if has_job {
                            let name = driven.ticks.function().name();
                            shared.figures.count(Count::Stored, name);
                            driven.ticks.note_run();
                        }
                        driven.ticks.note_missed(missed);
                    }
                    has_moved = true;
                }
            }
        }
        if !has_moved {
            return Ok(wake);
        }
    }
}

async fn limited<T, E: Into<StepError>>(
    statement: impl Future<Output = Result<T, E>>,
) -> Result<T, StepError> {
    match timeout(LIMIT, statement).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(format!("the database did not answer within {LIMIT:?}").into()),
    }
}

/// Notes that a process has this schedule, and that its former name is not one of its own.
async fn note_seen(
    shared: &Shared,
    ticks: &Ticks,
    view: &View<'_>,
    now: i64,
) -> Result<(), StepError> {
    let is_old =
        |row: &&ScheduleRow| now.abs_diff(row.seen_at) >= engine::length(SEEN).unsigned_abs();
    if let Some(own) = view.own.filter(is_old)
        && own.definition == view.definition
    {
        // A new version of the program may have changed them, and not the ticks.
        let options = JobOptions::of(&ticks.first_job(engine::time(now))).text();
        let seen = shared
            .database
            .see_schedule(&own.function, &own.definition, Some(&options));
        limited(seen).await?;
    }
    if let Some(former) = view.former.filter(is_old)
        && former.definition == renamed_to(view.function)
    {
        let seen = shared
            .database
            .see_schedule(&former.function, &former.definition, None);
        limited(seen).await?;
    }
    Ok(())
}
