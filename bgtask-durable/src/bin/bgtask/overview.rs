//! Shows what there is: the status, queues, workers and schedules. Must never change anything.

use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Table, length, pairs, time, time_if_any};
use bgtask::durable::JobState;
use bgtask_durable::{EndCounts, Jobs, Stats, Throughput, WorkerInfo};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Serialize)]
struct Status {
    database: String,
    jobs: BTreeMap<JobState, u64>,
    oldest_waiting_seconds: Option<f64>,
    oldest_waiting_queue: Option<String>,
    queues: usize,
    paused: Vec<String>,
    /// Registered: `workers` watches which of them live.
    workers: usize,
    #[serde(flatten)]
    throughput: Throughput,
}

pub(crate) async fn status(jobs: &Jobs, output: &mut Output) -> Result<(), Failure> {
    let stats = jobs.stats().await?;
    let workers = jobs.workers(Duration::ZERO).await?;
    let oldest = oldest(&stats);
    let status = Status {
        database: jobs.database(),
        jobs: JobState::ALL
            .map(|state| (state, stats.count(state)))
            .into(),
        oldest_waiting_seconds: oldest.map(|(_, waits)| waits.as_secs_f64()),
        oldest_waiting_queue: oldest.map(|(queue, _)| queue.to_owned()),
        queues: stats.queues.len(),
        paused: paused(&stats),
        workers: workers.len(),
        throughput: jobs.throughput().await?,
    };
    output.show(&status, || {
        let or_none = |text: String| {
            if text.is_empty() {
                "none".to_owned()
            } else {
                text
            }
        };
        let of_states = JobState::ALL.map(|state| (stats.count(state), state));
        let of_states = of_states.into_iter().filter(|(number, _)| *number > 0);
        let of_states: Vec<_> = of_states
            .map(|(number, state)| format!("{number} {state}"))
            .collect();
        pairs([
            ("database", status.database.clone()),
            ("jobs", or_none(of_states.join(", "))),
            (
                "oldest waiting",
                oldest.map_or_else(
                    || "none".to_owned(),
                    |(queue, waits)| format!("{}, in the queue {queue}", length(waits)),
                ),
            ),
            ("queues", status.queues.to_string()),
            ("paused", or_none(status.paused.join(", "))),
            ("workers", format!("{} registered", status.workers)),
            ("last hour", ended(&status.throughput.last_hour)),
            ("last day", ended(&status.throughput.last_day)),
        ])
    })
}

fn ended(ended: &EndCounts) -> String {
    let EndCounts {
        done,
        retried,
        dead,
        ..
    } = ended;
    format!("{done} done, {retried} retried, {dead} dead")
}

/// Returns the queue of the oldest waiting job, and how long that has waited.
fn oldest(stats: &Stats) -> Option<(&str, Duration)> {
    let waits = stats.queues.iter();
    let waits = waits.filter_map(|(name, queue)| Some((&**name, queue.oldest_waiting?)));
    waits.max_by_key(|(_, waits)| *waits)
}

fn paused(stats: &Stats) -> Vec<String> {
    let paused = stats.queues.iter().filter(|(_, queue)| queue.is_paused);
    paused.map(|(name, _)| name.clone()).collect()
}

#[derive(Serialize)]
struct Queue {
    queue: String,
    is_paused: bool,
    oldest_waiting_seconds: Option<f64>,
    jobs: BTreeMap<JobState, u64>,
    /// Registered workers that declare that they work it.
    workers: usize,
    /// How many of its jobs these run at once.
    at_once: usize,
}

