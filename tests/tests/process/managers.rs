//! Programs with no manager, with one, and with several.

use crate::support::{HARD_TO_EXIT, SERVICE};
use bgtask_tests::process::Process;
use std::process::Command;

/// Behaviour 18.
#[test]
fn a_call_from_a_runtime_without_a_manager_uses_that_of_main() {
    let ended = Process::start(HARD_TO_EXIT, &["called-from-another-runtime"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert_eq!(ended.stdout, "drained\n");
}

/// Behaviour 15.
#[test]
fn a_call_without_a_manager_runs_on_a_runtime_and_warns_with_function_location_and_remedy() {
    let ended = Process::start(env!("CARGO_BIN_EXE_no_manager"), &["tokio"]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "accepted 1\n");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for part in [
        "no manager on this runtime",
        "no_manager::write_audit_line",
        "#[bgtask::main]",
        "src/bin/managers/no_manager.rs",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

/// Behaviour 15.
#[test]
fn the_end_of_a_runtime_without_a_manager_names_the_tasks_it_aborts() {
    let ended = Process::start(env!("CARGO_BIN_EXE_no_manager"), &["cut off"]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().collect();
    let [warning, cut_off] = lines[..] else {
        panic!("{lines:?}");
    };
    assert!(warning.contains("no_manager::never_ends"), "{warning}");
    assert!(
        cut_off.contains("runtime ended while background work was running"),
        "{cut_off}"
    );
    assert!(
        cut_off.contains("running=1 tasks=no_manager::never_ends (id 1)"),
        "{cut_off}"
    );
}

/// Behaviour 15.
#[test]
fn a_call_panics_without_a_runtime_and_if_a_manager_is_required() {
    let start = |argument, environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_no_manager"));
        command.arg(argument).envs(environment.iter().copied());
        command.output().unwrap()
    };
    let required = [("BGTASK_REQUIRE_MANAGER", "1")];
    for ended in [
        start("nothing", &[]),
        start("required", &[]),
        start("tokio", &required),
    ] {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(101), "{stderr}");
        for part in [
            "no_manager::write_audit_line",
            "#[bgtask::main]",
            "src/bin/managers/no_manager.rs",
        ] {
            assert!(stderr.contains(part), "{stderr}");
        }
    }
    assert!(
        start("tokio", &[("BGTASK_REQUIRE_MANAGER", "0")])
            .status
            .success()
    );
}

/// Behaviour 16.
#[test]
fn a_call_finds_the_only_manager_and_is_ambiguous_with_two() {
    let ended = Process::start(env!("CARGO_BIN_EXE_two_managers"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let [alone, elsewhere, taken_over, several] = lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(alone, "a plain thread: 1");
    assert_eq!(elsewhere, "another runtime: 1, and the first one's 1");
    assert_eq!(taken_over, "the second takes over: 1");
    assert!(several.contains("there are several bgtask managers"));
    assert!(several.contains("manager.enter()"));
}

/// Behaviour 16.
#[test]
fn a_second_manager_beside_that_of_main_keeps_its_own_counts() {
    let ended = Process::start(env!("CARGO_BIN_EXE_manager_beside_main"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines, ["main's: 100", "the other's: 10", "main's: 102"]);
}

/// Behaviour 18.
#[test]
fn a_call_works_from_a_plain_thread() {
    let mut process = Process::start(SERVICE, &["from-a-plain-thread"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    assert!(ended.stdout.ends_with("drained\n"), "{}", ended.stdout);
}
