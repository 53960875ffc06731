//! `serve`: a dashboard with a listener of its own.

use super::{fails, function, get, snapshot};
use axum::Router;
use axum::http::Method;
use bgtask::{ShutdownToken, background, dashboard};
use bgtask_tests::{FOREVER, manager_within, on_both_flavors, runtimes};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use tokio::sync::oneshot;

/// Opens the event stream of a dashboard with its own listener.
fn open_events(address: SocketAddr) -> std::io::BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(FOREVER)).unwrap();
    let head = "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    std::io::BufReader::new(stream)
}

/// Returns the phase in the next event of a stream, or nothing at its end.
fn next_phase(stream: &mut impl std::io::BufRead) -> Option<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let shown: Value = serde_json::from_str(data).unwrap();
            return Some(shown["shutdown"]["phase"].as_str().unwrap().to_owned());
        }
    }
}

/// Returns the snapshot of a dashboard with its own listener.
fn served_snapshot(address: SocketAddr) -> Value {
    let answer = get(address, "/snapshot.json", &address.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

fn is_closed_to_clients(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[background(name = "dashboard: drains")]
async fn drains(token: ShutdownToken, until: oneshot::Receiver<()>) {
    token.cancelled().await;
    let _ = until.await;
}

#[test]
fn a_dashboard_with_its_own_listener_is_served_until_the_drain_ends() {
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let address = dashboard::builder()
            .manager(&manager)
            .serve("127.0.0.1:0")
            .unwrap();
        let (ends, until) = oneshot::channel();
        let task = {
            let _entered = runtime.enter();
            drains(until)
        };
        let mut page = open_events(address);
        assert_eq!(next_phase(&mut page).unwrap(), "running");
        let report = async { manager.shutdown("the test ends").await };
        let drained = std::thread::spawn(move || {
            // The stream stays open throughout, and other requests are answered too.
            while next_phase(&mut page).unwrap() != "draining" {}
            let shown = served_snapshot(address);
            assert_eq!(shown["shutdown"]["phase"], "draining");
            assert_eq!(shown["totals"]["running"], 1);
            ends.send(()).unwrap();
            let mut last = String::new();
            while let Some(phase) = next_phase(&mut page) {
                last = phase;
            }
            assert_eq!(last, "over");
        });
        let report = runtime.block_on(report);
        assert!(report.is_clean(), "{report}");
        assert_eq!(runtime.block_on(task), Ok(()));
        drained.join().unwrap();
        // Then the address is free.
        bgtask_tests::blocking_until("the address is free", || is_closed_to_clients(address));
    }
}

#[test]
fn a_dashboard_with_its_own_listener_answers_while_every_worker_is_blocked() {
    #[background(name = "dashboard: never yields")]
    async fn never_yields(
        blocked: std::sync::mpsc::Sender<()>,
        until: std::sync::mpsc::Receiver<()>,
    ) {
        blocked.send(()).unwrap();
        let _ = until.recv();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let dashboard = dashboard::builder().manager(&manager);
    // It does not need the timer that this runtime lacks.
    let address = dashboard.serve("127.0.0.1:0").unwrap();
    let (blocked, is_blocked) = std::sync::mpsc::channel();
    let (ends, until) = std::sync::mpsc::channel();
    {
        let _entered = runtime.enter();
        never_yields(blocked, until);
    }
    is_blocked.recv().unwrap();
    let shown = served_snapshot(address);
    assert_eq!(
        shown["tasks"]["oldest"][0]["name"],
        "dashboard: never yields"
    );
    assert_eq!(next_phase(&mut open_events(address)).unwrap(), "running");
    drop(ends);
    runtime.block_on(manager.shutdown("the test ends"));
}

#[test]
fn a_dashboard_with_its_own_listener_is_no_task_and_delays_neither_the_drain_nor_the_next_manager()
{
    let [runtime, next] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let address = dashboard::builder()
        .manager(&manager)
        .serve("127.0.0.1:0")
        .unwrap();
    // A client that opens the stream and never reads it.
    let client = open_events(address);
    bgtask_tests::blocking_until("it is served", || {
        served_snapshot(address)["sample"].as_u64().unwrap() > 0
    });
    assert_eq!((manager.stats().accepted, manager.tasks().len()), (0, 0));
    let report = runtime.block_on(manager.shutdown("the test ends"));
    assert!(report.is_clean() && report.drained == 0, "{report}");
    let manager = manager_within(FOREVER, &next);
    bgtask_tests::blocking_until("the address is free", || {
        let dashboard = dashboard::builder().manager(&manager);
        dashboard.serve(address).is_ok()
    });
    assert_eq!(served_snapshot(address)["shutdown"]["phase"], "running");
    // A dashboard whose manager is dropped ends too.
    drop(manager);
    bgtask_tests::blocking_until("the address is free", || is_closed_to_clients(address));
    drop(client);
}

#[test]
fn a_dashboard_with_its_own_listener_answers_at_the_root_and_at_nested_paths() {
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let dashboard = dashboard::builder().manager(&manager).title("orders, eu-1");
    let address = dashboard.serve("127.0.0.1:0").unwrap();
    for path in ["/", "/background", "/background/"] {
        let page = get(address, path, "localhost");
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        assert!(page.contains("<title>orders, eu-1</title>"), "{page}");
        let (_, script) = page.split_once("<script src=\"./").unwrap();
        let (script, _) = script.split_once('"').unwrap();
        let (folder, _) = path.rsplit_once('/').unwrap();
        let script = get(address, &format!("{folder}/{script}"), "localhost");
        assert!(script.starts_with("HTTP/1.1 200"), "{path}");
    }
    // The rules of access are the same.
    let rebound = get(address, "/snapshot.json", "example.org");
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    runtime.block_on(manager.shutdown("the test ends"));
}

#[test]
fn an_address_that_others_can_reach_needs_authorize() {
    on_both_flavors(async |_| {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9090"] {
            let error = dashboard::serve(address).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            let message = error.to_string();
            assert!(
                message.contains("authorize") && message.contains("127.0.0.1"),
                "{message}"
            );
        }
        let open = dashboard::builder().authorize(|request| request.method == Method::GET);
        let address = open.serve("0.0.0.0:0").unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        let answer = tokio::task::spawn_blocking(move || get(address, "/", "localhost"));
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

#[test]
fn an_address_that_is_taken_or_invalid_is_an_error_with_the_remedy() {
    on_both_flavors(async |_| {
        let taken = dashboard::serve("127.0.0.1:0").unwrap();
        let error = dashboard::serve(taken).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        let message = error.to_string();
        let expected = format!("the dashboard cannot listen on {taken}: ");
        assert!(message.starts_with(&expected), "{message}");
        assert!(
            message.ends_with("; pass another port, or 0 for one that is free"),
            "{message}"
        );
        assert!(dashboard::serve("nonsense").is_err());
    });
}

#[background(name = "dashboard: ends at once")]
async fn ends_at_once() {}

#[test]
fn a_dashboard_with_its_own_listener_ends_with_its_manager_even_if_a_thread_still_caches_the_manager()
 {
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    // The worker caches the manager for its next call.
    let calls = async { ends_at_once().await.unwrap() };
    runtime.block_on(runtime.spawn(calls)).unwrap();
    let dashboard = dashboard::builder().manager(&manager);
    let address = dashboard.serve("127.0.0.1:0").unwrap();
    drop(manager);
    bgtask_tests::blocking_until("the address is free", || is_closed_to_clients(address));
}

/// Returns whether the server has closed a connection of which nothing has been read.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 1]);
    !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_dashboard_with_its_own_listener_bounds_its_connections_and_closes_idle_ones() {
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    let dashboard = dashboard::builder().manager(&manager);
    let address = dashboard.serve("127.0.0.1:0").unwrap();
    let mut page = open_events(address);
    assert_eq!(next_phase(&mut page).unwrap(), "running");
    let mut stalled: Vec<_> = (0..80)
        .map(|number| {
            let mut stream = TcpStream::connect(address).unwrap();
            if number > 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
            }
            stream
        })
        .collect();
    // The operating system delivers the connections in order, so this one is accepted when at most 62 of them are open.
    served_snapshot(address);
    let closed = stalled
        .iter_mut()
        .filter_map(|stream| is_closed(stream).then_some(()));
    assert!(closed.count() >= 80 - 62);
    bgtask_tests::blocking_until("all are closed", || stalled.iter_mut().all(is_closed));
    // The stream, the oldest connection, stays open.
    let end = std::thread::spawn(move || {
        let mut last = None;
        while let Some(phase) = next_phase(&mut page) {
            last = Some(phase);
        }
        last
    });
    runtime.block_on(manager.shutdown("the test ends"));
    assert_eq!(end.join().unwrap().as_deref(), Some("over"));
}

#[test]
fn a_dashboard_with_its_own_listener_shares_its_records_with_a_router() {
    on_both_flavors(async |_| {
        let nested: Router = dashboard::router();
        let _ = fails("once".to_owned()).await;
        // Opened after the failure, it still shows it.
        let address = dashboard::serve("127.0.0.1:0").unwrap();
        let served = tokio::task::spawn_blocking(move || served_snapshot(address));
        let (served, nested) = (served.await.unwrap(), snapshot(&nested).await);
        for shown in [&served, &nested] {
            assert_eq!(shown["failures"]["total"], 1);
            assert_eq!(function(shown, "dashboard: fails")["failed"], 1);
        }
        assert_eq!(served["since"], nested["since"]);
    });
}
