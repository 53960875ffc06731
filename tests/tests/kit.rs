//! The test kit: behaviours 38 to 40.

#[path = "kit/user.rs"]
mod user;

use bgtask::testing::{self, Kit};
use bgtask::{Group, Outcome, Phase, RefusedReason, ShutdownToken, TaskError, background};
use bgtask_tests::{FOREVER, blocking_until, runtimes};
use rstest::rstest;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use std::{env, fs};

/// What one of the tests of `user.rs` prints. It has to fail.
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
fn assert_says(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is not in: {text}");
    }
}

#[test]
fn b38_a_background_panic_fails_the_test_with_name_place_and_message() {
    assert_says(
        &failing("a_background_panic"),
        &[
            "background work failed this test:",
            "`kit::user::save` panicked at tests/tests/kit/user.rs:10:5: page 7: the disk is full",
            "called at tests/tests/kit/user.rs:26:5",
            "`bgtask::testing::expect_panic(\"save\")`",
        ],
    );
}

#[test]
fn b38_an_error_that_nobody_looked_at_fails_the_test_with_name_place_and_message() {
    assert_says(
        &failing("an_error_that_nobody_looks_at"),
        &[
            "`kit::user::send` returned an `Err` that was not awaited: no route to example.org",
            "called at tests/tests/kit/user.rs:32:5",
            "`bgtask::testing::expect_error(\"send\")`",
        ],
    );
}

#[test]
fn b38_an_error_in_a_handle_that_is_still_held_fails_the_test() {
    for test in [
        "an_error_in_a_handle_that_is_forgotten",
        "an_error_in_a_handle_that_a_server_holds",
    ] {
        let text = failing(test);
        let says = "`kit::user::send` returned an `Err` that was not awaited; its handle is still held: no route to";
        assert_says(&text, &[says, "`bgtask::testing::expect_error(\"send\")`"]);
    }
    let text = failing("an_error_in_a_handle_that_is_awaited_no_more");
    assert_says(&text, &["`kit::user::fails_at_the_end` returned an `Err`"]);
}

#[test]
fn b38_a_timeout_in_a_handle_that_is_still_held_fails_the_test() {
    let text = failing("a_timeout_in_a_handle_that_is_forgotten");
    let says =
        "`kit::user::fetch` timed out after 20ms and was not awaited; its handle is still held";
    assert_says(&text, &[says]);
}

#[bgtask::test]
async fn b38_a_failure_in_a_handle_that_is_still_held_can_be_declared() {
    testing::expect_error(user::fails_at_the_end);
    std::mem::forget(user::fails_at_the_end());
}

/// The handles get their outcomes only when the drain fires the tasks' tokens, and are awaited on threads that may be late.
async fn servers_that_look_at_their_outcomes() {
    for _ in 0..200 {
        tokio::spawn(async {
            let outcome = user::fails_at_the_end().await;
            assert_eq!(outcome, Ok(Err("not flushed".to_owned())));
        });
    }
    while testing::runs(user::fails_at_the_end) < 200 {
        testing::started(user::fails_at_the_end).await;
        tokio::task::yield_now().await;
    }
}

