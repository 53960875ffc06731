//! Open pages: the samples that they are sent, and how little is done while no page is open.

use super::{fails, function, request, send, snapshot, text, waits};
use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use bgtask::{Manager, dashboard};
use bgtask_tests::{FOREVER, in_paused_time, on_both_flavors, runtimes};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The event stream of one open page.
struct Page(axum::body::BodyDataStream);

impl Page {
    async fn open(router: &Router) -> Self {
        Self(
            send(router, request("/events"))
                .await
                .into_body()
                .into_data_stream(),
        )
    }

    /// Returns the next event, or nothing at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(FOREVER, self.0.next()).await;
        let event = next
            .expect("something is sent, or the stream ends")?
            .unwrap();
        let event = str::from_utf8(&event).unwrap();
        let event = event
            .strip_prefix("retry: 1000\nevent: snapshot\ndata: ")
            .unwrap();
        let data = event.strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        Some(serde_json::from_str(data).unwrap())
    }

    /// Returns the last event of a stream that is about to end.
    async fn last(&mut self) -> Value {
        let mut last = Value::Null;
        for _ in 0..5 {
            match self.next().await {
                Some(next) => last = next,
                None => return last,
            }
        }
        panic!("the stream goes on");
    }

    async fn next_sample(&mut self) -> u64 {
        self.next().await.unwrap()["sample"].as_u64().unwrap()
    }
}

#[test]
fn tasks_that_start_after_a_page_was_opened_are_sent_to_it() {
    in_paused_time(async |_| {
        let router: Router = dashboard::router();
        let mut page = Page::open(&router).await;
        let first = page.next().await.unwrap();
        assert_eq!(
            (&first["tasks"]["total"], &first["sample"]),
            (&0.into(), &1.into())
        );
        let task = waits();
        let shown = page.next().await.unwrap();
        assert_eq!(shown["tasks"]["oldest"][0]["id"], task.id().as_u64());
        let (before, after) = (&shown["timeline"]["started"], page.next().await.unwrap());
        assert_eq!(before.as_array().unwrap().len(), 1);
        assert!(after["sample"].as_u64() > shown["sample"].as_u64());
    });
}

#[test]
fn many_open_pages_receive_the_same_samples() {
    in_paused_time(async |_| {
        let router: Router = dashboard::router();
        let mut pages = Vec::new();
        for _ in 0..50 {
            pages.push(Page::open(&router).await);
        }
        let mut samples = BTreeSet::new();
        for _ in 0..4 {
            for page in &mut pages {
                samples.insert(page.next_sample().await);
            }
        }
        assert!(samples.len() <= 6, "{samples:?}");
        let taken = snapshot(&router).await["sample"].as_u64().unwrap();
        assert!(taken <= 8, "{taken}");
    });
}

/// Returns the number of the sample in a response.
async fn sample_of(answer: impl Future<Output = Response>) -> u64 {
    let shown: Value = serde_json::from_str(&text(answer.await).await).unwrap();
    shown["sample"].as_u64().unwrap()
}

#[test]
fn concurrent_requests_share_one_sample_and_do_not_take_it_in_their_poll() {
    on_both_flavors(async |_| {
        let router: Router = dashboard::router();
        let mut requests: Vec<_> = (0..16)
            .map(|_| Box::pin(send(&router, request("/snapshot.json"))))
            .collect();
        // A worker of the server polls them. The later ones may find the sample taken.
        assert!(futures_util::poll!(requests[0].as_mut()).is_pending());
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(sample_of(std::future::ready(answer)).await, 1);
        }
    });
}

#[test]
fn a_sample_whose_client_has_left_goes_to_the_next_client() {
    on_both_flavors(async |_| {
        let router: Router = dashboard::router();
        let mut leaves = Box::pin(send(&router, request("/snapshot.json")));
        assert!(futures_util::poll!(leaves.as_mut()).is_pending());
        drop(leaves);
        let stays = send(&router, request("/snapshot.json"));
        assert_eq!(sample_of(stays).await, 1);
    });
}

