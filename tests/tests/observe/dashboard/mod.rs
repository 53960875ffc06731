//! The dashboard: who may see it, what it shows, and what it does while no page is open.

mod access;
mod calls;
mod content;
mod functions;
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
use std::time::{Duration, Instant};
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

/// Returns the details of a function of this name.
pub(crate) async fn details(router: &Router, name: &str) -> Value {
    let name = name.replace(':', "%3A").replace(' ', "%20");
    let response = send(router, request(&format!("/function.json?name={name}"))).await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).unwrap()
}

/// Waits until the snapshot satisfies `is_so`, and returns it.
pub(crate) async fn snapshot_where(router: &Router, is_so: impl Fn(&Value) -> bool) -> Value {
    until_shown(async || snapshot(router).await, is_so).await
}

/// Waits until what `read` returns satisfies `is_so`, and returns it.
pub(crate) async fn until_shown(
    read: impl AsyncFn() -> Value,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let start = Instant::now();
    loop {
        let shown = read().await;
        if is_so(&shown) {
            return shown;
        }
        assert!(start.elapsed() < FOREVER, "{shown:#}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Returns the items of a list, each as the value of one field.
pub(crate) fn column<'a>(list: &'a Value, field: &str) -> Vec<&'a Value> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| &item[field]).collect()
}

/// Runs `test` with a dashboard of its manager.
pub(crate) fn with_dashboard<F: AsyncFn(Router)>(
    build: impl Fn(dashboard::Builder) -> dashboard::Builder,
    test: F,
) {
    on_both_flavors(async |_| test(build(dashboard::builder()).router()).await);
}

/// How many of the paths are pages, to which other sites may link: the first ones.
pub(crate) const PAGES: usize = 3;

pub(crate) const PATHS: [&str; 17] = [
    "/",
    "/process",
    "/function?name=dashboard%3A%20waits",
    "/function.json?name=dashboard%3A%20waits",
    "/snapshot.json",
    "/events",
    "/style.css",
    "/script.js",
    "/function.js",
    "/words.js",
    "/elements.js",
    "/lists.js",
    "/filter.js",
    "/stream.js",
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
