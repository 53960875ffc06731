//! The options of a dashboard, and how it starts: on a listener of its own, or as a router.

use super::board::Board;
use super::guard::Guard;
use super::rights::{Access, Rights};
use super::routes::{Ends, router};
use super::sections::Sections;
use super::server::Server;
use crate::context::current;
use crate::manager::Manager;
use crate::tracker::Tracker;
use axum::Router;
use axum::http::request::Parts;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};

/// The options of a dashboard, from [`builder`](super::builder).
#[must_use = "a builder does nothing until `serve` or `router`"]
#[derive(Clone, Debug)]
pub struct Builder {
    guard: Guard,
    title: String,
    tracker: Option<Weak<Tracker>>,
    sections: Option<Arc<dyn Sections>>,
    has_local_rights: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            guard: Guard::default(),
            title: "Background tasks".to_owned(),
            tracker: None,
            sections: None,
            has_local_rights: false,
        }
    }

    /// Adds further pages, such as those of durable jobs: `bgtask_durable::dashboard::sections(jobs)`. Default: none.
    ///
    /// Each of their requests passes the same rules as one for the page, and their actions need rights beyond [`Rights::View`].
    pub fn sections(mut self, sections: impl Sections) -> Self {
        self.sections = Some(Arc::new(sections));
        self
    }

    /// Sets what peers on this machine may do. Default: [`Rights::View`].
    ///
    /// The rules about the host, the site and the peer stay. Every user who can open a connection on the machine has these rights.
    ///
    /// # Panics
    /// Panics if [`authorize`](Self::authorize) is set, which decides for them, too.
    #[track_caller]
    pub fn local_rights(mut self, rights: Rights) -> Self {
        assert!(
            self.guard.is_for_this_machine(),
            "`authorize` decides what peers on this machine may do: return their rights there, without `local_rights`"
        );
        self.guard.set_local(rights);
        self.has_local_rights = true;
        self
    }

    /// Sets the manager whose work the page shows. Default: the current manager of the code that calls [`serve`](Self::serve) or
    /// [`router`](Self::router).
    pub fn manager(mut self, manager: &Manager) -> Self {
        self.tracker = Some(Arc::downgrade(manager.tracker()));
        self
    }

    /// Sets the heading of the page, such as the names of the service and the instance. Default: "Background tasks".
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Allows one more host: the host in the browser's address bar, such as `"status.example.org"`, or with a port, for that port
    /// only: `"10.0.0.5:3000"`. May be called several times. `localhost`, `127.0.0.1` and `[::1]` stay allowed.
    ///
    /// This does not change who may see the page: see [`authorize`](Self::authorize).
    ///
    /// # Panics
    /// Panics if `host` is not a host.
    #[track_caller]
    pub fn allow_host(mut self, host: impl AsRef<str>) -> Self {
        let host = host.as_ref();
        assert!(
            self.guard.allow_host(host),
            "`{host}` is not a host: expected a name or an address as in \"status.example.org\", \"10.0.0.5:3000\" or \"[::1]\", \
             without a scheme or a path"
        );
        self
    }

    /// Sets who may see the page, instead of peers on this machine. `authorize` receives the head of each request, with the
    /// extensions that layers have added. It returns [`Rights`], perhaps with a name as in `Rights::Operate.of("ann")`; or `true`,
    /// which is [`Rights::View`], or `false`; or `Err(response)` with a response of its own, such as 401.
    ///
    /// The rule about the host stays: for a host name of your own, also call [`allow_host`](Self::allow_host). The page's
    /// `EventSource` sends cookies and basic authentication, but no custom headers.
    ///
    /// # Examples
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
    /// Panics if [`local_rights`](Self::local_rights) is set. A panic of `authorize` closes the connection without a response.
    #[track_caller]
    pub fn authorize<A: Into<Access>>(
        mut self,
        authorize: impl Fn(&Parts) -> A + Send + Sync + 'static,
    ) -> Self {
        assert!(
            !self.has_local_rights,
            "`authorize` decides what peers on this machine may do: return their rights there, without `local_rights`"
        );
        let authorize = move |parts: &Parts| authorize(parts).into();
        self.guard.set_authorize(authorize);
        self
    }

    /// Serves the page at `address`, with its own listener, thread and runtime, and returns the address it listens on.
    /// With port 0 the operating system chooses a free port.
    ///
    /// The page is at `/`, `/background` and `/background/`. It responds from now on, whatever the program's own runtime does,
    /// until the shutdown is over or the manager is gone. The page is not background work, so it delays neither the drain nor the
    /// exit.
    ///
    /// At most 64 connections are open at once; further ones wait. A connection carries one request. It is closed if its peer takes
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
    /// println!("dashboard: http://{address}");
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
            return Err(io::Error::other("the manager is gone"));
        };
        let addresses: Vec<_> = address.to_socket_addrs()?.collect();
        let reachable = addresses.iter().find(|address| !address.ip().is_loopback());
        if let Some(address) = reachable
            && self.guard.is_for_this_machine()
        {
            let message = format!(
                "the dashboard answers only peers on its own machine, and other machines can reach {address}: serve it on \
                 127.0.0.1, or decide who may see it with `bgtask::dashboard::builder().authorize(…).serve(…)`"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let server = Server::bind(&addresses)?;
        let board = Board::for_server(&tracker, server.runtime());
        let page: Router = router(
            self.guard,
            self.title,
            self.sections,
            Some(board.clone()),
            Ends::WithShutdown,
        );
        let app = page.clone().nest_service("/background", page);
        server.start(app, board, &tracker)
    }

    /// Returns a router that serves the page at `/`, and beside it its files, `snapshot.json` and the stream of events.
    ///
    /// # Panics
    /// Panics if no manager can be found, and if its runtime has no timer.
    #[track_caller]
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let tracker = match &self.tracker {
            Some(tracker) => tracker.upgrade(),
            None => current("dashboard::router()").ok(),
        };
        let board = tracker.map(|tracker| Board::for_router(&tracker));
        router(
            self.guard,
            self.title,
            self.sections,
            board,
            Ends::WithServer,
        )
    }
}
