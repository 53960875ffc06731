//! A live, read-only page that shows what runs. By default only this machine may see it.
//!
//! ```no_run
//! #[bgtask::main]
//! async fn main() -> std::io::Result<()> {
//!     bgtask::dashboard::serve("127.0.0.1:9090")?; // http://127.0.0.1:9090
//!     // …
//!     Ok(())
//! }
//! ```
//!
//! The page shows what runs and how long it has, what each function came to, the last failures with their messages, the last
//! ten minutes, what is due when, and how a shutdown is coming on. `snapshot.json` beside it has the same for programs.
//! Nothing of it changes anything, and nothing is loaded from elsewhere.
//!
//! # Where
//!
//! [`serve`] gives the page a listener, a thread and a runtime of its own. The page answers while every worker of the program is
//! stuck, and during the drain, until the shutdown is over. The drain does not wait for it.
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
//! # Who
//!
//! Messages of failures may hold what not everybody is to read, so it answers nobody it is not sure of:
//!
//! 1. **The host** in the request has to be `localhost`, `127.0.0.1` or `[::1]`, on any port, or one of
//!    [`allow_host`](Builder::allow_host). This prevents DNS rebinding.
//! 2. **Other sites'** requests, as browsers mark them, are refused; a link to the page is followed.
//! 3. **The peer** has to be on this machine. Its address is the connection's, which axum tells those that are served with
//!    `into_make_service_with_connect_info::<SocketAddr>()`; where it is not known, the answer is no. Headers are not asked. A
//!    request that came through a proxy, by its headers or by being HTTP/1.0, is refused: behind a proxy on this machine every
//!    peer is. A proxy that leaves no trace cannot be told from a browser.
//!
//! Only [`authorize`](Builder::authorize) takes the place of the third rule; nothing else loosens it. Each refusal says what to
//! write, to whoever asked and, at most once a minute, as a warning in the log.
//!
//! # What it costs
//!
//! From the first router of a manager on, each end of a task is counted for its function. One sample a second serves all open
//! pages; while no page is open, none is taken. Requests for `snapshot.json` share one sample for a second. At most one sample is
//! taken at a time, and never on a worker: the sampler uses the blocking pool of the runtime that serves the page. A page that
//! does not keep up misses samples, and none are queued for it.
//!
//! Open pages do not delay the shutdown. In a server, each page receives a last sample, and its stream ends, as soon as the
//! shutdown is requested; with a listener of its own, when the shutdown is over, although the last
//! sample may be missing because the process exits first. The page keeps trying to reconnect, and says so
//! when nothing answers.

mod assets;
mod board;
mod connections;
mod guard;
mod records;
mod server;
mod timeline;
mod view;

use crate::context::current;
use crate::manager::Manager;
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::Phase;
use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use board::{Board, Frame};
use futures_util::stream;
use guard::{Guard, Target};
use server::Server;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};

/// Serves the dashboard of the current manager at `address`, with the default options: only this machine may see it. Returns the
/// address that the dashboard listens on. With port 0 the operating system chooses a free port.
///
/// See [`Builder::serve`] for details, and [`builder`] for the options.
///
/// # Examples
/// ```no_run
/// #[bgtask::main]
/// async fn main() -> std::io::Result<()> {
///     let address = bgtask::dashboard::serve("127.0.0.1:9090")?;
///     println!("what runs: http://{address}");
///     Ok(())
/// }
/// ```
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

/// The dashboard of the current manager, with no options: for this machine alone.
///
/// # Panics
/// Where no manager can be found, and where its runtime has no timer.
#[track_caller]
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    builder().router()
}

/// A dashboard to be, for this machine alone and of the current manager, as long as nothing else is said.
pub fn builder() -> Builder {
    Builder {
        guard: Guard::default(),
        title: "Background tasks".to_owned(),
        tracker: None,
    }
}

/// The settings of a dashboard to be.
#[must_use = "a builder does nothing until `router`"]
#[derive(Clone, Debug)]
pub struct Builder {
    guard: Guard,
    title: String,
    tracker: Option<Weak<Tracker>>,
}

impl Builder {
    /// Shows that manager. The current one of where [`router`](Self::router) is called if not said.
    pub fn manager(mut self, manager: &Manager) -> Self {
        self.tracker = Some(Arc::downgrade(manager.tracker()));
        self
    }