pub(crate) async fn queues(jobs: &Jobs, output: &mut Output) -> Result<(), Failure> {
    let mut stats = jobs.stats().await?;
    // Those that are known and have no jobs.
    for queue in jobs.queues().await? {
        stats.queues.entry(queue.name).or_default();
    }
    let workers = jobs.workers(Duration::ZERO).await?;
    let at_once = |name: &str| -> Vec<usize> {
        let queues = workers.iter().filter_map(|worker| worker.queues.as_ref());
        queues
            .filter_map(|queues| queues.get(name).copied())
            .collect()
    };
    let queues: Vec<_> = stats
        .queues
        .into_iter()
        .map(|(name, stats)| {
            let at_once = at_once(&name);
            Queue {
                is_paused: stats.is_paused,
                oldest_waiting_seconds: stats.oldest_waiting.map(|waits| waits.as_secs_f64()),
                jobs: JobState::ALL
                    .map(|state| (state, stats.count(state)))
                    .into(),
                workers: at_once.len(),
                at_once: at_once.iter().sum(),
                queue: name,
            }
        })
        .collect();
    output.show(&queues, || {
        let mut table = Table::new(&[
            "QUEUE",
            ">SCHEDULED",
            ">WAITING",
            ">RUNNING",
            ">RETRYING",
            ">PARKED",
            ">DONE",
            ">DEAD",
            ">CANCELLED",
            ">OLDEST",
            ">WORKERS",
            ">AT ONCE",
            "",
        ]);
        for queue in &queues {
            let of_states = JobState::ALL.map(|state| queue.jobs.get(&state).copied().unwrap_or(0));
            let oldest = queue
                .oldest_waiting_seconds
                .map(|seconds| length(Duration::try_from_secs_f64(seconds).unwrap_or_default()));
            let paused = if queue.is_paused { "paused" } else { "" };
            let cells = std::iter::once(queue.queue.clone())
                .chain(of_states.map(|number| number.to_string()))
                .chain([
                    oldest.unwrap_or_else(|| "-".to_owned()),
                    queue.workers.to_string(),
                    queue.at_once.to_string(),
                    paused.to_owned(),
                ]);
            table.row(cells);
        }
        table.text("no queue has a job, is paused, or was ever worked")
    })
}

pub(crate) async fn workers(
    jobs: &Jobs,
    wait: Duration,
    output: &mut Output,
) -> Result<(), Failure> {
    let workers = jobs.workers(wait).await?;
    output.show(&workers, || {
        let mut table = Table::new(&[
            "WORKER", "HOST", ">PROCESS", "VERSION", "STARTED", ">RUNNING", "ALIVE", "QUEUES",
        ]);
        for worker in &workers {
            let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            table.row([
                worker.id.clone(),
                or_unknown(worker.host.clone()),
                or_unknown(worker.process.map(|process| process.to_string())),
                or_unknown(worker.version.clone()),
                time_if_any(worker.started_at),
                worker.running.to_string(),
                alive(worker).to_owned(),
                or_unknown(queues_of(worker)),
            ]);
        }
        table.text("no worker is registered: start one, such as a program with the role `work`")
    })
}

fn alive(worker: &WorkerInfo) -> &'static str {
    match (worker.is_alive, worker.started_at) {
        (Some(true), _) => "yes",
        (Some(false), Some(_)) => "silent",
        (_, None) => "gone",
        (None, _) => "-",
    }
}

fn queues_of(worker: &WorkerInfo) -> Option<String> {
    let queues = worker.queues.as_ref()?.iter();
    let queues: Vec<_> = queues
        .map(|(name, at_once)| format!("{name}={at_once}"))
        .collect();
    Some(queues.join(", "))
}

pub(crate) async fn schedules(jobs: &Jobs, output: &mut Output) -> Result<(), Failure> {
    let schedules = jobs.schedules().await?;
    output.show(&schedules, || {
        let mut table = Table::new(&[
            "FUNCTION",
            "SCHEDULE",
            "LAST TICK",
            ">LAST JOB",
            "",
            "PAUSED",
            "SEEN",
        ]);
        for schedule in &schedules {
            let busy = if schedule.is_busy { "not ended" } else { "" };
            let by = schedule.paused_by.as_deref().unwrap_or("somebody");
            let paused = schedule.paused_at.map(|at| format!("{} by {by}", time(at)));
            table.row([
                schedule.function.clone(),
                schedule.definition.clone(),
                time(schedule.last_tick),
                schedule
                    .job
                    .map_or_else(|| "-".to_owned(), |job| job.to_string()),
                busy.to_owned(),
                paused.unwrap_or_else(|| "-".to_owned()),
                format!("{} ago", length(schedule.unseen_for)),
            ]);
        }
        table.text("no durable function has a schedule")
    })
}
