//! The program `bgtask`, as an operator runs it: against each database, while workers run and while none does.
#![cfg(feature = "cli")]

mod change;
mod examine;
#[cfg(feature = "postgres")]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod view;

use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use support::Scratch;
use support::transactions::Pool;

/// What a run of the program has left.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Checks the exit code, and returns the output.
    #[track_caller]
    fn ends_with(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.out
    }

    /// Checks the exit code, and that the standard error has these parts.
    #[track_caller]
    fn fails_with(self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {self:?}");
        }
    }
}

fn command(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bgtask"));
    for variable in ["BGTASK_ROLE", "BGTASK_QUEUES", "BGTASK_LISTEN_URL"] {
        command.env_remove(variable);
    }
    command
        .env("BGTASK_DATABASE_URL", scratch.url())
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code().expect("no signal"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Runs the program on a database.
fn bgtask(scratch: &Scratch, arguments: &[&str]) -> Ran {
    ran(command(scratch, arguments))
}

/// Runs it with an answer to what it asks.
fn answered(scratch: &Scratch, arguments: &[&str], answer: &str) -> Ran {
    let mut command = command(scratch, arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may have ended without asking.
    let _ = stdin.write_all(answer.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs it with `--json`, and returns what it has written.
#[track_caller]
fn json(scratch: &Scratch, arguments: &[&str]) -> Value {
    let out = bgtask(scratch, &[arguments, &["--json"]].concat()).ends_with(0);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// Runs a statement of another program.
fn run(scratch: &Scratch, sqlite: &'static str, postgres: &'static str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { Pool::of(scratch).await.run(sqlite, postgres).await });
}

/// Makes the tables.
fn migrated(scratch: &Scratch) {
    bgtask(scratch, &["migrate", "--create"]).ends_with(0);
}
