//! The access rules of the dashboard, one by one.

use super::{PAGES, PATHS, from, get, request, send, status, text, with_dashboard};
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Version};
use bgtask::dashboard;
use bgtask_tests::on_both_flavors;
use bgtask_tests::{Recorder, subscribe};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tracing_subscriber::layer::SubscriberExt;

fn with(name: &'static str, value: &str) -> Request {
    with_at("/snapshot.json", name, value)
}

fn with_at(path: &str, name: &'static str, value: &str) -> Request {
    let mut request = request(path);
    let headers = request.headers_mut();
    headers.insert(name, value.parse().unwrap());
    request
}

/// Returns the text of a refusal.
async fn refusal(router: &Router, request: Request) -> String {
    let response = send(router, request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    text(response).await
}

#[test]
fn the_dashboard_answers_local_peers_and_no_others() {
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
                    let text = refusal(&router, from(peer, path)).await;
                    assert!(text.contains("authorize"), "{text}");
                }
            }
        },
    );
}

#[test]
fn the_dashboard_answers_nobody_if_the_peer_is_unknown() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for path in PATHS {
                let mut request = request(path);
                request.extensions_mut().clear();
                let text = refusal(&router, request).await;
                let write = "into_make_service_with_connect_info::<SocketAddr>()";
                assert!(text.contains(write), "{text}");
            }
        },
    );
}

#[test]
fn forwarding_headers_grant_no_access() {
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
                // Matched by prefix, because proxies add new ones.
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
                let text = refusal(&router, with(name, "127.0.0.1")).await;
                assert!(text.contains("proxy"), "{name}: {text}");
            }
            // The default of nginx, without a header of its own.
            let mut old = request("/snapshot.json");
            *old.version_mut() = Version::HTTP_10;
            assert!(refusal(&router, old).await.contains("proxy"));
        },
    );
}

#[test]
fn the_dashboard_accepts_its_own_hosts_and_no_others() {
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
                    let text = refusal(&router, with_at(path, "host", host)).await;
                    assert!(text.contains("allow_host"), "{host}: {text}");
                }
            }
        },
    );
}

#[test]
fn a_missing_invalid_or_ambiguous_host_is_refused() {
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
fn the_authority_of_http_2_follows_the_same_rule() {
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
                // Whichever of the two another server would use.
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
fn requests_from_other_sites_are_refused_and_links_work() {
    with_dashboard(
        |builder| builder,
        async |router| {
            for site in ["cross-site", "same-site", "anything"] {
                for path in &PATHS[PAGES..] {
                    let text = refusal(&router, with_at(path, "sec-fetch-site", site)).await;
                    assert!(text.contains("another site"), "{text}");
                }
                for page in &PATHS[..PAGES] {
                    let link = with_at(page, "sec-fetch-site", site);
                    assert_eq!(status(&router, link).await, StatusCode::OK);
                }
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
                let text = refusal(&router, with_at("/events", "origin", origin)).await;
                assert!(text.contains("another site"), "{text}");
            }
            let own = with_at("/events", "origin", "http://localhost:3000");
            assert_eq!(status(&router, own).await, StatusCode::OK);
        },
    );
}

#[test]
fn no_option_except_authorize_widens_access() {
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
fn authorize_replaces_the_rule_about_peers_and_no_other() {
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
        // A local peer has no access any more.
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
fn authorize_may_return_its_own_response() {
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
        let response = send(&router, request("/")).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Basic");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(text(response).await, "who?");
    });
}

#[test]
#[should_panic(expected = "`http://status.example.org` is not a host")]
fn an_invalid_host_panics_when_the_dashboard_is_built() {
    let _ = dashboard::builder().allow_host("http://status.example.org");
}

#[test]
fn a_real_server_has_to_pass_the_peer_address() {
    on_both_flavors(async |_| {
        let app = Router::new().nest("/bg", dashboard::router());
        let with_peer = app
            .clone()
            .into_make_service_with_connect_info::<SocketAddr>();
        let with_peer = axum::serve(bind("[::]:0", "127.0.0.1:0").await, with_peer);
        let with_peer_at = with_peer.local_addr().unwrap();
        let without_peer = axum::serve(bind("127.0.0.1:0", "127.0.0.1:0").await, app);
        let without_peer_at = without_peer.local_addr().unwrap();
        let servers = [
            tokio::spawn(async { with_peer.await.unwrap() }),
            tokio::spawn(async { without_peer.await.unwrap() }),
        ];
        // If the server listens on all IPv4 and IPv6 addresses, this peer is `::ffff:127.0.0.1`.
        let with_peer_at = SocketAddr::from((Ipv4Addr::LOCALHOST, with_peer_at.port()));
        let answers = tokio::task::spawn_blocking(move || {
            [
                get(with_peer_at, "/bg/snapshot.json", &with_peer_at.to_string()),
                get(with_peer_at, "/bg/snapshot.json", "example.org"),
                get(
                    without_peer_at,
                    "/bg/snapshot.json",
                    &without_peer_at.to_string(),
                ),
            ]
        });
        let [with_peer, rebound, without_peer] = answers.await.unwrap();
        assert!(with_peer.starts_with("HTTP/1.1 200"), "{with_peer}");
        assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
        assert!(without_peer.starts_with("HTTP/1.1 403"), "{without_peer}");
        assert!(
            without_peer.contains("into_make_service_with_connect_info"),
            "{without_peer}"
        );
        servers.iter().for_each(|server| server.abort());
    });
}

/// Listens on the first of two addresses that the machine has.
async fn bind(first: &str, second: &str) -> tokio::net::TcpListener {
    match tokio::net::TcpListener::bind(first).await {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind(second).await.unwrap(),
    }
}

/// Behaviour 34.
#[test]
fn the_dashboard_logs_its_refusals_once_a_minute_for_each_cause() {
    // A recorder for this thread: other tests of the process refuse requests too.
    let recorder = Recorder::default();
    let _subscribed = subscribe(tracing_subscriber::registry().with(recorder.clone()));
    with_dashboard(
        |builder| builder,
        async |router| {
            for _ in 0..3 {
                let mut without_host = request("/");
                without_host.headers_mut().remove("host");
                for refused in [without_host, with_at("/", "host", "example.org")] {
                    assert_eq!(status(&router, refused).await, StatusCode::FORBIDDEN);
                }
            }
        },
    );
    let message = "dashboard request refused";
    let refusals = recorder.events(|event| event.message == message);
    let causes: HashSet<_> = refusals.iter().map(|event| event.field("reason")).collect();
    // Twice for each of the two dashboards.
    assert_eq!((refusals.len(), causes.len()), (4, 2), "{refusals:?}");
}
