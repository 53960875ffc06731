//! A look at one manager: the phase, the totals, the oldest live tasks, the lines and the schedules; and its table.
//! Owns what goes into it, and how much at the most; changes nothing, and knows nothing of who asks.

use crate::inspect::oldest::{Grouped, Oldest, Others};
use crate::policy::{HandlerStats, ScheduleInfo};
use crate::report::{Seconds, ShutdownReason};
use crate::stats::{Stats, TaskInfo};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::table::{self, Align};
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// How many tasks are listed one by one.
const TASKS: usize = 50;

/// How many functions with policies, and how many schedules, the table shows.
const FUNCTIONS: usize = 50;

/// What one manager's work looked like at one moment. Its `Display` is a table of bounded size.
///
/// [`snapshot()`](crate::inspect::snapshot()) and [`Manager::snapshot`](crate::Manager::snapshot) take one;
/// `#[bgtask::main(dump = "SIGUSR1")]` prints one at each such signal. Calls go on while it is taken, so its parts are not of
/// exactly one instant; each is true in itself, and the totals add up.
///
/// ```
/// #[bgtask::background]
/// async fn refresh_cache(key: String) { std::future::pending::<()>().await }
///
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # let manager = bgtask::Manager::builder().grace(std::time::Duration::ZERO).install_on(runtime.handle())?;
/// # runtime.block_on(async {
/// refresh_cache("home".into());
/// let snapshot = bgtask::snapshot();
/// assert_eq!(snapshot.stats.running, 1);
/// println!("{snapshot}"); // since when, in which state, called from where
/// # manager.shutdown("the example ends").await;
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub taken: SystemTime,
    /// How far the shutdown has come, if there is one.
    pub phase: Phase,
    /// The shutdown, once it has been asked for.
    pub shutdown: Option<ShutdownProgress>,
    /// The totals.
    pub stats: Stats,
    /// The live tasks, oldest call first: the first 50. [`tasks()`](crate::tasks()) lists all.
    pub tasks: Vec<TaskInfo>,
    /// How many more there are of each function: its name and the count, most first.
    pub others: Vec<(&'static str, u64)>,
    /// What the policies of each function have done, by name; see [`handler_stats()`](crate::handler_stats()).
    pub handlers: Vec<HandlerStats>,
    /// The schedules, by name; see [`schedules()`](crate::schedules()).
    pub schedules: Vec<ScheduleInfo>,
}

/// A shutdown under way, as a [`Snapshot`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownProgress {
    /// Why it was asked for.
    pub reason: ShutdownReason,
    /// Time since it was asked for.
    pub elapsed: Duration,
    /// Time since the tasks' tokens fired, if they have.
    pub draining: Option<Duration>,
    /// Time until the deadline; zero after it.
    pub left: Duration,
}

/// Takes a snapshot. No call waits for it.
pub(crate) fn take(tracker: &Tracker) -> Snapshot {
    let shared = &tracker.shared;
    let (now, taken) = (Instant::now(), SystemTime::now());
    let (tasks, Others(others)) = oldest_tasks(tracker, now, TASKS);
    Snapshot {
        taken,
        phase: shared.shutdown.phase(),
        shutdown: progress_of(shared, now),
        stats: tracker.totals(),
        tasks,
        others,
        handlers: shared.policies.handler_stats(),
        schedules: shared.policies.schedule_infos(),
    }
}

/// The oldest live tasks, so many at the most, and how many others there are. Goes through all live calls once and copies only
/// what it lists.
pub(crate) fn oldest_tasks(
    tracker: &Tracker,
    now: Instant,
    most: usize,
) -> (Vec<TaskInfo>, Others) {
    let mut oldest = Oldest::new(most);
    tracker.for_each_live(None, |live| oldest.see(&live.identity, || live.info(now)));
    let (kept, others) = oldest.finish();
    let policies = &tracker.shared.policies;
    let tasks = kept.into_iter().map(|(handler, mut task)| {
        let progress = handler.policies();
        let progress = progress.and_then(|own| policies.progress(own, task.id));
        if let Some(progress) = progress {
            task.state = progress.state();
            task.attempt = progress.attempt();
        }
        task
    });
    (tasks.collect(), others)
}

/// What there is to see of a manager that is gone.
pub(crate) fn of_the_gone(shared: &Shared) -> Snapshot {
    Snapshot {
        taken: SystemTime::now(),
        phase: shared.shutdown.phase(),
        shutdown: progress_of(shared, Instant::now()),
        stats: Stats::default(),
        tasks: Vec::new(),
        others: Vec::new(),
        handlers: shared.policies.handler_stats(),
        schedules: shared.policies.schedule_infos(),
    }
}

