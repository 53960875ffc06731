//! All policies on one function: their order, their statistics and their refusals.

use crate::support::{
    OnDrop, PASSING, Runs, Script, ScriptError, Settings, joins, sleeps_within_five_seconds,
    stats_of,
};
use bgtask::{RefusedReason, ShutdownToken, State, TaskError, background};
use bgtask_tests::{FOREVER, in_paused_time, on_both_flavors, settle};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;
use tokio::time::sleep;

#[background(
    concurrency = 2,
    retry(max = 3, base = "1h", cap = "1h", backoff = "constant"),
    log = "off"
)]
async fn fails_at_first(gate: Arc<Notify>, script: Script) -> Result<u32, ScriptError> {
    gate.notified().await;
    script.next()
}

/// Behaviour 35.
#[test]
fn the_stats_of_a_function_count_its_calls_by_state() {
    in_paused_time(async |_| {
        let doing = || {
            let own = stats_of("fails_at_first");
            [own.queued, own.running, own.waiting, own.backing_off]
        };
        let gates: [_; 3] = std::array::from_fn(|_| Arc::new(Notify::new()));
        let first = fails_at_first(gates[0].clone(), Script::new([PASSING, Ok(1)]));
        let second = fails_at_first(gates[1].clone(), Script::new([Ok(2)]));
        let third = fails_at_first(gates[2].clone(), Script::new([Ok(3)]));
        assert_eq!(doing(), [2, 0, 1, 0], "nothing has been polled");
        settle().await;
        assert_eq!(doing(), [0, 2, 1, 0]);
        gates[0].notify_one();
        settle().await;
        assert_eq!(doing(), [0, 1, 1, 1], "asleep, it keeps its permit");
        gates[1].notify_one();
        assert_eq!(second.await, Ok(Ok(2)));
        settle().await;
        assert_eq!(doing(), [0, 1, 0, 1]);
        gates[2].notify_one();
        assert_eq!(third.await, Ok(Ok(3)));
        assert_eq!(doing(), [0, 0, 0, 1]);
        gates[0].notify_one();
        assert_eq!(first.await, Ok(Ok(1)));
        assert_eq!(doing(), [0; 4], "all have ended");
        assert_eq!(stats_of("fails_at_first").retries, 1);
        let text = bgtask::snapshot().to_string();
        assert!(text.contains("3 succeeded; 1 retry\n"), "{text}");
    });
}

/// Behaviour 9.
#[test]
fn a_call_with_policies_after_the_shutdown_is_refused_like_any_other() {
    on_both_flavors(async |manager| {
        manager.shutdown("the test").await;
        let refused = Err(TaskError::Refused(RefusedReason::ShutDown));
        assert_eq!(
            sleeps_within_five_seconds(1, OnDrop(Arc::default())).await,
            refused
        );
        let runs = Runs::default();
        assert_eq!(
            joins("key".into(), runs.clone()).await,
            refused.map(|_: u64| 0)
        );
        assert_eq!(runs.count(), 0);
        assert_eq!(manager.stats().refused, 2);
    });
}

#[background(
    coalesce(key = key, policy = "trailing"),
    rate(limit = "100/s", key = key),
    concurrency(max = 2, queue = 10),
    retry(max = 3, base = "10ms"),
    timeout = "1s",
    log = "off"
)]
async fn all_together(
    token: ShutdownToken,
    State(settings): State<Settings>,
    key: String,
    attempts: Arc<AtomicU32>,
) -> io::Result<String> {
    assert!(!token.is_cancelled());
    match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => Err(io::Error::other("not yet")),
        1 => {
            sleep(FOREVER).await;
            Ok(key)
        }
        _ => Ok(format!("{key} {}", settings.0)),
    }
}

/// Behaviour 29.
#[test]
fn policies_wrap_one_another() {
    in_paused_time(async |manager| {
        manager.provide(Settings(5));
        let attempts = Arc::new(AtomicU32::new(0));
        let task = all_together("a".into(), attempts.clone());
        let joined = all_together("a".into(), attempts.clone());
        assert_eq!(task.await.unwrap().unwrap(), "a 5");
        assert_eq!(joined.await.unwrap().unwrap(), "a 5");
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
        assert_eq!((manager.stats().retries, manager.stats().coalesced), (2, 1));
    });
}
