//! Reading a manager from outside: snapshots, the oldest tasks, and reports of slow tasks.
//! Owns what is read and in which order; must never change a call.

pub(crate) mod health;
mod oldest;
pub(crate) mod scan;
pub(crate) mod slow_tasks;
pub(crate) mod snapshot;
