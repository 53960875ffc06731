//! The locks, atomics and threads of the code in which threads meet: the standard library's, or a model checker's, which then
//! tries its interleavings. Owns which, and where a model breaks it on purpose; knows nothing of what they guard.

#[cfg(any(bgtask_loom, bgtask_shuttle))]
pub(crate) use crate::models::sync::{Condvar, Mutex, MutexGuard, atomic, thread};
#[cfg(not(any(bgtask_loom, bgtask_shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};

/// Whether a model has asked for this mistake, to see it found. Only the packages in `models` can ask; elsewhere it is the
/// word `false`, and nothing of it is left in the program.
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
