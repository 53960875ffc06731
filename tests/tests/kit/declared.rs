//! Failures that fail no test: declared, read by the test, or asked for.

use crate::support::{
    breaks, doubled, fails, hangs, newest_only, quiet, takes_turns, until_cancelled,
};
use crate::user;
use bgtask::testing::{self};
use bgtask::{Group, RefusedReason, TaskError, background};
use rstest::rstest;

/// Behaviour 38.
#[bgtask::test]
async fn a_failure_in_a_handle_that_is_still_held_can_be_declared() {
    testing::expect_error(user::fails_at_the_end);
    std::mem::forget(user::fails_at_the_end());
}

/// The handles resolve only when the drain fires the tokens of the tasks, and threads that may be late await them.
async fn servers_that_await_their_outcomes() {
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

/// Behaviour 38.
#[bgtask::test]
async fn an_outcome_that_a_running_server_awaits_counts_as_read() {
    servers_that_await_their_outcomes().await;
}

/// Behaviour 38.
#[bgtask::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_a_server_on_other_threads_awaits_counts_as_read() {
    servers_that_await_their_outcomes().await;
}

/// Behaviour 38.
#[bgtask::test]
async fn a_refusal_that_is_read_or_requested_fails_no_test() {
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
    let (first, _second, refused) = (takes_turns(), takes_turns(), takes_turns());
    assert!(refused.is_finished());
    first.cancel();
}

/// Behaviour 38.
#[bgtask::test]
async fn declared_failures_fail_no_test() {
    testing::expect_panic("breaks");
    breaks();
    fails();
    testing::idle().await;
    testing::expect_error("fails");
}

/// Behaviour 38.
#[bgtask::test]
async fn an_error_that_the_test_reads_fails_no_test() {
    assert_eq!(fails().await, Ok(Err("as declared".to_owned())));
}

/// Behaviour 38.
#[bgtask::test]
async fn a_declared_error_may_be_read() {
    testing::expect_error("fails");
    assert_eq!(fails().await, Ok(Err("as declared".to_owned())));
}

/// Behaviour 38.
#[bgtask::test]
#[should_panic(expected = "as declared")]
async fn should_panic_sees_a_background_panic() {
    breaks();
}

/// Behaviour 38.
#[bgtask::test]
#[should_panic(expected = "its own")]
async fn should_panic_sees_the_panic_of_the_test_itself_first() {
    breaks();
    testing::started("breaks").await;
    panic!("its own");
}

/// Behaviour 38.
#[bgtask::test]
async fn a_test_may_return_a_result() -> Result<(), TaskError> {
    assert_eq!(doubled(2).await?, 4);
    Ok(())
}

/// Behaviour 38.
#[rstest]
#[case(1, 2)]
#[case(4, 8)]
#[bgtask::test]
async fn rstest_gives_parameters(#[case] number: u32, #[case] expected: u32) {
    assert_eq!(doubled(number).await, Ok(expected));
    testing::assert_called("doubled", 1);
}

/// Behaviour 38.
#[bgtask::test(start_paused = true)]
async fn a_timeout_that_is_read_or_declared_fails_no_test() {
    assert_eq!(hangs().await, Err(TaskError::TimedOut));
    testing::expect_timeout(hangs);
    testing::expect_timeout(hangs);
    assert_eq!(hangs().await, Err(TaskError::TimedOut));
    drop(hangs());
    testing::idle().await;
}

/// The test or a policy requested these.
/// Behaviour 38.
#[bgtask::test]
async fn an_aborted_cancelled_or_replaced_call_fails_no_test() {
    let aborted = until_cancelled();
    testing::started(until_cancelled).await;
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

#[background(log = "off")]
#[allow(dead_code, reason = "only its name matters")]
async fn same_name() {}

#[bgtask::test]
async fn a_declared_failure_belongs_to_the_function_that_is_passed() {
    #[background(log = "off")]
    async fn same_name(_of_this_test: u8) {
        panic!("as declared");
    }
    testing::expect_panic(same_name);
    same_name(1);
}

#[bgtask::test]
async fn a_declared_error_may_be_read_when_other_failures_are_declared_too() {
    testing::expect_panic(breaks);
    testing::expect_error(fails);
    let _ = breaks().await;
    assert_eq!(fails().await, Ok(Err("as declared".to_owned())));
}
