//! Seeing: the dashboard. Who gets to see it, rule by rule; what it tells; and what it does while nobody looks.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use bgtask::{Manager, ShutdownToken, State, background, dashboard};
use bgtask_tests::{FOREVER, in_paused_time, manager_within, on_both_flavors, runtimes};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeSet;
use std::future::pending;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tower::ServiceExt;

/// A request as a browser on this machine makes it, for one of the dashboard's paths.
fn request(path: &str) -> Request {
    from(Ipv4Addr::LOCALHOST, path)
}

fn from(peer: impl Into<IpAddr>, path: &str) -> Request {
    let mut request = Request::get(path)
        .header("host", "localhost:3000")
        .body(Body::empty())
        .unwrap();
    let peer = SocketAddr::new(peer.into(), 50_000);
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

fn with(name: &'static str, value: &str) -> Request {
    with_at("/snapshot.json", name, value)
}

fn with_at(path: &str, name: &'static str, value: &str) -> Request {
    let mut request = request(path);
    let headers = request.headers_mut();
    headers.insert(name, value.parse().unwrap());
    request
}

async fn ask(router: &Router, request: Request) -> Response {
    router.clone().oneshot(request).await.unwrap()
}

async fn status(router: &Router, request: Request) -> StatusCode {
    ask(router, request).await.status()
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What the refusal says.
async fn refusal(router: &Router, request: Request) -> String {
    let response = ask(router, request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    text(response).await
}

/// Waits until the snapshot is as it should be, and returns it.
async fn snapshot_where(router: &Router, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let shown = snapshot(router).await;
        if is_so(&shown) {
            return shown;
        }
        assert!(start.elapsed() < FOREVER, "{shown:#}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn snapshot(router: &Router) -> Value {
    let response = ask(router, request("/snapshot.json")).await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).unwrap()
}

/// Runs `test` with a dashboard of its manager.
fn with_dashboard<F: AsyncFn(Router)>(
    build: impl Fn(dashboard::Builder) -> dashboard::Builder,
    test: F,
) {
    on_both_flavors(async |_| test(build(dashboard::builder()).router()).await);
}

const PATHS: [&str; 6] = [
    "/",
    "/snapshot.json",
    "/events",
    "/style.css",
    "/script.js",
    "/icon.svg",
];

#[test]
fn the_dashboard_answers_peers_on_this_machine_and_no_others() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
            for peer in [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                Ipv4Addr::new(127, 8, 9, 10).into(),
                Ipv6Addr::LOCALHOST.into(),
                mapped.into(),
            ] {
                for path in PATHS {
                    assert_eq!(
                        status(&router, from(peer, path)).await,
                        StatusCode::OK,
                        "{peer} {path}"
                    );
                }
            }
            for peer in [
                IpAddr::from([192, 168, 1, 7]),
                [10, 0, 0, 1].into(),
                [0, 0, 0, 0].into(),
                Ipv4Addr::new(192, 168, 1, 7).to_ipv6_mapped().into(),
                Ipv6Addr::UNSPECIFIED.into(),
                "fe80::1".parse().unwrap(),
            ] {
                for path in PATHS {
                    let said = refusal(&router, from(peer, path)).await;
                    assert!(said.contains("authorize"), "{said}");
                }
            }
        },
    );
}

#[test]
fn the_dashboard_answers_nobody_where_the_peer_is_not_known() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for path in PATHS {
                let mut request = request(path);
                request.extensions_mut().clear();
                let said = refusal(&router, request).await;
                let write = "into_make_service_with_connect_info::<SocketAddr>()";
                assert!(said.contains(write), "{said}");
            }
        },
    );
}

#[test]
fn what_headers_say_of_the_peer_lets_nobody_in() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
                let mut request = from([192, 168, 1, 7], "/snapshot.json");
                let value = "127.0.0.1".parse().unwrap();
                request.headers_mut().insert(name, value);
                assert_eq!(status(&router, request).await, StatusCode::FORBIDDEN);
            }
        },
    );
}

#[test]
fn a_request_that_came_through_a_proxy_is_refused() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for name in [
                "forwarded",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto",
                "x-forwarded-port",
                "x-forwarded-server",
                "x-real-ip",
                "via",
                "x-client-ip",
                "x-cluster-client-ip",
                "true-client-ip",
                "cf-connecting-ip",
                "x-envoy-external-address",
                "client-ip",
                "cdn-loop",
                // By what they begin with: proxies go on adding some.
                "x-forwarded",
                "x-forwarded-prefix",
                "x-forwarded-by-anything",
                "x-original-host",
                "x-original-forwarded-for",
                "cf-ray",
                "cf-visitor",
                "fastly-client-ip",
                "fastly-ssl",
            ] {
                let said = refusal(&router, with(name, "127.0.0.1")).await;
                assert!(said.contains("proxy"), "{name}: {said}");
            }
            // As nginx asks if it is not told otherwise, without a header of its own.
            let mut old = request("/snapshot.json");
            *old.version_mut() = Version::HTTP_10;
            assert!(refusal(&router, old).await.contains("proxy"));
        },
    );
}

