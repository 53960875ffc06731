//! How long a job takes from its call to the start of its body, in the process that stored it and in another.

use crate::database::Kind;
use crate::host::{Served, measure};
use crate::peer::{APALIS, BGTASK, Name, RIVER};
use crate::plot::{self, Bar};
use crate::section::{Goal, Scale, Section};
use crate::stats::percentile;
use std::fmt::Write as _;

/// The jobs of one round of one contestant.
const COUNT: &str = "150";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Same,
    Within,
    Other,
}

const WAYS: [(Way, &str, &[Name<'static>]); 3] = [
    (Way::Same, "same process", &[BGTASK, RIVER, APALIS]),
    (Way::Within, "same process, `within`", &[BGTASK, RIVER]),
    // Without apalis: on SQLite its worker took no job of another process up any more in one of our runs, which then waited for ever.
    (Way::Other, "other process", &[BGTASK, RIVER]),
];

pub(crate) fn measure_all(kinds: &[Kind<'_>], scale: &Scale) -> Section {
    let mut section = Section {
        title: "From the call to the start of the body",
        ..Section::default()
    };
    section.text.push_str(
        "Milliseconds, p50 / p99, one job after another, 5 to 16 ms apart. The time begins before the call, so it includes the insertion and \
         its commit. All rounds together. Jobs of another process are not measured with apalis, whose worker on SQLite stopped taking them up \
         in one of our runs.\n\n| | bgtask | riverqueue | apalis |\n|---|--:|--:|--:|\n",
    );
    let mut bars = Vec::new();
    for kind in kinds {
        for (way, title, peers) in WAYS {
            let results = measure_way(*kind, way, peers, scale.rounds);
            let mut row = format!("| {}, {title} |", kind.name());
            for (name, waited) in [BGTASK, RIVER, APALIS].iter().zip(&results) {
                if waited.is_empty() {
                    row.push_str(" – |");
                    continue;
                }
                let [p50, p99] = [50.0, 99.0].map(|percent| percentile(waited, percent));
                let _ = write!(row, " {p50:.1} / {p99:.1} |");
                bars.push(Bar {
                    group: format!("{}, {}", kind.name(), title.replace('`', "")),
                    label: name.0.to_owned(),
                    value: p50,
                    spread: Some([percentile(waited, 1.0), p99]),
                });
            }
            println!("{row}");
            let _ = writeln!(section.text, "{row}");
            section.goals.push(decide(*kind, way, &results[0]));
        }
    }
    let svg = plot::bars(
        "From the call to the start: p50, and p1 to p99",
        "ms",
        &bars,
    );
    section.plots.push(("durable-latency", svg));
    section
}

/// Returns what the jobs of bgtask, riverqueue and apalis have waited.
fn measure_way(kind: Kind<'_>, way: Way, peers: &[Name<'_>], rounds: usize) -> [Vec<f64>; 3] {
    let mut results: [Vec<f64>; 3] = Default::default();
    // A third of the rounds: each has a hundred and fifty results.
    for _ in 0..rounds.div_ceil(3).max(2) {
        for (name, waited) in peers.iter().zip(&mut results) {
            let database = kind.create();
            let of_round = match way {
                Way::Same => measure(&["latency", name.0, &database.url, "0", COUNT]),
                Way::Within => measure(&["latency", name.0, &database.url, "1", COUNT]),
                Way::Other => {
                    let mut worker = Served::start(&["work", name.0, &database.url, "1", "50"]);
                    worker.answer().expect("it is ready");
                    std::thread::sleep(std::time::Duration::from_millis(500));
                    measure(&["store-slowly", name.0, &database.url, COUNT])
                        .map(|_| worker.ask(COUNT))
                }
            };
            waited.extend(of_round.into_iter().flatten());
        }
    }
    for waited in &mut results {
        waited.sort_by(f64::total_cmp);
    }
    results
}

fn decide(kind: Kind<'_>, way: Way, waited: &[f64]) -> Goal {
    let is_sqlite = kind.server().is_none();
    let (what, goal, p50_limit, p99_limit) = match (way, is_sqlite) {
        (Way::Same, true) => (
            "insert → start, same process",
            "SQLite ≤ 3 / 10 ms",
            3.0,
            10.0,
        ),
        (Way::Same, false) => (
            "insert → start, same process",
            "Postgres ≤ 8 / 20 ms",
            8.0,
            20.0,
        ),
        (Way::Within, true) => ("insert → start, `within`", "SQLite ≤ 3 / 10 ms", 3.0, 10.0),
        (Way::Within, false) => (
            "insert → start, `within`",
            "Postgres ≤ 8 / 20 ms",
            8.0,
            20.0,
        ),
        (Way::Other, true) => (
            "insert → start, other process",
            "SQLite ≤ 10 / 30 ms",
            10.0,
            30.0,
        ),
        (Way::Other, false) => (
            "insert → start, other process",
            "Postgres ≤ 6 / 15 ms",
            6.0,
            15.0,
        ),
    };
    let [p50, p99] = [50.0, 99.0].map(|percent| percentile(waited, percent));
    Goal {
        what,
        goal,
        now: format!("{}: {p50:.1} / {p99:.1} ms", kind.name()),
        is_reached: p50 <= p50_limit && p99 <= p99_limit,
    }
}
