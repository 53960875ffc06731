//! What only a whole process shows: signals, exit codes, stderr. Behaviours 11 to 13, 15, 18 to 20, 35 and 36.
#![cfg(unix)]

use bgtask_tests::process::Process;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

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
fn b12_a_signal_that_comes_while_the_program_starts_is_not_lost() {
    // Many at once, so that they are interrupted while they start; and many, since there is little to hit.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let process = Process::start(env!("CARGO_BIN_EXE_no_token"), &[]);
                    thread::sleep(Duration::from_micros(fastrand::u64(0..12_000)));
                    process.signal("TERM");
                    let status = process.wait().status;
                    // Before anybody watches for it, it ends the process as it ends any other.
                    assert!(status.success() || status.signal() == Some(15), "{status}");
                }
            });
        }
    });
}

/// The narrowest moment of all, which the test above meets once in some twenty thousand starts.
#[cfg(target_os = "linux")]
#[test]
fn b12_a_signal_that_comes_as_its_handler_is_installed_is_not_lost() {
    let interposer = std::env::temp_dir().join(format!("early_signal-{}.so", std::process::id()));
    // Where Rust links a program there is a C compiler.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&interposer)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/early_signal.c"))
        .arg("-ldl")
        .status()
        .expect("`cc` is installed");
    assert!(built.success());
    let mut process = Process::start_with(
        env!("CARGO_BIN_EXE_no_token"),
        &[],
        &[("LD_PRELOAD", interposer.as_os_str())],
    );
    // Had the signal been lost, it would wait for ever.
    let ended = process.comes_to("main dropped");
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

#[test]
fn b12_a_second_signal_leaves_at_once() {
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
        // That it does is said after the first has been heeded.
        process.wait_for_stderr("the first one was heard", |stderr| {
            stderr.contains("a second signal exits immediately")
        });
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

/// `nohup` starts a program so.
#[cfg(target_os = "linux")]
#[test]
fn b12_sighup_stays_ignored_where_the_process_was_started_so() {
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

#[test]
fn b12_sigquit_stays_the_operating_systems() {
    // Without the core that it may leave behind.
    let script = format!("ulimit -c 0; exec {SERVICE} drains");
    let mut process = Process::start("sh", &["-c", &script]);
    process.wait_for("ready");
    process.signal("QUIT");
    let ended = process.wait();
    assert_eq!(ended.status.signal(), Some(3), "{}", ended.stderr);
    assert!(!ended.stdout.contains("stopping"), "{}", ended.stdout);
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
    let line = "bgtask: task did not finish before the shutdown deadline name=awkward::hangs";
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
        ended
            .stderr
            .contains("main did not end before the deadline"),
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

const BACKLOG: &str = env!("CARGO_BIN_EXE_backlog");

/// What `… and 2 900 more that did not finish: 2 900 × a (waiting), …` comes to: the number, and the sum of the others.
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

#[test]
fn b07_a_backlog_is_summed_up_however_long_it_is_and_the_summary_comes_first() {
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
        // `main` has its report printed; a manager's goes where its program says, and what did not finish to stderr.
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
fn b15_a_call_without_a_manager_runs_on_a_runtime_and_warns_with_function_place_and_cure() {
    let ended = Process::start(env!("CARGO_BIN_EXE_no_manager"), &["tokio"]).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "accepted 1\n");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for part in [
        "no manager on this runtime",
        "no_manager::write_audit_line",
        "#[bgtask::main]",
        "src/bin/no_manager.rs",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn b15_the_end_of_a_runtime_without_a_manager_names_what_it_cuts_off() {
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

#[test]
fn b15_a_call_panics_without_a_runtime_and_where_a_manager_is_required() {
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
            "src/bin/no_manager.rs",
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

#[test]
fn b16_which_manager_a_call_belongs_to_where_there_is_one_and_where_there_are_two() {
    let ended = Process::start(env!("CARGO_BIN_EXE_by_hand"), &[]).wait();
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
    let mut process = Process::start(SERVICE, &["panics", "fails", "long-grace"]);
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
        .filter(|line| line.contains("the same name"))
        .collect();
    assert_eq!(told.len(), 1, "{}", ended.stderr);
    assert_eq!(told[0].matches("twins.rs:").count(), 2, "{}", told[0]);
    assert!(told[0].contains("send mail"));
}

#[test]
fn blocks_may_share_a_name_with_each_other_and_with_a_function() {
    let ended = Process::start(env!("CARGO_BIN_EXE_blocks"), &[]).wait();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stderr, "");
}

#[test]
fn at_start_up_a_debug_line_lists_the_functions_or_hints_that_there_are_none() {
    let ended = Process::start(env!("CARGO_BIN_EXE_traced"), &[]).wait();
    assert!(
        ended
            .stdout
            .contains("linked background functions count=1 functions=traced::works"),
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

#[test]
fn b34_a_program_that_ends_well_says_so_in_one_line_at_info_and_names_each_call_once_a_line() {
    let ended = Process::start(env!("CARGO_BIN_EXE_traced"), &[]).wait();
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
        assert!(span.contains("task{name=\"traced::works\" id="), "{line}");
        assert!(!event.contains("name=") && !event.contains("id="), "{line}");
    }
    assert!(
        quiet
            .iter()
            .any(|line| line.contains("shutdown (main returned) took"))
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
    let gave_up = "not restarted: its restart limit is reached name=scheduled::consume";
    assert!(ended.stderr.contains(gave_up), "{}", ended.stderr);
}

const ESSENTIAL: &str = env!("CARGO_BIN_EXE_essential");

#[test]
fn b25_an_essential_task_that_ends_because_main_has_returned_is_no_failure() {
    for runtime in ["multi-thread", "current-thread"] {
        // Often, since the two are on different threads; and as they cannot but meet: while `main`'s locals are dropped.
        let often = ["returns", "returns-blocking"].map(|case| (case, 20));
        let surely = ["drops-slowly", "drops-slowly-blocking"].map(|case| (case, 1));
        for (case, times) in often.into_iter().chain(surely) {
            // On one thread nothing ends while `main` is dropped.
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

#[test]
fn b25_an_essential_task_that_ends_while_main_waits_is_a_failure() {
    for (runtime, case) in [
        ("multi-thread", "waits"),
        ("multi-thread", "waits-blocking"),
        ("current-thread", "waits"),
        ("current-thread", "waits-blocking"),
    ] {
        let ended = Process::start(ESSENTIAL, &[runtime, case]).wait();
        assert_eq!(ended.status.code(), Some(1), "{runtime}, {case}");
        let reason = "shutdown (the essential task essential::ends";
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
}

#[test]
fn b25_an_essential_task_that_ends_while_main_is_polled_is_judged_after_that_poll() {
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
fn b30_main_starts_what_is_scheduled_and_a_signal_ends_it() {
    let mut process = Process::start(SCHEDULED, &["ticks"]);
    process.wait_for("consuming");
    process.wait_for("purging");
    process.wait_for("purging");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    // A run that was under way is drained too, and may end last.
    assert!(ended.stdout.contains("consumed\n"), "{}", ended.stdout);
    assert!(!ended.stderr.contains("state"), "{}", ended.stderr);
}

#[test]
fn b33_state_that_nobody_provides_is_named_at_the_shutdown_too() {
    let mut process = Process::start(SCHEDULED, &[]);
    process.wait_for("main waits");
    // After two seconds.
    process.wait_for_stderr("it is named at the start", |stderr| {
        stderr.contains("background function is waiting for state")
    });
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "main ends\n");
    for (name, state) in [("consume", "Bus"), ("purge", "Disk")] {
        let never_started = format!(
            "bgtask: background function never started: its state was not provided name=scheduled::{name} \
             state=scheduled::{state} location=tests/src/bin/scheduled.rs:"
        );
        assert!(ended.stderr.contains(&never_started), "{}", ended.stderr);
    }
}

/// How many looks have been printed, to their last line.
fn looks(stderr: &str) -> usize {
    stderr.matches("\n  schedule ").count()
}

#[test]
fn b35_a_signal_prints_what_runs_as_often_as_it_comes_and_ends_nothing() {
    let mut process = Process::start(env!("CARGO_BIN_EXE_looked_at"), &[]);
    process.wait_for("ready");
    for times in 1..=3 {
        process.signal("USR1");
        process.wait_for_stderr("a look is printed", |stderr| looks(stderr) == times);
    }
    process.signal("TERM");
    process.wait_for("stopping");
    process.signal("USR1");
    process.wait_for_stderr("a look is printed", |stderr| looks(stderr) == 4);
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
    let row = line("looked_at::resize  ");
    assert!(row.starts_with("  running"), "{row}");
    let places = "  tests/src/bin/looked_at.rs:";
    assert_eq!(row.matches(places).count(), 2, "{row}");
    assert!(
        line("  waiting").contains("looked_at::resize"),
        "{}",
        ended.stderr
    );
    assert!(line("looked_at::purge ").ends_with("in 1h") || line("in 59m").contains("purge"));
    assert!(line("Z, stopping").contains("(SIGTERM)"));
}

#[test]
fn b35_a_look_is_there_with_every_worker_stuck_and_so_is_the_report_of_what_takes_long() {
    for program in [
        env!("CARGO_BIN_EXE_stuck_multi_thread"),
        env!("CARGO_BIN_EXE_stuck_current_thread"),
    ] {
        let mut process = Process::start(program, &["long-grace"]);
        process.wait_for("ready");
        process.signal("USR2");
        process.wait_for_stderr("a look is printed", |stderr| {
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
        assert!(long[0].contains(" called_at=tests/src/bin/stuck_"));
    }
}

#[test]
fn b35_without_the_option_the_signal_does_what_it_always_does() {
    let mut process = Process::start(SERVICE, &[]);
    process.wait_for("ready");
    process.signal("USR1");
    let ended = process.wait();
    assert_eq!(ended.status.code(), None);
    // SIGUSR1, on Linux and elsewhere.
    assert!(matches!(ended.status.signal(), Some(10 | 30)));
}

#[test]
fn b12_stderr_held_does_not_keep_a_signal_from_starting_the_shutdown() {
    let mut process = Process::start(AWKWARD, &["holds-stderr"]);
    process.wait_for("held");
    process.signal("USR1");
    process.signal("USR1");
    process.signal("TERM");
    process.wait_for("stopping");
}
