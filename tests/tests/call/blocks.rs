//! `spawn!`: a block or a closure in the background, at the place where it is written.

use bgtask::{
    Group, Kind, OnShutdown, Outcome, RefusedReason, ShutdownToken, State, TaskError, TaskHandle,
    TaskState, spawn,
};
use bgtask_tests::{in_paused_time, on_both_flavors, record_events, recorded_of, runtimes, until};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::Level;

/// The one handler of this name.
fn handler(name: &str) -> &'static bgtask::Handler {
    let mut all = bgtask::handlers();
    all.retain(|handler| handler.name() == name);
    assert_eq!(all.len(), 1, "{name}: {all:?}");
    all[0]
}

fn never_called(gate: Semaphore) -> TaskHandle<()> {
    spawn!(
        "never called",
        timeout = "30s",
        log = "info",
        move |token| async move {
            gate.close();
            token.cancelled().await;
        }
    )
}

const _: fn(Semaphore) -> TaskHandle<()> = never_called;

#[test]
fn a_place_is_a_handler_before_its_first_call() {
    let own = handler("never called");
    assert_eq!(own.module_path(), module_path!());
    assert_eq!(own.file(), file!());
    assert_eq!(own.kind(), Kind::Async);
    assert!(own.takes_token());
    assert_eq!(own.options().to_string(), "timeout = 30s, log = info");
}