#[bgtask::test]
async fn b38_what_a_server_that_lives_on_awaits_is_looked_at() {
    servers_that_look_at_their_outcomes().await;
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn b38_what_a_server_on_other_threads_awaits_is_looked_at() {
    servers_that_look_at_their_outcomes().await;
}

#[test]
fn a_text_over_several_lines_is_indented_in_the_verdict_and_moves_no_cursor() {
    let text = failing("an_error_with_a_text_over_several_lines");
    let says = "no route to \\r\n          `forged`\\u{1b}[2J\n      called at";
    assert_says(&text, &[says]);
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn b38_what_was_declared_and_did_not_happen_fails_the_test() {
    assert_says(
        &failing("a_declared_panic_that_does_not_happen"),
        &["`kit::user::save` was expected to panic but did not"],
    );
}

#[test]
fn b38_a_wrong_count_names_the_places_of_the_calls() {
    assert_says(
        &failing("a_count_that_is_wrong"),
        &[
            "`kit::user::send` was called once, and 2 calls were expected",
            "at tests/tests/kit/user.rs:51:5 (id 1, not begun)",
        ],
    );
}

#[test]
fn b38_a_wrong_count_tells_what_became_of_each_call() {
    assert_says(
        &failing("a_count_that_tells_what_became_of_each_call"),
        &[
            "`kit::user::fetch` was called 2 times, and 3 calls were expected",
            "(id 1, aborted before it began)",
            "(id 2, timed out)",
        ],
    );
}

#[test]
fn b38_a_wrong_count_tells_what_was_expected() {
    let too_many = failing("a_call_too_many");
    let says = "`kit::user::poll_for_ever` was called 2 times, and 1 call was expected";
    assert_says(&too_many, &[says, ", running)"]);
    let says = "`kit::user::send` was called once, and no call was expected";
    assert_says(&failing("a_call_that_was_not_to_be"), &[says]);
}

#[test]
fn b38_a_state_that_nobody_provides_fails_the_test() {
    for test in [
        "a_state_that_nobody_provides",
        "a_state_that_nobody_provides_to_a_kit",
    ] {
        assert_says(
            &failing(test),
            &[
                "background work failed this test:",
                "`needs the pool` was refused and was not awaited: nobody has provided its `State<kit::user::Pool>`",
                "called at tests/tests/kit/user.rs:",
                "if this is intended: await its handle",
            ],
        );
    }
}

#[bgtask::test]
async fn b38_a_refusal_that_is_looked_at_or_asked_for_fails_no_test() {
    let missing = user::needs_the_pool().await;
    assert!(
        matches!(
            missing,
            Err(TaskError::Refused(RefusedReason::MissingState(_)))
        ),
        "{missing:?}"
    );
    let missing = user::needs_the_pool().abort_on_drop().await;
    assert!(matches!(missing, Err(TaskError::Refused(_))));

    let group = Group::new();
    group.close();
    let refused = group.run(|| quiet());
    assert!(refused.is_finished());
    let (first, _second, refused) = (in_line(), in_line(), in_line());
    assert!(refused.is_finished());
    first.cancel();
}

#[test]
fn a_question_after_the_kit_has_finished_says_when_to_ask() {
    assert_says(
        &failing("a_question_after_the_kit_has_finished"),
        &[
            "`assert_called()` was called where there is no test kit",
            "before `kit.finish().await`",
        ],
    );
}

#[test]
fn b38_a_declaration_is_of_one_function_alone() {
    let text = failing("a_declaration_of_another_function");
    assert_says(&text, &["`kit::user::read` returned an `Err`"]);
    assert!(!text.contains("`kit::user::send`"), "{text}");
}

#[test]
fn b38_a_kit_that_is_dropped_tells_what_it_has_to_tell_and_is_not_in_the_way_of_a_panic() {
    const NOTHING_DRAINED: &str = "a test kit was dropped without `finish().await`";
    const OWN: &str = "the test's own panic";
    let text = failing("a_kit_that_is_dropped_with_nothing_to_tell");
    assert_says(&text, &[NOTHING_DRAINED, OWN]);
    let text = failing("a_kit_that_a_panic_drops");
    assert_says(&text, &[OWN]);
    assert!(!text.contains(NOTHING_DRAINED), "{text}");
    let text = failing("a_kit_that_a_panic_drops_with_something_to_tell");
    assert_says(&text, &[OWN, "`kit::user::send` returned an `Err`"]);
}

#[test]
fn b38_a_name_that_no_function_has_is_told_with_those_that_there_are() {
    assert_says(
        &failing("a_name_that_no_function_has"),
        &[
            "there is no background function or block `sned` in this program; did you mean `kit::user::send`?",
        ],
    );
}

#[test]
fn b38_the_tests_own_panic_comes_first() {
    let text = failing("its_own_panic_and_a_background_one");
    let own = text.find("the test's own panic").expect("the own panic");
    let besides = text.find("in addition, background work failed this test:");
    assert!(besides.expect("the other one") > own, "{text}");
}

#[test]
fn b38_the_tests_own_error_comes_first() {
    let text = failing("its_own_error_and_a_background_panic");
    let own = text.find("the test's own error").expect("the own error");
    let other = text.find("background work failed this test:");
    assert!(other.expect("the other one") > own, "{text}");
}

#[test]
fn b38_without_the_attribute_it_is_the_same() {
    assert_says(
        &failing("without_the_attribute"),
        &["`kit::user::save` panicked at", "page 7"],
    );
    assert_says(
        &failing("a_kit_that_is_dropped"),
        &["`kit::user::send` returned an `Err` that was not awaited"],
    );
    assert_says(
        &failing("the_kit_without_a_kit"),
        &["put `#[bgtask::test]` on the test, or start it with"],
    );
}

#[test]
fn what_fails_a_test_panics_at_a_line_of_the_test() {
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
        // A background function's own panic comes before it.
        let header = text
            .lines()
            .rfind(|line| line.starts_with("thread 'user::"));
        let place = header.and_then(|line| line.split_once(" panicked at "));
        let (_, place) = place.unwrap_or_else(|| panic!("{text}"));
        let mut parts = place.trim_end_matches(':').split(':');
        let (file, number) = (parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(file, "tests/tests/kit/user.rs", "{text}");
        let source = include_str!("kit/user.rs");
        let number: usize = number.parse().unwrap();
        let found = source.lines().nth(number - 1).unwrap();
        assert!(found.contains(line), "{found}: {text}");
    }
}

#[test]
fn b39_work_that_does_not_end_fails_the_test_named() {
    assert_says(
        &failing("work_that_does_not_end"),
        &[
            "`kit::user::poll_for_ever` had not ended 50ms after the test, and was aborted",
            "called at tests/tests/kit/user.rs:38:5",
            "takes a `ShutdownToken`, which has fired",
        ],
    );
}

#[test]
fn b38_a_timeout_that_nobody_looked_at_fails_the_test_with_name_place_and_message() {
    assert_says(
        &failing("a_timeout_that_nobody_looks_at"),
        &[
            "`kit::user::fetch` timed out after 20ms and was not awaited",
            "called at tests/tests/kit/user.rs:",
            "`bgtask::testing::expect_timeout(\"fetch\")`",
        ],
    );
    assert_says(
        &failing("a_declared_timeout_that_does_not_happen"),
        &["`kit::user::fetch` was expected to time out but did not"],
    );
}

#[test]
fn a_wait_that_takes_too_long_fails_the_test_and_names_what_it_waits_for() {
    for test in [
        "idle_that_waits_for_ever",
        "idle_that_waits_for_ever_under_paused_time",
    ] {
        assert_says(
            &failing(test),
            &[
                "`idle()` at tests/tests/kit/user.rs:",
                "has waited 50ms: these calls have not ended",
                "`kit::user::poll_for_ever`, running, called at tests/tests/kit/user.rs:",
                "`#[bgtask::test(wait = \"1m\")]`",
            ],
        );
    }
    assert_says(
        &failing("started_that_is_never_called"),
        &[
            "`started(\"fetch\")` at tests/tests/kit/user.rs:",
            "has waited 50ms: the function was not called",
        ],
    );
    assert_says(
        &failing("started_that_waits_for_its_turn"),
        &[
            "`started(\"send\")` at tests/tests/kit/user.rs:",
            "has waited 50ms: none of its calls has begun\n  at tests/tests/kit/user.rs:",
            "not begun)",
        ],
    );
}

/// The test harness catches what a test prints, so a test that hangs says nothing otherwise.
#[test]
fn a_wait_that_cannot_end_since_the_tests_thread_is_blocked_says_so_at_once() {
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
    assert_says(
        &text,
        &[
            "the test cannot fail with this message, because something blocks its thread",
            "`kit::user::blocks_a_thread`, ",
        ],
    );
}

#[test]
fn a_function_that_is_no_background_function_is_told_apart() {
    assert_says(
        &failing("a_function_that_is_none"),
        &[
            "`kit::user::no_background_function` returns a `TaskHandle` but is not a background function",
        ],
    );
    assert_says(
        &failing("a_function_without_a_schedule"),
        &[
            "`kit::user::fetch` has no schedule: it has none of the options `every`, `cron` and `on_start`",
        ],
    );
}

#[test]
fn an_inline_call_that_waits_for_its_caller_fails_the_test() {
    assert_says(
        &failing("an_inline_call_that_waits_for_its_caller"),
        &[
            "`kit::user::poll_for_ever`, called at tests/tests/kit/user.rs:",
            "runs inline and has not ended within 50ms",
        ],
    );
}

/// As cargo-nextest does: each in a process of its own, with nothing caught.
#[test]
fn b38_a_runner_with_a_process_for_each_test_sees_the_verdict() {
    let run = |test: &str| {
        Command::new(env::current_exe().unwrap())
            .args(["--include-ignored", "--exact", test, "--nocapture"])
            .output()
            .unwrap()
    };
    assert!(run("b38_declared_failures_fail_no_test").status.success());
    let failed = run("user::a_background_panic");
    assert!(!failed.status.success());
    let text = String::from_utf8_lossy(&failed.stderr);
    assert_says(&text, &["background work failed this test:"]);
}

#[test]
fn waiting_for_calls_that_are_held_back_says_so() {
    assert_says(
        &failing("idle_while_calls_are_held_back"),
        &["`pause_dispatch()` holds back kit::user::send"],
    );
}

/// The messages in `docs/testing.md` are those of the tests in `user.rs`.
#[test]
fn the_page_on_testing_shows_what_failing_tests_say() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
    let page = fs::read_to_string(page).unwrap();
    for test in [
        "a_background_panic",
        "an_error_that_nobody_looks_at",
        "a_timeout_that_nobody_looks_at",
        "an_error_in_a_handle_that_is_forgotten",
        "a_timeout_in_a_handle_that_is_forgotten",
        "a_state_that_nobody_provides",
        "work_that_does_not_end",
        "a_declared_panic_that_does_not_happen",
    ] {
        let text = failing(test);
        let (_, verdict) = text.split_once("background work failed").unwrap();
        // What it names is indented; what the harness says after that is not.
        let lines = verdict.lines().enumerate();
        let lines = lines.take_while(|(index, line)| *index == 0 || line.starts_with("  "));
        let verdict: Vec<_> = lines.map(|(_, line)| line).collect();
        let verdict = format!("background work failed{}", verdict.join("\n"));
        assert!(page.contains(&verdict), "{test} says: {verdict}");
    }
}

#[background]
async fn doubled(number: u32) -> u32 {
    number * 2
}

use doubled as super_doubled;

#[background]
fn doubled_slowly(number: u32) -> u32 {
    number * 2
}

#[background(log = "off")]
async fn breaks() {
    panic!("as declared");
}

#[background(log = "off")]
async fn fails() -> Result<(), String> {
    Err("as declared".to_owned())
}

#[background(log = "off")]
async fn quiet() {}

#[background]
async fn until_told(token: ShutdownToken) -> bool {
    token.cancelled().await;
    true
}

#[bgtask::test]
async fn b38_declared_failures_fail_no_test() {
    testing::expect_panic("breaks");
    breaks();
    fails();
    testing::idle().await;
    testing::expect_error("fails");
}

#[bgtask::test]
async fn b38_an_error_that_somebody_looked_at_fails_no_test() {
    assert_eq!(fails().await, Ok(Err("as declared".to_owned())));
}

#[bgtask::test]
async fn b38_an_error_that_was_declared_may_be_looked_at() {
    testing::expect_error("fails");
    assert_eq!(fails().await, Ok(Err("as declared".to_owned())));
}

#[bgtask::test]
#[should_panic(expected = "as declared")]
async fn b38_should_panic_sees_a_background_panic() {
    breaks();
}

#[bgtask::test]
#[should_panic(expected = "its own")]
async fn b38_should_panic_sees_the_tests_own_panic_first() {
    breaks();
    testing::started("breaks").await;
    panic!("its own");
}

#[bgtask::test]
async fn b38_a_test_may_return_a_result() -> Result<(), TaskError> {
    assert_eq!(doubled(2).await?, 4);
    Ok(())
}

#[rstest]
#[case(1, 2)]
#[case(4, 8)]
#[bgtask::test]
async fn b38_rstest_gives_parameters(#[case] number: u32, #[case] expected: u32) {
    assert_eq!(doubled(number).await, Ok(expected));
    testing::assert_called("doubled", 1);
}

static ENDED: AtomicU32 = AtomicU32::new(0);

#[background]
async fn ends_after_the_test(token: ShutdownToken) {
    token.cancelled().await;
    // Relaxed: read after the process has joined whoever wrote it.
    ENDED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn b39_work_that_still_runs_is_drained_at_the_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let kit = Kit::install().unwrap();
        ends_after_the_test();
        kit.finish().await;
    });
    assert_eq!(ENDED.load(Ordering::Relaxed), 1);
}

