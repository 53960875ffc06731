//! shuttle's locks and atomics under the standard library's names.

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};
