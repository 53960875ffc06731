//! Settings from the environment, in programs of their own: this binary again, whose ignored test `program` is their `main`.
#![cfg(unix)]

mod support;

use bgtask_durable::{Jobs, OpenError, Role, builder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::store::{LIMIT, Process};
use support::{Scratch, on_each_database};

/// Returns the id of the process that runs it.
#[bgtask::background(durable(queue = "mail"))]
async fn ran_in() -> u32 {
    std::process::id()
}

/// Writes a line beside what the test harness writes.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nprogram: {line}").expect("it is read");
}

fn log() {
    tracing_subscriber::fmt()
        .with_env_filter("bgtask=debug")
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

fn say_opened(opened: Result<Jobs, OpenError>) {
    match opened {
        Ok(jobs) => say(&format!("role {}", jobs.role())),
        Err(error) => say(&error.to_string()),
    }
}

/// Opens the store as the environment says.
mod open {
    #[bgtask::main]
    pub(super) async fn main() {
        super::log();
        super::say_opened(bgtask_durable::open().await);
    }
}

/// Opens it with everything set.
mod fixed {
    use bgtask_durable::{Role, builder};
    use std::time::Duration;

    #[bgtask::main]
    pub(super) async fn main() {
        super::log();
        let opened = builder()
            .role(Role::Both)
            .queue("mail", 3)
            .time_to_live(Duration::from_millis(1500))
            .enqueue_limit(Duration::from_secs(6))
            .crash_limit(7)
            .argument_limit(1024)
            .output_limit(1025)
            .connections(8)
            .health_addr(([127, 0, 0, 1], 0).into())
            .open();
        super::say_opened(opened.await);
    }
}

/// A worker.
mod work {
    use bgtask_durable::OpenError;

    #[bgtask::main]
    pub(super) async fn main() -> Result<(), OpenError> {
        super::log();
        bgtask_durable::work().await?;
        super::say("worked");
        Ok(())
    }
}

/// The `main` of the programs.
#[test]
#[ignore = "the other tests start it as programs of their own"]
fn program() {
    match std::env::var("BGTASK_TEST_MAIN").as_deref() {
        Ok("open") => drop(open::main()),
        Ok("fixed") => drop(fixed::main()),
        Ok("work") => drop(work::main()),
        _ => {}
    }
}

fn command(main: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env("BGTASK_TEST_MAIN", main)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a program to its end. Returns its line and its log.
fn run(main: &str, variables: &[(&str, &str)]) -> (String, String) {
    let output = command(main, variables).output().expect("a program");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = stdout
        .lines()
        .find_map(|line| line.strip_prefix("program: "));
    (
        line.unwrap_or_else(|| panic!("no line in {stdout}{log}"))
            .to_owned(),
        log,
    )
}

/// The one line of the log with all settings.
fn settings(log: &str) -> &str {
    let mut lines = log
        .lines()
        .filter(|line| line.contains("the settings of the store of durable jobs"));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no settings in {log}"));
    assert_eq!(lines.next(), None, "once");
    line
}

/// Sentence 14.6.
#[cfg(feature = "sqlite")]
#[test]
fn a_wrong_value_of_the_environment_is_named_with_what_is_allowed() {
    let scratch = Scratch::sqlite();
    for (variable, value, expected) in [
        (
            "BGTASK_ROLE",
            "worker",
            "expected `both`, `enqueue` or `work`",
        ),
        ("BGTASK_QUEUES", "mail", "such as `mail=10,default=50`"),
        ("BGTASK_QUEUES", "mail=ten", "such as `mail=10,default=50`"),
        ("BGTASK_QUEUES", "mail=1,", "such as `mail=10,default=50`"),
        ("BGTASK_QUEUES", "mail=-1", "such as `mail=10,default=50`"),
        ("BGTASK_QUEUES", "mail=10001", "0 to 10,000 jobs"),
        ("BGTASK_QUEUES", "My Mail=1", "a letter first"),
        ("BGTASK_QUEUES", "mail=1,mail=2", "each queue once"),
        ("BGTASK_TIME_TO_LIVE", "4", "from 100 ms to 1 h"),
        ("BGTASK_TIME_TO_LIVE", "10ms", "from 100 ms to 1 h"),
        ("BGTASK_ENQUEUE_LIMIT", "0s", "more than zero"),
        ("BGTASK_ENQUEUE_LIMIT", "soon", "more than zero"),
        ("BGTASK_CRASH_LIMIT", "0", "from 1 to"),
        ("BGTASK_ARGUMENT_LIMIT", "1023", "from 1,024 to"),
        ("BGTASK_OUTPUT_LIMIT", "256KiB", "a number of bytes"),
        ("BGTASK_CONNECTIONS", "1", "from 2 to 1,000"),
        ("BGTASK_SYNCHRONOUS", "off", "`full` or `normal`"),
        (
            "BGTASK_HEALTH_ADDR",
            "localhost",
            "an IP address with a port",
        ),
        ("BGTASK_HEALTH_ADDR", ":9000", "an IP address with a port"),
    ] {
        let url = ("BGTASK_DATABASE_URL", scratch.url());
        let (line, _) = run("open", &[url, (variable, value)]);
        let named = format!("the setting `{variable}` is wrong: it is {value:?}, ");
        assert!(
            line.starts_with(&named) && line.contains(expected),
            "{line}"
        );
    }
    // Nothing was opened.
    let file = scratch.url().strip_prefix("sqlite://").expect("a file");
    assert!(!std::path::Path::new(file).exists());
}

/// Sentence 14.12.
fn a_port_of_the_environment_that_is_taken_is_named(scratch: Scratch) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("its address").to_string();
    let url = ("BGTASK_DATABASE_URL", scratch.url());
    let (line, _) = run("open", &[url, ("BGTASK_HEALTH_ADDR", &addr)]);
    let named =
        format!("the health check cannot listen on {addr}, which `BGTASK_HEALTH_ADDR` sets: ");
    assert!(line.starts_with(&named), "{line}");
}

/// Sentences 14.5 and 14.7.
fn all_settings_are_logged_once_with_their_origin(scratch: Scratch) {
    let url = ("BGTASK_DATABASE_URL", scratch.url());
    let (line, log) = run("open", &[url, ("BGTASK_ROLE", " ")]);
    assert_eq!(line, "role both");
    for setting in [
        "role=both (default)",
        "queues=\"bgtask-notify=10 (default), mail=50 (default)\"",
        "time_to_live=\"4s (default)\"",
        "enqueue_limit=\"5s (default)\"",
        "crash_limit=5 (default)",
        "argument_limit=262144 (default)",
        "output_limit=262144 (default)",
        "connections=\"those of the database (default)\"",
        "synchronous=full (default)",
        "health_addr=\"none (default)\"",
        "ticket_keys=\"that of the database (default)\"",
    ] {
        assert!(settings(&log).contains(setting), "{setting}: {log}");
    }

    let mut variables = vec![
        url,
        ("BGTASK_ROLE", "enqueue"),
        ("BGTASK_QUEUES", "mail=10, reports = 2,*=0"),
        ("BGTASK_TIME_TO_LIVE", "2s 500ms"),
        ("BGTASK_ENQUEUE_LIMIT", "1m"),
        ("BGTASK_CRASH_LIMIT", "3"),
        ("BGTASK_ARGUMENT_LIMIT", "2048"),
        ("BGTASK_OUTPUT_LIMIT", "4096"),
        ("BGTASK_CONNECTIONS", "2"),
        ("BGTASK_HEALTH_ADDR", "127.0.0.1:0"),
    ];
    let (line, log) = run("open", &variables);
    assert_eq!(line, "role enqueue");
    for setting in [
        &format!(
            "database=\"{} (environment)\"",
            scratch.url().replace("bgtask@", "…@")
        ),
        "role=enqueue (environment)",
        "queues=\"bgtask-notify=10 (default), mail=10 (environment), reports=2 (environment)\"",
        "time_to_live=\"2s 500ms (environment)\"",
        "enqueue_limit=\"1m (environment)\"",
        "crash_limit=3 (environment)",
        "argument_limit=2048 (environment)",
        "output_limit=4096 (environment)",
        "connections=\"2 (environment)\"",
        "health_addr=\"127.0.0.1:0 (environment)\"",
    ] {
        assert!(settings(&log).contains(setting), "{setting}: {log}");
    }

    // The builder fixes a setting: then even a wrong value of its variable has no effect.
    variables.push(("BGTASK_CRASH_LIMIT", "none"));
    let (line, log) = run("fixed", &variables);
    assert_eq!(line, "role both");
    for setting in [
        "role=both (code)",
        "queues=\"bgtask-notify=10 (default), mail=3 (code), reports=2 (environment)\"",
        "time_to_live=\"1s 500ms (code)\"",
        "enqueue_limit=\"6s (code)\"",
        "crash_limit=7 (code)",
        "argument_limit=1024 (code)",
        "output_limit=1025 (code)",
        "connections=\"8 (code)\"",
        "health_addr=\"127.0.0.1:0 (code)\"",
    ] {
        assert!(settings(&log).contains(setting), "{setting}: {log}");
    }
}

/// Sentence 14.7.
#[test]
fn no_password_is_logged() {
    for url in [
        "postgres://ann:hunter2@127.0.0.1:1/shop",
        "postgres://127.0.0.1:1/shop?user=ann&password=hunter2",
        "mysql:hunter2",
    ] {
        let (line, log) = run("open", &[("BGTASK_DATABASE_URL", url)]);
        assert!(settings(&log).contains("(environment)"), "{log}");
        assert!(
            !line.contains("hunter2") && !log.contains("hunter2"),
            "{line}{log}"
        );
    }
}

/// Sentences 14.6 and 14.7.
#[cfg(all(feature = "live", feature = "sqlite"))]
#[test]
fn the_keys_of_tickets_are_checked_and_neither_logged_nor_shown() {
    let scratch = Scratch::sqlite();
    let url = ("BGTASK_DATABASE_URL", scratch.url());
    let run_with = |keys| run("open", &[url, ("BGTASK_TICKET_KEYS", keys)]);
    // 31 bytes, none, one that is too short beside another, and no base64.
    for wrong in [
        "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0cw==",
        ",",
        "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=,c2VjcmV0",
        "c2VjcmV0 c2VjcmV0",
    ] {
        let (line, log) = run_with(wrong);
        let named =
            "the setting `BGTASK_TICKET_KEYS` is wrong: it is \"…\", expected keys of at least 32";
        assert!(line.starts_with(named), "{line}");
        assert!(
            !line.contains("c2Vj") && !log.contains("c2Vj"),
            "{line}{log}"
        );
    }
    // Of either alphabet, with padding or without.
    let keys =
        "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=, _-VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U";
    let (line, log) = run_with(keys);
    assert_eq!(line, "role both");
    assert!(
        settings(&log).contains("ticket_keys=\"2 (environment)\""),
        "{log}"
    );
    assert!(!log.contains("VjcmV0"), "{log}");
}

/// Sentence 14.8.
fn a_variable_that_is_close_to_a_setting_is_a_warning(scratch: Scratch) {
    let url = ("BGTASK_DATABASE_URL", scratch.url());
    let (line, log) = run(
        "open",
        &[url, ("BGTASK_QUEUE", "mail=1"), ("BGTASK_OWN", "1")],
    );
    assert_eq!(line, "role both");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].contains("variable=\"BGTASK_QUEUE\" meant=\"BGTASK_QUEUES\""),
        "{log}"
    );
}

