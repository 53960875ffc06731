//! One Postgres for all tests of this process: its own data folder and loopback port, stopped when the process ends, however it does.

use bgtask_durable::sqlx::postgres::PgConnectOptions;
use bgtask_durable::sqlx::{self, AssertSqlSafe, ConnectOptions as _};
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Starts the server, and starts it anew for each line of its standard input, which names the mode in which it is stopped. Stops it
/// when its standard input is closed, which it is when the tests end.
const SCRIPT: &str = r#"
trap : INT TERM HUP
# The tests may be gone before they are answered.
trap '' PIPE
folder=$(mktemp -d "${TMPDIR:-/tmp}/bgtask-postgres.XXXXXX") || exit 1
cd "$folder"
if [ -n "$3" ]; then
    FAKETIME_TIMESTAMP_FILE=$4 FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
    export FAKETIME_TIMESTAMP_FILE FAKETIME_NO_CACHE FAKETIME_DONT_FAKE_MONOTONIC
fi
log=$("$1/initdb" -D data -U bgtask --auth=trust --no-sync -E UTF8 --locale=C 2>&1 &&
    # One user has to give a password.
    sed -i '1i host all guarded 127.0.0.1/32 scram-sha-256' data/pg_hba.conf &&
    LD_PRELOAD=$3 "$1/pg_ctl" -D data -w -t 60 -l log -o "-h 127.0.0.1 -p $2 -k '' -F -c max_connections=300" start 2>&1)
if [ $? = 0 ]; then
    echo started
    while read -r mode; do
        LD_PRELOAD=$3 "$1/pg_ctl" -D data -m "$mode" -w -t 60 -l log restart > /dev/null 2>&1
        echo restarted
    done
    "$1/pg_ctl" -D data -m immediate stop > /dev/null 2>&1
else
    echo "$log" | tr '\n' ' '
    cat log 2>/dev/null | tr '\n' ' '
fi
cd / && rm -rf "$folder"
"#;

/// The server. The process that holds it ends with its standard input.
struct Server {
    port: u16,
    keeper: Mutex<(Child, BufReader<ChildStdout>)>,
}

/// The number of the last database.
static NUMBER: Mutex<u32> = Mutex::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

static SERVER: OnceLock<Option<Server>> = OnceLock::new();

/// A Postgres whose clock a test may set.
static SERVER_WITH_CLOCK: OnceLock<Option<Server>> = OnceLock::new();

/// The clock of the server that has one of its own.
pub(crate) struct Clock(PathBuf);

impl Clock {
    fn new() -> Self {
        let clock = Self(env::temp_dir().join(format!("bgtask-clock-{}", std::process::id())));
        clock.set("+0");
        clock
    }

    /// Sets it, relative to that of the machine, such as `-1h`.
    pub(crate) fn set(&self, offset: &str) {
        // In one step: the server reads it at any moment.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).expect("a file");
        std::fs::rename(&new, &self.0).expect("the file is set");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Creates a database on a server whose clock this library sets. `None` if there is no Postgres on this machine.
pub(crate) fn database_with_clock(library: &Path) -> Option<(String, Clock)> {
    let clock = Clock::new();
    let server = SERVER_WITH_CLOCK.get_or_init(|| start(Some((library, &clock.0))));
    Some((database_on(server.as_ref())?, clock))
}

/// Creates a database, and returns its URL. `None` if there is no Postgres on this machine.
pub(crate) fn database() -> Option<String> {
    database_on(SERVER.get_or_init(|| start(None)).as_ref())
}

/// Starts the server of `database` anew, as after a crash or after a checkpoint.
pub(crate) fn restart(is_crash: bool) {
    let server = SERVER.get().and_then(Option::as_ref);
    let keeper = &server.expect("it has a database").keeper;
    // Nobody makes a database meanwhile.
    let _number = lock(&NUMBER);
    let mut keeper = lock(keeper);
    let (process, output) = &mut *keeper;
    let mode = if is_crash { "immediate" } else { "fast" };
    let input = process.stdin.as_mut().expect("it is piped");
    writeln!(input, "{mode}").expect("it listens");
    let mut line = String::new();
    output.read_line(&mut line).expect("it answers");
    assert_eq!(line.trim(), "restarted");
}

fn database_on(server: Option<&Server>) -> Option<String> {
    let server = server?;
    let mut number = lock(&NUMBER);
    *number += 1;
    let name = format!("test{number}");
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(server.port)
        .username("bgtask")
        .database("postgres");
    // In a thread of its own: the caller may be within a runtime.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let mut connection = options.connect().await.expect("the server is there");
            let created = sqlx::query(create).execute(&mut connection).await;
            created.expect("the database is created");
        });
    })
    .join()
    .expect("a database");
    Some(format!(
        "postgres://bgtask@127.0.0.1:{}/{name}",
        server.port
    ))
}

/// Starts a server, perhaps with the library that sets its clock to what the file says.
fn start(clock: Option<(&Path, &Path)>) -> Option<Server> {
    let binaries = binaries()?;
    // Another process may take the port meanwhile.
    let mut last = String::new();
    for _ in 0..5 {
        let port = {
            let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
            socket.local_addr().expect("its address").port()
        };
        let mut command = as_ordinary_user();
        let mut keeper = command
            .args(["sh", "-c", SCRIPT, "sh"])
            .arg(&binaries)
            .arg(port.to_string())
            .args(clock.map_or(["".as_ref(), "".as_ref()], |(library, file)| {
                [library.as_os_str(), file.as_os_str()]
            }))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut output = BufReader::new(keeper.stdout.take().expect("it is piped"));
        last.clear();
        output.read_line(&mut last).expect("it answers");
        if last.trim() == "started" {
            return Some(Server {
                port,
                keeper: Mutex::new((keeper, output)),
            });
        }
        let _ = keeper.wait();
    }
    panic!("Postgres does not start: {last}");
}

/// Finds the folder of `initdb` and `pg_ctl`: in the path, where `pg_config` says, or where Debian has them. `None` without them,
/// which the test then says.
pub(crate) fn binaries() -> Option<PathBuf> {
    let found = find_binaries();
    if found.is_none() {
        let note = "no Postgres on this machine (initdb and pg_ctl), so this run is partial";
        assert!(
            env::var("BGTASK_TEST_POSTGRES").as_deref() != Ok("required"),
            "{note}: install the package `postgresql`"
        );
        #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
        {
            println!("{note}");
        }
    }
    found
}

fn find_binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let mut debian: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    debian.sort();
    env::split_paths(&path)
        .chain(configured)
        .chain(debian.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

/// Postgres does not run as root.
pub(crate) fn as_ordinary_user() -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new("env");
    }
    let is_user = |name: &&str| matches!(nix::unistd::User::from_name(name), Ok(Some(_)));
    let user = ["postgres", "nobody"].into_iter().find(is_user);
    let user = user.expect("an ordinary user, as Postgres does not run as root");
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]);
    command.env_remove("TMPDIR");
    command
}
