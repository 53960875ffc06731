//! A small web service that renders Markdown. Read this example first.
//!
//! The service responds from a cache on disk, immediately, even if the document has changed since. It then renders the page again
//! *in the background* ([`site`]), where it also writes its access log ([`access_log`]). On SIGTERM or Ctrl-C it responds to the
//! requests it has accepted, and the process stays until the last page and the last line are written.
//!
//! ```console
//! $ cargo run -p example-pages
//! listening on http://127.0.0.1:3000
//! ```
//!
//! In another terminal:
//!
//! ```console
//! $ curl -i localhost:3000/page/sigterm     # x-cache: rendered, and the next time x-cache: fresh
//! $ curl localhost:3000/status              # what runs in the background
//! ```
#![allow(
    clippy::print_stdout,
    reason = "scripts read the address from stdout; the log goes to stderr"
)]

mod access_log;
mod args;
mod cache;
mod documents;
mod render;
mod site;
mod web;

use anyhow::Context;
use axum::Router;
use bgtask::ShutdownToken;
use std::future::IntoFuture;
use std::io::{self, IsTerminal};
use std::pin::pin;
use tokio::net::TcpListener;
use tokio::time::timeout;

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    let Some(args) = args::parse()? else {
        println!("{}", args::HELP);
        return Ok(());
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    bgtask::set_grace(args.grace);

    let site = site::open(&args.documents, &args.cache)?;
    let log = access_log::open(&args.access_log)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on http://{}", listener.local_addr()?);

    serve(listener, web::router(site, log), shutdown).await
    // From here the background work drains.
}

/// Serves until the shutdown starts, and then until the last response is sent.
async fn serve(listener: TcpListener, app: Router, shutdown: ShutdownToken) -> anyhow::Result<()> {
    let mut server = pin!(
        axum::serve(listener, app)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned())
            .into_future()
    );
    if let Some(served) = shutdown.run_until_cancelled(&mut server).await {
        return Ok(served?);
    }
    // The whole shutdown has one deadline. A visitor who neither completes a request nor disconnects would keep the server until
    // then, so the server gets half of the time and leaves the other half to the background work.
    let half = shutdown.remaining().unwrap_or_default() / 2;
    match timeout(half, server).await {
        Ok(served) => served?,
        Err(_) => tracing::warn!("some connections are still open; not waiting for them"),
    }
    Ok(())
}
