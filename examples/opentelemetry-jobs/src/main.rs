//! Shows: one trace from a request over a stored call to each attempt of its job, in another process. The collector is part of the
//! program, so nothing else has to run.
//!
//!     cargo run -p example-opentelemetry-jobs
//!
//! The shop stores a call within a request. Then it starts a worker, which is this program again and runs the job: two attempts fail.
//! You see one trace as a tree, with the process and the duration of each span. `BGTASK_DATABASE_URL` sets another database than a
//! temporary file.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod collector;

use bgtask::durable::{EnqueueError, JobHandle};
use bgtask::{Job, State, background};
use collector::{Collector, Exporter};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::time::sleep;
use tracing::instrument;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Stands for the handler of a request. It ends when the call is stored, before any attempt.
#[instrument(name = "POST /orders")]
async fn order() -> Result<JobHandle<u32>, EnqueueError> {
    send_receipt(42).await
}

/// The printer of the worker. A process without it does not run the function that takes it.
#[derive(Clone)]
struct Printer;

/// Fails twice. Each attempt is a span of its own, a child of the request.
#[background(durable, name = "send_receipt", retry(max = 5, base = "50ms"))]
async fn send_receipt(State(Printer): State<Printer>, job: Job, order: u64) -> Result<u32, String> {
    let pages = render_pdf(order).await.map_err(|error| error.to_string())?;
    if job.attempt() < 3 {
        return Err("the printer is out of paper".to_owned());
    }
    Ok(pages)
}

/// An ordinary call. Its span is a child of the attempt that makes it.
#[background(name = "render_pdf")]
async fn render_pdf(_order: u64) -> u32 {
    sleep(Duration::from_millis(10)).await;
    3
}

/// Both processes have their `main` in a module, because the real `main` exports the last spans after the drain.
mod shop {
    #[bgtask::main]
    pub(crate) async fn main() -> anyhow::Result<()> {
        std::fs::create_dir_all(super::folder())?;
        bgtask_durable::open_at(super::url()).await?;
        let job = super::order().await?;
        println!("accepted as job {}", job.id());
        let worker = super::start_worker()?;
        println!("printed {} pages\n", job.outcome().await?);
        // The worker shuts down, and its last spans are there.
        super::end(worker);
        Ok(())
    }
}

mod worker {
    use std::io;

    #[bgtask::main]
    pub(crate) async fn main(shutdown: bgtask::ShutdownToken) -> anyhow::Result<()> {
        bgtask::provide(super::Printer);
        bgtask_durable::open_at(super::url()).await?;
        std::thread::spawn(|| {
            // Ends when the shop closes it.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            bgtask::request_shutdown("the shop has what it needs");
        });
        shutdown.cancelled().await;
        Ok(())
    }
}

/// Starts this program as a worker, and collects its spans.
fn start_worker() -> io::Result<(Child, JoinHandle<()>)> {
    let mut worker = Command::new(env::current_exe()?)
        .arg("worker")
        .env("BGTASK_DATABASE_URL", url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let spans = worker.stdout.take();
    let collects = thread::spawn(|| {
        for line in BufReader::new(spans.expect("it is piped")).lines() {
            let line = line.expect("the worker writes text");
            COLLECTOR.add(serde_json::from_str(&line).expect("a span"));
        }
    });
    Ok((worker, collects))
}

/// Ends the worker, and waits for its spans.
fn end((mut worker, collects): (Child, JoinHandle<()>)) {
    drop(worker.stdin.take());
    let ended = worker.wait().map(|status| status.success());
    let collected = collects.join();
    if !matches!((ended, collected), (Ok(true), Ok(()))) {
        eprintln!("the worker failed, and its spans may be missing");
    }
}

fn url() -> String {
    env::var("BGTASK_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", folder().join("jobs.db").display()))
}

/// The folder of the database, which the shop deletes at its end.
fn folder() -> PathBuf {
    env::temp_dir().join(format!("bgtask-example-{}", std::process::id()))
}

static COLLECTOR: Collector = Collector::new();

fn main() -> ExitCode {
    let is_worker = env::args().nth(1).as_deref() == Some("worker");
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(Exporter { is_worker })
        .build();
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("opentelemetry_jobs", LevelFilter::INFO)
        .with_target("bgtask", LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(filter)
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("example")))
        .init();
    // By this, the trace of the request is stored with the job, and read again by the worker.
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    let ended = if is_worker {
        worker::main()
    } else {
        shop::main()
    };
    if let Err(error) = provider.shutdown() {
        eprintln!("the last spans are lost: {error}");
        return ExitCode::FAILURE;
    }
    if !is_worker {
        COLLECTOR.print();
        // A folder that stays harms nobody.
        let _ = std::fs::remove_dir_all(folder());
    }
    ended
}
