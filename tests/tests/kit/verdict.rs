//! The verdict of a failing test: the text that names each background failure.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// Runs a test of `user.rs`, which must fail, and returns its output.
fn failing(test: &str) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("user::{test}")])
        .args(["--test-threads", "1"])
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("1 failed"), "{text}");
    text
}

#[track_caller]
fn assert_contains(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is not in: {text}");
    }
}

/// Behaviour 38.
#[test]
fn a_background_panic_fails_the_test_with_name_location_and_message() {
    assert_contains(
        &failing("a_background_panic"),
        &[
            "background work failed this test:",
            "`kit::user::save` panicked at tests/tests/kit/user.rs:10:5: page 7: the disk is full",
            "called at tests/tests/kit/user.rs:26:5",
            "`bgtask::testing::expect_panic(\"save\")`",
        ],
    );
}

/// Behaviour 38.
#[test]
fn an_unread_error_fails_the_test_with_name_location_and_message() {
    assert_contains(
        &failing("an_unread_error"),
        &[
            "`kit::user::send` returned an `Err` that was not awaited: no route to example.org",
            "called at tests/tests/kit/user.rs:32:5",
            "`bgtask::testing::expect_error(\"send\")`",
        ],
    );
}

/// Behaviour 38.
#[test]
fn an_error_in_a_handle_that_is_still_held_fails_the_test() {
    for test in [
        "an_error_in_a_handle_that_is_forgotten",
        "an_error_in_a_handle_that_a_server_holds",
    ] {
        let text = failing(test);
        let expected = "`kit::user::send` returned an `Err` that was not awaited; its handle is still held: no route to";
        assert_contains(
            &text,
            &[expected, "`bgtask::testing::expect_error(\"send\")`"],
        );
    }
    let text = failing("an_error_in_a_handle_that_is_awaited_no_more");
    assert_contains(&text, &["`kit::user::fails_at_the_end` returned an `Err`"]);
}

/// Behaviour 38.
#[test]
fn a_timeout_in_a_handle_that_is_still_held_fails_the_test() {
    let text = failing("a_timeout_in_a_handle_that_is_forgotten");
    let expected =
        "`kit::user::fetch` timed out after 20ms and was not awaited; its handle is still held";
    assert_contains(&text, &[expected]);
}

#[test]
fn a_text_of_several_lines_is_indented_in_the_verdict_and_moves_no_cursor() {
    let text = failing("an_error_with_a_text_of_several_lines");
    let expected = "no route to \\r\n          `forged`\\u{1b}[2J\n      called at";
    assert_contains(&text, &[expected]);
    assert!(!text.contains('\u{1b}'), "{text}");
}

/// Behaviour 38.
#[test]
fn a_declared_failure_that_does_not_happen_fails_the_test() {
    assert_contains(
        &failing("a_declared_panic_that_does_not_happen"),
        &["`kit::user::save` was expected to panic but did not"],
    );
}

/// Behaviour 38.
#[test]
fn a_wrong_count_names_the_locations_of_the_calls() {
    assert_contains(
        &failing("a_count_that_is_wrong"),
        &[
            "`kit::user::send` was called once, and 2 calls were expected",
            "at tests/tests/kit/user.rs:51:5 (id 1, not begun)",
        ],
    );
}

/// Behaviour 38.
#[test]
fn a_wrong_count_lists_the_outcome_of_each_call() {
    assert_contains(
        &failing("a_count_with_the_outcome_of_each_call"),
        &[
            "`kit::user::fetch` was called 2 times, and 3 calls were expected",
            "(id 1, aborted before it began)",
            "(id 2, timed out)",
        ],
    );
}

/// Behaviour 38.
#[test]
fn a_wrong_count_states_the_expected_count() {
    let too_many = failing("a_call_too_many");
    let expected = "`kit::user::poll_for_ever` was called 2 times, and 1 call was expected";
    assert_contains(&too_many, &[expected, ", running)"]);
    let expected = "`kit::user::send` was called once, and no call was expected";
    assert_contains(&failing("a_call_that_was_not_to_be"), &[expected]);
}

/// Behaviour 38.
#[test]
fn missing_state_fails_the_test() {
    for test in ["a_missing_state", "a_missing_state_under_a_kit"] {
        assert_contains(
            &failing(test),
            &[
                "background work failed this test:",
                "`needs the pool` was refused and was not awaited: no value was provided for its `State<kit::user::Pool>`",
                "called at tests/tests/kit/user.rs:",
                "if this is intended: await its handle",
            ],
        );
    }
}

#[test]
fn a_question_after_the_kit_has_finished_fails_with_the_remedy() {
    assert_contains(
        &failing("a_question_after_the_kit_has_finished"),
        &[
            "`assert_called()` was called where there is no test kit",
            "before `kit.finish().await`",
        ],
    );
}

