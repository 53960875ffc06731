//! Runs the example's programs on a fresh database, and sends them requests.
//! Knows nothing of what they should answer.

use crate::postgres;
use bgtask_durable::sqlx::{self, Connection as _, PgConnection, SqliteConnection};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Turns a hang into a failure; a healthy run takes far less time.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits until something is there.
pub(crate) fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A fresh database.
pub(crate) struct Database {
    pub(crate) url: String,
    _folder: TempDir,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            url: format!("sqlite://{}", folder.path().join("shop.db").display()),
            _folder: folder,
        }
    }

    /// Returns one of each kind; on a machine without Postgres, SQLite alone.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        let postgres = postgres::database().map(|url| Self {
            url,
            _folder: tempfile::tempdir().unwrap(),
        });
        iter::once(Self::sqlite()).chain(postgres)
    }

    /// Counts the receipts without the shop.
    pub(crate) fn receipts(&self) -> i64 {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime
            .block_on(async {
                let count = "SELECT count(*) FROM shop_receipt";
                if self.url.starts_with("sqlite") {
                    let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                    sqlx::query_scalar(count).fetch_one(&mut connection).await
                } else {
                    let mut connection = PgConnection::connect(&self.url).await.unwrap();
                    sqlx::query_scalar(count).fetch_one(&mut connection).await
                }
            })
            .unwrap()
    }

    /// Starts the shop on a free port.
    pub(crate) fn shop(&self) -> Shop {
        self.shop_on("0")
    }

    pub(crate) fn shop_on(&self, port: &str) -> Shop {
        let mut command = orders();
        command.env("PORT", port);
        self.shop_as(command)
    }

    pub(crate) fn shop_as(&self, mut command: Command) -> Shop {
        let (process, line) = Process::start(&mut command, &self.url);
        let address = line.strip_prefix("listening on http://").expect(&line);
        Shop {
            process,
            address: address.to_owned(),
        }
    }

    pub(crate) fn worker(&self) -> Process {
        let (process, line) = Process::start(orders().arg("worker"), &self.url);
        assert_eq!(line, "working");
        process
    }
}

pub(crate) fn orders() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command.env("PORT", "0").env_remove("RUST_LOG");
    command
}

pub(crate) struct Process(Child);

impl Process {
    /// Returns the process with the first line that it prints: then it is ready.
    fn start(command: &mut Command, url: &str) -> (Self, String) {
        command.env("BGTASK_DATABASE_URL", url);
        let mut process = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        let mut stdout = BufReader::new(process.0.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        (process, line.trim_end().to_owned())
    }

    pub(crate) fn terminate(&self) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("the end of a process", || self.0.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // For a test that has failed; otherwise the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Shop {
    pub(crate) process: Process,
    pub(crate) address: String,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Shop {
    pub(crate) fn get(&self, path: &str) -> Response {
        let head = format!("GET {path} HTTP/1.1\r\naccept: */*");
        self.send(&head, "").unwrap()
    }

    /// Sends the request as a browser does.
    pub(crate) fn browse(&self, path: &str) -> Response {
        let head = format!("GET {path} HTTP/1.1\r\naccept: text/html,*/*;q=0.8");
        self.send(&head, "").unwrap()
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: &str) -> Response {
        let head = format!("POST {path} HTTP/1.1\r\ncontent-type: {content_type}");
        self.send(&head, body).unwrap()
    }

    pub(crate) fn post_order(&self, form: &str) -> Response {
        self.post("/orders", "application/x-www-form-urlencoded", form)
    }

    /// Places an order, and returns its path.
    pub(crate) fn place_order(&self, form: &str) -> String {
        let response = self.post_order(form);
        assert_eq!(response.status, 303, "{}", response.body);
        let mut lines = response.head.lines();
        let path = lines.find_map(|line| line.strip_prefix("location: "));
        path.expect(&response.head).to_owned()
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{}", response.body);
        serde_json::from_str(&response.body).unwrap()
    }

    /// Waits until an order is in this state, or has got this far.
    pub(crate) fn wait_until(&self, path: &str, is_reached: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("the receipt of {path}"), || {
            Some(self.json(&format!("{path}.json"))).filter(&is_reached)
        })
    }

    /// Kills the shop as its button does.
    pub(crate) fn kill(self) {
        // A killed process does not answer.
        assert!(self.send("POST /kill HTTP/1.1", "").is_err());
        self.has_been_killed();
    }

    /// Waits for the end of the shop, and checks that it is that of `kill -9`.
    pub(crate) fn has_been_killed(mut self) {
        assert_eq!(self.process.end().signal(), Some(9));
    }

    fn send(&self, head: &str, body: &str) -> io::Result<Response> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let length = body.len();
        let request = format!(
            "{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let Some((head, body)) = response.split_once("\r\n\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Response {
            status: status.expect(head),
            head: head.replace("\r\n", "\n"),
            body: body.to_owned(),
        })
    }
}
