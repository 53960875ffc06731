//! The pages in a real browser: live, usable by the keyboard and on a phone, in dark and light, without a violation of their policy.
//! Leaves pictures in `target/dashboard`.
#![cfg(all(unix, feature = "sqlite"))]

#[path = "../../../examples/dashboard/tests/browser/mod.rs"]
mod driver;

use super::Scratch;
use super::site::{double, fails, keyed};
use super::support::store::Process;
use super::support::transactions::Pool;
use bgtask::background;
use bgtask::dashboard::{Rights, builder};
use bgtask::durable::JobId;
use bgtask_durable::dashboard::sections;
use driver::{Browser, FAINT};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[background(durable(queue = "renders"))]
async fn render_catalogue(job: bgtask::Job, token: bgtask::ShutdownToken, pages: u32) {
    job.progress(0.42, format!("page 84 of {pages}"));
    token.cancelled().await;
}

/// Jobs of each kind.
struct Seeded {
    dead: JobId,
    running: JobId,
    waiting: JobId,
}

async fn seed(process: &Process, scratch: &Scratch) -> Seeded {
    let mut dead = JobId::new(0);
    for number in 0..9 {
        let message =
            format!("order {number}: the printer is out of paper, tray 2\ncaused by: no tray");
        let job = fails(message).await.expect("it is stored");
        job.outcome().await.expect_err("it fails");
        dead = job.id();
    }
    let running = render_catalogue(200).await.expect("it is stored").id();
    for number in 0..60 {
        let job = double(number).await.expect("it is stored");
        if number < 40 {
            job.outcome().await.expect("it ends");
        } else if number == 40 {
            process.jobs.pause("sums").await.expect("it pauses");
        }
    }
    process.jobs.pause("keyed").await.expect("it pauses");
    let waiting = keyed(7).await.expect("it is stored").id();
    let sweep = "dashboard::content::sweep";
    while process.jobs.pause_schedule(sweep, "ann").await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let pool = Pool::of(scratch).await;
    let insert = "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at) VALUES
        ('{}', 'billing::invoices::send_monthly_statement_to_every_customer', 'statements-of-the-month', 25, datetime('now', '-2 hours'))";
    pool.run(insert, insert).await;
    Seeded {
        dead,
        running,
        waiting,
    }
}

fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/dashboard")
        .join(format!("durable-{name}.png"))
}

/// Lists the elements that reach beyond the window, unless they are in a part that scrolls.
const BEYOND: &str = "[...document.querySelectorAll('main *')].filter((element) => element.checkVisibility()
    && element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest('pre')).map((element) => element.outerHTML.slice(0, 120))";

/// Lists the controls and regions without a name.
const UNNAMED: &str = "[...document.querySelectorAll('section, nav, input:not([type=hidden]), button, progress, a')].filter((element) => {
    const label = element.getAttribute('aria-label') || element.closest('label')?.textContent.trim();
    const named = document.getElementById(element.getAttribute('aria-labelledby'));
    return !label && !named && !element.textContent.trim(); }).map((element) => element.outerHTML.slice(0, 120))";

