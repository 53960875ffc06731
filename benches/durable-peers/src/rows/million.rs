//! A table in which a million jobs wait: how fast they are claimed, how much memory that takes, and by which plan.

use crate::database::{Database, Kind};
use crate::host::measure;
use crate::peer::{BGTASK, tables};
use crate::section::{Goal, Scale, Section};
use crate::stats::{Rounds, thousands};
use std::fmt::Write as _;

/// The jobs that are claimed in each measurement.
const CLAIMED: &str = "10000";

pub(crate) fn measure_all(kinds: &[Kind<'_>], scale: &Scale) -> Section {
    let mut section = Section {
        title: "A large table",
        ..Section::default()
    };
    let waiting = thousands(scale.waiting as f64);
    let _ = write!(
        section.text,
        "How many jobs a second are claimed and begun, 200 at once, from a table in which no others wait, and from one in which {waiting} \
         wait. The two take turns.\n\n\
         | | no others | {waiting} wait | ratio | memory of the worker | `stats()` |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let mut plans = String::new();
    for kind in kinds {
        let large = kind.create();
        let count = scale.waiting.to_string();
        measure(&["fill", BGTASK.0, &large.url, &count]);
        let (mut few, mut many) = (Rounds::default(), Rounds::default());
        let mut memory = f64::NAN;
        for _ in 0..scale.rounds.div_ceil(2).max(2) {
            let small = kind.create();
            measure(&["fill", BGTASK.0, &small.url, CLAIMED]);
            let claim = |on: &Database<'_>| measure(&["claim", BGTASK.0, &on.url, "200", CLAIMED]);
            if let Some(&[rate, _, _]) = claim(&small).as_deref() {
                few.push(rate);
            }
            if let Some(&[rate, _, most]) = claim(&large).as_deref() {
                many.push(rate);
                memory = most;
            }
        }
        let stats = measure(&["stats", BGTASK.0, &large.url]);
        let stats = stats.and_then(|numbers| numbers.first().copied());
        let ratio = many.median() / few.median();
        let row = format!(
            "| {} | {} ({}–{}) | {} ({}–{}) | {ratio:.2} | {memory:.0} MiB | {:.0} ms |",
            kind.name(),
            thousands(few.median()),
            thousands(few.least()),
            thousands(few.most()),
            thousands(many.median()),
            thousands(many.least()),
            thousands(many.most()),
            stats.unwrap_or(f64::NAN),
        );
        println!("{row}");
        let _ = writeln!(section.text, "{row}");
        section.goals.push(Goal {
            what: "claim rate with 1 000 000 waiting against an empty table",
            goal: "≥ 0.8",
            now: format!("{}: {ratio:.2} with {waiting}", kind.name()),
            is_reached: ratio >= 0.8,
        });
        if let Some(plan) = plan(&large) {
            let _ = write!(
                plans,
                "\nThe plan of a claim on {}:\n\n```text\n{plan}\n```\n",
                kind.name()
            );
        }
    }
    section.text.push_str(&plans);
    section
}

/// Returns the plan of a claim: on Postgres that of a statement of the worker, from the log of the server.
fn plan(database: &Database<'_>) -> Option<String> {
    let Some(server) = database.kind.server() else {
        return Some(tables::sqlite_plan(&database.url));
    };
    let set = |setting: &str| format!("ALTER DATABASE {} SET {setting}", database.name);
    server.execute(
        "postgres",
        &[
            set("session_preload_libraries = 'auto_explain'"),
            set("auto_explain.log_min_duration = 0"),
            set("auto_explain.log_analyze = on"),
            set("auto_explain.log_timing = off"),
        ],
    );
    let before = server.log().len();
    measure(&["claim", BGTASK.0, &database.url, "200", "1000"]);
    let log = server.log();
    // Each entry has its continuation on lines that begin with a tab.
    let entries: Vec<Vec<&str>> = log[before..].lines().fold(Vec::new(), |mut entries, line| {
        match entries.last_mut() {
            Some(entry) if line.starts_with('\t') => {
                Vec::push(entry, line.trim_start_matches('\t'))
            }
            _ => entries.push(vec![line]),
        }
        entries
    });
    let claim = entries.iter().rev().find(|entry| {
        entry
            .iter()
            .any(|line| line.contains("SET state = 'running'"))
            && entry.iter().any(|line| line.contains("rows=200 loops"))
    })?;
    let text = claim
        .iter()
        .position(|line| line.starts_with("Query Text"))?;
    Some(claim[text + 1..].join("\n"))
}