/// Behaviour 38.
#[test]
fn a_declaration_covers_one_function_only() {
    let text = failing("a_declaration_of_another_function");
    assert_contains(&text, &["`kit::user::read` returned an `Err`"]);
    assert!(!text.contains("`kit::user::send`"), "{text}");
}

/// Behaviour 38.
#[test]
fn a_dropped_kit_reports_its_failures_and_does_not_hide_a_panic() {
    const NOTHING_DRAINED: &str = "a test kit was dropped without `finish().await`";
    const OWN: &str = "the test's own panic";
    let text = failing("a_kit_that_is_dropped_with_nothing_to_tell");
    assert_contains(&text, &[NOTHING_DRAINED, OWN]);
    let text = failing("a_kit_that_a_panic_drops");
    assert_contains(&text, &[OWN]);
    assert!(!text.contains(NOTHING_DRAINED), "{text}");
    let text = failing("a_kit_that_a_panic_drops_with_something_to_tell");
    assert_contains(&text, &[OWN, "`kit::user::send` returned an `Err`"]);
}

/// Behaviour 38.
#[test]
fn an_unknown_function_name_fails_with_a_suggestion() {
    assert_contains(
        &failing("a_name_that_no_function_has"),
        &[
            "there is no background function or block `sned` in this program; did you mean `kit::user::send`?",
        ],
    );
}

/// Behaviour 38.
#[test]
fn the_panic_of_the_test_itself_comes_first() {
    let text = failing("its_own_panic_and_a_background_one");
    let own = text.find("the test's own panic").expect("the own panic");
    let besides = text.find("in addition, background work failed this test:");
    assert!(besides.expect("the other one") > own, "{text}");
}

/// Behaviour 38.
#[test]
fn the_error_of_the_test_itself_comes_first() {
    let text = failing("its_own_error_and_a_background_panic");
    let own = text.find("the test's own error").expect("the own error");
    let other = text.find("background work failed this test:");
    assert!(other.expect("the other one") > own, "{text}");
}

/// Behaviour 38.
#[test]
fn without_the_attribute_the_verdict_is_the_same() {
    assert_contains(
        &failing("without_the_attribute"),
        &["`kit::user::save` panicked at", "page 7"],
    );
    assert_contains(
        &failing("a_kit_that_is_dropped"),
        &["`kit::user::send` returned an `Err` that was not awaited"],
    );
    assert_contains(
        &failing("the_kit_without_a_kit"),
        &["put `#[bgtask::test]` on the test, or start it with"],
    );
}

#[test]
fn a_failed_test_panics_at_one_of_its_own_lines() {
    for (test, line) in [
        ("a_background_panic", "async fn a_background_panic"),
        ("without_the_attribute", "kit.finish().await"),
        ("the_kit_without_a_kit", "testing::assert_not_called"),
        ("a_count_that_is_wrong", "testing::assert_called"),
        ("a_name_that_no_function_has", "testing::assert_not_called"),
        ("a_function_that_is_none", "testing::assert_not_called"),
        ("a_function_without_a_schedule", "testing::start_schedule"),
        ("idle_while_calls_are_held_back", "testing::idle().await"),
        ("idle_that_waits_for_ever", "testing::idle().await"),
        (
            "started_that_is_never_called",
            "testing::started(fetch).await",
        ),
        ("started_that_waits_for_its_turn", "waits.await"),
    ] {
        let text = failing(test);
        // The panic of a background function comes before it.
        let header = text
            .lines()
            .rfind(|line| line.starts_with("thread 'user::"));
        let location = header.and_then(|line| line.split_once(" panicked at "));
        let (_, location) = location.unwrap_or_else(|| panic!("{text}"));
        let mut parts = location.trim_end_matches(':').split(':');
        let (file, number) = (parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(file, "tests/tests/kit/user.rs", "{text}");
        let source = include_str!("user.rs");
        let number: usize = number.parse().unwrap();
        let found = source.lines().nth(number - 1).unwrap();
        assert!(found.contains(line), "{found}: {text}");
    }
}

/// Behaviour 39.
#[test]
fn work_that_does_not_end_fails_the_test_with_its_name() {
    assert_contains(
        &failing("work_that_does_not_end"),
        &[
            "`kit::user::poll_for_ever` had not ended 50ms after the test, and was aborted",
            "called at tests/tests/kit/user.rs:38:5",
            "takes a `ShutdownToken`, which has fired",
        ],
    );
}

/// Behaviour 38.
#[test]
fn an_unread_timeout_fails_the_test_with_name_location_and_message() {
    assert_contains(
        &failing("an_unread_timeout"),
        &[
            "`kit::user::fetch` timed out after 20ms and was not awaited",
            "called at tests/tests/kit/user.rs:",
            "`bgtask::testing::expect_timeout(\"fetch\")`",
        ],
    );
    assert_contains(
        &failing("a_declared_timeout_that_does_not_happen"),
        &["`kit::user::fetch` was expected to time out but did not"],
    );
}

#[test]
fn a_wait_that_takes_too_long_fails_the_test_and_names_the_calls_it_waits_for() {
    for test in [
        "idle_that_waits_for_ever",
        "idle_that_waits_for_ever_under_paused_time",
    ] {
        assert_contains(
            &failing(test),
            &[
                "`idle()` at tests/tests/kit/user.rs:",
                "has waited 50ms: these calls have not ended",
                "`kit::user::poll_for_ever`, running, called at tests/tests/kit/user.rs:",
                "`#[bgtask::test(wait = \"1m\")]`",
            ],
        );
    }
    assert_contains(
        &failing("started_that_is_never_called"),
        &[
            "`started(\"fetch\")` at tests/tests/kit/user.rs:",
            "has waited 50ms: the function was not called",
        ],
    );
    assert_contains(
        &failing("started_that_waits_for_its_turn"),
        &[
            "`started(\"send\")` at tests/tests/kit/user.rs:",
            "has waited 50ms: none of its calls has begun\n  at tests/tests/kit/user.rs:",
            "not begun)",
        ],
    );
}

/// The test harness captures the output of a test, so a test that hangs prints nothing otherwise.
#[test]
fn a_wait_that_cannot_end_because_the_test_thread_is_blocked_prints_so_at_once() {
    let path = env::temp_dir().join(format!("bgtask-kit-stderr-{}", std::process::id()));
    let stderr = fs::File::create(&path).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "user::the_tests_thread_is_blocked"])
        .env("STDERR", &path)
        .stdout(Stdio::null())
        .stderr(stderr)
        .status()
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    assert!(!status.success());
    assert_contains(
        &text,
        &[
            "the test cannot fail with this message, because something blocks its thread",
            "`kit::user::blocks_a_thread`, ",
        ],
    );
}

