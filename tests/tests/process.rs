//! What only a whole process shows: signals, exit codes, stderr. Behaviours 11 to 13, 15, 18 to 20 and 36.
#![cfg(unix)]

use bgtask_tests::{FOREVER, blocking_until};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

struct Process {
    child: Child,
    /// The lines of its stdout, as they come.
    stdout: mpsc::Receiver<String>,
    /// What it has written there so far, and who reads it.
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Process {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // The test may have ended without reading on.
                let _ = say.send(std::mem::take(&mut line));
            }
        });
        let mut pipe = child.stderr.take().expect("a pipe");
        // Read while it runs: a full pipe would block it.
        let stderr = Arc::new(Mutex::new(String::new()));
        let read = stderr.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..length]);
                read.lock().unwrap().push_str(&text);
            }
        });
        Self {
            child,
            stdout: said,
            stderr,
            reader: Some(reader),
        }
    }

    /// Reads its stdout up to this line.
    fn wait_for(&mut self, line: &str) {
        loop {
            let said = self.stdout.recv_timeout(FOREVER);
            let said = said.unwrap_or_else(|_| panic!("it never said {line:?}"));
            if said.trim_end() == line {
                return;
            }
        }
    }

    /// Waits until this stands on its stderr.
    fn wait_for_stderr(&self, text: &str) {
        blocking_until(text, || self.stderr.lock().unwrap().contains(text));
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("`kill` is installed");
        assert!(status.success());
    }

    fn wait(mut self) -> Ended {
        let mut status = None;
        blocking_until("the process has ended", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        let stdout = self.stdout.iter().collect();
        self.reader.take().map(JoinHandle::join);
        Ended {
            status: status.expect("it has ended"),
            stdout,
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

#[test]
fn b11_main_returns_by_itself_work_drains_and_its_result_stands() {
    let program = env!("CARGO_BIN_EXE_main_ends");
    for (argument, code) in [("ok", 0), ("code", 7), ("err", 1)] {
        let ended = Process::start(program, &[argument]).wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert_eq!(ended.stdout, "drained because main returned\n");
        assert_eq!(ended.stderr.contains("main's own error"), argument == "err");
        assert!(!ended.stderr.contains("bgtask:"), "{}", ended.stderr);
    }
}

#[test]
fn b11_main_panics_work_drains_and_then_the_panic_goes_on() {
    let ended = Process::start(env!("CARGO_BIN_EXE_main_ends"), &["panic"]).wait();
    assert_eq!(ended.status.code(), Some(101));
    assert_eq!(ended.stdout, "drained because main panicked\n");
    assert!(ended.stderr.contains("main's own panic"));
}

#[test]
fn b12_sigterm_and_sigint_start_the_sequence_and_mains_result_stands() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        let mut process = Process::start(SERVICE, &["drains"]);
        process.wait_for("ready");
        process.signal(signal);
        let ended = process.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(
            ended.stdout,
            format!("stopping because of {name}\ndraining because of {name}\ndrained\n")
        );
        let report = format!("shutdown ({name})");
        assert!(ended.stderr.contains(&report), "{}", ended.stderr);
        assert!(ended.stderr.contains("1 drained, 0 did not finish"));
    }
}

#[test]
fn b12_mains_own_error_stands_after_a_signal_too() {
    let mut process = Process::start(SERVICE, &["returns-an-error"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("main's own error"));
}

#[test]
fn b12_a_main_without_a_token_is_dropped_and_work_drains() {
    let mut process = Process::start(env!("CARGO_BIN_EXE_no_token"), &[]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "main dropped\ndrained\n");
}

#[test]
fn b12_a_second_signal_leaves_at_once() {
    for (first, second, code) in [
        ("INT", "INT", 130),
        ("TERM", "TERM", 143),
        ("INT", "TERM", 143),
    ] {
        let mut process = Process::start(SERVICE, &["hangs", "long-grace"]);
        process.wait_for("ready");
        process.signal(first);
        process.wait_for(&format!("stopping because of SIG{first}"));
        // That it does is said after the first has been heeded.
        process.wait_for_stderr("a second signal leaves at once");
        process.signal(second);
        let ended = process.wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    }
}

#[test]
fn b12_a_second_signal_leaves_with_a_plain_task_stuck_in_a_blocking_call() {
    let mut process = Process::start(SERVICE, &["hangs-blocking", "long-grace"]);
    process.wait_for("ready");
    process.signal("TERM");
    process.wait_for("stopping because of SIGTERM");
    process.signal("TERM");
    assert_eq!(process.wait().status.code(), Some(143));
}

#[test]
fn b12_a_second_signal_leaves_with_every_worker_stuck() {
    for program in [
        env!("CARGO_BIN_EXE_stuck_multi_thread"),
        env!("CARGO_BIN_EXE_stuck_current_thread"),
    ] {
        let mut process = Process::start(program, &["long-grace"]);
        process.wait_for("ready");
        process.signal("INT");
        process.signal("TERM");
        let code = process.wait().status.code();
        // The two signals are not ordered among themselves.
        assert!(matches!(code, Some(130 | 143)), "{code:?}");
    }
}

const AWKWARD: &str = env!("CARGO_BIN_EXE_awkward");

#[test]
fn b12_a_second_signal_leaves_with_stderr_held() {
    let mut process = Process::start(AWKWARD, &["holds-stderr"]);
    process.wait_for("held");
    process.signal("TERM");
    process.wait_for("stopping");
    process.signal("TERM");
    assert_eq!(process.wait().status.code(), Some(143));
}

#[test]
fn b13_stderr_held_by_a_task_does_not_hold_the_exit() {
    let ended = Process::start(AWKWARD, &["holds-stderr-and-returns"]).wait();
    assert_eq!(ended.status.code(), Some(7));
}

#[test]
fn b07_a_subscriber_that_panics_does_not_hold_the_exit_and_stragglers_go_to_stderr() {
    let ended = Process::start(AWKWARD, &["subscriber-panics"]).wait();
    assert_eq!(ended.status.code(), Some(7));
    let line = "bgtask: task did not finish in time name=awkward::hangs";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}

#[test]
fn b11_mains_result_stands_with_the_only_worker_stuck() {
    for (argument, code) in [
        ("never-yields-and-returns", 7),
        ("never-yields-and-panics", 101),
    ] {
        let ended = Process::start(AWKWARD, &[argument]).wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("awkward::never_yields"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn b11_what_main_leaves_behind_has_the_grace_period_to_be_dropped() {
    let ended = Process::start(AWKWARD, &["slow-to-leave"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert_eq!(ended.stdout, "dropped\n");
}

#[test]
fn b12_a_main_that_has_not_ended_by_the_deadline_is_a_failure() {
    let mut process = Process::start(AWKWARD, &["never-ends"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("main did not end in time"),
        "{}",
        ended.stderr
    );
}

#[test]
fn b18_a_call_from_a_runtime_without_a_manager_finds_that_of_main() {
    let ended = Process::start(AWKWARD, &["called-from-another-runtime"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert_eq!(ended.stdout, "drained\n");
}

#[test]
fn b12_the_deadline_holds_with_every_worker_stuck() {
    for (program, codes) in [
        (env!("CARGO_BIN_EXE_stuck_multi_thread"), 0),
        // The thread that would return from `main` is the one that is stuck.
        (env!("CARGO_BIN_EXE_stuck_current_thread"), 143),
    ] {
        let mut process = Process::start(program, &[]);
        process.wait_for("ready");
        process.signal("TERM");
        let ended = process.wait();
        assert_eq!(ended.status.code(), Some(codes), "{}", ended.stderr);
        assert!(ended.stderr.contains("::never_yields"), "{}", ended.stderr);
        assert!(ended.stderr.contains("abandoned"), "{}", ended.stderr);
    }
}

#[test]
fn b13_a_stuck_blocking_call_does_not_hold_the_exit_beyond_the_deadline() {
    let mut process = Process::start(SERVICE, &["hangs-blocking", "hangs", "drains"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.contains("drained"));
    // Each is named on a line of its own, and in the table.
    for name in ["::hangs_blocking", "::hangs "] {
        assert!(ended.stderr.matches(name).count() >= 2, "{}", ended.stderr);
    }
    assert!(
        ended.stderr.contains("2 did not finish"),
        "{}",
        ended.stderr
    );
}

#[test]
fn b10_a_shutdown_asked_for_from_code_is_the_same_sequence() {
    let ended = Process::start(SERVICE, &["drains", "asks"]).wait();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended
            .stdout
            .contains("draining because of requested: it was asked to")
    );
    assert!(
        ended
            .stderr
            .contains("shutdown (requested: it was asked to)")
    );
}

#[test]
fn b15_a_call_without_a_manager_names_the_function_and_the_cure() {
    for argument in ["tokio", "nothing"] {
        let ended = Process::start(env!("CARGO_BIN_EXE_no_manager"), &[argument]).wait();
        assert_eq!(ended.status.code(), Some(101));
        for part in [
            "no_manager::write_audit_line",
            "#[bgtask::main]",
            "src/bin/no_manager.rs",
        ] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
    }
}

#[test]
fn b16_which_manager_a_call_belongs_to_where_there_is_one_and_where_there_are_two() {
    let ended = Process::start(env!("CARGO_BIN_EXE_by_hand"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let [alone, missing, several] = lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(alone, "a plain thread: 1");
    assert!(missing.starts_with("another runtime: `by_hand::works` was called where there is no"));
    assert!(several.contains("there are several bgtask managers"));
    assert!(several.contains("manager.enter()"));
}

#[test]
fn b16_a_manager_beside_that_of_main_keeps_its_own_accounts() {
    let ended = Process::start(env!("CARGO_BIN_EXE_beside_main"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines, ["main's: 100", "the other's: 10", "main's: 102"]);
}

#[test]
fn b18_a_call_works_from_a_plain_thread() {
    let mut process = Process::start(SERVICE, &["from-a-plain-thread"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert!(ended.stdout.ends_with("drained\n"), "{}", ended.stdout);
}

#[test]
fn b19_b20_without_a_subscriber_panics_and_unseen_errors_go_to_stderr() {
    let mut process = Process::start(SERVICE, &["panics", "fails"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    // It may stand behind a piece of what the panic hook prints on the other worker.
    let line = |start: &str| {
        let at = ended.stderr.find(start);
        let at = at.unwrap_or_else(|| panic!("no {start:?} in {}", ended.stderr));
        ended.stderr[at..].lines().next().unwrap_or_default()
    };
    let panic = line("bgtask: task panicked");
    for part in [
        "name=service::panics",
        "id=",
        "a panic nobody sees",
        "service.rs:",
    ] {
        assert!(panic.contains(part), "{panic}");
    }
    let failed = line("bgtask: task failed");
    for part in ["name=service::fails", "id=", "an error nobody holds"] {
        assert!(failed.contains(part), "{failed}");
    }
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn b36_two_functions_with_one_name_are_told_at_start_up_with_both_places() {
    let ended = Process::start(env!("CARGO_BIN_EXE_twins"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0));
    let told: Vec<_> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("one name"))
        .collect();
    assert_eq!(told.len(), 1, "{}", ended.stderr);
    assert_eq!(told[0].matches("twins.rs:").count(), 2, "{}", told[0]);
    assert!(told[0].contains("send mail"));
}

#[test]
fn at_start_up_a_debug_line_lists_the_functions_or_hints_that_there_are_none() {
    let ended = Process::start(env!("CARGO_BIN_EXE_traced"), &[]).wait();
    assert!(
        ended.stdout.contains("background functions: traced::works"),
        "{}",
        ended.stdout
    );
    let ended = Process::start(env!("CARGO_BIN_EXE_traced_none_linked"), &[]).wait();
    assert!(
        ended.stdout.contains("no background functions are linked"),
        "{}",
        ended.stdout
    );
}

const SCHEDULED: &str = env!("CARGO_BIN_EXE_scheduled");

#[test]
fn b25_an_essential_task_that_gives_up_stops_the_program_with_exit_code_1() {
    let ended = Process::start(SCHEDULED, &["essential"]).wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, "consuming\nconsuming\nconsuming\nmain ends\n");
    let reason = "shutdown (the essential task scheduled::consume ended)";
    assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    let gave_up = "is not started again: it ended too often name=scheduled::consume";
    assert!(ended.stderr.contains(gave_up), "{}", ended.stderr);
}

#[test]
fn b30_main_starts_what_is_scheduled_and_a_signal_ends_it() {
    let mut process = Process::start(SCHEDULED, &["ticks"]);
    process.wait_for("consuming");
    process.wait_for("purging");
    process.wait_for("purging");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    // A tick that was under way may come to its line after it.
    assert!(ended.stdout.contains("consumed\n"), "{}", ended.stdout);
    assert!(!ended.stderr.contains("state"), "{}", ended.stderr);
}

#[test]
fn b33_state_that_nobody_provides_is_named_at_the_shutdown_too() {
    let mut process = Process::start(SCHEDULED, &[]);
    process.wait_for("main waits");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "main ends\n");
    for (name, state) in [("consume", "Bus"), ("purge", "Disk")] {
        let never_started = format!(
            "bgtask: a background function never started: nobody provided its state name=scheduled::{name} \
             state=scheduled::{state} place=tests/src/bin/scheduled.rs:"
        );
        assert!(ended.stderr.contains(&never_started), "{}", ended.stderr);
    }
}