    /// The heading of the page: which service, which instance. "Background tasks" if not said.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Answers to that name too: what the browser shows in its address bar, as in `"status.example.org"` or, for that port
    /// alone, `"10.0.0.5:3000"`. May be said several times; `localhost`, `127.0.0.1` and `[::1]` stay.
    ///
    /// Who may see the page stays as it is: see [`authorize`](Self::authorize).
    ///
    /// # Panics
    /// If that is no host.
    #[track_caller]
    pub fn allow_host(mut self, host: impl AsRef<str>) -> Self {
        let host = host.as_ref();
        assert!(
            self.guard.allow_host(host),
            "`{host}` is no host: expected a name or an address as in \"status.example.org\", \"10.0.0.5:3000\" or \"[::1]\", \
             without a scheme or a path"
        );
        self
    }

    /// Asks `authorize` about each request, in place of the rule that the peer is on this machine. It is given the head of the
    /// request, with the extensions that layers have put there, and answers with a `bool`, or with `Err(response)` to say
    /// something of its own, such as 401.
    ///
    /// The rule about the host stays: behind a name of its own, say [`allow_host`](Self::allow_host) too. An `EventSource`
    /// sends cookies and basic authentication, but no other header of yours.
    ///
    /// ```
    /// use axum::http::{StatusCode, header::{AUTHORIZATION, WWW_AUTHENTICATE}};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # let _in_runtime = runtime.enter();
    /// # let _manager = bgtask::Manager::install().unwrap();
    /// let dashboard = bgtask::dashboard::builder()
    ///     .allow_host("status.example.org")
    ///     .authorize(|request| match request.headers.get(AUTHORIZATION) {
    ///         Some(value) if value == "Basic b3BzOnNlY3JldA==" => Ok(()),
    ///         _ => Err((StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")])),
    ///     });
    /// let app: axum::Router = axum::Router::new().nest("/background", dashboard.router());
    /// ```
    ///
    /// # Panics
    /// A panic of `authorize` ends the connection, and nothing is shown.
    pub fn authorize<A: Into<Access>>(
        mut self,
        authorize: impl Fn(&Parts) -> A + Send + Sync + 'static,
    ) -> Self {
        let authorize = move |parts: &Parts| authorize(parts).into();
        self.guard.set_authorize(authorize);
        self
    }

    /// Serves the page at `address`, on a listener, a thread and a runtime of its own, and returns the address it listens on.
    /// With port 0 the operating system chooses a free port.
    ///
    /// The page is at `/`, and also at `/background` and `/background/`, as in a server. It answers from now on, whatever the
    /// program's own runtime does, until the shutdown is over or the manager is gone. Nothing waits for it: the page is not
    /// background work and is not counted, so it delays neither the drain nor the exit.
    ///
    /// At most 64 connections are open at once; further ones wait. A connection carries one request, and is closed if its peer takes
    /// more than ten seconds to send the head of the request, or to read on when the response fills the buffers.
    ///
    /// An address that other machines can reach is an error, unless [`authorize`](Self::authorize) decides who may see the page.
    ///
    /// # Examples
    /// ```
    /// # let runtime = tokio::runtime::Runtime::new()?;
    /// # let _in_runtime = runtime.enter();
    /// # let manager = bgtask::Manager::install()?;
    /// let dashboard = bgtask::dashboard::builder().title("orders, eu-1");
    /// let address = dashboard.serve("127.0.0.1:0")?;
    /// println!("what runs: http://{address}");
    /// # runtime.block_on(manager.shutdown("the example ends"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if `address` cannot be resolved or bound, if other machines can reach it and [`authorize`](Self::authorize) is not
    /// set, if no thread can be spawned, or if the manager is gone.
    ///
    /// # Panics
    /// Panics if no manager can be found.
    #[track_caller]
    pub fn serve(self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let tracker = match &self.tracker {
            Some(tracker) => tracker.upgrade(),
            None => current("dashboard::serve()").ok(),
        };
        let Some(tracker) = tracker else {
            return Err(io::Error::other("the manager to be shown is gone"));
        };
        let addresses: Vec<_> = address.to_socket_addrs()?.collect();
        let reachable = addresses.iter().find(|address| !address.ip().is_loopback());
        if let Some(address) = reachable
            && self.guard.is_for_this_machine()
        {
            let message = format!(
                "the dashboard answers peers on its own machine only, and other machines can reach {address}: serve it on \
                 127.0.0.1, or say who may see it with `bgtask::dashboard::builder().authorize(…).serve(…)`"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let server = Server::bind(&addresses)?;
        let board = Board::served(&tracker, server.runtime());
        let page: Router = self.routes(Some(board.clone()), Ends::WithShutdown);
        let app = page.clone().nest_service("/background", page);
        server.start(app, board, &tracker)
    }

    /// The routes: the page at `/`, `snapshot.json`, the stream of events, and what the page is made of.
    ///
    /// # Panics
    /// Where no manager can be found, and where its runtime has no timer.
    #[track_caller]
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let tracker = match &self.tracker {
            Some(tracker) => tracker.upgrade(),
            None => current("dashboard::router()").ok(),
        };
        let board = tracker.map(|tracker| Board::of(&tracker));
        self.routes(board, Ends::WithServer)
    }

    fn routes<S: Clone + Send + Sync + 'static>(
        self,
        board: Option<Arc<Board>>,
        ends: Ends,
    ) -> Router<S> {
        let shown = Shown {
            board,
            title: self.title.into(),
            ends,
        };
        let guarded = |target| from_fn_with_state((self.guard.clone(), target), guarded);
        let page = Router::new()
            .route("/", get(page))
            .route_layer(guarded(Target::Page));
        let mut rest = Router::new()
            .route("/snapshot.json", get(snapshot))
            .route("/events", get(events));
        for asset in assets::ALL {
            rest = rest.route(asset.path, get(asset.response()));
        }
        // Layers of routes alone: whatever else is asked for is the app's to answer.
        page.merge(rest.route_layer(guarded(Target::Rest)))
            .with_state(shown)
    }
}

