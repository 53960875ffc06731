//! The dashboard: who may see it, what it shows, and what it does while no page is open.

mod access;
mod content;
mod listener;
mod page;
mod sections;
mod stream;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::Response;
use bgtask::{ShutdownToken, background, dashboard};
use bgtask_tests::{FOREVER, on_both_flavors};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use tower::ServiceExt;

/// Returns a request for a path of the dashboard, as a browser on this machine makes it.
pub(crate) fn request(path: &str) -> Request {
    from(Ipv4Addr::LOCALHOST, path)
}

pub(crate) fn from(peer: impl Into<IpAddr>, path: &str) -> Request {
    let mut request = Request::get(path)
        .header("host", "localhost:3000")
        .body(Body::empty())
        .unwrap();
    let peer = SocketAddr::new(peer.into(), 50_000);
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

pub(crate) async fn send(router: &Router, request: Request) -> Response {
    router.clone().oneshot(request).await.unwrap()
}

pub(crate) async fn status(router: &Router, request: Request) -> StatusCode {
    send(router, request).await.status()
}

pub(crate) async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) async fn snapshot(router: &Router) -> Value {
    let response = send(router, request("/snapshot.json")).await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).unwrap()
}

/// Runs `test` with a dashboard of its manager.
pub(crate) fn with_dashboard<F: AsyncFn(Router)>(
    build: impl Fn(dashboard::Builder) -> dashboard::Builder,
    test: F,
) {
    on_both_flavors(async |_| test(build(dashboard::builder()).router()).await);
}

pub(crate) const PATHS: [&str; 8] = [
    "/",
    "/snapshot.json",
    "/events",
    "/style.css",
    "/script.js",
    "/section.css",
    "/section.js",
    "/icon.svg",
];

#[background(name = "dashboard: waits")]
pub(crate) async fn waits(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(name = "dashboard: fails", log = "off")]
pub(crate) async fn fails(message: String) -> Result<(), String> {
    Err(message)
}

#[background(name = "dashboard: succeeds", timeout = "1h", concurrency = 1)]
pub(crate) async fn succeeds() {}

pub(crate) fn function<'a>(snapshot: &'a Value, name: &str) -> &'a Value {
    let mut functions = snapshot["functions"].as_array().unwrap().iter();
    functions.find(|one| one["name"] == name).unwrap()
}

/// Sends a request over HTTP/1.1, and returns the response.
pub(crate) fn get(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(FOREVER)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
