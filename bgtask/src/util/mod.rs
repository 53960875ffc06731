//! Helpers that know nothing about tasks: locks, panics, log lines, text, tables, wakers and spawning on the runtime.

pub(crate) mod block_on;
pub(crate) mod fmt;
pub(crate) mod log;
pub(crate) mod panic;
#[cfg(feature = "serde")]
pub(crate) mod serialize;
pub(crate) mod side_thread;
pub(crate) mod spawn;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod waker;
