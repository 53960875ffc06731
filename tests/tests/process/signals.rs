//! Signals: they start the shutdown, end a process that hangs, and print a snapshot.

use crate::support::{HARD_TO_EXIT, SCHEDULED, SERVICE};
use bgtask_tests::process::Process;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Behaviour 12.
#[test]
fn sigterm_sigint_and_sighup_start_the_shutdown_and_the_result_of_main_stands() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT"), ("HUP", "SIGHUP")] {
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

/// Behaviour 12.
#[test]
fn the_error_of_main_stands_after_a_signal_too() {
    let mut process = Process::start(SERVICE, &["returns-an-error"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("main's own error"));
}

/// Behaviour 12.
#[test]
fn a_main_without_a_token_is_dropped_and_work_drains() {
    let mut process = Process::start(env!("CARGO_BIN_EXE_main_without_token"), &[]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "main dropped\ndrained\n");
}

/// Behaviour 12.
#[test]
fn a_signal_that_comes_while_the_program_starts_is_not_lost() {
    // Eight at once, so that the signals interrupt their start, and many rounds, because the window is narrow.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let process = Process::start(env!("CARGO_BIN_EXE_main_without_token"), &[]);
                    thread::sleep(Duration::from_micros(fastrand::u64(0..12_000)));
                    process.signal("TERM");
                    let status = process.wait().status;
                    // Before its handler is installed, the signal ends the process by default.
                    assert!(status.success() || status.signal() == Some(15), "{status}");
                }
            });
        }
    });
}

/// The narrowest window, which the test above hits once in about twenty thousand starts.
/// Behaviour 12.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_comes_as_its_handler_is_installed_is_not_lost() {
    let interposer = std::env::temp_dir().join(format!("early_signal-{}.so", std::process::id()));
    // Where Rust links programs, a C compiler is installed.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&interposer)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/bin/signals/early_signal.c"
        ))
        .arg("-ldl")
        .status()
        .expect("`cc` is installed");
    assert!(built.success());
    let mut process = Process::start_with(
        env!("CARGO_BIN_EXE_main_without_token"),
        &[],
        &[("LD_PRELOAD", interposer.as_os_str())],
    );
    // If the signal were lost, the program would wait for ever.
    let ended = process.reaches("main dropped");
    std::fs::remove_file(interposer).unwrap();
    assert!(ended);
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("shutdown (SIGTERM)"),
        "{}",
        ended.stderr
    );
}

/// Behaviour 12.
#[test]
fn a_second_signal_exits_at_once() {
    for (first, second, code) in [
        ("INT", "INT", 130),
        ("TERM", "TERM", 143),
        ("INT", "TERM", 143),
        ("HUP", "HUP", 129),
        ("TERM", "HUP", 129),
    ] {
        let mut process = Process::start(SERVICE, &["hangs", "long-grace"]);
        process.wait_for("ready");
        process.signal(first);
        process.wait_for(&format!("stopping because of SIG{first}"));
        // The program prints this after it has handled the first signal.
        process.wait_for_stderr("the first one was handled", |stderr| {
            stderr.contains("a second signal exits immediately")
        });
        process.signal(second);
        let ended = process.wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    }
}

/// Behaviour 12.
#[test]
fn a_second_signal_exits_while_a_task_blocks() {
    let mut process = Process::start(SERVICE, &["hangs-blocking", "long-grace"]);
    process.wait_for("ready");
    process.signal("TERM");
    process.wait_for("stopping because of SIGTERM");
    process.signal("TERM");
    assert_eq!(process.wait().status.code(), Some(143));
}

/// Behaviour 12.
#[test]
fn a_second_signal_exits_while_every_worker_is_blocked() {
    for program in [
        env!("CARGO_BIN_EXE_blocked_multi_thread"),
        env!("CARGO_BIN_EXE_blocked_current_thread"),
    ] {
        let mut process = Process::start(program, &["long-grace"]);
        process.wait_for("ready");
        process.signal("INT");
        process.signal("TERM");
        let code = process.wait().status.code();
        // The two signals may arrive in either order.
        assert!(matches!(code, Some(130 | 143)), "{code:?}");
    }
}

/// `nohup` starts a program this way.
/// Behaviour 12.
#[cfg(target_os = "linux")]
#[test]
fn sighup_stays_ignored_if_the_process_was_started_so() {
    let script = format!("trap '' HUP; exec {SERVICE} drains");
    let mut process = Process::start("sh", &["-c", &script]);
    process.wait_for("ready");
    process.signal("HUP");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("shutdown (SIGTERM)"),
        "{}",
        ended.stderr
    );
}

/// Behaviour 12.
#[test]
fn sigquit_keeps_its_default_action() {
    // Without a core dump.
    let script = format!("ulimit -c 0; exec {SERVICE} drains");
    let mut process = Process::start("sh", &["-c", &script]);
    process.wait_for("ready");
    process.signal("QUIT");
    let ended = process.wait();
    assert_eq!(ended.status.signal(), Some(3), "{}", ended.stderr);
    assert!(!ended.stdout.contains("stopping"), "{}", ended.stdout);
}

/// Behaviour 12.
#[test]
fn a_second_signal_exits_while_stderr_is_locked() {
    let mut process = Process::start(HARD_TO_EXIT, &["holds-stderr"]);
    process.wait_for("held");
    process.signal("TERM");
    process.wait_for("stopping");
    process.signal("TERM");
    assert_eq!(process.wait().status.code(), Some(143));
}

