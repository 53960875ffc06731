//! The next step of one schedule, from its row and the time of the database. Pure: must never know a database or a clock.

use crate::engine::{
    JobOptions, RENAMED, ScheduleRow, ScheduleStep, ScheduleWrite, length, micros, time,
};
use bgtask::durable::{NextTick, Ticks};
use std::time::{Duration, SystemTime};

/// How long a schedule with another definition has to be unseen until a process that has run for longer replaces it. A process that
/// starts replaces it at once: the version of the program that was started last counts.
const TAKE_OVER: Duration = Duration::from_secs(60);

/// The schedule of a process, as the database has it.
pub(crate) struct View<'a> {
    pub(crate) function: &'static str,
    pub(crate) definition: String,
    pub(crate) own: Option<&'a ScheduleRow>,
    /// The row of the function's former name.
    pub(crate) former: Option<&'a ScheduleRow>,
}

impl<'a> View<'a> {
    pub(crate) fn of(ticks: &Ticks, rows: &'a [ScheduleRow]) -> Self {
        let find = |name: &str| rows.iter().find(|row| row.function == name);
        let function = ticks.function();
        Self {
            function: function.name(),
            definition: ticks.definition(),
            own: find(function.name()),
            former: function.was().and_then(find),
        }
    }
}

/// The definition in the row of a former name: processes that still have this name leave the schedule to those that have the new one.
pub(crate) fn renamed_to(function: &str) -> String {
    format!("{RENAMED}{function}")
}

fn is_renamed(row: &ScheduleRow) -> bool {
    row.definition.starts_with(RENAMED)
}

/// What to do with a schedule.
#[derive(Debug)]
pub(crate) enum Action {
    /// Nothing before this time, or for a while if there is none.
    Sleep {
        until: Option<i64>,
    },
    /// Nothing until it is resumed.
    Paused,
    /// A tick has come, and the job of an earlier one has not ended.
    AwaitJob(i64),
    Move(Box<Move>),
}

#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) step: ScheduleStep,
    /// The ticks that get no job.
    pub(crate) missed: u64,
    /// The definition that the step replaces.
    pub(crate) replaces: Option<String>,
}

impl Move {
    fn of(writes: Vec<ScheduleWrite>) -> Self {
        Self {
            step: ScheduleStep { writes, job: None },
            missed: 0,
            replaces: None,
        }
    }
}

fn update(row: &ScheduleRow, definition: String, last_tick: i64) -> ScheduleWrite {
    ScheduleWrite::Update {
        row: row.clone(),
        definition,
        last_tick,
    }
}

/// Decides the next step. `is_new` if this process has not looked at the schedule before.
pub(crate) fn decide(ticks: &Ticks, view: &View<'_>, now: i64, is_new: bool) -> Action {
    let former = view.former.filter(|former| !is_renamed(former));
    let Some(own) = view.own else {
        return Action::Move(Box::new(begin(ticks, view, former, now)));
    };
    if own.definition != view.definition {
        let is_in_force = now.abs_diff(own.seen_at) < length(TAKE_OVER).unsigned_abs();
        if is_in_force && (is_renamed(own) || !is_new) {
            return Action::Sleep { until: None };
        }
        // From now on: the ticks that the new definition would have had before are none.
        let mut replaced = Move::of(vec![update(own, view.definition.clone(), now)]);
        replaced.replaces = Some(own.definition.clone());
        return Action::Move(Box::new(replaced));
    }
    if let Some(former) = former {
        // A program with the former name has run again, and made a schedule of its own.
        let left = update(former, renamed_to(view.function), former.last_tick);
        return Action::Move(Box::new(Move::of(vec![left])));
    }
    if own.pause.since.is_some() {
        return Action::Paused;
    }
    advance(ticks, own, now)
}

/// Returns the tick after which the next one is sought. Those up to the end of a pause are none, and not missed.
pub(crate) fn counted_from(ticks: &Ticks, last_tick: i64, resumed_at: Option<i64>) -> SystemTime {
    match resumed_at {
        Some(resumed) if resumed > last_tick => ticks.last_up_to(time(last_tick), time(resumed)),
        _ => time(last_tick),
    }
}

/// Makes the row of a schedule, or takes over that of the former name.
fn begin(ticks: &Ticks, view: &View<'_>, former: Option<&ScheduleRow>, now: i64) -> Move {
    let mut begin = Move::of(Vec::new());
    let (last_tick, job) = match former {
        Some(former) if former.definition == view.definition => (former.last_tick, former.job),
        Some(former) => {
            begin.replaces = Some(former.definition.clone());
            (now, former.job)
        }
        None => {
            if ticks.begins_immediately() {
                begin.step.job = Some(ticks.first_job(time(now)));
            }
            (now, None)
        }
    };
    begin.step.writes.push(ScheduleWrite::Insert {
        function: view.function.to_owned(),
        definition: view.definition.clone(),
        last_tick,
        job,
        options: JobOptions::of(&ticks.first_job(time(now))),
        pause: former
            .map(|former| former.pause.clone())
            .unwrap_or_default(),
    });
    begin
        .step
        .writes
        .extend(former.map(|former| update(former, renamed_to(view.function), former.last_tick)));
    begin
}

fn advance(ticks: &Ticks, own: &ScheduleRow, now: i64) -> Action {
    let moved_to = |last_tick| Move::of(vec![update(own, own.definition.clone(), last_tick)]);
    let last = counted_from(ticks, own.last_tick, own.pause.until);
    let next = ticks.next(last, time(now));
    // Judged once the job has ended: ticks that come until then are missed, as those in memory are.
    if matches!(next, NextTick::Due { .. } | NextTick::Skipped { .. })
        && let (true, false, Some(job)) = (own.is_busy, ticks.overlaps(), own.job)
    {
        return Action::AwaitJob(job);
    }
    let moved = match next {
        NextTick::At(tick) => {
            return Action::Sleep {
                until: Some(micros(tick)),
            };
        }
        NextTick::Due { tick, missed } => {
            let mut due = moved_to(micros(tick));
            due.step.job = Some(ticks.job(tick, time(now)));
            due.missed = missed;
            due
        }
        NextTick::Skipped { until, missed } => {
            let mut skipped = moved_to(micros(until));
            skipped.missed = missed;
            skipped
        }
        NextTick::Corrected => moved_to(now),
        _ => return Action::Sleep { until: None },
    };
    Action::Move(Box::new(moved))
}