#[test]
fn the_pages_are_live_legible_and_safe_in_a_real_browser() {
    let Some(chromium) = driver::find() else {
        let required = std::env::var_os("BGTASK_BROWSER").is_some();
        assert!(!required, "Chromium is required here, and not installed");
        // The harness does not capture this, so that somebody sees it.
        let _ = std::io::stderr().write_all(
            b"\n*** SKIPPED: no Chromium found, so the pages of durable jobs were not tested in a browser. ***\n\n",
        );
        return;
    };
    let scratch = Scratch::sqlite();
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.manager.start_schedules();
    let Seeded {
        dead,
        running,
        waiting,
    } = process.run(seed(&process, &scratch));
    let pages = sections(process.jobs.clone()).show_values(|_, value| Some(value));
    let dashboard = builder()
        .title("orders, eu-1")
        .sections(pages)
        .local_rights(Rights::Admin);
    let addr = process
        .run(async { dashboard.serve("127.0.0.1:0") })
        .expect("it listens");
    let browser = &mut Browser::start(&chromium);
    browser.resize(1280, 900, "light");

    // What happens elsewhere appears without a reload.
    browser.open(&format!("http://{addr}/queues"));
    let row = |queue: &str| {
        format!(
            "[...document.querySelectorAll('tr')].find((row) => row.textContent.includes('{queue}'))"
        )
    };
    browser.until("the queue is there", &row("renders"));
    browser.evaluate("window.loaded = 'once'");
    process.run(async { process.jobs.pause("renders").await.expect("it pauses") });
    browser.until(
        "the pause is shown",
        &format!("{}.textContent.includes('Resume')", row("renders")),
    );
    assert_eq!(
        browser.evaluate("window.loaded"),
        "once",
        "the page was reloaded"
    );
    browser.until(
        "the page is live",
        "document.querySelector('#state-text').textContent === 'Live'",
    );

    // A form of the page passes the rules of the server, and leads to its result.
    browser.evaluate(&format!(
        "{}.querySelector('button').click()",
        row("renders")
    ));
    browser.until(
        "the result is shown",
        "document.querySelector('.result').textContent.includes('resumed')",
    );
    browser.open(&format!("http://{addr}/jobs/{dead}"));
    browser.until(
        "the job is there",
        "document.querySelector('h1').textContent.startsWith('Job ')",
    );
    browser.evaluate("[...document.querySelectorAll('button')].find((button) => button.textContent === 'Retry now').click()");
    browser.until(
        "it is retried",
        "document.querySelector('.result').textContent.includes('1 retried')",
    );
    browser.until(
        "it is dead again, live",
        "document.querySelector('#facts .tag').textContent === 'dead'",
    );

    // The key leads to the search, and the search to a list, of which rows can be chosen.
    browser.open(&format!("http://{addr}/jobs"));
    browser.until(
        "the list is there",
        "document.querySelectorAll('tbody tr').length === 50",
    );
    let is_live = "document.querySelector('#state-text').textContent === 'Live'";
    browser.until("the script runs", is_live);
    let key = json!({ "type": "keyDown", "key": "/", "text": "/" });
    browser.call("Input.dispatchKeyEvent", key);
    browser.until(
        "the key leads to the search",
        "document.activeElement.type === 'search' && document.activeElement.value === ''",
    );
    browser.call("Input.insertText", json!({ "text": "state:dead" }));
    let enter = json!({ "type": "keyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" });
    browser.call("Input.dispatchKeyEvent", enter);
    browser.until(
        "the search is made",
        "location.search.includes('state') && document.querySelectorAll('tbody tr').length === 9",
    );
    browser.until("the script runs", is_live);
    browser.evaluate("document.querySelector('[data-all]').click()");
    browser.until(
        "all rows are chosen",
        "document.querySelectorAll('[name=job]:checked').length === 9",
    );
    browser.evaluate("document.querySelector('[name=job]').click()");
    browser.evaluate("[...document.querySelectorAll('button')].find((button) => button.textContent === 'Delete').click()");
    browser.until(
        "they are deleted",
        "document.querySelector('.result').textContent.includes('8 deleted')",
    );

    let rendering = format!("jobs/{running}");
    let waiting = format!("jobs/{waiting}");
    let dead = format!("jobs/{dead}");
    for (name, path) in [
        ("overview", "overview"),
        ("jobs", "jobs"),
        ("dead", "jobs?q=state:dead"),
        ("job-dead", &dead),
        ("job-running", &rendering),
        ("job-waiting", &waiting),
        ("queues", "queues"),
        ("workers", "workers"),
        ("schedules", "schedules"),
        ("errors", "errors"),
        ("audit", "audit"),
        ("wrong", "jobs?q=size:7"),
        ("none", "jobs/123456"),
        ("process", "process"),
    ] {
        browser.open(&format!("http://{addr}/{path}"));
        browser.until(name, "document.readyState === 'complete' && document.querySelector('nav.pages [aria-current]')");
        for (scheme, width) in [
            ("light", 1280),
            ("dark", 1280),
            ("light", 360),
            ("dark", 360),
        ] {
            let what = format!("{name}-{width}-{scheme}");
            browser.resize(width, 800, scheme);
            browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
            let overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
            browser.photograph(&picture(&what));
            assert_eq!(overflow, 0, "{what} scrolls sideways");
            assert_eq!(browser.evaluate(BEYOND), json!([]), "{what}");
            assert_eq!(browser.evaluate(FAINT), json!([]), "{what}");
            assert_eq!(browser.evaluate(UNNAMED), json!([]), "{what}");
        }
        assert_eq!(browser.evaluate("window.violations"), json!([]), "{name}");
        browser.resize(1280, 900, "light");
    }
    // One refusal is meant: that of a job which is not there.
    browser
        .complaints
        .retain(|complaint| !complaint.contains("404"));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
    process.end();
}
