//! Whether a request may see a job, and the states that it may see. Must never know how they are sent.

use super::limits::{Limits, Permit};
use super::message::Refusal;
use super::origin::Origins;
use crate::backend;
use crate::engine::Shown;
use crate::watch::States;
use bgtask::durable::{Host, JobError};
use futures_util::stream::{self, Stream, StreamExt as _};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a request waits for the row of its job.
const FIRST: Duration = Duration::from_secs(5);

/// What the requests of one router share.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) host: Option<Host>,
    pub(super) origins: Arc<Origins>,
    pub(super) limits: Limits,
    pub(super) keep_alive: Duration,
}

/// A request whose ticket holds.
pub(super) struct Admitted {
    host: Host,
    states: States,
    /// For how long the ticket holds.
    left: Duration,
}

/// What there is to see, after a version that the client has seen.
pub(super) enum Sight {
    /// The client has seen the end.
    Over,
    Stream(Watching),
}

/// The states that a client is to be sent.
pub(super) struct Watching {
    states: States,
    after: Option<u64>,
    host: Host,
    left: Duration,
}

impl Live {
    /// Checks a ticket.
    pub(super) fn admit(&self, ticket: &str) -> Result<Admitted, Refusal> {
        let host = self.host.clone().ok_or(Refusal::Stopping)?;
        if host.is_stopping() {
            return Err(Refusal::Stopping);
        }
        let backend = host.store().and_then(backend::of);
        let backend = backend.ok_or(Refusal::Unavailable)?;
        let scope = backend.tickets().check(ticket).ok_or(Refusal::Ticket)?;
        let left = scope.left(host.now()).ok_or(Refusal::Expired)?;
        Ok(Admitted {
            states: backend.states(scope.job, scope.with_value),
            host,
            left,
        })
    }

    /// The same for a stream, which counts as long as it holds the permit.
    pub(super) fn admit_stream(&self, ticket: &str) -> Result<(Admitted, Permit), Refusal> {
        let admitted = self.admit(ticket)?;
        let permit = self.limits.permit(ticket).map_err(Refusal::Full)?;
        Ok((admitted, permit))
    }
}

impl Admitted {
    /// Reads the present state.
    pub(super) async fn present(mut self) -> Result<Arc<Shown>, Refusal> {
        match timeout(FIRST, self.states.next()).await {
            Ok(Some(Ok(shown))) => Ok(shown),
            Ok(Some(Err(error))) => Err(Refusal::of(&error)),
            Ok(None) | Err(_) => Err(Refusal::Unavailable),
        }
    }

    /// Begins to watch for a client that has seen this version. Waits for the present state, but no longer than a while: then the
    /// database is away, and the stream waits for it.
    pub(super) async fn watch(mut self, after: Option<u64>) -> Result<Sight, Refusal> {
        let first = timeout(FIRST, self.states.next()).await.ok().flatten();
        let states = match first {
            Some(Err(error @ (JobError::NotFound | JobError::Gone))) => {
                return Err(Refusal::of(&error));
            }
            Some(Ok(shown)) if shown.event.is_end() && after == Some(shown.event.version) => {
                return Ok(Sight::Over);
            }
            Some(first) => stream::iter([first]).chain(self.states).boxed(),
            None => self.states,
        };
        Ok(Sight::Stream(Watching {
            states,
            after,
            host: self.host,
            left: self.left,
        }))
    }
}

impl Watching {
    /// Returns what the client is to be sent. Ends after the end, if the job cannot be read, when the ticket expires, and when the
    /// shutdown is requested: a stream must not hold the drain, and the client comes back.
    pub(super) fn states(self) -> impl Stream<Item = Arc<Shown>> + Send + 'static {
        let Self {
            states,
            after,
            host,
            left,
        } = self;
        let ends = async move {
            tokio::select! {
                () = host.stopping() => {}
                () = sleep(left) => {}
            }
        };
        states
            .take_while(|state| ready(state.is_ok()))
            .filter_map(move |state| {
                let news = state.ok().filter(|shown| {
                    // A later one than the database has is from before a restore.
                    shown.event.is_end() || after.is_none_or(|after| shown.event.version > after)
                });
                ready(news)
            })
            .take_until(Box::pin(ends))
    }
}
