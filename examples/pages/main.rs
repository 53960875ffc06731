//! A small web service that renders Markdown. The example to read first.
//!
//! Pages are answered from a cache on disk, at once, even when the document has changed since; the page is then rendered
//! anew *behind* the answer ([`site`]). Every request gets a line in an access log, also behind the answer
//! ([`access_log`]). On SIGTERM or Ctrl-C the server answers what it has accepted, and the process stays until the last
//! page and the last line are written.
//!
//! ```console
//! $ cargo run -p bgtask-examples --bin pages -- --access-log access.log
//! listening on http://127.0.0.1:3000
//! ```
//!
//! and, elsewhere,
//!
//! ```console
//! $ curl -i localhost:3000/page/sigterm     # x-cache: rendered, the next time x-cache: fresh
//! $ curl localhost:3000/status              # what is at work behind the answers
//! $ kill -TERM $(pidof pages)
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
use args::Args;
use axum::Router;
use bgtask::ShutdownToken;
use clap::Parser;
use std::future::IntoFuture;
use std::io::{self, IsTerminal};
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    let args = Args::parse();
    log_to_stderr();
    bgtask::set_grace(args.grace);

    let site = site::open(&args.documents, &args.cache)?;
    let log = args
        .access_log
        .as_deref()
        .map(access_log::open)
        .transpose()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on http://{}", listener.local_addr()?);

    serve(listener, web::router(site, log), shutdown).await
}

/// Serves until it is told to stop, and then until the last answer is out.
async fn serve(listener: TcpListener, app: Router, shutdown: ShutdownToken) -> anyhow::Result<()> {
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    // There is one deadline for everything. A visitor who neither finishes a request nor hangs up would keep the server
    // until then, and nothing would be left for the work behind the answers.
    let half_time_is_over = async {
        shutdown.cancelled().await;
        tokio::time::sleep(shutdown.remaining().unwrap_or_default() / 2).await;
    };
    tokio::select! {
        served = server => served?,
        () = half_time_is_over => tracing::warn!("some connections are still open; they are not waited for"),
    }
    Ok(())
}

fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
