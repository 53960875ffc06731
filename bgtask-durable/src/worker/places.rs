//! The queues that this process works: how many jobs of each may still start, and which may have jobs to claim.
//! Knows nothing of how a job is claimed or run.

use crate::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// The places of all queues, whichever life of the process has claimed the jobs that have them.
#[derive(Debug)]
pub(super) struct Places {
    /// Locked for a look or a change, never across an await.
    queues: Mutex<Vec<Queue>>,
    /// Notified when there is a queue to claim from.
    changed: Notify,
}

#[derive(Debug)]
struct Queue {
    name: Arc<str>,
    free: usize,
    /// It may have jobs that no claim has found.
    is_due: bool,
}

/// A queue to claim from.
#[derive(Debug)]
pub(super) struct Due {
    index: usize,
    pub(super) name: Arc<str>,
    pub(super) free: usize,
}

impl Places {
    pub(super) fn new(queues: &BTreeMap<String, usize>) -> Arc<Self> {
        let queues = queues.iter().map(|(name, limit)| Queue {
            name: name.as_str().into(),
            free: *limit,
            is_due: true,
        });
        Arc::new(Self {
            queues: Mutex::new(queues.collect()),
            changed: Notify::new(),
        })
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let queues = self.queues();
        queues.iter().map(|queue| queue.name.clone()).collect()
    }

    /// Notes that a queue may have jobs to claim, or that all may, without a name.
    pub(super) fn wake(&self, name: Option<&str>) {
        for queue in self.queues().iter_mut() {
            if name.is_none_or(|name| *name == *queue.name) {
                queue.is_due = true;
            }
        }
        self.changed.notify_one();
    }

    /// Waits until a queue with a free place may have jobs, and takes all such queues. Cancel safe.
    pub(super) async fn due(&self) -> Vec<Due> {
        loop {
            let due = self.take_due();
            if !due.is_empty() {
                return due;
            }
            self.changed.notified().await;
        }
    }

    fn take_due(&self) -> Vec<Due> {
        let mut queues = self.queues();
        let due = queues.iter_mut().enumerate();
        due.filter(|(_, queue)| queue.is_due && queue.free > 0)
            .map(|(index, queue)| {
                queue.is_due = false;
                Due {
                    index,
                    name: queue.name.clone(),
                    free: queue.free,
                }
            })
            .collect()
    }

    /// Notes that this queue may have more jobs.
    pub(super) fn again(&self, due: &Due) {
        self.queues()[due.index].is_due = true;
        self.changed.notify_one();
    }

    /// Takes a place for a job that was claimed from this queue.
    pub(super) fn take(self: &Arc<Self>, due: &Due) -> Place {
        // One task claims, and no more than there were free places.
        self.queues()[due.index].free -= 1;
        Place {
            places: self.clone(),
            index: due.index,
        }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Queue>> {
        lock(&self.queues)
    }
}

/// A place among the running jobs of a queue, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    index: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_due = {
            let queue = &mut self.places.queues()[self.index];
            queue.free += 1;
            queue.is_due
        };
        if is_due {
            self.places.changed.notify_one();
        }
    }
}
