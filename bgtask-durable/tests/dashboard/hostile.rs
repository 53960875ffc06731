//! Hostile data and addresses: nothing of them is markup, and none makes a page expensive.

use super::access::PAGES;
use super::site::{Site, fails};
use super::{Scratch, on_each_database};

const MARKUP: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
const ENCODED: &str =
    "%22%27%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";

fn has_no_markup(what: &str, body: &str) {
    assert!(
        !body.contains("<script>") && !body.contains("<img"),
        "{what}: {body}"
    );
    assert!(
        !body.contains("\"'>"),
        "{what}: a quotation ends the attribute: {body}"
    );
}

/// CVE-2024-32887, Sidekiq: a parameter of a filter was shown as markup.
fn a_parameter_is_never_markup(scratch: Scratch) {
    let site = Site::start(&scratch);
    site.dead("no paper");
    for path in PAGES.into_iter().chain(["/jobs/1"]) {
        for name in ["q", "before", "done", "substr", ENCODED] {
            for value in [
                ENCODED.to_owned(),
                format!("fn:{ENCODED}"),
                format!("error:%22{ENCODED}%22"),
            ] {
                let path = format!("{path}?{name}={value}");
                let answer = site.visit("ann/operate", &path);
                assert!(
                    [200, 400].contains(&answer.status),
                    "{path}: {}",
                    answer.status
                );
                has_no_markup(&path, &answer.body);
            }
        }
    }
    // It is shown as text.
    let page = site
        .visit("ann/view", &format!("/jobs?q=fn:{ENCODED}"))
        .body;
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{page}"
    );
    for path in [
        format!("/jobs/{ENCODED}"),
        "/jobs/-1".to_owned(),
        "/jobs/99999999999999999999".to_owned(),
    ] {
        let answer = site.visit("ann/view", &path);
        assert_eq!(answer.status, 404, "{path}");
        has_no_markup(&path, &answer.body);
    }
    site.end();
}

/// CVE-2024-32887, Sidekiq: what is stored is no markup either, and a script that got in would not run.
fn what_is_stored_is_never_markup(scratch: Scratch) {
    let site = Site::start(&scratch);
    let job = site.process.run(async {
        let job = fails(MARKUP.to_owned()).await.expect("it is stored");
        job.outcome().await.expect_err("it fails");
        job.id()
    });
    let insert = "INSERT INTO river_job (args, kind, queue, max_attempts) VALUES ('{}', '<script>alert(1)</script>', '<img src=x>', 1)";
    site.sql(&scratch, insert, insert);
    let actor = "<img src=x>/operate";
    site.act(actor, "retry", &format!("job={job}&q=state:dead"));
    site.until("/errors", "alert(#)");
    for path in PAGES
        .into_iter()
        .map(str::to_owned)
        .chain([format!("/jobs/{job}")])
    {
        let answer = site.visit(actor, &path);
        assert_eq!(answer.status, 200, "{path}");
        has_no_markup(&path, &answer.body);
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
    let audit = site.page("/audit");
    assert!(audit.contains("&lt;img src=x&gt;"), "{audit}");
    site.end();
}

/// CVE-2023-26141, Sidekiq: an interval that the page took over made it ask without a pause.
fn no_address_sets_how_often_or_how_much_is_read(scratch: Scratch) {
    let site = Site::start(&scratch);
    site.dead("no paper");
    site.sql(
        &scratch,
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 300)
         SELECT '{}', 'other::job', 'other', 1, datetime('now', '+1 day'), 'scheduled' FROM number",
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         SELECT '{}', 'other::job', 'other', 1, now() + interval '1 day', 'scheduled' FROM generate_series(1, 300)",
    );
    let rows = |body: &str| body.matches("<tr role=\"row\">").count();
    let huge = ["99999999999999999999999999", "-1", "1e99", "0"];
    for name in [
        "poll",
        "interval",
        "limit",
        "count",
        "per_page",
        "page",
        "pollingInterval",
    ] {
        for value in huge {
            let answer = site.visit("ann/view", &format!("/jobs?{name}={value}"));
            assert_eq!(answer.status, 200, "{name}={value}");
            // The head, and 50 jobs.
            assert_eq!(rows(&answer.body), 51, "{name}={value}");
            assert!(
                !answer.body.contains(huge[0]),
                "{name}={value} is in the page"
            );
        }
    }
    for name in ["before", "done"] {
        for value in &huge[..3] {
            let answer = site.visit("ann/view", &format!("/jobs?{name}={value}"));
            assert_eq!(answer.status, 400, "{name}={value}");
        }
    }
    let script = site.visit("ann/view", "/section.js").body;
    assert!(script.contains("const PAUSE = 2000;"));
    // The address is read as a whole, and nothing in it is taken for a number.
    for word in [
        "location.search",
        "URLSearchParams",
        "location.hash",
        "parseInt",
        "Number(",
    ] {
        assert!(!script.contains(word), "the script reads {word}");
    }
    let long = "x".repeat(5000);
    for path in [
        format!("/jobs?q={long}"),
        format!("/jobs?other={long}"),
        format!("/audit?before={long}"),
    ] {
        assert_eq!(site.visit("ann/view", &path).status, 400);
    }
    let many: String = (1..500).map(|id| format!("job={id}&")).collect();
    let answer = site.try_act("ann/operate", "retry", &many);
    assert_eq!(
        (answer.status, answer.body.contains("At most 100 jobs")),
        (409, true)
    );
    let body = format!(
        "token={}&job={}",
        site.token("ann/operate"),
        "1".repeat(100_000)
    );
    let answer = site.send("POST", "/do/retry", &site.lines("ann/operate"), &body);
    assert_eq!(answer.status, 413);
    site.end();
}

on_each_database! {
    a_parameter_is_never_markup,
    what_is_stored_is_never_markup,
    no_address_sets_how_often_or_how_much_is_read,
}