#[test]
fn the_dashboard_answers_to_its_own_hosts_and_no_others() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for host in [
                "localhost",
                "LOCALHOST:80",
                "127.0.0.1:3000",
                "[::1]:3000",
                "[::1]",
            ] {
                assert_eq!(
                    status(&router, with("host", host)).await,
                    StatusCode::OK,
                    "{host}"
                );
            }
            for host in [
                "example.org",
                "localhost.example.org",
                "example.org:3000",
                "127.0.0.2",
                "192.168.1.7",
                "localhost.",
                "[::2]",
            ] {
                for path in PATHS {
                    let said = refusal(&router, with_at(path, "host", host)).await;
                    assert!(said.contains("allow_host"), "{host}: {said}");
                }
            }
        },
    );
}

#[test]
fn a_host_that_is_missing_unsound_or_ambiguous_is_refused() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let mut none = request("/snapshot.json");
            none.headers_mut().remove("host");
            assert!(refusal(&router, none).await.contains("`Host`"));
            for host in [
                "",
                "user@localhost",
                "localhost:port",
                "http://localhost",
                "a b",
                "::1",
            ] {
                assert!(
                    refusal(&router, with("host", host))
                        .await
                        .starts_with("Refused"),
                    "{host}"
                );
            }
            let mut two = request("/snapshot.json");
            two.headers_mut()
                .append("host", "example.org".parse().unwrap());
            assert!(refusal(&router, two).await.contains("allow_host"));
            let mut not_text = request("/snapshot.json");
            let value = axum::http::HeaderValue::from_bytes(b"localhost\xff").unwrap();
            not_text.headers_mut().insert("host", value);
            assert!(refusal(&router, not_text).await.contains("`Host`"));
        },
    );
}

#[test]
fn the_authority_of_http_2_is_held_to_the_same_rule() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for (uri, host, expected) in [
                ("http://localhost:3000/snapshot.json", None, StatusCode::OK),
                (
                    "http://localhost:3000/snapshot.json",
                    Some("localhost:3000"),
                    StatusCode::OK,
                ),
                (
                    "http://example.org/snapshot.json",
                    None,
                    StatusCode::FORBIDDEN,
                ),
                // Whichever of the two is believed elsewhere.
                (
                    "http://example.org/snapshot.json",
                    Some("localhost"),
                    StatusCode::FORBIDDEN,
                ),
                (
                    "http://localhost/snapshot.json",
                    Some("example.org"),
                    StatusCode::FORBIDDEN,
                ),
            ] {
                let mut request = from(Ipv4Addr::LOCALHOST, uri);
                *request.version_mut() = Version::HTTP_2;
                request.headers_mut().remove("host");
                if let Some(host) = host {
                    request.headers_mut().insert("host", host.parse().unwrap());
                }
                assert_eq!(status(&router, request).await, expected, "{uri} {host:?}");
            }
        },
    );
}

#[test]
fn requests_of_other_sites_are_refused_and_links_are_followed() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for site in ["cross-site", "same-site", "anything"] {
                for path in &PATHS[1..] {
                    let said = refusal(&router, with_at(path, "sec-fetch-site", site)).await;
                    assert!(said.contains("another site"), "{said}");
                }
                let link = with_at("/", "sec-fetch-site", site);
                assert_eq!(status(&router, link).await, StatusCode::OK);
            }
            for site in ["same-origin", "none"] {
                let own = with_at("/events", "sec-fetch-site", site);
                assert_eq!(status(&router, own).await, StatusCode::OK);
            }
            for origin in [
                "http://example.org",
                "http://localhost:4000",
                "http://localhost",
                "null",
                "localhost:3000",
            ] {
                let said = refusal(&router, with_at("/events", "origin", origin)).await;
                assert!(said.contains("another site"), "{said}");
            }
            let own = with_at("/events", "origin", "http://localhost:3000");
            assert_eq!(status(&router, own).await, StatusCode::OK);
        },
    );
}

#[test]
fn no_option_but_an_authorisation_loosens_who_may_see_the_dashboard() {
    with_dashboard(
        |builder| {
            builder
                .title("orders")
                .allow_host("status.example.org")
                .allow_host("[fd00::1]:3000")
        },
        async |router| {
            assert_eq!(
                status(&router, with("host", "status.example.org:80")).await,
                StatusCode::OK
            );
            assert_eq!(
                status(&router, with("host", "[fd00::1]:3000")).await,
                StatusCode::OK
            );
            assert_eq!(
                status(&router, with("host", "localhost")).await,
                StatusCode::OK
            );
            for host in [
                "example.org",
                "status.example.org.example.net",
                "[fd00::1]:4000",
            ] {
                assert_eq!(
                    status(&router, with("host", host)).await,
                    StatusCode::FORBIDDEN,
                    "{host}"
                );
            }
            let mut far = from([192, 168, 1, 7], "/snapshot.json");
            let host = "status.example.org".parse().unwrap();
            far.headers_mut().insert("host", host);
            assert!(refusal(&router, far).await.contains("on its own machine"));
            let mut unknown = request("/");
            unknown.extensions_mut().clear();
            assert_eq!(status(&router, unknown).await, StatusCode::FORBIDDEN);
        },
    );
}

