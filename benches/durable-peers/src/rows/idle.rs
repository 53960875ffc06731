//! What a worker costs that has nothing to do: processor time and connections.

use crate::database::{Database, Kind};
use crate::host::{Served, measure, seconds_of};
use crate::peer::tables::APPLICATION;
use crate::peer::{BGTASK, Name, RIVER};
use crate::section::{Goal, Section};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(4);

/// The pool of bgtask on Postgres.
const POOL: f64 = 10.0;

pub(crate) fn measure_all(kinds: &[Kind<'_>]) -> Section {
    let mut section = Section {
        title: "A worker that has nothing to do",
        ..Section::default()
    };
    section.text.push_str(
        "Percent of one core over 4 s; with Postgres also that of the server.\n\n\
         | | 1 queue | server | 5 queues | server |\n|---|--:|--:|--:|--:|\n",
    );
    for kind in kinds {
        for name in [BGTASK, RIVER] {
            let mut row = format!("| {}, {} |", kind.name(), name.0);
            for queues in ["1", "5"] {
                let (worker, server) = idle(*kind, name, queues);
                let _ = write!(row, " {worker:.1} % |");
                let _ = match kind {
                    Kind::Sqlite => write!(row, " – |"),
                    Kind::Postgres(_) => write!(row, " {server:.1} % |"),
                };
                if name == BGTASK {
                    section.goals.extend(decide(*kind, queues, worker));
                }
            }
            println!("{row}");
            let _ = writeln!(section.text, "{row}");
        }
    }
    for kind in kinds {
        if kind.server().is_some() {
            let most = connections(*kind);
            let _ = writeln!(
                section.text,
                "\nA busy worker had at most {most:.0} connections to Postgres, of which {POOL:.0} are its pool."
            );
            section.goals.push(Goal {
                what: "connections of a worker beyond its pool",
                goal: "≤ 3",
                now: format!("{:.0}", (most - POOL).max(0.0)),
                is_reached: most - POOL <= 3.0,
            });
        }
    }
    section
}

/// Returns the percents of a core that a worker and the server use.
fn idle(kind: Kind<'_>, name: Name<'_>, queues: &str) -> (f64, f64) {
    let database = kind.create();
    let mut worker = Served::start(&["work", name.0, &database.url, queues, "50"]);
    worker.answer().expect("it is ready");
    std::thread::sleep(SETTLE);
    let used = || {
        let server = kind.server().map_or(0.0, |server| server.seconds_used());
        [seconds_of(worker.pid()), server]
    };
    let (before, begin) = (used(), Instant::now());
    std::thread::sleep(MEASURED);
    let (after, elapsed) = (used(), begin.elapsed().as_secs_f64());
    let percent = |index: usize| (after[index] - before[index]) / elapsed * 100.0;
    (percent(0), percent(1))
}

fn decide(kind: Kind<'_>, queues: &str, percent: f64) -> Option<Goal> {
    let (what, goal, limit) = match (kind, queues) {
        (Kind::Sqlite, "5") => ("an idle worker, 5 queues", "SQLite ≤ 4 % of a core", 4.0),
        (Kind::Postgres(_), "1") => ("an idle worker", "Postgres ≤ 2 % of a core", 2.0),
        _ => return None,
    };
    Some(Goal {
        what,
        goal,
        now: format!("{percent:.1} %"),
        is_reached: percent <= limit,
    })
}

/// Returns how many connections a worker had at most while it ran jobs.
fn connections(kind: Kind<'_>) -> f64 {
    let (database, server): (Database<'_>, _) = (kind.create(), kind.server().expect("Postgres"));
    measure(&["fill", BGTASK.0, &database.url, "20000"]);
    let mut worker = Served::start(&["work", BGTASK.0, &database.url, "1", "200"]);
    worker.answer().expect("it is ready");
    let of_worker = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name <> '{APPLICATION}'",
        database.name
    );
    let looks = (0..40).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        server.number("postgres", &of_worker)
    });
    looks.fold(0.0, f64::max)
}
