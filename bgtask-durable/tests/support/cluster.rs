//! A Postgres that a test stops, starts again, and replaces by its standby. Knows nothing of jobs.

use super::{as_ordinary_user, binaries};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// Makes a server, and does what the lines of its standard input say, until that is closed. Answers each line.
const SCRIPT: &str = r#"
trap : INT TERM HUP
trap '' PIPE
folder=$(mktemp -d "${TMPDIR:-/tmp}/bgtask-cluster.XXXXXX") || exit 1
cd "$folder"
run() {
    log=$("$@" 2>&1 < /dev/null) && echo ok || echo "$* $log" | tr '\n' ' ' | sed 's/$/\n/'
}
serve() { "$bin/pg_ctl" -D "$1" -w -t 60 -l "$1.log" -o "-h 127.0.0.1 -p $2 -k '' -F" start; }
copy() {
    "$bin/pg_basebackup" -D standby -R -X stream -c fast -h 127.0.0.1 -p "$first" -U bgtask &&
        serve standby "$second" &&
        # A commit is answered when the standby has it.
        "$bin/psql" -h 127.0.0.1 -p "$first" -U bgtask -qc "ALTER SYSTEM SET synchronous_standby_names = '*'" postgres &&
        "$bin/pg_ctl" -D data reload
}
bin=$1 first=$2 second=$3
make() { "$bin/initdb" -D data -U bgtask --auth=trust --no-sync -E UTF8 --locale=C && serve data "$first" &&
    "$bin/createdb" -h 127.0.0.1 -p "$first" -U bgtask jobs; }
run make
while read -r what; do
    case $what in
        stop) run "$bin/pg_ctl" -D data -m immediate stop ;;
        start) run serve data "$first" ;;
        standby) run copy ;;
        promote) run "$bin/pg_ctl" -D standby -w promote ;;
    esac
done
for one in data standby; do "$bin/pg_ctl" -D "$one" -m immediate stop > /dev/null 2>&1; done
cd / && rm -rf "$folder"
"#;

pub(crate) struct Cluster {
    /// The ports of the server and its standby.
    pub(crate) ports: [u16; 2],
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _keeper: Child,
}

impl Cluster {
    /// Starts a server with an empty database. `None` if there is no Postgres on this machine, which the test then says.
    pub(crate) fn start() -> Option<Self> {
        // Where the others are, if `initdb` is a link.
        let initdb = binaries()?.join("initdb").canonicalize();
        let initdb = initdb.expect("it is there");
        let binaries = initdb.parent().expect("its folder");
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = sockets.map(|socket| socket.local_addr().expect("its address").port());
        let mut keeper = as_ordinary_user()
            .args(["sh", "-c", SCRIPT, "sh"])
            .arg(binaries)
            .args(ports.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut cluster = Self {
            ports,
            orders: keeper.stdin.take().expect("it is piped"),
            answers: BufReader::new(keeper.stdout.take().expect("it is piped")),
            _keeper: keeper,
        };
        cluster.answer();
        Some(cluster)
    }

    /// Returns the URL of the database at a port.
    pub(crate) fn url(port: u16) -> String {
        format!("postgres://bgtask@127.0.0.1:{port}/jobs")
    }

    /// Ends the server as a crash does.
    pub(crate) fn stop(&mut self) {
        self.order("stop");
    }

    pub(crate) fn start_again(&mut self) {
        self.order("start");
    }

    /// Makes a standby, without which the server commits nothing from then on.
    pub(crate) fn add_standby(&mut self) {
        self.order("standby");
    }

    pub(crate) fn promote(&mut self) {
        self.order("promote");
    }

    fn order(&mut self, what: &str) {
        writeln!(self.orders, "{what}").expect("the shell is there");
        self.answer();
    }

    fn answer(&mut self) {
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        read.expect("it answers");
        assert_eq!(answer.trim(), "ok");
    }
}