#[bgtask::test(drain = "500ms")]
async fn b39_a_shutdown_in_a_test_shows_how_code_drains(shutdown: ShutdownToken) {
    let told = until_told();
    let stuck = user::poll_for_ever();
    testing::started("poll_for_ever").await;
    let report = testing::shutdown().await;
    assert!(shutdown.is_cancelled());
    assert_eq!(told.await, Ok(true));
    assert_eq!(stuck.await, Err(TaskError::Aborted));
    // Its report names it, so it does not fail the test.
    let late: Vec<_> = report.stragglers.iter().map(|late| late.outcome).collect();
    assert_eq!(late, [Outcome::Aborted]);
    assert!(matches!(doubled(1).await, Err(TaskError::Refused(_))));
    testing::assert_not_called("doubled");
}

#[background]
async fn an_hour_later() -> u32 {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    doubled(21).await.unwrap()
}

#[bgtask::test(start_paused = true)]
async fn b40_an_hour_passes_in_no_time() {
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    an_hour_later();
    testing::idle().await;
    testing::assert_called("doubled", 1);
    assert!(paused.elapsed() >= Duration::from_secs(3600));
    assert!(real.elapsed() < FOREVER);
}

#[bgtask::test(start_paused = true)]
async fn b40_the_drain_at_the_end_moves_paused_time_too() {
    an_hour_later();
}