#[test]
fn an_authorisation_takes_the_place_of_the_peers_rule_and_of_no_other() {
    let build = |builder: dashboard::Builder| {
        builder.authorize(|request| {
            request
                .headers
                .get("x-key")
                .is_some_and(|key| key == "open")
        })
    };
    with_dashboard(build, async |router| {
        let allowed = |peer: [u8; 4]| {
            let mut request = from(peer, "/snapshot.json");
            request
                .headers_mut()
                .insert("x-key", "open".parse().unwrap());
            request
                .headers_mut()
                .insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
            request
        };
        assert_eq!(
            status(&router, allowed([192, 168, 1, 7])).await,
            StatusCode::OK
        );
        let mut unknown_peer = allowed([127, 0, 0, 1]);
        unknown_peer.extensions_mut().clear();
        assert_eq!(status(&router, unknown_peer).await, StatusCode::OK);
        // Nobody is let in for being near any more.
        for path in PATHS {
            assert!(
                refusal(&router, request(path))
                    .await
                    .contains("access was denied")
            );
        }
        let mut elsewhere = allowed([127, 0, 0, 1]);
        elsewhere
            .headers_mut()
            .insert("host", "example.org".parse().unwrap());
        assert!(refusal(&router, elsewhere).await.contains("allow_host"));
        let mut cross = allowed([127, 0, 0, 1]);
        cross
            .headers_mut()
            .insert("sec-fetch-site", "cross-site".parse().unwrap());
        assert!(refusal(&router, cross).await.contains("another site"));
    });
}

#[test]
fn an_authorisation_may_answer_in_its_own_words() {
    let build = |builder: dashboard::Builder| {
        builder.authorize(|_| {
            Err::<(), _>((
                StatusCode::UNAUTHORIZED,
                [("www-authenticate", "Basic")],
                "who?",
            ))
        })
    };
    with_dashboard(build, async |router| {
        let response = ask(&router, request("/")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Basic");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(text(response).await, "who?");
    });
}

#[test]
#[should_panic(expected = "`http://status.example.org` is not a host")]
fn a_host_that_is_none_is_refused_when_the_dashboard_is_built() {
    let _ = dashboard::builder().allow_host("http://status.example.org");
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let refused = PATHS.map(|path| from([192, 168, 1, 7], path));
            for request in PATHS.map(request).into_iter().chain(refused) {
                let response = ask(&router, request).await;
                let headers = response.headers();
                let policy = headers["content-security-policy"].to_str().unwrap();
                assert!(policy.starts_with("default-src 'none';"), "{policy}");
                assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
                for (name, value) in [
                    ("x-content-type-options", "nosniff"),
                    ("x-frame-options", "DENY"),
                    ("referrer-policy", "no-referrer"),
                    ("cross-origin-resource-policy", "same-origin"),
                    ("cache-control", "no-store"),
                ] {
                    assert_eq!(headers[name], value);
                }
            }
            for (path, content_type) in [
                ("/", "text/html; charset=utf-8"),
                ("/snapshot.json", "application/json"),
                ("/events", "text/event-stream"),
                ("/style.css", "text/css; charset=utf-8"),
                ("/script.js", "text/javascript; charset=utf-8"),
                ("/icon.svg", "image/svg+xml"),
            ] {
                let response = ask(&router, request(path)).await;
                assert_eq!(response.headers()["content-type"], content_type);
            }
        },
    );
}

#[test]
fn the_dashboard_can_only_be_read() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for path in PATHS {
                for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                    let mut request = request(path);
                    *request.method_mut() = method;
                    assert_eq!(
                        status(&router, request).await,
                        StatusCode::METHOD_NOT_ALLOWED
                    );
                }
                let mut head = request(path);
                *head.method_mut() = Method::HEAD;
                assert_eq!(status(&router, head).await, StatusCode::OK);
                let mut far = from([192, 168, 1, 7], path);
                *far.method_mut() = Method::POST;
                assert_eq!(status(&router, far).await, StatusCode::FORBIDDEN);
            }
        },
    );
}

/// Where the page says its script is, as a browser understands it.
async fn script_of(app: &Router, path: &str) -> String {
    let response = ask(app, request(path)).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let page = text(response).await;
    let (_, script) = page.split_once("<script src=\"./").unwrap();
    let (script, _) = script.split_once('"').unwrap();
    let (folder, _) = path.rsplit_once('/').unwrap();
    format!("{folder}/{script}")
}

#[test]
fn the_dashboard_is_found_wherever_it_is_mounted() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let app = Router::new().fallback(|| async { (StatusCode::IM_A_TEAPOT, "the app") });
            for (app, pages) in [
                (app.clone().merge(router.clone()), &["/"][..]),
                (app.clone().nest("/bg", router.clone()), &["/bg"]),
                (app.clone().nest("/bg/", router.clone()), &["/bg/"]),
                (
                    app.clone().nest_service("/bg", router.clone()),
                    &["/bg", "/bg/"],
                ),
                (
                    app.clone()
                        .nest("/ops", Router::new().nest("/bg", router.clone())),
                    &["/ops/bg"],
                ),
                (
                    app.clone().nest("/{tenant}/bg", router.clone()),
                    &["/some/bg"],
                ),
                (Router::new().fallback_service(router.clone()), &["/"]),
            ] {
                for path in pages {
                    let script = script_of(&app, path).await;
                    let folder = script.strip_suffix("script.js").unwrap();
                    for file in [
                        "script.js",
                        "style.css",
                        "icon.svg",
                        "snapshot.json",
                        "events",
                    ] {
                        let path = format!("{folder}{file}");
                        assert_eq!(status(&app, request(&path)).await, StatusCode::OK, "{path}");
                        // The guard comes along.
                        let far = from([192, 168, 1, 7], &path);
                        assert_eq!(status(&app, far).await, StatusCode::FORBIDDEN, "{path}");
                    }
                }
            }
            // What is not the dashboard's is the app's, also where the app has nothing to say of it.
            let far = from([192, 168, 1, 7], "/elsewhere");
            let bare = Router::new().merge(router.clone());
            assert_eq!(status(&bare, far).await, StatusCode::NOT_FOUND);
            let app = app.merge(router.clone()).nest("/bg", router);
            for path in ["/elsewhere", "/bg/elsewhere"] {
                let far = from([192, 168, 1, 7], path);
                assert_eq!(status(&app, far).await, StatusCode::IM_A_TEAPOT);
            }
        },
    );
}

