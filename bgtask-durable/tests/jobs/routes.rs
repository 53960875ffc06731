//! The live routes: server-sent events and WebSockets, what a client that comes back is sent, and who may not see anything.
#![cfg(feature = "live")]

use crate::support::gate::{gate, take_steps};
use crate::support::live;
use crate::support::live::{Answer, Event, get};
use crate::support::store;
use crate::support::store::{LIMIT, Process, with_store};
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::durable::JobHandle;
use bgtask::{Job, background};
use bgtask_durable::{Role, notify};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

const HOUR: Duration = Duration::from_secs(3600);

/// Stores its progress after each step to which the test lets it go, and ends after the third.
#[background(durable)]
async fn steps(job: Job, name: String) -> u32 {
    take_steps(&job, &name, |step| format!("step {step}\nof \"3\"")).await
}

/// A job that the test lets go on.
async fn begun(scratch: &Scratch) -> (JobHandle<u32>, watch::Sender<u32>) {
    let open = gate(scratch.url());
    (
        steps(scratch.url().to_owned()).await.expect("it is stored"),
        open,
    )
}

/// A job that nobody runs.
async fn waiting() -> JobHandle<u32> {
    steps("later".to_owned())
        .after(HOUR)
        .await
        .expect("it is stored")
}

fn events_of(job: &JobHandle<u32>) -> String {
    format!("/jobs/{}/events", job.ticket(HOUR).expect("a ticket"))
}

async fn until(
    events: &mut Answer,
    last: &mut Option<u64>,
    mut is_it: impl FnMut(&Value) -> bool,
) -> Event {
    loop {
        let event = events.next().await.expect("no end yet");
        assert!(event.id > *last, "{event:?} after {last:?}");
        assert_eq!(event.data["version"], json!(event.id));
        *last = event.id;
        if is_it(&event.data) {
            return event;
        }
        assert_ne!(event.data["state"], "done");
    }
}

fn has_step(step: u32) -> impl Fn(&Value) -> bool {
    move |data| data["progress"]["message"] == format!("step {step}\nof \"3\"")
}

/// Sentence 15.10.
fn a_stream_has_each_newer_state_and_ends_with_the_end(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let addr = live::serve(notify::router()).await;
        let (job, open) = begun(&scratch).await;
        let path = format!(
            "/jobs/{}/events",
            job.ticket_with_value(HOUR).expect("a ticket")
        );
        let mut events = get(addr, &path, &[]).await;
        assert_eq!(events.status, 200);
        for header in [
            "content-type: text/event-stream",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
        ] {
            assert!(events.head.contains(header), "{header}: {}", events.head);
        }
        assert!(!events.head.contains("access-control"), "{}", events.head);
        let retry = events.until_line("retry: ").await;
        let retry: u64 = retry["retry: ".len()..].trim().parse().expect("a number");
        assert!((500..2500).contains(&retry), "{retry}");
        let mut last = None;
        until(&mut events, &mut last, |data| data["state"] == "running").await;
        for step in 1..=3 {
            open.send_replace(step);
            until(&mut events, &mut last, has_step(step)).await;
        }
        open.send_replace(4);
        let end = until(&mut events, &mut last, |data| data["state"] == "done").await;
        let progress = json!({ "fraction": 0.75, "message": "step 3\nof \"3\"" });
        let version = end.id;
        assert_eq!(
            end.data,
            json!({ "job": job.id(), "version": version, "state": "done", "progress": progress, "attempt": 1, "value": 7 })
        );
        assert_eq!(events.next().await, None);
    });
}

/// Sentence 15.11.
fn one_that_comes_back_is_sent_what_is_newer_and_always_the_end(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let addr = live::serve(notify::router()).await;
        let (job, open) = begun(&scratch).await;
        let path = events_of(&job);
        let (mut events, mut last) = (get(addr, &path, &[]).await, None);
        open.send_replace(1);
        until(&mut events, &mut last, has_step(1)).await;
        drop(events);
        let seen = last.expect("a version");
        let back = format!("last-event-id: {seen}");
        // Nothing is newer: the next is the end, and not what was there.
        let mut same = get(addr, &path, &[&back]).await;
        let mut by_query = get(addr, &format!("{path}?after={seen}"), &[]).await;
        // The header is later than the address, which stays as it was.
        let mut by_both = get(addr, &format!("{path}?after=0"), &[&back]).await;
        let older = format!("last-event-id: {}", seen - 1);
        let mut older = get(addr, &path, &[&older]).await;
        assert_eq!(
            older.next().await.expect("the present state").id,
            Some(seen)
        );
        open.send_replace(4);
        for events in [&mut same, &mut by_query, &mut by_both] {
            let first = events.next().await.expect("a newer one");
            assert!(first.id > Some(seen), "{first:?}");
        }
        until(&mut older, &mut Some(seen), |data| data["state"] == "done").await;
        job.outcome().await.expect("it ends");
        // It comes late, and has the end.
        let end = get(addr, &path, &[&back])
            .await
            .next()
            .await
            .expect("the end");
        assert_eq!(end.data["state"], "done");
        // With the end, there is nothing to come back for.
        let back = format!("last-event-id: {}", end.id.expect("a version"));
        let answer = get(addr, &path, &[&back]).await;
        assert_eq!((answer.status, &*answer.text().await), (204, ""));
        // A version that the database does not have: it was restored.
        let mut restored = get(addr, &path, &["last-event-id: 999999"]).await;
        assert_eq!(restored.next().await, Some(end));
        let answer = get(addr, &format!("{path}?after=x"), &[]).await;
        assert_eq!(
            (answer.status, &answer.json().await["error"]),
            (400, &json!("after"))
        );
    });
}

