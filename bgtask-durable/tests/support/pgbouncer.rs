//! PgBouncers before the Postgres of the tests, each with a loopback port of its own, and stopped with the tests. Knows nothing of
//! jobs.

use super::as_ordinary_user;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

/// Starts PgBouncer with the settings of the first argument, and stops it when its standard input is closed.
const SCRIPT: &str = r#"
trap : INT TERM HUP
folder=$(mktemp -d "${TMPDIR:-/tmp}/bgtask-pgbouncer.XXXXXX") || exit 1
cd "$folder"
printf '%s' "$1" > settings.ini
"$2" -q settings.ini 2> log &
echo started
cat > /dev/null
kill $!
wait
cd / && rm -rf "$folder"
"#;

/// How the sessions of a PgBouncer and its clients belong together.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// A client has a session of its own.
    Session,
    /// A client has a session for each transaction, and its prepared statements go with it.
    Transaction,
    /// The same without prepared statements, as each PgBouncer before 1.21.
    TransactionUnprepared,
}

pub(crate) struct PgBouncer {
    port: u16,
    _keeper: Child,
}

impl PgBouncer {
    /// Starts one before the server at this URL. `None` without the program, which the test then says.
    pub(crate) fn start(server: &str, mode: Mode, more: &str) -> Option<Self> {
        let program = program()?;
        let port = {
            let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
            socket.local_addr().expect("its address").port()
        };
        let server = server_port(server);
        let keeps_statements = keeps_statements(&program);
        let mut settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=bgtask\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             max_client_conn = 200\n{more}\n"
        );
        settings += match mode {
            Mode::Session => "pool_mode = session\ndefault_pool_size = 100\n",
            _ => "pool_mode = transaction\ndefault_pool_size = 5\n",
        };
        match mode {
            Mode::Transaction if keeps_statements => settings += "max_prepared_statements = 200\n",
            Mode::TransactionUnprepared if keeps_statements => {
                settings += "max_prepared_statements = 0\n";
            }
            _ => {}
        }
        let mut keeper = as_ordinary_user()
            .args(["sh", "-c", SCRIPT, "sh", &settings])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it answers");
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "PgBouncer does not start"
            );
            thread::sleep(Duration::from_millis(10));
        }
        let port = match mode {
            Mode::Transaction if !keeps_statements => keep_statements(port),
            _ => port,
        };
        Some(Self {
            port,
            _keeper: keeper,
        })
    }

    /// Returns the URL of the server's database behind this PgBouncer.
    pub(crate) fn url(&self, server: &str) -> String {
        server.replace(
            &format!(":{}/", server_port(server)),
            &format!(":{}/", self.port),
        )
    }
}

fn server_port(url: &str) -> u16 {
    let port = url
        .rsplit_once(':')
        .and_then(|(_, rest)| rest.split_once('/'));
    port.expect("a port").0.parse().expect("a number")
}

/// The program in `BGTASK_TEST_PGBOUNCER`, in the path, or where Debian has it.
fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::var_os("BGTASK_TEST_PGBOUNCER")
        .map(PathBuf::from)
        .into_iter()
        .chain(env::split_paths(&path).map(|folder| folder.join("pgbouncer")))
        .chain([PathBuf::from("/usr/sbin/pgbouncer")])
        .find(|program| program.is_file());
    if found.is_none() {
        let note = "no PgBouncer on this machine, so this run is partial";
        assert!(
            env::var("BGTASK_TEST_POSTGRES").as_deref() != Ok("required"),
            "{note}: install the package `pgbouncer`"
        );
        #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
        {
            println!("{note}");
        }
    }
    found
}

/// Whether a PgBouncer can keep prepared statements from one transaction to the next, as it can from 1.21 on.
fn keeps_statements(program: &PathBuf) -> bool {
    let output = Command::new(program).arg("--version").output();
    let output = output.expect("its version").stdout;
    let text = String::from_utf8_lossy(&output);
    let version = text.split_whitespace().nth(1).expect("a version");
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u32>().expect("a number"));
    (parts.next(), parts.next()) >= (Some(1), Some(21))
}

/// Stands before a PgBouncer that keeps no prepared statements, as that of Debian 12, and does what later ones do themselves: a
/// statement is prepared again in each transaction that uses it. Returns the port.
fn keep_statements(pgbouncer: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    // Ends with the process.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", pgbouncer)) else {
                continue;
            };
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("it is connected");
            }
            let (mut answers, mut back) = (copy(&server), copy(&client));
            thread::spawn(move || {
                let _ = std::io::copy(&mut answers, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                // Either side has closed.
                let _ = prepare_again(copy(&client), copy(&server));
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a handle")
}

fn read_length(from: &mut impl Read, message: &mut Vec<u8>) -> std::io::Result<()> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    message.extend(length);
    let start = message.len();
    message.resize(start + u32::from_be_bytes(length) as usize - 4, 0);
    from.read_exact(&mut message[start..])
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len() + 4).expect("it is short");
    [&[kind], &length.to_be_bytes()[..], &body].concat()
}

/// Splits a text off that ends with a zero byte.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("its end");
    (&bytes[..end], &bytes[end + 1..])
}

/// Hands the messages of a client on. Each statement is prepared without a name, again whenever it is used: drivers that prepare
/// in one step and run in another, as sqlx does, ignore the second answer.
fn prepare_again(mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
    let mut client = BufReader::new(&mut client);
    let mut statements = HashMap::<Vec<u8>, Vec<u8>>::new();
    let mut start = Vec::new();
    read_length(&mut client, &mut start)?;
    server.write_all(&start)?;
    loop {
        let mut bytes = vec![0];
        client.read_exact(&mut bytes)?;
        let kind = bytes[0];
        read_length(&mut client, &mut bytes)?;
        let body = &bytes[5..];
        let bytes = match kind {
            b'P' => {
                let (name, rest) = text(body);
                statements.insert(name.to_vec(), rest.to_vec());
                message(b'P', &[b"\0", rest])
            }
            b'D' if body[0] == b'S' => message(b'D', &[b"S\0"]),
            b'C' if body[0] == b'S' => message(b'C', &[b"S\0"]),
            b'B' => {
                let (portal, rest) = text(body);
                let (name, rest) = text(rest);
                let again = message(b'P', &[b"\0", &statements[name]]);
                let bind = message(b'B', &[portal, b"\0", b"\0", rest]);
                [again, bind].concat()
            }
            _ => bytes,
        };
        server.write_all(&bytes)?;
    }
}
