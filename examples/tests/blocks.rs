//! Runs the examples of `spawn!` as processes: checks the answers to a client, and the drain.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Turns a hang into a failure; a healthy run takes far less time.
const LIMIT: Duration = Duration::from_secs(120);

struct Server {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut process = Command::new(program)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = line.strip_prefix("listening on ").expect(&line);
        let address = address.trim_start_matches("http://").to_owned();
        Self {
            process,
            lines,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn terminate(&self) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for a successful exit and returns the remaining output.
    fn end(mut self) -> Vec<String> {
        let rest: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
        let status = self.process.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{rest:?}");
        rest
    }
}

#[test]
fn the_store_answers_saves_and_says_goodbye() {
    let server = Server::start(env!("CARGO_BIN_EXE_kv"));
    let stream = server.connect();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |question: &str| {
        writeln!(&stream, "{question}").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(ask("GET name"), "(none)");
    assert_eq!(ask("SET name value"), "OK");
    assert_eq!(ask("GET name"), "value");
    let saved = ask("SAVE");
    let path = saved.strip_prefix("saved to ").expect(&saved);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "name=value\n");
    std::fs::remove_file(path).unwrap();
    let quits = server.connect();
    writeln!(&quits, "QUIT").unwrap();
    let mut goodbye = String::new();
    (&quits).read_to_string(&mut goodbye).unwrap();
    assert_eq!(goodbye, "goodbye\n");

    server.terminate();
    assert_eq!(answers.next().unwrap().unwrap(), "goodbye");
    // The connection that sent `QUIT` may not have ended yet.
    let rest = server.end();
    assert!(rest[0].starts_with("closing "), "{rest:?}");
    assert_eq!(rest[1..], ["0 did not close in time"]);
}

#[test]
fn an_order_is_answered_before_its_mail_which_is_tried_again() {
    let server = Server::start(env!("CARGO_BIN_EXE_orders"));
    let mut stream = server.connect();
    let request = "POST /orders/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("order 7 is placed"), "{answer}");
    let mut server = server;
    assert_eq!(
        server.lines.next().unwrap().unwrap(),
        "mail: order 7 is on its way"
    );
    server.terminate();
    assert_eq!(server.end(), [""; 0]);
}
