//! The latest samples, and for how long clients share one instead of having another one taken.
//! Owns those periods; must never know what a sample contains or who asks for one.

use crate::handler::Handler;
use crate::tracker::shutdown_state::Phase;
use axum::body::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The time between two samples.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// The sampler rests at least this many times as long as its sample took. With millions of live tasks a sample takes longer, so
/// samples are less frequent.
pub(super) const REST: u32 = 20;

/// Of how many functions the latest details are kept.
const DETAILS: usize = 16;

/// The state of one moment, in the form in which we send it.
#[derive(Clone)]
pub(crate) struct Sample {
    /// JSON on one line: every line break in it is escaped.
    pub(crate) json: Bytes,
    pub(super) phase: Phase,
    /// By tokio's clock, which the runtime's timers follow.
    pub(super) taken: Instant,
    /// How long it took to take the sample.
    pub(super) cost: Duration,
}

impl Sample {
    fn is_current(&self, period: Duration, phase: Option<Phase>) -> bool {
        self.taken.elapsed() < period && phase == Some(self.phase)
    }
}

/// The latest sample of each kind.
#[derive(Default)]
pub(super) struct Latest {
    all: Option<Sample>,
    /// By the name of the function, the latest last.
    details: VecDeque<(&'static str, Sample)>,
}

impl Latest {
    /// Returns the sample of everything if it is younger than [`PERIOD`] and of this phase.
    pub(super) fn all(&self, phase: Option<Phase>) -> Option<&Sample> {
        let sample = self.all.as_ref()?;
        sample.is_current(PERIOD, phase).then_some(sample)
    }

    pub(super) fn keep_all(&mut self, sample: Option<Sample>) -> Option<Sample> {
        self.all = sample;
        self.all.clone()
    }

    /// Returns the details of a function that are not older than `period`, or, if details take long, so old that those of all
    /// functions together use no more than their share of a core.
    pub(super) fn details(&self, handler: &Handler, phase: Option<Phase>) -> Option<&Sample> {
        let mut details = self.details.iter();
        let (_, sample) = details.find(|(name, _)| *name == handler.name())?;
        let shares = REST.saturating_mul(self.details.len() as u32);
        let period = PERIOD.max(sample.cost.saturating_mul(shares));
        sample.is_current(period, phase).then_some(sample)
    }

    pub(super) fn keep_details(&mut self, handler: &'static Handler, sample: Sample) {
        self.details.retain(|(name, _)| *name != handler.name());
        if self.details.len() == DETAILS {
            self.details.pop_front();
        }
        self.details.push_back((handler.name(), sample));
    }
}
