//! The stderr of a program without a subscriber, and the log of one with a subscriber.

use crate::support::{HARD_TO_EXIT, SCHEDULED, SERVICE};
use bgtask_tests::process::Process;

/// Behaviour 7.
#[test]
fn a_subscriber_that_panics_does_not_delay_the_exit_and_late_tasks_are_written_to_stderr() {
    let ended = Process::start(HARD_TO_EXIT, &["subscriber-panics"]).wait();
    assert_eq!(ended.status.code(), Some(7));
    let line = "bgtask: task did not finish before the shutdown deadline name=hard_to_exit::hangs";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}

const BACKLOG: &str = env!("CARGO_BIN_EXE_backlog");

/// Parses `… and 2 900 more that did not finish: 2 900 × a (waiting), …`: returns the number, and the sum of the groups.
fn further(line: &str) -> (u64, u64) {
    let (count, groups) = line.split_once(" more that did not finish: ").unwrap();
    let number = |text: &str| -> u64 {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let groups = groups.split(", ");
    let sum = groups.map(|group| number(group.split_once(" × ").unwrap().0));
    (number(count), sum.sum())
}

/// Behaviour 7.
#[test]
fn a_backlog_of_any_length_is_summed_up_and_the_summary_comes_first() {
    for (who, what) in [
        ("main", "waits"),
        ("main", "runs"),
        ("main-current-thread", "waits"),
        ("main-current-thread", "runs"),
        ("manager", "waits"),
        ("manager", "runs"),
    ] {
        let ended = Process::start(BACKLOG, &[who, what, "3000", "100"]).wait();
        assert_eq!(ended.status.code(), Some(0), "{who}: {}", ended.stderr);
        assert!(!ended.stderr.contains("is stuck"), "{}", ended.stderr);
        // `main` prints its report; a program with a manager prints its own, and late tasks are logged to stderr.
        let (report, first) = if who == "manager" {
            let lines: Vec<_> = ended.stderr.lines().collect();
            let named = lines
                .iter()
                .filter(|line| line.contains("task did not finish before the shutdown deadline"));
            assert_eq!(named.count(), 100, "{}", ended.stderr);
            assert_eq!(lines.len(), 102, "{}", ended.stderr);
            assert!(
                lines[101]
                    .contains("more tasks did not finish before the shutdown deadline count=2900")
            );
            (ended.stdout, lines[0].to_owned())
        } else {
            let first = ended.stderr.lines().next().unwrap_or_default().to_owned();
            (ended.stderr, first)
        };
        if who == "manager" {
            assert!(
                first.starts_with("bgtask: shutdown complete reason="),
                "{first}"
            );
            assert!(first.contains("stragglers=3000"), "{first}");
        } else {
            assert!(first.contains("0 drained, 3000 did not finish"), "{first}");
        }
        let table = report
            .lines()
            .filter(|line| line.contains("backlog::") && !line.contains("…"));
        assert_eq!(table.count(), 100, "{report}");
        let rest = report
            .lines()
            .find(|line| line.contains("more that did not finish"));
        assert_eq!(
            further(rest.unwrap_or_default()),
            (2_900, 2_900),
            "{report}"
        );
    }
}

/// Behaviours 19 and 20.
#[test]
fn without_a_subscriber_panics_and_unread_errors_go_to_stderr() {
    let mut process = Process::start(SERVICE, &["panics", "fails", "long-grace"]);
    process.wait_for("ready");
    process.signal("TERM");
    let ended = process.wait();
    // It may follow a part of the panic message that the other worker prints.
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

/// Behaviour 36.
#[test]
fn two_functions_with_one_name_are_logged_at_start_up_with_both_locations() {
    let ended = Process::start(env!("CARGO_BIN_EXE_duplicate_names"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0));
    let lines: Vec<_> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("the same name"))
        .collect();
    assert_eq!(lines.len(), 1, "{}", ended.stderr);
    assert_eq!(
        lines[0].matches("duplicate_names.rs:").count(),
        2,
        "{}",
        lines[0]
    );
    assert!(lines[0].contains("send mail"));
}

#[test]
fn blocks_may_share_a_name_with_each_other_and_with_a_function() {
    let ended = Process::start(env!("CARGO_BIN_EXE_blocks_with_one_name"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_debug_line_at_start_up_lists_the_functions_or_hints_that_there_are_none() {
    let ended = Process::start(env!("CARGO_BIN_EXE_with_subscriber"), &[]).wait();
    assert!(
        ended
            .stdout
            .contains("linked background functions count=1 functions=with_subscriber::works"),
        "{}",
        ended.stdout
    );
    let ended = Process::start(env!("CARGO_BIN_EXE_with_subscriber_without_functions"), &[]).wait();
    assert!(
        ended.stdout.contains("no linked background functions"),
        "{}",
        ended.stdout
    );
}

/// Behaviour 34.
#[test]
fn a_clean_program_logs_one_line_at_info_and_names_each_call_once_a_line() {
    let ended = Process::start(env!("CARGO_BIN_EXE_with_subscriber"), &[]).wait();
    let lines = ended.stdout.lines();
    let (quiet, loud): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains("DEBUG"));
    let [end] = loud[..] else {
        panic!("{}", ended.stdout);
    };
    assert!(
        end.contains(" INFO bgtask: shutdown complete reason=main returned"),
        "{end}"
    );
    for message in ["task started", "task finished"] {
        let line = quiet.iter().find(|line| line.contains(message));
        let line = line.expect("at debug");
        let (span, event) = line.split_once("}: ").expect("a span");
        assert!(
            span.contains("task{name=\"with_subscriber::works\" id="),
            "{line}"
        );
        assert!(!event.contains("name=") && !event.contains("id="), "{line}");
    }
    assert!(
        quiet
            .iter()
            .any(|line| line.contains("shutdown (main returned) took"))
    );
}

/// Behaviour 33.
#[test]
fn missing_state_is_named_at_the_shutdown_too() {
    let mut process = Process::start(SCHEDULED, &[]);
    process.wait_for("main waits");
    // After two seconds.
    process.wait_for_stderr("it is named at the start", |stderr| {
        stderr.contains("is waiting for state")
    });
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "main ends\n");
    for (name, state) in [("consume", "Bus"), ("purge", "Disk")] {
        let never_started = format!(
            "bgtask: background function never started: its state was not provided name=scheduled::{name} \
             state=scheduled::{state} location=tests/src/bin/exit/scheduled.rs:"
        );
        assert!(ended.stderr.contains(&never_started), "{}", ended.stderr);
    }
}
