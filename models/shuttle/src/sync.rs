//! shuttle's locks, atomics and threads under the standard library's names.

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
pub(crate) use shuttle::thread;
