//! `durable`: how the jobs of one function are stored, repeated and kept, and the end of one attempt.
//! Knows nothing of stores, tasks or who runs an attempt.

use super::backoff::Backoff;
use super::retry::NextAttempt;
use crate::report::StopReason;
use crate::stats::JobInfo;
use crate::util::fmt::Exact;
use serde_json::value::RawValue;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// `durable(…)`, and what else belongs to the function's jobs.
#[derive(Debug)]
pub struct Durable {
    pub queue: &'static str,
    /// 1 runs first, 4 last.
    pub priority: u8,
    /// How long a job that is done or cancelled stays. `None` is the store's default.
    pub keep: Option<Duration>,
    /// The former name of the function, under which jobs may be stored.
    pub was: Option<&'static str>,
    pub unique: Option<Uniqueness>,
    /// The number of attempts in all.
    pub max: u32,
    pub backoff: Backoff,
    /// A panic is a failed attempt like any other. Otherwise it ends the job.
    pub panics: bool,
    pub run: fn(&RawValue, &Claimed) -> Result<Running, Undecodable>,
}

/// How long a job that is done stays, unless `keep` says otherwise.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Beyond a few thousand years, databases fail to subtract it from a time, and then delete no jobs at all.
const LONGEST_KEEP: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// How long a dead job stays.
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `unique(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uniqueness {
    /// The call brings a key. Otherwise its stored arguments are the key.
    pub has_key: bool,
    /// One job a window of this length. `None` is until the first job has ended.
    pub within: Option<Duration>,
}

impl fmt::Display for Uniqueness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.has_key.then(|| "key = …".to_owned());
        let within = self
            .within
            .map(|within| format!("within = {}", Exact(within)));
        let inside: Vec<_> = key.into_iter().chain(within).collect();
        if inside.is_empty() {
            return f.write_str("unique");
        }
        write!(f, "unique({})", inside.join(", "))
    }
}

/// The claimed job of an attempt.
#[derive(Clone)]
pub struct Claimed {
    /// For a parameter of the function. Only `durable` knows its type.
    pub(crate) job: Arc<dyn Any + Send + Sync>,
    /// For snapshots.
    pub(crate) info: Arc<JobInfo>,
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Durable {
    /// Checks the constants of an attribute.
    ///
    /// # Panics
    /// If a job would not stay as long as it has to.
    #[track_caller]
    pub const fn checked(self) -> Self {
        let keep = match self.keep {
            Some(keep) => keep,
            None => KEEP,
        };
        assert!(
            keep.as_nanos() <= LONGEST_KEEP.as_nanos(),
            "`keep` is longer than 100 years: write at most 36500 days"
        );
        if let Some(Uniqueness {
            within: Some(within),
            ..
        }) = self.unique
        {
            assert!(
                within.as_nanos() <= keep.as_nanos(),
                "`within` is longer than the job stays in the database, which is a day unless `keep` says otherwise: add a `keep` of \
                 this length"
            );
            assert!(
                within.as_nanos() <= KEEP_DEAD.as_nanos(),
                "`within` is longer than 30 days, and a dead job stays no longer: shorten it"
            );
        }
        self
    }

    /// Returns the option as its attribute spells it, and the `retry(…)` of the jobs. The defaults of that are not those of other
    /// functions, so it is always shown.
    pub(crate) fn display(&self) -> [String; 2] {
        let mut inside = Vec::new();
        if self.queue != "default" {
            inside.push(format!("queue = {}", self.queue));
        }
        if self.priority != 1 {
            inside.push(format!("priority = {}", self.priority));
        }
        inside.extend(self.keep.map(|keep| format!("keep = {}", Exact(keep))));
        inside.extend(self.unique.map(|unique| unique.to_string()));
        inside.extend(self.was.map(|was| format!("was = {was}")));
        let durable = if inside.is_empty() {
            "durable".to_owned()
        } else {
            format!("durable({})", inside.join(", "))
        };
        let panics = if self.panics { ", panics" } else { "" };
        let retry = format!("retry(max = {}{}{panics})", self.max, self.backoff);
        [durable, retry]
    }
}

/// Returns whether a queue may have this name: 1 to 64 lowercase letters, digits, `-` and `_`, a letter first, each `-` or `_`
/// between two others. For a store, whose engine refuses all other names.
#[must_use]
pub const fn is_queue_name(name: &str) -> bool {
    // The attribute checks the literals that it is given by the same rule.
    let name = name.as_bytes();
    if name.is_empty() || name.len() > 64 || !name[0].is_ascii_lowercase() {
        return false;
    }
    let mut index = 0;
    while index < name.len() {
        let is_separator = matches!(name[index], b'-' | b'_');
        // The first character is a letter, so there is one before each.
        let is_between =
            is_separator && index + 1 < name.len() && !matches!(name[index - 1], b'-' | b'_');
        if !is_between && !name[index].is_ascii_lowercase() && !name[index].is_ascii_digit() {
            return false;
        }
        index += 1;
    }
    true
}

/// The longest name of a function, in bytes.
const NAME_LIMIT: usize = 127;

impl Durable {
    /// Checks a function's name while the program compiles: it is stored with each job, and the engine limits it.
    ///
    /// # Panics
    /// If the name has fewer than 2 or more than 127 bytes, or is not ASCII.
    pub const fn check_name(name: &'static str) {
        assert!(
            name.is_ascii(),
            "the name of a `durable` function is stored with its jobs and has to be ASCII: set another one with `name = \"…\"`"
        );
        assert!(
            name.len() >= 2 && name.len() <= NAME_LIMIT,
            "the name of a `durable` function is stored with its jobs and has 2 to 127 bytes: set a shorter one with `name = \"…\"`"
        );
    }
}

/// The arguments of a job do not fit its function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable(pub String);

/// One attempt that has been started.
pub struct Running {
    /// Fires the token of the attempt's task.
    pub canceller: Canceller,
    pub end: Pin<Box<dyn Future<Output = AttemptEnd> + Send>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Fires the token of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    token: CancellationToken,
    reason: OnceLock<StopReason>,
}

impl Canceller {
    /// Fires the token, for this reason. The first reason stands.
    pub fn cancel(&self, reason: StopReason) {
        // Before the token: code that it wakes asks for the reason.
        let _ = self.0.reason.set(reason);
        self.0.token.cancel();
    }

    /// Returns why the token has fired, if this has fired it.
    pub(crate) fn reason(&self) -> Option<StopReason> {
        self.0.reason.get().copied()
    }

    /// Completes when this has fired the token, with the reason.
    pub(crate) async fn cancelled(&self) -> StopReason {
        self.0.token.cancelled().await;
        self.reason().unwrap_or(StopReason::Cancelled)
    }
}

/// How one attempt ended.
#[derive(Debug)]
pub enum AttemptEnd {
    /// With this output, encoded.
    Done(Box<RawValue>),
    /// With an `Err`, or an output that cannot be stored.
    Failed {
        message: String,
        next: NextAttempt,
    },
    Panicked(String),
    TimedOut,
    /// It has not begun: no permit of `concurrency` or `rate` was free. The next may be after the pause.
    Postponed {
        pause: Duration,
    },
    /// Nothing is known of the body: the task was cancelled, aborted or refused.
    Interrupted(String),
}
