//! Slow tasks: `warn_after`, and tasks that run long after their token fired.

use bgtask::{Manager, ShutdownToken, TaskId, TaskState, background};
use bgtask_tests::{Event, FOREVER, record_events, recorded, until};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tracing::Level;

/// Runs `test` under a manager with this `warn_after`, and shuts it down.
fn with_default<F: AsyncFn(&Manager)>(limit: Option<Duration>, test: F) {
    record_events();
    let runtime = Runtime::new().unwrap();
    let mut settings = Manager::builder().grace(FOREVER);
    if let Some(limit) = limit {
        settings = settings.warn_after(limit);
    }
    let manager = settings.install_on(runtime.handle()).unwrap();
    runtime.block_on(async {
        test(&manager).await;
        assert!(manager.shutdown("the test ends").await.is_clean());
    });
}

const SHORT: Option<Duration> = Some(Duration::from_millis(50));

/// Returns the reports about one task.
fn reports_of(id: TaskId) -> Vec<Event> {
    recorded(|event| {
        event.message == "task is running longer than `warn_after`"
            && event.field("id") == id.to_string()
    })
}

/// Waits until a task that starts now is reported: by then every earlier task has been checked.
async fn until_a_later_task_is_reported() {
    let later = waits_by_default().id();
    until("a later task is reported", || !reports_of(later).is_empty()).await;
}

#[background]
async fn waits_by_default(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(warn_after = "50ms")]
async fn waits_for_long(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(warn_after = "50ms")]
fn blocks_for_long(token: ShutdownToken) {
    token.wait();
}

