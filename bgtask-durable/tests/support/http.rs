//! Asks the health check of a process. Must never know what makes a process healthy.

use super::store::LIMIT;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Lets the system choose a port of the loopback.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Sends a request, and returns the whole answer.
pub(crate) fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Returns the status and the body.
pub(crate) fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let answer = ask(
        addr,
        &format!("GET {path} HTTP/1.1\r\nHost: bgtask\r\n\r\n"),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

/// Asks until the status is this one, and returns the body.
pub(crate) fn until_status(addr: SocketAddr, status: u16) -> String {
    let begin = Instant::now();
    loop {
        let health = get(addr, "/healthz");
        if health.0 == status {
            return health.1;
        }
        assert!(begin.elapsed() < LIMIT, "still {health:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
