//! A small shop whose receipts survive `kill -9`. Read this example first if your work must not be lost.
//!
//! ```console
//! $ cargo run -p orders
//! listening on http://127.0.0.1:3000
//! ```
//!
//! Place an order, kill the shop with the button on the page, and run the command again: the receipt arrives, once. Or start a
//! worker in another terminal before, which takes over from the shop that was killed:
//!
//! ```console
//! $ cargo run -p orders -- worker
//! ```
//!
//! The customer gets an e-mail about the receipt, and a partner a signed webhook, if there is a mail server and a partner:
//!
//! ```console
//! $ docker run --rm -p 1025:1025 -p 8025:8025 axllent/mailpit
//! $ export BGTASK_WEBHOOK_SECRET=whsec_$(openssl rand -base64 32)
//! $ PORT=3001 cargo run -p orders -- partner
//! $ BGTASK_SMTP_URL=smtp://127.0.0.1:1025 BGTASK_EMAIL_FROM=shop@example.com \
//!     PARTNER_URL=http://127.0.0.1:3001/orders BGTASK_WEBHOOK_ALLOW=127.0.0.1 cargo run -p orders
//! ```
//!
//! The durable function is in [`jobs`], and its call in [`shop`]; what follows its end is in [`followers`]. `PORT` sets another port. `BGTASK_DATABASE_URL` sets another
//! database: `sqlite://path`, or `postgres://…`. With `BGTASK_ROLE=enqueue` the shop leaves all receipts to its workers, and with
//! `BGTASK_HEALTH_ADDR=127.0.0.1:9000` a process answers `GET /healthz` there.
#![allow(
    clippy::print_stdout,
    reason = "scripts read the address from stdout; the log goes to stderr"
)]

mod followers;
mod gateway;
mod jobs;
mod order;
mod page;
mod partner;
mod problem;
mod shop;
mod store;
mod transaction;
mod web;

use anyhow::{Context, bail};
use axum::Router;
use bgtask::ShutdownToken;
use bgtask_durable::Role;
use shop::Shop;
use std::env;
use std::io::{self, IsTerminal};
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let listener = match env::args().nth(1).as_deref() {
        None => Some(listen().await?),
        Some("worker") => None,
        Some("partner") => return serve(listen().await?, partner::router()?, shutdown).await,
        Some(other) => {
            bail!("unknown argument `{other}`: pass `worker`, `partner`, or nothing for the shop")
        }
    };

    let url = env::var("BGTASK_DATABASE_URL").unwrap_or_else(|_| "sqlite://bgtask.db".to_owned());
    let mut store = bgtask_durable::builder().url(&url);
    if listener.is_none() {
        store = store.role(Role::Work);
    }
    let jobs = store.open().await;
    let jobs = jobs.context("cannot open the database: check `BGTASK_DATABASE_URL`")?;
    let store = store::Store::open(&url).await?;
    // Jobs are claimed once everything that their function takes as `State<_>` is provided.
    bgtask::provide(gateway::Gateway::new(store.clone()));
    bgtask::provide(store.clone());

    let Some(listener) = listener else {
        // Without tables of its own in the same database, `bgtask_durable::work()` would be all of it.
        println!("working");
        shutdown.cancelled().await;
        return Ok(());
    };
    serve(listener, web::router(Shop { store, jobs }), shutdown).await
}

async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: ShutdownToken,
) -> anyhow::Result<()> {
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}

async fn listen() -> anyhow::Result<TcpListener> {
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let Ok(port) = port.parse::<u16>() else {
        bail!("`PORT` is `{port}`: set it to a number from 0 to 65535");
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.with_context(|| {
        format!("cannot listen on port {port}: end the program that uses it, or set `PORT` to another one")
    })
}
