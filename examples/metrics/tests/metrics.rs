//! Runs the `metrics` example as a process: the figures of a scrape add up, and its names are those in `docs/metrics.md`.
#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Turns a hang into a failure; a healthy run takes far less time.
const LIMIT: Duration = Duration::from_secs(120);

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_metrics"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.expect(&line).to_owned();
        Self { process, address }
    }

    /// Sends one request on a new connection and returns the body.
    fn request(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect(&response);
        assert!(head.starts_with("HTTP/1.1 20"), "{head}");
        body.to_owned()
    }

    fn scrape(&self) -> Scrape {
        Scrape(self.request("GET", "/metrics"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // For a test that has failed; otherwise the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The text of one scrape.
struct Scrape(String);

impl Scrape {
    /// Sums the series of a metric by the value of their label `name`.
    fn sums(&self, metric: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for line in self.0.lines() {
            if let Some(rest) = line.strip_prefix(metric)
                && let Some(labels) = rest.strip_prefix('{')
                && let Some((labels, value)) = labels.rsplit_once("} ")
            {
                let name = labels
                    .split(',')
                    .find_map(|label| label.strip_prefix("name="));
                let value: f64 = value.parse().unwrap();
                *sums.entry(name.unwrap().trim_matches('"')).or_default() += value;
            }
        }
        sums
    }

    /// Returns the names of all metrics of bgtask.
    fn names(&self) -> BTreeSet<&str> {
        let types = self
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        let names = types.filter_map(|line| line.split(' ').next());
        names.filter(|name| name.starts_with("bgtask_")).collect()
    }

    fn of(&self, metric: &str, name: &str) -> f64 {
        self.sums(metric).get(name).copied().unwrap_or_default()
    }
}

/// Returns the names in the table of `docs/metrics.md`.
fn documented() -> BTreeSet<&'static str> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    names
        .filter(|name| name.starts_with("bgtask_") && !name.contains(['{', ' ']))
        .collect()
}

#[test]
fn a_scrape_adds_up_and_has_the_documented_names() {
    const ORDERS: u32 = 30;
    /// Called once per order, and always accepted.
    const ONCE: [&str; 3] = ["confirm", "print_label", "check_fraud"];
    /// Called three times per order.
    const THREE_TIMES: [&str; 3] = ["show_on_screen", "post_to_chat", "rebuild_index"];

    let mut server = Server::start();
    let began = Instant::now();
    for order in 1..=ORDERS {
        server.request("POST", &format!("/orders/{order}"));
    }
    let shown = loop {
        let shown = server.scrape();
        let still = shown.sums("bgtask_tasks_running");
        let is_quiet = ONCE
            .iter()
            .chain(&THREE_TIMES)
            .all(|name| still[name] == 0.0);
        // Ticks and restarts need some time.
        if is_quiet && shown.names().len() >= documented().len() {
            break shown;
        }
        assert!(began.elapsed() < LIMIT, "{}", shown.0);
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(shown.names(), documented());

    let orders = f64::from(ORDERS);
    for name in ONCE.iter().chain(&THREE_TIMES) {
        let started = shown.of("bgtask_tasks_started_total", name);
        let finished = shown.of("bgtask_tasks_finished_total", name);
        assert_eq!(started, finished, "{name}: {}", shown.0);
        let not_accepted = shown.of("bgtask_calls_refused_total", name)
            + shown.of("bgtask_calls_coalesced_total", name);
        let calls = if THREE_TIMES.contains(name) {
            3.0 * orders
        } else {
            orders
        };
        assert_eq!(started + not_accepted, calls, "{name}: {}", shown.0);
        // None of these is aborted, and a call that a policy drops has not begun.
        let begun = started - shown.of("bgtask_tasks_dropped_total", name);
        assert_eq!(
            shown.of("bgtask_task_wait_seconds_count", name),
            begun,
            "{name}"
        );
        assert_eq!(
            shown.of("bgtask_task_duration_seconds_count", name),
            begun,
            "{name}"
        );
        assert_eq!(shown.of("bgtask_tasks_waiting", name), 0.0, "{name}");
    }
    let panicked = |line: &&str| line.contains("name=\"check_fraud\",outcome=\"panicked\"");
    let panicked = shown.0.lines().find(panicked).expect(&shown.0);
    assert!(panicked.ends_with(" 4"), "7, 14, 21 and 28: {panicked}");
    assert!(
        shown.0.contains("bgtask_managers{state=\"running\"} 1"),
        "{}",
        shown.0
    );

    let pid = server.process.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
    assert!(server.process.wait().unwrap().success());
}
