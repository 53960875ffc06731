//! The settings of the routes. Must never know what a route shows.

use super::admission::Live;
use super::limits::Limits;
use super::origin::{Origins, is_origin};
use super::routes;
use axum::Router;
use bgtask::durable::Host;
use std::sync::Arc;
use std::time::Duration;

/// The settings of the routes; see [`builder()`](super::builder()).
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `router`"]
pub struct Builder {
    origins: Vec<String>,
    connections: usize,
    per_ticket: usize,
    keep_alive: Duration,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            origins: Vec::new(),
            connections: 20_000,
            per_ticket: 16,
            keep_alive: Duration::from_secs(15),
        }
    }

    /// Lets the pages of another origin read the routes, such as `https://shop.example`. May be called several times. Default: the pages
    /// of the same host alone.
    ///
    /// A proxy that changes the `Host` of requests makes its own pages those of another origin: allow theirs.
    ///
    /// # Panics
    /// If it is not an origin: a scheme and a host, perhaps a port, and no path. There is no wildcard.
    #[track_caller]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        let origin = origin.into().to_ascii_lowercase();
        assert!(
            is_origin(&origin),
            "`{origin}` is not an origin: expected a scheme and a host as in \"https://shop.example\" or \"http://localhost:3000\", \
             without a path or a `*`"
        );
        self.origins.push(origin);
        self
    }

    /// Sets how many event streams and WebSockets may be open at once. Default: 20,000. One more gets 503.
    pub fn connections(mut self, limit: usize) -> Self {
        self.connections = limit;
        self
    }

    /// Sets how many of them one ticket may have open at once. Default: 16. One more gets 429.
    pub fn connections_per_ticket(mut self, limit: usize) -> Self {
        self.per_ticket = limit;
        self
    }

    /// Sets after how long a silent stream sends a comment, and a WebSocket a ping, so that nothing in between takes it for dead.
    /// Default: 15 s. At least 1 ms.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval.max(Duration::from_millis(1));
        self
    }

    /// Returns the routes, for [`Router::merge`] or [`Router::nest`]. They show the jobs of the store of the current manager, which may be
    /// opened later.
    ///
    /// # Panics
    /// Where no manager can be found: outside of a tokio runtime.
    #[track_caller]
    pub fn router(self) -> Router {
        routes::router(Live {
            // Without one, the shutdown is over.
            host: Host::current_for("bgtask_durable::notify::router").ok(),
            origins: Arc::new(Origins::new(self.origins)),
            limits: Limits::new(self.connections, self.per_ticket),
            keep_alive: self.keep_alive,
        })
    }
}
