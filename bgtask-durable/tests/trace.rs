//! One trace from the span that stores a call to the run of its job, which no span of the process connects.
#![cfg(feature = "opentelemetry")]

mod support;

use bgtask::Manager;
use opentelemetry::trace::{SpanId, TraceId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::sync::{Arc, Mutex};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

#[bgtask::background(durable, name = "send_receipt")]
async fn send_receipt(order: u64) -> u64 {
    order
}

/// The spans that have ended.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("no panic").extend(batch);
        Ok(())
    }
}

impl Collector {
    /// Returns the trace, the span and the parent of the only span with this name.
    fn only(&self, name: &str) -> (TraceId, SpanId, SpanId) {
        let spans = self.0.lock().expect("no panic");
        let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        let [span] = found[..] else {
            let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
            panic!("{} spans `{name}` among {names:?}", found.len());
        };
        let context = &span.span_context;
        (context.trace_id(), context.span_id(), span.parent_span_id)
    }
}

/// Sentence 11.17.
#[test]
fn the_run_of_a_job_continues_the_trace_of_its_call() {
    let collector = Collector::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(collector.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    let scratch = support::Scratch::sqlite();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url()).await;
        jobs.expect("the store opens");
        let stored = async { send_receipt(7).await.expect("it is stored") };
        let job = stored.instrument(tracing::info_span!("POST /orders")).await;
        assert_eq!(job.outcome().await, Ok(7));
        manager.shutdown("the test is over").await;
    });
    provider.force_flush().expect("the spans are there");
    let (trace, request, _) = collector.only("POST /orders");
    let (run_trace, run, parent) = collector.only("send_receipt");
    assert_eq!((run_trace, parent), (trace, request));
    assert_ne!(run, request);
}
