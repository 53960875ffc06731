//! The compare-and-set of a schedule, and which of two processes with different definitions has it.

use super::*;
use crate::engine::{ScheduleRow, ScheduleStep, length};
use crate::schedule::{Action, View, decide};
use bgtask::durable::{
    BoxFuture, EncodedJob, EnqueueError, Enqueued, Host, JobEvents, JobStatus as Status, Store,
    Ticks,
};
use std::sync::{Mutex, MutexGuard};

support::on_each_database! {
    async
    of_processes_that_have_read_one_row_one_stores_the_tick,
    without_the_comparison_a_tick_is_stored_twice,
    a_tick_that_was_read_before_a_pause_is_not_stored,
}

#[bgtask::background(durable(was = "tests::former"), every = "1m", missed = "all")]
async fn ticking() {}

/// A store that keeps the schedules that it is given.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Ticks>>);

impl Kept {
    fn ticks(&self) -> MutexGuard<'_, Vec<Ticks>> {
        crate::lock(&self.0)
    }
}

impl Store for Kept {
    fn enqueue(&self, _: Vec<EncodedJob>) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError>> {
        unreachable!("nothing is called")
    }

    fn status(&self, _: JobId) -> BoxFuture<'_, Result<Status, JobError>> {
        unreachable!("nothing is called")
    }

    fn outcome(&self, _: JobId) -> BoxFuture<'_, Result<Box<RawValue>, JobError>> {
        unreachable!("nothing is called")
    }

    fn watch(&self, _: JobId, _: Option<u64>) -> JobEvents {
        unreachable!("nothing is called")
    }

    fn cancel(&self, _: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        unreachable!("nothing is called")
    }

    fn retry_now(&self, _: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        unreachable!("nothing is called")
    }

    fn schedule(&self, ticks: Ticks) {
        self.ticks().push(ticks);
    }

    fn close(&self, _: std::time::Instant) {}
}

/// The schedule of [`ticking`], as a store has it.
async fn ticks() -> Ticks {
    let manager = bgtask::Manager::builder().install().expect("the first");
    let kept = Arc::new(Kept::default());
    let host = Host::current().expect("it is installed");
    host.attach(kept.clone()).expect("the first");
    manager.start_schedules();
    let mut all = kept.ticks();
    let own = all
        .iter()
        .position(|ticks| ticks.function().name().ends_with("::ticking"));
    all.swap_remove(own.expect("its schedule is started"))
}

/// A row whose next tick has come.
async fn due(database: &Database, ticks: &Ticks) -> (i64, ScheduleRow) {
    let name = ticks.function().name();
    let (now, rows) = database.schedules().await.expect("they are read");
    let Action::Move(begin) = decide(ticks, &View::of(ticks, &rows), now, true) else {
        panic!("there is no row yet");
    };
    let engine = Engine::storing(database).expect("a client");
    assert!(engine.step(begin.step).await.expect("it is written"));
    let moved = Statement::same("UPDATE bgtask_schedule SET last_tick = last_tick - 61000000");
    assert_eq!(moved.run(database).await, 1);
    let (now, rows) = database.schedules().await.expect("they are read");
    let row = rows.into_iter().find(|row| row.function == name);
    (now, row.expect("its row"))
}

fn step(ticks: &Ticks, row: &ScheduleRow, now: i64) -> ScheduleStep {
    match decide(
        ticks,
        &View::of(ticks, std::slice::from_ref(row)),
        now,
        false,
    ) {
        Action::Move(due) => due.step,
        other => panic!("a tick has come: {other:?}"),
    }
}

/// Has processes with their own connections store the tick of one row that all of them have read. Returns how many did.
async fn race(scratch: &Scratch, database: &Database, processes: usize) -> usize {
    let ticks = ticks().await;
    let (now, row) = due(database, &ticks).await;
    let mut racing = Vec::new();
    for _ in 0..processes {
        let engine = Engine::storing(&scratch.open().await).expect("a client");
        let step = step(&ticks, &row, now);
        racing.push(tokio::spawn(async move { engine.step(step).await }));
    }
    let mut stored = 0;
    for process in racing {
        let ended = process.await.expect("it ends");
        stored += usize::from(ended.expect("it is written"));
    }
    stored
}

async fn jobs(database: &Database) -> Option<String> {
    Statement::same("SELECT count(*) || '' FROM river_job")
        .read(database)
        .await
}

