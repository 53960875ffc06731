//! Shows: a trace that goes on from a request into the background work it has called. `tracing-opentelemetry` makes the spans
//! those of OpenTelemetry; the collector is in the process, so that nothing else has to run.
//!
//!     cargo run -p bgtask-examples --bin opentelemetry
//!
//! You see one trace as a tree: the request, the calls it made, the call that one of them made, with how long each took. The
//! request is over long before they are. One call was tried again, and one has failed.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use axum::routing::post;
use bgtask::background;
use opentelemetry::trace::{SpanId, Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::instrument;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The span of a request. What is called in it is its child, and so is what runs in the background.
#[instrument(name = "POST /orders")]
async fn order() -> &'static str {
    charge_card(42);
    send_receipt(42);
    tell_warehouse(42);
    "accepted"
}

/// Fails once: the first attempt and the pause after it are in the trace too.
#[background(name = "charge_card", retry(max = 3, base = "20ms"))]
async fn charge_card(_order: u64) -> io::Result<()> {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    sleep(Duration::from_millis(5)).await;
    match ATTEMPTS.fetch_add(1, Ordering::Relaxed) {
        0 => Err(io::Error::other("the bank is busy")),
        _ => Ok(()),
    }
}

/// Calls another one, on the blocking pool, and waits for it.
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

/// Nobody looks at its error: it is reported, in the trace as well.
#[background(name = "tell_warehouse")]
async fn tell_warehouse(_order: u64) -> io::Result<()> {
    Err(io::Error::other("nobody answers"))
}

/// Where a program would have an exporter that sends the spans away.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(batch);
        Ok(())
    }
}

/// The program proper. Within a module, since something comes after it and its drain: the last spans.
mod service {
    use super::*;

    #[bgtask::main]
    pub(crate) async fn main() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = axum::Router::new().route("/orders", post(order));
        let server = tokio::spawn(axum::serve(listener, app).into_future());

        let mut connection = TcpStream::connect(address).await?;
        let request = "POST /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        println!("{}\n", answer.lines().last().unwrap_or_default());
        server.abort();

        // The drain would not wait for another attempt.
        while bgtask::stats().running > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let collector = Collector::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(collector.clone())
        .build();
    tracing_subscriber::registry()
        .with(EnvFilter::new("warn,opentelemetry=info,bgtask=info"))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("example")))
        .init();

    let exit_code = service::main();
    if let Err(error) = provider.shutdown() {
        println!("the last spans are lost: {error}");
    }

    let mut spans = collector.0.lock().unwrap_or_else(PoisonError::into_inner);
    spans.sort_by_key(|span| span.start_time);
    let is_root = |span: &&SpanData| span.parent_span_id == SpanId::INVALID;
    for root in spans.iter().filter(is_root) {
        println!("trace {}", root.span_context.trace_id());
        print(&spans, root, "", "");
    }
    exit_code
}

/// A span, a line each for what was told in it, and the spans within it.
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
        let (branch, rest) = match number + 1 == children.len() {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        print(
            spans,
            child,
            &format!("{indent}{branch}"),
            &format!("{indent}{rest}"),
        );
    }
}