/// What [`authorize`](Builder::authorize) says: made from a `bool`, or from a `Result` whose error is the response.
pub struct Access(Result<(), Option<Box<Response>>>);

impl From<bool> for Access {
    fn from(granted: bool) -> Self {
        Self(if granted { Ok(()) } else { Err(None) })
    }
}

impl<E: IntoResponse> From<Result<(), E>> for Access {
    fn from(access: Result<(), E>) -> Self {
        Self(access.map_err(|response| Some(Box::new(response.into_response()))))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Access").field(&self.0.is_ok()).finish()
    }
}

/// What one router shows.
#[derive(Clone)]
struct Shown {
    /// Absent if the manager was gone already.
    board: Option<Arc<Board>>,
    title: Arc<str>,
    ends: Ends,
}

/// How long a page is served, and thus how long its stream may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Until the shutdown is requested. The server then waits for its connections, so a stream that went on would delay it.
    WithServer,
    /// Until the shutdown is over.
    WithShutdown,
}

impl Ends {
    /// Returns whether a sample taken in this phase is the last one of a stream.
    fn with(self, phase: Phase) -> bool {
        match self {
            Ends::WithServer => phase != Phase::Running,
            Ends::WithShutdown => phase == Phase::Over,
        }
    }
}

/// Holds every response of a router to its rules.
async fn guarded(
    State((guard, target)): State<(Guard, Target)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let admitted = guard.admit(&parts, target);
    let mut response = match admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(response) => *response,
    };
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// On every response. All the page needs is served beside it, and nothing else is let in.
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
    let outlives_drain = shown.ends == Ends::WithShutdown;
    let html = assets::page(&shown.title, uri.path(), outlives_drain);
    with_type("text/html; charset=utf-8", html)
}

async fn snapshot(State(shown): State<Shown>) -> Response {
    let sample = match shown.board {
        Some(board) => board.shared_sample().await,
        None => None,
    };
    match sample {
        Some(sample) => with_type("application/json", sample.json),
        None => gone(),
    }
}

/// The stream: one event a sample, as long as the process runs.
async fn events(State(shown): State<Shown>) -> Response {
    let Some(board) = shown.board else {
        return gone();
    };
    let mut frames = board.watch();
    // The present one is new to this page.
    frames.mark_changed();
    let events = stream::unfold(Some(frames), move |frames| async move {
        let mut frames = frames?;
        loop {
            frames.changed().await.ok()?;
            // Whatever came while the page was busy with the last one, it gets the latest.
            let frame = frames.borrow_and_update().clone();
            match frame {
                Frame::None => {}
                Frame::Closed => return None,
                Frame::Shown { event, phase } => {
                    let frames = (!shown.ends.with(phase)).then_some(frames);
                    return Some((Ok::<_, Infallible>(event), frames));
                }
            }
        }
    });
    let mut response = with_type("text/event-stream", Body::from_stream(events));
    // What a proxy collects before it hands it on comes late.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn gone() -> Response {
    let text = "The manager that was shown here is gone.\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

fn with_type(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
