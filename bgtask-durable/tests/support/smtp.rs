//! A mail server on the loopback, `aiosmtpd` under Python, which notes each e-mail. Must never know what is in one.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Prints its port, and then for each e-mail a line of JSON: the recipients, and the text in base64. The first e-mails, as many as its
/// argument says, are refused. Ends with its standard input.
const SCRIPT: &str = r#"
import base64, json, socket, sys
from aiosmtpd.controller import Controller

class Notes:
    refused = int(sys.argv[1])
    async def handle_DATA(self, server, session, envelope):
        if self.refused > 0:
            self.refused -= 1
            return "451 try again later"
        text = base64.b64encode(envelope.content).decode()
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": text}), flush=True)
        return "250 OK"

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
# It connects to itself before it is ready.
controller = Controller(Notes(), hostname="127.0.0.1", port=port, ready_timeout=60)
controller.start()
print(port, flush=True)
sys.stdin.read()
"#;

pub(crate) struct Mailbox {
    pub(crate) port: u16,
    lines: BufReader<ChildStdout>,
    server: Child,
}

/// An e-mail, as it came.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    text: String,
}

impl Mail {
    pub(crate) fn text(&self) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.decode(&self.text);
        String::from_utf8(text.expect("base64")).expect("ASCII")
    }

    /// The value of a header that has one line.
    pub(crate) fn header(&self, name: &str) -> String {
        let text = self.text();
        let (headers, _) = text.split_once("\r\n\r\n").expect("headers and a body");
        let mut found = headers
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (Some(value), None) = (found.next(), found.next()) else {
            panic!("not one {name} in {headers}");
        };
        value.to_owned()
    }
}

impl Mailbox {
    /// Starts one. `None` without the package, which the test then says, unless `BGTASK_TEST_SMTP=required`.
    pub(crate) fn start(refused: u32) -> Option<Self> {
        // The first is that of the system, whose packages have it.
        for python in ["/usr/bin/python3", "python3"] {
            let Ok(mut server) = Command::new(python)
                .args(["-c", SCRIPT, &refused.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
            else {
                continue;
            };
            let mut lines = BufReader::new(server.stdout.take().expect("it is piped"));
            let mut line = String::new();
            lines.read_line(&mut line).expect("a line, or none");
            if let Ok(port) = line.trim().parse() {
                return Some(Self {
                    port,
                    lines,
                    server,
                });
            }
            let _ = server.wait();
        }
        assert!(
            std::env::var("BGTASK_TEST_SMTP").as_deref() != Ok("required"),
            "there is no mail server for the tests: install `python3-aiosmtpd`"
        );
        #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
        {
            println!(
                "no mail server on this machine (the package `python3-aiosmtpd`), so this test is skipped"
            );
        }
        None
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Waits for an e-mail.
    pub(crate) fn next(&mut self) -> Mail {
        let mut line = String::new();
        let read = tokio::task::block_in_place(|| self.lines.read_line(&mut line));
        assert!(read.expect("a line") > 0, "the mail server has ended");
        serde_json::from_str(&line).expect("an e-mail")
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