/// Fails as long as the test keeps it, so that its row soon has many versions.
#[background(durable, retry(max = 10_000, base = "1ms", cap = "1ms"))]
async fn changes(job: Job, name: String) -> Result<u32, String> {
    job.progress(0.5, "x".repeat(200));
    match *gate(&name).borrow() {
        0 => Err("not yet".to_owned()),
        _ => Ok(7),
    }
}

/// Sentence 15.2.
fn a_client_that_does_not_read_has_one_state_waiting(scratch: Scratch) {
    /// An upper bound of the events that hyper and the sockets buffer for a client that does not read.
    const BUFFERED: usize = 100;
    with_store(&scratch, |_| async {
        let addr = live::serve_with_small_buffers(notify::router());
        let open = gate(scratch.url());
        let job = changes(scratch.url().to_owned())
            .await
            .expect("it is stored");
        let path = format!("/jobs/{}/events", job.ticket(HOUR).expect("a ticket"));
        let mut events = live::get_with_small_buffer(addr, &path).await;
        let mut last = events.next().await.expect("the present state").id;
        let first = last.expect("a version");
        let most = first + 4 * BUFFERED as u64;
        store::until(&job, |status| status.version > most).await;
        open.send_replace(1);
        let value = job.outcome().await.expect("it ends");
        assert_eq!(value, 7);
        // Only now does it read on.
        let mut read = 0;
        until(&mut events, &mut last, |data| {
            read += 1;
            data["state"] == "done"
        })
        .await;
        assert!(read <= BUFFERED, "{read} states were waiting");
        assert_eq!(events.next().await, None);
    });
}

/// Sentence 15.1.
fn a_stream_of_another_process_goes_on(scratch: Scratch) {
    let worker = Process::start(bgtask_durable::builder().url(scratch.url()));
    let web = Process::start(
        bgtask_durable::builder()
            .url(scratch.url())
            .role(Role::Enqueue),
    );
    web.run(async {
        let addr = live::serve(notify::router()).await;
        let (job, open) = begun(&scratch).await;
        let (mut events, mut last) = (get(addr, &events_of(&job), &[]).await, None);
        open.send_replace(2);
        until(&mut events, &mut last, has_step(2)).await;
        open.send_replace(4);
        until(&mut events, &mut last, |data| data["state"] == "done").await;
        assert_eq!(events.next().await, None);
    });
    worker.end();
    web.end();
}

type Socket = WebSocket<TcpStream>;

/// Opens a WebSocket on a thread where it may block.
async fn open_socket(
    addr: SocketAddr,
    path: &str,
    origin: Option<&'static str>,
) -> Result<Socket, u16> {
    let url = format!("ws://{addr}{path}");
    let opened = tokio::task::spawn_blocking(move || {
        let mut request = url.into_client_request().expect("a request");
        if let Some(origin) = origin {
            let origin = origin.parse().expect("a header");
            request.headers_mut().insert("origin", origin);
        }
        let stream = TcpStream::connect(addr).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    });
    opened.await.expect("no panic")
}

/// Reads messages up to one with this state, or to the close frame.
async fn read(mut socket: Socket, state: &'static str) -> (Socket, Vec<Value>, Option<CloseCode>) {
    let read = tokio::task::spawn_blocking(move || {
        let mut messages = Vec::new();
        loop {
            match socket.read().expect("it is read") {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).expect("it is JSON");
                    let is_it = message["state"] == state;
                    messages.push(message);
                    if is_it {
                        return (socket, messages, None);
                    }
                }
                Message::Close(frame) => {
                    return (socket, messages, frame.map(|frame| frame.code));
                }
                _ => {}
            }
        }
    });
    read.await.expect("no panic")
}

