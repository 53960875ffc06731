//! `docs/tracing.md` names every event of the sources, and no other.

use crate::page_table::{
    EventRow, PAGE, events_of_page, fields_by_kind, in_backticks, root, rows, without_backticks,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            into.push((path, source));
        }
    }
}

/// Splits the arguments of a macro at the commas and semicolons outside brackets and strings. `source` starts after its `(`.
fn arguments(source: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_string) = (0, false);
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        let last = arguments.last_mut().unwrap();
        match character {
            '"' => in_string = !in_string,
            '\\' if in_string => {
                last.push(character);
                last.extend(characters.next());
                continue;
            }
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' | ';' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(character);
    }
    let arguments = arguments.iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

/// Returns the text of a string literal.
fn text(literal: &str) -> String {
    let inner = literal
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("{literal} is no literal"));
    let mut lines = inner.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let whole = lines.fold(first, |whole, line| whole + line.trim_start());
    whole.replace("\\\"", "\"")
}

/// Returns the events that the sources emit, by their message.
fn emitted() -> BTreeMap<String, EventRow> {
    let mut files = Vec::new();
    sources(&root().join("bgtask/src"), &mut files);
    let kinds = fields_by_kind();
    let mut all: BTreeMap<String, EventRow> = BTreeMap::new();
    for (path, source) in &files {
        if source.contains("macro_rules! report") {
            continue;
        }
        for name in ["report!(", "mention!(", "mention_at!("] {
            for call in source.split(name).skip(1) {
                let arguments = arguments(call);
                let [level, message, fields @ ..] = &arguments[..] else {
                    panic!("{path:?}: {arguments:?}");
                };
                let fields = fields.iter().map(|field| {
                    let at = field.find(['=', ':', '~', '+']).unwrap();
                    let (name, sign) = (field[..at].trim(), &field[at..=at]);
                    let kind = kinds
                        .get(name)
                        .unwrap_or_else(|| panic!("{name} is not in {PAGE}"));
                    // A field that the span has too has the type that it has there.
                    let is_of_span = sign == "~" && ["name", "id"].contains(&name);
                    let is_text = ["=", "+"].contains(&sign);
                    assert!(
                        is_of_span || is_text == (kind == "text"),
                        "{path:?}: {field}"
                    );
                    name.to_owned()
                });
                let fields: Vec<_> = fields.collect();
                let event = all.entry(without_backticks(&text(message))).or_default();
                event.levels.insert(match name {
                    "mention_at!(" => "log".to_owned(),
                    _ => level.clone(),
                });
                assert!(
                    event.fields.is_empty() || event.fields == fields,
                    "{message} has two lists of fields"
                );
                event.fields = fields;
                event.goes_to_stderr = name == "report!(";
            }
        }
    }
    all
}

#[test]
fn the_page_on_tracing_names_every_event_with_its_level_and_fields() {
    let (page, emitted) = (events_of_page(), emitted());
    for (message, event) in &emitted {
        assert_eq!(
            page.get(message),
            Some(event),
            "{message:?} in docs/tracing.md"
        );
    }
    let gone: Vec<_> = page
        .keys()
        .filter(|message| !emitted.contains_key(*message))
        .collect();
    assert!(gone.is_empty(), "only in docs/tracing.md: {gone:?}");
    let used: BTreeSet<_> = emitted
        .values()
        .flat_map(|event| event.fields.clone())
        .collect();
    let span: BTreeSet<_> = rows("The span")
        .iter()
        .flat_map(|row| in_backticks(&row[0]))
        .collect();
    let unused: Vec<_> = fields_by_kind()
        .into_keys()
        .filter(|name| !used.contains(name) && !span.contains(name))
        .collect();
    assert!(unused.is_empty(), "no event has the fields {unused:?}");
}

#[test]
fn events_are_emitted_in_no_other_way() {
    let mut files = Vec::new();
    sources(&root().join("bgtask/src"), &mut files);
    let macros = [
        "trace!", "debug!", "info!", "warn!", "error!", "event!", "span!",
    ];
    let mut found: Vec<_> = files
        .iter()
        .flat_map(|(_, source)| source.lines())
        .filter(|line| line.contains("tracing::") && macros.iter().any(|name| line.contains(name)))
        .map(str::trim)
        .collect();
    found.sort_unstable();
    // The printed report and the span of a task: the page describes both.
    let (reports, spans): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|line| !line.contains("span!"));
    let report = |level| format!("tracing::{level}!(target: \"bgtask\", \"{{report}}\");");
    assert_eq!(reports, [report("debug"), report("warn")]);
    assert_eq!(spans.len(), 2, "{spans:?}");
    let is_of_task = |line: &&str| line.contains("\"task\"");
    assert!(spans.iter().all(is_of_task), "{spans:?}");
}