#[test]
fn a_sample_is_shared_for_a_second_and_not_beyond_a_step_of_the_shutdown() {
    in_paused_time(async |manager| {
        let router: Router = dashboard::router();
        let sample = async || snapshot(&router).await["sample"].as_u64().unwrap();
        assert_eq!(sample().await, 1);
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(sample().await, 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(sample().await, 2);
        manager.request_shutdown("the test");
        assert_eq!(snapshot(&router).await["shutdown"]["phase"], "stopping");
        assert_eq!(sample().await, 3);
    });
}

#[test]
fn no_samples_are_taken_while_no_page_is_open() {
    in_paused_time(async |_| {
        let router: Router = dashboard::router();
        for _ in 0..3 {
            let mut page = Page::open(&router).await;
            page.next_sample().await;
            page.next_sample().await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = snapshot(&router).await["sample"].as_u64().unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(snapshot(&router).await["sample"], before + 1);
        // A page that opens later shows the current state.
        let task = waits();
        let mut page = Page::open(&router).await;
        let shown = page.next().await.unwrap();
        assert_eq!(shown["tasks"]["oldest"][0]["id"], task.id().as_u64());
    });
}

#[test]
fn a_slow_page_receives_the_latest_sample_and_nothing_piles_up() {
    in_paused_time(async |_| {
        let router: Router = dashboard::router();
        let mut page = Page::open(&router).await;
        let first = page.next_sample().await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let late = page.next_sample().await;
        assert!(late > first + 50, "{first} {late}");
        assert_eq!(page.next_sample().await, late + 1);
    });
}

#[test]
fn an_open_page_receives_the_shutdown_and_its_stream_ends() {
    on_both_flavors(async |manager| {
        let router: Router = dashboard::router();
        let mut pages = [Page::open(&router).await, Page::open(&router).await];
        for page in &mut pages {
            assert_eq!(page.next().await.unwrap()["shutdown"]["phase"], "running");
        }
        manager.request_shutdown("the test");
        for page in &mut pages {
            let last = page.last().await;
            let shutdown = &last["shutdown"];
            assert_eq!(shutdown["phase"], "stopping");
            assert_eq!(shutdown["reason"], "requested: the test");
            assert_eq!(shutdown["grace_ms"], 60_000);
            assert!(shutdown["left_ms"].as_u64().unwrap() <= 60_000);
        }
        // A page that opens now receives the phase, and its stream ends.
        let mut late = Page::open(&router).await;
        assert_eq!(late.next().await.unwrap()["shutdown"]["phase"], "stopping");
        assert!(late.next().await.is_none());
        manager.shutdown("again").await;
        assert_eq!(snapshot(&router).await["shutdown"]["phase"], "over");
    });
}

#[test]
fn dashboards_of_one_manager_share_their_records_and_managers_do_not() {
    let [one, other] = runtimes();
    let managers =
        [&one, &other].map(|runtime| Manager::builder().install_on(runtime.handle()).unwrap());
    let [first, of_the_other] = managers
        .each_ref()
        .map(|manager| -> Router { dashboard::builder().manager(manager).router() });
    one.block_on(async {
        let _ = fails("once".to_owned()).await;
        // Created after the failure, it still shows it.
        let second: Router = dashboard::router();
        for router in [&first, &second] {
            let shown = snapshot(router).await;
            assert_eq!(shown["failures"]["total"], 1);
            assert_eq!(function(&shown, "dashboard: fails")["failed"], 1);
        }
        assert_eq!(snapshot(&of_the_other).await["failures"]["total"], 0);
        // The pages of both share one sampler.
        let mut pages = [Page::open(&first).await, Page::open(&second).await];
        let [a, b] = &mut pages;
        assert_eq!(a.next_sample().await, b.next_sample().await);
    });
    for (runtime, manager) in [&one, &other].into_iter().zip(managers) {
        runtime.block_on(manager.shutdown("the test ends"));
    }
}

#[test]
fn a_dashboard_keeps_no_manager_alive_and_answers_that_it_is_gone() {
    let [runtime, elsewhere] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let router: Router = dashboard::builder().manager(&manager).router();
    let mut page = elsewhere.block_on(Page::open(&router));
    drop(manager);
    drop(runtime);
    elsewhere.block_on(async {
        let response = send(&router, request("/snapshot.json")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        page.last().await;
        assert!(Page::open(&router).await.next().await.is_none());
    });
}

#[test]
fn a_page_opened_after_its_runtime_has_ended_is_closed() {
    let [runtime, elsewhere] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let router: Router = dashboard::builder().manager(&manager).router();
    drop(runtime);
    // On its own thread, so that the test fails if it never ends.
    let (is_over, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        elsewhere.block_on(async {
            for _ in 0..2 {
                assert!(Page::open(&router).await.next().await.is_none());
            }
            snapshot(&router).await
        });
        is_over.send(()).unwrap();
    });
    has_ended.recv_timeout(FOREVER).unwrap();
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_a_timer_panics_when_the_dashboard_is_built() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let _: Router = dashboard::builder().manager(&manager).router();
}