/// Sentence 15.13.
fn a_web_socket_has_the_same_messages(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let router = notify::builder()
            .keep_alive(Duration::from_millis(20))
            .router();
        let addr = live::serve(router).await;
        let (job, open) = begun(&scratch).await;
        let path = format!(
            "/jobs/{}/ws",
            job.ticket_with_value(HOUR).expect("a ticket")
        );
        let socket = open_socket(addr, &path, None).await.expect("it opens");
        let (mut socket, messages, _) = read(socket, "running").await;
        let running = messages.last().expect("one")["version"].clone();
        // What a client says is ignored.
        socket.send(Message::text("hello")).expect("it is sent");
        open.send_replace(4);
        let (_, mut messages, code) = read(socket, "none").await;
        assert_eq!(code, Some(CloseCode::Normal));
        let end = messages.pop().expect("one");
        assert_eq!(
            (&end["state"], &end["value"], &end["attempt"]),
            (&json!("done"), &json!(7), &json!(1))
        );
        let version = end["version"].as_u64();
        // One that comes back is sent what is newer, and with the end there is nothing to come back for.
        let back = open_socket(addr, &format!("{path}?after={running}"), None)
            .await
            .expect("it opens");
        let (_, messages, _) = read(back, "done").await;
        assert_eq!(messages, [end]);
        let version = version.expect("a version");
        let over = open_socket(addr, &format!("{path}?after={version}"), None)
            .await
            .expect("it opens");
        let (_, messages, code) = read(over, "none").await;
        assert_eq!((messages, code), (vec![], Some(CloseCode::Normal)));
        // A request that is none of a WebSocket's.
        assert_eq!(get(addr, &path, &[]).await.status, 400);
    });
}

/// Sentence 15.14.
fn pages_of_other_origins_see_nothing_unless_they_are_allowed(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let router = notify::builder()
            .allow_origin("https://Shop.example")
            .router();
        let addr = live::serve(router).await;
        let ticket = waiting().await.ticket(HOUR).expect("a ticket");
        let state = format!("/jobs/{ticket}");
        let foreign = [
            "https://evil.example",
            "null",
            "https://shop.example.evil.example",
            "https://shop.example:8443",
            "http://shop.example",
            "http://127.0.0.1:1",
            "http://localhost",
            "*",
        ];
        for origin in foreign {
            for path in [
                state.clone(),
                format!("{state}/events"),
                format!("{state}/ws"),
            ] {
                let answer = get(addr, &path, &[&format!("origin: {origin}")]).await;
                assert_eq!(answer.status, 403, "{origin} {path}");
                assert!(!answer.head.contains("access-control"), "{}", answer.head);
                assert_eq!(answer.json().await["error"], "origin");
            }
        }
        let refused = open_socket(addr, &format!("{state}/ws"), Some("https://evil.example")).await;
        assert_eq!(refused.err(), Some(403));
        // A page of the server itself.
        let own = format!("origin: http://{addr}");
        assert_eq!(get(addr, &state, &[&own]).await.status, 200);
        for path in [state.clone(), format!("{state}/events")] {
            let answer = get(addr, &path, &["origin: https://shop.example"]).await;
            assert_eq!(answer.status, 200);
            for header in [
                "access-control-allow-origin: https://shop.example\r\n",
                "vary: origin\r\n",
            ] {
                assert!(answer.head.contains(header), "{}", answer.head);
            }
        }
        let allowed = open_socket(addr, &format!("{state}/ws"), Some("https://shop.example")).await;
        assert!(allowed.is_ok());
        // The script has no secret.
        let script = get(
            addr,
            "/jobs/bgtask-live.js",
            &["origin: https://evil.example"],
        )
        .await;
        assert_eq!(script.status, 200);
        assert!(
            script.head.contains("content-type: text/javascript"),
            "{}",
            script.head
        );
        let script = script.text().await;
        assert!(script.contains("bgtask-progress"), "{script}");
        assert!(script.len() < 3072, "{}", script.len());
    });
}

#[test]
fn what_is_no_origin_is_explained() {
    for wrong in [
        "*",
        "shop.example",
        "https://*.example",
        "https://shop.example/",
        "https://a@shop.example",
        "",
    ] {
        let built = std::panic::catch_unwind(|| notify::builder().allow_origin(wrong));
        let panic = built.expect_err("it is none");
        let text = panic.downcast_ref::<String>().expect("a text");
        assert!(
            text.contains("is not an origin: expected a scheme and a host"),
            "{text}"
        );
    }
}

