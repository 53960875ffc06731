//! The metrics of jobs, as a scrape of a Prometheus recorder shows them. A binary of its own, because a process has one recorder.
#![cfg(feature = "metrics")]

mod support;

use bgtask::durable::{JobError, JobState};
use bgtask::{Job, State, background};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use support::store::{LIMIT, Process, until};
use support::transactions::Pool;
use support::{Scratch, on_each_database};
use tokio::time::sleep;

/// Excludes the other tests, as their figures are those of the process, and returns the recorder.
fn alone() -> (MutexGuard<'static, ()>, &'static PrometheusHandle) {
    static TURN: Mutex<()> = Mutex::new(());
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    GO.store(false, Ordering::SeqCst);
    let recorder = RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new().install_recorder();
        recorder.expect("the only recorder")
    });
    (turn, recorder)
}

/// The figures of a process.
struct Figures {
    recorder: &'static PrometheusHandle,
    /// When the test began.
    before: String,
}

/// Returns the value of a series, which is written as in a query: `metric{name="a"}`.
fn value(scrape: &str, series: &str) -> Option<f64> {
    let line = scrape
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Some(line?.parse().expect("a number"))
}

impl Figures {
    fn new(recorder: &'static PrometheusHandle) -> Self {
        let before = recorder.render();
        Self { recorder, before }
    }

    /// How much a counter has grown in this test.
    fn grown(&self, series: &str) -> f64 {
        let now = value(&self.recorder.render(), series);
        let now = now.unwrap_or_else(|| panic!("no {series} in {}", self.recorder.render()));
        now - value(&self.before, series).unwrap_or(0.0)
    }

    async fn until_grown(&self, series: &str, by: f64) {
        let begin = Instant::now();
        while self.grown(series) < by {
            assert!(begin.elapsed() < LIMIT, "{}", self.recorder.render());
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.grown(series), by, "{series}");
    }

    async fn until_gauge(&self, series: &str, is_it: impl Fn(f64) -> bool) {
        let begin = Instant::now();
        while !value(&self.recorder.render(), series).is_some_and(&is_it) {
            assert!(
                begin.elapsed() < LIMIT,
                "{series}: {}",
                self.recorder.render()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[background(durable, name = "succeeds")]
async fn succeeds() {}

#[background(durable(unique(key = key)), name = "is_unique")]
async fn is_unique(key: u32) -> u32 {
    key
}

#[background(durable, name = "fails", retry(max = 3, base = "1ms"))]
async fn fails() -> Result<(), String> {
    Err("as always".to_owned())
}

#[background(durable, name = "completes")]
async fn completes(job: Job, State(pool): State<Pool>) {
    let mut transaction = pool.begin().await;
    let completed = job.complete_in(&mut transaction, &());
    completed.await.expect("it holds its job");
    transaction.commit().await;
}

/// Is stored as a text, and does not decode.
struct Twisted;

impl Serialize for Twisted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("twisted")
    }
}

impl<'de> Deserialize<'de> for Twisted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|_| Self)
    }
}

#[background(durable, name = "takes")]
async fn takes(_twisted: Twisted) {}

fn of(metric: &str, name: &str) -> String {
    format!("bgtask_{metric}_total{{name=\"{name}\"}}")
}

fn ended(name: &str, outcome: &str) -> String {
    format!("bgtask_jobs_ended_total{{name=\"{name}\",outcome=\"{outcome}\"}}")
}

fn jobs_are_counted_by_function_and_by_what_becomes_of_them(scratch: Scratch) {
    let (_turn, recorder) = alone();
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    let shown = Figures::new(recorder);
    process.run(async {
        // The counters are there before anything is counted.
        assert_eq!(shown.grown(&ended("succeeds", "dead")), 0.0);

        let pool = Pool::of(&scratch).await;
        bgtask::provide(pool.clone());
        bgtask::durable::enqueue_all([succeeds(), succeeds()])
            .await
            .expect("they are stored");
        shown.until_grown(&ended("succeeds", "done"), 2.0).await;
        assert_eq!(shown.grown(&of("jobs_stored", "succeeds")), 2.0);
        assert_eq!(shown.grown(&of("jobs_claimed", "succeeds")), 2.0);

        // A call that stored nothing is not counted.
        let later = Duration::from_secs(3600);
        let first = is_unique(7).after(later).await.expect("it is stored");
        let second = is_unique(7).after(later).await.expect("it is there");
        assert!(second.is_duplicate());
        let mut transaction = pool.begin().await;
        let within = is_unique(8).after(later).within(&mut transaction);
        within.await.expect("it is written");
        transaction.commit().await;
        assert_eq!(shown.grown(&of("jobs_stored", "is_unique")), 2.0);
        // Nor was it claimed when it is cancelled.
        assert_eq!(first.cancel().await, Ok(true));
        shown
            .until_grown(&ended("is_unique", "cancelled"), 1.0)
            .await;
        assert_eq!(shown.grown(&of("jobs_claimed", "is_unique")), 0.0);

        let job = fails().await.expect("it is stored");
        let failed = job.outcome().await.expect_err("it fails");
        assert!(matches!(failed, JobError::Failed { attempts: 3, .. }));
        shown.until_grown(&ended("fails", "dead"), 1.0).await;
        assert_eq!(shown.grown(&of("job_retries", "fails")), 2.0);
        assert_eq!(shown.grown(&of("jobs_claimed", "fails")), 3.0);

        let job = completes().await.expect("it is stored");
        job.outcome().await.expect("it succeeds");
        shown.until_grown(&ended("completes", "done"), 1.0).await;

        let job = takes(Twisted).await.expect("it is stored");
        until(&job, |job| job.state == JobState::Parked).await;
        shown.until_grown(&of("jobs_parked", "takes"), 1.0).await;
        assert_eq!(shown.grown(&ended("takes", "dead")), 0.0);
    });
    process.end();
}

