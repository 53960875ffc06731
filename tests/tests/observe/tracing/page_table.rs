//! The tables of `docs/tracing.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The page excludes these two.
const NEVER_ON_STDERR: [&str; 2] = ["attempt failed, retrying", "shutdown complete"];

pub(super) const PAGE: &str = "the tables of docs/tracing.md";

/// One event, as the page or the sources define it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) levels: BTreeSet<String>,
    /// In their order.
    pub(super) fields: Vec<String>,
    /// Without a subscriber, it is written to stderr.
    pub(super) goes_to_stderr: bool,
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the rows of the table under a heading, without its head.
pub(super) fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/tracing.md")).unwrap();
    let (_, section) = page.split_once(&format!("## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows = rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    });
    rows.collect()
}

pub(super) fn in_backticks(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Returns the events of the page by their message.
pub(super) fn events_of_page() -> BTreeMap<String, EventRow> {
    let rows = rows("Events");
    assert!(rows.len() > 20, "{PAGE}: {rows:?}");
    let events = rows.into_iter().map(|row| {
        let message = row[0].trim_matches('`').trim().to_owned();
        let levels: BTreeSet<_> = in_backticks(&row[1]).into_iter().collect();
        let is_loud = levels.contains("error") || levels.contains("warn");
        let event = EventRow {
            levels,
            fields: in_backticks(&row[2]),
            goes_to_stderr: is_loud && !NEVER_ON_STDERR.contains(&&*message),
        };
        (message, event)
    });
    events.collect()
}

/// Returns the type of each field by its name: `text`, `number` or `bool`.
pub(super) fn fields_by_kind() -> BTreeMap<String, String> {
    let rows = rows("Fields").into_iter();
    let kinds = rows.flat_map(|row| {
        let names = in_backticks(&row[0]).into_iter();
        names.map(move |name| (name, row[1].clone()))
    });
    kinds.collect()
}

/// Removes the backticks of a message: the page has messages as code, without their own.
pub(super) fn without_backticks(message: &str) -> String {
    message.replace('`', "")
}