/// Sentences 14.5, 14.6 and 14.7.
#[cfg(all(feature = "email", feature = "sqlite", feature = "webhook"))]
#[test]
fn the_channels_of_the_environment_hold_and_show_no_secret() {
    let scratch = Scratch::sqlite();
    let url = ("BGTASK_DATABASE_URL", scratch.url());
    for (variable, value, expected) in [
        (
            "BGTASK_WEBHOOK_SECRET",
            "hunter2",
            "the base64 of 24 to 64 random bytes",
        ),
        (
            "BGTASK_WEBHOOK_SECRET_PARTNER",
            "whsec_hunter2",
            "for \"PARTNER\"",
        ),
        (
            "BGTASK_WEBHOOK_ALLOW",
            "10.0.0.0/8,10.0.0.0/40",
            "10.0.0.0/40",
        ),
        (
            "BGTASK_SMTP_URL",
            "http://ann:hunter2@host",
            "the URL of a mail server",
        ),
        (
            "BGTASK_SMTP_URL",
            "smtps://ann:hunter2@host",
            "`BGTASK_EMAIL_FROM` is wrong",
        ),
    ] {
        let (line, log) = run("open", &[url, (variable, value)]);
        assert!(
            line.starts_with("the setting `BGTASK_") && line.contains(expected),
            "{line}"
        );
        assert!(
            !line.contains("hunter2") && !log.contains("hunter2"),
            "{line}{log}"
        );
    }
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let variables = [
        url,
        ("BGTASK_WEBHOOK_SECRET_A", secret),
        ("BGTASK_WEBHOOK_SECRET_PARTNER_2", secret),
        ("BGTASK_WEBHOOK_ALLOW", "hooks.internal"),
        ("BGTASK_SMTP_URL", "smtps://ann:hunter2@host"),
        ("BGTASK_EMAIL_FROM", "Shop <shop@example.com>"),
    ];
    let (line, log) = run("open", &variables);
    assert_eq!(line, "role both");
    assert!(!log.contains("hunter2") && !log.contains("MfKQ9"), "{log}");
    for shown in ["{\"a\", \"partner_2\"}", "hooks.internal", "shop"] {
        assert!(log.contains(shown), "{shown}: {log}");
    }
    assert!(!log.contains("WARN"), "{log}");
}

