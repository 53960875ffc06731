//! Shows: one trace across a request and the background work it calls. `tracing-opentelemetry` turns the spans into OpenTelemetry
//! spans. The collector is part of the program, so nothing else has to run.
//!
//!     cargo run -p example-opentelemetry
//!
//! You see one trace as a tree, with the duration of each span: the request, the calls it made, and a call that one of these made.
//! The request ends long before them. One call was retried, and one has failed.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::background;
use opentelemetry::trace::{SpanId, Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tracing::instrument;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Stands for the handler of a request. The spans of its calls are children of its span, also when they run after its end.
#[instrument(name = "POST /orders")]
async fn order() -> &'static str {
    charge_card(42);
    send_receipt(42);
    notify_warehouse(42);
    "accepted"
}

/// Fails once. The trace shows both attempts and the pause between them.
#[background(name = "charge_card", retry(max = 3, base = "20ms"))]
async fn charge_card(_order: u64) -> io::Result<()> {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    sleep(Duration::from_millis(5)).await;
    if ATTEMPTS.fetch_add(1, Ordering::Relaxed) == 0 {
        return Err(io::Error::other("the bank is busy"));
    }
    Ok(())
}

/// Calls another background function and awaits it.
#[background(name = "send_receipt")]
async fn send_receipt(order: u64) {
    if let Ok(pages) = render_pdf(order).await {
        tracing::info!(pages, "sent");
    }
}

#[background(name = "render_pdf")]
fn render_pdf(_order: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(10));
    3
}

/// Fails. Nobody awaits its handle, so bgtask reports the error, also in the trace.
#[background(name = "notify_warehouse")]
async fn notify_warehouse(_order: u64) -> io::Result<()> {
    Err(io::Error::other("the warehouse does not respond"))
}

/// Stands for an exporter that sends the spans to a collector.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(batch);
        Ok(())
    }
}

/// The service is in a module, because the real `main` has work to do after the drain: it exports the last spans.
mod service {
    #[bgtask::main]
    pub(crate) async fn main() {
        println!("{}\n", super::order().await);
        // A drain leaves a failed call only one more attempt, without the pause.
        bgtask::idle().await;
    }
}

fn main() -> ExitCode {
    let collector = Collector::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(collector.clone())
        .build();
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("opentelemetry", LevelFilter::INFO)
        .with_target("bgtask", LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(filter)
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("example")))
        .init();

    service::main();
    if let Err(error) = provider.shutdown() {
        println!("the last spans are lost: {error}");
        return ExitCode::FAILURE;
    }

    let mut spans = collector.0.lock().unwrap_or_else(PoisonError::into_inner);
    spans.sort_by_key(|span| span.start_time);
    let is_root = |span: &&SpanData| span.parent_span_id == SpanId::INVALID;
    for root in spans.iter().filter(is_root) {
        println!("trace {}", root.span_context.trace_id());
        print(&spans, root, "", "");
    }
    ExitCode::SUCCESS
}

/// Prints a span, its events, and its children.
fn print(spans: &[SpanData], span: &SpanData, branch: &str, indent: &str) {
    let took = span
        .end_time
        .duration_since(span.start_time)
        .unwrap_or_default();
    let name = format!("{branch}{}", span.name);
    let id = span.span_context.span_id();
    let parent = match span.parent_span_id {
        SpanId::INVALID => "-".to_owned(),
        parent => parent.to_string(),
    };
    print!(
        "{name:<28}{:>9.1} ms  {id}  in {parent:<16}",
        took.as_secs_f64() * 1000.0
    );
    match &span.status {
        Status::Error { description } => println!("  error: {description}"),
        _ => println!(),
    }
    let trace = span.span_context.trace_id();
    let is_child =
        |other: &&SpanData| other.parent_span_id == id && other.span_context.trace_id() == trace;
    let children: Vec<_> = spans.iter().filter(is_child).collect();
    let line = if children.is_empty() { "  " } else { "│ " };
    for event in &span.events.events {
        println!("{indent}{line}· {}", event.name);
    }
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
