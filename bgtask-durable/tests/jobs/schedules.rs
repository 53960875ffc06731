//! The schedules of durable functions: missed ticks, waits, and what becomes of a schedule that is changed, renamed or removed.

use crate::support::store::{LIMIT, Process};
use crate::support::transactions::Pool;
use crate::support::{Scratch, on_each_database};
use bgtask::durable::{JobState, JobStatus};
use bgtask::{Job, ShutdownToken, State, background};
use bgtask_durable::Filter;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

on_each_database! {
    after_an_hour_of_downtime_missed_ticks_run_as_the_option_says,
    a_tick_waits_for_the_job_before_it,
    in_a_paused_queue_one_job_waits,
    a_changed_schedule_goes_on_from_the_change,
    a_renamed_function_keeps_its_schedule,
    the_schedule_of_a_removed_function_is_left_alone_and_dropped_after_a_month,
    the_first_tick_of_immediately_is_one_of_all_processes,
    jitter_delays_the_job_of_a_tick,
    ticks_of_cron_become_jobs,
    a_clock_that_was_set_back_repeats_no_tick,
    processes_without_schedules_store_no_ticks,
    a_paused_schedule_has_no_ticks_and_catches_up_none,
    a_schedule_runs_now_and_its_next_tick_stays,
}

/// The ticks of one test, with the names of their functions.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<Vec<(&'static str, SystemTime)>>>);

impl Ledger {
    fn note(&self, name: &'static str, job: &Job) {
        let tick = job.tick().expect("nobody calls it");
        self.0.lock().expect("nothing panics").push((name, tick));
    }

    fn of(&self, name: &str) -> Vec<SystemTime> {
        let noted = self.0.lock().expect("nothing panics");
        let of_name = noted.iter().filter(|(noted, _)| *noted == name);
        of_name.map(|(_, tick)| *tick).collect()
    }
}

#[background(durable, every = "10m")]
async fn once(job: Job, State(ledger): State<Ledger>) {
    ledger.note("once", &job);
}

#[background(durable, every = "10m", missed = "skip")]
async fn skip(job: Job, State(ledger): State<Ledger>) {
    ledger.note("skip", &job);
}

#[background(durable, every = "10m", missed = "all")]
async fn all(job: Job, State(ledger): State<Ledger>) {
    ledger.note("all", &job);
}

#[background(durable(was = "jobs::schedules::former"), every = "10m")]
async fn renamed(job: Job, State(ledger): State<Ledger>) {
    ledger.note("renamed", &job);
}

#[background(durable, every = "1h", immediately)]
async fn at_once(job: Job, State(ledger): State<Ledger>) {
    ledger.note("at_once", &job);
}

/// Ticks, and lets the tests wait for a number of ticks.
#[background(durable, every = "200ms", overlap)]
async fn ticking(job: Job, State(ledger): State<Ledger>) {
    ledger.note("ticking", &job);
}

/// Runs until the test says so.
#[background(durable, every = "200ms")]
async fn slow(job: Job, token: ShutdownToken, State(ledger): State<Ledger>, State(go): State<Go>) {
    ledger.note("slow", &job);
    token.run_until_cancelled(go.0.notified()).await;
}

/// Lets a run of `slow` end.
#[derive(Clone, Default)]
struct Go(Arc<tokio::sync::Notify>);

#[background(durable(queue = "paused"), every = "200ms")]
async fn in_a_queue(job: Job, State(ledger): State<Ledger>) {
    ledger.note("in_a_queue", &job);
}

#[background(durable, every = "200ms", jitter = "365d")]
async fn jittered(job: Job, State(ledger): State<Ledger>) {
    ledger.note("jittered", &job);
}

#[background(durable, cron = "* * * * * *", timezone = "Asia/Kolkata")]
async fn each_second(job: Job, State(ledger): State<Ledger>) {
    ledger.note("each_second", &job);
}

/// A process whose schedules are started.
fn started(scratch: &Scratch, ledger: &Ledger, go: &Go) -> Process {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.run(async {
        bgtask::provide(ledger.clone());
        bgtask::provide(go.clone());
        process.manager.start_schedules();
    });
    process
}

