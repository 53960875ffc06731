//! The routes of a dashboard: its two pages, their files, `snapshot.json`, `function.json` and the stream.
//! Owns the headers of all responses; must never know what a sample contains.

use super::assets;
use super::board::{Board, Frame};
use super::collect;
use super::guard::{Guard, Target};
use super::sections::{Section, Sections};
use super::visits;
use crate::handler::Handler;
use crate::tracker::shutdown_state::Phase;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{OriginalUri, Query, Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

/// Returns the routes of a dashboard, behind its guard.
pub(super) fn router<S: Clone + Send + Sync + 'static>(
    guard: Guard,
    title: String,
    sections: Option<Arc<dyn Sections>>,
    board: Option<Arc<Board>>,
    ends: Ends,
) -> Router<S> {
    let shown = Shown {
        board,
        title: title.as_str().into(),
        links: sections
            .iter()
            .flat_map(|own| own.pages())
            .copied()
            .collect(),
        ends,
    };
    let guarded = |target| from_fn_with_state((guard.clone(), target), guarded);
    let further = sections.map(|sections| {
        visits::router(sections, &title, &guard, |routes, target| {
            routes.route_layer(guarded(target))
        })
    });
    let pages = Router::new()
        .route("/", get(page))
        .route(&format!("/{}", assets::OWN.path), get(page_beside))
        .route("/function", get(function_page));
    let page = pages.route_layer(guarded(Target::Page));
    let mut rest = Router::new()
        .route("/snapshot.json", get(snapshot))
        .route("/function.json", get(function))
        .route("/events", get(events));
    for asset in assets::ALL {
        rest = rest.route(asset.path, get(asset.handler()));
    }
    // Layers only of these routes: the app still handles all other paths.
    let own = page.merge(rest.route_layer(guarded(Target::Rest)));
    let own = own.with_state(shown);
    match further {
        Some(further) => own.merge(further),
        None => own,
    }
}

/// The state of one router.
#[derive(Clone)]
struct Shown {
    /// `None` if the manager was already gone.
    board: Option<Arc<Board>>,
    title: Arc<str>,
    /// The further pages, for the navigation.
    links: Arc<[Section]>,
    ends: Ends,
}

impl Shown {
    fn page(&self, base: &str) -> Response {
        let outlives_drain = self.ends == Ends::WithShutdown;
        let html = assets::page(&self.title, base, outlives_drain, &self.links);
        assets::response("text/html; charset=utf-8", html)
    }
}

/// How long a page is served, and thus how long its stream may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Until the shutdown is requested. The server then waits for its connections, so a longer stream would delay it.
    WithServer,
    /// Until the shutdown is over.
    WithShutdown,
}

impl Ends {
    /// Returns whether a sample taken in this phase is the last one of a stream.
    fn is_last(self, phase: Phase) -> bool {
        match self {
            Ends::WithServer => phase != Phase::Running,
            Ends::WithShutdown => phase == Phase::Over,
        }
    }
}

/// Refuses the requests that the guard does not admit, and adds [`HEADERS`] to every response.
async fn guarded(
    State((guard, target)): State<(Guard, Target)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = guard.admit(&parts, target);
    let is_admitted = admitted.is_ok();
    let mut response = match admitted {
        Ok(granted) => {
            parts.extensions.insert(granted);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(response) => *response,
    };
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        let headers = response.headers_mut();
        // A page with forms has headers of its own for them.
        let is_of_forms = visits::HEADERS.iter().any(|(own, _)| *own == name);
        if !(is_admitted && is_of_forms && headers.contains_key(&name)) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// The headers of every response. The page needs only the files beside it, so everything else is forbidden.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

async fn page(State(shown): State<Shown>, OriginalUri(uri): OriginalUri) -> Response {
    shown.page(&assets::base(uri.path()))
}

/// Returns the same page at an address beside all others, which lead back to it: not every server has the first one there.
async fn page_beside(State(shown): State<Shown>) -> Response {
    shown.page("./")
}

async fn snapshot(State(shown): State<Shown>) -> Response {
    let sample = match shown.board {
        Some(board) => board.shared_sample().await,
        None => None,
    };
    match sample {
        Some(sample) => assets::response("application/json", sample.json),
        None => gone(),
    }
}

/// Returns the page of one function.
async fn function_page(State(shown): State<Shown>, query: Named) -> Response {
    match named(query) {
        Some(handler) => {
            let html = assets::function(&shown.title, handler.name(), &shown.links);
            assets::response("text/html; charset=utf-8", html)
        }
        None => unknown(),
    }
}

async fn function(State(shown): State<Shown>, query: Named) -> Response {
    let Some(handler) = named(query) else {
        return unknown();
    };
    let details = match shown.board {
        Some(board) => board.shared_details(handler).await,
        None => None,
    };
    match details {
        Some(details) => assets::response("application/json", details.json),
        None => gone(),
    }
}

/// The query of a request for one function: `?name=shop::deliver`.
type Named = Result<Query<Name>, QueryRejection>;

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// Returns the function that a request names, if it is linked into the program.
fn named(query: Named) -> Option<&'static Handler> {
    let Query(Name { name }) = query.ok()?;
    collect::find(&name)
}

/// Returns the stream, with one event per sample.
async fn events(State(shown): State<Shown>) -> Response {
    let Some(board) = shown.board else {
        return gone();
    };
    let mut frames = board.watch();
    // The current frame is new to this page.
    frames.mark_changed();
    let events = stream::unfold(Some(frames), move |frames| async move {
        let mut frames = frames?;
        loop {
            frames.changed().await.ok()?;
            // A page that has missed frames gets only the latest.
            let frame = frames.borrow_and_update().clone();
            match frame {
                Frame::None => {}
                Frame::Closed => return None,
                Frame::Shown { event, phase } => {
                    let frames = (!shown.ends.is_last(phase)).then_some(frames);
                    return Some((Ok::<_, Infallible>(event), frames));
                }
            }
        }
    });
    let mut response = assets::response("text/event-stream", Body::from_stream(events));
    // Otherwise a proxy might buffer the events.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn unknown() -> Response {
    let text = "No function of this name is linked into this program.\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

fn gone() -> Response {
    let text = "The manager of this dashboard is gone.\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
