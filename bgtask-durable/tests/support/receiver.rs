//! A server on the loopback that notes each request and answers as a test says. Must never know what is in a request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    /// The one header of this name.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            panic!("not one {name} in {:?}", self.headers);
        };
        value
    }
}

/// What is answered.
pub(crate) struct Answer {
    head: String,
    is_endless: bool,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"),
            is_endless: false,
        }
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self {
            head: format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
            is_endless: false,
        }
    }

    /// Not now, and not for so many seconds.
    pub(crate) fn later(seconds: u64) -> Self {
        let head = format!("HTTP/1.1 429 x\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n");
        Self {
            head,
            is_endless: false,
        }
    }

    /// Success, with a body that goes on for as long as it is read.
    pub(crate) fn endless() -> Self {
        Self {
            head: "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n".to_owned(),
            is_endless: true,
        }
    }
}

pub(crate) struct Receiver {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Mutex<mpsc::Receiver<Request>>,
}

impl Receiver {
    /// Starts one, which gives the answers by the numbers of the requests.
    pub(crate) fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (sender, requests) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let (answer, number) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                counted.fetch_add(1, Ordering::SeqCst);
                let (sender, answer, number) = (sender.clone(), answer.clone(), number.clone());
                std::thread::spawn(move || {
                    let next = || answer(number.fetch_add(1, Ordering::SeqCst));
                    // The client may go at any time.
                    let _ = serve(stream, &sender, next);
                });
            }
        });
        Self {
            port,
            connections,
            requests: Mutex::new(requests),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Waits for a request.
    pub(crate) fn next(&self) -> Request {
        let requests = self.requests.lock().expect("no test has panicked with it");
        let next = tokio::task::block_in_place(|| requests.recv_timeout(Duration::from_secs(60)));
        next.expect("a request comes")
    }

    /// The number of connections so far.
    pub(crate) fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    requests: &mpsc::Sender<Request>,
    answer: impl Fn() -> Answer,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length
            .and_then(|(_, length)| length.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).expect("UTF-8");
        let answer = answer();
        // The test may be over.
        let _ = requests.send(Request {
            path,
            headers,
            body,
        });
        stream.write_all(answer.head.as_bytes())?;
        if answer.is_endless {
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
    }
}
