//! Runs the `mail` example as a process: the response does not wait for the mail, and the mail is retried.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Turns a hang into a failure; a healthy run takes far less time.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn an_order_is_answered_before_its_mail_which_is_retried() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_mail"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let address = line.strip_prefix("listening on http://").expect(&line);

    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = "POST /orders/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("order 7 is placed"), "{response}");
    let mail = lines.next().unwrap().unwrap();
    assert_eq!(mail, "mail: order 7 is on its way");

    let id = process.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(rest, [""; 0]);
    assert_eq!(process.wait().unwrap().code(), Some(0));
}
