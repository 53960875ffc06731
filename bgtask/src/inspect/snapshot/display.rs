//! A snapshot as text: a line of totals, and a table each of tasks, policies, schedules and scheduled calls.
//! Owns the layout; must never know how a snapshot is taken.

use super::{ShutdownProgress, Snapshot};
use crate::inspect::oldest::Others;
use crate::policy::{HandlerStats, ScheduleInfo};
use crate::stats::TaskInfo;
use crate::tracker::shutdown_state::Phase;
use crate::util::fmt::{Coarse, Grouped};
use crate::util::table::{self, Align};
use std::fmt;
use std::time::SystemTime;

/// How many functions with policies, and how many schedules, the tables show.
const FUNCTIONS: usize = 50;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = humantime::format_rfc3339_seconds(self.taken);
        write!(f, "{taken}, {}", self.phase)?;
        if let Some(shutdown) = &self.shutdown {
            let ShutdownProgress {
                reason,
                elapsed,
                draining,
                remaining,
            } = shutdown;
            match self.phase {
                Phase::Over => write!(f, " ({reason})")?,
                _ => {
                    let since = Coarse(draining.unwrap_or(*elapsed));
                    write!(f, " for {since} ({reason}), {} left", Coarse(*remaining))?;
                }
            }
        }
        self.write_totals(f)?;
        self.write_tasks(f)?;
        self.write_handlers(f)?;
        self.write_schedules(f)?;
        self.write_scheduled(f)
    }
}

impl Snapshot {
    /// `37 accepted = 4 running + 33 succeeded; 2 refused`
    fn write_totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.stats;
        let (accepted, running) = (Grouped(stats.accepted), Grouped(stats.running));
        write!(f, "\n{accepted} accepted = {running} running")?;
        if stats.waiting > 0 {
            write!(f, " ({} waiting)", Grouped(stats.waiting))?;
        }
        for (count, what) in [
            (stats.succeeded, "succeeded"),
            (stats.failed, "failed"),
            (stats.panicked, "panicked"),
            (stats.timed_out, "timed out"),
            (stats.cancelled, "cancelled"),
            (stats.aborted, "aborted"),
            (stats.abandoned, "abandoned"),
        ] {
            if count > 0 {
                write!(f, " + {} {what}", Grouped(count))?;
            }
        }
        let retries = if stats.retries == 1 {
            "retry"
        } else {
            "retries"
        };
        for (count, what) in [
            (stats.refused, "refused"),
            (stats.coalesced, "coalesced"),
            (stats.retries, retries),
        ] {
            if count > 0 {
                write!(f, "; {} {what}", Grouped(count))?;
            }
        }
        Ok(())
    }

    fn write_tasks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tasks.is_empty() {
            return f.write_str("\n  no live tasks");
        }
        let columns = [
            ("state", Align::Left),
            ("task", Align::Left),
            ("id", Align::Right),
            ("age", Align::Right),
            ("attempt", Align::Right),
            ("called at", Align::Left),
            ("function at", Align::Left),
        ];
        // Most programs have neither jobs nor fields, and need no columns for them.
        let has_jobs = self.tasks.iter().any(|task| job_cells(task).is_some());
        let has_fields = self.tasks.iter().any(|task| !task.fields.is_empty());
        if has_jobs {
            let [state, name, id, age, attempt, called_at, function_at] = columns;
            let (job, queue) = (("job", Align::Right), ("queue", Align::Left));
            let columns = [
                state,
                name,
                id,
                age,
                attempt,
                job,
                queue,
                called_at,
                function_at,
            ];
            self.write_rows::<9, 10>(f, columns, has_fields, task_row_with_job)?;
        } else {
            self.write_rows::<7, 8>(f, columns, has_fields, task_row)?;
        }
        let others = Others(self.others.clone());
        match others.count() {
            0 => Ok(()),
            count => write!(f, "\n  … and {} more: {others}", Grouped(count)),
        }
    }

    /// Writes the table of tasks. With fields, it has one more column.
    fn write_rows<const N: usize, const WITH_FIELDS: usize>(
        &self,
        f: &mut fmt::Formatter<'_>,
        columns: [(&str, Align); N],
        has_fields: bool,
        row: impl Fn(&TaskInfo) -> [String; N],
    ) -> fmt::Result {
        let tasks = self.tasks.iter();
        if !has_fields {
            return table::write(f, columns, &tasks.map(row).collect::<Vec<_>>());
        }
        let columns: [_; WITH_FIELDS] = append(columns, ("fields", Align::Left));
        let rows: Vec<_> = tasks
            .map(|task| append(row(task), task.fields.to_string()))
            .collect();
        table::write(f, columns, &rows)
    }

    fn write_handlers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            ("function", Align::Left),
            ("waiting", Align::Right),
            ("running", Align::Right),
            ("backing off", Align::Right),
            ("coalesced", Align::Right),
            ("refused", Align::Right),
            ("dropped", Align::Right),
            ("retries", Align::Right),
        ];
        write_bounded(f, columns, &self.handlers, handler_row)
    }

    fn write_schedules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            ("schedule", Align::Left),
            ("runs", Align::Right),
            ("missed", Align::Right),
            ("next", Align::Left),
        ];
        write_bounded(f, columns, &self.schedules, |schedule| {
            schedule_row(schedule, self.taken)
        })
    }

    fn write_scheduled(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            ("scheduled call", Align::Left),
            ("due", Align::Left),
            ("called at", Align::Left),
        ];
        write_bounded(f, columns, &self.scheduled, |call| {
            [
                call.name.to_owned(),
                due(call.due, self.taken),
                call.called_at.to_string(),
            ]
        })?;
        match self.scheduled_count - self.scheduled.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\n  … and {} more", Grouped(more)),
        }
    }
}

