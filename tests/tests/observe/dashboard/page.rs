//! The answers as a browser gets them: headers, methods, mount points and the title.

use super::{PATHS, from, request, send, status, text, with_dashboard};
use axum::Router;
use axum::http::{Method, StatusCode};

#[test]
fn every_response_has_the_security_headers() {
    with_dashboard(
        |builder| builder,
        async |router| {
            let refused = PATHS.map(|path| from([192, 168, 1, 7], path));
            for request in PATHS.map(request).into_iter().chain(refused) {
                let response = send(&router, request).await;
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
                let response = send(&router, request(path)).await;
                assert_eq!(response.headers()["content-type"], content_type);
            }
        },
    );
}

#[test]
fn the_dashboard_is_read_only() {
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

/// Returns the path of the page's script, as a browser resolves it.
async fn script_of(app: &Router, path: &str) -> String {
    let response = send(app, request(path)).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let page = text(response).await;
    let (_, script) = page.split_once("<script src=\"./").unwrap();
    let (script, _) = script.split_once('"').unwrap();
    let (folder, _) = path.rsplit_once('/').unwrap();
    format!("{folder}/{script}")
}

#[test]
fn the_dashboard_works_wherever_it_is_mounted() {
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
                        "process",
                        "function?name=dashboard%3A%20waits",
                        "function.json?name=dashboard%3A%20waits",
                        "script.js",
                        "words.js",
                        "style.css",
                        "icon.svg",
                        "snapshot.json",
                        "events",
                    ] {
                        let path = format!("{folder}{file}");
                        assert_eq!(status(&app, request(&path)).await, StatusCode::OK, "{path}");
                        // The rules of access apply there too.
                        let far = from([192, 168, 1, 7], &path);
                        assert_eq!(status(&app, far).await, StatusCode::FORBIDDEN, "{path}");
                    }
                }
            }
            // Other paths belong to the app, even if it has no route for them.
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
fn the_title_is_escaped() {
    with_dashboard(
        |builder| builder.title("<script>alert(1)</script>"),
        async |router| {
            let page = text(send(&router, request("/")).await).await;
            assert!(page.contains("<title>&lt;script&gt;alert(1)&lt;/script&gt;</title>"));
            assert!(!page.contains("<script>"));
        },
    );
}
