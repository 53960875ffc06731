//! `GET /healthz` and `GET /readyz` over HTTP/1.1. Its own few lines, because a server for two answers would bring more code than
//! the store. Knows nothing of what makes a process healthy: `bgtask::health()` does.

use bgtask::durable::Host;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How many requests are answered at once.
const AT_ONCE: usize = 16;

/// How long a request and its answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of a request's head.
const HEAD: usize = 8 * 1024;

/// The pause after a connection could not be accepted, usually because the process has too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests. Never completes.
pub(crate) async fn serve(listener: TcpListener, host: Host) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            unreachable!("the semaphore is never closed");
        };
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let host = host.clone();
                tokio::spawn(async move {
                    // A client that sends nothing, or goes away, is no error of ours.
                    let _ = timeout(LIMIT, answer(&mut stream, &host)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(target: "bgtask", %error, "a connection to the health check could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: &mut TcpStream, host: &Host) -> io::Result<()> {
    let Some(head) = head(stream).await? else {
        let answer = response(
            "431 Request Header Fields Too Large",
            "the request is too long\n",
        );
        return stream.write_all(answer.as_bytes()).await;
    };
    let mut words = head.split_ascii_whitespace();
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let is_read = matches!(method, "GET" | "HEAD");
    let health = host.health();
    let check = match path {
        "/healthz" if is_read => Some(health.liveness),
        "/readyz" if is_read => Some(health.readiness),
        _ => None,
    };
    let mut answer = match check {
        None => response(
            "404 Not Found",
            "not found: `GET /healthz` and `GET /readyz` are here\n",
        ),
        Some(check) if !check.is_ok() => response("503 Service Unavailable", &format!("{check}\n")),
        Some(_) if host.is_stopping() => response("200 OK", "ok, shutting down\n"),
        Some(_) => response("200 OK", "ok\n"),
    };
    if method == "HEAD"
        && let Some(end) = answer.find("\r\n\r\n")
    {
        answer.truncate(end + 4);
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads the head of a request. `None` if it is too long.
async fn head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    loop {
        // The end may have come in two parts.
        let from = head.len().saturating_sub(3);
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head[from..].windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        if head.len() > HEAD {
            return Ok(None);
        }
    }
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
