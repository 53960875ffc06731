//! Runs the `opentelemetry` example as a process: the trace goes on from the request into its calls, and from there into theirs.

use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn one_trace_has_the_request_and_its_calls() {
    let output = Command::new(env!("CARGO_BIN_EXE_opentelemetry"))
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("accepted\n"), "{text}");
    let traces = text.lines().filter(|line| line.starts_with("trace "));
    assert_eq!(traces.count(), 1, "there is one trace: {text}");

    // By name: the id of the span, the id of its parent, and the line.
    let mut spans = BTreeMap::new();
    for line in text.lines() {
        if let Some((start, parent)) = line.split_once("  in ") {
            let start = start.trim_start_matches(['│', '├', '└', '─', ' ']);
            let (name, took) = start.split_once("  ").unwrap();
            let id = took.split_whitespace().last().unwrap();
            let parent = parent.split_whitespace().next().unwrap();
            spans.insert(name, (id, parent, line));
        }
    }
    let id = |name: &str| spans[name].0;
    let parent = |name: &str| spans[name].1;
    assert_eq!(spans.len(), 5, "{text}");
    assert_eq!(parent("POST /orders"), "-");
    for call in ["charge_card", "send_receipt", "notify_warehouse"] {
        assert_eq!(parent(call), id("POST /orders"), "{text}");
    }
    assert_eq!(parent("render_pdf"), id("send_receipt"), "{text}");

    let failed = spans["notify_warehouse"].2;
    assert!(
        failed.contains("error: the warehouse does not respond"),
        "{text}"
    );
    let others = spans
        .values()
        .filter(|(_, _, line)| line.contains("error:"));
    assert_eq!(others.count(), 1, "{text}");
    assert!(text.contains("· attempt failed, retrying"), "{text}");
    assert!(text.contains("· task failed"), "{text}");
}
