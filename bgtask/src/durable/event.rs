//! A job as those who watch it see it, one version after another. Plain data.
//! Knows nothing of stores, or of how an event reaches anybody.

use super::job::{JobError, JobState, JobStatus};
use super::progress::Progress;
use crate::stats::JobId;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A job at one version; see [`JobHandle::watch`](super::JobHandle::watch).
///
/// As JSON it is `{"job": 7, "version": 4, "state": "running", "progress": {"fraction": 0.4, "message": "rendering"}, "attempt": 1}`,
/// and `progress` is `null` for a job that has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobEvent {
    /// The job.
    pub job: JobId,
    /// Grows with each change of the state or progress.
    pub version: u64,
    /// Its state.
    pub state: JobState,
    /// What its last attempt stored of its progress.
    #[serde(with = "with_message")]
    pub progress: Option<Progress>,
    /// The number of attempts that have begun, without those that a shutdown or a crash gave back.
    pub attempt: u32,
}

impl JobEvent {
    /// Returns what those who watch see of a job, for a store.
    #[must_use]
    pub fn new(status: &JobStatus) -> Self {
        Self {
            job: status.id,
            version: status.version,
            state: status.state,
            progress: status.progress.clone(),
            attempt: status.attempts,
        }
    }

    /// Returns whether the job has ended: no event follows.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.state.has_ended()
    }
}

/// A progress as pages and programs in other languages read it: they call the note a message.
mod with_message {
    use super::Progress;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::borrow::Cow;

    #[derive(Serialize, Deserialize)]
    struct Shown<'a> {
        fraction: f64,
        message: Cow<'a, str>,
    }

    pub(super) fn serialize<S: Serializer>(
        progress: &Option<Progress>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let shown = progress.as_ref().map(|progress| Shown {
            fraction: progress.fraction,
            message: Cow::Borrowed(&progress.note),
        });
        shown.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Progress>, D::Error> {
        let shown = Option::<Shown<'_>>::deserialize(deserializer)?;
        Ok(shown.map(|shown| Progress::new(shown.fraction, shown.message)))
    }
}

/// The events of one job: a [`Stream`], whose last item is the end of the job, or the reason why there is no other.
///
/// Each event is newer than the one before it. A slow reader gets the present state and not those in between; it never misses the
/// end. Dropping it changes nothing.
#[must_use = "streams do nothing unless polled"]
pub struct JobEvents(Pin<Box<dyn Stream<Item = Result<JobEvent, JobError>> + Send>>);

impl JobEvents {
    /// Returns the events that this stream yields, for a store.
    pub fn new(events: impl Stream<Item = Result<JobEvent, JobError>> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    /// Waits for the next event. `None` after the last one.
    ///
    /// # Cancel safety
    /// If the future is dropped, no event is lost.
    pub async fn next(&mut self) -> Option<Result<JobEvent, JobError>> {
        poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for JobEvents {
    type Item = Result<JobEvent, JobError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for JobEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobEvents").finish_non_exhaustive()
    }
}
