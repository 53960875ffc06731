//! The option `fields`: chosen values of a call, recorded at the call and shown wherever the call is.

use bgtask::{Fields, ShutdownToken, State, TaskError, background};
use bgtask_tests::{FOREVER, manager_within, on_both_flavors, record_events, recorded_of, until};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

struct Order {
    id: u64,
    coupon: Option<String>,
}

fn order() -> Order {
    Order {
        id: 7,
        coupon: None,
    }
}

/// Returns the fields as pairs.
fn pairs(fields: &Fields) -> Vec<(String, String)> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[background(log = "off", fields(
    url = %url,
    order.id = order.id,
    ?kind,
    attempt.limit = 2 + u32::from(*limit),
    coupon = order.coupon.as_deref(),
    card = redact(card),
))]
async fn delivers(
    url: String,
    token: ShutdownToken,
    order: Order,
    kind: Option<u8>,
    limit: u8,
    card: String,
) {
    token.cancelled().await;
    drop((url, order, kind, limit, card));
}

#[test]
fn a_live_task_has_the_values_that_its_attribute_names_and_no_others() {
    on_both_flavors(async |manager| {
        let task = delivers(
            "https://a/b".into(),
            order(),
            Some(3),
            1,
            "4929 1234".into(),
        );
        let expected = [
            ("url", "https://a/b"),
            ("order.id", "7"),
            ("kind", "Some(3)"),
            ("attempt.limit", "3"),
            ("card", "… (9 bytes)"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // While it is queued, and while it runs.
        assert_eq!(pairs(&manager.tasks()[0].fields), expected);
        until("it runs", || {
            manager.tasks()[0].state == bgtask::TaskState::Running
        })
        .await;
        assert_eq!(pairs(&manager.tasks()[0].fields), expected);
        assert_eq!(pairs(&manager.snapshot().tasks[0].fields), expected);
        let text = manager.snapshot().to_string();
        assert!(
            text.contains(
                r#"url=https://a/b order.id=7 kind=Some(3) attempt.limit=3 card="… (9 bytes)""#
            ),
            "{text}"
        );
        assert!(!text.contains("4929"), "{text}");
        task.cancel();
        task.await.unwrap();
    });
}

#[test]
fn a_call_without_the_option_has_no_fields_and_the_table_no_column_for_them() {
    #[background(log = "off")]
    async fn waits(token: ShutdownToken, secret: String) {
        token.cancelled().await;
        drop(secret);
    }
    on_both_flavors(async |manager| {
        let task = waits("hunter2".into());
        assert!(manager.tasks()[0].fields.is_empty());
        let text = manager.snapshot().to_string();
        assert!(
            !text.contains(" fields") && !text.contains("hunter2"),
            "{text}"
        );
        task.cancel();
        task.await.unwrap();
    });
}

struct Client(&'static str);

impl Client {
    #[background(log = "off", fields(client = self.0, key))]
    async fn method(self: Arc<Self>, key: u32) -> Result<u32, String> {
        Err(format!("{} {key}", self.0))
    }

    #[background(log = "off", fields(client = self.0, key), timeout = "1h", retry(max = 2, base = "1ms"))]
    async fn with_policies(self: Arc<Self>, key: u32) -> Result<u32, String> {
        Err(format!("{} {key}", self.0))
    }

    #[background(log = "off", fields(client = self.0, key))]
    fn plain(self: Arc<Self>, key: u32) -> Result<u32, String> {
        Err(format!("{} {key}", self.0))
    }

    #[background(log = "off", fields(client = self.0, key), concurrency = 1)]
    fn plain_with_policies(self: Arc<Self>, key: u32) -> Result<u32, String> {
        Err(format!("{} {key}", self.0))
    }
}

#[background(log = "off", fields(key, state = state.0))]
async fn with_state(key: u32, state: State<u8>) -> Result<u32, String> {
    Err(format!("{key} {}", state.0))
}

#[background(log = "off", fields(value = ?value))]
async fn generic<T: fmt::Debug + Send + 'static>(value: T) -> Result<(), String> {
    Err(format!("{value:?}"))
}

#[background(log = "off", fields(first, second = second.len()))]
async fn patterns((first, second): (u8, String)) -> Result<(), String> {
    Err(format!("{first} {second}"))
}

#[test]
fn hooks_receive_the_values_of_every_form_of_function() {
    on_both_flavors(async |manager| {
        manager_provides_a_state(manager);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (failed, finished) = (seen.clone(), seen.clone());
        bgtask::on_error(move |task| {
            let fields = task.fields.to_string();
            failed.lock().unwrap().push(("failed", fields));
        });
        bgtask::on_finish(move |task| {
            let fields = task.fields.to_string();
            finished.lock().unwrap().push(("finished", fields));
        });
        let client = Arc::new(Client("shop"));
        let all = "client=shop key=4";
        let mut expected = Vec::new();
        let mut add = |fields: &str| {
            expected.push(("failed", fields.to_owned()));
            expected.push(("finished", fields.to_owned()));
        };
        client.clone().method(4).await.unwrap().unwrap_err();
        add(all);
        client.clone().with_policies(4).await.unwrap().unwrap_err();
        add(all);
        client.clone().plain(4).await.unwrap().unwrap_err();
        add(all);
        client.plain_with_policies(4).await.unwrap().unwrap_err();
        add(all);
        with_state(4).await.unwrap().unwrap_err();
        add("key=4 state=9");
        generic([1, 2]).await.unwrap().unwrap_err();
        add(r#"value="[1, 2]""#);
        patterns((1, "é".into())).await.unwrap().unwrap_err();
        add("first=1 second=2");
        assert_eq!(*seen.lock().unwrap(), expected);
    });
}

fn manager_provides_a_state(_: &bgtask::Manager) {
    bgtask::provide(9_u8);
}

/// Its `Display` panics.
struct Panics;

impl fmt::Display for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in Display")
    }
}

#[test]
fn a_value_that_panics_or_is_long_or_hostile_does_not_harm_the_call() {
    #[background(log = "off", fields(
        bad = %bad, index = list[5], long, lines = %lines, secret = redact(bad)
    ))]
    async fn runs_all_the_same(bad: Panics, list: Vec<u8>, long: String, lines: String) -> usize {
        let _ = bad;
        list.len() + long.len() + lines.len()
    }
    on_both_flavors(async |manager| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let finished = seen.clone();
        bgtask::on_finish(move |task| finished.lock().unwrap().extend(pairs(task.fields)));
        let long = "é".repeat(500);
        let lines = "one\nforged \u{1b}[31m".to_owned();
        let output = runs_all_the_same(Panics, vec![1], long, lines).await;
        assert_eq!(output.unwrap(), 1 + 1_000 + 16);
        let cut = format!("{}… (1000 bytes)", "é".repeat(128));
        let expected = [
            ("bad", "<panicked>"),
            ("index", "<panicked>"),
            ("long", &cut),
            ("lines", r"one\nforged \u{1b}[31m"),
            ("secret", "<panicked>"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(manager.stats().succeeded, 1);
    });
}