fn until(process: &Process, what: &str, is_it: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    process.run(async {
        while !is_it().await {
            assert!(begin.elapsed() < LIMIT, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

/// Waits until this many more ticks have become jobs.
fn tick(process: &Process, ledger: &Ledger, count: usize) {
    let expected = ledger.of("ticking").len() + count;
    until(process, "ticks", async || {
        ledger.of("ticking").len() >= expected
    });
}

fn jobs_of(process: &Process, function: &str) -> Vec<JobStatus> {
    let filter = Filter::all().function(format!("jobs::schedules::{function}"));
    process.run(process.jobs.list(filter)).expect("a list")
}

/// Reads numbers in the database of a process.
fn numbers(process: &Process, scratch: &Scratch, query: &'static str) -> Vec<i64> {
    process.run(async { Pool::of(scratch).await.numbers(query).await })
}

fn run(process: &Process, scratch: &Scratch, statement: &'static str) {
    process.run(async { Pool::of(scratch).await.run(statement, statement).await });
}

fn known(process: &Process, scratch: &Scratch) {
    let pool = process.run(Pool::of(scratch));
    until(process, "schedules", async || {
        let count = "SELECT count(*) FROM bgtask_schedule WHERE function LIKE 'jobs::schedules::%'";
        pool.numbers(count).await == [10]
    });
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_micros().try_into().expect("a number")
}

/// Makes the rows, ends, and changes them while no process runs.
fn with_rows(scratch: &Scratch, change: &'static str) {
    let process = started(scratch, &Ledger::default(), &Go::default());
    known(&process, scratch);
    process.run(async { process.manager.shutdown("the rows are there").await });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { Pool::of(scratch).await.run(change, change).await });
}

/// Sentences 13.1, 13.4 and 13.6.
fn after_an_hour_of_downtime_missed_ticks_run_as_the_option_says(scratch: Scratch) {
    // Five seconds more, so that the last tick is not in time.
    with_rows(
        &scratch,
        "UPDATE bgtask_schedule SET last_tick = last_tick - 3605000000 WHERE definition = 'every = 10m'",
    );
    let (ledger, go) = (Ledger::default(), Go::default());
    // Of three processes that start now, each tick is one's.
    let processes: Vec<_> = (0..3).map(|_| started(&scratch, &ledger, &go)).collect();
    let [process, ..] = &processes[..] else {
        unreachable!("there are three")
    };
    until(process, "all missed ticks", async || {
        ledger.of("all").len() == 6 && ledger.of("once").len() == 1
    });
    let pool = process.run(Pool::of(&scratch));
    until(process, "the skipped ticks", async || {
        let ticks = pool
            .numbers("SELECT last_tick FROM bgtask_schedule WHERE definition = 'every = 10m'")
            .await;
        let earliest = ticks.iter().min().expect("a tick");
        micros(SystemTime::now()) - earliest < 600_000_000
    });
    tick(process, &ledger, 3);
    let (all, once) = (ledger.of("all"), ledger.of("once"));
    let pauses = all.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    for pause in pauses {
        assert_eq!(pause.expect("in their order"), Duration::from_secs(600));
    }
    assert_eq!((all.len(), once.len()), (6, 1));
    // The one is that of the last tick.
    let last = all.last().expect("a tick");
    let apart = last
        .duration_since(once[0])
        .unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_secs(60), "{all:?} {once:?}");
    assert_eq!(ledger.of("skip"), Vec::<SystemTime>::new());
    let missed = |name: &str| {
        let of = |process: &Process| {
            let schedules = process.run(async { bgtask::schedules() });
            let found = schedules.iter().find(|schedule| schedule.name() == name);
            found.expect("it is shown").info().missed
        };
        processes.iter().map(of).sum::<u64>()
    };
    assert_eq!(missed("jobs::schedules::once"), 5);
    assert_eq!(missed("jobs::schedules::skip"), 6);
    assert_eq!(missed("jobs::schedules::all"), 0);
    processes.into_iter().for_each(Process::end);
}

/// Sentence 13.3.
fn a_tick_waits_for_the_job_before_it(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    until(&process, "a run", async || ledger.of("slow").len() == 1);
    tick(&process, &ledger, 8);
    assert_eq!(jobs_of(&process, "slow").len(), 1);
    go.0.notify_one();
    until(&process, "the next", async || ledger.of("slow").len() == 2);
    // One run replaces the ticks that came meanwhile.
    let ticks = ledger.of("slow");
    let apart = ticks[1].duration_since(ticks[0]).expect("later");
    assert!(apart >= Duration::from_millis(1000), "{apart:?}");
    assert_eq!(apart.as_millis() % 200, 0, "{apart:?}");
    process.end();
}

/// Sentence 13.5.
fn in_a_paused_queue_one_job_waits(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process
        .run(process.jobs.pause("paused"))
        .expect("it is paused");
    process.end();
    let process = started(&scratch, &ledger, &go);
    until(&process, "a job", async || {
        !jobs_of_async(&process, "in_a_queue").await.is_empty()
    });
    tick(&process, &ledger, 5);
    let jobs = jobs_of(&process, "in_a_queue");
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].state, JobState::Waiting);
    process
        .run(process.jobs.resume("paused"))
        .expect("it is resumed");
    until(&process, "further ticks", async || {
        ledger.of("in_a_queue").len() >= 2
    });
    process.end();
}

async fn jobs_of_async(process: &Process, function: &str) -> Vec<JobStatus> {
    let filter = Filter::all().function(format!("jobs::schedules::{function}"));
    process.jobs.list(filter).await.expect("a list")
}

/// Sentence 13.8.
fn a_changed_schedule_goes_on_from_the_change(scratch: Scratch) {
    with_rows(
        &scratch,
        "UPDATE bgtask_schedule SET last_tick = last_tick - 3605000000, definition = 'every = 1s' WHERE definition = 'every = 10m'",
    );
    let (ledger, go) = (Ledger::default(), Go::default());
    let begin = micros(SystemTime::now());
    let process = started(&scratch, &ledger, &go);
    let pool = process.run(Pool::of(&scratch));
    until(&process, "the new definitions", async || {
        let old = "SELECT count(*) FROM bgtask_schedule WHERE definition = 'every = 1s'";
        pool.numbers(old).await == [0]
    });
    tick(&process, &ledger, 3);
    let new = "SELECT last_tick FROM bgtask_schedule WHERE definition = 'every = 10m'";
    for tick in numbers(&process, &scratch, new) {
        // The clock of SQLite shows milliseconds.
        assert!(tick >= begin - 1000, "{tick} {begin}");
    }
    for name in ["once", "skip", "all", "renamed"] {
        assert_eq!(ledger.of(name), Vec::<SystemTime>::new(), "{name}");
    }
    process.end();
}

/// Sentence 13.10.
fn a_renamed_function_keeps_its_schedule(scratch: Scratch) {
    // With a tick that the function with the former name has missed.
    with_rows(
        &scratch,
        "UPDATE bgtask_schedule SET function = 'jobs::schedules::former', last_tick = last_tick - 665000000
         WHERE function = 'jobs::schedules::renamed'",
    );
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    until(&process, "the missed tick", async || {
        !ledger.of("renamed").is_empty()
    });
    let former = "SELECT count(*) FROM bgtask_schedule WHERE function = 'jobs::schedules::former'
        AND definition = 'renamed to jobs::schedules::renamed'";
    assert_eq!(numbers(&process, &scratch, former), [1]);
    tick(&process, &ledger, 3);
    assert_eq!(ledger.of("renamed").len(), 1);
    process.end();
}

/// Sentence 13.11.
fn the_schedule_of_a_removed_function_is_left_alone_and_dropped_after_a_month(scratch: Scratch) {
    with_rows(
        &scratch,
        "INSERT INTO bgtask_schedule (function, definition, last_tick, seen_at)
         SELECT 'removed::' || days, 'every = 1s', last_tick, seen_at - days * 86400000000
         FROM bgtask_schedule, (SELECT 29 AS days UNION SELECT 31) AS ages WHERE function = 'jobs::schedules::once'",
    );
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    tick(&process, &ledger, 3);
    let left =
        "SELECT count(*) FROM bgtask_schedule WHERE function = 'removed::29' AND job IS NULL";
    assert_eq!(numbers(&process, &scratch, left), [1]);
    let dropped = "SELECT count(*) FROM bgtask_schedule WHERE function = 'removed::31'";
    assert_eq!(numbers(&process, &scratch, dropped), [0]);
    process.end();
}

/// Sentence 13.7.
fn the_first_tick_of_immediately_is_one_of_all_processes(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let processes: Vec<_> = (0..3).map(|_| started(&scratch, &ledger, &go)).collect();
    let [process, ..] = &processes[..] else {
        unreachable!("there are three")
    };
    until(process, "the first", async || {
        !ledger.of("at_once").is_empty()
    });
    tick(process, &ledger, 3);
    processes.into_iter().for_each(Process::end);
    // It is none of a later start.
    let process = started(&scratch, &ledger, &go);
    tick(&process, &ledger, 3);
    assert_eq!(ledger.of("at_once").len(), 1);
    process.end();
}

/// Sentence 13.7.
fn jitter_delays_the_job_of_a_tick(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    until(&process, "a job", async || {
        !jobs_of_async(&process, "jittered").await.is_empty()
    });
    tick(&process, &ledger, 2);
    let jobs = jobs_of(&process, "jittered");
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].state, JobState::Scheduled);
    process.end();
}

