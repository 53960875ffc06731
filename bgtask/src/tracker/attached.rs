//! The store of durable jobs that is attached to a manager, and the durable calls that were not stored.
//! Knows nothing of jobs: `durable` has the store's type.

use crate::util::sync::unmodelled::Mutex;
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A store, as the shutdown has it.
pub(crate) trait Attached: Any + fmt::Debug + Send + Sync {
    /// Returns when every attempt that has ended is stored and the others have been returned to their queues, at the latest
    /// at `until`.
    fn close(&self, until: Instant);

    /// Checks whether the store works as it should.
    ///
    /// # Errors
    /// With the reason why not.
    fn check(&self) -> Result<(), String>;

    /// Describes the jobs that are still to run, if this is the test kit's store. Empty for other stores.
    fn unfinished(&self) -> Vec<String>;
}

/// The store of one manager, once one is open.
#[derive(Debug, Default)]
pub(crate) struct AttachedStore {
    store: OnceLock<Arc<dyn Attached>>,
    waiting: Waiting,
    not_stored: AtomicU64,
}

/// Code that waits for a store.
#[derive(Default)]
struct Waiting(Mutex<Vec<Waiter>>);

type Waiter = Box<dyn FnOnce(&dyn Attached) + Send>;

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl AttachedStore {
    /// Attaches a store. Returns `false` if there is one.
    pub(crate) fn attach(&self, store: Arc<dyn Attached>) -> bool {
        if self.store.set(store).is_err() {
            return false;
        }
        // After the store is set: code that comes from now on finds it. Held to take the list.
        let waiting = std::mem::take(&mut *self.waiting.0.lock());
        if let Some(store) = self.get() {
            waiting.into_iter().for_each(|waiter| waiter(store));
        }
        true
    }

    /// Runs this with the store, as soon as there is one.
    pub(crate) fn when_attached(&self, waiter: impl FnOnce(&dyn Attached) + Send + 'static) {
        {
            // Held for the look and the change: a store that is attached meanwhile takes the list afterwards.
            let mut waiting = self.waiting.0.lock();
            if self.store.get().is_none() {
                waiting.push(Box::new(waiter));
                return;
            }
        }
        if let Some(store) = self.get() {
            waiter(store);
        }
    }

    pub(crate) fn get(&self) -> Option<&dyn Attached> {
        self.store.get().map(|store| &**store)
    }

    /// Counts a durable call that was dropped without being awaited.
    pub(crate) fn note_not_stored(&self) {
        // Relaxed: a number for people to read.
        self.not_stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn not_stored(&self) -> u64 {
        self.not_stored.load(Ordering::Relaxed)
    }
}