#[test]
fn the_span_has_the_values_with_their_types_and_events_repeat_them() {
    #[background(fields(order.id = id, url = %url, card = redact(url)))]
    async fn fails_with_fields(id: u64, url: String) -> Result<(), String> {
        Err(format!("no answer from {url} for {id}"))
    }
    #[background(fields(order.id = id))]
    async fn panics_with_fields(id: u64) {
        panic!("order {id}");
    }
    record_events();
    on_both_flavors(async |manager| {
        fails_with_fields(7, "https://a".into());
        panics_with_fields(8);
        until("both have ended", || manager.stats().running == 0).await;
    });
    for (task, message, id) in [
        ("fails_with_fields", "task failed", "7"),
        ("panics_with_fields", "task panicked", "8"),
    ] {
        let reports: Vec<_> = recorded_of(task)
            .into_iter()
            .filter(|event| event.message == message)
            .collect();
        assert_eq!(reports.len(), 2, "{task}");
        for report in reports {
            assert_eq!(report.span_field("order.id"), id);
            assert!(
                report
                    .field("fields")
                    .starts_with(&format!("order.id={id}"))
            );
        }
    }
    for event in recorded_of("fails_with_fields") {
        assert_eq!(event.span_field("url"), "https://a");
        assert_eq!(event.span_field("card"), "… (9 bytes)");
    }
}

#[test]
fn the_report_of_a_shutdown_names_the_values_of_stragglers_and_failures() {
    #[background(log = "off", fields(order.id = id))]
    async fn is_stuck(id: u64) {
        std::future::pending::<()>().await;
        let _ = id;
    }
    #[background(log = "off", fields(order.id = id))]
    async fn fails_in_the_drain(token: ShutdownToken, id: u64) -> Result<(), String> {
        token.cancelled().await;
        Err(format!("{id}"))
    }
    #[background(log = "off", fields(order.id = id))]
    fn blocks(id: u64, until: std::sync::mpsc::Receiver<()>) {
        let _ = until.recv();
        let _ = id;
    }
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(Duration::ZERO, &runtime);
    let report = runtime.block_on(async {
        let (release, until_released) = std::sync::mpsc::channel();
        is_stuck(1);
        blocks(2, until_released);
        fails_in_the_drain(3);
        until("all run", || {
            let tasks = manager.tasks();
            let mut states = tasks.iter().map(|task| task.state);
            states.all(|state| state == bgtask::TaskState::Running)
        })
        .await;
        let report = manager.shutdown("test").await;
        drop(release);
        report
    });
    let mut stragglers: Vec<_> = report
        .stragglers
        .iter()
        .map(|straggler| straggler.fields.to_string())
        .collect();
    stragglers.sort();
    assert!(stragglers.contains(&"order.id=1".to_owned()), "{report:?}");
    assert!(stragglers.contains(&"order.id=2".to_owned()), "{report:?}");
    assert!(report.to_string().contains("; order.id=1"), "{report}");

    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    let report = runtime.block_on(async {
        fails_in_the_drain(3);
        manager.shutdown("test").await
    });
    assert_eq!(report.failures[0].fields.get("order.id"), Some("3"));
    assert!(report.to_string().contains("3; order.id=3"), "{report}");
}

#[test]
fn refused_joined_and_aborted_calls_leave_nothing_behind() {
    #[background(log = "off", fields(key), coalesce(key = key))]
    async fn joins(token: ShutdownToken, key: u32) -> u32 {
        token.cancelled().await;
        key
    }
    on_both_flavors(async |manager| {
        let first = joins(1);
        let second = joins(1);
        assert_eq!(manager.tasks().len(), 1);
        assert_eq!(manager.tasks()[0].fields.get("key"), Some("1"));
        let aborted = joins(2);
        aborted.abort();
        assert!(matches!(aborted.await, Err(TaskError::Aborted)));
        manager.shutdown("test").await;
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 1));
        assert!(matches!(joins(3).await, Err(TaskError::Refused(_))));
    });
}

#[test]
fn handlers_list_the_names_of_the_fields() {
    let handlers = bgtask::handlers();
    let delivers = handlers
        .iter()
        .find(|handler| handler.name().ends_with("fields::delivers"))
        .unwrap();
    assert_eq!(
        delivers.options().to_string(),
        "fields(url, order.id, kind, attempt.limit, coupon, card), log = off"
    );
}
