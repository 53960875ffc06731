//! Further pages of another crate: each route has the rules of the dashboard, whatever the pages do.

use super::{from, get, request, send, status, text, with_dashboard};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use bgtask::dashboard::{
    self, Access, Act, Action, Answer, Builder, Rights, Section, Sections, Shown, Visit,
};
use bgtask_tests::on_both_flavors;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pages that count the requests that reach them.
#[derive(Clone, Debug, Default)]
struct Pages {
    acts: Arc<AtomicUsize>,
}

impl Sections for Pages {
    fn pages(&self) -> &[Section] {
        &[Section {
            path: "jobs",
            title: "Jobs",
        }]
    }

    fn actions(&self) -> &[Action] {
        &[
            Action {
                name: "retry",
                needs: Rights::Operate,
            },
            Action {
                name: "delete",
                needs: Rights::Admin,
            },
            // A mistake of an implementation: nobody acts with fewer rights than these.
            Action {
                name: "careless",
                needs: Rights::None,
            },
        ]
    }

    fn show(&self, visit: Visit) -> Answer<'_, Shown> {
        let Visit {
            item,
            root,
            token,
            rights,
            ..
        } = visit;
        let body = format!("<p>{item:?} {root} {rights} [{token}]</p>");
        Box::pin(async move {
            Shown::Page {
                title: "{{body}} <b>".to_owned(),
                body,
            }
        })
    }

    fn act(&self, act: Act) -> Answer<'_, Result<String, String>> {
        self.acts.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match act.field("fail") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(format!("jobs/7?by={}", act.actor)),
            }
        })
    }

    fn token(&self, actor: String) -> Answer<'_, Result<String, String>> {
        Box::pin(async move { Ok(format!("token-of-{actor}")) })
    }

    fn is_token(&self, actor: String, token: String) -> Answer<'_, bool> {
        Box::pin(async move { token == format!("token-of-{actor}") })
    }
}

impl Pages {
    fn acts(&self) -> usize {
        self.acts.load(Ordering::Relaxed)
    }
}

/// Reads the rights from a header: `operate`.
fn by_header(builder: Builder) -> Builder {
    builder.authorize(|request| -> Access {
        let rights = request
            .headers
            .get("x-rights")
            .map(|rights| rights.as_bytes());
        match rights {
            Some(b"view") => Rights::View.of("ann"),
            Some(b"operate") => Rights::Operate.of("ann"),
            Some(b"admin") => Rights::Admin.of("ann"),
            _ => Rights::None.of("ann"),
        }
    })
}

/// Returns a request of a form on a page of the dashboard.
fn post(action: &str, rights: &str, form: &str) -> Request {
    let mut post = request(&format!("/do/{action}"));
    *post.method_mut() = Method::POST;
    *post.body_mut() = Body::from(form.to_owned());
    for (name, value) in [
        ("origin", "http://localhost:3000"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-rights", rights),
    ] {
        post.headers_mut().insert(name, value.parse().unwrap());
    }
    post
}

const TOKEN: &str = "token=token-of-ann";

#[test]
fn each_route_needs_its_rights() {
    let pages = Pages::default();
    with_dashboard(
        |builder| by_header(builder).sections(pages.clone()),
        async |router: Router| {
            let before = pages.acts();
            let mut expected = 0;
            for (rights, level) in [("none", 0), ("view", 1), ("operate", 2), ("admin", 3)] {
                for path in [
                    "/",
                    "/process",
                    "/jobs",
                    "/jobs/7",
                    "/snapshot.json",
                    "/section.js",
                ] {
                    let mut visit = request(path);
                    visit
                        .headers_mut()
                        .insert("x-rights", rights.parse().unwrap());
                    let answer = status(&router, visit).await;
                    let may = if level >= 1 {
                        StatusCode::OK
                    } else {
                        StatusCode::FORBIDDEN
                    };
                    assert_eq!(answer, may, "{rights} {path}");
                }
                for (action, needs) in [("retry", 2), ("delete", 3), ("careless", 2)] {
                    let answer = status(&router, post(action, rights, TOKEN)).await;
                    let may = if level >= needs {
                        StatusCode::SEE_OTHER
                    } else {
                        StatusCode::FORBIDDEN
                    };
                    assert_eq!(answer, may, "{rights} {action}");
                    expected += usize::from(level >= needs);
                }
            }
            assert_eq!(pages.acts() - before, expected);
        },
    );
}

#[test]
fn an_action_needs_an_origin_and_a_token_whatever_its_pages_check() {
    let pages = Pages::default();
    with_dashboard(
        |builder| by_header(builder).sections(pages.clone()),
        async |router: Router| {
            let before = pages.acts();
            for form in ["", "token=", "token=token-of-bob", "other=token-of-ann"] {
                let answer = status(&router, post("retry", "admin", form)).await;
                assert_eq!(answer, StatusCode::FORBIDDEN, "{form}");
            }
            let mut without = post("retry", "admin", TOKEN);
            without.headers_mut().remove("origin");
            assert_eq!(status(&router, without).await, StatusCode::FORBIDDEN);
            let mut rebound = post("retry", "admin", TOKEN);
            rebound
                .headers_mut()
                .insert("host", "evil.example".parse().unwrap());
            rebound
                .headers_mut()
                .insert("origin", "http://evil.example".parse().unwrap());
            assert_eq!(status(&router, rebound).await, StatusCode::FORBIDDEN);
            for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
                let mut other = post("retry", "admin", TOKEN);
                *other.method_mut() = method.clone();
                let answer = status(&router, other).await;
                assert_eq!(answer, StatusCode::METHOD_NOT_ALLOWED, "{method}");
            }
            assert_eq!(pages.acts(), before);
            let failed = send(
                &router,
                post("retry", "admin", "token=token-of-ann&fail=%3Cb%3E"),
            )
            .await;
            assert_eq!(failed.status(), StatusCode::CONFLICT);
            assert!(text(failed).await.contains("&lt;b&gt;"));
            let done = send(&router, post("retry", "admin", TOKEN)).await;
            assert_eq!(done.headers()["location"], "../jobs/7?by=ann");
        },
    );
}

