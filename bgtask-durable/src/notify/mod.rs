//! What the person sees who asked for a job: its states, live and afterwards, for whoever has a ticket.
//!
//! A [ticket](bgtask::durable::JobHandle::ticket) lets its bearer see one job for a time, and nothing else. [`router()`] has the
//! routes of axum that take it:
//!
//! | Route | Response |
//! |---|---|
//! | `GET /jobs/{ticket}` | the present state, as JSON |
//! | `GET /jobs/{ticket}/events` | server-sent events: the present state, each newer one, and the end |
//! | `GET /jobs/{ticket}/ws` | the same messages over a WebSocket |
//! | `GET /jobs/bgtask-live.js` | the element `<bgtask-progress src="/jobs/{ticket}/events">`, in 3 KB without dependencies |
//!
//! [docs/durable-live.md] has each of them in ten lines, what a message has, and what refused tickets get.
//!
//! # Examples
//! ```no_run
//! use axum::{Json, Router, routing::post};
//! use bgtask::background;
//! use std::time::Duration;
//!
//! #[background(durable)]
//! async fn render(job: bgtask::Job, pages: u32) -> u32 {
//!     for page in 0..pages {
//!         job.progress(f64::from(page) / f64::from(pages), format!("page {page}"));
//!     }
//!     pages
//! }
//!
//! async fn order() -> Json<String> {
//!     let job = render(12).await.expect("it is stored");
//!     let ticket = job.ticket(Duration::from_secs(3600)).expect("an hour");
//!     Json(format!("/jobs/{ticket}/events"))
//! }
//!
//! #[bgtask::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     bgtask_durable::open().await?;
//!     let app: Router = Router::new()
//!         .route("/orders", post(order))
//!         .merge(bgtask_durable::notify::router());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     Ok(axum::serve(listener, app).await?)
//! }
//! ```
//!
//! [docs/durable-live.md]: https://github.com/bgtask/bgtask/blob/main/docs/durable-live.md
// Owns the routes and their rules; must never know a database.

mod admission;
mod builder;
mod limits;
mod message;
mod origin;
mod routes;
mod socket;
mod sse;

pub use builder::Builder;

/// Returns the routes, with the settings of [`builder()`] at their defaults: no other origin, 20,000 open streams in all and 16 per
/// ticket.
///
/// # Panics
/// Where no manager can be found: outside of a tokio runtime.
#[track_caller]
pub fn router() -> axum::Router {
    builder().router()
}

/// Returns the settings of the routes.
pub fn builder() -> Builder {
    Builder::new()
}