#[test]
fn a_handler_shows_itself_without_addresses() {
    let shown = format!("{:?}", handler("never called"));
    let wanted = r#"Handler { name: "never called", file: "tests/tests/call/blocks.rs", line: "#;
    assert!(shown.starts_with(wanted), "{shown}");
    assert!(shown.contains(r#"options: ["timeout = 30s""#), "{shown}");
    assert!(!shown.contains("0x"), "{shown}");
}

#[test]
fn a_call_is_accounted_for_and_its_place_is_the_site() {
    on_both_flavors(async |manager| {
        let (open, gate) = oneshot::channel::<u32>();
        let (handle, line) = (
            spawn!("accounted for", async move { gate.await.unwrap() }),
            line!(),
        );
        let line = line - 1;
        assert_eq!(manager.stats().accepted, 1, "counted before it returns");
        assert_eq!(handle.name(), "accounted for");
        let tasks = manager.tasks();
        assert_eq!((tasks[0].id, tasks[0].name), (handle.id(), "accounted for"));
        assert_eq!(tasks[0].called_at.file(), file!());
        assert_eq!(tasks[0].called_at.line(), line);
        assert_eq!(handler("accounted for").line(), line);
        open.send(1).unwrap();
        assert_eq!(handle.await, Ok(1));
        let stats = manager.stats();
        assert_eq!((stats.running, stats.succeeded), (0, 1));
    });
}

#[test]
fn a_site_in_a_generic_function_is_one_handler_whatever_the_instances() {
    fn shows<T: ToString + Send + 'static>(value: T) -> TaskHandle<String> {
        spawn!("of every instance", async move { value.to_string() })
    }
    on_both_flavors(async |_| {
        assert_eq!(shows(1_u8).await.unwrap(), "1");
        assert_eq!(shows("two").await.unwrap(), "two");
    });
    assert_eq!(handler("of every instance").file(), file!());
}

#[test]
fn a_call_from_a_plain_thread_returns_at_once() {
    let [runtime, _] = runtimes();
    let manager = bgtask_tests::manager_within(bgtask_tests::FOREVER, &runtime);
    // Nothing drives the runtime, so nothing of the work can have run.
    let handle = thread::scope(|scope| {
        let called = scope.spawn(|| {
            let _entered = manager.enter();
            spawn!("from a thread", async { thread::current().id() })
        });
        called.join().unwrap()
    });
    assert_eq!(manager.tasks()[0].state, TaskState::Queued);
    runtime.block_on(async {
        assert_eq!(handle.await, Ok(thread::current().id()));
        assert!(manager.shutdown("end").await.is_clean());
    });
}

#[test]
fn a_closure_that_blocks_does_so_beside_the_workers() {
    on_both_flavors(async |_| {
        let (release, held) = mpsc::channel::<u32>();
        let blocks = spawn!("blocks", move || held.recv().unwrap());
        // On the one worker there is, this would never come.
        assert_eq!(spawn!("goes on", async { 1 }).await, Ok(1));
        release.send(2).unwrap();
        assert_eq!(blocks.await, Ok(2));
    });
    assert_eq!(handler("blocks").kind(), Kind::Blocking);
}

#[test]
fn the_tokens_of_closures_fire_when_draining_starts() {
    on_both_flavors(async |manager| {
        let (ends, ended) = mpsc::channel();
        let (send, waits) = (ends.clone(), Arc::new(Notify::new()));
        let began = waits.clone();
        spawn!("waits for its token", move |token| async move {
            began.notify_one();
            token.cancelled().await;
            send.send("async").unwrap();
        });
        let send = ends.clone();
        spawn!(
            "async closure with its token",
            async move |token: ShutdownToken| {
                token.cancelled().await;
                send.send("async closure").unwrap();
            }
        );
        let send = ends.clone();
        spawn!(
            "blocks until its token fires",
            move |token: ShutdownToken| {
                token.wait();
                send.send("blocking").unwrap();
            }
        );
        let send = ends.clone();
        spawn!("with policies", timeout = "1h", move |token| async move {
            token.cancelled().await;
            send.send("policies").unwrap();
        });
        waits.notified().await;
        assert_eq!(manager.stats().running, 4);
        assert!(ended.try_recv().is_err());
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        drop(ends);
        let mut ended: Vec<_> = ended.iter().collect();
        ended.sort_unstable();
        assert_eq!(ended, ["async", "async closure", "blocking", "policies"]);
    });
}

#[test]
fn on_shutdown_says_what_the_drain_does_with_a_block() {
    let [report, _] = on_both_flavors(async |_| {
        spawn!(
            "dropped",
            on_shutdown = "cancel",
            std::future::pending::<()>()
        );
        let finished = spawn!(
            "finished",
            on_shutdown = "finish",
            move |token| async move {
                tokio::task::yield_now().await;
                token.is_cancelled()
            }
        );
        assert_eq!(finished.await, Ok(false));
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(handler("dropped").on_shutdown(), OnShutdown::Cancel);
}

#[test]
fn the_task_calls_the_closure_that_makes_its_future() {
    record_events();
    on_both_flavors(async |manager| {
        let caller = tokio::task::try_id();
        let handle = spawn!("made by the task", move || {
            let here = tokio::task::try_id();
            async move { here }
        });
        assert_ne!(handle.await.unwrap(), caller);

        let panics = spawn!("panics on the way", |token: ShutdownToken| {
            assert!(token.is_cancelled(), "not yet");
            async move { drop(token) }
        });
        let Err(TaskError::Panicked { message, .. }) = panics.await else {
            panic!("it should have panicked");
        };
        assert_eq!(message, "not yet");
        let again = spawn!(
            "panics twice on the way",
            retry(max = 2, base = "1ms", panics),
            || {
                if true {
                    panic!("always");
                }
                async {}
            }
        );
        assert!(again.await.is_err());
        let stats = manager.stats();
        assert_eq!((stats.panicked, stats.retries), (2, 1));
    });
    let reports = recorded_of("panics on the way");
    let reports: Vec<_> = reports
        .iter()
        .filter(|event| event.message == "task panicked")
        .collect();
    assert_eq!(reports.len(), 2, "{reports:#?}");
    assert!(reports[0].field("location").contains(file!()));
    assert_eq!(reports[0].span_field("name"), "panics on the way");
}

#[test]
fn an_error_that_nobody_looks_at_is_logged() {
    record_events();
    on_both_flavors(async |manager| {
        spawn!("fails unseen", async {
            Err::<(), _>(io::Error::other("disk full"))
        });
        spawn!("fails unseen, and blocks", || {
            let missing = std::fs::read("/nowhere/at all").map(|_| ());
            Err::<(), _>(anyhow::anyhow!(missing.unwrap_err()).context("cache not written"))
        });
        spawn!("fails unseen in words", move |token| async move {
            drop(token);
            Err::<(), _>("in words")
        });
        spawn!("fails unseen with policies", timeout = "1m", async {
            Err::<(), _>(String::from("in time"))
        });
        until("all failed", || manager.stats().failed == 4).await;
        let looked_at = spawn!("fails seen", async { Err::<(), _>("seen") });
        assert_eq!(looked_at.await, Ok(Err("seen")));
    });
    for (name, error) in [
        ("fails unseen", "disk full"),
        ("fails unseen, and blocks", "cache not written: "),
        ("fails unseen in words", "in words"),
        ("fails unseen with policies", "in time"),
    ] {
        let mut events = recorded_of(name);
        events.retain(|event| event.message == "task failed" && event.field("name") == name);
        assert_eq!(events.len(), 2, "{name}");
        assert_eq!(events[0].level, Level::ERROR);
        assert!(
            events[0].field("error").starts_with(error),
            "{:?}",
            events[0]
        );
        assert_eq!(events[0].field("id"), events[0].span_field("id"));
    }
    assert!(
        !recorded_of("fails seen")
            .iter()
            .any(|event| event.message == "task failed")
    );
}

#[test]
fn log_and_name_are_in_its_span_and_events() {
    record_events();
    on_both_flavors(async |_| {
        spawn!("spoken of", log = "info", async {
            tracing::info!("within")
        })
        .await
        .unwrap();
        spawn!("not spoken of", log = "off", || ()).await.unwrap();
    });
    let events = recorded_of("spoken of");
    let within = events
        .iter()
        .find(|event| event.message == "within")
        .unwrap();
    assert_eq!(within.span_field("name"), "spoken of");
    assert!(
        events
            .iter()
            .any(|event| event.level == Level::INFO && event.message.contains("started"))
    );
    assert!(recorded_of("not spoken of").is_empty());
}

#[test]
fn a_block_with_retry_is_made_anew_for_each_attempt() {
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
fn a_block_may_clone_what_its_closure_captures() {
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
fn two_sites_of_one_name_share_no_limit() {
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
fn the_key_is_read_before_the_block_moves_what_it_names() {
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
fn instances_of_a_generic_function_join_only_their_own() {
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
fn a_rate_refuses_what_comes_too_soon() {
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
fn states_are_filled_in_and_a_missing_one_refuses_the_call() {
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

#[test]
fn handles_cancel_and_abort() {
    on_both_flavors(async |manager| {
        let heeds = spawn!("heeds its token", |token| async move {
            token.cancelled().await;
            1
        });
        heeds.cancel();
        assert_eq!(heeds.await, Ok(1));
        let ignores = spawn!("is aborted", log = "off", async {
            std::future::pending::<()>().await
        });
        ignores.abort();
        assert_eq!(ignores.await, Err(TaskError::Aborted));
        assert_eq!(manager.stats().aborted, 1);
    });
}

#[test]
fn a_block_after_the_shutdown_is_refused_and_dropped() {
    on_both_flavors(async |manager| {
        manager.shutdown("before").await;
        let (held, dropped) = oneshot::channel::<()>();
        let refused = spawn!("too late", log = "off", async move { drop(held) });
        assert_eq!(
            refused.await,
            Err(TaskError::Refused(RefusedReason::ShutDown))
        );
        assert!(dropped.await.is_err(), "what it holds is dropped");
    });
}

#[test]
fn hooks_are_told_of_blocks() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    on_both_flavors(async |_| {
        let notes = seen.clone();
        bgtask::on_finish(move |task| notes.lock().unwrap().push((task.name, task.outcome)));
        spawn!("finished and noted", || ()).await.unwrap();
    });
    let one = ("finished and noted", Outcome::Succeeded);
    assert_eq!(*seen.lock().unwrap(), [one, one]);
}

#[test]
fn a_block_in_a_group_is_its_member() {
    on_both_flavors(async |manager| {
        let (group, gate) = (Group::new(), Arc::new(Semaphore::new(0)));
        let waits = gate.clone();
        let plain = spawn!(in &group, "a member", async move {
            waits.acquire().await.unwrap().forget();
            1
        });
        let (release, held) = mpsc::channel::<u32>();
        let blocks = spawn!(in &group, "a member that blocks", move || held.recv().unwrap());
        let policies = spawn!(in &group, "a member with policies", timeout = "1h", move |token| async move {
            token.cancelled().await;
            3
        });
        let outside = spawn!("no member", async { 4 });
        assert_eq!((group.len(), manager.stats().accepted), (3, 4));
        let members = group.tasks();
        let called_at = handler(members[0].name);
        assert_eq!(members[0].called_at.line(), called_at.line(), "its site");
        assert_eq!(outside.await, Ok(4));
        gate.add_permits(1);
        release.send(2).unwrap();
        assert_eq!((plain.await, blocks.await), (Ok(1), Ok(2)));
        group.cancel();
        assert_eq!(policies.await, Ok(3));
        group.idle().await;
    });
}

#[test]
fn the_work_comes_to_a_value_outside_of_its_group() {
    async fn waits(gate: Arc<Semaphore>) {
        gate.acquire().await.unwrap().forget();
    }
    on_both_flavors(async |_| {
        let (group, gate) = (Group::new(), Arc::new(Semaphore::new(0)));
        let start = |gate: Arc<Semaphore>| {
            spawn!("made on the way", waits(gate.clone()));
            waits(gate)
        };
        let member = spawn!(in &group, "made with a call on the way", start(gate.clone()));
        assert_eq!(group.len(), 1);
        let within = spawn!(in &group, "makes a call itself", {
            let gate = gate.clone();
            async move {
                spawn!("a member's call", waits(gate));
            }
        });
        within.await.unwrap();
        assert_eq!(group.len(), 2, "a member's call is a member");
        gate.add_permits(3);
        member.await.unwrap();
        group.idle().await;
    });
}

fn saves(number: u32) {
    spawn!("save", async move { Ok::<_, io::Error>(number) });
}

#[bgtask::test]
async fn a_test_asks_for_blocks_by_name() {
    saves(1);
    saves(2);
    spawn!("save", || ());
    bgtask::testing::idle().await;
    bgtask::testing::assert_called("save", 3);
}

#[bgtask::test]
#[should_panic(expected = "disk full")]
async fn a_test_fails_with_an_error_that_nobody_looked_at() {
    spawn!("fails in a test", async {
        Err::<(), _>(io::Error::other("disk full"))
    });
}
