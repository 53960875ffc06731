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

    // Each region that the keyboard reaches has a name.
    let unnamed = "[...document.querySelectorAll('[tabindex], [role=region], section')].filter((element) => {
        const label = element.getAttribute('aria-label');
        return !label && !document.getElementById(element.getAttribute('aria-labelledby')); }).length";
    assert_eq!(browser.evaluate(unnamed), 0);

    let mut grounds = Vec::new();
    for (name, width, scheme) in [
        ("wide-light", 1280, "light"),
        ("wide-dark", 1280, "dark"),
        ("middle-light", 980, "light"),
        ("tablet-light", 768, "light"),
        ("phone-light", 360, "light"),
        ("phone-dark", 360, "dark"),
    ] {
        browser.resize(width, 800, scheme);
        // After two frames, the page is drawn.
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
        let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor");
        grounds.push((scheme, ground.to_string()));
        assert_eq!(browser.evaluate("innerWidth"), width, "{name}");
        let overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(overflow, 0, "{name} scrolls sideways");
        let beyond = "[...document.querySelectorAll('main *')].filter((element) => element.checkVisibility() \
            && element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 120))";
        assert_eq!(browser.evaluate(beyond), serde_json::json!([]), "{name}");
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