/// Parses a duration as events print it: `1.5s`, `230.0ms`.
fn seconds(time: &str) -> f64 {
    let units = [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let read = |(unit, seconds)| Some(time.strip_suffix(unit)?.parse::<f64>().ok()? * seconds);
    let read = units.into_iter().find_map(read);
    read.unwrap_or_else(|| panic!("{time:?} is no length of time"))
}

#[test]
fn a_slow_task_is_reported_once_with_name_id_age_state_and_location() {
    with_default(None, async |_| {
        let line = line!() + 1;
        let tasks = [waits_for_long(), blocks_for_long()];
        for (task, called_at) in tasks.iter().zip([line, line]) {
            until("it is reported", || !reports_of(task.id()).is_empty()).await;
            let later = waits_for_long().id();
            until("a later one is", || !reports_of(later).is_empty()).await;
            let [report] = &reports_of(task.id())[..] else {
                panic!("reported more than once");
            };
            assert_eq!(report.level, Level::WARN);
            assert_eq!(report.field("name"), task.name());
            assert_eq!(report.field("state"), "running");
            assert_eq!(report.field("attempt"), "1");
            let limit = report.field("warn_after");
            assert_eq!(limit, "50.0ms");
            assert!(seconds(report.field("age")) >= seconds(limit));
            let location = format!("{}:{called_at}:", file!());
            assert!(report.field("called_at").starts_with(&location));
        }
    });
}

#[background]
async fn ends_at_once() {}

#[test]
fn a_task_that_ends_in_time_is_not_reported() {
    with_default(SHORT, async |_| {
        let ended = ends_at_once();
        let id = ended.id();
        ended.await.unwrap();
        until_a_later_task_is_reported().await;
        assert!(reports_of(id).is_empty());
    });
}

#[background(warn_after = "1h")]
async fn warns_after_an_hour(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(warn_after = "never")]
async fn never_warns(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(on_start)]
async fn consumes(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(on_start, warn_after = "50ms")]
async fn should_be_ready_soon(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(log = "off")]
async fn is_silent(token: ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn warn_after_of_a_function_overrides_that_of_the_manager() {
    with_default(SHORT, async |_| {
        let quiet = [
            warns_after_an_hour().id(),
            never_warns().id(),
            // It is meant to run for long.
            consumes().id(),
            is_silent().id(),
        ];
        let slow = should_be_ready_soon().id();
        until("it is reported", || !reports_of(slow).is_empty()).await;
        until_a_later_task_is_reported().await;
        for id in quiet {
            assert!(reports_of(id).is_empty(), "{:?}", reports_of(id));
        }
    });
    with_default(Some(FOREVER * 1000), async |_| {
        let own = waits_for_long().id();
        until("its own limit counts", || !reports_of(own).is_empty()).await;
    });
}

#[background(concurrency = 1, warn_after = "300ms")]
async fn one_at_a_time(until: Arc<Notify>) {
    until.notified().await;
}

#[test]
fn time_in_a_wait_queue_does_not_count() {
    with_default(SHORT, async |manager| {
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let [runs, waits] = [&first, &second].map(|until| one_at_a_time(until.clone()).id());
        until("the first is reported", || !reports_of(runs).is_empty()).await;
        until_a_later_task_is_reported().await;
        assert!(reports_of(waits).is_empty(), "it waits for its permit");
        let let_through = Instant::now();
        first.notify_one();
        until("the second is let through, and takes long", || {
            !reports_of(waits).is_empty()
        })
        .await;
        assert!(let_through.elapsed() >= Duration::from_millis(300));
        assert_eq!(reports_of(waits)[0].field("state"), "running");
        second.notify_one();
        until("both have ended", || manager.stats().succeeded >= 2).await;
    });
}

#[background(warn_after = "50ms", retry(max = 2, base = "1h", cap = "1h"))]
async fn fails_for_now(token: ShutdownToken) -> Result<(), &'static str> {
    if token.is_cancelled() {
        Ok(())
    } else {
        Err("for now")
    }
}

#[test]
fn a_slow_task_between_two_attempts_is_reported_as_backing_off() {
    record_events();
    let runtime = Runtime::new().unwrap();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    runtime.block_on(async {
        // On a busy machine the first attempt may itself take that long.
        for more in (0..100).rev() {
            let task = fails_for_now();
            until("it is reported", || !reports_of(task.id()).is_empty()).await;
            match reports_of(task.id())[0].field("state") {
                "backing off" => break,
                state => assert!(state == "running" && more > 0, "{state}"),
            }
        }
        manager.shutdown("the test ends").await;
    });
}

#[background]
async fn one_of_many(token: ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn of_many_slow_tasks_some_are_named_and_the_rest_are_summed_up() {
    const MANY: usize = 10_000;
    with_default(Some(Duration::from_millis(300)), async |_| {
        let _ids: Vec<_> = (0..MANY).map(|_| one_of_many().id()).collect();
        let count = || {
            let named = recorded(|event| {
                event.message == "task is running longer than `warn_after`"
                    && event.field("name").ends_with("::one_of_many")
            });
            let sums = recorded(|event| {
                event.message == "more tasks are running longer than `warn_after`"
                    && event.field("tasks").ends_with("::one_of_many")
            });
            let sums = sums
                .iter()
                .map(|event| event.field("count").parse::<usize>().unwrap());
            (named.len(), sums.sum::<usize>())
        };
        until("all are reported", || {
            let (named, summed_up) = count();
            named + summed_up == MANY
        })
        .await;
        let (named, summed_up) = count();
        assert!(named >= 20 && summed_up > 0, "{named} named");
    });
}

#[background]
async fn ignores_its_token(until: Arc<Notify>) {
    until.notified().await;
}

#[background]
async fn ignores_its_parameter(_token: ShutdownToken, until: Arc<Notify>) {
    until.notified().await;
}

#[background]
async fn calls_another(token: ShutdownToken, until: Arc<Notify>) {
    token.cancelled().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_called_while_draining(until);
}

#[background]
async fn is_called_while_draining(until: Arc<Notify>) {
    until.notified().await;
}

#[background(concurrency(max = 1))]
async fn takes_turns(until: Arc<Notify>) {
    until.notified().await;
}

#[background(on_shutdown = "finish")]
async fn finishes_without_a_token(until: Arc<Notify>) {
    until.notified().await;
}

/// Behaviour 7.
#[test]
fn a_task_that_runs_half_the_grace_period_after_its_token_fired_is_reported_once() {
    const MANY: usize = 30;
    record_events();
    let runtime = Runtime::new().unwrap();
    let manager = Manager::builder()
        .grace(Duration::from_secs(6))
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let go = Arc::new(Notify::new());
        let line = line!() + 1;
        let first = ignores_its_parameter(go.clone());
        let finishes = finishes_without_a_token(go.clone());
        for _ in 1..MANY {
            ignores_its_token(go.clone());
        }
        let report_of = |name: &str| {
            recorded(|event| {
                event.message == "task is still running long after its token fired"
                    && event.field("name").ends_with(name)
            })
        };
        let sums = || {
            recorded(|event| {
                event.message == "more tasks are still running long after their tokens fired"
            })
        };
        calls_another(go.clone());
        takes_turns(go.clone());
        // It waits for a permit all the time, which counts during the drain.
        let until_it_begins = Arc::new(Notify::new());
        until_it_begins.notify_one();
        takes_turns(until_it_begins);
        let shutdown = manager.shutdown("the test ends");
        let reported = async {
            until("the rest is summed up", || !sums().is_empty()).await;
            // Its time starts at its call; the scan that finds it would find the others again.
            until("a later call is reported", || {
                !report_of("::is_called_while_draining").is_empty()
            })
            .await;
            go.notify_waiters();
        };
        let (report, ()) = tokio::join!(shutdown, reported);
        assert!(report.is_clean(), "{report}");
        let [event] = &report_of("::ignores_its_parameter")[..] else {
            panic!("{:?}", report_of("::ignores_its_parameter"));
        };
        assert_eq!(event.level, Level::WARN);
        assert_eq!(event.field("id"), first.id().to_string());
        assert_eq!(event.field("takes_token"), "true");
        assert_eq!(event.field("state"), TaskState::Running.to_string());
        let location = format!("{}:{line}:", file!());
        assert!(event.field("called_at").starts_with(&location));
        // At most three seconds were left.
        let left = seconds(event.field("remaining"));
        assert!(left <= 3.0, "{left}");
        let others = report_of("::ignores_its_token");
        assert_eq!(others.len(), 19, "with the first one that is twenty");
        assert!(
            others
                .iter()
                .all(|event| event.field("takes_token") == "false")
        );
        let [sum] = &sums()[..] else {
            panic!("{:?}", sums());
        };
        assert_eq!(sum.field("count"), "12");
        let tasks =
            "10 × observe::slow_tasks::ignores_its_token, 2 × observe::slow_tasks::takes_turns";
        assert_eq!(sum.field("tasks"), tasks);
        let finishing = report_of("::finishes_without_a_token");
        assert!(finishing.is_empty(), "{}: {finishing:?}", finishes.id());
    });
}
