//! The page's own listener: a thread that serves the page until the shutdown is over, whatever the program's runtime does.
//! Owns the thread, its runtime and how both end; must never know what the page shows.

use super::board::Board;
use super::connections::BoundedListener;
use crate::report::ShutdownReason;
use crate::tracker::Tracker;
use crate::util::panic::catch_and_ignore;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::map_response;
use axum::response::Response;
use axum::serve::ListenerExt;
use futures_util::future::select;
use std::future::IntoFuture;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long open connections have to receive the last sample once the shutdown is over. The address is free by then.
const LAST_SAMPLE: Duration = Duration::from_secs(10);

/// How often we check whether the manager was dropped without a shutdown.
const MANAGER_CHECK: Duration = Duration::from_millis(500);

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub(super) struct Server {
    listener: tokio::net::TcpListener,
    runtime: OwnRuntime,
}

/// The runtime of one page: one thread for the connections, and one for the samples.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn get(&self) -> &Runtime {
        match &self.0 {
            Some(runtime) => runtime,
            None => unreachable!("it is there until it is dropped"),
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // A plain drop would wait for a sample in progress, and would panic if an error path drops the runtime in async code.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// Binds the first address that is free.
    pub(super) fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let listener = TcpListener::bind(addresses).map_err(|error| {
            let listed: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
            let cure = match error.kind() {
                io::ErrorKind::AddrInUse => "; pass another port, or 0 for one that is free",
                _ => "",
            };
            let message = format!(
                "the dashboard cannot listen on {}: {error}{cure}",
                listed.join(" or ")
            );
            io::Error::new(error.kind(), message)
        })?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .thread_name("bgtask-sampler")
            .build()?;
        let runtime = OwnRuntime(Some(runtime));
        let listener = {
            let _entered = runtime.get().enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        Ok(Self { listener, runtime })
    }

    pub(super) fn runtime(&self) -> &Handle {
        self.runtime.get().handle()
    }

    /// Serves `app` on a thread of its own until the shutdown is over or the manager is gone. Nothing waits for that thread: the
    /// process may exit while it runs.
    pub(super) fn start(
        self,
        app: Router,
        board: Arc<Board>,
        tracker: &Arc<Tracker>,
    ) -> io::Result<SocketAddr> {
        let Self { listener, runtime } = self;
        let address = listener.local_addr()?;
        let (over, tracker) = (
            tracker.shared.shutdown.over.clone(),
            Arc::downgrade(tracker),
        );
        let leave = LeaveOnDrop {
            board,
            home: runtime.get().handle().clone(),
        };
        let thread = thread::Builder::new().name("bgtask-dashboard".to_owned());
        thread.spawn(move || {
            // Locals are dropped in reverse order: the runtime first, and with it the sampler that runs there.
            let _leave = leave;
            let runtime = runtime;
            // Each connection carries one request, so that the limits of the listener cover all of them.
            let app = app.layer(map_response(async |mut response: Response| {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
                response
            }));
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            // Tapped, because axum passes the peer's address on for listeners of its own types only.
            let listener = BoundedListener::new(listener).tap_io(|_| {});
            let ends = is_over(over.clone(), tracker.clone());
            runtime.get().block_on(async {
                let server = axum::serve(listener, app).with_graceful_shutdown(ends);
                let server = pin!(server.into_future());
                // A client that does not read must not keep the thread alive.
                let ends = is_over(over, tracker);
                let is_late = async {
                    ends.await;
                    sleep(LAST_SAMPLE).await;
                };
                // The server ends without a result of interest: errors of single connections do not end it.
                let _ = select(server, pin!(is_late)).await;
            });
        })?;
        Ok(address)
    }
}

/// Moves the sampler away from a runtime that ends, even if its thread could not be spawned.
struct LeaveOnDrop {
    board: Arc<Board>,
    home: Handle,
}

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.board.leave(&self.home);
    }
}

/// Completes when the shutdown is over or the manager is gone.
async fn is_over(over: CancellationToken, tracker: Weak<Tracker>) {
    while !is_gone(&tracker) {
        if timeout(MANAGER_CHECK, over.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Returns whether the manager was dropped without a shutdown. Its tracker may live on, because threads that made calls keep it.
fn is_gone(tracker: &Weak<Tracker>) -> bool {
    let Some(tracker) = tracker.upgrade() else {
        return true;
    };
    let request = tracker.shared.shutdown.request();
    // No sequence runs with this reason, so the shutdown will never be over.
    let is_gone = request.is_some_and(|request| request.reason == ShutdownReason::ManagerDropped);
    // This may be the last owner, and then it drops the user's hooks.
    catch_and_ignore(|| drop(tracker));
    is_gone
}
