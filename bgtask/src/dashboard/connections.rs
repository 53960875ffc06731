//! The listener of the page's own server, which bounds its connections: how many there are, and how long a peer may stall one.
//! Owns these limits; must never know what the page shows.

use axum::serve::Listener;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// How many connections are open at once. Further ones wait in the operating system's queue, so that a flood cannot take the
/// process's file descriptors.
const MAX_CONNECTIONS: usize = 64;

/// How long a peer may take to send the head of its request, and to read more of the response once the buffers are full. The first
/// limit ends with the first byte of the response.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// A listener that accepts a connection when fewer than [`MAX_CONNECTIONS`] are open.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let permit = self.permits.clone().acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            is_responding: false,
            limit: Some(Box::pin(sleep(STALL_LIMIT))),
            _permit: permit,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its peer stalls it. It carries one request: the server writes nothing before it has read the
/// request's head, and closes the connection after the response.
#[derive(Debug)]
pub(super) struct Connection {
    // Dropped before the permit, so that its descriptor is free when the next connection is accepted.
    stream: TcpStream,
    is_responding: bool,
    /// Elapses when the peer has stalled the connection for too long.
    limit: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn poll_limit<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Some(limit) = &mut self.limit {
            ready!(limit.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Limits how long the peer may leave a write waiting.
    fn poll_written<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if !self.is_responding {
            // The head of the request is complete.
            self.is_responding = true;
            self.limit = None;
        }
        if written.is_ready() {
            self.limit = None;
            return written;
        }
        self.limit
            .get_or_insert_with(|| Box::pin(sleep(STALL_LIMIT)));
        self.poll_limit(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // A peer that is sent a response has nothing more to send.
        if read.is_ready() || self.is_responding {
            return read;
        }
        self.poll_limit(cx)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.poll_written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // Neither of these waits for the peer: a TCP stream has no buffer of its own.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