fn progress_of(shared: &Shared, now: Instant) -> Option<ShutdownProgress> {
    let since = |moment| now.saturating_duration_since(moment);
    shared.shutdown.request().map(|request| ShutdownProgress {
        reason: request.reason.clone(),
        elapsed: since(request.asked),
        draining: shared.shutdown.drains_since().map(since),
        left: request.deadline.saturating_duration_since(now),
    })
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = humantime::format_rfc3339_seconds(self.taken);
        write!(f, "{taken}, {}", self.phase)?;
        if let Some(shutdown) = &self.shutdown {
            let ShutdownProgress {
                reason,
                elapsed,
                draining,
                left,
            } = shutdown;
            match self.phase {
                Phase::Over => write!(f, " ({reason})")?,
                _ => {
                    let since = Age(draining.unwrap_or(*elapsed));
                    write!(f, " for {since} ({reason}), {} left", Age(*left))?;
                }
            }
        }
        self.write_totals(f)?;
        self.write_tasks(f)?;
        self.write_handlers(f)?;
        self.write_schedules(f)
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
        for (count, what) in [
            (stats.refused, "refused"),
            (stats.coalesced, "coalesced"),
            (
                stats.retries,
                if stats.retries == 1 {
                    "retry"
                } else {
                    "retries"
                },
            ),
        ] {
            if count > 0 {
                write!(f, "; {} {what}", Grouped(count))?;
            }
        }
        Ok(())
    }

    fn write_tasks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tasks.is_empty() {
            return f.write_str("\n  nothing runs");
        }
        let rows: Vec<_> = self
            .tasks
            .iter()
            .map(|task| {
                [
                    task.state.to_string(),
                    task.name.to_owned(),
                    task.id.to_string(),
                    Age(task.age).to_string(),
                    task.attempt.to_string(),
                    task.called_at.to_string(),
                    format!("{}:{}", task.file, task.line),
                ]
            })
            .collect();
        let columns = [
            ("state", Align::Left),
            ("task", Align::Left),
            ("id", Align::Right),
            ("age", Align::Right),
            ("attempt", Align::Right),
            ("called at", Align::Left),
            ("function at", Align::Left),
        ];
        table::write(f, columns, &rows)?;
        let others = Others(self.others.clone());
        match others.count() {
            0 => Ok(()),
            count => write!(f, "\n  … and {} more: {others}", Grouped(count)),
        }
    }

    fn write_handlers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self
            .handlers
            .iter()
            .take(FUNCTIONS)
            .map(|own| {
                let numbers = [
                    own.waiting,
                    own.running,
                    own.backing_off,
                    own.coalesced,
                    own.refused,
                    own.dropped,
                    own.retries,
                ];
                let [waiting, running, backing_off, rest @ ..] =
                    numbers.map(|number| Grouped(number).to_string());
                let [coalesced, refused, dropped, retries] = rest;
                let name = own.name.to_owned();
                [
                    name,
                    waiting,
                    running,
                    backing_off,
                    coalesced,
                    refused,
                    dropped,
                    retries,
                ]
            })
            .collect();
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
        write_bounded(f, columns, &rows, self.handlers.len())
    }

    fn write_schedules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self
            .schedules
            .iter()
            .take(FUNCTIONS)
            .map(|own| {
                let next = match own.next {
                    _ if own.has_ended => "ended".to_owned(),
                    _ if own.waits_for_state => "waits for its state".to_owned(),
                    None => "a run goes on".to_owned(),
                    Some(next) => match next.duration_since(self.taken) {
                        Ok(left) => format!("in {}", Age(left)),
                        Err(_) => "now".to_owned(),
                    },
                };
                [
                    own.name.to_owned(),
                    Grouped(own.runs).to_string(),
                    Grouped(own.missed).to_string(),
                    next,
                ]
            })
            .collect();
        let columns = [
            ("schedule", Align::Left),
            ("runs", Align::Right),
            ("missed", Align::Right),
            ("next", Align::Left),
        ];
        write_bounded(f, columns, &rows, self.schedules.len())
    }
}

/// Nothing, if there are no rows.
fn write_bounded<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    columns: [(&str, Align); N],
    rows: &[[String; N]],
    all: usize,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    table::write(f, columns, rows)?;
    match all - rows.len() {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more"),
    }
}

/// A time that people read: to a tenth of a second first, and the coarser the longer.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = self.0.as_secs();
        let coarsely = match seconds {
            ..MINUTE => return Seconds(self.0).fmt(f),
            MINUTE..HOUR => seconds,
            HOUR..DAY => seconds - seconds % MINUTE,
            _ => seconds - seconds % HOUR,
        };
        humantime::format_duration(Duration::from_secs(coarsely)).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_the_coarser_the_longer() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.94, "59.9 s"),
            (60.5, "1m"),
            (3_599.0, "59m 59s"),
            (3_661.0, "1h 1m"),
            (90_061.0, "1day 1h"),
        ] {
            assert_eq!(Age(Duration::from_secs_f64(seconds)).to_string(), text);
        }
    }
}
