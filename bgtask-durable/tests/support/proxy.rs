//! A server's network: passes connections on, loses them, or holds back what they carry.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Up,
    /// Every connection breaks.
    Down,
    /// Nothing arrives, and nothing breaks.
    Held,
    /// The connection over which a transaction is to be committed breaks, before the server has heard of it.
    LosesCommit,
    /// The same, before the client has the answer.
    LosesAnswer,
}

struct State {
    network: Network,
    /// The port of the server.
    server: u16,
    live: Vec<TcpStream>,
}

/// Stands before a server on this machine.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    pub(crate) fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new((
            Mutex::new(State {
                network: Network::Up,
                server,
                live: Vec::new(),
            }),
            Condvar::new(),
        ));
        let shared = state.clone();
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut state = shared.0.lock().expect("no thread panics with it");
                if state.network == Network::Down {
                    continue;
                }
                let server = SocketAddr::from(([127, 0, 0, 1], state.server));
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                for (from, to, is_client) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (copy(from), copy(to));
                    state.live.push(copy(&from));
                    let shared = shared.clone();
                    thread::spawn(move || carry(from, to, is_client, &shared));
                }
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server, as a name or an address does that moves.
    pub(crate) fn lead_to(&self, server: u16) {
        self.state
            .0
            .lock()
            .expect("no thread panics with it")
            .server = server;
    }

    pub(crate) fn set(&self, network: Network) {
        let mut state = self.state.0.lock().expect("no thread panics with it");
        state.network = network;
        if network == Network::Down {
            for stream in state.live.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.state.1.notify_all();
    }
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a handle")
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_client: bool, state: &(Mutex<State>, Condvar)) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..count];
        let network = {
            let state = state
                .1
                .wait_while(state.0.lock().expect("no thread panics with it"), |state| {
                    state.network == Network::Held
                });
            state.expect("no thread panics with it").network
        };
        let commits = is_client && bytes.windows(6).any(|word| word == b"COMMIT");
        match network {
            Network::LosesCommit if commits => break,
            Network::LosesAnswer if commits => {
                // Neither direction carries the answer.
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.write_all(bytes);
                thread::sleep(std::time::Duration::from_millis(200));
                break;
            }
            _ => {}
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
