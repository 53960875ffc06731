//! A live page that shows the background work. By default, only this machine may see it, and nobody may change anything.
//!
//! # Examples
//! ```no_run
//! #[bgtask::main]
//! async fn main() -> std::io::Result<()> {
//!     bgtask::dashboard::serve("127.0.0.1:9090")?; // http://127.0.0.1:9090
//!     // …
//!     Ok(())
//! }
//! ```
//!
//! The page shows the live tasks and their age, the totals of each function, the last failures with their messages, the calls that
//! have just ended, the last ten minutes, the next and the last run of each schedule, and the progress of a shutdown. Each function
//! has a page of its own, with percentiles of its durations and its failures by message. `snapshot.json` and `function.json` have the
//! same data for programs. The pages change nothing, and load nothing from elsewhere.
//!
//! # Address
//!
//! [`serve`] gives the page a listener, a thread and a runtime of its own. The page responds even if every worker of the program
//! is stuck, and during the drain, until the shutdown is over. The drain does not wait for it.
//!
//! [`router`] makes the page part of an axum server, under that server's address. `nest_service("/background", …)` serves it at
//! `/background` and `/background/`, `nest("/background", …)` only at `/background`, and `merge` at `/`. When the server stops at
//! a shutdown, the page stops with it, before the background work has drained.
//!
//! ```
//! use bgtask::ShutdownToken;
//! use std::net::SocketAddr;
//!
//! #[bgtask::main]
//! async fn main(shutdown: ShutdownToken) -> std::io::Result<()> {
//!     let app = axum::Router::new().nest_service("/background", bgtask::dashboard::router());
//!     // Without this the dashboard does not know the peer's address, and refuses every request.
//!     let app = app.into_make_service_with_connect_info::<SocketAddr>();
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! #   bgtask::request_shutdown("the example ends");
//!     axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await
//! }
//! ```
//!
//! # Access
//!
//! Failure messages may contain confidential data, so the dashboard refuses every request that it cannot check:
//!
//! 1. **The host** of the request must be `localhost`, `127.0.0.1` or `[::1]`, on any port, or a name that
//!    [`allow_host`](Builder::allow_host) has added. This prevents DNS rebinding.
//! 2. **Other sites** may only link to the page. Any other request that a browser marks as made by another site is refused.
//! 3. **The peer** must be on this machine. The dashboard takes the address from the connection, which axum passes on with
//!    `into_make_service_with_connect_info::<SocketAddr>()`, and never from headers; a request without it is refused. A request
//!    that came through a proxy is refused, because behind a proxy on this machine every peer is local. The dashboard recognizes
//!    proxies by their headers and by HTTP/1.0, but cannot recognize a proxy that leaves no trace.
//!
//! Only [`authorize`](Builder::authorize) replaces the third rule. It also decides who may do more than view, where the dashboard has
//! [sections](Builder::sections) that act; an action passes further rules, and a GET never changes anything. Each response to a refused request gives the reason and the fix,
//! and a warning is logged at most once per minute and cause.
//!
//! # Cost
//!
//! From the first dashboard of a manager on, each end of a task is counted for its function, and the last ones are kept. One sample per
//! second serves all open pages; while no page is open, no sample is taken. Requests for `snapshot.json` share one sample per second, and
//! so do those for each function. At most one sample is taken at a time, and never on a worker: the sampler uses the blocking pool of the
//! runtime that serves the page. A page that reads slowly misses samples.
//!
//! Open pages do not delay the shutdown. In a server, each page receives a last sample, and its stream ends, as soon as the
//! shutdown is requested. With a listener of its own, this happens when the shutdown is over, although the last sample may be
//! missing because the process exits first. The page keeps trying to reconnect, and shows when it has no connection.

mod assets;
mod board;
mod builder;
mod collect;
mod connections;
mod guard;
mod latest;
mod records;
mod rights;
mod routes;
mod sections;
mod server;
mod timeline;
mod view;
mod visits;

pub use builder::Builder;
pub use rights::{Access, Rights};
pub use sections::{Act, Action, Answer, Section, Sections, Shown, Visit};

use axum::Router;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Serves the dashboard of the current manager at `address`, with the default options: only this machine may see it. Returns the
/// address that the dashboard listens on. With port 0 the operating system chooses a free port.
///
/// See [`Builder::serve`] for details, and [`builder`] for the options.
///
/// # Errors
/// Fails if `address` cannot be resolved or bound, if other machines can reach it, if no thread can be spawned, or if the manager
/// is gone.
///
/// # Panics
/// Panics if no manager can be found.
#[track_caller]
pub fn serve(address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    builder().serve(address)
}

/// Returns a router that serves the dashboard of the current manager, with the default options: only this machine may see it.
///
/// # Panics
/// Panics if no manager can be found, and if its runtime has no timer.
#[track_caller]
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    builder().router()
}

/// Returns the options of a dashboard, with their defaults: for this machine and the current manager.
pub fn builder() -> Builder {
    Builder::new()
}
