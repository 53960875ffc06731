//! Runs the `pages` example as a process: checks its responses, what it refuses, and that a shutdown under load loses nothing
//! that it accepted. Loopback only; waits for conditions, so a slow machine only takes longer.
#![cfg(unix)]

#[path = "../src/render.rs"]
#[expect(dead_code, reason = "the tests do not compare the index")]
mod render;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Turns a hang into a failure; a healthy run takes far less time.
const LIMIT: Duration = Duration::from_secs(120);

struct Folders {
    root: TempDir,
}

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("documents")).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Replaces a document atomically, as a careful editor does.
    fn write(&self, page: &str, markdown: &str) {
        let new = self.path(&format!("{page}.new"));
        fs::write(&new, markdown).unwrap();
        fs::rename(new, self.path("documents").join(format!("{page}.md"))).unwrap();
    }
}

struct Server {
    process: Child,
    address: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    fn start(folders: &Folders) -> Self {
        // Longer than any of these shutdowns takes, even on a slow machine.
        Self::start_with_grace(folders, "60s")
    }

    fn start_with_grace(folders: &Folders, grace: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pages"))
            .arg(folders.path("documents"))
            .args(["--listen", "127.0.0.1:0", "--grace", grace])
            .arg("--cache")
            .arg(folders.path("cache"))
            .arg("--access-log")
            .arg(folders.path("access.log"))
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .expect(&line)
            .to_owned();
        let mut stderr = process.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        Self {
            process,
            address,
            log: Some(log),
        }
    }

    fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.address)
    }

    fn terminate(&self) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until the process has ended by itself. Returns its status and its stderr.
    fn end(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "the process does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let log = self.log.take().unwrap().join().unwrap();
        (status, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // For a test that has failed; otherwise the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
}

struct Response {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Response {
    fn cache(&self) -> Option<&str> {
        self.headers.get("x-cache").map(String::as_str)
    }
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn get(&mut self, path: &str) -> io::Result<Response> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let head = self.line()?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect(&head);
        let mut headers = HashMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.stream.read_exact(&mut body)?;
        Ok(Response {
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

const DOCUMENTS: usize = 5;
const CONNECTIONS: usize = 6;

fn page(document: usize) -> String {
    format!("document-{document}")
}

/// The lengths of consecutive versions differ, so even a coarse clock tells them apart.
fn markdown(document: usize, version: u32) -> String {
    let filler = "filler ".repeat((version % 97) as usize);
    format!("# Document {document}\n\nIt is version {version} of it.\n\n{filler}\n")
}

/// Returns the version of a page, and checks that the page is complete: equal to the rendering of that version.
fn version_of(document: usize, html: &str) -> u32 {
    let (_, rest) = html.split_once("It is version ").expect(html);
    let (version, _) = rest.split_once(' ').expect(html);
    let version = version.parse().unwrap();
    assert_eq!(
        html,
        render::page(&page(document), &markdown(document, version)),
        "a torn page"
    );
    version
}

struct Served {
    id: String,
    document: usize,
    /// Whether the request led to a refresh.
    refreshes: bool,
    /// The version on disk at the time of the request, or an older one.
    written: u32,
}

#[test]
fn nothing_accepted_is_lost_under_load() {
    let folders = Folders::new();
    for document in 0..DOCUMENTS {
        folders.write(&page(document), &markdown(document, 0));
    }
    let server = Server::start(&folders);

    let written = [const { AtomicU32::new(0) }; DOCUMENTS];
    let (answered, refreshed) = (AtomicU32::new(0), AtomicU32::new(0));
    let (stop_requested, load_ended) = (AtomicBool::new(false), AtomicBool::new(false));

    let visit = |client: usize| {
        let mut served = Vec::new();
        let mut connection = server.connect().unwrap();
        for n in 0.. {
            let (id, document) = (format!("{client}-{n}"), (client + n) % DOCUMENTS);
            let known = written[document].load(Ordering::SeqCst);
            let response = match connection.get(&format!("/page/{}?id={id}", page(document))) {
                Ok(response) => response,
                Err(_) if stop_requested.load(Ordering::SeqCst) => break,
                Err(error) => panic!("request {id}: {error}"),
            };
            assert_eq!(response.status, 200, "{}", response.body);
            version_of(document, &response.body);
            let refreshes = response.cache() != Some("fresh");
            answered.fetch_add(1, Ordering::SeqCst);
            refreshed.fetch_add(u32::from(refreshes), Ordering::SeqCst);
            served.push(Served {
                id,
                document,
                refreshes,
                written: known,
            });
        }
        served
    };

    let served: Vec<Served> = thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1.. {
                for (document, written) in written.iter().enumerate() {
                    if load_ended.load(Ordering::SeqCst) {
                        return;
                    }
                    folders.write(&page(document), &markdown(document, version));
                    written.store(version, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let visit = &visit;
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|client| scope.spawn(move || visit(client)))
            .collect();

        let began = Instant::now();
        let is_enough =
            || answered.load(Ordering::SeqCst) >= 3000 && refreshed.load(Ordering::SeqCst) >= 100;
        while !is_enough()
            && began.elapsed() < LIMIT
            && !clients.iter().any(|client| client.is_finished())
        {
            thread::sleep(Duration::from_millis(1));
        }
        stop_requested.store(true, Ordering::SeqCst);
        server.terminate();
        let served: Vec<_> = clients
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        load_ended.store(true, Ordering::SeqCst);
        assert!(
            is_enough(),
            "{answered:?} responses, {refreshed:?} refreshes"
        );
        served.into_iter().flat_map(Result::unwrap).collect()
    });

    let (status, log) = server.end();
    let tail: Vec<_> = log.lines().rev().take(20).collect();
    assert_eq!(status.code(), Some(0), "{tail:#?}");
    let report = log
        .lines()
        .find(|line| line.contains("shutdown complete reason=SIGTERM"))
        .unwrap_or_else(|| panic!("{tail:#?}"));
    assert!(report.contains(" stragglers=0 failures=0"), "{report}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{tail:#?}");

    each_response_has_its_line(&served, &folders.path("access.log"));
    each_refresh_is_complete(&served, &folders.path("cache"));
}

fn each_response_has_its_line(served: &[Served], log: &Path) {
    let log = fs::read_to_string(log).unwrap();
    assert!(log.ends_with('\n'));
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for line in log.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [_time, "GET", path, "200", _took] = words[..] else {
            panic!("a torn line: {line}");
        };
        *lines.entry(path).or_default() += 1;
    }
    for Served { id, document, .. } in served {
        let path = format!("/page/{}?id={id}", page(*document));
        assert_eq!(lines.get(path.as_str()), Some(&1), "lines of {path}");
    }
}

fn each_refresh_is_complete(served: &[Served], cache: &Path) {
    let mut files: Vec<_> = fs::read_dir(cache)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected: Vec<_> = (0..DOCUMENTS)
        .map(|document| format!("{}.html", page(document)))
        .collect();
    assert_eq!(
        files, expected,
        "one entry per page, and no temporary files"
    );

    for (document, file) in files.iter().enumerate() {
        let entry = fs::read_to_string(cache.join(file)).unwrap();
        let (_, html) = entry.split_once('\n').unwrap();
        let stored = version_of(document, html);
        let accepted = served
            .iter()
            .filter(|served| served.document == document && served.refreshes)
            .map(|served| served.written)
            .max();
        assert!(
            accepted <= Some(stored),
            "{document}: version {accepted:?} was accepted, {stored} is stored"
        );
    }
}

/// The access log is a pipe here, and the test does not read it until the server has sent all responses. So most lines are still
/// unwritten then.
#[test]
fn waiting_lines_are_written_after_the_last_response() {
    const REQUESTS: usize = 200;
    let folders = Folders::new();
    let pipe = folders.path("access.log");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let (read_on, may_read) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let mut pipe = File::open(pipe).unwrap();
        may_read.recv().unwrap();
        let mut lines = String::new();
        pipe.read_to_string(&mut lines).unwrap();
        lines
    });
    let mut server = Server::start(&folders);

    // A line has 2000 bytes, and a pipe holds 64 KiB: some thirty lines.
    let filler = "x".repeat(2000);
    let mut visitor = server.connect().unwrap();
    for n in 0..REQUESTS {
        assert_eq!(
            visitor.get(&format!("/?id={n}&{filler}")).unwrap().status,
            200
        );
    }
    let status = visitor.get("/status").unwrap().body;
    assert!(
        status.contains("running  pages::access_log::write"),
        "{status}"
    );

    server.terminate();
    assert!(
        visitor.line().is_err(),
        "a server that shuts down closes the connection"
    );
    assert!(
        server.process.try_wait().unwrap().is_none(),
        "the process ended before it wrote its lines"
    );
    read_on.send(()).unwrap();
    let lines = reader.join().unwrap();
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(" stragglers=0 failures=0"), "{log}");
    for n in 0..REQUESTS {
        let id = format!("/?id={n}&");
        assert_eq!(
            lines.lines().filter(|line| line.contains(&id)).count(),
            1,
            "lines of {id}"
        );
    }
}

/// Rendering these documents takes much longer than serving them from the cache. So most refreshes have not run yet when the last
/// response is sent, and a document changes again while its refresh runs.
#[test]
fn waiting_refreshes_run_after_the_last_response() {
    let folders = Folders::new();
    let pages: Vec<_> = (0..12).map(page).collect();
    let filler = "Some *more* of `it`, and [a link](/).\n\n".repeat(10_000);
    let markdown = |version: &str| format!("# It is {version}\n\n{filler}");
    let write_all = |version: &str| {
        for page in &pages {
            folders.write(page, &markdown(version));
        }
    };
    let [old, changed, renewed] =
        ["old", "changed", "renewed"].map(|version| render::page("", &markdown(version)));

    write_all("old");
    let server = Server::start(&folders);
    let mut visitor = server.connect().unwrap();
    for page in &pages {
        let response = visitor.get(&format!("/page/{page}")).unwrap();
        assert_eq!(response.cache(), Some("rendered"));
        assert!(response.body == old);
    }
    write_all("changed");
    for page in &pages {
        let response = visitor.get(&format!("/page/{page}")).unwrap();
        assert_eq!(response.cache(), Some("stale"));
        assert!(
            response.body == old,
            "the response has the page from the cache"
        );
    }
    for page in &pages {
        folders.write(page, &markdown("renewed"));
        // Any version may be in the cache by now: a refresh that starts late reads the latest version.
        let html = visitor.get(&format!("/page/{page}")).unwrap().body;
        assert!([&old, &changed, &renewed].contains(&&html), "a torn page");
    }

    server.terminate();
    let stored = |page: &String| {
        let entry = fs::read_to_string(folders.path("cache").join(format!("{page}.html"))).unwrap();
        entry.split_once('\n').expect("a torn entry").1.to_owned()
    };
    let has_ended = AtomicBool::new(false);
    let (status, log) = thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::SeqCst) {
                for html in pages.iter().map(stored) {
                    assert!([&old, &changed, &renewed].contains(&&html), "a torn entry");
                }
            }
        });
        let ended = server.end();
        has_ended.store(true, Ordering::SeqCst);
        ended
    });
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(" stragglers=0 failures=0"), "{log}");
    for page in &pages {
        assert!(stored(page) == renewed, "{page} was not renewed");
    }
    assert_eq!(
        fs::read_dir(folders.path("cache")).unwrap().count(),
        pages.len()
    );
}

