//! `tests/BEHAVIOURS.md` is generated from the lines `/// Behaviour N.` beside the tests, and every behaviour has a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The documented behaviours. Number `n` is at index `n - 1`.
const BEHAVIOURS: [&str; 40] = [
    "A call is counted before its first instruction runs, and no longer after any outcome",
    "Ten thousand tasks of mixed outcome: none is left running, and the totals add up",
    "A call returns at once, however long its task takes",
    "A blocking function does not delay other work",
    "The token fires for running tasks when draining starts, and not before",
    "A shutdown waits for running work, and returns once it has ended",
    "A task that ignores its token is reported half-way, then aborted at the deadline, named and counted",
    "One deadline for all tasks; all tokens fire together",
    "Calls concurrent with a shutdown are drained or refused; none is lost",
    "A shutdown requested twice, concurrently or from inside a task is one sequence with one report",
    "`main` returns or panics: work drains, and its result stands",
    "SIGTERM and SIGINT start the shutdown; a second signal exits at once, whatever is blocked",
    "A blocked call does not delay the exit beyond the deadline",
    "A request in flight during a graceful shutdown may still call a task",
    "Without a manager, the first call on a runtime installs one and warns with function, location and remedy; without a runtime, or \
     where a manager is required, the call panics with the same",
    "One manager per runtime; nothing leaks from one to another",
    "A manager that is dropped while work runs logs an error",
    "Calls from plain threads, blocking tasks, tasks and drops",
    "A panic is reported at once, the same wherever it happens; the process lives",
    "An `Err` without an owner is logged; one in a held handle belongs to its owner",
    "An end after the token fired is no failure; a cancellation without a shutdown is one",
    "Failures during the drain are in the report",
    "A hook or a `Display` that panics breaks no accounting",
    "A panic while a future or an output is dropped is contained and reported",
    "An essential task that ends, even normally, starts the shutdown and makes the exit code 1",
    "`timeout`: the future is dropped at the limit and not polled again; the token of a blocking function fires",
    "`retry`: attempts with back-off; a drain allows one more at once; a panic counts only if requested",
    "`concurrency`: never more bodies than permits; a waiting call holds no thread; a full queue is explicit",
    "`coalesce`: join, skip, replace, trail; a leader that panics or is aborted poisons nothing",
    "`every` and `cron`: no overlap, missed ticks run once, a panic ends no schedule, time zones",
    "`rate`: at most the allowed starts per window",
    "`on_start` and `restart`: on failure or always, with back-off; too many restarts end them",
    "`State<T>`: filled in by type; missing state is named at the start, at the shutdown and to the caller",
    "The caller's span is the parent; spans carry name and id; arguments are never logged",
    "`tasks()`, `stats()`, `handlers()` and `snapshot()` agree with what runs, without stopping it",
    "Two functions with one name are logged at start-up, with both locations",
    "A renamed crate, a re-export, a `macro_rules!`, and a method on `Arc<Self>`",
    "A background panic or an unread `Err` fails its test by name; expected ones can be declared",
    "Work that still runs at the end of a test is drained; work that does not end fails the test by name",
    "Under paused time an hour passes in no time",
];

/// Tests in other packages.
const ELSEWHERE: [(usize, &str); 2] = [
    (37, "ui-tests/tests/pass/options/crate_renamed.rs"),
    (37, "ui-tests/tests/pass/options/crate_reexported.rs"),
];

