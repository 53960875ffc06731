//! Questions about calls: how many were accepted, which have started, and when none is left.

use crate::support::{doubled, doubled_slowly, newest_only, takes_turns, until_cancelled};
use bgtask::testing::{self};
use bgtask::{Phase, ShutdownToken, TaskError, background};
use bgtask_tests::blocking_until;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[background]
async fn tripled(number: u32) -> u32 {
    number * 3
}

#[background(coalesce)]
async fn shared(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(coalesce(policy = "skip"))]
async fn once_at_a_time(token: ShutdownToken) {
    token.cancelled().await;
}

#[bgtask::test]
async fn calls_and_runs_are_counted_separately() {
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
    // The runtime decides whether the first one is replaced before or after it starts.
    assert_eq!(testing::calls(newest_only), 2);

    let (first, second, refused) = (takes_turns(), takes_turns(), takes_turns());
    assert!(matches!(refused.await, Err(TaskError::Refused(_))));
    testing::started(takes_turns).await;
    assert_eq!(
        (testing::calls(takes_turns), testing::runs(takes_turns)),
        (2, 1)
    );
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
async fn a_retried_call_is_one_run() {
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
async fn a_call_that_is_queued_at_the_deadline_is_no_run() {
    holds_up_the_worker();
    testing::started(holds_up_the_worker).await;
    held_up();
    let report = testing::shutdown().await;
    assert_eq!(report.totals.aborted, 1, "{report}");
    assert_eq!((testing::calls(held_up), testing::runs(held_up)), (1, 0));
}

/// A waiting call has been made, and has not started.
#[bgtask::test]
async fn a_call_that_waits_for_its_turn_has_not_started() {
    let (first, second) = (takes_turns(), takes_turns());
    testing::started(takes_turns).await;
    tokio::task::yield_now().await;
    assert_eq!(testing::runs(takes_turns), 1);
    first.cancel();
    assert_eq!(first.await, Ok(()));
    second.cancel();
    assert_eq!(second.await, Ok(()));
    assert_eq!(testing::runs(takes_turns), 2);
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
async fn functions_identify_themselves() {
    use self::tripled as outer_tripled;

    #[background]
    async fn tripled(_of_this_test: u8) {}

    tripled(1);
    outer_tripled(1);
    outer_tripled(2);
    // By name, both functions are one.
    testing::assert_called("kit::calls::tripled", 3);
    testing::assert_called(tripled, 1);
    testing::assert_called(outer_tripled, 2);

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

    // All instances count as one function.
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
async fn calls_are_counted_when_they_are_accepted() {
    testing::assert_not_called("doubled");
    let handles = [doubled(1), doubled(2)];
    testing::assert_called("doubled", 2);
    testing::assert_called("kit::support::doubled", 2);
    assert_eq!(testing::calls("doubled_slowly"), 0);
    for handle in handles {
        handle.await.unwrap();
    }
    assert_eq!(testing::calls("doubled"), 2);
}

#[bgtask::test]
async fn idle_waits_for_calls_made_by_background_work_and_for_blocking_functions() {
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
    let (task, plain) = (until_cancelled(), holds_until());
    testing::started("until_cancelled").await;
    testing::started("holds_until").await;
    task.cancel();
    plain.cancel();
    assert_eq!(task.await, Ok(true));
    assert_eq!(plain.await, Ok(()));
}

#[bgtask::test]
async fn the_debug_output_of_a_wait_names_its_type() {
    assert_eq!(format!("{:?}", testing::idle()), "Wait { .. }");
}
