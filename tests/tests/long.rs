//! What takes long: `warn_after`, and what runs on long after its token fired. The latter is part of behaviour 7.

use bgtask::{Manager, ShutdownToken, TaskId, TaskState, background};
use bgtask_tests::{Event, FOREVER, record_events, recorded, until};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tracing::Level;

/// Runs `test` under a manager that reports what takes longer than this, and shuts that down.
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

/// The reports of one task.
fn reports_of(id: TaskId) -> Vec<Event> {
    recorded(|event| {
        event.message == "task is running longer than `warn_after`"
            && event.field("id") == id.to_string()
    })
}

/// Waits until a task is reported that is called only now: whatever was called before has been looked at by then.
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

/// A length of time as events say it: `1.5s`, `230.0ms`.
fn seconds(time: &str) -> f64 {
    let units = [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let read = |(unit, seconds)| Some(time.strip_suffix(unit)?.parse::<f64>().ok()? * seconds);
    let read = units.into_iter().find_map(read);
    read.unwrap_or_else(|| panic!("{time:?} is no length of time"))
}

#[test]
fn a_task_that_takes_long_is_reported_once_with_name_id_age_state_and_place() {
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
            let place = format!("{}:{called_at}:", file!());
            assert!(report.field("called_at").starts_with(&place));
        }
    });
}

#[background]
async fn ends_at_once() {}

#[test]
fn what_has_ended_in_time_is_not_reported() {
    with_default(SHORT, async |_| {
        let ended = ends_at_once();
        let id = ended.id();
        ended.await.unwrap();
        until_a_later_task_is_reported().await;
        assert!(reports_of(id).is_empty());
    });
}

#[background(warn_after = "1h")]
async fn may_take_an_hour(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(warn_after = "never")]
async fn may_take_for_ever(token: ShutdownToken) {
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
fn the_functions_own_warn_after_comes_before_the_managers() {
    with_default(SHORT, async |_| {
        let quiet = [
            may_take_an_hour().id(),
            may_take_for_ever().id(),
            // To run for long is what it is there for.
            consumes().id(),
            is_silent().id(),
        ];
        let told = should_be_ready_soon().id();
        until("it is reported", || !reports_of(told).is_empty()).await;
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
fn time_in_a_line_does_not_count() {
    with_default(SHORT, async |manager| {
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let [runs, waits] = [&first, &second].map(|until| one_at_a_time(until.clone()).id());
        until("the first is reported", || !reports_of(runs).is_empty()).await;
        until_a_later_task_is_reported().await;
        assert!(reports_of(waits).is_empty(), "it waits as it was told to");
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
    match token.is_cancelled() {
        true => Ok(()),
        false => Err("for now"),
    }
}

#[test]
fn a_task_between_two_attempts_is_reported_as_such() {
    record_events();
    let runtime = Runtime::new().unwrap();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    runtime.block_on(async {
        // On a machine that is busy the first attempt may take that long itself.
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
fn of_many_tasks_that_take_long_some_are_named_and_the_rest_summed_up() {
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
        until("all are told of", || {
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
async fn does_not_care(_token: ShutdownToken, until: Arc<Notify>) {
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
async fn is_not_told(until: Arc<Notify>) {
    until.notified().await;
}

#[test]
fn b07_what_runs_on_half_the_grace_period_after_its_token_fired_is_reported_once() {
    const MANY: usize = 30;
    record_events();
    let runtime = Runtime::new().unwrap();
    let manager = Manager::builder()
        .grace(Duration::from_secs(6))
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let until_told = Arc::new(Notify::new());
        let line = line!() + 1;
        let first = does_not_care(until_told.clone());
        let finishes = is_not_told(until_told.clone());
        for _ in 1..MANY {
            ignores_its_token(until_told.clone());
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
        calls_another(until_told.clone());
        takes_turns(until_told.clone());
        // It stands in line all the while, and that counts now.
        let until_it_begins = Arc::new(Notify::new());
        until_it_begins.notify_one();
        takes_turns(until_it_begins);
        let shutdown = manager.shutdown("the test ends");
        let told = async {
            until("the rest is summed up", || !sums().is_empty()).await;
            // Its time counts from its call; the look that finds it would find the others again.
            until("a later call is reported", || {
                !report_of("::is_called_while_draining").is_empty()
            })
            .await;
            until_told.notify_waiters();
        };
        let (report, ()) = tokio::join!(shutdown, told);
        assert!(report.is_clean(), "{report}");
        let [event] = &report_of("::does_not_care")[..] else {
            panic!("{:?}", report_of("::does_not_care"));
        };
        assert_eq!(event.level, Level::WARN);
        assert_eq!(event.field("id"), first.id().to_string());
        assert_eq!(event.field("takes_token"), "true");
        assert_eq!(event.field("state"), TaskState::Running.to_string());
        let place = format!("{}:{line}:", file!());
        assert!(event.field("called_at").starts_with(&place));
        // Three seconds were left, or less.
        let left = seconds(event.field("remaining"));
        assert!(left <= 3.0, "{left}");
        let others = report_of("::ignores_its_token");
        assert_eq!(others.len(), 19, "with the first one that is twenty");
        assert!(others.iter().all(|own| own.field("takes_token") == "false"));
        let [sum] = &sums()[..] else {
            panic!("{:?}", sums());
        };
        assert_eq!(sum.field("count"), "12");
        let tasks = "10 × long::ignores_its_token, 2 × long::takes_turns";
        assert_eq!(sum.field("tasks"), tasks);
        let not_told = report_of("::is_not_told");
        assert!(not_told.is_empty(), "{}: {not_told:?}", finishes.id());
    });
}
