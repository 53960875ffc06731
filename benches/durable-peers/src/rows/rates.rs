//! How many jobs are stored and run in a second, the contestants in turn.

use crate::database::Kind;
use crate::host::measure;
use crate::peer::{APALIS, BGTASK, GRAPHILE, Name, RIVER};
use crate::plot::{self, Bar};
use crate::section::{Goal, Scale, Section};
use crate::stats::{Rounds, thousands};
use std::fmt::Write as _;

/// One row: what is measured, and of whom.
struct Row {
    title: &'static str,
    /// The measurement and its numbers.
    child: &'static [&'static str],
    peers: &'static [Name<'static>],
}

const STORED: &[Name<'static>] = &[BGTASK, RIVER, APALIS];
const TWO: &[Name<'static>] = &[BGTASK, RIVER];
const RUN: &[Name<'static>] = &[BGTASK, RIVER, APALIS, GRAPHILE];

const ROWS: &[Row] = &[
    Row {
        title: "stored, 1 caller",
        child: &["store", "1", "700"],
        peers: STORED,
    },
    Row {
        title: "stored, 16 callers",
        child: &["store", "16", "700"],
        peers: STORED,
    },
    Row {
        title: "stored `within` a transaction",
        child: &["within", "700"],
        peers: TWO,
    },
    Row {
        title: "stored, 1 000 at once",
        child: &["bulk", "700"],
        peers: STORED,
    },
    Row {
        title: "run, 16 at once",
        child: &["run", "16", "4000"],
        peers: RUN,
    },
    Row {
        title: "run, 64 at once",
        child: &["run", "64", "8000"],
        peers: RUN,
    },
    Row {
        title: "run, 200 at once",
        child: &["run", "200", "8000"],
        peers: RUN,
    },
];

/// apalis-sqlite runs a tenth of the others' rate.
const FEW: &str = "1000";

pub(crate) fn measure_on(kind: Kind<'_>, scale: &Scale) -> Section {
    let mut section = Section {
        title: match kind {
            Kind::Sqlite => "Rates on SQLite, `synchronous = FULL`",
            Kind::Postgres(_) => "Rates on Postgres, `fsync` and `synchronous_commit` on",
        },
        ..Section::default()
    };
    let has_graphile = kind.server().is_some();
    let text = &mut section.text;
    let _ = write!(
        text,
        "Jobs a second: the median of {} rounds, and (least–most). The contestants take turns in each round.\n\n\
         | | bgtask | riverqueue | ratio | apalis | ratio |{}\n|---|--:|--:|--:|--:|--:|{}\n",
        scale.rounds,
        if has_graphile {
            " graphile_worker |"
        } else {
            ""
        },
        if has_graphile { "--:|" } else { "" },
    );
    let mut bars = Vec::new();
    for row in ROWS {
        let results = measure_row(row, kind, scale.rounds);
        let [ours, river, apalis, graphile] = &results;
        let cell = |rounds: &Rounds| {
            if rounds.is_empty() {
                return "–".to_owned();
            }
            let [median, least, most] = [rounds.median(), rounds.least(), rounds.most()];
            format!(
                "{} ({}–{})",
                thousands(median),
                thousands(least),
                thousands(most)
            )
        };
        let ratio = |other: &Rounds| {
            if other.is_empty() {
                "–".to_owned()
            } else {
                format!("{:.2}", ours.median() / other.median())
            }
        };
        let _ = write!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            row.title,
            cell(ours),
            cell(river),
            ratio(river),
            cell(apalis),
            ratio(apalis)
        );
        if has_graphile {
            let _ = write!(text, " {} |", cell(graphile));
        }
        text.push('\n');
        println!("{}", text.lines().last().unwrap_or_default());
        for (name, rounds) in RUN.iter().zip(&results) {
            // graphile_worker's rate would make the others' bars short.
            if !rounds.is_empty() && *name != GRAPHILE && !row.title.contains("1 000") {
                bars.push(Bar {
                    group: row.title.replace('`', ""),
                    label: name.0.to_owned(),
                    value: rounds.median(),
                    spread: Some([rounds.least(), rounds.most()]),
                });
            }
        }
        decide(&mut section.goals, row, kind, &results);
    }
    if has_graphile {
        section.text.push_str(
            "\ngraphile_worker claims a thousand jobs at a time into memory, and deletes a job when it has ended: there is no record of its \
             end, no output, and nothing to await.\n",
        );
    }
    let (file, title) = match kind {
        Kind::Sqlite => ("durable-rates-sqlite", "SQLite: jobs a second"),
        Kind::Postgres(_) => ("durable-rates-postgres", "Postgres: jobs a second"),
    };
    section.plots.push((file, plot::bars(title, "/s", &bars)));
    section
}

/// Returns the results of bgtask, riverqueue, apalis and graphile_worker.
fn measure_row(row: &Row, kind: Kind<'_>, rounds: usize) -> [Rounds; 4] {
    let mut results: [Rounds; 4] = Default::default();
    for _ in 0..rounds {
        for (name, rounds) in RUN.iter().zip(&mut results) {
            let is_sqlite = kind.server().is_none();
            if !row.peers.contains(name) || (is_sqlite && *name == GRAPHILE) {
                continue;
            }
            let database = kind.create();
            let mut arguments = vec![row.child[0], name.0, &database.url];
            arguments.extend(&row.child[1..]);
            if is_sqlite && *name == APALIS && row.child[0] == "run" {
                arguments.pop();
                arguments.push(FEW);
            }
            if let Some(&[rate]) = measure(&arguments).as_deref() {
                rounds.push(rate);
            }
        }
    }
    results
}

fn decide(goals: &mut Vec<Goal>, row: &Row, kind: Kind<'_>, results: &[Rounds; 4]) {
    let [ours, river, apalis, _] = results;
    let mut add = |what, goal, least: f64, other: &Rounds| {
        let ratio = ours.median() / other.median();
        goals.push(Goal {
            what,
            goal,
            now: format!("{}: {ratio:.2}", kind.name()),
            is_reached: ratio >= least,
        });
    };
    match row.child {
        ["store", "1", _] => add(
            "enqueue, 1 caller, against riverqueue",
            "≥ 0.95",
            0.95,
            river,
        ),
        ["store", ..] => add(
            "enqueue, 16 callers, against riverqueue",
            "≥ 0.95",
            0.95,
            river,
        ),
        ["within", ..] => add(
            "enqueue `within`, against riverqueue",
            "≥ 0.95",
            0.95,
            river,
        ),
        ["bulk", ..] => add(
            "enqueue, 1 000 at once, against riverqueue",
            "≥ 0.95",
            0.95,
            river,
        ),
        ["run", at_once @ ("64" | "200"), _] => {
            let is_64 = *at_once == "64";
            let (with_river, with_apalis) = if is_64 {
                (
                    "run, 64 at once, against riverqueue",
                    "run, 64 at once, against apalis-sqlite",
                )
            } else {
                (
                    "run, 200 at once, against riverqueue",
                    "run, 200 at once, against apalis-sqlite",
                )
            };
            add(with_river, "≥ 0.95", 0.95, river);
            if kind.server().is_none() {
                add(with_apalis, "≥ 6", 6.0, apalis);
            } else if !is_64 {
                add(
                    "run, 200 at once, against apalis-postgres",
                    "≥ 1.2",
                    1.2,
                    apalis,
                );
            }
        }
        _ => {}
    }
}
