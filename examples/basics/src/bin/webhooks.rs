//! Shows: webhooks to a flaky receiver: `retry` with back-off, a `timeout` for each attempt, a limit on concurrent requests, and a
//! client that the program provides once.
//!
//!     cargo run -p example-basics --bin webhooks
//!
//! You see a local server answer two of three requests with 503 or not at all. Every webhook is delivered anyway, except one to a
//! path that does not exist, which is not retried. The program takes a few seconds. Press Ctrl-C before that: a webhook that
//! sleeps between two attempts is sent once more immediately, and the report names the ones that gave up.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, State, background};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Stands for an HTTP client.
#[derive(Clone)]
struct Client {
    sent: Arc<AtomicU32>,
}

#[derive(Clone)]
struct Webhook {
    to: SocketAddr,
    path: String,
}

#[derive(Debug)]
enum DeliveryError {
    Io(io::Error),
    Status(u16),
}

impl DeliveryError {
    /// Returns whether another attempt may succeed.
    fn is_temporary(&self) -> bool {
        matches!(self, DeliveryError::Io(_) | DeliveryError::Status(500..))
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeliveryError::Io(error) => error.fmt(f),
            DeliveryError::Status(status) => write!(f, "the receiver responded with {status}"),
        }
    }
}

impl std::error::Error for DeliveryError {}

#[background(
    timeout = "300ms",
    retry(max = 8, backoff = "exponential", base = "50ms", cap = "1s", jitter, when = DeliveryError::is_temporary),
    concurrency = 4
)]
async fn deliver(State(client): State<Client>, hook: Webhook) -> Result<(), DeliveryError> {
    client.sent.fetch_add(1, Ordering::Relaxed);
    match post(&hook).await.map_err(DeliveryError::Io)? {
        200..300 => Ok(()),
        status => Err(DeliveryError::Status(status)),
    }
}

/// Sends a request and returns the status: just enough HTTP for this example.
async fn post(hook: &Webhook) -> io::Result<u16> {
    let mut connection = TcpStream::connect(hook.to).await?;
    let request = format!("POST {} HTTP/1.1\r\ncontent-length: 0\r\n\r\n", hook.path);
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Handles one of three requests as it should.
async fn serve_badly(listener: TcpListener) -> io::Result<()> {
    for number in 0.. {
        let (mut connection, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let length = connection.read(&mut request).await?;
            let is_known = request[..length].starts_with(b"POST /hooks/");
            let answer = match number % 3 {
                _ if !is_known => "HTTP/1.1 404 Not Found\r\n\r\n",
                0 => "HTTP/1.1 503 Service Unavailable\r\n\r\n",
                1 => {
                    // Longer than the `timeout` of an attempt.
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    ""
                }
                _ => "HTTP/1.1 204 No Content\r\n\r\n",
            };
            connection.write_all(answer.as_bytes()).await
        });
    }
    Ok(())
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let to = listener.local_addr()?;
    tokio::spawn(serve_badly(listener));
    let client = Client {
        sent: Arc::default(),
    };
    bgtask::provide(client.clone());

    let hook = |path: &str| Webhook {
        to,
        path: path.to_owned(),
    };
    let lost = deliver(hook("/nowhere"));
    for number in 1..=10 {
        deliver(hook(&format!("/hooks/{number}")));
    }
    match lost.await {
        Ok(Err(error)) => println!("/nowhere: {error}; not retried"),
        other => println!("/nowhere: {other:?}"),
    }
    while bgtask::stats().running > 0 && !shutdown.is_cancelled() {
        for task in bgtask::tasks() {
            println!("  {:12} attempt {}", task.state, task.attempt);
        }
        println!("  --");
        let pause = tokio::time::sleep(Duration::from_millis(500));
        shutdown.run_until_cancelled(pause).await;
    }
    let stats = bgtask::stats();
    let sent = client.sent.load(Ordering::Relaxed);
    println!(
        "{} webhooks delivered with {sent} requests, {} of them retries",
        stats.succeeded, stats.retries
    );
    Ok(())
}
