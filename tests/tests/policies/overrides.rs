//! New values for options while the program runs: which functions they reach, what they do to calls that wait, and what is refused.

use crate::support::{Gauge, SECOND};
use bgtask::{InstallError, Manager, Overrides, Rate, TaskError, background};
use bgtask_tests::{in_paused_time, runtimes, settle};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[background(
    name = "overridden::limited",
    concurrency(max = 2, queue = 100),
    log = "off"
)]
async fn limited(gauge: Gauge) {
    let _inside = gauge.enter();
    sleep(SECOND).await;
}

#[test]
fn a_higher_limit_admits_calls_that_wait_at_once_and_a_lower_one_stops_no_run() {
    in_paused_time(async |manager| {
        let gauge = Gauge::default();
        let tasks: Vec<_> = (0..20).map(|_| limited(gauge.clone())).collect();
        settle().await;
        assert_eq!(gauge.now(), 2);
        let to =
            |max| Overrides::new().set("overridden::limited", |options| options.concurrency(max));
        manager.reconfigure(&to(7)).unwrap();
        settle().await;
        assert_eq!(gauge.now(), 7);
        manager.reconfigure(&to(3)).unwrap();
        settle().await;
        assert_eq!(gauge.now(), 7, "they run to their end");
        sleep(SECOND / 2).await;
        sleep(SECOND).await;
        assert_eq!(gauge.now(), 3);
        // Nothing names the function any more, so it has the limit of its attribute again.
        manager.reconfigure(&Overrides::new()).unwrap();
        sleep(2 * SECOND).await;
        assert_eq!(gauge.now(), 2);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!(gauge.most(), 7);
    });
}

#[background(name = "overridden::per_key", concurrency(max = 1, key = *key), log = "off")]
async fn per_key(key: u32, gauge: Gauge) {
    let _inside = gauge.enter();
    let _ = key;
    sleep(SECOND).await;
}

#[test]
fn a_limit_per_key_is_changed_for_the_keys_that_are_known_and_those_that_come() {
    in_paused_time(async |manager| {
        let (known, new) = (Gauge::default(), Gauge::default());
        let mut tasks: Vec<_> = (0..6).map(|_| per_key(1, known.clone())).collect();
        settle().await;
        assert_eq!(known.now(), 1);
        let overrides = Overrides::new().set("overridden::per_*", |options| options.concurrency(3));
        manager.reconfigure(&overrides).unwrap();
        tasks.extend((0..6).map(|_| per_key(2, new.clone())));
        settle().await;
        assert_eq!((known.now(), new.now()), (3, 3));
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
    });
}

#[background(name = "overridden::paced", rate = "1/h", log = "off")]
async fn paced(at: Arc<Mutex<Vec<Instant>>>) {
    at.lock().unwrap().push(Instant::now());
}

#[test]
fn calls_that_wait_for_their_rate_get_their_starts_by_the_new_one() {
    in_paused_time(async |manager| {
        let at: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let begin = Instant::now();
        let tasks: Vec<_> = (0..9).map(|_| paced(at.clone())).collect();
        sleep(10 * SECOND).await;
        assert_eq!(at.lock().unwrap().len(), 1);
        let to = |rate| Overrides::new().set("overridden::paced", |options| options.rate(rate));
        // Four in any ten seconds: the start ten seconds ago counts no more.
        manager
            .reconfigure(&to(Rate::new(4, Duration::from_secs(10))))
            .unwrap();
        settle().await;
        assert_eq!(at.lock().unwrap().len(), 5);
        // Slower again, while they wait: one an hour.
        manager.reconfigure(&to(Rate::per_hour(1))).unwrap();
        sleep(3500 * SECOND).await;
        assert_eq!(at.lock().unwrap().len(), 5);
        manager.reconfigure(&to(Rate::per_second(100))).unwrap();
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!((Instant::now() - begin).as_secs(), 3510);
    });
}

#[background(
    name = "overridden::tried",
    retry(max = 2, base = "1s", cap = "1s"),
    timeout = "1s",
    log = "off"
)]
async fn tried(at: Arc<Mutex<Vec<Instant>>>) -> Result<(), String> {
    at.lock().unwrap().push(Instant::now());
    sleep(2 * SECOND).await;
    Err("it fails".to_owned())
}

#[test]
fn attempts_and_their_limit_change_for_calls_that_run() {
    in_paused_time(async |manager| {
        let at: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let task = tried(at.clone());
        sleep(SECOND / 2).await;
        let overrides = Overrides::new().set("overridden::tried", |options| {
            let options = options.max_attempts(3).timeout(3 * SECOND);
            options.base(10 * SECOND).cap(20 * SECOND)
        });
        manager.reconfigure(&overrides).unwrap();
        assert_eq!(task.await, Ok(Err("it fails".to_owned())));
        let at = at.lock().unwrap();
        let pauses: Vec<_> = at
            .windows(2)
            .map(|two| (two[1] - two[0]).as_secs())
            .collect();
        // The first attempt kept its limit of a second; the second took its two seconds.
        assert_eq!(pauses, [1 + 10, 2 + 20]);
    });
}

