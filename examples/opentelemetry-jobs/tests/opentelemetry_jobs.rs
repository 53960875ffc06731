//! Runs the `opentelemetry-jobs` example as a process: the trace of the request has every attempt, which another process made.

use std::process::Command;

#[test]
fn the_trace_of_the_request_has_every_attempt_of_another_process() {
    let output = Command::new(env!("CARGO_BIN_EXE_opentelemetry-jobs"))
        .env_remove("RUST_LOG")
        .env_remove("BGTASK_DATABASE_URL")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{log}");
    assert!(text.contains("printed 3 pages"), "{text}{log}");
    let traces = text.lines().filter(|line| line.starts_with("trace "));
    assert_eq!(traces.count(), 1, "there is one trace: {text}");

    // The name, the process, the id and the parent of each span.
    let spans: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (start, parent) = line.split_once("  in ")?;
            let start = start.trim_start_matches(['│', '├', '└', '─', ' ']);
            let (name, rest) = start.split_once("  ")?;
            let (process, id) = (
                rest.split_whitespace().next()?,
                rest.split_whitespace().last()?,
            );
            Some((name, process, id, parent.split_whitespace().next()?, line))
        })
        .collect();
    assert_eq!(spans.len(), 7, "{text}");
    let (name, process, request, parent, _) = spans[0];
    assert_eq!((name, process, parent), ("POST /orders", "shop", "-"));
    let attempts = spans[1..].chunks(2);
    for (number, attempt) in attempts.enumerate() {
        let (name, process, id, parent, line) = attempt[0];
        assert_eq!((name, process, parent), ("send_receipt", "worker", request));
        let failed = line.contains("error: the printer is out of paper");
        assert_eq!(failed, number < 2, "{text}");
        let (name, process, _, parent, _) = attempt[1];
        assert_eq!((name, process, parent), ("render_pdf", "worker", id));
    }
}