#[background(timeout = "1h")]
async fn hangs() {
    std::future::pending().await
}

#[background(retry(max = 3, backoff = "constant", base = "10m", cap = "1h"))]
async fn succeeds_at_last(attempts: Arc<AtomicU32>) -> Result<u32, &'static str> {
    match attempts.fetch_add(1, Ordering::Relaxed) + 1 {
        3 => Ok(3),
        _ => Err("not yet"),
    }
}

#[bgtask::test(start_paused = true)]
async fn b40_time_limits_and_back_offs_of_policies_pass_in_no_time() {
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    assert_eq!(hangs().await, Err(TaskError::TimedOut));
    assert!(paused.elapsed() >= Duration::from_secs(3600));
    let retried = tokio::time::Instant::now();
    assert_eq!(succeeds_at_last(Arc::default()).await, Ok(Ok(3)));
    assert!(retried.elapsed() >= Duration::from_secs(1200));
    assert!(real.elapsed() < FOREVER);
}

#[bgtask::test(start_paused = true)]
async fn b40_time_limits_of_the_users_own_pass_too() {
    let limit = Duration::from_secs(60);
    let limited = tokio::time::timeout(limit, an_hour_later()).await;
    assert!(limited.is_err());
    testing::assert_not_called("doubled");
}

#[bgtask::test(start_paused = true)]
async fn b38_a_timeout_that_was_looked_at_or_declared_fails_no_test() {
    assert_eq!(hangs().await, Err(TaskError::TimedOut));
    testing::expect_timeout(hangs);
    testing::expect_timeout(hangs);
    assert_eq!(hangs().await, Err(TaskError::TimedOut));
    drop(hangs());
    testing::idle().await;
}

