//! One trace from the span that stores a call to each attempt of its job, which no span of the process connects.
//!
//! The programs that run attempts are this binary again: the ignored test `program` is their `main`.
#![cfg(feature = "opentelemetry")]

mod support;

use bgtask::{Job, Manager, State, background};
use opentelemetry::trace::{SpanId, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use support::{Scratch, on_each_database};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

/// A span that has ended.
#[derive(Clone, Debug)]
struct Ended {
    name: String,
    trace: TraceId,
    span: SpanId,
    parent: SpanId,
    process: u32,
}

/// Takes the spans of this process, and writes them to the file of the test, if there is one.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<Ended>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let ended = batch.into_iter().map(|span| Ended {
            name: span.name.into_owned(),
            trace: span.span_context.trace_id(),
            span: span.span_context.span_id(),
            parent: span.parent_span_id,
            process: std::process::id(),
        });
        for ended in ended {
            if let Some(file) = std::env::var_os("BGTASK_TEST_SPANS") {
                let file = OpenOptions::new().append(true).create(true).open(file);
                let Ended {
                    name,
                    trace,
                    span,
                    parent,
                    process,
                } = &ended;
                let line = format!("{name} {trace} {span} {parent} {process}\n");
                let written = file.expect("a file").write_all(line.as_bytes());
                written.expect("a line");
            }
            self.0.lock().expect("no panic").push(ended);
        }
        Ok(())
    }
}

impl Ended {
    /// Reads the line that the collector of another process has written.
    fn read(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let [name, trace, span, parent, process] = words[..] else {
            panic!("{line:?}");
        };
        Self {
            name: name.to_owned(),
            trace: TraceId::from_hex(trace).expect("an id"),
            span: SpanId::from_hex(span).expect("an id"),
            parent: SpanId::from_hex(parent).expect("an id"),
            process: process.parse().expect("an id"),
        }
    }
}

/// Collects the spans of this process.
fn collector() -> &'static Collector {
    static COLLECTOR: OnceLock<(Collector, SdkTracerProvider)> = OnceLock::new();
    let (collector, _) = COLLECTOR.get_or_init(|| {
        let collector = Collector::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(collector.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        (collector, provider)
    });
    collector
}

/// Runs something in the span of a request, and returns its trace and its id, too.
async fn in_a_request<T>(request: impl Future<Output = T>) -> (TraceId, SpanId, T) {
    let span = tracing::info_span!("POST /orders");
    let context = span.context();
    let ids = context.span().span_context().clone();
    let value = request.instrument(span).await;
    (ids.trace_id(), ids.span_id(), value)
}

#[background(durable, name = "send_receipt")]
async fn send_receipt(order: u64) -> u64 {
    order
}

/// Sentence 11.17.
fn the_run_of_a_job_continues_the_trace_of_its_call(scratch: Scratch) {
    let collector = collector();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (trace, request, ()) = runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url()).await;
        jobs.expect("the store opens");
        let stored = in_a_request(async { send_receipt(7).await.expect("it is stored") });
        let (trace, request, job) = stored.await;
        assert_eq!(job.outcome().await, Ok(7));
        manager.shutdown("the test is over").await;
        (trace, request, ())
    });
    let spans = collector.0.lock().expect("no panic").clone();
    let runs: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "send_receipt" && span.trace == trace)
        .collect();
    let [run] = runs[..] else {
        panic!("{runs:?}");
    };
    assert_eq!(run.parent, request);
    assert_ne!(run.span, request);
}

/// Only the programs of the test have it, so only they run its jobs.
#[derive(Clone)]
struct Printer;

/// Fails twice. Its process ends after each attempt, so each is made by another one.
#[background(durable, name = "print", retry(max = 3, base = "1ms"))]
async fn print(State(Printer): State<Printer>, job: Job) -> Result<u32, String> {
    bgtask::request_shutdown("one attempt for each process");
    match job.attempt() {
        3 => Ok(3),
        _ => Err("the printer is out of paper".to_owned()),
    }
}

/// The `main` of the programs.
#[test]
#[ignore = "the other tests start it as programs of their own"]
fn program() {
    #[bgtask::main]
    async fn main(shutdown: bgtask::ShutdownToken) {
        collector();
        bgtask::provide(Printer);
        let url = std::env::var("BGTASK_TEST_URL").expect("the database of the test");
        bgtask_durable::open_at(url).await.expect("it opens");
        shutdown.cancelled().await;
    }
    if std::env::var_os("BGTASK_TEST_URL").is_some() {
        main();
    }
}

/// Sentence 11.17.
fn each_attempt_in_another_process_continues_the_trace_of_the_call(scratch: Scratch) {
    collector();
    let name = format!("bgtask-spans-{}-{}", std::process::id(), scratch.kind());
    let file = Deleted(std::env::temp_dir().join(name));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (trace, request) = runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url()).await;
        jobs.expect("the store opens");
        let stored = in_a_request(async { print().await.expect("it is stored") });
        let (trace, request, job) = stored.await;
        for _ in 0..3 {
            let mut program = Command::new(std::env::current_exe().expect("this binary"));
            program
                .args(["--exact", "program", "--ignored", "--nocapture"])
                .env("BGTASK_TEST_URL", scratch.url())
                .env("BGTASK_TEST_SPANS", &file.0)
                .stdout(Stdio::null());
            let ended = tokio::task::spawn_blocking(move || program.status()).await;
            assert!(ended.expect("no panic").expect("it is started").success());
        }
        assert_eq!(job.outcome().await, Ok(3));
        manager.shutdown("the test is over").await;
        (trace, request)
    });
    let lines = std::fs::read_to_string(&file.0).expect("the spans");
    let spans: Vec<_> = lines.lines().map(Ended::read).collect();
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "print").collect();
    assert_eq!(attempts.len(), 3, "{spans:?}");
    for attempt in &attempts {
        assert_eq!((attempt.trace, attempt.parent), (trace, request));
    }
    let ids: BTreeSet<_> = attempts.iter().map(|span| span.span.to_bytes()).collect();
    let processes: BTreeSet<_> = attempts.iter().map(|span| span.process).collect();
    assert_eq!((ids.len(), processes.len()), (3, 3), "{attempts:?}");
}

/// A file that is deleted with the test.
struct Deleted(PathBuf);

impl Drop for Deleted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

on_each_database! {
    the_run_of_a_job_continues_the_trace_of_its_call,
    each_attempt_in_another_process_continues_the_trace_of_the_call,
}
