//! Shows: `spawn!` in an axum handler. The response does not wait for the mail, and a failed mail is retried.
//!
//!     cargo run -p example-mail
//!     curl -X POST http://127.0.0.1:3000/orders/7
//!
//! The response arrives immediately. The mail fails twice, and then you see it go out.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use bgtask::{ShutdownToken, spawn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, io};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Stands for a mail server that is sometimes busy.
#[derive(Clone, Default)]
struct Mailer {
    attempts: Arc<AtomicU32>,
}

impl Mailer {
    async fn send(&self, text: &str) -> io::Result<()> {
        sleep(Duration::from_millis(50)).await;
        if self.attempts.fetch_add(1, Ordering::Relaxed) % 3 < 2 {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        println!("mail: {text}");
        Ok(())
    }
}

async fn place_order(State(mailer): State<Mailer>, Path(order): Path<u32>) -> String {
    spawn!(
        "confirm order",
        timeout = "10s",
        retry(max = 5, base = "100ms"),
        coalesce(key = order), // two requests at once send one mail
        async move { mailer.send(&format!("order {order} is on its way")).await },
    );
    format!("order {order} is placed")
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> io::Result<()> {
    let address = env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/orders/{order}", post(place_order))
        .with_state(Mailer::default());
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}
