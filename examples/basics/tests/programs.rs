//! Runs the examples of this package as processes: each ends with its exit code and prints what its first lines promise.

use std::process::{Command, Output};

fn run(program: &str) -> (Output, String) {
    let output = Command::new(program).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, stdout)
}

/// Runs a program that succeeds, and returns its stdout.
fn succeed(program: &str) -> String {
    let (output, stdout) = run(program);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    stdout
}

#[test]
fn plain_sends_the_last_receipt_after_main_has_returned() {
    let stdout = succeed(env!("CARGO_BIN_EXE_plain"));
    let (before, after) = stdout.split_once("main returns").expect(&stdout);
    assert!(before.contains("sent receipt 99"), "{stdout}");
    assert!(after.contains("sent receipt 100"), "{stdout}");
}

#[test]
fn blocking_writes_every_value_and_removes_its_marker() {
    let stdout = succeed(env!("CARGO_BIN_EXE_blocking"));
    let counts = stdout
        .lines()
        .filter_map(|line| line.strip_prefix("wrote "));
    let counts = counts.filter_map(|line| line.strip_suffix(" values"));
    let written: u32 = counts.map(|count| count.parse::<u32>().unwrap()).sum();
    assert_eq!(written, 100, "{stdout}");
    assert!(stdout.contains("removing the marker"), "{stdout}");
}

#[test]
fn panics_goes_on_after_two_panics() {
    let stdout = succeed(env!("CARGO_BIN_EXE_panics"));
    assert!(stdout.contains("7 / 2 = 3"), "{stdout}");
    assert!(stdout.contains("panicked: 2"), "{stdout}");
    assert!(stdout.ends_with("2 panics\n"), "{stdout}");
}

#[test]
fn manager_by_hand_reports_the_export_that_did_not_end() {
    let (output, stdout) = run(env!("CARGO_BIN_EXE_manager_by_hand"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout.contains("exported customers"), "{stdout}");
    assert!(stdout.contains("exported orders"), "{stdout}");
    assert_eq!(stdout.matches("not exported: ").count(), 1, "{stdout}");
}

#[test]
fn connections_end_with_their_tasks_but_audit_lines_outlive_them() {
    let stdout = succeed(env!("CARGO_BIN_EXE_connections"));
    for channel in ["news", "weather", "sports"] {
        assert!(stdout.contains(&format!("{channel}: no more messages")));
        assert!(stdout.contains(&format!("audit: subscribed to {channel}")));
    }
    let ended = "a connection has ended; 0 of its tasks did not end in time";
    assert_eq!(stdout.matches(ended).count(), 2, "{stdout}");
}

#[test]
fn webhooks_arrive_except_the_one_to_nowhere() {
    let stdout = succeed(env!("CARGO_BIN_EXE_webhooks"));
    let nowhere = "/nowhere: the receiver responded with 404; not retried";
    assert!(stdout.contains(nowhere), "{stdout}");
    // The number of retries varies with the machine.
    assert!(stdout.contains("10 webhooks delivered with "), "{stdout}");
    assert!(!stdout.contains(" 0 of them retries"), "{stdout}");
}

#[test]
fn sixty_changes_lead_to_a_few_refreshes_and_a_fresh_cache() {
    let stdout = succeed(env!("CARGO_BIN_EXE_cache_refresh"));
    assert!(stdout.contains("cached: home 30, about 30"), "{stdout}");
    let refreshes = stdout.matches("refreshed ").count();
    assert!((4..=40).contains(&refreshes), "{stdout}");
}

#[test]
fn a_consumer_that_gives_up_ends_the_program_with_exit_code_1() {
    let (output, stdout) = run(env!("CARGO_BIN_EXE_consumer"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stdout.matches("connected").count(), 3, "{stdout}");
    assert!(stdout.contains("handled event 11"), "{stdout}");
}

#[test]
fn settings_replace_the_values_of_the_attribute() {
    let stdout = succeed(env!("CARGO_BIN_EXE_settings"));
    let (before, after) = stdout.split_once("read ").expect(&stdout);
    assert!(before.contains("at most 1 at once"), "{stdout}");
    assert!(after.contains("at most 3 at once"), "{stdout}");
    let unknown = "no background function fits `shop::send`: there are `shop::deliver`";
    assert!(after.contains(unknown), "{stdout}");
    assert!(
        after.contains("`shop::deliver` does not have `concurrency(queue = …)`"),
        "{stdout}"
    );
}

#[cfg(unix)]
mod with_signals {
    use std::io::{BufRead, BufReader, Lines, Read, Write};
    use std::net::TcpStream;
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::time::Duration;

    /// Turns a hang into a failure; a healthy run takes far less time.
    const LIMIT: Duration = Duration::from_secs(120);

    struct Program {
        process: Child,
        lines: Lines<BufReader<ChildStdout>>,
    }

    impl Program {
        fn start(command: &mut Command) -> Self {
            let mut process = command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(process.stdout.take().unwrap()).lines();
            Self { process, lines }
        }

        fn line(&mut self) -> String {
            self.lines.next().unwrap().unwrap()
        }

        fn terminate(&self) {
            let id = self.process.id().to_string();
            let status = Command::new("kill").args(["-TERM", &id]).status().unwrap();
            assert!(status.success());
        }

        /// Waits for a successful exit and returns the remaining output.
        fn end(mut self) -> Vec<String> {
            let rest: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
            let status = self.process.wait().unwrap();
            assert_eq!(status.code(), Some(0), "{rest:?}");
            rest
        }
    }

    fn connect(address: &str) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    #[test]
    fn the_store_answers_saves_and_says_goodbye() {
        let mut server = Program::start(Command::new(env!("CARGO_BIN_EXE_kv")).arg("127.0.0.1:0"));
        let line = server.line();
        let address = line.strip_prefix("listening on ").expect(&line);
        let stream = connect(address);
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut ask = |question: &str| {
            writeln!(&stream, "{question}").unwrap();
            answers.next().unwrap().unwrap()
        };
        assert_eq!(ask("GET name"), "(none)");
        assert_eq!(ask("SET name value"), "OK");
        assert_eq!(ask("GET name"), "value");
        let saved = ask("SAVE");
        let path = saved.strip_prefix("saved to ").expect(&saved);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "name=value\n");
        std::fs::remove_file(path).unwrap();
        let quits = connect(address);
        writeln!(&quits, "QUIT").unwrap();
        let mut goodbye = String::new();
        (&quits).read_to_string(&mut goodbye).unwrap();
        assert_eq!(goodbye, "goodbye\n");

        server.terminate();
        assert_eq!(answers.next().unwrap().unwrap(), "goodbye");
        // The connection that sent `QUIT` may not have ended yet.
        let rest = server.end();
        assert!(rest[0].starts_with("closing "), "{rest:?}");
        assert_eq!(rest[1..], ["0 did not close in time"]);
    }

    #[test]
    fn the_loop_continues_where_a_signal_stopped_it() {
        let folder = std::env::temp_dir().join(format!("bgtask-basics-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let start = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_long_loop"));
            Program::start(command.env("TMPDIR", &folder))
        };
        let mut first = start();
        assert_eq!(first.line(), "starting at row 0 of 1000");
        assert_eq!(first.line(), "row 100 of 1000");
        first.terminate();
        let rest = first.end().join("\n");
        let (_, stopped) = rest.split_once("stopping at row ").expect(&rest);
        let (row, _) = stopped.split_once(' ').unwrap();

        let mut second = start();
        assert_eq!(second.line(), format!("starting at row {row} of 1000"));
        second.terminate();
        second.end();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
