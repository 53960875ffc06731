//! A server of the live routes, and its clients. Must never know what a message means.

use super::store::LIMIT;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Serves the routes on a port of their own, as long as the runtime is there.
pub(crate) async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    serve_on(listener, router)
}

/// The same with sockets that hold little of what a client has not read.
pub(crate) fn serve_with_small_buffers(router: axum::Router) -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    // The connections of a socket have its buffers.
    socket.set_send_buffer_size(4096).expect("Linux");
    socket
        .bind(([127, 0, 0, 1], 0).into())
        .expect("a free port");
    serve_on(socket.listen(16).expect("it listens"), router)
}

fn serve_on(listener: TcpListener, router: axum::Router) -> SocketAddr {
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

/// An answer whose body may not be over.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    body: BufReader<TcpStream>,
}

/// One event of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

/// Asks for a path with more lines in the head, such as `origin: null`.
pub(crate) async fn get(addr: SocketAddr, path: &str, more: &[&str]) -> Answer {
    try_get(addr, path, more).await.expect("it answers")
}

pub(crate) async fn try_get(
    addr: SocketAddr,
    path: &str,
    more: &[&str],
) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(addr).await?;
    get_over(stream, path, more).await
}

/// The same with a socket that takes little of what it does not read.
pub(crate) async fn get_with_small_buffer(addr: SocketAddr, path: &str) -> Answer {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2048).expect("Linux");
    let stream = socket.connect(addr).await.expect("it listens");
    get_over(stream, path, &[]).await.expect("it answers")
}

async fn get_over(mut stream: TcpStream, path: &str, more: &[&str]) -> std::io::Result<Answer> {
    let addr = stream.peer_addr()?;
    let mut request = format!("GET {path} HTTP/1.0\r\nhost: {addr}\r\n");
    more.iter()
        .for_each(|line| request += &format!("{line}\r\n"));
    stream.write_all((request + "\r\n").as_bytes()).await?;
    let mut body = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = tokio::time::timeout(LIMIT, body.read_line(&mut head));
        if read.await.expect("it answers")? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).expect("a status");
    Ok(Answer {
        status: status.parse().expect("a number"),
        head: head.to_ascii_lowercase(),
        body,
    })
}

impl Answer {
    pub(crate) async fn text(mut self) -> String {
        let mut text = String::new();
        let read = tokio::time::timeout(LIMIT, self.body.read_to_string(&mut text));
        read.await.expect("it ends").expect("it is read");
        text
    }

    pub(crate) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    /// Returns the next event, or `None` if the stream has ended, or is broken.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(LIMIT, self.next_line_of_event());
        next.await.expect("the stream goes on")
    }

    async fn next_line_of_event(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if !matches!(self.body.read_line(&mut line).await, Ok(read) if read > 0) {
                return None;
            }
            let line = line.trim_end();
            if let Some(id) = line.strip_prefix("id: ") {
                event.id = Some(id.parse().expect("a version"));
            } else if let Some(data) = line.strip_prefix("data: ") {
                event.data = serde_json::from_str(data).expect("it is JSON");
            } else if line.is_empty() && event.id.is_some() {
                return Some(event);
            }
        }
    }

    /// Reads lines until one begins so.
    pub(crate) async fn until_line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(LIMIT, self.body.read_line(&mut line));
            let read = read.await.expect("the stream goes on").expect("it is read");
            assert!(read > 0, "it has ended");
            if line.starts_with(start) {
                return line;
            }
        }
    }
}