#[test]
fn a_visitor_who_does_not_disconnect_leaves_time_to_drain() {
    let folders = Folders::new();
    folders.write("page", "# Page\n");
    let server = Server::start_with_grace(&folders, "6s");
    let mut stuck = server.connect().unwrap();
    stuck.stream.get_mut().write_all(b"GET /page/").unwrap();
    // The server accepts connections in order: once it responds on this one, it has accepted the other one too.
    let mut visitor = server.connect().unwrap();
    assert_eq!(visitor.get("/page/page").unwrap().status, 200);

    server.terminate();
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("some connections are still open"), "{log}");
    assert!(
        !log.contains("main did not end before the deadline"),
        "{log}"
    );
    assert!(log.contains(" stragglers=0 failures=0"), "{log}");
}

#[test]
fn a_page_is_rendered_once_and_refreshed_in_the_background() {
    let folders = Folders::new();
    folders.write("a page", "# A & B \\<i>\n");
    let server = Server::start(&folders);
    let mut visitor = server.connect().unwrap();

    let first = visitor.get("/page/a%20page").unwrap();
    assert_eq!((first.status, first.cache()), (200, Some("rendered")));
    assert!(
        first.body.contains("<title>A &amp; B &lt;i&gt;</title>"),
        "{}",
        first.body
    );
    assert_eq!(
        visitor.get("/page/a%20page").unwrap().cache(),
        Some("fresh")
    );

    folders.write("a page", "# Changed\n");
    let stale = visitor.get("/page/a%20page").unwrap();
    assert_eq!((stale.cache(), &stale.body), (Some("stale"), &first.body));
    let began = Instant::now();
    let fresh = loop {
        let response = visitor.get("/page/a%20page").unwrap();
        if response.cache() == Some("fresh") {
            break response;
        }
        assert!(began.elapsed() < LIMIT, "the page stays stale");
    };
    assert!(
        fresh.body.contains("<title>Changed</title>"),
        "{}",
        fresh.body
    );

    let status = visitor.get("/status").unwrap().body;
    assert!(status.contains(", running\n"), "{status}");
    assert!(!status.contains("failed"), "{status}");
    assert!(status.contains("pages::access_log::write"), "{status}");

    server.terminate();
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let folders = Folders::new();
    folders.write("inside", "# Inside\n");
    fs::write(folders.path("secret.md"), "secret").unwrap();
    let documents = folders.path("documents");
    symlink(folders.path("secret.md"), documents.join("link-out.md")).unwrap();
    symlink("inside.md", documents.join("link-in.md")).unwrap();
    fs::create_dir(documents.join("folder.md")).unwrap();
    fs::write(documents.join(".hidden.md"), "secret").unwrap();
    let server = Server::start(&folders);
    let mut visitor = server.connect().unwrap();

    let long = format!("/page/{}", "x".repeat(5000));
    for path in [
        "/../secret.md",
        "/../../../../etc/passwd",
        "/page/../secret",
        "/page/..%2fsecret",
        "/page/%2e%2e%2fsecret",
        "/page/..",
        "/page/%00",
        "/page/..%5csecret",
        "/page/link-out",
        "/page/folder",
        "/page/.hidden",
        "/page/inside.md",
        "/page/no-such-page",
        "/page/",
        "/no-such-route",
        &long,
    ] {
        let response = visitor.get(path).unwrap();
        assert_eq!(response.status, 404, "{path}");
        assert!(
            !response.body.contains("secret"),
            "{path}: {}",
            response.body
        );
    }
    assert_eq!(visitor.get("/page/link-in").unwrap().status, 200);

    let index = visitor.get("/").unwrap().body;
    let listed: Vec<_> = index.matches("<li>").collect();
    assert_eq!(listed.len(), 2, "{index}");
    assert!(
        index.contains("\"/page/inside\"") && index.contains("\"/page/link-in\""),
        "{index}"
    );

    server.terminate();
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn wrong_arguments_are_refused() {
    for (arguments, complaint) in [
        (&["--grace", "soon"][..], "soon"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--no-such-option"], "--no-such-option"),
        (&["/no/such/folder"], "/no/such/folder"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_pages"))
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(complaint), "{stderr}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_pages"))
        .arg("--help")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("--access-log"), "{help}");
}