/// Sentence 15.15.
fn streams_are_limited_by_ticket_and_in_all(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let router = notify::builder()
            .connections(4)
            .connections_per_ticket(2)
            .router();
        let addr = live::serve(router).await;
        let job = waiting().await;
        let refused = async |path: &str| {
            let answer = get(addr, path, &[]).await;
            assert!(
                answer.head.contains("retry-after: 2\r\n"),
                "{}",
                answer.head
            );
            (answer.status, answer.json().await["error"].clone())
        };
        let path = events_of(&job);
        let mut open = vec![get(addr, &path, &[]).await];
        let socket = path.replace("/events", "/ws");
        let socket = open_socket(addr, &socket, None).await.expect("it opens");
        assert_eq!(refused(&path).await, (429, json!("too_many_of_ticket")));
        // Another ticket of the same job: its time is another one.
        let second = job.ticket(2 * HOUR).expect("a ticket");
        let second = format!("/jobs/{second}/events");
        open.push(get(addr, &second, &[]).await);
        open.push(get(addr, &second, &[]).await);
        let third = job.ticket(3 * HOUR).expect("a ticket");
        let third = format!("/jobs/{third}/events");
        assert_eq!(refused(&third).await, (503, json!("too_many")));
        // The state by itself holds nothing open.
        assert_eq!(
            get(addr, path.trim_end_matches("/events"), &[])
                .await
                .status,
            200
        );
        drop((open, socket));
        let begin = Instant::now();
        while get(addr, &third, &[]).await.status != 200 {
            assert!(begin.elapsed() < LIMIT, "nothing is closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

/// Sentence 15.16.
fn streams_end_with_the_shutdown_and_do_not_hold_it(scratch: Scratch) {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.run(async {
        // As a program does: the server ends when it has served its last connection.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let addr = listener.local_addr().expect("its address");
        let router = notify::router();
        let (ends, ended) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let ended = async { drop(ended.await) };
            axum::serve(listener, router)
                .with_graceful_shutdown(ended)
                .await
        });
        let job = waiting().await;
        let path = events_of(&job);
        let mut events = get(addr, &path, &[]).await;
        events.next().await.expect("the present state");
        let socket = open_socket(addr, &path.replace("/events", "/ws"), None)
            .await
            .expect("it opens");
        process.manager.request_shutdown("the test ends it");
        assert_eq!(events.next().await, None);
        assert_eq!(read(socket, "none").await.2, Some(CloseCode::Away));
        // One that comes back meanwhile is to come again: a browser would give up after any other status.
        let mut later = get(addr, &path, &[]).await;
        assert_eq!(later.status, 200);
        later.until_line("retry: ").await;
        assert_eq!(later.next().await, None);
        let answer = get(addr, path.trim_end_matches("/events"), &[]).await;
        assert_eq!(
            (answer.status, &answer.json().await["error"]),
            (503, &json!("stopping"))
        );
        ends.send(()).expect("it serves");
        let ended = tokio::time::timeout(LIMIT, server).await;
        ended
            .expect("nothing holds it")
            .expect("no panic")
            .expect("no error");
        let report = process.manager.shutdown("the test is over").await;
        assert!(report.is_clean(), "{report}");
    });
}

fn a_silent_stream_is_kept_alive(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let router = notify::builder()
            .keep_alive(Duration::from_millis(20))
            .router();
        let addr = live::serve(router).await;
        let mut events = get(addr, &events_of(&waiting().await), &[]).await;
        events.until_line(":").await;
        events.until_line(":").await;
    });
}

#[test]
fn without_a_store_a_client_is_to_come_again() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _manager = bgtask::Manager::builder()
            .install()
            .expect("the first of its runtime");
        let addr = live::serve(notify::router()).await;
        let answer = get(addr, "/jobs/any", &[]).await;
        assert_eq!(
            (answer.status, &answer.json().await["error"]),
            (503, &json!("unavailable"))
        );
        assert_eq!(get(addr, "/jobs/any/events", &[]).await.status, 200);
    });
}

on_each_database! {
    a_stream_has_each_newer_state_and_ends_with_the_end,
    one_that_comes_back_is_sent_what_is_newer_and_always_the_end,
    a_client_that_does_not_read_has_one_state_waiting,
    a_stream_of_another_process_goes_on,
    a_web_socket_has_the_same_messages,
    pages_of_other_origins_see_nothing_unless_they_are_allowed,
    streams_are_limited_by_ticket_and_in_all,
    streams_end_with_the_shutdown_and_do_not_hold_it,
}

on_the_kit! {
    a_stream_has_each_newer_state_and_ends_with_the_end,
    one_that_comes_back_is_sent_what_is_newer_and_always_the_end,
    a_web_socket_has_the_same_messages,
    pages_of_other_origins_see_nothing_unless_they_are_allowed,
    streams_are_limited_by_ticket_and_in_all,
    a_silent_stream_is_kept_alive,
}
