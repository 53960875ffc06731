//! Those of this process who want to know of jobs: waiters for ends, and streams of states. Woken at once by what this process writes,
//! and otherwise when the database says that jobs have changed. Must never know how a job changes.

mod begun;
mod tail;
mod waiters;

use crate::PAUSE;
use crate::engine::{Change, Changes, Database, Ended, Error, Shown};
use begun::Begun;
use bgtask::durable::{JobError, JobEvents, JobId};
use futures_util::stream::{BoxStream, StreamExt as _};
use serde_json::value::RawValue;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tail::Tail;
pub(crate) use tail::closed;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waiters::Waiters;

/// For how long the changes or a row may be unreadable before the waiters return the error.
const LIMIT: Duration = Duration::from_secs(5);

/// Those of this process who want to know of jobs.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    waiters: Waiters,
    tail: Arc<Tail>,
    begun: Begun,
    /// Notified when somebody begins to wait or watch.
    awaited: Notify,
}

/// The states of one job. The last is its end, or the reason why there is none.
pub(crate) type States = BoxStream<'static, Result<Arc<Shown>, JobError>>;

/// Returns the events of these states that are newer than this version, and the end in any case.
pub(crate) fn events(states: States, after: Option<u64>) -> JobEvents {
    JobEvents::new(states.filter_map(move |state| {
        let is_old = |shown: &Shown| {
            !shown.event.is_end() && after.is_some_and(|after| shown.event.version <= after)
        };
        ready(match state {
            Ok(shown) if is_old(&shown) => None,
            Ok(shown) => Some(Ok(shown.event.clone())),
            Err(error) => Some(Err(error)),
        })
    }))
}

impl Watch {
    /// Wakes those who wait for a job that has changed, or watch it.
    pub(crate) fn wake_for(&self, id: i64) {
        self.waiters.wake_for(id);
        self.tail.note(&[id]);
    }

    /// Notes that this process runs a job, as long as the guard is there: those who watch it see the state.
    pub(crate) fn begin(&self, id: i64) -> impl Drop + use<> {
        self.tail.note(&[id]);
        self.begun.add(id)
    }

    /// Waits for the end of a job.
    pub(crate) async fn ended(&self, database: &Database, id: JobId) -> Result<Ended, JobError> {
        self.waiters.ended(database, id, &self.awaited).await
    }

    /// Returns the outcome of a job once it has ended. Gives up when the store is closed, or nobody waits any more.
    pub(crate) async fn outcome(
        &self,
        database: &Database,
        id: JobId,
        is_closed: &CancellationToken,
        is_abandoned: &CancellationToken,
    ) -> Result<Box<RawValue>, JobError> {
        tokio::select! {
            ended = self.ended(database, id) => ended.unwrap_or_else(Err),
            () = is_closed.cancelled() => Err(closed()),
            () = is_abandoned.cancelled() => Err(closed()),
        }
    }

    /// Begins to watch a job, with the value or error of its end or without.
    pub(crate) fn states(&self, id: JobId, with_value: bool) -> States {
        let subscription = Tail::subscribe(&self.tail, id.get(), with_value);
        self.awaited.notify_one();
        subscription.states()
    }

    /// Ends all streams, because the store is closed.
    pub(crate) fn close(&self) {
        self.tail.close();
    }

    /// Wakes those who wait or watch when another process has written, and calls `claimable` with the queue whose jobs there may be to
    /// claim, or `None` for all. Looks only while somebody waits, unless `works`, or the database wants it. Never completes.
    pub(crate) async fn look(
        &self,
        database: &Database,
        works: bool,
        claimable: impl Fn(Option<&str>),
    ) {
        tokio::join!(
            self.look_for_changes(database, works, claimable),
            self.tail.follow(database),
            self.begun.announce(database),
        );
    }

    async fn look_for_changes(
        &self,
        database: &Database,
        works: bool,
        claimable: impl Fn(Option<&str>),
    ) {
        let mut changes = None;
        let mut failed_since = None;
        loop {
            let must_look = works || changes.as_ref().is_some_and(Changes::must_be_read);
            if !must_look && self.waiters.is_empty() && self.tail.is_empty() {
                // A waiter that came after the look has left its permit.
                self.awaited.notified().await;
            }
            let woken = match next(database, works, &mut changes).await {
                Ok(Change::Any) => {
                    claimable(None);
                    self.tail.note_all();
                    self.waiters.wake_ended(database).await
                }
                Ok(Change::Claimable(queue)) => {
                    claimable(queue.as_deref());
                    Ok(())
                }
                Ok(Change::Jobs(ids)) => {
                    self.tail.note(&ids);
                    ids.iter().for_each(|id| self.waiters.wake_for(*id));
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match woken {
                Ok(()) => failed_since = None,
                Err(_) => {
                    changes = None;
                    if failed_since.get_or_insert_with(Instant::now).elapsed() >= LIMIT {
                        // Each waiter reads its row and returns the error.
                        self.waiters.wake_all();
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn next(
    database: &Database,
    works: bool,
    changes: &mut Option<Changes>,
) -> Result<Change, Error> {
    let changes = match changes {
        Some(changes) => changes,
        none => none.insert(database.changes(works).await?),
    };
    changes.next().await
}
