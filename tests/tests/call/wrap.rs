//! Code around each attempt: `ManagerBuilder::wrap`, `bgtask::wrap`, and the option `wrap`.

use bgtask::{Attempt, Manager, Outcome, TaskError, background};
use bgtask_tests::{record_events, recorded_of, until};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tracing::Instrument;

tokio::task_local! {
    static TENANT: String;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Runs a test on runtimes of one and of several threads, whose managers have the wrappers that `build` adds.
fn on_both_flavors<F: Future<Output = ()>>(
    build: impl Fn(bgtask::ManagerBuilder) -> bgtask::ManagerBuilder,
    test: impl Fn(Arc<Manager>) -> F,
) {
    let one = Builder::new_current_thread().enable_all().build().unwrap();
    let several = Runtime::new().unwrap();
    for runtime in [one, several] {
        let manager = build(Manager::builder()).install_on(runtime.handle());
        let manager = Arc::new(manager.unwrap());
        runtime.block_on(test(manager.clone()));
        runtime.block_on(manager.shutdown("the test ends"));
    }
}

/// Returns a wrapper that logs.
fn logs(
    log: &Log,
    name: &'static str,
) -> impl Fn(Attempt) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + use<> {
    let log = log.clone();
    move |attempt| {
        let log = log.clone();
        Box::pin(async move {
            log.add(format!("{name} before {}", attempt.number()));
            let outcome = attempt.await;
            tokio::task::yield_now().await;
            log.add(format!("{name} after: {outcome}"));
        })
    }
}

fn tenant() -> String {
    TENANT
        .try_with(Clone::clone)
        .unwrap_or_else(|_| "nobody".to_owned())
}

#[background]
async fn simple() -> String {
    tokio::task::yield_now().await;
    tenant()
}

#[background]
fn plain() -> String {
    tenant()
}

#[background(timeout = "1h")]
async fn with_policies() -> String {
    tokio::task::yield_now().await;
    tenant()
}

#[background(concurrency = 1)]
fn plain_with_policies() -> String {
    tenant()
}

async fn inside(attempt: Attempt) {
    let tenant = format!("{}, inside", tenant());
    TENANT.scope(tenant, attempt).await;
}

#[background(wrap = inside)]
async fn with_its_own() -> String {
    tenant()
}

#[background(wrap = inside)]
fn plain_with_its_own() -> String {
    tenant()
}

struct Shop;

impl Shop {
    #[background(wrap = inside, retry(max = 2))]
    async fn method(self: Arc<Self>) -> Result<String, String> {
        Ok(tenant())
    }
}

#[test]
fn task_locals_of_a_wrapper_reach_the_body_of_every_form_of_function() {
    on_both_flavors(
        |builder| {
            builder.wrap(|attempt: Attempt| async move {
                TENANT.scope("acme".to_owned(), attempt).await;
            })
        },
        async |manager| {
            assert_eq!(simple().await.unwrap(), "acme");
            assert_eq!(plain().await.unwrap(), "acme");
            assert_eq!(with_policies().await.unwrap(), "acme");
            assert_eq!(plain_with_policies().await.unwrap(), "acme");
            assert_eq!(with_its_own().await.unwrap(), "acme, inside");
            assert_eq!(plain_with_its_own().await.unwrap(), "acme, inside");
            let output = Arc::new(Shop).method().await.unwrap();
            assert_eq!(output.unwrap(), "acme, inside");
            let block = bgtask::spawn!("a block", async { tenant() });
            assert_eq!(block.await.unwrap(), "acme");
            let block = bgtask::spawn!("a plain block", || tenant());
            assert_eq!(block.await.unwrap(), "acme");
            assert_eq!(manager.stats().succeeded, 9);
        },
    );
}

#[test]
fn the_wrapper_added_first_is_the_outermost_and_each_attempt_is_wrapped() {
    #[background(log = "off", retry(max = 2, base = "1ms"))]
    async fn fails_once(log: Log, failures: Arc<AtomicU32>) -> Result<(), String> {
        log.add("body");
        match failures.fetch_add(1, Ordering::Relaxed) {
            0 => Err("once".to_owned()),
            _ => Ok(()),
        }
    }
    #[background(log = "off")]
    fn fails_plainly(log: Log) -> Result<(), String> {
        log.add("body");
        Err("always".to_owned())
    }
    let log = Log::default();
    on_both_flavors(
        |builder| builder.wrap(logs(&log, "first")).wrap(logs(&log, "second")),
        async |_| {
            bgtask::wrap(logs(&log, "third"));
            let output = fails_once(log.clone(), Arc::default()).await;
            output.unwrap().unwrap();
            let attempt = |number, outcome| {
                [
                    format!("first before {number}"),
                    format!("second before {number}"),
                    format!("third before {number}"),
                    "body".to_owned(),
                    format!("third after: {outcome}"),
                    format!("second after: {outcome}"),
                    format!("first after: {outcome}"),
                ]
            };
            let expected = [attempt(1, "failed"), attempt(2, "succeeded")];
            assert_eq!(log.take(), expected.concat());
            fails_plainly(log.clone()).await.unwrap().unwrap_err();
            assert_eq!(log.take(), attempt(1, "failed"));
        },
    );
}

#[test]
fn a_wrapper_has_the_call_at_hand() {
    #[background(log = "off", fields(order.id = id))]
    async fn delivers(id: u64) {
        let _ = id;
    }
    let log = Log::default();
    on_both_flavors(
        |builder| {
            let log = log.clone();
            builder.wrap(move |attempt: Attempt| {
                log.add(format!("{} {}", attempt.id(), attempt.fields()));
                assert_eq!(attempt.handler().name(), attempt.name());
                assert_eq!(attempt.called_at().file(), file!());
                assert!(format!("{attempt:?}").contains("delivers"));
                async { assert_eq!(attempt.await, Outcome::Succeeded) }
            })
        },
        async |_| {
            let task = delivers(7);
            let id = task.id();
            task.await.unwrap();
            assert_eq!(log.take(), [format!("{id} order.id=7")]);
        },
    );
}

#[test]
fn a_panic_in_a_wrapper_or_through_it_is_the_panic_of_the_task() {
    #[background(log = "off")]
    async fn panics_itself() {
        panic!("in the body");
    }
    #[background(log = "off", timeout = "1h")]
    fn panics_plainly() {
        panic!("in the body");
    }
    #[background(log = "off")]
    async fn runs() {}
    #[background(log = "off", timeout = "1h")]
    fn runs_plainly() {}
    let log = Log::default();
    on_both_flavors(
        |builder| builder.wrap(logs(&log, "around")),
        async |manager| {
            let panicked = |result: Result<(), TaskError>| match result {
                Err(TaskError::Panicked { message, .. }) => message,
                other => panic!("{other:?}"),
            };
            assert_eq!(panicked(panics_itself().await), "in the body");
            assert_eq!(panicked(panics_plainly().await), "in the body");
            assert_eq!(log.take(), ["around before 1", "around before 1"]);
            bgtask::wrap(|attempt| async {
                attempt.await;
                panic!("behind the body");
            });
            assert_eq!(panicked(runs().await), "behind the body");
            assert_eq!(panicked(runs_plainly().await), "behind the body");
            log.take();
            assert_eq!(manager.stats().panicked, 4);
        },
    );
}

#[test]
fn a_wrapper_that_does_not_run_the_body_to_its_end_cancels_the_call() {
    async fn does_not_run(attempt: Attempt) {
        drop(attempt);
    }
    async fn gives_up(attempt: Attempt) {
        tokio::select! {
            biased;
            _ = attempt => unreachable!("the body never ends"),
            () = tokio::task::yield_now() => {}
        }
    }
    #[background(wrap = does_not_run, retry(max = 3))]
    async fn never_runs(ran: Arc<AtomicU32>) -> Result<(), String> {
        ran.fetch_add(1, Ordering::Relaxed);
        Err("it ran".to_owned())
    }
    #[background(wrap = gives_up)]
    async fn runs_in_part(ran: Arc<AtomicU32>) {
        ran.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
    #[background(wrap = does_not_run)]
    fn never_runs_plainly(ran: Arc<AtomicU32>) {
        ran.fetch_add(1, Ordering::Relaxed);
    }
    #[background]
    async fn never_runs_here(ran: Arc<AtomicU32>) {
        ran.fetch_add(1, Ordering::Relaxed);
    }
    record_events();
    on_both_flavors(
        |builder| builder,
        async |manager| {
            let ran = Arc::new(AtomicU32::new(0));
            let times = || ran.load(Ordering::Relaxed);
            assert!(matches!(
                never_runs(ran.clone()).await,
                Err(TaskError::Cancelled)
            ));
            assert!(matches!(
                never_runs_plainly(ran.clone()).await,
                Err(TaskError::Cancelled)
            ));
            assert_eq!(times(), 0);
            assert!(matches!(
                runs_in_part(ran.clone()).await,
                Err(TaskError::Cancelled)
            ));
            assert_eq!(times(), 1);
            bgtask::wrap(does_not_run);
            assert!(matches!(
                never_runs_here(ran.clone()).await,
                Err(TaskError::Cancelled)
            ));
            assert_eq!((times(), manager.stats().cancelled), (1, 4));
        },
    );
    for task in [
        "never_runs",
        "runs_in_part",
        "never_runs_plainly",
        "never_runs_here",
    ] {
        let reports = recorded_of(task).into_iter().filter(|event| {
            event.message
                == "task cancelled: the code that wraps it returned before its body had ended"
        });
        assert_eq!(reports.count(), 2, "{task}");
    }
}

#[test]
fn a_wrapped_task_is_cancelled_timed_out_aborted_and_drained_like_any_other() {
    #[background(log = "off", timeout = "10ms")]
    async fn times_out() {
        std::future::pending().await
    }
    #[background(log = "off", on_shutdown = "cancel")]
    async fn is_cancelled() {
        std::future::pending().await
    }
    #[background(log = "off")]
    async fn is_aborted() {
        std::future::pending().await
    }
    #[background(log = "off")]
    async fn calls_another() -> u64 {
        let before = bgtask::stats().accepted;
        simple();
        bgtask::stats().accepted - before
    }
    on_both_flavors(
        |builder| {
            builder.wrap(|attempt: Attempt| async move {
                attempt.await;
            })
        },
        async |manager| {
            assert!(matches!(times_out().await, Err(TaskError::TimedOut)));
            let task = is_aborted();
            until("it runs", || {
                manager.tasks()[0].state == bgtask::TaskState::Running
            })
            .await;
            task.abort();
            assert!(matches!(task.await, Err(TaskError::Aborted)));
            assert_eq!(calls_another().await.unwrap(), 1);
            let task = is_cancelled();
            let report = manager.shutdown("test").await;
            assert!(matches!(task.await, Err(TaskError::Cancelled)));
            assert_eq!(report.straggler_count, 0);
        },
    );
}

#[test]
fn an_error_is_judged_and_an_output_dropped_as_without_a_wrapper() {
    #[background]
    async fn fails_in_its_wrapper() -> Result<(), String> {
        Err("as ever".to_owned())
    }
    struct Counted(Arc<AtomicU32>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    #[background]
    async fn returns(counted: Counted) -> Counted {
        counted
    }
    record_events();
    on_both_flavors(
        |builder| {
            builder.wrap(|attempt: Attempt| async move {
                attempt.await;
            })
        },
        async |manager| {
            fails_in_its_wrapper();
            let drops = Arc::new(AtomicU32::new(0));
            returns(Counted(drops.clone()));
            until("both have ended", || manager.stats().running == 0).await;
            assert_eq!(drops.load(Ordering::Relaxed), 1);
            let output = returns(Counted(drops.clone())).await.unwrap();
            assert_eq!(drops.load(Ordering::Relaxed), 1);
            drop(output);
            assert_eq!(drops.load(Ordering::Relaxed), 2);
            assert_eq!(manager.stats().failed, 1);
        },
    );
    let failed = recorded_of("fails_in_its_wrapper").into_iter();
    let failed = failed.filter(|event| event.message == "task failed");
    assert_eq!(failed.count(), 2);
}

#[test]
fn a_plain_function_within_a_wrapper_may_block_on_the_runtime_and_its_wrapper_may_wait() {
    #[background]
    fn blocks_on_the_runtime() -> u32 {
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            5
        })
    }
    on_both_flavors(
        |builder| {
            builder.wrap(|attempt: Attempt| async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                attempt.await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            })
        },
        async |_| assert_eq!(blocks_on_the_runtime().await.unwrap(), 5),
    );
}

#[test]
fn a_span_around_an_attempt_is_around_the_body() {
    #[background(log = "off")]
    async fn logs_in_its_span() {
        tracing::info!(target: "bgtask", name = "wrap::logs_in_its_span", "in the body");
    }
    record_events();
    on_both_flavors(
        |builder| {
            builder.wrap(|attempt: Attempt| {
                let span = tracing::info_span!(target: "bgtask", "tenant", tenant = "acme");
                async {
                    attempt.await;
                }
                .instrument(span)
            })
        },
        async |_| logs_in_its_span().await.unwrap(),
    );
    let events = recorded_of("logs_in_its_span");
    let events: Vec<_> = events
        .iter()
        .filter(|event| event.message == "in the body")
        .collect();
    assert_eq!(events.len(), 2);
    assert!(
        events
            .iter()
            .all(|event| event.span_field("tenant") == "acme")
    );
}