/// Somebody asked for these, or a policy did.
#[bgtask::test]
async fn b38_what_was_aborted_cancelled_or_replaced_fails_no_test() {
    let aborted = until_told();
    testing::started(until_told).await;
    aborted.abort();
    drop(aborted);
    let cancelled = dropped_when_cancelled();
    testing::started(dropped_when_cancelled).await;
    cancelled.cancel();
    drop(cancelled);
    drop(newest_only(1));
    testing::started(newest_only).await;
    drop(newest_only(2));
    testing::idle().await;
    assert_eq!(bgtask::stats().aborted, 1);
    assert_eq!(bgtask::stats().cancelled, 2);
}

#[background(log = "off", on_shutdown = "cancel")]
async fn dropped_when_cancelled() {
    std::future::pending().await
}

#[background(coalesce(policy = "replace"))]
async fn newest_only(number: u32) {
    if number == 1 {
        std::future::pending().await
    }
}

#[background(coalesce)]
async fn shared(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(coalesce(policy = "skip"))]
async fn once_at_a_time(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(concurrency(max = 1, queue = 1))]
async fn in_line(token: ShutdownToken) {
    token.cancelled().await;
}

#[bgtask::test]
async fn a_call_is_a_call_and_a_run_is_told_apart() {
    let (first, joined) = (shared(), shared());
    testing::started(shared).await;
    assert_eq!((testing::calls(shared), testing::runs(shared)), (2, 1));
    first.cancel();
    assert_eq!((first.await, joined.await), (Ok(()), Ok(())));

    let (first, skipped) = (once_at_a_time(), once_at_a_time());
    assert_eq!(skipped.await, Err(TaskError::Skipped));
    testing::started(once_at_a_time).await;
    assert_eq!(testing::calls(once_at_a_time), 2);
    assert_eq!(testing::runs(once_at_a_time), 1);
    first.cancel();

    let replaced = newest_only(1);
    assert_eq!(newest_only(2).await, Ok(()));
    assert_eq!(replaced.await, Err(TaskError::Replaced));
    // The first one was replaced before it began, or after: that is the runtime's to say.
    assert_eq!(testing::calls(newest_only), 2);

    let (first, second, refused) = (in_line(), in_line(), in_line());
    assert!(matches!(refused.await, Err(TaskError::Refused(_))));
    testing::started(in_line).await;
    assert_eq!((testing::calls(in_line), testing::runs(in_line)), (2, 1));
    first.cancel();
    assert_eq!(first.await, Ok(()));
    second.cancel();
    testing::idle().await;
}