#[test]
fn a_title_is_text() {
    with_dashboard(
        |builder| builder.title("<script>alert(1)</script>"),
        async |router| {
            let page = text(ask(&router, request("/")).await).await;
            assert!(page.contains("<title>&lt;script&gt;alert(1)&lt;/script&gt;</title>"));
            assert!(!page.contains("<script>"));
        },
    );
}

#[background(name = "dashboard: waits")]
async fn waits(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(name = "dashboard: fails", log = "off")]
async fn fails(message: String) -> Result<(), String> {
    Err(message)
}

#[background(name = "dashboard: panics", log = "off")]
fn panics() {
    panic!("on purpose");
}

#[background(name = "dashboard: succeeds", timeout = "1h", concurrency = 1)]
async fn succeeds() {}

#[background(name = "dashboard: runs out of time", timeout = "1ms", log = "off")]
async fn runs_out_of_time() {
    pending().await
}

#[background(
    name = "dashboard: tries again",
    retry(max = 3, base = "1ms"),
    log = "off"
)]
async fn tries_again() -> Result<(), &'static str> {
    Err("again")
}

#[background(name = "dashboard: joins", coalesce(policy = "join"))]
async fn joins(token: ShutdownToken) {
    token.cancelled().await;
}

#[derive(Clone)]
struct ProvidedByNobody;

#[background(name = "dashboard: is refused", log = "off")]
async fn is_refused(_state: State<ProvidedByNobody>) {}

fn function<'a>(snapshot: &'a Value, name: &str) -> &'a Value {
    let mut functions = snapshot["functions"].as_array().unwrap().iter();
    functions.find(|one| one["name"] == name).unwrap()
}

#[test]
fn the_snapshot_tells_what_runs_what_came_of_the_rest_and_why() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let task = waits();
            let _ = fails("<b>not</b> bold".to_owned()).await;
            let _ = panics().await;
            succeeds().await.unwrap();
            let _ = runs_out_of_time().await;
            let _ = tries_again().await;
            let first = joins();
            let second = joins();
            assert!(is_refused().is_finished());
            let shown = snapshot_where(&router, |shown| {
                let oldest = shown["tasks"]["oldest"].as_array().unwrap();
                oldest.len() == 2 && oldest.iter().all(|task| task["state"] == "running")
            })
            .await;
            assert_eq!(shown["version"], 1);
            assert_eq!(shown["shutdown"]["phase"], "running");
            let totals = &shown["totals"];
            let count = |name: &str| totals[name].as_u64().unwrap();
            let outcomes = [
                "succeeded",
                "failed",
                "panicked",
                "timed_out",
                "cancelled",
                "aborted",
                "abandoned",
            ];
            let ended: u64 = outcomes.into_iter().map(count).sum();
            assert_eq!(count("accepted"), count("running") + ended);
            assert_eq!((count("accepted"), count("running")), (7, 2));

            let running = &shown["tasks"]["oldest"][0];
            assert_eq!(running["id"], task.id().as_u64());
            assert_eq!(running["name"], "dashboard: waits");
            assert_eq!(
                (&running["attempt"], &running["state"]),
                (&1.into(), &"running".into())
            );
            assert!(
                running["called_at"]
                    .as_str()
                    .unwrap()
                    .contains("dashboard.rs:")
            );
            let age = running["age_ms"].as_u64().unwrap();
            snapshot_where(&router, |shown| {
                shown["tasks"]["oldest"][0]["age_ms"].as_u64() > Some(age)
            })
            .await;

            for (name, accepted, outcome) in [
                ("dashboard: waits", 1, "running"),
                ("dashboard: fails", 1, "failed"),
                ("dashboard: panics", 1, "panicked"),
                ("dashboard: succeeds", 1, "succeeded"),
                ("dashboard: runs out of time", 1, "timed_out"),
                ("dashboard: tries again", 1, "failed"),
                ("dashboard: joins", 1, "running"),
            ] {
                let one = function(&shown, name);
                assert_eq!(
                    (&one["accepted"], &one[outcome]),
                    (&accepted.into(), &1.into()),
                    "{one}"
                );
                assert_eq!(one["mean_ms"].is_null(), outcome == "running", "{one}");
                assert_eq!(one["longest_ms"], one["mean_ms"], "{one}");
                assert!(one["location"].as_str().unwrap().contains("dashboard.rs:"));
            }
            assert_eq!(function(&shown, "dashboard: joins")["coalesced"], 1);
            assert_eq!(function(&shown, "dashboard: is refused")["refused"], 1);
            assert_eq!(function(&shown, "dashboard: tries again")["retries"], 2);
            assert_eq!(function(&shown, "dashboard: panics")["kind"], "blocking");
            assert_eq!(function(&shown, "dashboard: waits")["takes_token"], true);
            let one = function(&shown, "dashboard: succeeds");
            assert_eq!(one["options"], "timeout = 1h, concurrency = 1");
            assert_eq!(one["live"]["waiting"], 0);
            assert!(function(&shown, "dashboard: waits")["live"].is_null());

            let failures = shown["failures"]["latest"].as_array().unwrap();
            assert_eq!(shown["failures"]["total"], 4);
            // The newest first.
            let told: Vec<_> = failures
                .iter()
                .map(|one| {
                    (
                        one["name"].as_str().unwrap(),
                        one["message"].as_str().unwrap(),
                    )
                })
                .collect();
            assert_eq!(
                told,
                [
                    ("dashboard: tries again", "again (after 3 attempts)"),
                    ("dashboard: runs out of time", "exceeded its `timeout`"),
                    ("dashboard: panics", "on purpose"),
                    ("dashboard: fails", "<b>not</b> bold"),
                ]
            );
            assert_eq!(failures[2]["outcome"], "panicked");
            assert!(
                failures[2]["panicked_at"]
                    .as_str()
                    .unwrap()
                    .contains("dashboard.rs:")
            );

            let started = shown["timeline"]["started"].as_array().unwrap();
            assert_eq!(started.iter().filter_map(Value::as_u64).sum::<u64>(), 7);
            let failed = shown["timeline"]["failed"].as_array().unwrap();
            assert_eq!(failed.iter().filter_map(Value::as_u64).sum::<u64>(), 4);
            drop((first, second));
        },
    );
}

