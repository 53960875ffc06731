//! `spawn!` with policies, state and captured values.

use bgtask::{Group, RefusedReason, ShutdownToken, State, TaskError, TaskHandle, spawn};
use bgtask_tests::{in_paused_time, on_both_flavors, until};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

#[test]
fn a_block_with_retry_is_created_anew_for_each_attempt() {
    let report = in_paused_time(async |manager| {
        let attempts = Arc::new(AtomicU32::new(0));
        let counts = attempts.clone();
        let mut own = 0;
        let block = spawn!("made anew", retry(max = 3), async move {
            own += 1;
            match counts.fetch_add(1, Ordering::Relaxed) {
                2 => Ok(own),
                failed => Err(failed),
            }
        });
        assert_eq!(block.await, Ok(Ok(1)), "each attempt has a copy of its own");
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
        own += 1;
        assert_eq!(own, 1);

        let counts = attempts.clone();
        let closure = spawn!(
            "made anew by a closure",
            retry(max = 2, when = |error| *error > 10),
            move |token| async move {
                assert!(!token.is_cancelled());
                Err::<(), _>(counts.fetch_add(1, Ordering::Relaxed))
            }
        );
        assert_eq!(
            closure.await,
            Ok(Err(3)),
            "an error that the predicate lets be"
        );
        let counts = attempts.clone();
        let blocks = spawn!("made anew where it blocks", retry(max = 4), move || {
            Err::<(), _>(counts.fetch_add(1, Ordering::Relaxed))
        });
        assert_eq!(blocks.await, Ok(Err(7)));
        assert_eq!(manager.stats().retries, 2 + 3);
    });
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_block_may_clone_the_captures_of_its_closure() {
    on_both_flavors(async |manager| {
        manager.provide(Pool(1));
        let text = Arc::new("shared".to_owned());
        let caller = thread::current().id();
        let with_token = spawn!("clones for a token", {
            let text = text.clone();
            assert_eq!(
                thread::current().id(),
                caller,
                "the caller runs these lines"
            );
            move |token| async move {
                let _: ShutdownToken = token;
                text.len()
            }
        });
        assert_eq!(with_token.await, Ok(6));
        let async_closure = spawn!("clones for an async closure", {
            let text = text.clone();
            async move |token| {
                let _: ShutdownToken = token;
                text.len()
            }
        });
        assert_eq!(async_closure.await, Ok(6));
        let blocks = spawn!("clones for a thread", timeout = "1m", {
            let text = Arc::clone(&text);
            move || text.len()
        });
        assert_eq!(blocks.await, Ok(6));
        let with_state = spawn!("clones beside a state", {
            let text = text.clone();
            move |State(pool): State<Pool>| async move { text.len() + pool.0 as usize }
        });
        assert_eq!(with_state.await, Ok(7));
        let group = Group::new();
        let member = spawn!(in &group, "clones for a group", {
            let text = text.clone();
            move |token| async move { drop(token); text.len() }
        });
        assert_eq!(member.await, Ok(6));
        assert_eq!(text.len(), 6);
    });
}

#[test]
fn with_retry_the_lines_before_the_closure_run_once_and_each_attempt_gets_a_copy() {
    in_paused_time(async |_| {
        let (runs, attempts) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
        let future = spawn!("clones once for attempts", retry(max = 3), {
            runs.fetch_add(1, Ordering::Relaxed);
            let attempts = attempts.clone();
            async move { Err::<(), _>(attempts.fetch_add(1, Ordering::Relaxed)) }
        });
        assert_eq!(future.await, Ok(Err(2)));
        let closure = spawn!("clones once for a closure", retry(max = 3), {
            runs.fetch_add(1, Ordering::Relaxed);
            let attempts = attempts.clone();
            move || async move { Err::<(), _>(attempts.fetch_add(1, Ordering::Relaxed)) }
        });
        assert_eq!(closure.await, Ok(Err(5)));
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_timeout_drops_the_block() {
    in_paused_time(async |manager| {
        let (held, dropped) = oneshot::channel::<()>();
        let late = spawn!("late", timeout = "30s", async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        assert_eq!(late.await, Err(TaskError::TimedOut));
        assert!(dropped.await.is_err());
        let in_time = spawn!("in time", timeout = "30s", move |_| async { 1 });
        assert_eq!(in_time.await, Ok(1));
        assert_eq!(manager.stats().timed_out, 1);
    });
}

#[test]
fn each_site_has_a_limit_of_its_own() {
    on_both_flavors(async |manager| {
        let gate = Arc::new(Semaphore::new(0));
        let first = |gate: Arc<Semaphore>| {
            spawn!("one at a time", concurrency = 1, async move {
                gate.acquire().await.unwrap().forget();
            })
        };
        let one = first(gate.clone());
        let two = first(gate.clone());
        let elsewhere = spawn!("elsewhere", concurrency = 1, async { 1 });
        assert_eq!(elsewhere.await, Ok(1));
        until("one runs and one waits", || manager.stats().waiting == 1).await;
        assert_eq!(gate.available_permits(), 0);
        gate.add_permits(2);
        assert_eq!((one.await, two.await), (Ok(()), Ok(())));
        let limited = bgtask::handler_stats();
        assert!(limited.iter().any(|own| own.name == "one at a time"));
    });
}

#[test]
fn two_sites_with_one_name_share_no_limit() {
    on_both_flavors(async |_| {
        let gate = Arc::new(Semaphore::new(0));
        let waits = gate.clone();
        let one = spawn!("of one name", concurrency = 1, async move {
            waits.acquire().await.unwrap().forget();
        });
        let other = spawn!("of one name", concurrency = 1, async { 1 });
        assert_eq!(other.await, Ok(1));
        gate.add_permits(1);
        one.await.unwrap();
    });
}

#[test]
fn the_key_is_evaluated_before_the_block_moves_its_captures() {
    on_both_flavors(async |manager| {
        let gate = Arc::new(Semaphore::new(0));
        let load = |page: String| {
            let gate = gate.clone();
            spawn!("load", coalesce(key = page), async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, io::Error>(page)
            })
        };
        let (one, joins, other) = (load("a".into()), load("a".into()), load("b".into()));
        assert_eq!((manager.stats().running, manager.stats().coalesced), (2, 1));
        gate.add_permits(2);
        assert_eq!(one.await.unwrap().unwrap(), "a");
        assert_eq!(joins.await.unwrap().unwrap(), "a");
        assert_eq!(other.await.unwrap().unwrap(), "b");
    });
}

#[test]
fn each_instance_of_a_generic_function_joins_its_own_runs() {
    fn load<T: Default + Clone + Send + 'static>(gate: Arc<Semaphore>) -> TaskHandle<T> {
        spawn!("load by type", coalesce(key = 1), async move {
            gate.acquire().await.unwrap().forget();
            T::default()
        })
    }
    on_both_flavors(async |manager| {
        let gate = Arc::new(Semaphore::new(0));
        let (number, text) = (load::<u32>(gate.clone()), load::<String>(gate.clone()));
        let joins = load::<u32>(gate.clone());
        assert_eq!((manager.stats().running, manager.stats().coalesced), (2, 1));
        gate.add_permits(2);
        assert_eq!((number.await, joins.await), (Ok(0), Ok(0)));
        assert_eq!(text.await.unwrap(), "");
    });
}

#[test]
fn a_rate_refuses_a_block_that_is_called_too_soon() {
    in_paused_time(async |_| {
        let call = || {
            spawn!(
                "once a minute",
                rate(limit = "1/m", overflow = "refuse"),
                async { 1 }
            )
        };
        assert_eq!(call().await, Ok(1));
        assert_eq!(
            call().await,
            Err(TaskError::Refused(RefusedReason::RateExceeded))
        );
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(call().await, Ok(1));
    });
}

#[derive(Clone)]
struct Pool(u32);

#[derive(Clone)]
struct Missing;

#[test]
fn state_is_filled_in_and_a_missing_one_refuses_the_call() {
    on_both_flavors(async |manager| {
        manager.provide(Pool(1));
        let more = 2;
        let sum = spawn!("with a state", move |State(pool): State<Pool>| async move {
            pool.0 + more
        });
        assert_eq!(sum.await, Ok(3));
        let blocks = spawn!(
            "with a state, and blocks",
            |token: ShutdownToken, pool: State<Pool>| { (token.is_cancelled(), pool.0.0) }
        );
        assert_eq!(blocks.await, Ok((false, 1)));
        let refused = spawn!("without its state", |_missing: State<Missing>| async { 1 });
        let Err(TaskError::Refused(RefusedReason::MissingState(name))) = refused.await else {
            panic!("it should be refused");
        };
        assert!(name.ends_with("Missing"), "{name}");
        assert_eq!(manager.stats().refused, 1);
    });
}

#[test]
fn the_end_of_an_essential_block_starts_the_shutdown() {
    on_both_flavors(async |manager| {
        spawn!("essential", essential, async {}).await.unwrap();
        until("the shutdown starts", || manager.is_shutting_down()).await;
    });
}