/// Whether the bodies of `waits` end.
static GO: AtomicBool = AtomicBool::new(false);

#[background(durable, name = "waits")]
async fn waits() {
    while !GO.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(5)).await;
    }
}

fn crashes_and_rescues_are_counted(scratch: Scratch) {
    let (_turn, recorder) = alone();
    let settings = || {
        let builder = bgtask_durable::builder().url(scratch.url());
        builder.time_to_live(Duration::from_millis(400))
    };
    let processes = [Process::start(settings()), Process::start(settings())];
    let shown = Figures::new(recorder);
    processes[0].run(async {
        let job = waits().await.expect("it is stored");
        until(&job, |job| job.state == JobState::Running).await;
        // As if the process had died that runs it: a job whose worker has no row is rescued after the time to live.
        let pool = Pool::of(&scratch).await;
        pool.run("DELETE FROM bgtask_worker", "DELETE FROM bgtask_worker")
            .await;
        until(&job, |job| job.crashes == 1).await;
        shown.until_grown(&of("job_crashes", "waits"), 1.0).await;
        shown.until_grown(&of("jobs_rescued", "waits"), 1.0).await;
        GO.store(true, Ordering::SeqCst);
        job.outcome().await.expect("it succeeds");
        shown.until_grown(&ended("waits", "done"), 1.0).await;
    });
    for process in processes {
        process.end();
    }
}

fn an_end_that_the_fence_drops_is_counted(scratch: Scratch) {
    let (_turn, recorder) = alone();
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    let shown = Figures::new(recorder);
    process.run(async {
        let job = waits().await.expect("it is stored");
        until(&job, |job| job.state == JobState::Running).await;
        // As a rescue does, and nobody tells the attempt.
        let pool = Pool::of(&scratch).await;
        pool.run(
            "UPDATE river_job SET state = 'available', metadata = jsonb_set(metadata, '$.\"bgtask:mark\"', 'test')",
            "UPDATE river_job SET state = 'available', metadata = metadata || '{\"bgtask:mark\": \"test\"}'",
        )
        .await;
        until(&job, |job| job.attempts == 2 && job.state == JobState::Running).await;
        GO.store(true, Ordering::SeqCst);
        job.outcome().await.expect("it succeeds");
        shown.until_grown(&of("job_ends_fenced", "waits"), 1.0).await;
        shown.until_grown(&ended("waits", "done"), 1.0).await;
        assert_eq!(shown.grown(&of("jobs_claimed", "waits")), 2.0);
    });
    process.end();
}

/// Sentence 7.5.
fn pending_ends_and_their_age_are_shown(scratch: Scratch) {
    let (_turn, recorder) = alone();
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    let shown = Figures::new(recorder);
    process.run(async {
        let pool = Pool::of(&scratch).await;
        shown
            .until_gauge("bgtask_worker_beat_age_seconds", |age| age < 1.5)
            .await;
        let jobs = [waits().await, waits().await];
        let jobs = jobs.map(|job| job.expect("it is stored"));
        for job in &jobs {
            until(job, |job| job.state == JobState::Running).await;
        }
        shown
            .until_gauge("bgtask_job_ends_pending", |ends| ends == 0.0)
            .await;
        // A transaction that holds the rows keeps the ends from being recorded, as an absence of the database does.
        let mut transaction = pool.begin().await;
        transaction
            .run(
                "UPDATE bgtask_instance SET id = id",
                "SELECT id FROM river_job FOR UPDATE",
            )
            .await;
        GO.store(true, Ordering::SeqCst);
        shown
            .until_gauge("bgtask_job_ends_pending", |ends| ends == 2.0)
            .await;
        shown
            .until_gauge("bgtask_job_ends_pending_age_seconds", |age| age >= 1.0)
            .await;
        transaction.commit().await;
        for job in jobs {
            job.outcome().await.expect("it succeeds");
        }
        for gauge in [
            "bgtask_job_ends_pending",
            "bgtask_job_ends_pending_age_seconds",
        ] {
            shown.until_gauge(gauge, |value| value == 0.0).await;
        }
    });
    process.end();
}

#[background(durable(queue = "slow"), name = "is_slow")]
async fn is_slow() {}

fn the_oldest_waiting_job_is_shown_by_queue(scratch: Scratch) {
    let (_turn, recorder) = alone();
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    let shown = Figures::new(recorder);
    let slow = "bgtask_jobs_oldest_waiting_seconds{queue=\"slow\"}";
    process.run(async {
        shown.until_gauge(slow, |age| age == 0.0).await;
        process.jobs.pause("slow").await.expect("it is paused");
        is_slow().priority(2).await.expect("it is stored");
        // A queue that no process works has no label.
        is_slow().queue("elsewhere").await.expect("it is stored");
        shown.until_gauge(slow, |age| age > 1.0).await;
        assert!(!recorder.render().contains("elsewhere"));
        process.jobs.resume("slow").await.expect("it is resumed");
        shown.until_gauge(slow, |age| age == 0.0).await;
    });
    process.end();
    // Once no store is open, there is no age.
    let beat = value(&recorder.render(), "bgtask_worker_beat_age_seconds");
    assert_eq!(beat, Some(0.0));
}

on_each_database! {
    jobs_are_counted_by_function_and_by_what_becomes_of_them,
    crashes_and_rescues_are_counted,
    an_end_that_the_fence_drops_is_counted,
    pending_ends_and_their_age_are_shown,
    the_oldest_waiting_job_is_shown_by_queue,
}