#[derive(Debug, PartialEq, Eq)]
struct Test {
    name: String,
    behaviours: Vec<usize>,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the test files by their path below the package, without the tests that fail on purpose: `kit/verdict.rs` runs those.
fn test_files() -> BTreeMap<String, String> {
    fn read(folder: PathBuf, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(path, into);
            } else if !path.ends_with("kit/user.rs") {
                let name = path.strip_prefix(package()).unwrap();
                let name = name.to_str().unwrap().replace('\\', "/");
                into.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    read(package().join("tests"), &mut files);
    files
}

/// Returns the tests of a file, with the numbers in their lines `/// Behaviour N.` or `/// Behaviours N and N.`.
fn tests(source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let (mut behaviours, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(numbers) = line.strip_prefix("/// Behaviour") {
            let numbers = numbers.split(|character: char| !character.is_ascii_digit());
            behaviours.extend(numbers.filter_map(|number| number.parse::<usize>().ok()));
        }
        is_test |= line == "#[test]" || line.starts_with("#[bgtask::test");
        let function = line.strip_prefix("fn ").or(line.strip_prefix("async fn "));
        if let Some((name, _)) = function.and_then(|function| function.split_once('(')) {
            let behaviours = std::mem::take(&mut behaviours);
            assert!(is_test || behaviours.is_empty(), "{name} is no test");
            if std::mem::take(&mut is_test) {
                let name = name.to_owned();
                tests.push(Test { name, behaviours });
            }
        }
    }
    tests
}

/// Returns the table, a line for each test, and what is wrong with it.
fn table(files: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let mut of_behaviour = BTreeMap::<usize, Vec<String>>::new();
    let mut others = BTreeMap::<&str, Vec<String>>::new();
    let mut wrong = Vec::new();
    for (file, source) in files {
        for test in tests(source) {
            let row = format!("- [`{}`]({file})", test.name);
            for &number in &test.behaviours {
                if number == 0 || number > BEHAVIOURS.len() {
                    wrong.push(format!("{} names behaviour {number}", test.name));
                }
                of_behaviour.entry(number).or_default().push(row.clone());
            }
            if test.behaviours.is_empty() {
                others.entry(file).or_default().push(row);
            }
        }
    }
    for (number, file) in ELSEWHERE {
        let row = format!("- [`{file}`](../{file})");
        of_behaviour.entry(number).or_default().push(row);
    }
    let mut text = "# Behaviours and their tests\n\n\
        Generated from the lines `/// Behaviour N.` beside the tests; do not edit.\n\
        `UPDATE_EXPECT=1 cargo test -p bgtask-tests --test repository` updates it. [README.md](README.md) describes the folders.\n"
        .to_owned();
    for (index, title) in BEHAVIOURS.iter().enumerate() {
        let number = index + 1;
        let rows = of_behaviour.get(&number).cloned().unwrap_or_default();
        if rows.is_empty() {
            wrong.push(format!("behaviour {number} has no test: {title}"));
        }
        let _ = write!(text, "\n## {number}. {title}\n\n{}\n", rows.join("\n"));
    }
    text += "\n## Other tests\n";
    for (file, rows) in others {
        let heading = file.trim_start_matches("tests/").trim_end_matches(".rs");
        let _ = write!(text, "\n### {heading}\n\n{}\n", rows.join("\n"));
    }
    (text, wrong)
}

#[test]
fn every_behaviour_has_a_test_and_the_table_is_up_to_date() {
    let (table, wrong) = table(&test_files());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (_, file) in ELSEWHERE {
        assert!(package().join("..").join(file).exists(), "{file}");
    }
    let path = package().join("BEHAVIOURS.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let mut lines = written.lines().zip(table.lines());
    let difference = lines.find(|(written, expected)| written != expected);
    assert!(
        written == table,
        "tests/BEHAVIOURS.md is out of date: `UPDATE_EXPECT=1 cargo test -p bgtask-tests --test repository`. {difference:?}"
    );
}

#[test]
fn a_behaviour_without_a_test_and_an_unknown_one_are_found() {
    let source = "/// Behaviours 1 and 41.\n#[test]\nfn first() {}\n\nfn helper() {}\n\n#[bgtask::test(wait = \"1s\")]\nasync fn second() {}\n";
    let expected = [("first", vec![1, 41]), ("second", vec![])];
    let expected = expected.map(|(name, behaviours)| Test {
        name: name.to_owned(),
        behaviours,
    });
    assert_eq!(tests(source), expected);
    let files = BTreeMap::from([("tests/call/life.rs".to_owned(), source.to_owned())]);
    let (text, wrong) = table(&files);
    assert!(
        text.contains("\n- [`first`](tests/call/life.rs)\n"),
        "{text}"
    );
    assert!(text.ends_with("\n### call/life\n\n- [`second`](tests/call/life.rs)\n"));
    assert_eq!(wrong[0], "first names behaviour 41");
    assert!(wrong[1].starts_with("behaviour 2 has no test: "));
    // All but the first, and but the one that other packages test.
    assert_eq!(wrong.len(), 1 + 38);
}

/// Links such as ``[`a_test`](../tests/tests/call/life.rs)`` in the pages name an existing test.
#[test]
fn the_tests_that_pages_name_exist() {
    let root = package().join("..");
    let files = test_files();
    let mut pages: Vec<_> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|page| page.unwrap().path())
        .filter(|page| page.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.extend(["README.md", "CONTRIBUTING.md", "tests/README.md"].map(|page| root.join(page)));
    let (mut named, mut gone) = (0, BTreeSet::new());
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("[`").skip(1) {
            let Some((name, rest)) = link.split_once("`](") else {
                continue;
            };
            let target = rest.split(')').next().unwrap_or_default();
            let Some((_, file)) = target.split_once("tests/tests/") else {
                continue;
            };
            if target.contains("ui-tests") {
                continue;
            }
            named += 1;
            let path = format!("tests/{file}");
            let is_there = match files.get(&path) {
                Some(source) => {
                    name.ends_with(".rs") || tests(source).iter().any(|test| test.name == name)
                }
                None => package().join(&path).exists(),
            };
            if !is_there {
                gone.insert(format!("{}: {name} in {target}", page.display()));
            }
        }
    }
    assert!(named > 5, "the pages name tests");
    assert!(gone.is_empty(), "{gone:#?}");
}