/// Behaviour 12.
#[test]
fn the_deadline_holds_while_every_worker_is_blocked() {
    for (program, codes) in [
        (env!("CARGO_BIN_EXE_blocked_multi_thread"), 0),
        // The thread that would return from `main` is the blocked one.
        (env!("CARGO_BIN_EXE_blocked_current_thread"), 143),
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

/// Behaviour 30.
#[test]
fn main_starts_the_schedules_and_a_signal_ends_them() {
    let mut process = Process::start(SCHEDULED, &["ticks"]);
    process.wait_for("consuming");
    process.wait_for("purging");
    process.wait_for("purging");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    // A run in flight is drained too, and may end last.
    assert!(ended.stdout.contains("consumed\n"), "{}", ended.stdout);
    assert!(!ended.stderr.contains("state"), "{}", ended.stderr);
}

/// Returns how many snapshots have been printed completely.
fn snapshots(stderr: &str) -> usize {
    stderr.matches("\n  schedule ").count()
}

/// Behaviour 35.
#[test]
fn each_dump_signal_prints_a_snapshot_and_ends_nothing() {
    let mut process = Process::start(env!("CARGO_BIN_EXE_dumps_snapshot"), &[]);
    process.wait_for("ready");
    for times in 1..=3 {
        process.signal("USR1");
        process.wait_for_stderr("a snapshot is printed", |stderr| snapshots(stderr) == times);
    }
    process.signal("TERM");
    process.wait_for("stopping");
    process.signal("USR1");
    process.wait_for_stderr("a snapshot is printed", |stderr| snapshots(stderr) == 4);
    process.signal("INT");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    let line = |part: &str| {
        let mut lines = ended.stderr.lines().filter(|line| line.contains(part));
        lines
            .next()
            .unwrap_or_else(|| panic!("no {part:?} in {}", ended.stderr))
    };
    let head = line("Z, running");
    assert!(head.starts_with("bgtask: 20"), "{head}");
    line("3 accepted = 3 running (1 waiting)");
    let row = line("dumps_snapshot::resize  ");
    assert!(row.starts_with("  running"), "{row}");
    let locations = "  tests/src/bin/signals/dumps_snapshot.rs:";
    assert_eq!(row.matches(locations).count(), 2, "{row}");
    assert!(
        line("  waiting").contains("dumps_snapshot::resize"),
        "{}",
        ended.stderr
    );
    assert!(line("dumps_snapshot::purge ").ends_with("in 1h") || line("in 59m").contains("purge"));
    assert!(line("Z, stopping").contains("(SIGTERM)"));
}

/// Behaviour 35.
#[test]
fn a_snapshot_and_the_slow_task_report_appear_while_every_worker_is_blocked() {
    for program in [
        env!("CARGO_BIN_EXE_blocked_multi_thread"),
        env!("CARGO_BIN_EXE_blocked_current_thread"),
    ] {
        let mut process = Process::start(program, &["long-grace"]);
        process.wait_for("ready");
        process.signal("USR2");
        process.wait_for_stderr("a snapshot is printed", |stderr| {
            stderr.contains("Z, running\n") && stderr.contains("  running  ")
        });
        let takes_long = "bgtask: task is running longer than `warn_after` name=";
        process.wait_for_stderr("it is reported", |stderr| stderr.contains(takes_long));
        process.signal("INT");
        process.signal("TERM");
        let stderr = process.wait().stderr;
        let long: Vec<_> = stderr
            .lines()
            .filter(|line| line.starts_with(takes_long))
            .collect();
        // One after the other.
        assert!(!long.is_empty() && long.len() <= 2, "{stderr}");
        assert!(long[0].contains("::never_yields id="), "{}", long[0]);
        assert!(long[0].contains(" state=running "), "{}", long[0]);
        assert!(long[0].contains(" called_at=tests/src/bin/signals/blocked_"));
    }
}

/// Behaviour 35.
#[test]
fn without_the_dump_option_the_signal_keeps_its_default_action() {
    let mut process = Process::start(SERVICE, &[]);
    process.wait_for("ready");
    process.signal("USR1");
    let ended = process.wait();
    assert_eq!(ended.status.code(), None);
    // SIGUSR1 on Linux and elsewhere.
    assert!(matches!(ended.status.signal(), Some(10 | 30)));
}

/// Behaviour 12.
#[test]
fn a_locked_stderr_does_not_keep_a_signal_from_starting_the_shutdown() {
    let mut process = Process::start(HARD_TO_EXIT, &["holds-stderr"]);
    process.wait_for("held");
    process.signal("USR1");
    process.signal("USR1");
    process.signal("TERM");
    process.wait_for("stopping");
}

const PRE_STOP: &str = env!("CARGO_BIN_EXE_pre_stop");

const NOT_READY: &str = "live: ok, ready: shutting down, shutting down: true, stops: false";

/// Behaviour 12.
#[test]
fn a_program_with_a_pre_stop_time_is_not_ready_and_goes_on_after_a_signal() {
    let mut process = Process::start(PRE_STOP, &["elapses"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "waited: true\nticks while it waited: 0\n");
}

/// Behaviour 12.
#[test]
fn a_pre_stop_time_ends_when_main_returns() {
    let mut process = Process::start(PRE_STOP, &["returns"]);
    process.wait_for("ready");
    process.signal("TERM");
    process.wait_for(NOT_READY);
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "drained\ndrained\n");
}

/// Behaviour 12.
#[test]
fn a_second_signal_exits_during_the_pre_stop_time() {
    let mut process = Process::start(PRE_STOP, &["stays"]);
    process.wait_for("ready");
    process.signal("TERM");
    process.wait_for(NOT_READY);
    process.signal("INT");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

/// Behaviour 12.
#[test]
fn a_main_without_a_token_is_dropped_after_the_pre_stop_time() {
    let mut process = Process::start(PRE_STOP, &["no-token"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "not ready\n");
}
