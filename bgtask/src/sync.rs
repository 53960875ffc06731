//! The locks, atomics and threads of the code in which threads meet: the standard library's, or a model checker's, which then tries its
//! interleavings. Owns which, and what a model breaks on purpose; knows nothing of what they guard.

#[cfg(any(bgtask_loom, bgtask_shuttle))]
pub(crate) use crate::models::sync::{Condvar, Mutex, MutexGuard, atomic, thread};
#[cfg(not(any(bgtask_loom, bgtask_shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};

/// Whether a model has asked for this mistake, to see it found. Elsewhere it is the word `false`, and what follows it is not
/// even compiled into the program: only the packages in `models` can ask.
#[cfg(any(bgtask_loom, bgtask_shuttle))]
macro_rules! broken {
    ($mistake:literal) => {
        crate::models::is_broken($mistake)
    };
}
#[cfg(not(any(bgtask_loom, bgtask_shuttle)))]
macro_rules! broken {
    ($mistake:literal) => {
        false
    };
}
pub(crate) use broken;
