//! Stands for a collector of spans. A worker writes its spans to stdout, from where the shop takes them.
//! Knows nothing of jobs.

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A span that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    name: String,
    process: String,
    trace: String,
    id: String,
    /// Absent for the root of a trace.
    parent: Option<String>,
    /// In seconds since 1970.
    start: f64,
    end: f64,
    error: Option<String>,
}

/// Passes the spans of this process on.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) is_worker: bool,
}

/// The spans of all processes.
#[derive(Debug)]
pub(crate) struct Collector(Mutex<Vec<Span>>);

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let process = if self.is_worker { "worker" } else { "shop" };
        for span in batch.into_iter().map(|span| Span::new(span, process)) {
            if self.is_worker {
                println!("{}", serde_json::to_string(&span).expect("it has no maps"));
            } else {
                super::COLLECTOR.add(span);
            }
        }
        Ok(())
    }
}

impl Span {
    fn new(span: SpanData, process: &str) -> Self {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_secs_f64()
        };
        let parent = span.parent_span_id;
        Self {
            name: span.name.into_owned(),
            process: process.to_owned(),
            trace: span.span_context.trace_id().to_string(),
            id: span.span_context.span_id().to_string(),
            parent: (parent != SpanId::INVALID).then(|| parent.to_string()),
            start: seconds(span.start_time),
            end: seconds(span.end_time),
            error: match span.status {
                Status::Error { description } => Some(description.into_owned()),
                _ => None,
            },
        }
    }
}

impl Collector {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub(crate) fn add(&self, span: Span) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.push(span);
    }

    /// Prints each trace as a tree.
    pub(crate) fn print(&self) {
        let mut spans = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        spans.sort_by(|one, other| one.start.total_cmp(&other.start));
        for root in spans.iter().filter(|span| span.parent.is_none()) {
            println!("trace {}", root.trace);
            print(&spans, root, "", "");
        }
    }
}

/// Prints a span and its children.
fn print(spans: &[Span], span: &Span, branch: &str, indent: &str) {
    let name = format!("{branch}{}", span.name);
    let took = (span.end - span.start) * 1000.0;
    let parent = span.parent.as_deref().unwrap_or("-");
    print!(
        "{name:<22}{:<8}{took:>7.1} ms  {}  in {parent:<16}",
        span.process, span.id
    );
    match &span.error {
        Some(error) => println!("  error: {error}"),
        None => println!(),
    }
    let is_child =
        |other: &&Span| other.trace == span.trace && other.parent.as_ref() == Some(&span.id);
    let children: Vec<_> = spans.iter().filter(is_child).collect();
    for (number, child) in children.iter().enumerate() {
        let is_last = number + 1 == children.len();
        let (branch, rest) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        print(
            spans,
            child,
            &format!("{indent}{branch}"),
            &format!("{indent}{rest}"),
        );
    }
}