/// The paths of all fields: `tasks.oldest[].id`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = match path {
                    "" => key.clone(),
                    _ => format!("{path}.{key}"),
                };
                fields(value, &path, found);
            }
            // What only holds others is not listed, but for what may be null.
            if path.ends_with(".live") {
                found.insert(path.to_owned());
            }
        }
        Value::Array(array) => {
            found.insert(format!("{path}[]"));
            array
                .iter()
                .for_each(|value| fields(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_field_of_the_snapshot_is_documented_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboard.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| field | |").unwrap();
    let rows = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` |"));
    let documented: BTreeSet<_> = rows.map(|(field, _)| field.to_owned()).collect();
    for runtime in runtimes() {
        let manager = Manager::builder()
            .schedules(true)
            .install_on(runtime.handle())
            .unwrap();
        let router: Router = dashboard::builder().manager(&manager).router();
        runtime.block_on(async {
            waits();
            succeeds().await.unwrap();
            let _ = fails("with a message".to_owned()).await;
            let shown = snapshot_where(&router, |shown| {
                shown["schedules"] != Value::Array(Vec::new())
            })
            .await;
            let mut found = BTreeSet::new();
            fields(&shown, "", &mut found);
            assert_eq!(found, documented);
            manager.shutdown("the test ends").await;
        });
    }
}

#[test]
fn lists_are_bounded_and_say_how_much_there_is() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let mut handles: Vec<_> = (0..150).map(|_| waits()).collect();
            let first = handles[0].id().as_u64();
            for number in 0..130 {
                let _ = fails(format!("number {number}")).await;
            }
            let shown = snapshot(&router).await;
            let (tasks, failures) = (&shown["tasks"], &shown["failures"]);
            assert_eq!(
                (&tasks["total"], &failures["total"]),
                (&150.into(), &130.into())
            );
            assert_eq!(tasks["oldest"].as_array().unwrap().len(), 100);
            assert_eq!(tasks["oldest"][0]["id"], first);
            assert_eq!(failures["latest"].as_array().unwrap().len(), 100);
            assert_eq!(failures["latest"][0]["message"], "number 129");
            assert_eq!(function(&shown, "dashboard: waits")["running"], 150);
            handles.clear();
        },
    );
}

#[test]
fn the_wait_queues_of_two_blocks_that_share_a_name_are_shown_as_one() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let mut handles = Vec::new();
            for _ in 0..3 {
                handles.push(bgtask::spawn!(
                    "dashboard: shares its name",
                    concurrency = 1,
                    pending::<()>()
                ));
                handles.push(bgtask::spawn!(
                    "dashboard: shares its name",
                    concurrency = 1,
                    pending::<()>()
                ));
            }
            let shown = snapshot_where(&router, |shown| {
                function(shown, "dashboard: shares its name")["live"]["running"] == 2
            })
            .await;
            let shown = function(&shown, "dashboard: shares its name");
            assert_eq!(
                (&shown["running"], &shown["live"]["waiting"]),
                (&6.into(), &4.into())
            );
            handles.iter().for_each(|handle| handle.abort());
        },
    );
}

#[test]
fn a_call_aborted_without_a_shutdown_is_a_failure() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let task = waits();
            task.abort();
            let _ = task.await;
            let shown = snapshot_where(&router, |shown| shown["failures"]["total"] == 1).await;
            assert_eq!(shown["failures"]["latest"][0]["outcome"], "aborted");
            assert_eq!(function(&shown, "dashboard: waits")["aborted"], 1);
        },
    );
}

#[background(name = "dashboard: panics while it is dropped", log = "off")]
async fn panics_while_it_is_dropped(begins: oneshot::Sender<()>) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it was dropped");
        }
    }
    let _bomb = Bomb;
    let _ = begins.send(());
    pending().await
}

#[test]
fn a_call_that_is_aborted_and_panics_on_that_is_one_failure() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let (begins, has_begun) = oneshot::channel();
            let task = panics_while_it_is_dropped(begins);
            has_begun.await.unwrap();
            task.abort();
            let _ = task.await;
            let shown = snapshot_where(&router, |shown| shown["failures"]["total"] != 0).await;
            assert_eq!(shown["failures"]["total"], 1);
            let latest = shown["failures"]["latest"].as_array().unwrap();
            assert_eq!(latest.len(), 1);
            assert_eq!(latest[0]["message"], "while it was dropped");
        },
    );
}

#[background(name = "dashboard: never ends")]
async fn never_ends() {
    pending().await
}

#[test]
fn a_call_that_a_shutdown_ends_is_counted_and_no_failure() {
    for runtime in runtimes() {
        let manager = manager_within(Duration::from_millis(50), &runtime);
        let router: Router = dashboard::builder().manager(&manager).router();
        runtime.block_on(async {
            never_ends();
            manager.shutdown("the test ends").await;
            let shown = snapshot(&router).await;
            assert_eq!(function(&shown, "dashboard: never ends")["aborted"], 1);
            assert_eq!(shown["failures"]["total"], 0);
        });
    }
}

#[background(name = "dashboard: every hour", every = "1h", jitter = "1s")]
async fn every_hour() {}

#[test]
fn schedules_tell_when_they_are_due() {
    for runtime in runtimes() {
        let manager = Manager::builder()
            .schedules(true)
            .install_on(runtime.handle())
            .unwrap();
        let router: Router = dashboard::builder().manager(&manager).router();
        runtime.block_on(async {
            let shown =
                snapshot_where(&router, |shown| !shown["schedules"][0]["next_at"].is_null()).await;
            let schedule = &shown["schedules"][0];
            assert_eq!(schedule["name"], "dashboard: every hour");
            assert_eq!(schedule["options"], "every = 1h, jitter = 1s");
            assert_eq!(
                (&schedule["runs"], &schedule["has_ended"]),
                (&0.into(), &false.into())
            );
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis() as u64;
            let due = schedule["next_at"].as_u64().unwrap() - now;
            assert!((3_500_000..=3_602_000).contains(&due), "{due}");
            manager.shutdown("the test ends").await;
            snapshot_where(&router, |shown| shown["schedules"][0]["has_ended"] == true).await;
        });
    }
}

#[test]
fn a_call_aborted_before_the_draining_is_a_failure() {
    on_both_flavors(async |manager| {
        let router: Router = dashboard::router();
        manager.request_shutdown("the test says so");
        // However late the dashboard is told of the shutdown.
        for _ in 0..100 {
            let task = never_ends();
            task.abort();
            let _ = task.await;
        }
        assert_eq!(snapshot(&router).await["failures"]["total"], 100);
    });
}

#[test]
fn the_steps_of_the_timeline_end_while_nobody_looks() {
    in_paused_time(async |_| {
        let router: Router = dashboard::router();
        for _ in 0..2 {
            succeeds().await.unwrap();
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        let shown = snapshot(&router).await;
        assert_eq!(shown["timeline"]["started"], serde_json::json!([1, 1, 0]));
    });
}

/// The stream of one open page.
struct Page(axum::body::BodyDataStream);

impl Page {
    async fn open(router: &Router) -> Self {
        Self(
            ask(router, request("/events"))
                .await
                .into_body()
                .into_data_stream(),
        )
    }

    /// The next event, or that the stream has ended.
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

    /// The last event of a stream that is about to end.
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
fn what_starts_after_a_page_was_opened_is_sent_to_it() {
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
fn many_open_pages_are_sent_the_same_samples() {
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

/// The sample that an answer has.
async fn sample_of(answer: impl Future<Output = Response>) -> u64 {
    let shown: Value = serde_json::from_str(&text(answer.await).await).unwrap();
    shown["sample"].as_u64().unwrap()
}

#[test]
fn requests_at_once_share_one_sample_and_it_is_not_taken_where_they_are_polled() {
    on_both_flavors(async |_| {
        let router: Router = dashboard::router();
        let mut requests: Vec<_> = (0..16)
            .map(|_| Box::pin(ask(&router, request("/snapshot.json"))))
            .collect();
        // A worker of the server's polls them. Whoever comes after the first may find the sample taken.
        assert!(futures_util::poll!(requests[0].as_mut()).is_pending());
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(sample_of(std::future::ready(answer)).await, 1);
        }
    });
}

#[test]
fn a_sample_that_is_being_taken_for_one_who_has_left_is_the_next_ones() {
    on_both_flavors(async |_| {
        let router: Router = dashboard::router();
        let mut leaves = Box::pin(ask(&router, request("/snapshot.json")));
        assert!(futures_util::poll!(leaves.as_mut()).is_pending());
        drop(leaves);
        let stays = ask(&router, request("/snapshot.json"));
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
        manager.request_shutdown("the test says so");
        assert_eq!(snapshot(&router).await["shutdown"]["phase"], "stopping");
        assert_eq!(sample().await, 3);
    });
}

#[test]
fn while_nobody_looks_no_samples_are_taken() {
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
        // And who looks again sees the present.
        let task = waits();
        let mut page = Page::open(&router).await;
        let shown = page.next().await.unwrap();
        assert_eq!(shown["tasks"]["oldest"][0]["id"], task.id().as_u64());
    });
}

#[test]
fn a_page_that_does_not_keep_up_is_sent_the_latest_and_nothing_piles_up() {
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
fn an_open_page_is_told_of_the_shutdown_and_its_stream_ends() {
    on_both_flavors(async |manager| {
        let router: Router = dashboard::router();
        let mut pages = [Page::open(&router).await, Page::open(&router).await];
        for page in &mut pages {
            assert_eq!(page.next().await.unwrap()["shutdown"]["phase"], "running");
        }
        manager.request_shutdown("the test says so");
        for page in &mut pages {
            let last = page.last().await;
            let shutdown = &last["shutdown"];
            assert_eq!(shutdown["phase"], "stopping");
            assert_eq!(shutdown["reason"], "requested: the test says so");
            assert_eq!(shutdown["grace_ms"], 60_000);
            assert!(shutdown["left_ms"].as_u64().unwrap() <= 60_000);
        }
        // One that comes now is told, and sent away.
        let mut late = Page::open(&router).await;
        assert_eq!(late.next().await.unwrap()["shutdown"]["phase"], "stopping");
        assert!(late.next().await.is_none());
        manager.shutdown("again").await;
        assert_eq!(snapshot(&router).await["shutdown"]["phase"], "over");
    });
}

#[test]
fn dashboards_of_one_manager_share_what_they_know_and_each_manager_has_its_own() {
    let [one, other] = runtimes();
    let managers =
        [&one, &other].map(|runtime| Manager::builder().install_on(runtime.handle()).unwrap());
    let [first, of_the_other] = managers
        .each_ref()
        .map(|manager| -> Router { dashboard::builder().manager(manager).router() });
    one.block_on(async {
        let _ = fails("once".to_owned()).await;
        // Made after the failure, and it knows of it all the same.
        let second: Router = dashboard::router();
        for router in [&first, &second] {
            let shown = snapshot(router).await;
            assert_eq!(shown["failures"]["total"], 1);
            assert_eq!(function(&shown, "dashboard: fails")["failed"], 1);
        }
        assert_eq!(snapshot(&of_the_other).await["failures"]["total"], 0);
        // One sampler for the pages of both.
        let mut pages = [Page::open(&first).await, Page::open(&second).await];
        let [a, b] = &mut pages;
        assert_eq!(a.next_sample().await, b.next_sample().await);
    });
    for (runtime, manager) in [&one, &other].into_iter().zip(managers) {
        runtime.block_on(manager.shutdown("the test ends"));
    }
}

#[test]
fn a_dashboard_keeps_no_manager_alive_and_says_that_it_is_gone() {
    let [runtime, elsewhere] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let router: Router = dashboard::builder().manager(&manager).router();
    let mut page = elsewhere.block_on(Page::open(&router));
    drop(manager);
    drop(runtime);
    elsewhere.block_on(async {
        let response = ask(&router, request("/snapshot.json")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        page.last().await;
        assert!(Page::open(&router).await.next().await.is_none());
    });
}

#[test]
fn a_page_that_comes_when_the_managers_runtime_is_gone_is_sent_away() {
    let [runtime, elsewhere] = runtimes();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let router: Router = dashboard::builder().manager(&manager).router();
    drop(runtime);
    // On a thread of its own: it must not wait for ever.
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
fn a_runtime_without_a_timer_is_found_out_when_the_dashboard_is_built() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    let _: Router = dashboard::builder().manager(&manager).router();
}

/// Asks a server by its address, as HTTP/1.1 has it.
fn get(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(FOREVER)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_real_server_has_to_tell_the_peers_address() {
    on_both_flavors(async |_| {
        let app = Router::new().nest("/bg", dashboard::router());
        let told = app
            .clone()
            .into_make_service_with_connect_info::<SocketAddr>();
        let told = axum::serve(bind("[::]:0", "127.0.0.1:0").await, told);
        let told_at = told.local_addr().unwrap();
        let untold = axum::serve(bind("127.0.0.1:0", "127.0.0.1:0").await, app);
        let untold_at = untold.local_addr().unwrap();
        let servers = [
            tokio::spawn(async { told.await.unwrap() }),
            tokio::spawn(async { untold.await.unwrap() }),
        ];
        // Where it listens on all addresses of both kinds, this peer is `::ffff:127.0.0.1`.
        let told_at = SocketAddr::from((Ipv4Addr::LOCALHOST, told_at.port()));
        let answers = tokio::task::spawn_blocking(move || {
            [
                get(told_at, "/bg/snapshot.json", &told_at.to_string()),
                get(told_at, "/bg/snapshot.json", "example.org"),
                get(untold_at, "/bg/snapshot.json", &untold_at.to_string()),
            ]
        });
        let [told, rebound, untold] = answers.await.unwrap();
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
        assert!(untold.starts_with("HTTP/1.1 403"), "{untold}");
        assert!(
            untold.contains("into_make_service_with_connect_info"),
            "{untold}"
        );
        servers.iter().for_each(|server| server.abort());
    });
}

/// A socket at the first address that this machine has.
async fn bind(first: &str, second: &str) -> tokio::net::TcpListener {
    match tokio::net::TcpListener::bind(first).await {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind(second).await.unwrap(),
    }
}

// ---- A listener of its own ----

/// The stream of a page of its own, over the connection.
fn open_events(address: SocketAddr) -> std::io::BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(FOREVER)).unwrap();
    let head = "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    std::io::BufReader::new(stream)
}

/// Which phase the next event of a stream tells; none at its end.
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

/// What `snapshot.json` of a page of its own has.
fn served_snapshot(address: SocketAddr) -> Value {
    let answer = get(address, "/snapshot.json", &address.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

fn nobody_listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[background(name = "dashboard: drains")]
async fn drains(token: ShutdownToken, until: oneshot::Receiver<()>) {
    token.cancelled().await;
    let _ = until.await;
}

#[test]
fn a_page_with_a_listener_of_its_own_is_served_until_the_drain_is_over() {
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
            // One stream goes on through all of it, and whoever comes in between is answered too.
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
        // And then the address is free.
        bgtask_tests::blocking_until("nobody listens", || nobody_listens(address));
    }
}

#[test]
fn a_page_of_its_own_answers_while_every_worker_is_stuck() {
    #[background(name = "dashboard: never yields")]
    async fn never_yields(
        stuck: std::sync::mpsc::Sender<()>,
        until: std::sync::mpsc::Receiver<()>,
    ) {
        stuck.send(()).unwrap();
        let _ = until.recv();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let dashboard = dashboard::builder().manager(&manager);
    // Nor does it need the timer that this runtime lacks.
    let address = dashboard.serve("127.0.0.1:0").unwrap();
    let (stuck, is_stuck) = std::sync::mpsc::channel();
    let (ends, until) = std::sync::mpsc::channel();
    {
        let _entered = runtime.enter();
        never_yields(stuck, until);
    }
    is_stuck.recv().unwrap();
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
fn a_page_of_its_own_is_no_work_and_holds_neither_the_drain_nor_the_next_manager() {
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
    // And one whose manager is dropped is not left behind either.
    drop(manager);
    bgtask_tests::blocking_until("nobody listens", || nobody_listens(address));
    drop(client);
}

#[test]
fn a_page_of_its_own_is_found_at_the_root_and_where_it_is_nested_elsewhere() {
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
    // The rules are those of every dashboard.
    let rebound = get(address, "/snapshot.json", "example.org");
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    runtime.block_on(manager.shutdown("the test ends"));
}

#[test]
fn an_address_that_others_can_reach_needs_an_authorisation() {
    on_both_flavors(async |_| {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9090"] {
            let error = dashboard::serve(address).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            let says = error.to_string();
            assert!(
                says.contains("authorize") && says.contains("127.0.0.1"),
                "{says}"
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
fn an_address_that_is_taken_or_none_is_an_error_that_says_what_to_do() {
    on_both_flavors(async |_| {
        let taken = dashboard::serve("127.0.0.1:0").unwrap();
        let error = dashboard::serve(taken).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        let says = error.to_string();
        let expected = format!("the dashboard cannot listen on {taken}: ");
        assert!(says.starts_with(&expected), "{says}");
        assert!(
            says.ends_with("; pass another port, or 0 for one that is free"),
            "{says}"
        );
        assert!(dashboard::serve("nonsense").is_err());
    });
}

#[background(name = "dashboard: ends at once")]
async fn ends_at_once() {}

#[test]
fn a_page_of_its_own_ends_with_its_manager_although_a_thread_still_knows_the_manager() {
    let [_, runtime] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    // The worker that runs this keeps what it needs for its next call.
    let calls = async { ends_at_once().await.unwrap() };
    runtime.block_on(runtime.spawn(calls)).unwrap();
    let dashboard = dashboard::builder().manager(&manager);
    let address = dashboard.serve("127.0.0.1:0").unwrap();
    drop(manager);
    bgtask_tests::blocking_until("nobody listens", || nobody_listens(address));
}

/// Whether the server has closed the connection, of which nothing has been read.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 1]);
    !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_page_of_its_own_bounds_its_connections_and_closes_those_that_send_no_request() {
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
    // The operating system hands them over in this order, so this one is accepted when at most 62 of them are open.
    served_snapshot(address);
    let closed = stalled
        .iter_mut()
        .filter_map(|stream| is_closed(stream).then_some(()));
    assert!(closed.count() >= 80 - 62);
    bgtask_tests::blocking_until("all are closed", || stalled.iter_mut().all(is_closed));
    // The stream, which is older than all of these, goes on.
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
fn a_page_of_its_own_and_one_in_a_server_share_what_they_know() {
    on_both_flavors(async |_| {
        let nested: Router = dashboard::router();
        let _ = fails("once".to_owned()).await;
        // Opened after the failure, and it knows of it all the same.
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
