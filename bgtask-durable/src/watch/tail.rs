//! The streams of the states of jobs. One reader a process serves them all: each job that is watched has one channel with its present
//! state, which one statement reads for all jobs that may have changed. Must never know who has changed them.

use super::States;
use crate::engine::{Database, Shown};
use crate::{PAUSE, lock};
use bgtask::durable::JobError;
use futures_util::stream;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

#[cfg(test)]
mod tests;

/// After how long without a change all rows are read: a tool may have changed one without notifying.
const SILENCE: Duration = Duration::from_secs(5);

/// What is known of a job. `None` before its row was read.
type Seen = Option<Result<Arc<Shown>, JobError>>;

/// The jobs that this process watches.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Locked for a look or a change, never across an await.
    jobs: Mutex<Jobs>,
    /// Notified when a row is to be read.
    is_unread: Notify,
}

#[derive(Debug, Default)]
struct Jobs {
    watched: HashMap<i64, Watched>,
    /// Those of them that have changed since they were read.
    unread: HashSet<i64>,
    /// Any of them may have changed.
    all_unread: bool,
    /// How many reads have begun.
    reads: u64,
    is_closed: bool,
}

/// A job that is watched, by all its streams together.
#[derive(Debug)]
struct Watched {
    seen: watch::Sender<Seen>,
    /// A stream wants the value or error of the end.
    with_value: bool,
    /// How many reads had begun when it was first watched. What these return may be older than the first stream.
    reads_before: u64,
}

impl Watched {
    /// Whether its streams have all that they wait for: nothing is read for it any more.
    fn is_over(&self) -> bool {
        let seen = self.seen.borrow();
        matches!(&*seen, Some(Ok(shown)) if shown.event.is_end() && (shown.ended.is_some() || !self.with_value))
    }
}