#[test]
fn other_sites_may_link_to_a_page_and_not_load_it() {
    with_dashboard(
        |builder| builder.sections(Pages::default()),
        async |router: Router| {
            for (destination, expected) in [
                ("document", StatusCode::OK),
                ("image", StatusCode::FORBIDDEN),
                ("iframe", StatusCode::FORBIDDEN),
                ("empty", StatusCode::FORBIDDEN),
            ] {
                for path in ["/", "/jobs", "/jobs/7"] {
                    let mut visit = request(path);
                    for (name, value) in [
                        ("sec-fetch-site", "cross-site"),
                        ("sec-fetch-dest", destination),
                    ] {
                        visit.headers_mut().insert(name, value.parse().unwrap());
                    }
                    assert_eq!(
                        status(&router, visit).await,
                        expected,
                        "{destination} {path}"
                    );
                }
            }
        },
    );
}

#[test]
fn a_page_is_put_into_the_frame_as_it_is() {
    let pages = Pages::default();
    with_dashboard(
        |builder| by_header(builder).title("<shop>").sections(pages.clone()),
        async |router: Router| {
            for (path, expected) in [
                ("/jobs", "<p>None ./ view []</p>"),
                ("/jobs/7", "<p>Some(&quot;7&quot;) ../ view []</p>"),
            ] {
                let mut visit = request(path);
                visit
                    .headers_mut()
                    .insert("x-rights", "view".parse().unwrap());
                let answer = send(&router, visit).await;
                let policy = answer.headers()["content-security-policy"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                assert!(
                    policy.contains("form-action 'self'") && !policy.contains("unsafe"),
                    "{policy}"
                );
                let page = text(answer).await;
                // The body is the HTML of its own crate, and the titles are text.
                assert!(page.contains(&expected.replace("&quot;", "\"")), "{page}");
                assert!(page.contains("<h1>{{body}} &lt;b&gt;</h1>"), "{page}");
                assert!(
                    page.contains("&lt;shop&gt;")
                        && page.contains("aria-current=\"page\">Jobs</a>"),
                    "{page}"
                );
            }
            let mut visit = request("/jobs");
            visit
                .headers_mut()
                .insert("x-rights", "operate".parse().unwrap());
            assert!(
                text(send(&router, visit).await)
                    .await
                    .contains("[token-of-ann]")
            );
        },
    );
}

#[test]
fn without_sections_nothing_is_added() {
    with_dashboard(
        |builder| builder,
        async |router: Router| {
            let page = text(send(&router, request("/")).await).await;
            assert!(
                !page.contains("<nav") && page.contains("read-only"),
                "{page}"
            );
            for path in ["/jobs", "/do/retry"] {
                assert_eq!(
                    status(&router, request(path)).await,
                    StatusCode::NOT_FOUND,
                    "{path}"
                );
            }
        },
    );
}

#[test]
fn local_rights_do_not_open_the_dashboard_to_others() {
    let pages = Pages::default();
    with_dashboard(
        |builder| builder.local_rights(Rights::Admin).sections(pages.clone()),
        async |router: Router| {
            let before = pages.acts();
            let form = "token=token-of-local peer 127.0.0.1";
            let mut remote = post("retry", "admin", form);
            let peer = from([192, 168, 1, 7], "/").extensions().clone();
            *remote.extensions_mut() = peer;
            assert_eq!(status(&router, remote).await, StatusCode::FORBIDDEN);
            let mut unknown = post("retry", "admin", form);
            unknown.extensions_mut().clear();
            assert_eq!(status(&router, unknown).await, StatusCode::FORBIDDEN);
            assert_eq!(pages.acts(), before);
            let own = from(Ipv4Addr::LOCALHOST, "/").extensions().clone();
            let mut local = post("retry", "none", form);
            *local.extensions_mut() = own;
            assert_eq!(status(&router, local).await, StatusCode::SEE_OTHER);
        },
    );
}

#[test]
fn the_pages_of_a_listener_have_its_rules() {
    on_both_flavors(async |_| {
        let pages = Pages::default();
        let address = dashboard::builder()
            .sections(pages)
            .serve("127.0.0.1:0")
            .unwrap();
        let host = address.to_string();
        assert!(get(address, "/jobs", &host).starts_with("HTTP/1.1 200"));
        assert!(get(address, "/background/jobs/7", &host).starts_with("HTTP/1.1 200"));
        assert!(get(address, "/jobs", "evil.example").starts_with("HTTP/1.1 403"));
    });
}