/// Ends a program that a failed test leaves.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sentence 14.4.
fn work_works_until_the_shutdown_whatever_the_role_of_the_environment(scratch: Scratch) {
    let front = Process::start(builder().url(scratch.url()).role(Role::Enqueue));
    let variables = [
        ("BGTASK_DATABASE_URL", scratch.url()),
        ("BGTASK_ROLE", "enqueue"),
        ("BGTASK_QUEUES", "mail=1"),
    ];
    let mut worker = Started(command("work", &variables).spawn().expect("a program"));
    let id = worker.0.id();
    front.run(async {
        let job = ran_in().await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(id));
    });
    let pid = Pid::from_raw(i32::try_from(id).expect("an id"));
    kill(pid, Signal::SIGTERM).expect("it is sent");
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = worker.0.try_wait().expect("it is awaited") {
            break status;
        }
        assert!(begin.elapsed() < LIMIT, "the worker ends");
        std::thread::sleep(Duration::from_millis(5));
    };
    let stdout = std::io::read_to_string(worker.0.stdout.take().expect("it is piped"));
    let stdout = stdout.expect("it is read");
    assert!(stdout.contains("program: worked"), "{status}: {stdout}");
    assert_eq!(status.code(), Some(0));
    front.end();
}

on_each_database! {
    a_port_of_the_environment_that_is_taken_is_named,
    a_variable_that_is_close_to_a_setting_is_a_warning,
    all_settings_are_logged_once_with_their_origin,
    work_works_until_the_shutdown_whatever_the_role_of_the_environment,
}
