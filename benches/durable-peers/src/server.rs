//! A Postgres of the bench's own: data folder, loopback port, fsync on. It is stopped when this process ends, however it does.
//! Must never know the tables.

use bgtask_durable::sqlx::postgres::PgConnectOptions;
use bgtask_durable::sqlx::{self, AssertSqlSafe, ConnectOptions as _};
use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Starts the server and waits until its standard input is closed, which it is when the bench ends. Then it stops the server.
///
/// The settings are the server's own defaults, but for the number of connections and a line in its log for each autovacuum.
const SCRIPT: &str = r#"
trap : INT TERM HUP
trap '' PIPE
folder=$(mktemp -d "${TMPDIR:-/tmp}/bgtask-bench.XXXXXX") || exit 1
chmod 755 "$folder"
cd "$folder"
log=$("$1/initdb" -D data -U bgtask --auth=trust -E UTF8 --locale=C 2>&1 &&
    "$1/pg_ctl" -D data -w -t 60 -l log -o "-h 127.0.0.1 -p $2 -k '' -c max_connections=300" start 2>&1)
if [ $? = 0 ]; then
    echo "started $folder $(head -1 data/postmaster.pid)"
    cat > /dev/null
    "$1/pg_ctl" -D data -m immediate stop > /dev/null 2>&1
else
    echo "$log" | tr '\n' ' '
    cat log 2>/dev/null | tr '\n' ' '
fi
cd / && rm -rf "$folder"
"#;

/// The server. The process that holds it ends with its standard input.
pub(crate) struct Server {
    port: u16,
    folder: PathBuf,
    pid: u32,
    _keeper: Child,
}

impl Server {
    /// Starts a server. `None` if there is no Postgres on this machine.
    pub(crate) fn start() -> Option<Self> {
        let binaries = binaries()?;
        let mut last = String::new();
        // Another process may take the port meanwhile.
        for _ in 0..5 {
            let port = {
                let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
                socket.local_addr().expect("its address").port()
            };
            let mut keeper = as_ordinary_user()
                .args(["sh", "-c", SCRIPT, "sh"])
                .arg(&binaries)
                .arg(port.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a shell");
            last.clear();
            let output = keeper.stdout.take().expect("it is piped");
            let read = BufReader::new(output).read_line(&mut last);
            read.expect("it answers");
            if let ["started", folder, pid] = last.split_whitespace().collect::<Vec<_>>()[..] {
                return Some(Self {
                    port,
                    folder: folder.into(),
                    pid: pid.parse().expect("a process id"),
                    _keeper: keeper,
                });
            }
            let _ = keeper.wait();
        }
        panic!("Postgres does not start: {last}");
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://bgtask@127.0.0.1:{}/{database}", self.port)
    }

    /// Executes statements that have no parameters, one by one, outside of a transaction.
    pub(crate) fn execute(&self, database: &str, statements: &[String]) {
        block_on(async {
            let mut connection = self.options(database).connect().await.expect("the server");
            for statement in statements {
                let statement = AssertSqlSafe(statement.clone());
                let done = sqlx::query(statement).execute(&mut connection).await;
                done.expect("the statement");
            }
        });
    }

    /// Reads one number.
    pub(crate) fn number(&self, database: &str, query: &str) -> f64 {
        let query = AssertSqlSafe(format!("SELECT ({query})::float8"));
        block_on(async {
            let mut connection = self.options(database).connect().await.expect("the server");
            let read = sqlx::query_scalar(query).fetch_one(&mut connection).await;
            read.expect("a number")
        })
    }

    /// Returns the log since its start.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Returns the seconds of processor time that all processes of the server have used.
    pub(crate) fn seconds_used(&self) -> f64 {
        crate::host::seconds_of_family(self.pid)
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("bgtask")
            .database(database)
            .disable_statement_logging()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// Finds the folder of `initdb` and `pg_ctl`: in the path, where `pg_config` says, or where Debian has them.
fn binaries() -> Option<PathBuf> {
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
fn as_ordinary_user() -> Command {
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