/// Sentence 13.1.
fn ticks_of_cron_become_jobs(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    until(&process, "ticks", async || {
        ledger.of("each_second").len() >= 2
    });
    for tick in ledger.of("each_second") {
        assert_eq!(micros(tick) % 1_000_000, 0, "{tick:?}");
    }
    let definition = "SELECT count(*) FROM bgtask_schedule
        WHERE definition = 'cron = * * * * * *, timezone = Asia/Kolkata'";
    assert_eq!(numbers(&process, &scratch, definition), [1]);
    process.end();
}

/// Sentence 13.9.
fn a_clock_that_was_set_back_repeats_no_tick(scratch: Scratch) {
    // The database's clock showed this when the last ticks came.
    with_rows(
        &scratch,
        "UPDATE bgtask_schedule SET last_tick = last_tick
             + CASE function WHEN 'jobs::schedules::slow' THEN 10000000000 ELSE 11000000000 END
         WHERE function IN ('jobs::schedules::slow', 'jobs::schedules::in_a_queue')",
    );
    // The first process may have left a job of a tick before.
    let from = SystemTime::now();
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    // By more than three hours: the clock was wrong before, and the schedule goes on from now.
    until(&process, "ticks of now", async || {
        !ledger.of("in_a_queue").is_empty()
    });
    tick(&process, &ledger, 3);
    let repeated: Vec<_> = ledger
        .of("slow")
        .into_iter()
        .filter(|tick| *tick >= from)
        .collect();
    assert_eq!(repeated, Vec::<SystemTime>::new());
    run(
        &process,
        &scratch,
        "DELETE FROM bgtask_schedule WHERE function = 'jobs::schedules::slow'",
    );
    process.end();
}

