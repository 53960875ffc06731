//! The end of `main`: its result, its exit code, and what may not hold the exit.

use crate::support::{HARD_TO_EXIT, SCHEDULED, SERVICE};
use bgtask_tests::process::Process;

/// Behaviour 11.
#[test]
fn work_drains_after_main_returns_and_its_result_stands() {
    let program = env!("CARGO_BIN_EXE_main_returns");
    for (argument, code) in [("ok", 0), ("code", 7), ("err", 1)] {
        let ended = Process::start(program, &[argument]).wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert_eq!(ended.stdout, "drained because main returned\n");
        assert_eq!(ended.stderr.contains("main's own error"), argument == "err");
        assert!(!ended.stderr.contains("bgtask:"), "{}", ended.stderr);
    }
}

/// Behaviour 11.
#[test]
fn work_drains_after_main_panics_and_then_the_panic_resumes() {
    let ended = Process::start(env!("CARGO_BIN_EXE_main_returns"), &["panic"]).wait();
    assert_eq!(ended.status.code(), Some(101));
    assert_eq!(ended.stdout, "drained because main panicked\n");
    assert!(ended.stderr.contains("main's own panic"));
}

/// Behaviour 13.
#[test]
fn a_task_that_locks_stderr_does_not_delay_the_exit() {
    let ended = Process::start(HARD_TO_EXIT, &["holds-stderr-and-returns"]).wait();
    assert_eq!(ended.status.code(), Some(7));
}

/// Behaviour 11.
#[test]
fn the_result_of_main_stands_while_the_only_worker_is_blocked() {
    for (argument, code) in [
        ("never-yields-and-returns", 7),
        ("never-yields-and-panics", 101),
    ] {
        let ended = Process::start(HARD_TO_EXIT, &[argument]).wait();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("hard_to_exit::never_yields"),
            "{}",
            ended.stderr
        );
    }
}

