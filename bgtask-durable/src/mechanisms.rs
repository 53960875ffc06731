//! Turns single mechanisms off, for one database: a test then sees that its case fails without the mechanism.
//! Exists in tests only.

use crate::engine::Database;
use crate::lock;
use std::sync::Mutex;

/// A mechanism that protects the end of a job or a tick. The fence is not listed: tests drop its trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// A process whose own beat was late starts counting anew.
    CountsAnew,
    /// Claimed jobs that a process does not hold are put back.
    Reconciles,
    /// After `complete_in`, the row is read before the value of the body counts.
    ChecksCompletion,
    /// A schedule goes from one tick to the next only if no other process has moved it.
    ComparesTicks,
}

static OFF: Mutex<Vec<(String, Mechanism)>> = Mutex::new(Vec::new());

impl Mechanism {
    /// Turns it off for all stores of this database that are opened from now on.
    pub(crate) fn turn_off(self, database: &Database) {
        lock(&OFF).push((database.instance().to_owned(), self));
    }

    pub(crate) fn is_off(self, database: &Database) -> bool {
        lock(&OFF).contains(&(database.instance().to_owned(), self))
    }
}