/// Sentence 13.12.
fn processes_without_schedules_store_no_ticks(scratch: Scratch) {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.run(async { bgtask::provide(Ledger::default()) });
    let rows = "SELECT count(*) FROM bgtask_schedule";
    let job = process.run(async { at_once().await.expect("it is stored").id() });
    assert_eq!(process.jobs.get::<()>(job).id(), job);
    assert_eq!(numbers(&process, &scratch, rows), [0]);
    process.end();
}

/// Sentence 13.13.
fn a_paused_schedule_has_no_ticks_and_catches_up_none(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    known(&process, &scratch);
    let jobs = process.jobs.clone();
    let names = ["in_a_queue", "all", "once"].map(|name| format!("jobs::schedules::{name}"));
    process.run(async {
        for name in &names {
            assert!(jobs.pause_schedule(name, "ann").await.expect("it is there"));
            assert!(!jobs.pause_schedule(name, "bob").await.expect("it is there"));
        }
        jobs.pause_schedule("jobs::schedules::nowhere", "ann")
            .await
            .expect_err("there is none");
    });
    // The job of a tick before the pause still runs, and not in the processes below.
    let pool = process.run(Pool::of(&scratch));
    until(&process, "the earlier ticks have run", async || {
        let waiting = "SELECT count(*) FROM river_job WHERE kind = 'jobs::schedules::in_a_queue' AND finalized_at IS NULL";
        pool.numbers(waiting).await == [0]
    });
    drop(pool);
    process.end();
    // Two hours later, in other processes.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let change = "UPDATE bgtask_schedule SET last_tick = last_tick - 7205000000, paused_at = paused_at - 7200000000
        WHERE paused_at IS NOT NULL";
    runtime.block_on(async { Pool::of(&scratch).await.run(change, change).await });
    let ledger = Ledger::default();
    let processes: Vec<_> = (0..2).map(|_| started(&scratch, &ledger, &go)).collect();
    let [process, other] = &processes[..] else {
        unreachable!("there are two")
    };
    tick(process, &ledger, 6);
    for name in ["in_a_queue", "all", "once"] {
        assert_eq!(ledger.of(name), Vec::<SystemTime>::new(), "{name}");
    }
    let schedules = other.run(other.jobs.schedules()).expect("a list");
    let paused = schedules
        .iter()
        .filter(|schedule| schedule.paused_at.is_some());
    let by: Vec<_> = paused
        .map(|schedule| schedule.paused_by.as_deref())
        .collect();
    assert_eq!(by, [Some("ann"); 3]);
    let last = "SELECT last_tick FROM bgtask_schedule WHERE function = 'jobs::schedules::all'";
    let before = numbers(process, &scratch, last)[0];
    let resumed = SystemTime::now();
    other.run(async {
        for name in &names {
            assert!(other.jobs.resume_schedule(name).await.expect("it is there"));
            assert!(!other.jobs.resume_schedule(name).await.expect("it is there"));
        }
    });
    until(process, "ticks after the pause", async || {
        ledger.of("in_a_queue").len() >= 2
    });
    // The clock of SQLite shows milliseconds.
    let first = ledger.of("in_a_queue")[0] + Duration::from_millis(1);
    assert!(first >= resumed, "{first:?} {resumed:?}");
    tick(process, &ledger, 3);
    for name in ["all", "once"] {
        assert_eq!(
            ledger.of(name),
            Vec::<SystemTime>::new(),
            "{name} has caught up"
        );
    }
    // The next tick of `all` is on the grid that it had.
    let next_of_all = || {
        let schedules = bgtask::schedules();
        let all = schedules
            .iter()
            .find(|schedule| schedule.name() == "jobs::schedules::all");
        all.and_then(|schedule| schedule.info().next)
    };
    until(process, "it is known", async || next_of_all().is_some());
    let next = process.run(async { next_of_all() });
    let next = micros(next.expect("it has one"));
    assert_eq!((next - before) % 600_000_000, 0, "{next} {before}");
    assert!(next > micros(resumed), "{next}");
    processes.into_iter().for_each(Process::end);
}

