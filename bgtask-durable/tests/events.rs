//! The table of events in docs/durable.md names every event of the sources, with its level and its fields, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// An event: its levels, and its fields in their order.
type Event = (BTreeSet<String>, Vec<String>);

/// Splits the arguments of a macro at the commas outside brackets and strings. `source` starts after its `(`.
fn arguments(source: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_string) = (0, false);
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        let last = arguments.last_mut().expect("there is one");
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
            ',' if depth == 0 => {
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

fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(fs::read_to_string(path).expect("a source"));
        }
    }
}

/// Returns the events that the sources emit, by their message.
fn emitted() -> BTreeMap<String, Event> {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let mut events = BTreeMap::<_, Event>::new();
    for source in &all {
        for call in source.split("tracing::").skip(1) {
            let levels = ["trace", "debug", "info", "warn", "error"];
            let level = levels.iter().find(|level| {
                call.strip_prefix(**level)
                    .is_some_and(|rest| rest.starts_with("!("))
            });
            let Some(level) = level else {
                // No other way: neither `event!` nor a name that is imported.
                let other = ["event!", "span!", "{", "*"];
                assert!(
                    !other.iter().any(|name| call.starts_with(name)),
                    "{call:.60}"
                );
                continue;
            };
            let arguments = arguments(&call[level.len() + 2..]);
            let [target, fields @ .., message] = &arguments[..] else {
                panic!("{arguments:?}");
            };
            assert_eq!(target, "target: \"bgtask\"", "{arguments:?}");
            let message = message.trim_matches('"').replace('`', "");
            let fields = fields.iter().map(|field| {
                let name = field.split('=').next().unwrap_or(field).trim();
                // `%error` is a field named `error`, and `claim.id` would be one of that name: it has to have one of its own.
                let name = name.trim_start_matches(['%', '?']);
                assert!(!name.contains('.'), "{field} in {message:?}");
                name.to_owned()
            });
            let fields = fields.collect();
            let (levels, before) = events.entry(message.clone()).or_default();
            assert!(
                levels.is_empty() || *before == fields,
                "{message:?} has two lists of fields"
            );
            levels.insert((*level).to_owned());
            *before = fields;
        }
    }
    events
}

fn in_backticks(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Returns the events of the page by their message.
fn documented() -> BTreeMap<String, Event> {
    let page = include_str!("../../docs/durable.md");
    let section = page
        .split("\n## ")
        .find(|part| part.starts_with("Events\n"));
    let rows = section
        .expect("the section")
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with('|'));
    let rows = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        let [message, level, fields, _] = cells[..] else {
            panic!("{row} has other columns");
        };
        let message = message.trim().trim_matches('`').to_owned();
        let event = (
            in_backticks(level).collect(),
            in_backticks(fields).collect(),
        );
        (message, event)
    });
    rows.collect()
}

#[test]
fn the_page_names_every_event_with_its_level_and_fields() {
    let (emitted, documented) = (emitted(), documented());
    assert!(emitted.len() > 20, "{emitted:?}");
    for (message, event) in &emitted {
        assert_eq!(documented.get(message), Some(event), "{message:?}");
    }
    let gone: Vec<_> = documented
        .keys()
        .filter(|message| !emitted.contains_key(*message))
        .collect();
    assert!(gone.is_empty(), "only on the page: {gone:?}");
}

/// `arguments` reads the sources: a wrong split hides an event from the table.
#[test]
fn the_arguments_of_an_event_are_found() {
    let call = r#"target: "bgtask", %error, job = claim.id, pending = ?since.elapsed(), "a, \"b\" (c)"); f(1);"#;
    let expected = [
        r#"target: "bgtask""#,
        "%error",
        "job = claim.id",
        "pending = ?since.elapsed()",
        r#""a, \"b\" (c)""#,
    ];
    assert_eq!(arguments(call), expected);
}
