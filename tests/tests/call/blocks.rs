//! `spawn!`: a block or closure in the background, at the site where it is written.

use bgtask::{
    Group, Kind, OnShutdown, Outcome, RefusedReason, ShutdownToken, TaskError, TaskHandle,
    TaskState, spawn,
};
use bgtask_tests::{on_both_flavors, record_events, recorded_of, runtimes, until};
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::Level;

/// Returns the only handler with this name.
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
fn a_site_is_a_handler_before_its_first_call() {
    let own = handler("never called");
    assert_eq!(own.module_path(), module_path!());
    assert_eq!(own.file(), file!());
    assert_eq!(own.kind(), Kind::Async);
    assert!(own.takes_token());
    assert_eq!(own.options().to_string(), "timeout = 30s, log = info");
}

#[test]
fn the_debug_output_of_a_handler_has_no_addresses() {
    let shown = format!("{:?}", handler("never called"));
    let wanted = r#"Handler { name: "never called", file: "tests/tests/call/blocks.rs", line: "#;
    assert!(shown.starts_with(wanted), "{shown}");
    assert!(shown.contains(r#"options: ["timeout = 30s""#), "{shown}");
    assert!(!shown.contains("0x"), "{shown}");
}

#[test]
fn a_call_is_accounted_for_and_its_location_is_the_site() {
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
fn a_site_in_a_generic_function_is_one_handler_for_all_instances() {
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
    // Nothing drives the runtime, so no part of the work can have run.
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
fn a_closure_that_blocks_runs_off_the_workers() {
    on_both_flavors(async |_| {
        let (release, held) = mpsc::channel::<u32>();
        let blocks = spawn!("blocks", move || held.recv().unwrap());
        // On the only worker, this would never complete.
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
fn on_shutdown_decides_how_the_drain_treats_a_block() {
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
fn the_task_calls_the_closure_that_returns_its_future() {
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
fn an_unread_error_of_a_block_is_logged() {
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
        let read = spawn!("fails seen", async { Err::<(), _>("seen") });
        assert_eq!(read.await, Ok(Err("seen")));
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
fn the_span_and_events_of_a_block_use_its_name_and_level() {
    record_events();
    on_both_flavors(async |_| {
        spawn!("logged", log = "info", async { tracing::info!("within") })
            .await
            .unwrap();
        spawn!("silent", log = "off", || ()).await.unwrap();
    });
    let events = recorded_of("logged");
    let within = events
        .iter()
        .find(|event| event.message == "within")
        .unwrap();
    assert_eq!(within.span_field("name"), "logged");
    assert!(
        events
            .iter()
            .any(|event| event.level == Level::INFO && event.message.contains("started"))
    );
    assert!(recorded_of("silent").is_empty());
}

#[test]
fn a_handle_cancels_and_aborts_its_block() {
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
fn hooks_are_called_for_blocks() {
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
fn the_work_expression_is_evaluated_outside_of_its_group() {
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
async fn a_test_counts_blocks_by_name() {
    saves(1);
    saves(2);
    spawn!("save", || ());
    bgtask::testing::idle().await;
    bgtask::testing::assert_called("save", 3);
}

#[bgtask::test]
#[should_panic(expected = "disk full")]
async fn a_test_fails_with_an_unread_error_of_a_block() {
    spawn!("fails in a test", async {
        Err::<(), _>(io::Error::other("disk full"))
    });
}