/// A read of the jobs that have changed.
struct Read {
    /// How many had begun before it.
    number: u64,
    /// Each with whether its value is wanted.
    jobs: Vec<(i64, bool)>,
    is_all: bool,
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.jobs).watched.is_empty()
    }

    /// Begins to watch a job. The row is read after this, or was and is being followed: so nothing is missed in between.
    pub(super) fn subscribe(tail: &Arc<Self>, id: i64, with_value: bool) -> Subscription {
        let mut jobs = lock(&tail.jobs);
        let initial = jobs.is_closed.then(|| Err(closed()));
        let reads_before = jobs.reads;
        if !jobs.is_closed && jobs.watched.get(&id).is_some_and(Watched::is_over) {
            // Streams that have not looked yet still find the end. The job may have been tried again since, which a new one is to see.
            jobs.watched.remove(&id);
        }
        let (mut receiver, must_read) = match jobs.watched.entry(id) {
            Entry::Occupied(entry) => {
                let watched = entry.into_mut();
                let mut must_read = with_value && !watched.with_value;
                watched.with_value |= with_value;
                // An error ends the streams that are there. It may be over.
                watched.seen.send_if_modified(|seen| {
                    if matches!(seen, Some(Err(_))) {
                        *seen = initial;
                        must_read = true;
                    }
                    false
                });
                (watched.seen.subscribe(), must_read)
            }
            Entry::Vacant(entry) => {
                let (seen, receiver) = watch::channel(initial);
                entry.insert(Watched {
                    seen,
                    with_value,
                    reads_before,
                });
                (receiver, true)
            }
        };
        if must_read {
            jobs.unread.insert(id);
            tail.is_unread.notify_one();
        }
        drop(jobs);
        // What is there already is the first state of this stream.
        receiver.mark_changed();
        Subscription {
            receiver: Some(receiver),
            tail: tail.clone(),
            id,
            with_value,
        }
    }

    /// Notes that jobs have changed.
    pub(super) fn note(&self, ids: &[i64]) {
        let mut jobs = lock(&self.jobs);
        if jobs.watched.is_empty() {
            return;
        }
        let Jobs {
            watched, unread, ..
        } = &mut *jobs;
        let before = unread.len();
        unread.extend(ids.iter().filter(|id| watched.contains_key(id)));
        if unread.len() > before {
            self.is_unread.notify_one();
        }
    }

    /// Notes that any job may have changed.
    pub(super) fn note_all(&self) {
        let mut jobs = lock(&self.jobs);
        if !jobs.watched.is_empty() {
            jobs.all_unread = true;
            self.is_unread.notify_one();
        }
    }

    /// Reads the rows of jobs that have changed, all in one statement, and shows them. Never completes.
    pub(super) async fn follow(&self, database: &Database) {
        // Reading all takes a small part of the time, however many are watched.
        let mut all_again = Instant::now();
        loop {
            let Read {
                number,
                jobs,
                is_all,
            } = self.take_unread(all_again);
            if jobs.is_empty() {
                if timeout(SILENCE, self.until_unread(all_again))
                    .await
                    .is_err()
                {
                    self.note_all();
                }
                continue;
            }
            let began = Instant::now();
            match database.watched(&jobs).await {
                Ok(read) => self.show(number, read),
                Err(_) => {
                    // The streams wait: they are level-triggered, so a state that is read later is as good.
                    lock(&self.jobs)
                        .unread
                        .extend(jobs.iter().map(|(id, _)| id));
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if is_all {
                all_again = Instant::now() + 4 * began.elapsed();
            }
        }
    }

    /// Waits until a row is to be read: one that has changed at once, all of them not before this time.
    async fn until_unread(&self, all_again: Instant) {
        let all_unread = lock(&self.jobs).all_unread;
        tokio::select! {
            () = self.is_unread.notified() => {}
            () = sleep_until(all_again), if all_unread => {}
        }
    }

    /// Begins the next read.
    fn take_unread(&self, all_again: Instant) -> Read {
        let mut jobs = lock(&self.jobs);
        let Jobs {
            watched,
            unread,
            all_unread,
            reads,
            ..
        } = &mut *jobs;
        let number = *reads;
        *reads += 1;
        let is_all = *all_unread && Instant::now() >= all_again;
        let jobs = if is_all {
            *all_unread = false;
            unread.clear();
            let all = watched.iter().map(|(id, job)| (*id, job.with_value));
            all.collect()
        } else {
            let changed = unread.drain();
            let changed = changed.filter_map(|id| Some((id, watched.get(&id)?.with_value)));
            changed.collect()
        };
        Read {
            number,
            jobs,
            is_all,
        }
    }

    fn show(&self, number: u64, read: Vec<(i64, Result<Shown, JobError>)>) {
        let jobs = lock(&self.jobs);
        if jobs.is_closed {
            return;
        }
        for (id, shown) in read {
            // Otherwise nobody watches it any more, or somebody anew, for whom it is read again.
            if let Some(watched) = jobs.watched.get(&id)
                && number >= watched.reads_before
            {
                let shown = shown.map(Arc::new);
                watched.seen.send_if_modified(|seen| {
                    let is_news = is_news(seen, &shown);
                    if is_news {
                        *seen = Some(shown);
                    }
                    is_news
                });
            }
        }
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        let mut jobs = lock(&self.jobs);
        jobs.is_closed = true;
        for watched in jobs.watched.values() {
            watched.seen.send_if_modified(|seen| {
                // An end that is there is still to be seen.
                let has_ended = matches!(seen, Some(Ok(shown)) if shown.event.is_end());
                if !has_ended {
                    *seen = Some(Err(closed()));
                }
                !has_ended
            });
        }
    }
}

/// Returns the error of a store that is closed.
pub(crate) fn closed() -> JobError {
    JobError::store("the store is closed".to_owned())
}

/// Whether what was read is newer than what is shown: two reads may overtake one another, and no state follows a later one.
fn is_news(seen: &Seen, read: &Result<Arc<Shown>, JobError>) -> bool {
    match (seen, read) {
        (Some(Ok(seen)), Ok(read)) => {
            let has_value = |shown: &Shown| shown.ended.is_some();
            let gets_value =
                seen.event.version == read.event.version && has_value(read) && !has_value(seen);
            read.event.version > seen.event.version || gets_value
        }
        (Some(Err(seen)), Err(read)) => seen != read,
        _ => true,
    }
}

/// One stream. Its job is no longer watched when its last one is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// `None` only while it is dropped.
    receiver: Option<watch::Receiver<Seen>>,
    tail: Arc<Tail>,
    id: i64,
    with_value: bool,
}

impl Subscription {
    /// Returns the states of the job: the present one, and each newer one that the reader is there for. The last is the end, or an
    /// error.
    pub(crate) fn states(self) -> States {
        Box::pin(stream::unfold(Some(self), |subscription| async {
            let mut subscription = subscription?;
            let state = subscription.next().await;
            let is_last = state.as_ref().map_or(true, |shown| shown.event.is_end());
            Some((state, (!is_last).then_some(subscription)))
        }))
    }

    async fn next(&mut self) -> Result<Arc<Shown>, JobError> {
        let receiver = self.receiver.as_mut().ok_or_else(closed)?;
        loop {
            receiver.changed().await.map_err(|_| closed())?;
            if let Some(seen) = &*receiver.borrow_and_update() {
                let shown = seen.clone()?;
                // Otherwise the value is still to be read.
                if !self.with_value || !shown.event.is_end() || shown.ended.is_some() {
                    return Ok(shown);
                }
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.receiver = None;
        let mut jobs = lock(&self.tail.jobs);
        if let Entry::Occupied(entry) = jobs.watched.entry(self.id)
            && entry.get().seen.receiver_count() == 0
        {
            entry.remove();
        }
    }
}
