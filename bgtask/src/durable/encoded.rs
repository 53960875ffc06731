//! A call as it is stored: plain data.
//! Must never know a store.

use super::notify::NotifyTarget;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

/// The size that the encoded arguments of one job may have, in bytes, unless the store has another limit.
pub const ARGUMENT_LIMIT: usize = 256 * 1024;

/// The size that the encoded output of one job may have, in bytes, unless the store has another limit.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// When a job may run at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Immediately.
    Now,
    /// This long after it is stored.
    After(Duration),
    /// At this time.
    At(SystemTime),
}

/// A call as it is stored.
#[non_exhaustive]
pub struct EncodedJob {
    /// The name of the function.
    pub function: &'static str,
    /// The arguments: an object with a member for each parameter.
    pub arguments: Box<RawValue>,
    /// The queue.
    pub queue: Cow<'static, str>,
    /// 1 runs first, 4 last.
    pub priority: u8,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// How long the job stays once it is done or cancelled. `None` is the store's default.
    pub keep: Option<Duration>,
    /// When it may run.
    pub start: Start,
    /// Which other jobs keep this one from being stored.
    pub unique: Option<Unique>,
    /// The tick of a schedule that this is the job of.
    pub tick: Option<SystemTime>,
    /// The targets that its end is delivered to.
    pub notify: Vec<NotifyTarget>,
}

/// As long as a job with this key, of the same function, is there, no second one is stored.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unique {
    /// The key. It may hold arguments, so `Debug` shows its size.
    pub key: String,
    /// `None` is until the first job has ended. `Some` is one job a window of this length; the windows are counted from the Unix
    /// epoch, so they are the same in all processes.
    pub within: Option<Duration>,
}

impl Unique {
    /// Returns the uniqueness of a job.
    #[must_use]
    pub fn new(key: String, within: Option<Duration>) -> Self {
        Self { key, within }
    }
}

impl fmt::Debug for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unique")
            .field("key", &format_args!("{} bytes", self.key.len()))
            .field("within", &self.within)
            .finish()
    }
}

impl fmt::Debug for EncodedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedJob")
            .field("function", &self.function)
            // Arguments may be secret, and are never logged.
            .field(
                "arguments",
                &format_args!("{} bytes", self.arguments.get().len()),
            )
            .field("queue", &self.queue)
            .field("priority", &self.priority)
            .field("max_attempts", &self.max_attempts)
            .field("keep", &self.keep)
            .field("start", &self.start)
            .field("unique", &self.unique)
            .field("tick", &self.tick)
            .field("notify", &self.notify)
            .finish()
    }
}
