//! `#[bgtask::main]` on functions with arguments: what they return to their caller, and when the process exits instead.

use bgtask_tests::process::{Ended, Process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_main_function");

/// Starts a case and terminates it once it serves.
fn terminated(case: &str) -> Ended {
    let mut process = Process::start(PROGRAM, &[case]);
    process.wait_for("serving alpha");
    process.signal("TERM");
    process.wait()
}

/// Behaviour 11.
#[test]
fn a_function_returns_its_output_to_its_caller_after_the_drain() {
    for (case, output) in [("serves", "Ok(5)"), ("fails", "Err(\"alpha failed\")")] {
        let ended = terminated(case);
        assert_eq!(ended.stdout, format!("drained alpha\nreturned {output}\n"));
        assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("shutdown (SIGTERM)"),
            "{}",
            ended.stderr
        );
    }
}

/// Behaviour 11.
#[test]
fn a_function_runs_again_after_it_has_returned() {
    let ended = Process::start(PROGRAM, &["at-once"]).wait();
    let expected = "drained alpha\nreturned alpha\ndrained beta\nreturned beta\n";
    assert_eq!(ended.stdout, expected, "{}", ended.stderr);
    assert_eq!(ended.status.code(), Some(3));
}

/// Behaviour 12.
#[test]
fn each_run_of_a_function_has_a_first_signal_of_its_own() {
    let mut process = Process::start(PROGRAM, &["twice"]);
    process.wait_for("serving alpha");
    process.signal("TERM");
    process.wait_for("serving beta");
    process.signal("INT");
    let ended = process.wait();
    assert_eq!(
        ended.stdout, "drained beta\nreturned Ok(4)\n",
        "{}",
        ended.stderr
    );
    assert_eq!(ended.status.code(), Some(3));
}

/// Behaviour 12.
#[test]
fn a_signal_ends_the_caller_of_a_function_that_has_returned() {
    let mut process = Process::start(PROGRAM, &["goes-on"]);
    process.wait_for("returned alpha");
    process.signal("TERM");
    assert_eq!(process.wait().status.code(), Some(143));
}

/// Behaviour 12.
#[test]
fn a_function_that_is_dropped_ends_the_process_after_the_drain() {
    let ended = terminated("no-token");
    assert_eq!(ended.stdout, "drained alpha\n");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let ended = terminated("late");
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
}

/// Behaviour 25.
#[test]
fn an_essential_task_that_ends_early_fails_a_function_that_succeeds() {
    let ended = Process::start(PROGRAM, &["essential"]).wait();
    assert_eq!((&*ended.stdout, ended.status.code()), ("", Some(1)));
    let ended = Process::start(PROGRAM, &["essential-fails"]).wait();
    assert_eq!(ended.stdout, "returned Err(\"its own error\")\n");
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
}

/// Behaviour 11.
#[test]
fn a_function_that_panics_drains_and_then_panics_into_its_caller() {
    let ended = Process::start(PROGRAM, &["panics"]).wait();
    assert_eq!(
        (&*ended.stdout, ended.status.code()),
        ("drained alpha\n", Some(101))
    );
    assert!(ended.stderr.contains("its own panic"), "{}", ended.stderr);
}