#[background(retry(max = 3, base = "1ms"))]
fn fails_at_first(attempts: Arc<AtomicU32>) -> Result<(), String> {
    match attempts.fetch_add(1, Ordering::Relaxed) {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    }
}

#[bgtask::test]
async fn a_call_that_is_tried_again_is_one_run() {
    assert_eq!(fails_at_first(Arc::default()).await, Ok(Ok(())));
    assert_eq!(testing::runs(fails_at_first), 1);
    assert_eq!(bgtask::stats().retries, 1);
}

#[background]
async fn holds_up_the_worker() {
    blocking_until("the deadline has passed", || {
        bgtask::snapshot().phase >= Phase::Expired
    });
}

#[background]
async fn held_up() {}

#[bgtask::test(flavor = "multi_thread", worker_threads = 1, drain = "1ms")]
async fn a_call_that_the_deadline_finds_queued_is_no_run() {
    holds_up_the_worker();
    testing::started(holds_up_the_worker).await;
    held_up();
    let report = testing::shutdown().await;
    assert_eq!(report.totals.aborted, 1, "{report}");
    assert_eq!((testing::calls(held_up), testing::runs(held_up)), (1, 0));
}

/// What a call that waits has not done is begin.
#[bgtask::test]
async fn a_call_that_waits_for_its_turn_has_not_begun() {
    let (first, second) = (in_line(), in_line());
    testing::started(in_line).await;
    tokio::task::yield_now().await;
    assert_eq!(testing::runs(in_line), 1);
    first.cancel();
    assert_eq!(first.await, Ok(()));
    second.cancel();
    assert_eq!(second.await, Ok(()));
    assert_eq!(testing::runs(in_line), 2);
}

struct Mailer<T>(T);

impl<T: Send + Sync + 'static> Mailer<T> {
    #[background]
    async fn deliver(self: Arc<Self>, _mail: String) {}

    #[background(timeout = "1m")]
    async fn ping(_number: u32) -> usize
    where
        Self: Sized,
    {
        size_of::<Self>()
    }
}

mod elsewhere {
    use super::{Mailer, background};

    impl Mailer<[u8; 2]> {
        #[background]
        pub(crate) async fn reply() {}
    }

    impl Mailer<[u8; 3]> {
        #[background]
        pub(crate) async fn reply() {}
    }
}

trait Beats {
    fn beat(self) -> bgtask::TaskHandle<()>;
}

impl Beats for u8 {
    #[background]
    async fn beat(self) {
        let _ = self;
    }
}

#[background]
async fn generic<T: Send + 'static, const N: usize>(_values: [T; N]) {}

#[background(name = "by another name")]
async fn named_otherwise() {}

#[background]
async fn r#match() {}