#[test]
fn a_builder_configures_and_a_name_comes_before_patterns() {
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .configure("overridden::tried", |options| {
            options.timeout(4 * SECOND).max_attempts(2)
        })
        .configure("*", |options| options.timeout(SECOND / 10))
        .configure("overridden::*", |options| options.timeout(SECOND / 20))
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        let at = Arc::default();
        tokio::time::pause();
        let begin = Instant::now();
        assert_eq!(tried(at).await, Ok(Err("it fails".to_owned())));
        assert_eq!((Instant::now() - begin).as_secs(), 2 + 1 + 2);
        manager.shutdown("the test").await;
    });
}

#[background(name = "overridden::plain")]
async fn plain() {}

#[test]
fn mistakes_are_listed_and_nothing_is_changed() {
    in_paused_time(async |manager| {
        let gauge = Gauge::default();
        let wrong = Overrides::new()
            .set("overridden::limited", |options| options.concurrency(5))
            .set("overridden::plain", |options| options.timeout(SECOND))
            .set("overridden::tried", |options| {
                options
                    .max_attempts(1)
                    .base(SECOND * 5)
                    .timeout(Duration::ZERO)
            })
            .set("overridden::*", |options| options.every(SECOND))
            .set("overriden::limited", |options| options.queue(1));
        let error = manager.reconfigure(&wrong).unwrap_err();
        let mistakes: Vec<_> = error.mistakes().collect();
        assert_eq!(mistakes.len(), 6, "{error}");
        assert!(
            mistakes[0]
                .starts_with("no background function fits `overriden::limited`: there are `"),
            "{error}"
        );
        for expected in [
            "`overridden::plain` does not have `timeout` on its attribute, and overrides add no options: it has none",
            "`overridden::tried`: `timeout` must be longer than zero",
            "`overridden::tried`: `max` of `retry` counts all attempts, and must be at least 2",
            "`overridden::tried`: `base` of `retry` is longer than its `cap`, and no pause is",
            "none of the functions that fit `overridden::*` has the option `every` on its attribute, and overrides add none",
        ] {
            assert!(mistakes.contains(&expected), "{expected}\n\n{error}");
        }
        let tasks: Vec<_> = (0..5).map(|_| limited(gauge.clone())).collect();
        settle().await;
        assert_eq!(gauge.now(), 2);
        for task in tasks {
            assert_eq!(task.await, Ok(()));
        }
        assert_eq!(plain().await, Ok(()));
    });
    let [runtime, _] = runtimes();
    let builder = Manager::builder().configure("nobody", |options| options.timeout(SECOND));
    let error = builder.install_on(runtime.handle()).unwrap_err();
    assert!(matches!(error, InstallError::Overrides(_)), "{error}");
    Manager::builder()
        .install_on(runtime.handle())
        .expect("the runtime is still free");
}

#[test]
fn overrides_are_read_from_configuration() {
    let read = |text: &str| serde_json::from_str::<Overrides>(text);
    let all = read(
        r#"{
            "a": { "timeout": "10s", "concurrency": 16, "rate": "50/s" },
            "b": { "concurrency": { "max": "8", "queue": 100 }, "rate": { "limit": "5/m" } },
            "c": { "retry": { "max": 8, "base": "1s", "cap": "1m" }, "every": "1m30s", "jitter": "5s" },
            "d": { "cron": "0 3 * * *", "timezone": "Europe/Berlin" }
        }"#,
    );
    let expected = Overrides::new()
        .set("a", |options| {
            let options = options.timeout(10 * SECOND).concurrency(16);
            options.rate(Rate::per_second(50))
        })
        .set("b", |options| {
            let options = options.concurrency(8).queue(100);
            options.rate(Rate::per_minute(5))
        })
        .set("c", |options| {
            let options = options.max_attempts(8).base(SECOND).cap(60 * SECOND);
            options.every(90 * SECOND).jitter(5 * SECOND)
        })
        .set("d", |options| {
            options.cron("0 3 * * *").timezone("Europe/Berlin")
        });
    assert_eq!(all.unwrap(), expected);
    for (text, message) in [
        (
            r#"{ "a": { "timout": "10s" } }"#,
            "unknown field `timout`, expected one of `timeout`, `retry`, `concurrency`, `rate`, `every`, `cron`, `timezone`, `jitter`",
        ),
        (
            r#"{ "a": { "timeout": "soon" } }"#,
            "expected a duration such as \"30s\" or \"5m\", found \"soon\"",
        ),
        (
            r#"{ "a": { "rate": "many" } }"#,
            "expected a rate such as \"100/s\" or \"10/m\", found \"many\"",
        ),
        (
            r#"{ "a": { "concurrency": -1 } }"#,
            "invalid value: integer `-1`, expected a number of at least zero",
        ),
        (
            r#"{ "a": { "concurrency": { "maximum": 3 } } }"#,
            "unknown field `maximum`, expected `max` or `queue`",
        ),
        (
            r#"{ "a": { "retry": { "max": 5000000000 } } }"#,
            "invalid value: integer `5000000000`, expected a smaller number",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn a_call_of_the_overridden_function_is_still_refused_by_the_shutdown() {
    let [runtime, _] = runtimes();
    let manager = Manager::builder()
        .configure("overridden::limited", |options| options.concurrency(1))
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        manager.shutdown("the test").await;
        let _entered = manager.enter();
        let refused = limited(Gauge::default()).await;
        assert!(matches!(refused, Err(TaskError::Refused(_))), "{refused:?}");
    });
}
