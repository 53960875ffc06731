//! A process with a dashboard, and its visitors. Must never know what a page shows.

use super::Scratch;
use super::support::store::LIMIT;
use super::support::store::Process;
use super::support::transactions::Pool;
use bgtask::background;
use bgtask::dashboard::{Access, Rights, builder};
use bgtask::durable::{JobHandle, JobId, JobState};
use bgtask_durable::Builder;
use bgtask_durable::dashboard::{JobSections, sections};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

#[background(durable, log = "off", retry(max = 1))]
pub(crate) async fn fails(message: String) -> Result<(), String> {
    Err(message)
}

#[background(durable(queue = "sums"))]
pub(crate) async fn double(number: u32) -> u32 {
    number * 2
}

#[background(durable(queue = "keyed", unique(key = order)))]
pub(crate) async fn keyed(order: u32) -> u32 {
    order
}

/// A process whose dashboard believes what the header `x-user` says: `ann/operate`.
pub(crate) struct Site {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// An answer, with its head in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }
}

pub(crate) fn user(request: &http::request::Parts) -> Access {
    let user = request
        .headers
        .get("x-user")
        .and_then(|user| user.to_str().ok());
    let Some((name, rights)) = user.and_then(|user| user.split_once('/')) else {
        return Rights::None.into();
    };
    let rights = [Rights::View, Rights::Operate, Rights::Admin]
        .into_iter()
        .find(|right| right.as_str() == rights);
    rights.unwrap_or(Rights::None).of(name)
}

impl Site {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        Self::start_with(bgtask_durable::builder().url(scratch.url()), |sections| {
            sections
        })
    }

    pub(crate) fn start_with(
        store: Builder,
        change: impl FnOnce(JobSections) -> JobSections,
    ) -> Self {
        let process = Process::start(store);
        let sections = change(sections(process.jobs.clone()));
        let dashboard = builder().sections(sections).authorize(user);
        let addr = process.run(async { dashboard.serve("127.0.0.1:0") });
        Self {
            addr: addr.expect("it listens"),
            process,
        }
    }

    pub(crate) fn end(self) {
        self.process.end();
    }

    /// Sends a request with these lines in its head.
    pub(crate) fn send(&self, method: &str, path: &str, lines: &[String], body: &str) -> Answer {
        send(self.addr, method, path, lines, body)
    }

    /// Visits a page as somebody: `ann/view`.
    pub(crate) fn visit(&self, user: &str, path: &str) -> Answer {
        self.send("GET", path, &[format!("x-user: {user}")], "")
    }

    /// Returns the body of a page.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.visit("vic/view", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Reads a page until it has this text.
    pub(crate) fn until(&self, path: &str, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let page = self.page(path);
            if page.contains(text) {
                return page;
            }
            assert!(begin.elapsed() < LIMIT, "{path} lacks {text:?}: {page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the token of somebody who may act.
    pub(crate) fn token(&self, user: &str) -> String {
        let page = self.visit(user, "/jobs").body;
        let jobs = page.split_once("name=\"token\" value=\"");
        // Without a job the page has no form, but that of a queue has one.
        let (_, rest) = jobs.unwrap_or_else(|| panic!("no form for {user}: {page}"));
        rest.split('"').next().expect("a token").to_owned()
    }

    /// The lines of a form that the browser of somebody sends from a page of the dashboard.
    pub(crate) fn lines(&self, user: &str) -> Vec<String> {
        vec![
            format!("x-user: {user}"),
            format!("origin: http://{}", self.addr),
            "sec-fetch-site: same-origin".to_owned(),
            "content-type: application/x-www-form-urlencoded".to_owned(),
        ]
    }

    /// Acts as a person does, and returns the answer.
    pub(crate) fn try_act(&self, user: &str, action: &str, form: &str) -> Answer {
        let body = format!("token={}&{form}", self.token(user));
        self.send("POST", &format!("/do/{action}"), &self.lines(user), &body)
    }

    /// Acts, and returns the page to which it leads.
    pub(crate) fn act(&self, user: &str, action: &str, form: &str) -> String {
        let answer = self.try_act(user, action, form);
        assert_eq!(answer.status, 303, "{}", answer.body);
        let to = answer.header("location").expect("a page");
        let to = to.strip_prefix("..").expect("relative to the action");
        let shown = self.visit(user, to);
        assert_eq!(shown.status, 200, "{to}: {}", shown.body);
        shown.body
    }

    /// Stores a job that is dead soon.
    pub(crate) fn dead(&self, message: &str) -> JobId {
        self.process.run(async {
            let job = fails(message.to_owned()).await.expect("it is stored");
            job.outcome().await.expect_err("it fails");
            job.id()
        })
    }

    /// Stores a job that waits, in a paused queue.
    pub(crate) fn waiting(&self, number: u32) -> JobId {
        self.process.run(async {
            self.process.jobs.pause("sums").await.expect("it pauses");
            double(number).await.expect("it is stored").id()
        })
    }

    pub(crate) fn state(&self, job: JobId) -> Option<JobState> {
        let job: JobHandle<()> = self.process.jobs.get(job);
        self.process
            .run(async { job.status().await.ok().map(|status| status.state) })
    }

    /// Returns the number of entries of the audit.
    pub(crate) fn audited(&self, scratch: &Scratch) -> i64 {
        self.process.run(async {
            Pool::of(scratch)
                .await
                .numbers("SELECT count(*) FROM bgtask_audit")
                .await[0]
        })
    }

    /// Runs a statement of another program.
    pub(crate) fn sql(&self, scratch: &Scratch, sqlite: &'static str, postgres: &'static str) {
        self.process
            .run(async { Pool::of(scratch).await.run(sqlite, postgres).await });
    }
}

pub(crate) fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    lines: &[String],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a time");
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n"
    );
    // A server that refuses the head may close before it has read the body.
    stream.write_all(head.as_bytes()).expect("it reads");
    let _ = stream.write_all(body.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        head: head.to_lowercase().replace("\r\n", "\n"),
        body: body.to_owned(),
    }
}