/// Sentence 13.1.
async fn of_processes_that_have_read_one_row_one_stores_the_tick(scratch: Scratch) {
    let database = scratch.open().await;
    assert_eq!(race(&scratch, &database, 5).await, 1);
    assert_eq!(jobs(&database).await.as_deref(), Some("1"));
}

/// Sentence 13.1. What the comparison is for.
async fn without_the_comparison_a_tick_is_stored_twice(scratch: Scratch) {
    let database = scratch.open().await;
    Mechanism::ComparesTicks.turn_off(&database);
    assert_eq!(race(&scratch, &database, 2).await, 2);
    assert_eq!(jobs(&database).await.as_deref(), Some("2"));
}

/// Sentence 13.13.
async fn a_tick_that_was_read_before_a_pause_is_not_stored(scratch: Scratch) {
    let database = scratch.open().await;
    let ticks = ticks().await;
    let (now, row) = due(&database, &ticks).await;
    let name = ticks.function().name();
    let engine = Engine::storing(&database).expect("a client");
    let paused = database.set_schedule_paused(name, Some("ann")).await;
    assert!(paused.expect("it is there"));
    let stored = engine.step(step(&ticks, &row, now)).await;
    assert!(!stored.expect("it is read"));
    // Nor once it is resumed.
    let resumed = database.set_schedule_paused(name, None).await;
    assert!(resumed.expect("it is there"));
    let stored = engine.step(step(&ticks, &row, now)).await;
    assert!(!stored.expect("it is read"));
    assert_eq!(jobs(&database).await.as_deref(), Some("0"));
}

fn row(ticks: &Ticks, function: &str, definition: &str, seen_at: i64) -> ScheduleRow {
    ScheduleRow {
        function: function.replace("ticking", ticks.function().name()),
        definition: definition.to_owned(),
        last_tick: 1_000_000_000_000_000,
        seen_at,
        ..ScheduleRow::default()
    }
}

/// Whether the schedule is left as it is.
fn is_left(ticks: &Ticks, rows: &[ScheduleRow], is_new: bool) -> bool {
    let now = 1_000_000_001_000_000;
    match decide(ticks, &View::of(ticks, rows), now, is_new) {
        Action::Sleep { until } => until.is_none(),
        Action::Move(moved) => {
            assert!(moved.step.job.is_none(), "{moved:?}");
            false
        }
        Action::AwaitJob(_) | Action::Paused => unreachable!("no row has a job, or is paused"),
    }
}

/// Sentence 13.8.
#[test]
fn the_version_of_the_program_that_started_last_has_the_schedule_until_it_is_gone() {
    block_on(async {
        let ticks = ticks().await;
        let now = 1_000_000_001_000_000;
        let old = now - length(Duration::from_secs(61));
        let other = |seen_at| [row(&ticks, "ticking", "every = 2m", seen_at)];
        assert!(is_left(&ticks, &other(now), false));
        assert!(!is_left(&ticks, &other(now), true));
        assert!(!is_left(&ticks, &other(old), false));
        // A clock that was set back.
        assert!(!is_left(
            &ticks,
            &other(now + length(Duration::from_secs(61))),
            false
        ));
    });
}

/// Sentence 13.10.
#[test]
fn a_program_with_the_former_name_leaves_the_schedule_until_the_new_one_is_gone() {
    block_on(async {
        let ticks = ticks().await;
        let now = 1_000_000_001_000_000;
        let old = now - length(Duration::from_secs(61));
        let renamed = |seen_at| [row(&ticks, "ticking", "renamed to tests::later", seen_at)];
        for is_new in [false, true] {
            assert!(is_left(&ticks, &renamed(now), is_new));
            assert!(!is_left(&ticks, &renamed(old), is_new));
        }
        // The one with the former name has started a schedule of its own once more.
        let own = row(&ticks, "ticking", "every = 1m", now);
        let both = [own.clone(), row(&ticks, "tests::former", "every = 1m", now)];
        let Action::Move(marked) = decide(&ticks, &View::of(&ticks, &both), now, false) else {
            panic!("the former one is marked");
        };
        assert_eq!(marked.step.writes.len(), 1);
        let name = ticks.function().name();
        let marked = [
            own,
            row(&ticks, "tests::former", &format!("renamed to {name}"), now),
        ];
        let next = decide(&ticks, &View::of(&ticks, &marked), now, false);
        assert!(matches!(next, Action::Sleep { until: Some(_) }), "{next:?}");
    });
}
