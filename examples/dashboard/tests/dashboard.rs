//! Runs the `dashboard` example as a process: checks the page in a browser, and that an open page does not delay the exit.
//! Loopback only; waits for conditions. Leaves pictures in `target/dashboard`.
#![cfg(unix)]

mod browser;

use browser::{Browser, FAINT, LIMIT};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

struct Server {
    process: Child,
    /// The address of the page's own listener.
    page: String,
    /// The address of the service.
    address: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_dashboard"))
            .args(["127.0.0.1:0", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut printed = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim().strip_prefix("http://").unwrap().to_owned()
        };
        let (page, nested) = (printed(), printed());
        let mut stderr = process.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let address = nested.strip_suffix("/background").unwrap().to_owned();
        Self {
            process,
            page,
            address,
            log: Some(log),
        }
    }

    fn get(&self, path: &str) -> String {
        let mut response = String::new();
        request(&self.address, path)
            .read_to_string(&mut response)
            .unwrap();
        response
    }

    fn terminate(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the exit. Returns the exit code and stderr.
    fn end(&mut self) -> (Option<i32>, String) {
        let status = self.process.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        (status.code(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Requests a path; the caller reads the response.
fn request(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Reads one event of the stream, the text after `data: `. Returns `None` at the end of the stream.
fn next_event(stream: &mut impl BufRead) -> Option<Value> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return Some(serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn an_open_page_shows_the_shutdown_and_does_not_delay_it() {
    let mut server = Server::start();
    let mut pages =
        [(); 3].map(|()| BufReader::new(request(&server.address, "/background/events")));
    let mut own = BufReader::new(request(&server.page, "/events"));
    for page in pages.iter_mut().chain([&mut own]) {
        assert_eq!(next_event(page).unwrap()["shutdown"]["phase"], "running");
    }
    server.terminate();
    // The server's streams end; the stream of the page's own listener shows the drain.
    while next_event(&mut own).unwrap()["shutdown"]["phase"] != "draining" {}
    for page in &mut pages {
        let mut last = None;
        while let Some(event) = next_event(page) {
            last = Some(event);
        }
        let shutdown = &last.unwrap()["shutdown"];
        assert_eq!(shutdown["phase"], "stopping");
        assert_eq!(shutdown["reason"], "SIGTERM");
        assert!(shutdown["left_ms"].as_u64().unwrap() <= 10_000);
    }
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    // If a page delayed the server, `main` would not end before the deadline.
    assert!(log.contains("shutdown (SIGTERM) took"), "{log}");
    assert!(
        !log.contains("main did not end before the deadline"),
        "{log}"
    );
}

fn artefact(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/dashboard")
        .join(format!("{name}.png"))
}

#[test]
fn the_page_is_live_legible_and_safe_in_a_real_browser() {
    let Some(chromium) = browser::find() else {
        let required = std::env::var_os("BGTASK_BROWSER").is_some();
        assert!(!required, "Chromium is required here, and not installed");
        // The test harness does not capture this, so that somebody sees it.
        let _ = io::stderr().write_all(
            b"\n*** SKIPPED: no Chromium found, so the dashboard was not tested in a browser. Install it (Debian: `apt-get install chromium`), \
              or set the variable CHROMIUM to its path. ***\n\n",
        );
        return;
    };
    let mut server = Server::start();
    let browser = &mut Browser::start(&chromium);
    browser.resize(1280, 900, "light");
    browser.open(&format!("http://{}", server.page));
    browser.until("the page is live", &is_in_state("Live"));
    browser.evaluate("window.loaded = 'once'");

    // A task that starts after the page was loaded appears without a reload, and its age advances in its row.
    server.get("/import/annual");
    let row = "[...document.querySelectorAll('#tasks tr')].find((row) => row.textContent.includes('import'))";
    browser.until("a task started later appears", row);
    let age = format!("parseInt({row}.cells[0].textContent)");
    browser.evaluate(&format!("window.row = {row}; window.age = {age}; 0"));
    browser.until("its age advances", &format!("{age} >= window.age + 2"));
    assert_eq!(browser.evaluate(&format!("window.row === {row}")), true);
    assert_eq!(
        browser.evaluate("window.loaded"),
        "once",
        "the page was reloaded"
    );

    // A message is text.
    let message = "page 9: line 12 is not a template: <img src=x onerror=alert(1)>";
    let shown = "[...document.querySelectorAll('.message')].map((message) => message.textContent)";
    browser.until(
        "a failure with markup is shown",
        &format!("{shown}.includes({message:?})"),
    );
    assert_eq!(browser.evaluate("document.images.length"), 0);

    // The page lists the functions of the example.
    for name in [
        "deliver_webhook",
        "refresh_cache",
        "resize_image",
        "purge_expired",
    ] {
        let rows = "document.querySelector('#functions').innerText";
        browser.until(name, &format!("{rows}.includes({name:?})"));
    }
    let options = "document.querySelector('#functions').innerText";
    let webhook = "timeout = 2s, retry(max = 4, base = 300ms, jitter), concurrency = 4";
    browser.until(
        "options are shown",
        &format!("{options}.includes({webhook:?})"),
    );
    browser.until(
        "a panic is shown",
        &format!("{shown}.some((text) => text.includes('has no pixels'))"),
    );
    let timeline = "[...document.querySelectorAll('#timeline .started')].some((bar) => bar.getAttribute('height') > 10)";
    browser.until("the timeline is drawn", timeline);
    browser.until(
        "schedules show when they run next",
        "/in \\d+ (s|m)/.test(document.querySelector('#schedules').innerText)",
    );

    has_names(browser);
    filters_are_kept_in_the_address(browser);
    the_page_of_a_function_is_live(browser, &server);

    let mut grounds = Vec::new();
    for (name, width, scheme) in [
        ("wide-light", 1280, "light"),
        ("wide-dark", 1280, "dark"),
        ("middle-light", 980, "light"),
        ("tablet-light", 768, "light"),
        ("phone-light", 390, "light"),
        ("phone-dark", 390, "dark"),
        ("small-phone-light", 360, "light"),
    ] {
        browser.resize(width, 844, scheme);
        draw(browser);
        let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor");
        grounds.push((scheme, ground.to_string()));
        has_room(browser, name, width);
        browser.photograph(&artefact(name));
        assert_eq!(browser.evaluate(FAINT), serde_json::json!([]), "{name}");
    }
    let dark = grounds
        .iter()
        .find(|(scheme, _)| *scheme == "dark")
        .unwrap();
    assert!(
        grounds
            .iter()
            .all(|(scheme, ground)| (*scheme == "dark") == (*ground == dark.1)),
        "{grounds:?}"
    );

    assert_eq!(browser.evaluate("window.violations"), serde_json::json!([]));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);

    // The page shows the drain as long as it lasts, and then the end of the process.
    browser.resize(1280, 900, "light");
    watch_state(browser);
    server.terminate();
    browser.until("the drain is shown", &is_in_state("Draining"));
    browser.photograph(&artefact("draining-light"));
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("0 did not finish"), "{log}");
    browser.until("the end is known", &is_in_state("The process has ended"));
    browser.photograph(&artefact("ended-light"));
    // The page shows the end once, and not at the first refused connection.
    let refused = "window.states.find(([state]) => state.includes('no connection'))";
    let ended = "window.states.filter(([state]) => state.includes('ended'))";
    assert_eq!(browser.evaluate(&format!("{ended}.length")), 1);
    assert_eq!(
        browser.evaluate(&format!("{ended}[0][1] - {refused}[1] >= 3000")),
        true
    );

    // As part of a server, the page stops with the server and does not report that as the end of the process.
    let mut server = Server::start();
    browser.open(&format!("http://{}/background/", server.address));
    browser.until("the page is live", &is_in_state("Live"));
    watch_state(browser);
    server.terminate();
    browser.until(
        "the end of the server is known",
        "document.querySelector('#state-text').textContent.startsWith('Its server has stopped; it may drain for')",
    );
    browser.photograph(&artefact("server-stopped-light"));
    assert_eq!(browser.evaluate(&format!("{ended}.length")), 0);
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        !log.contains("main did not end before the deadline"),
        "{log}"
    );
}

/// Checks that each region and each control that the keyboard reaches has a name.
fn has_names(browser: &mut Browser) {
    let unnamed = "[...document.querySelectorAll('[tabindex], [role=region], [role=search], section, input, select, button, a')] \
        .filter((element) => { const label = element.getAttribute('aria-label') || element.textContent.trim(); \
        return !label && !document.getElementById(element.getAttribute('aria-labelledby')); }) \
        .map((element) => element.outerHTML.slice(0, 120))";
    assert_eq!(browser.evaluate(unnamed), serde_json::json!([]));
}

/// Waits until the page is drawn, which takes at most two frames.
fn draw(browser: &mut Browser) {
    browser.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))",
    );
}

/// Checks that nothing reaches beyond the window, that no tile is alone in its row or higher than the others, and that no list has
/// a blank below its last item on a phone.
fn has_room(browser: &mut Browser, name: &str, width: u32) {
    assert_eq!(browser.evaluate("innerWidth"), width, "{name}");
    let overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
    assert_eq!(overflow, 0, "{name} scrolls sideways");
    let beyond = "[...document.querySelectorAll('main *')].filter((element) => element.checkVisibility() \
        && element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 120))";
    assert_eq!(browser.evaluate(beyond), serde_json::json!([]), "{name}");
    let rows = "(() => { const rows = new Map(); for (const tile of document.querySelectorAll('#totals > div')) { \
        const { top, height } = tile.getBoundingClientRect(); const key = Math.round(top); \
        rows.set(key, [...(rows.get(key) || []), Math.round(height)]); } return [...rows.values()]; })()";
    let rows = browser.evaluate(rows);
    let rows: Vec<Vec<u64>> = serde_json::from_value(rows).unwrap();
    assert!(
        rows.iter().all(|row| row.len() == rows[0].len()),
        "{name}: {rows:?}"
    );
    let heights: Vec<_> = rows.concat();
    let (least, most) = (heights.iter().min(), heights.iter().max());
    assert!(most.unwrap() - least.unwrap() <= 1, "{name}: {rows:?}");
    if width < 600 {
        let blanks = "[...document.querySelectorAll('.scroll')].map((list) => { \
            const last = [...list.querySelectorAll('tr, li, .nothing')].filter((item) => item.checkVisibility()).pop(); \
            return list.getBoundingClientRect().bottom - last.getBoundingClientRect().bottom; }).filter((blank) => blank > 8)";
        assert_eq!(browser.evaluate(blanks), serde_json::json!([]), "{name}");
    }
}

fn filters_are_kept_in_the_address(browser: &mut Browser) {
    browser.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true, cancelable: true })); 0",
    );
    assert_eq!(browser.evaluate("document.activeElement.id"), "filter-text");
    browser.evaluate("(() => { const text = document.querySelector('#filter-text'); text.value = 'TEMPLATE page'; \
        text.dispatchEvent(new Event('input', { bubbles: true })); })()");
    // Only failures of this function have both words.
    let all = "[...document.querySelectorAll('#failures li')]";
    let only = format!(
        "{all}.length > 0 && {all}.every((row) => row.textContent.includes('render_page'))"
    );
    browser.until("only these failures are shown", &only);
    assert_eq!(browser.evaluate("location.search"), "?q=TEMPLATE+page");
    let none = "document.querySelector('#tasks-none').textContent";
    browser.until(
        "a list without a match says so",
        &format!("{none} === 'The filter selects none of these calls.'"),
    );

    // The address restores the filter, also after a reload.
    let here = browser
        .evaluate("location.pathname + '?state=running&function=dashboard%3A%3Aconsume_events'");
    browser.evaluate(&format!("location.assign({here}); 0"));
    let rows = "[...document.querySelectorAll('#tasks tr')]";
    let only = format!(
        "{rows}.length === 1 && {rows}[0].textContent.includes('consume_events') \
         && document.querySelector('#filter-state').value === 'running'"
    );
    browser.until("the filter of the address is applied", &only);
    browser.photograph(&artefact("filtered-light"));
    browser.evaluate("document.querySelector('#filter-clear').click()");
    assert_eq!(browser.evaluate("location.search"), "");
    browser.until("all calls are shown again", &format!("{rows}.length > 1"));
}

