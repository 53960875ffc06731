//! The routes, and what each request has in common: its ticket, its page, and the version that its client has seen.
//! Must never know how a state is sent.

use super::admission::{Live, Sight};
use super::message::{Message, Refusal};
use super::{socket, sse};
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn router(live: Live) -> Router {
    Router::new()
        .route("/jobs/{ticket}", get(state))
        .route("/jobs/{ticket}/events", get(events))
        .route("/jobs/{ticket}/ws", get(web_socket))
        .route_layer(from_fn_with_state(live.clone(), guard))
        .route("/jobs/bgtask-live.js", get(script))
        .with_state(live)
}

/// Refuses pages of other origins, and adds the headers of each response.
async fn guard(State(live): State<Live>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let from = live.origins.check(&parts);
    let mut response = match from {
        Some(_) => next.run(Request::from_parts(parts, body)).await,
        None => Refusal::Origin.into_response(),
    };
    live.origins.add_headers(from, response.headers_mut());
    response
}

async fn state(State(live): State<Live>, Path(ticket): Path<String>) -> Result<Response, Refusal> {
    let shown = live.admit(&ticket)?.present().await?;
    Ok(Json(Message::new(&shown)).into_response())
}

/// The version of the last message, for a client that cannot send a header.
#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

type AfterQuery = Result<Query<After>, QueryRejection>;

async fn events(
    State(live): State<Live>,
    Path(ticket): Path<String>,
    query: AfterQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    match open_events(&live, &ticket, query, &headers).await {
        // Also behind a proxy that has no other server.
        Err(Refusal::Stopping | Refusal::Unavailable) => Ok(sse::later()),
        answer => answer,
    }
}

async fn open_events(
    live: &Live,
    ticket: &str,
    query: AfterQuery,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let Query(After { after }) = query.map_err(|_| Refusal::After)?;
    // That of a client that connects again by itself is the later one.
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let after = last.and_then(|id| id.trim().parse().ok()).or(after);
    let (admitted, permit) = live.admit_stream(ticket)?;
    Ok(match admitted.watch(after).await? {
        // At this status, an `EventSource` does not connect again.
        Sight::Over => StatusCode::NO_CONTENT.into_response(),
        Sight::Stream(watching) => sse::stream_of(watching, permit, live.keep_alive),
    })
}

async fn web_socket(
    State(live): State<Live>,
    Path(ticket): Path<String>,
    query: AfterQuery,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let Query(After { after }) = query.map_err(|_| Refusal::After)?;
    let (admitted, permit) = live.admit_stream(&ticket)?;
    let sight = admitted.watch(after).await?;
    Ok(socket::serve(upgrade, sight, permit, live.keep_alive))
}

/// The script has no secret, and pages of any origin may load it.
async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, include_str!("live.js")).into_response()
}