/// Sentence 13.14.
fn a_schedule_runs_now_and_its_next_tick_stays(scratch: Scratch) {
    let (ledger, go) = (Ledger::default(), Go::default());
    let process = started(&scratch, &ledger, &go);
    known(&process, &scratch);
    let row = "SELECT last_tick + coalesce(job, 0) FROM bgtask_schedule WHERE function = 'jobs::schedules::all'";
    let before = numbers(&process, &scratch, row);
    let asked = SystemTime::now();
    process.run(async {
        let jobs = &process.jobs;
        let paused = jobs.pause_schedule("jobs::schedules::all", "ann").await;
        assert!(paused.expect("it is there"));
        // Of a function with another queue, whose options the store has.
        let job = jobs.run_schedule("jobs::schedules::in_a_queue").await;
        let details = jobs.details(job.expect("it is stored")).await;
        assert_eq!(details.expect("it is there").status.queue, "paused");
        let job = jobs
            .run_schedule("jobs::schedules::all")
            .await
            .expect("it is stored");
        jobs.get::<()>(job).outcome().await.expect("it ends");
        jobs.run_schedule("jobs::schedules::nowhere")
            .await
            .expect_err("there is none");
    });
    let [run] = ledger.of("all")[..] else {
        panic!("it ran once: {:?}", ledger.of("all"))
    };
    let apart = run
        .duration_since(asked)
        .unwrap_or_else(|error| error.duration());
    assert!(apart < LIMIT, "{apart:?}");
    assert_eq!(numbers(&process, &scratch, row), before);
    process.end();
}
