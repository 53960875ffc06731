//! The filters of `docs/tracing.md` let through what the page states.

use crate::page_table::{in_backticks, rows};
use bgtask::{ShutdownReason, background};
use bgtask_tests::{FOREVER, manager_within, runtimes, subscribe};
use bgtask_tests::{Recorder, record_events};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

#[background(name = "shop::import")]
async fn imports() {
    tracing::info!("from the task");
    tracing::debug!("in detail");
}

#[background(name = "shop::export")]
async fn exports() {
    tracing::debug!("in detail");
    panic!("its panic");
}

/// Returns the spans and events of one run that a filter lets through.
fn seen_with(filter: &str) -> Vec<String> {
    record_events();
    let recorder = Recorder::default().keeping_spans();
    let subscriber = tracing_subscriber::registry()
        .with(EnvFilter::new(filter))
        .with(recorder.clone());
    let subscribed = subscribe(subscriber);
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        tracing::info!("from elsewhere");
        imports().await.unwrap();
        exports().await.unwrap_err();
        manager.shutdown(ShutdownReason::MainReturned).await;
    });
    drop(subscribed);
    let spans = recorder.spans(|span| span.name() == "task").into_iter();
    let spans = spans.map(|span| format!("span {}", span.field("name")));
    let events = recorder.events(|_| true).into_iter().map(|event| {
        let span = event.span_field("name");
        let within = if span.is_empty() { "" } else { " in " };
        format!("{}{within}{span}", event.message)
    });
    let mut seen: Vec<_> = spans.chain(events).collect();
    seen.retain(|what| !what.contains("are linked"));
    seen
}

/// Behaviour 34.
#[test]
fn the_filters_of_the_page_let_through_the_stated_events() {
    let spans = ["span shop::import", "span shop::export"];
    let panicked = "task panicked in shop::export";
    let expected: [(&str, Vec<&str>); 5] = [
        (
            "info,bgtask=warn",
            vec!["from elsewhere", "from the task", "task panicked"],
        ),
        (
            "info",
            vec![
                spans[0],
                spans[1],
                "from elsewhere",
                "from the task in shop::import",
                panicked,
            ],
        ),
        (
            "info,bgtask=debug",
            vec![
                spans[0],
                spans[1],
                "from elsewhere",
                "task started in shop::import",
                "from the task in shop::import",
                "task finished in shop::import",
                "task started in shop::export",
                panicked,
                "task finished in shop::export",
            ],
        ),
        (
            "warn,bgtask[task]=info",
            vec![
                spans[0],
                spans[1],
                "from the task in shop::import",
                panicked,
            ],
        ),
        (
            "info,bgtask[task{name=shop::import}]=debug",
            vec![
                spans[0],
                spans[1],
                "from elsewhere",
                "task started in shop::import",
                "from the task in shop::import",
                "in detail in shop::import",
                "task finished in shop::import",
                panicked,
            ],
        ),
    ];
    let lines: Vec<_> = rows("Filters")
        .iter()
        .flat_map(|row| in_backticks(&row[0]))
        .collect();
    assert_eq!(
        lines,
        expected.iter().map(|(line, _)| *line).collect::<Vec<_>>()
    );
    for (line, expected) in expected {
        assert_eq!(seen_with(line), expected, "{line}");
    }
}