/// Returns the cells with one more behind them: `M` is `N + 1`.
fn append<T, const N: usize, const M: usize>(cells: [T; N], last: T) -> [T; M] {
    let mut cells = cells.into_iter().chain([last]);
    std::array::from_fn(|_| match cells.next() {
        Some(cell) => cell,
        None => unreachable!("there is one cell more than before"),
    })
}

fn task_row(task: &TaskInfo) -> [String; 7] {
    [
        task.state.to_string(),
        task.name.to_owned(),
        task.id.to_string(),
        Coarse(task.age).to_string(),
        task.attempt.to_string(),
        task.called_at.to_string(),
        format!("{}:{}", task.file, task.line),
    ]
}

fn task_row_with_job(task: &TaskInfo) -> [String; 9] {
    let [state, name, id, age, attempt, called_at, function_at] = task_row(task);
    let [job, queue] = job_cells(task).unwrap_or_default();
    [
        state,
        name,
        id,
        age,
        attempt,
        job,
        queue,
        called_at,
        function_at,
    ]
}

/// Returns the id and the queue of the job that the task runs.
#[cfg(feature = "durable")]
fn job_cells(task: &TaskInfo) -> Option<[String; 2]> {
    let job = task.job.as_ref()?;
    Some([job.id.to_string(), job.queue.clone()])
}

#[cfg(not(feature = "durable"))]
fn job_cells(_: &TaskInfo) -> Option<[String; 2]> {
    None
}

fn handler_row(handler: &HandlerStats) -> [String; 8] {
    let number = |number| Grouped(number).to_string();
    [
        handler.name.to_owned(),
        number(handler.waiting),
        number(handler.running),
        number(handler.backing_off),
        number(handler.coalesced),
        number(handler.refused),
        number(handler.dropped),
        number(handler.retries),
    ]
}

fn schedule_row(schedule: &ScheduleInfo, now: SystemTime) -> [String; 4] {
    let next = match schedule.next {
        _ if schedule.has_ended => "ended".to_owned(),
        _ if schedule.waits_for_state => "waiting for its state".to_owned(),
        _ if schedule.is_paused => "paused".to_owned(),
        None => "run in progress".to_owned(),
        Some(next) => due(next, now),
    };
    [
        schedule.name.to_owned(),
        Grouped(schedule.runs).to_string(),
        Grouped(schedule.missed).to_string(),
        next,
    ]
}

fn due(time: SystemTime, now: SystemTime) -> String {
    match time.duration_since(now) {
        Ok(left) => format!("in {}", Coarse(left)),
        Err(_) => "now".to_owned(),
    }
}

/// Writes the first [`FUNCTIONS`] items as a table, and the number of the others. Writes nothing if there are no items.
fn write_bounded<T, const N: usize>(
    f: &mut fmt::Formatter<'_>,
    columns: [(&str, Align); N],
    items: &[T],
    row: impl Fn(&T) -> [String; N],
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = items.iter().take(FUNCTIONS).map(row).collect();
    table::write(f, columns, &rows)?;
    match items.len() - rows.len() {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more"),
    }
}
