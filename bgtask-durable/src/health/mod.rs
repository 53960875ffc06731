//! The health of this process's work: when the database last answered, and for how long ends have been pending.
//! Knows nothing of how it is asked for, or of how anything is recorded.

mod http;

use crate::lock;
pub(crate) use http::serve;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// From when on ends that could not be recorded are an error, and the process is not healthy.
pub(crate) const PENDING_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// The state that the health check reads.
#[derive(Debug)]
pub(crate) struct Health {
    /// How long the database may not have answered. `None` where nothing asks it again and again.
    time_to_live: Option<Duration>,
    /// Locked for a look or a change, never across an await.
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The last answer of the database: to a beat, or to a probe where there are none.
    answered: Instant,
    /// Since when the ends that are being recorded are pending.
    pending: Option<Instant>,
    /// Why this process can never work again.
    over: Option<&'static str>,
}

impl Health {
    pub(crate) fn new(time_to_live: Option<Duration>) -> Self {
        Self {
            time_to_live,
            seen: Mutex::new(Seen {
                answered: Instant::now(),
                pending: None,
                over: None,
            }),
        }
    }

    /// Notes that the database has stored a beat, or answered.
    pub(crate) fn beat(&self) {
        lock(&self.seen).answered = Instant::now();
    }

    /// Returns the time since the database last answered.
    #[cfg(feature = "metrics")]
    pub(crate) fn silent_for(&self) -> Duration {
        lock(&self.seen).answered.elapsed()
    }

    /// Notes that ends are pending, until the guard is dropped.
    pub(crate) fn pending(&self) -> Pending<'_> {
        lock(&self.seen).pending = Some(Instant::now());
        Pending(self)
    }

    /// Notes why this process can never work again.
    pub(crate) fn is_over(&self, why: &'static str) {
        lock(&self.seen).over = Some(why);
    }

    /// Returns the reason if this process does not work as it should.
    pub(crate) fn check(&self) -> Result<(), String> {
        let seen = lock(&self.seen);
        if let Some(why) = seen.over {
            return Err(why.to_owned());
        }
        let silent = seen.answered.elapsed();
        if let Some(time_to_live) = self.time_to_live.filter(|limit| silent > *limit) {
            return Err(format!(
                "the database has answered no sign of life for {:.1} s, and the time to live is {time_to_live:?}",
                silent.as_secs_f64(),
            ));
        }
        let pending = seen.pending.map(|since| since.elapsed());
        match pending {
            Some(pending) if pending > PENDING_LIMIT => Err(format!(
                "the ends of jobs have not been recorded for {:.1} s",
                pending.as_secs_f64()
            )),
            _ => Ok(()),
        }
    }
}

/// Ends that are pending, until this is dropped.
pub(crate) struct Pending<'a>(&'a Health);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        lock(&self.0.seen).pending = None;
    }
}