/// Behaviour 11.
#[test]
fn the_values_that_main_leaves_have_the_grace_period_to_drop() {
    let ended = Process::start(HARD_TO_EXIT, &["slow-to-leave"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert_eq!(ended.stdout, "dropped\n");
}

/// Behaviour 12.
#[test]
fn a_main_that_has_not_ended_by_the_deadline_is_a_failure() {
    let mut process = Process::start(HARD_TO_EXIT, &["never-ends"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("main did not end before the deadline"),
        "{}",
        ended.stderr
    );
}

/// Behaviour 13.
#[test]
fn a_blocked_call_does_not_delay_the_exit_beyond_the_deadline() {
    let mut process = Process::start(SERVICE, &["hangs-blocking", "hangs", "drains"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.contains("drained"));
    // In the table. The line of an overdue task may be missing: it needs a thread within the 100 ms before the deadline.
    for name in ["::hangs_blocking", "::hangs "] {
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
    assert!(
        ended.stderr.contains("2 did not finish"),
        "{}",
        ended.stderr
    );
}

/// Behaviour 10.
#[test]
fn a_shutdown_requested_in_code_is_the_same_sequence() {
    let ended = Process::start(SERVICE, &["drains", "requests-shutdown"]).wait();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended
            .stdout
            .contains("draining because of requested: the program requests it")
    );
    assert!(
        ended
            .stderr
            .contains("shutdown (requested: the program requests it)")
    );
}

/// Behaviour 25.
#[test]
fn an_essential_task_that_gives_up_stops_the_program_with_exit_code_1() {
    let ended = Process::start(SCHEDULED, &["essential"]).wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stdout, "consuming\nconsuming\nconsuming\nmain ends\n");
    let reason = "shutdown (the essential task scheduled::consume ended)";
    assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    let gave_up = "not restarted: its restart limit is reached name=scheduled::consume";
    assert!(ended.stderr.contains(gave_up), "{}", ended.stderr);
}

const STRICT: &str = env!("CARGO_BIN_EXE_strict");

/// Behaviour 11.
#[test]
fn a_strict_program_fails_for_what_it_would_only_report() {
    for (case, why) in [
        ("fails", "1 failure that no code read from a handle"),
        ("panics", "1 failure that no code read from a handle"),
        ("times-out", "1 failure that no code read from a handle"),
        ("fails-at-last", "1 failure that no code read from a handle"),
        ("hangs", "1 task did not finish before the deadline"),
        (
            "hangs-blocking",
            "1 task did not finish before the deadline",
        ),
        (
            "lacks-a-state",
            "1 call refused, because a state was not provided",
        ),
    ] {
        let ended = Process::start(STRICT, &[case]).wait();
        assert_eq!(ended.status.code(), Some(1), "{case}: {}", ended.stderr);
        let line = format!("bgtask: exit code 1, because of `strict`: {why}\n");
        assert!(ended.stderr.ends_with(&line), "{case}: {}", ended.stderr);
    }
}

/// Behaviour 11.
#[test]
fn a_strict_program_succeeds_if_all_failures_are_read_or_made_good() {
    for case in ["succeeds", "reads-failures", "retries", "is-refused"] {
        let ended = Process::start(STRICT, &[case]).wait();
        assert_eq!(ended.status.code(), Some(0), "{case}: {}", ended.stderr);
        assert!(
            !ended.stderr.contains("because of `strict`"),
            "{case}: {}",
            ended.stderr
        );
    }
    let ended = Process::start(STRICT, &["own-code"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
}

/// Behaviour 32.
#[test]
fn a_strict_program_fails_when_a_function_is_not_restarted_any_more() {
    for (failures, code) in [("2", 0), ("3", 1)] {
        let ended = Process::start(STRICT, &["restarts", failures]).wait();
        assert_eq!(
            ended.status.code(),
            Some(code),
            "{failures}: {}",
            ended.stderr
        );
    }
}

const ESSENTIAL: &str = env!("CARGO_BIN_EXE_essential_task");

/// Behaviour 25.
#[test]
fn an_essential_task_that_ends_because_main_has_returned_is_no_failure() {
    for runtime in ["multi-thread", "current-thread"] {
        // Many times, because the two run on different threads; and once where they must meet: while the locals of `main` are
        // dropped.
        let often = ["returns", "returns-blocking"].map(|case| (case, 20));
        let surely = ["drops-slowly", "drops-slowly-blocking"].map(|case| (case, 1));
        for (case, times) in often.into_iter().chain(surely) {
            // On one thread no task ends while `main` is dropped.
            if runtime == "current-thread" && case.starts_with("drops") {
                continue;
            }
            for _ in 0..times {
                let ended = Process::start(ESSENTIAL, &[runtime, case]).wait();
                let code = ended.status.code();
                assert_eq!(code, Some(0), "{runtime}, {case}: {}", ended.stderr);
                assert_eq!(ended.stderr, "", "{runtime}, {case}");
            }
        }
    }
}

/// Behaviour 25.
#[test]
fn an_essential_task_that_ends_while_main_waits_is_a_failure() {
    for (runtime, case) in [
        ("multi-thread", "waits"),
        ("multi-thread", "waits-blocking"),
        ("current-thread", "waits"),
        ("current-thread", "waits-blocking"),
    ] {
        let ended = Process::start(ESSENTIAL, &[runtime, case]).wait();
        assert_eq!(ended.status.code(), Some(1), "{runtime}, {case}");
        let reason = "shutdown (the essential task essential_task::ends";
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
}

/// Behaviour 25.
#[test]
fn an_essential_task_that_ends_during_a_poll_of_main_is_judged_after_that_poll() {
    for (case, code) in [
        ("blocks-and-waits", 1),
        ("blocks-and-returns", 0),
        ("waits-and-blocks-and-returns", 0),
        ("blocks-and-panics", 101),
    ] {
        let ended = Process::start(ESSENTIAL, &["multi-thread", case]).wait();
        assert_eq!(ended.status.code(), Some(code), "{case}: {}", ended.stderr);
        let is_judged = ended.stderr.contains("essential task ended");
        assert_eq!(is_judged, code == 1, "{case}: {}", ended.stderr);
        if case.starts_with("blocks") {
            assert_eq!(ended.stdout, "shutting down: false\n", "{case}");
        }
    }
}

#[test]
fn a_constant_that_is_wrong_ends_the_start_with_the_reason() {
    for (argument, reason) in [
        (
            "cron",
            "the cron expression \"0 25 * * *\" of `wrong_constants::nightly` at tests/src/bin/exit/wrong_constants.rs:9 is invalid",
        ),
        (
            "pre-stop",
            "`pre_stop` counts within `grace`, so 5s of 5s leave no time to stop in",
        ),
    ] {
        let ended = Process::start(env!("CARGO_BIN_EXE_wrong_constants"), &[argument]).wait();
        assert_eq!(ended.status.code(), Some(101), "{}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
}