fn the_page_of_a_function_is_live(browser: &mut Browser, server: &Server) {
    // The link in the table leads there.
    let link = "[...document.querySelectorAll('#functions a')].find((link) => link.textContent.endsWith('deliver_webhook'))";
    browser.evaluate(&format!("{link}.click()"));
    let title = "document.querySelector('h1').textContent === 'dashboard::deliver_webhook'";
    browser.until("the page of the function is open", title);
    browser.until("it is live", &is_in_state("Live"));
    let texts = |id: &str| format!("document.querySelector('#{id}').innerText");
    browser.until(
        "it has percentiles",
        &format!("/\\d m?s/.test({})", texts("times")),
    );
    browser.until(
        "it has options",
        &format!("{}.includes('concurrency = 4')", texts("policies")),
    );
    browser.until(
        "it has ended calls",
        &format!("{}.includes('succeeded')", texts("ended")),
    );
    has_names(browser);
    for (name, width, scheme) in [
        ("function-wide-light", 1280, "light"),
        ("function-wide-dark", 1280, "dark"),
        ("function-phone-light", 390, "light"),
        ("function-phone-dark", 390, "dark"),
    ] {
        browser.resize(width, 844, scheme);
        draw(browser);
        has_room(browser, name, width);
        browser.photograph(&artefact(name));
        assert_eq!(browser.evaluate(FAINT), serde_json::json!([]), "{name}");
    }
    browser.resize(1280, 900, "light");
    let page = |name: &str| format!("http://{}/function?name=dashboard%3A%3A{name}", server.page);
    browser.open(&page("render_page"));
    let group = "[...document.querySelectorAll('#groups li')].map((one) => one.querySelector('.message').textContent)";
    let message = "page #: line # is not a template: <img src=x onerror=alert(#)>";
    browser.until(
        "failures are grouped",
        &format!("{group}.length === 1 && {group}[0] === {message:?}"),
    );
    browser.photograph(&artefact("function-failures-light"));
    browser.open(&page("sync_warehouse"));
    // A call that waits for its next attempt tells which attempts there are, and when the next one begins.
    browser.until(
        "a call backs off",
        &format!(
            "/attempt \\d of 3, next in [\\d.]+ s/.test({})",
            texts("tasks")
        ),
    );
    browser.photograph(&artefact("function-backs-off-light"));
    browser.open(&page("purge_expired"));
    browser.until(
        "the last run of the schedule is shown",
        &format!("/succeeded in 1\\.\\d s/.test({})", texts("schedules")),
    );
    assert_eq!(browser.evaluate("window.violations"), serde_json::json!([]));
    // And back.
    browser.evaluate("document.querySelector('.service a').click()");
    browser.until(
        "the first page is live",
        &format!(
            "document.querySelector('#functions') && {}",
            is_in_state("Live")
        ),
    );
}

/// Records each connection state that the page shows from now on, with its time.
fn watch_state(browser: &mut Browser) {
    browser.evaluate(
        "window.states = []; new MutationObserver(() => \
           window.states.push([document.querySelector('#state-text').textContent, performance.now()])) \
           .observe(document.querySelector('#state-text'), { childList: true, characterData: true, subtree: true }); 0",
    );
}

fn is_in_state(text: &str) -> String {
    format!("document.querySelector('#state-text').textContent === {text:?}")
}
