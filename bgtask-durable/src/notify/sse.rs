//! Server-sent events: one for each state, with its version as the id. Must never know who may see it.

use super::admission::Watching;
use super::limits::Permit;
use super::message::Message;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use std::convert::Infallible;
use std::time::Duration;

/// After how long a client connects again whose stream has ended: of those of a server that ends, each at another time.
const RETRY_MILLIS: std::ops::Range<u64> = 500..2500;

/// A proxy must not hold events back.
const UNBUFFERED: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// Returns the stream of a client, which counts as long as it is open.
pub(super) fn stream_of(watching: Watching, permit: Permit, keep_alive: Duration) -> Response {
    let states = watching.states().map(move |shown| {
        let _open = &permit;
        Event::default()
            .id(shown.event.version.to_string())
            .data(Message::new(&shown).json())
    });
    // At once, so that the client knows that it is connected.
    let events = stream::iter([retry()])
        .chain(states)
        .map(Ok::<_, Infallible>);
    let alive = KeepAlive::new().interval(keep_alive);
    ([UNBUFFERED], Sse::new(events).keep_alive(alive)).into_response()
}

/// Returns a stream that ends at once: the client connects again. At any other answer, the `EventSource` of a browser gives up.
pub(super) fn later() -> Response {
    let events = stream::iter([Ok::<_, Infallible>(retry())]);
    ([UNBUFFERED], Sse::new(events)).into_response()
}

fn retry() -> Event {
    Event::default().retry(Duration::from_millis(fastrand::u64(RETRY_MILLIS)))
}
