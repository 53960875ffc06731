//! The page of one function and its details.

use super::{
    column, details, fails, from, request, send, status, succeeds, text, until_shown, waits,
    with_dashboard,
};
use axum::http::StatusCode;
use bgtask::background;
use serde_json::Value;
use std::time::Duration;

#[background(name = "dashboard: sleeps")]
async fn sleeps(pause: Duration) {
    tokio::time::sleep(pause).await;
}

#[test]
fn the_details_of_a_function_have_the_percentiles_of_its_durations() {
    bgtask_tests::in_paused_time(async |_| {
        let router: axum::Router = bgtask::dashboard::router();
        // Real time passes too, so only the order is certain.
        for _ in 0..20 {
            sleeps(Duration::ZERO).await.unwrap();
        }
        let shown = details(&router, "dashboard: sleeps").await;
        let took = &shown["function"]["took"];
        let ms = |field: &str| took[field].as_f64().unwrap();
        assert!(0.0 < ms("p50_ms"), "{took}");
        assert!(ms("p50_ms") <= ms("p90_ms") && ms("p90_ms") <= ms("p99_ms"));
        assert!(ms("p99_ms") <= ms("max_ms"), "{took}");
        assert!(shown["function"]["waited"]["p50_ms"].as_f64() <= took["p50_ms"].as_f64());
        assert_eq!(shown["function"]["longest_ms"], took["max_ms"]);
    });
}

#[test]
fn the_details_of_a_function_have_its_own_calls_and_failures_by_message() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for order in 0..30 {
                let _ = fails(format!("order {order}: no paper")).await;
            }
            let _ = fails("no ink".to_owned()).await;
            succeeds().await.unwrap();
            let _waits = waits();
            let read = async || details(&router, "dashboard: fails").await;
            let shown =
                until_shown(read, |shown| shown["ended"].as_array().unwrap().len() == 31).await;
            assert_eq!(shown["function"]["failed"], 31);
            assert_eq!(shown["options"], serde_json::json!(["log = off"]));
            assert_eq!(shown["tasks"]["total"], 0);
            // The group that grew last is the first.
            let groups = &shown["groups"];
            assert_eq!(column(groups, "message"), ["no ink", "order #: no paper"]);
            assert_eq!(column(groups, "count"), [1, 30]);
            assert_eq!(groups[1]["last_message"], "order 29: no paper");
            assert_eq!(groups[1]["outcome"], "failed");
            assert!(groups[1]["first_at"].as_u64() <= groups[1]["last_at"].as_u64());
            let ended = column(&shown["ended"], "name");
            assert!(ended.iter().all(|name| **name == "dashboard: fails"));

            let shown = details(&router, "dashboard: waits").await;
            assert_eq!(
                column(&shown["tasks"]["oldest"], "name"),
                ["dashboard: waits"]
            );
            assert_eq!(shown["function"]["running"], 1);
            assert_eq!(shown["groups"], Value::Array(Vec::new()));
            let shown = details(&router, "dashboard: succeeds").await;
            assert_eq!(
                shown["options"],
                serde_json::json!(["timeout = 1h", "concurrency = 1"])
            );
            assert_eq!(shown["function"]["live"]["waiting"], 0);
        },
    );
}

#[test]
fn the_page_of_a_function_is_found_by_its_name_and_refused_like_the_others() {
    with_dashboard(
        |builder| builder.title("<i>orders</i>"),
        async |router| {
            let page = send(&router, request("/function?name=dashboard%3A%20waits")).await;
            assert_eq!(page.status(), StatusCode::OK);
            let page = text(page).await;
            assert!(page.contains("<title>dashboard: waits · &lt;i&gt;orders&lt;/i&gt;</title>"));
            assert!(page.contains("href=\"./function.json?name=dashboard%3A%20waits\""));
            for path in ["/function", "/function.json"] {
                for query in ["", "?name=", "?name=nobody", "?name=%ff", "?name=a&name=b"] {
                    let unknown = send(&router, request(&format!("{path}{query}"))).await;
                    assert_eq!(unknown.status(), StatusCode::NOT_FOUND, "{path}{query}");
                    let far = from([192, 168, 1, 7], &format!("{path}{query}"));
                    assert_eq!(status(&router, far).await, StatusCode::FORBIDDEN);
                }
            }
        },
    );
}

#[test]
fn the_details_of_a_function_are_shared_for_a_second() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let first = details(&router, "dashboard: waits").await;
            let _waits = waits();
            // An old sample does not know of the call.
            let shares = details(&router, "dashboard: waits").await == first;
            let read = async || details(&router, "dashboard: waits").await;
            let later = until_shown(read, |shown| shown["function"]["running"] == 1).await;
            let passed = later["taken_at"].as_u64().unwrap() - first["taken_at"].as_u64().unwrap();
            assert!(shares || passed >= 999, "{passed} ms");
            assert!(passed >= 999, "{passed} ms");
            // Those of another function are others.
            let other = details(&router, "dashboard: fails").await;
            assert_eq!(other["function"]["name"], "dashboard: fails");
        },
    );
}