#[bgtask::test]
async fn functions_go_by_themselves() {
    #[background]
    async fn doubled(_of_this_test: u8) {}

    doubled(1);
    super_doubled(1);
    super_doubled(2);
    // Two of one name, as far as names go.
    testing::assert_called("kit::doubled", 3);
    testing::assert_called(doubled, 1);
    testing::assert_called(super_doubled, 2);

    let mailer = Arc::new(Mailer(1_u8));
    mailer.clone().deliver("hello".to_owned());
    Mailer::<u16>::ping(1);
    testing::assert_called(Mailer::<u8>::deliver, 1);
    testing::assert_called(Mailer::<u16>::ping, 1);
    testing::assert_called("deliver", 1);

    Mailer::<[u8; 2]>::reply();
    testing::assert_called(Mailer::<[u8; 2]>::reply, 1);
    testing::assert_not_called(Mailer::<[u8; 3]>::reply);

    1_u8.beat();
    testing::assert_called(u8::beat, 1);
    testing::assert_called(<u8 as Beats>::beat, 1);

    // All instances are one function.
    generic([1_u8, 2]);
    generic(["a"]);
    testing::assert_called(generic::<u8, 2>, 2);

    named_otherwise();
    testing::assert_called(named_otherwise, 1);
    testing::assert_called("by another name", 1);
    r#match();
    testing::assert_called(r#match, 1);
    testing::assert_called(&"match".to_owned(), 1);

    testing::idle().await;
    assert_eq!(testing::runs(generic::<u8, 2>), 2);
    testing::started(Mailer::<u8>::deliver).await;
}

#[bgtask::test]
async fn a_declared_failure_is_that_of_the_function_that_was_passed() {
    #[background(log = "off")]
    async fn breaks(_of_this_test: u8) {
        panic!("as declared");
    }
    testing::expect_panic(breaks);
    breaks(1);
}

/// The wait is not the drain: it has a limit of its own, and tells nothing of what ends in time.
#[bgtask::test(wait = "1h", drain = "1h", start_paused = true)]
async fn a_wait_under_paused_time_is_counted_by_the_real_clock() {
    an_hour_later();
    an_hour_later();
    testing::idle().await;
    assert_eq!(testing::runs(an_hour_later), 2);
}

#[bgtask::test]
async fn calls_are_counted_when_they_are_accepted() {
    testing::assert_not_called("doubled");
    let handles = [doubled(1), doubled(2)];
    testing::assert_called("doubled", 2);
    testing::assert_called("kit::doubled", 2);
    assert_eq!(testing::calls("doubled_slowly"), 0);
    for handle in handles {
        handle.await.unwrap();
    }
    assert_eq!(testing::calls("doubled"), 2);
}

#[bgtask::test]
async fn idle_waits_for_what_background_work_calls_and_for_plain_functions() {
    #[background]
    async fn calls_others() {
        doubled_slowly(1);
        tokio::task::yield_now().await;
        doubled(2);
    }
    calls_others();
    testing::idle().await;
    assert_eq!(bgtask::stats().succeeded, 3);
    testing::assert_called("doubled_slowly", 1);
}

#[background]
async fn waits_for_the_others() -> u64 {
    testing::idle().await;
    bgtask::stats().running
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_in_a_task_does_not_wait_for_that_task() {
    doubled(1);
    doubled_slowly(1);
    assert_eq!(waits_for_the_others().await, Ok(1));
}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_waits_for_the_first_instruction() {
    #[background]
    fn holds_until(token: ShutdownToken) {
        token.wait();
    }
    let (task, plain) = (until_told(), holds_until());
    testing::started("until_told").await;
    testing::started("holds_until").await;
    task.cancel();
    plain.cancel();
    assert_eq!(task.await, Ok(true));
    assert_eq!(plain.await, Ok(()));
}

#[bgtask::test]
async fn calls_are_held_back_and_released_one_by_one_or_all() {
    let paused = testing::pause_dispatch();
    let (first, second, third) = (doubled(1), doubled_slowly(2), doubled(3));
    testing::assert_called("doubled", 2);
    assert_eq!(paused.waiting().len(), 3);
    assert!(paused.waiting()[1].ends_with("doubled_slowly"));

    assert!(paused.release_next().unwrap().ends_with("doubled"));
    assert_eq!(first.await, Ok(2));
    assert!(!second.is_finished() && !third.is_finished());

    assert_eq!(paused.release_all(), 2);
    assert_eq!(second.await, Ok(4));
    assert_eq!(third.await, Ok(6));
    assert_eq!(paused.release_next(), None);

    let fourth = doubled(4);
    drop(paused);
    assert_eq!(fourth.await, Ok(8));
    assert_eq!(doubled(5).await, Ok(10));
}

#[bgtask::test]
async fn a_call_that_is_aborted_while_held_back_never_begins_and_frees_its_place() {
    let paused = testing::pause_dispatch();
    // So many that places are used again.
    for _ in 0..300 {
        let first = quiet();
        first.abort();
        assert_eq!(first.await, Err(TaskError::Aborted));
        assert!(paused.waiting().is_empty());
        let second = quiet();
        assert_eq!(paused.waiting().len(), 1);
        assert!(paused.release_next().is_some());
        assert_eq!(second.await, Ok(()));
    }
}

#[bgtask::test]
async fn what_is_held_back_at_the_end_is_released() {
    // Dropped after the drain has begun, with the thread-local it lives in.
    std::mem::forget(testing::pause_dispatch());
    doubled(1);
    fails();
    testing::expect_error("fails");
}

#[test]
fn tests_side_by_side_have_a_kit_each() {
    let (sender, receiver) = mpsc::channel();
    for times in 1..4 {
        let sender = sender.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let kit = Kit::install().unwrap().drain_within(FOREVER);
                for number in 0..times {
                    doubled(number);
                }
                testing::assert_called("doubled", times as usize);
                testing::idle().await;
                assert_eq!(kit.manager().stats().succeeded, u64::from(times));
                kit.finish().await;
            });
            sender.send(()).unwrap();
        });
    }
    for _ in 1..4 {
        receiver.recv_timeout(FOREVER).unwrap();
    }
}