#[test]
fn a_function_that_is_no_background_function_fails_with_its_own_message() {
    assert_contains(
        &failing("a_function_that_is_none"),
        &[
            "`kit::user::no_background_function` returns a `TaskHandle` but is not a background function",
        ],
    );
    assert_contains(
        &failing("a_function_without_a_schedule"),
        &[
            "`kit::user::fetch` has no schedule: it has none of the options `every`, `cron` and `on_start`",
        ],
    );
}

#[test]
fn an_inline_call_that_waits_for_its_caller_fails_the_test() {
    assert_contains(
        &failing("an_inline_call_that_waits_for_its_caller"),
        &[
            "`kit::user::poll_for_ever`, called at tests/tests/kit/user.rs:",
            "runs inline and has not ended within 50ms",
        ],
    );
}

/// As cargo-nextest does: each test in its own process, with no output captured.
/// Behaviour 38.
#[test]
fn a_runner_with_a_process_for_each_test_shows_the_verdict() {
    let run = |test: &str| {
        Command::new(env::current_exe().unwrap())
            .args(["--include-ignored", "--exact", test, "--nocapture"])
            .output()
            .unwrap()
    };
    assert!(
        run("declared::declared_failures_fail_no_test")
            .status
            .success()
    );
    let failed = run("user::a_background_panic");
    assert!(!failed.status.success());
    let text = String::from_utf8_lossy(&failed.stderr);
    assert_contains(&text, &["background work failed this test:"]);
}

#[test]
fn waiting_for_held_calls_fails_with_their_names() {
    assert_contains(
        &failing("idle_while_calls_are_held_back"),
        &["`pause_dispatch()` holds back kit::user::send"],
    );
}

/// The messages in `docs/testing.md` are those of the tests in `user.rs`.
#[test]
fn the_page_on_testing_shows_the_output_of_failing_tests() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
    let page = fs::read_to_string(page).unwrap();
    for test in [
        "a_background_panic",
        "an_unread_error",
        "an_unread_timeout",
        "an_error_in_a_handle_that_is_forgotten",
        "a_timeout_in_a_handle_that_is_forgotten",
        "a_missing_state",
        "work_that_does_not_end",
        "a_declared_panic_that_does_not_happen",
    ] {
        let text = failing(test);
        let (_, verdict) = text.split_once("background work failed").unwrap();
        // The verdict is indented, and the later lines of the harness are not.
        let lines = verdict.lines().enumerate();
        let lines = lines.take_while(|(index, line)| *index == 0 || line.starts_with("  "));
        let verdict: Vec<_> = lines.map(|(_, line)| line).collect();
        let verdict = format!("background work failed{}", verdict.join("\n"));
        assert!(page.contains(&verdict), "{test} prints: {verdict}");
    }
}

/// Behaviour 39.
#[test]
fn a_kept_value_that_panics_while_it_is_dropped_fails_the_test() {
    let text = failing("a_kept_value_that_panics_while_it_is_dropped");
    let expected =
        "a value that `until_drained()` kept panicked while it was dropped: while it was dropped";
    assert_contains(&text, &[expected]);
}