#[bgtask::test]
async fn a_declared_error_that_somebody_looks_at_is_one_beside_other_failures() {
    testing::expect_panic(breaks);
    testing::expect_error(fails);
    let _ = breaks().await;
    assert_eq!(fails().await, Ok(Err("as declared".to_owned())));
}

#[background(concurrency = 1)]
fn thread_it_runs_on() -> ThreadId {
    thread::current().id()
}

#[bgtask::test]
async fn a_plain_function_has_a_thread_of_its_own_unless_calls_are_inline() {
    assert_ne!(thread_it_runs_on().await, Ok(thread::current().id()));
    let _inline = testing::inline();
    assert_eq!(thread_it_runs_on().await, Ok(thread::current().id()));
}

#[test]
fn what_a_dropped_kit_holds_back_is_aborted() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let kit = Kit::install().unwrap();
        let _paused = testing::pause_dispatch();
        let held = doubled(1);
        drop(kit);
        assert!(held.is_finished());
        assert_eq!(held.await, Err(TaskError::Aborted));
    });
}

#[bgtask::test]
async fn a_wait_says_what_it_is() {
    assert_eq!(format!("{:?}", testing::idle()), "Wait { .. }");
}

/// Notes in which order values are dropped.
struct Notes(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Notes {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1);
    }
}

#[background(name = "kit: takes its time")]
async fn takes_its_time(token: ShutdownToken, notes: Notes) {
    token.cancelled().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(notes);
}

#[test]
fn a_value_is_kept_until_the_drain_is_over_and_what_came_last_goes_first() {
    for runtime in runtimes() {
        let order: Arc<Mutex<Vec<_>>> = Arc::default();
        let notes = |name| Notes(order.clone(), name);
        runtime.block_on(async {
            let kit = Kit::install().unwrap();
            let _local = notes("local");
            testing::until_drained(notes("kept first"));
            testing::until_drained(notes("kept last"));
            takes_its_time(notes("task"));
            kit.finish().await;
        });
        let expected = ["task", "kept last", "kept first", "local"];
        assert_eq!(*order.lock().unwrap(), expected);
    }
}

#[test]
fn a_kit_that_is_dropped_lets_go_of_what_it_keeps() {
    let [runtime, _] = runtimes();
    let order: Arc<Mutex<Vec<_>>> = Arc::default();
    runtime.block_on(async {
        let kit = Kit::install().unwrap();
        testing::until_drained(Notes(order.clone(), "kept"));
        drop(kit);
    });
    assert_eq!(*order.lock().unwrap(), ["kept"]);
}

/// Only one test may use what background work leaves alone when it has drained: such as a port.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static USERS: AtomicU32 = AtomicU32::new(0);

#[background(name = "kit: uses the port")]
async fn uses_the_port(token: ShutdownToken) {
    assert_eq!(
        USERS.fetch_add(1, Ordering::SeqCst),
        0,
        "another test uses it"
    );
    token.cancelled().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        USERS.fetch_sub(1, Ordering::SeqCst),
        1,
        "another test uses it"
    );
}

#[rstest]
#[case::first(1)]
#[case::second(2)]
#[case::third(3)]
#[bgtask::test]
async fn tests_that_exclude_each_other_do_so_until_their_work_has_drained(#[case] _number: u32) {
    testing::until_drained(ONE_AT_A_TIME.lock().await);
    uses_the_port();
    testing::started(uses_the_port).await;
}

#[test]
fn a_kept_value_that_panics_while_it_is_dropped_fails_the_test() {
    let text = failing("a_kept_value_that_panics_while_it_is_dropped");
    let says =
        "a value that `until_drained()` kept panicked while it was dropped: while it was dropped";
    assert_says(&text, &[says]);
}
